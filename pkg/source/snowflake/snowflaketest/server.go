//go:build cgo && duckdb_arrow

package snowflaketest

import (
	"bytes"
	"context"
	"crypto/rsa"
	"crypto/x509"
	"database/sql"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"sync"
	"testing"

	"github.com/duckdb/duckdb-go/v2"
	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/resource"
)

// Options say how a server behaves. The zero value takes any password.
type Options struct {
	// Fold writes bare names in capitals, as Snowflake does.
	Fold bool
	// TimestampScale is the scale of DuckDB's TIMESTAMP, 6 by default; 9 is what Snowflake's own has.
	TimestampScale int
	// ChunkRows is how many rows a chunk has. Default 20,000. The first InlineRows (default 1,000) stand in the answer.
	ChunkRows, InlineRows int
	// Gzip compresses chunks.
	Gzip bool
	// Poll answers each statement with a place where its result is to be fetched.
	Poll bool
	// TLS makes the server speak it, with a certificate of Roots.
	TLS bool
	// Telemetry claims that the account wants it.
	Telemetry bool
	// Keys are the public keys of the user; Token, OAuth and Password what else is taken. With none of them set, all is.
	Keys                   []*rsa.PublicKey
	Token, OAuth, Password string
	// Identity is the token of a workload that is taken.
	Identity string
	// Track makes the account track the changes of each table from when it is made.
	Track bool
	// Writes names the schemas that the role may make, and make tables in.
	Writes []string
}

// Server is one account. Make it with New.
type Server struct {
	options Options
	http    *httptest.Server
	db      *sql.DB
	dir     string
	life    context.Context //nolint:containedctx // the server's own: statements end with it
	wg      sync.WaitGroup

	making   sync.Mutex // of schemas
	mu       sync.Mutex
	hook     Hook
	rewrite  func(sql string, data map[string]any)
	requests []Request
	sessions map[string]*session // by token
	masters  map[string]*session // by master token
	running  map[string]*job     // by request
	jobs     map[string]*job     // by query
	chunks   map[string]string   // files by name
	versions []version
	live     map[string]*table // by name in capitals
	kept     int64             // since when tables are kept as they were
	next     int
}

// Request is one that the server got.
type Request struct {
	Path, SQL, Tag string
	Login          []byte // the body of a sign-in
	Describe       bool
	Binds          []string
	Authorization  string
}

// Hook sees a request before the server answers it, and answers it in its place where it says so.
type Hook func(w http.ResponseWriter, r *http.Request, sql string) bool

// New answers a server that ends with the test.
func New(t testing.TB, o Options) *Server {
	t.Helper()
	if o.TimestampScale == 0 {
		o.TimestampScale = 6
	}
	if o.ChunkRows == 0 {
		o.ChunkRows = 20_000
	}
	if o.InlineRows == 0 {
		o.InlineRows = 1000
	}
	connector, err := duckdb.NewConnector("", nil)
	require.NoError(t, err)
	life, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	s := &Server{
		options: o, db: sql.OpenDB(connector), dir: t.TempDir(), life: life,
		sessions: map[string]*session{}, masters: map[string]*session{}, running: map[string]*job{}, jobs: map[string]*job{},
		chunks: map[string]string{}, live: map[string]*table{},
	}
	for _, q := range append([]string{"SET TimeZone = 'UTC'", "SET threads = 2"}, informationSchema...) {
		_, err := s.db.ExecContext(life, q)
		require.NoError(t, err)
	}
	s.http = httptest.NewUnstartedServer(s)
	s.http.Config.ErrorLog = log.New(io.Discard, "", 0) // hooks break off on purpose
	if o.TLS {
		s.http.StartTLS()
	} else {
		s.http.Start()
	}
	t.Cleanup(func() {
		cancel()
		s.http.CloseClientConnections()
		s.http.Close()
		s.wg.Wait()
		require.NoError(t, s.db.Close())
	})
	return s
}

// Connection answers the connection of a user of the account, without credentials.
func (s *Server) Connection() resource.Snowflake {
	u, _ := url.Parse(s.http.URL) // as httptest wrote it
	port, _ := strconv.Atoi(u.Port())
	return resource.Snowflake{
		Account: "ab12345", Warehouse: "SYNC_WH", Database: "MARTS", Schema: "PUBLIC", Role: "SYNC_R", User: "SYNC_U",
		Host: u.Hostname(), Port: port, Protocol: u.Scheme, Timestamps: resource.Microseconds,
	}
}

// Roots answers the authority of the server's certificate.
func (s *Server) Roots() *x509.CertPool {
	out := x509.NewCertPool()
	if c := s.http.Certificate(); c != nil {
		out.AddCert(c)
	}
	return out
}

// Intercept makes the server ask hook about each request; nil: no longer.
func (s *Server) Intercept(hook Hook) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hook = hook
}

// Rewrite makes the server hand each answer's data to change before it is sent; nil: no longer.
func (s *Server) Rewrite(change func(sql string, data map[string]any)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rewrite = change
}

// Requests answers what the server got.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Request(nil), s.requests...)
}

// Statements answers the statements that the server got, without those that are only looked at.
func (s *Server) Statements() []Request {
	var out []Request
	for _, r := range s.Requests() {
		if r.SQL != "" && !r.Describe {
			out = append(out, r)
		}
	}
	return out
}

// ExpireSessions makes each session's token one that has to be renewed.
func (s *Server) ExpireSessions() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, x := range s.sessions {
		x.expired = true
	}
}

// EndSessions ends each session, as an administrator does.
func (s *Server) EndSessions() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.sessions)
	clear(s.masters)
}

// Sessions answers how many sessions are open.
func (s *Server) Sessions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.masters)
}

// Running answers how many statements run.
func (s *Server) Running() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, j := range s.running {
		select {
		case <-j.done:
		default:
			n++
		}
	}
	return n
}

// name answers a new name. The lock is held.
func (s *Server) name(prefix string) string {
	s.next++
	return prefix + "-" + strconv.Itoa(s.next)
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var q queryRequest
	if r.URL.Path == "/queries/v1/query-request" {
		if err := readBody(r, &q); err != nil {
			http.Error(w, "no JSON", http.StatusBadRequest)
			return
		}
	}
	var login []byte
	if r.URL.Path == "/session/v1/login-request" {
		login, _ = io.ReadAll(r.Body) // what is not whole is no JSON
		r.Body = io.NopCloser(bytes.NewReader(login))
	}
	s.mu.Lock()
	s.requests = append(s.requests, Request{
		Path: r.URL.Path, Login: login, SQL: q.SQLText, Tag: q.tag(), Describe: q.DescribeOnly, Binds: q.binds(), Authorization: r.Header.Get("Authorization"),
	})
	hook := s.hook
	s.mu.Unlock()
	if hook != nil && hook(w, r, q.SQLText) {
		return
	}
	switch path := r.URL.Path; {
	case path == "/session/v1/login-request":
		s.login(w, r)
	case path == "/session/token-request":
		s.renew(w, r)
	case path == "/session":
		s.logout(w, r)
	case path == "/queries/v1/query-request":
		s.query(w, r, q) //nolint:contextcheck // a statement goes on when its request is cut
	case path == "/queries/v1/abort-request":
		s.abort(w, r)
	case len(path) > len("/chunks/") && path[:len("/chunks/")] == "/chunks/":
		s.chunk(w, r)
	case path == "/telemetry/send", path == "/session/heartbeat":
		reply(w, map[string]any{"success": true})
	case path == "/oauth/token-request":
		s.oauth(w, r)
	default:
		s.result(w, r)
	}
}
