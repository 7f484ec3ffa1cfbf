//go:build cgo && duckdb_arrow

package bigquerytest

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	keyID     = "key-1"
	grantType = "urn:ietf:params:oauth:grant-type:jwt-bearer"
)

// newKey answers the account's key, which all peers of a process share, for it takes long to make.
var newKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) }) //nolint:gochecknoglobals // made once

// Key answers the document of the account's key.
func (s *Server) Key(t testing.TB) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(s.key)
	require.NoError(t, err)
	doc, err := json.Marshal(map[string]string{ //nolint:gosec // a key of tests
		"type": "service_account", "project_id": Project, "private_key_id": keyID, "client_email": Account,
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
		"token_uri":   "https://oauth2.googleapis.com/token", "universe_domain": "googleapis.com",
	})
	require.NoError(t, err)
	return string(doc)
}

// serveToken gives a token for an assertion that the account's key has signed.
func (s *Server) serveToken(w http.ResponseWriter, r *http.Request) {
	s.note(Call{Method: "token"})
	if s.fault("token").play(w, r) {
		return
	}
	if r.FormValue("grant_type") != grantType || !s.signed(r.FormValue("assertion"), "http://"+r.Host+"/token") {
		w.WriteHeader(http.StatusBadRequest)
		w.Write([]byte(`{"error": "invalid_grant", "error_description": "Invalid JWT Signature."}`)) //nolint:errcheck,gosec // the caller may go
		return
	}
	token := "token-" + strconv.Itoa(s.next())
	s.mu.Lock()
	s.tokens[token] = time.Now().Add(s.lifetime)
	s.mu.Unlock()
	answer(w, map[string]any{"access_token": token, "token_type": "Bearer", "expires_in": int(s.lifetime.Seconds())})
}

// signed says whether a JWT is the account's, for these tokens and now.
func (s *Server) signed(jwt, audience string) bool {
	parts := strings.Split(jwt, ".")
	if len(parts) != 3 {
		return false
	}
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil || rsa.VerifyPKCS1v15(&s.key.PublicKey, crypto.SHA256, sum[:], signature) != nil {
		return false
	}
	var head struct {
		Alg string `json:"alg"`
		Kid string `json:"kid"`
	}
	var claims struct {
		Iss   string `json:"iss"`
		Aud   string `json:"aud"`
		Scope string `json:"scope"`
		Exp   int64  `json:"exp"`
	}
	if !part(parts[0], &head) || !part(parts[1], &claims) {
		return false
	}
	return head.Alg == "RS256" && head.Kid == keyID && claims.Iss == Account && claims.Aud == audience &&
		strings.HasPrefix(claims.Scope, "https://www.googleapis.com/auth/bigquery") && time.Unix(claims.Exp, 0).After(time.Now())
}

func part(text string, to any) bool {
	data, err := base64.RawURLEncoding.DecodeString(text)
	return err == nil && json.Unmarshal(data, to) == nil
}

// known says whether an authorization header has a token that is good.
func (s *Server) known(header string) bool {
	token, ok := strings.CutPrefix(header, "Bearer ")
	s.mu.Lock()
	defer s.mu.Unlock()
	return ok && time.Now().Before(s.tokens[token])
}
