// Command extractor runs the extractor service as a process of its own.
package main

import (
	"millrace.dev/pkg/app"
	"millrace.dev/services/extractor"
)

func main() {
	app.Main(extractor.Module())
}
