// Command millrace runs every service in one process and is the client of a running one.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"millrace.dev/services/millrace"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	code := millrace.Main(ctx, os.Args[1:], millrace.Standard())
	stop()
	os.Exit(code)
}
