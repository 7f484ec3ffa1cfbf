// Command gateway runs the gateway as a process of its own.
package main

import (
	"millrace.dev/pkg/app"
	"millrace.dev/services/gateway"
)

func main() {
	app.Main(gateway.Module())
}
