// Command trace runs the trace service as a process of its own.
package main

import (
	"millrace.dev/pkg/app"
	"millrace.dev/services/trace"
)

func main() {
	app.Main(trace.Module())
}
