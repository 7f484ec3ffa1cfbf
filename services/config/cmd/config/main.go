// Command config runs the config service as a process of its own.
package main

import (
	"millrace.dev/pkg/app"
	"millrace.dev/services/config"
)

func main() {
	app.Main(config.Module())
}
