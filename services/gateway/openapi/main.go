// Command openapi makes the OpenAPI 3.0 document that the gateway serves of the Swagger 2.0 document that
// protoc-gen-openapiv2 generates. `make gen` runs it:
//
//	go run ./services/gateway/openapi FROM TO
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
)

func main() {
	if len(os.Args) != 3 {
		fail("two arguments are wanted: the file to read, and the one to write")
	}
	in, err := os.ReadFile(os.Args[1]) //nolint:gosec // who runs it names the file
	if err != nil {
		fail(err)
	}
	var from swagger
	if err := json.Unmarshal(in, &from); err != nil {
		fail(err)
	}
	doc, err := convert(from)
	if err != nil {
		fail(err)
	}
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	if err := e.Encode(doc); err != nil {
		fail(err)
	}
	if err := os.WriteFile(os.Args[2], out.Bytes(), 0o644); err != nil { //nolint:gosec // a source file
		fail(err)
	}
}

func fail(why any) {
	fmt.Fprintln(os.Stderr, "openapi:", why)
	os.Exit(1)
}
