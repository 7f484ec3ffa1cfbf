//go:build cgo && duckdb_arrow

package snowflaketest

import (
	"compress/gzip"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"strings"
)

// session is a signed-in user.
type session struct {
	id            int64
	token, master string
	expired       bool
	values        map[string]string // role, warehouse, database, schema
	params        map[string]any
}

func reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // the client may be gone
}

// refuse answers an error as Snowflake does.
func refuse(w http.ResponseWriter, code, state, message string) {
	reply(w, map[string]any{"success": false, "code": code, "message": message, "data": map[string]any{"sqlState": state}})
}

// readBody reads a body of JSON that may be compressed.
func readBody(r *http.Request, to any) error {
	var in io.Reader = r.Body
	if r.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(r.Body)
		if err != nil {
			return err //nolint:wrapcheck // the server answers 400
		}
		in = z
	}
	const most = 16 << 20
	return json.NewDecoder(io.LimitReader(in, most)).Decode(to) //nolint:wrapcheck // the server answers 400
}

type loginRequest struct {
	Data struct {
		LoginName         string         `json:"LOGIN_NAME"`
		Password          string         `json:"PASSWORD"`
		Authenticator     string         `json:"AUTHENTICATOR"`
		Token             string         `json:"TOKEN"`
		Provider          string         `json:"PROVIDER"`
		SessionParameters map[string]any `json:"SESSION_PARAMETERS"`
	} `json:"data"`
}

func (s *Server) login(w http.ResponseWriter, r *http.Request) {
	var in loginRequest
	if err := readBody(r, &in); err != nil {
		http.Error(w, "no JSON", http.StatusBadRequest)
		return
	}
	if code := s.verify(in); code != "" {
		refuse(w, code, "08004", "Incorrect username or password was specified.")
		return
	}
	q := r.URL.Query()
	switch {
	case q.Get("roleName") != "SYNC_R":
		refuse(w, "390189", "08004", "Role specified in the connect string does not exist or not authorized.")
		return
	case q.Get("databaseName") != "MARTS":
		refuse(w, "390201", "08004", "The requested database does not exist or not authorized.")
		return
	}
	s.mu.Lock()
	x := &session{
		id: int64(s.next), token: s.name("token"), master: s.name("master"), params: in.Data.SessionParameters,
		values: map[string]string{"ROLE": "SYNC_R", "DATABASE": "MARTS", "SCHEMA": "main", "WAREHOUSE": q.Get("warehouse")},
	}
	if q.Get("warehouse") != "SYNC_WH" {
		x.values["WAREHOUSE"] = ""
	}
	if sch := q.Get("schemaName"); sch != "" && sch != "PUBLIC" {
		x.values["SCHEMA"] = ""
	}
	s.sessions[x.token], s.masters[x.master] = x, x
	telemetry := s.options.Telemetry
	s.mu.Unlock()
	reply(w, map[string]any{"success": true, "data": map[string]any{
		"token": x.token, "masterToken": x.master, "validityInSeconds": 3600, "masterValidityInSeconds": 14400, "sessionId": x.id,
		"parameters":  []map[string]any{{"name": "CLIENT_TELEMETRY_ENABLED", "value": telemetry}, {"name": "TIMEZONE", "value": "UTC"}},
		"sessionInfo": map[string]any{"roleName": "SYNC_R", "databaseName": "MARTS", "warehouseName": x.values["WAREHOUSE"]},
	}})
}

// verify answers the number of the error of a sign-in, "" where it is right.
func (s *Server) verify(in loginRequest) string {
	o, d := s.options, in.Data
	if len(o.Keys) == 0 && o.Token == "" && o.OAuth == "" && o.Password == "" && o.Identity == "" {
		return ""
	}
	switch strings.ToUpper(d.Authenticator) {
	case "SNOWFLAKE_JWT":
		for _, k := range o.Keys {
			if signed(d.Token, k) {
				return ""
			}
		}
		return "390144"
	case "PROGRAMMATIC_ACCESS_TOKEN":
		if o.Token != "" && d.Token == o.Token {
			return ""
		}
		return "394400"
	case "WORKLOAD_IDENTITY":
		if o.Identity != "" && d.Token == o.Identity && d.Provider == "OIDC" {
			return ""
		}
		return "394501"
	case "OAUTH", "OAUTH_CLIENT_CREDENTIALS":
		if o.OAuth != "" && d.Token == o.OAuth {
			return ""
		}
		return "390303"
	}
	switch {
	case o.OAuth != "" && d.Token == o.OAuth, o.Password != "" && d.Password == o.Password && d.LoginName == "SYNC_U":
		return ""
	}
	return "390100"
}

// signed says whether a token is one that the user signed by a key.
func signed(token string, key *rsa.PublicKey) bool {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return false
	}
	claims, err := base64.RawURLEncoding.DecodeString(parts[1])
	signature, err2 := base64.RawURLEncoding.DecodeString(parts[2])
	der, err3 := x509.MarshalPKIXPublicKey(key)
	if err != nil || err2 != nil || err3 != nil {
		return false
	}
	sum, print := sha256.Sum256([]byte(parts[0]+"."+parts[1])), sha256.Sum256(der)
	var said struct{ Iss, Sub string }
	return json.Unmarshal(claims, &said) == nil && said.Sub == "AB12345.SYNC_U" &&
		said.Iss == said.Sub+".SHA256:"+base64.StdEncoding.EncodeToString(print[:]) &&
		rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], signature) == nil
}

// oauth answers what an identity provider does for client credentials.
func (s *Server) oauth(w http.ResponseWriter, r *http.Request) {
	client, secret, ok := r.BasicAuth()
	if !ok {
		client, secret = r.FormValue("client_id"), r.FormValue("client_secret")
	}
	if client != "millrace" || secret != "client secret" || r.FormValue("grant_type") != "client_credentials" {
		w.WriteHeader(http.StatusUnauthorized)
		reply(w, map[string]any{"error": "invalid_client"})
		return
	}
	reply(w, map[string]any{"access_token": s.options.OAuth, "token_type": "Bearer", "expires_in": 600})
}

func bearer(r *http.Request) string {
	t := strings.TrimPrefix(r.Header.Get("Authorization"), `Snowflake Token="`)
	return strings.TrimSuffix(t, `"`)
}

// signedIn answers the session of a request; where there is none, the request is answered.
func (s *Server) signedIn(w http.ResponseWriter, r *http.Request) *session {
	s.mu.Lock()
	x := s.sessions[bearer(r)]
	expired := x != nil && x.expired
	s.mu.Unlock()
	switch {
	case x == nil:
		refuse(w, "390111", "08003", "Session no longer exists. New login required to access the service.")
	case expired:
		refuse(w, "390112", "08001", "Authentication token has expired. The user must authenticate again.")
	default:
		return x
	}
	return nil
}

func (s *Server) renew(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.masters[bearer(r)]
	if x == nil {
		refuse(w, "390114", "08001", "Authentication token has expired. The user must authenticate again.")
		return
	}
	delete(s.sessions, x.token)
	x.token, x.expired = s.name("token"), false
	s.sessions[x.token] = x
	reply(w, map[string]any{"success": true, "data": map[string]any{
		"sessionToken": x.token, "masterToken": x.master, "validityInSecondsST": 3600, "validityInSecondsMT": 14400, "sessionId": x.id,
	}})
}

func (s *Server) logout(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if x := s.sessions[bearer(r)]; x != nil {
		delete(s.sessions, x.token)
		delete(s.masters, x.master)
	}
	reply(w, map[string]any{"success": true})
}
