package gateway

import (
	"bytes"
	_ "embed"
	"net/http"
	"time"
)

// documentPath is where the OpenAPI document is.
const documentPath = "/v1/openapi.json"

//go:embed openapi.json
var document []byte

// serveDocument answers the OpenAPI document.
func serveDocument(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(document))
}
