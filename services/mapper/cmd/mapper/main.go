// Command mapper runs the mapper service as a process of its own.
package main

import (
	"millrace.dev/pkg/app"
	"millrace.dev/services/mapper"
)

func main() {
	app.Main(mapper.Module())
}
