//go:build cgo && duckdb_arrow

package databrickstest

import (
	"crypto/rand"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"time"

	"millrace.dev/pkg/source/databricks/thriftwire"
)

const (
	tokenLife  = 3600
	thriftType = "application/x-thrift"
	jsonType   = "application/json"
)

// file is a result file.
type file struct {
	session string
	data    []byte
	until   time.Time
}

func (p *Peer) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+path, p.thrift)
	mux.HandleFunc("POST /oidc/v1/token", p.grant)
	mux.HandleFunc("GET /oidc/.well-known/oauth-authorization-server", p.discover)
	mux.HandleFunc("GET /files/{id}", p.file)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		p.next("other")
		w.WriteHeader(http.StatusNotFound)
	})
	return mux
}

// grant is the token endpoint of service principals.
func (p *Peer) grant(w http.ResponseWriter, r *http.Request) {
	f := p.next("token")
	id, secret, _ := r.BasicAuth()
	if id != ClientID || secret != ClientSecret || r.FormValue("grant_type") != "client_credentials" || r.FormValue("scope") == "" {
		w.Header().Set("Content-Type", jsonType)
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, `{"error":"invalid_client"}`)
		return
	}
	token := rand.Text()
	p.mu.Lock()
	p.tokens[token] = true
	p.mu.Unlock()
	body, _ := json.Marshal(map[string]any{"access_token": token, "token_type": "Bearer", "expires_in": tokenLife})
	answer(w, r, f, jsonType, body)
}

// discover names the token endpoint, as the vendor's client asks for it.
func (p *Peer) discover(w http.ResponseWriter, r *http.Request) {
	at := "http://" + r.Host + "/oidc"
	body, _ := json.Marshal(map[string]any{"issuer": at, "token_endpoint": at + "/v1/token", "authorization_endpoint": at + "/v1/authorize"})
	answer(w, r, p.next("discovery"), jsonType, body)
}

func (p *Peer) known(r *http.Request) bool {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	p.mu.Lock()
	defer p.mu.Unlock()
	return ok && (token == Token || p.tokens[token])
}

// thrift takes the calls.
func (p *Peer) thrift(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	m, err := thriftwire.Decode(body)
	if err != nil || m.Kind != thriftwire.Call || r.Header.Get("Content-Type") != thriftType {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	f := p.next(m.Name)
	if !p.known(r) {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	reply := p.reply(r, m.Name, m.Body.At(1))
	answer(w, r, f, thriftType, thriftwire.Message{
		Name: m.Name, Kind: thriftwire.Reply, Seq: m.Seq, Body: fields(at(0, reply)),
	}.Encode())
}

// file serves a result file to whoever has its link, until that has expired.
func (p *Peer) file(w http.ResponseWriter, r *http.Request) {
	f := p.next("file")
	p.mu.Lock()
	got, ok := p.files[r.PathValue("id")]
	p.mu.Unlock()
	if !ok || r.Header.Get("Authorization") != "" || time.Now().After(got.until) {
		w.WriteHeader(http.StatusForbidden)
		return
	}
	answer(w, r, f, "application/vnd.apache.arrow.stream", got.data)
	if f == nil {
		p.mu.Lock()
		delete(p.files, r.PathValue("id"))
		p.mu.Unlock()
	}
}
