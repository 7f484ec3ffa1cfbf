// Command scheduler is the scheduler as a process of its own.
package main

import (
	"millrace.dev/pkg/app"
	"millrace.dev/services/scheduler"
)

func main() { app.Main(scheduler.Module()) }
