// Command ingestion runs the ingestion service as a process of its own.
package main

import (
	"millrace.dev/pkg/app"
	"millrace.dev/services/ingestion"
)

func main() {
	app.Main(ingestion.Module())
}
