//go:build cgo && duckdb_arrow

package databrickstest

import (
	"context"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/resource"
)

// What a connection names.
const (
	Catalog      = "shop"
	Schema       = "sales"
	Warehouse    = "0123456789abcdef"
	Token        = "dapi-peer"
	ClientID     = "11111111-2222-3333-4444-555555555555"
	ClientSecret = "dose-peer"
	path         = "/sql/1.0/warehouses/" + Warehouse
)

// Options say how the peer answers. The zero value answers small results within ExecuteStatement.
type Options struct {
	// Files sends results as files to download.
	Files bool
	// FileLife is how long the links to files last. Default 15 min.
	FileLife time.Duration
	// Padding has files end with rows that their links do not count.
	Padding bool
	// Async answers ExecuteStatement before the statement has ended.
	Async bool
	// MayWrite has the principal granted more than reading.
	MayWrite bool
	// ChangeFeed has new tables record their changes.
	ChangeFeed bool
}

// Fault is what the peer does in place of its answer, or with it.
type Fault struct {
	Status     int    // an HTTP status; 0: none
	RetryAfter string // a header
	Hang       bool   // no answer until the client is gone
	Cut        bool   // the connection ends in the middle of the answer
	// Mangle changes the answer's bytes.
	Mangle func([]byte) []byte
}

// Statement is what a client asked to run.
type Statement struct {
	SQL     string
	Tags    string            // its query tags
	Session map[string]string // its session's parameters
	Timeout time.Duration
	Values  map[string]string // of its parameters
}

// Peer is a warehouse. Safe for concurrent use.
type Peer struct {
	options Options
	server  *httptest.Server
	db      *database
	life    context.Context //nolint:containedctx // ends the statements
	running sync.WaitGroup

	mu         sync.Mutex
	intercept  func(call string, n int) *Fault
	calls      map[string]int
	tokens     map[string]bool
	sessions   map[string]*session
	operations map[string]*operation
	files      map[string]file
	statements []Statement
	version    int
	vacuumed   int               // the last version that VACUUM took
	tables     map[string]*table // by their names
	frozen     map[string]bool   // copies of versions of tables
	changes    map[string]bool   // tables of changes
	broken     *sqlError         // what feeds of more than one version end with
}

// Start answers an empty warehouse, which ends with the test.
func Start(t testing.TB, o Options) *Peer {
	t.Helper()
	if o.FileLife == 0 {
		o.FileLife = 15 * time.Minute
	}
	db, err := openDatabase()
	require.NoError(t, err)
	life, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	p := &Peer{
		options: o, db: db, life: life, calls: map[string]int{}, tokens: map[string]bool{}, sessions: map[string]*session{},
		operations: map[string]*operation{}, files: map[string]file{}, tables: map[string]*table{}, frozen: map[string]bool{}, changes: map[string]bool{},
	}
	p.server = httptest.NewServer(p.handler())
	t.Cleanup(func() {
		cancel()
		p.server.CloseClientConnections()
		p.server.Close()
		p.running.Wait()
		db.close()
	})
	for _, sql := range layout(o) {
		require.NoError(t, db.exec(sql), sql)
	}
	return p
}

// Connection answers a connection by service principal, as a proxy of one's own would be named.
func (p *Peer) Connection() resource.Connection {
	host, port, _ := net.SplitHostPort(p.server.Listener.Addr().String())
	n, _ := strconv.Atoi(port)
	return resource.Connection{Databricks: &resource.Databricks{
		Host: host, Port: n, Protocol: "http", WarehouseID: Warehouse, Catalog: Catalog, Schema: Schema,
		ClientID: ClientID, ClientSecret: resource.Secret{Plain: ClientSecret},
	}}
}

// Exec runs statements of DuckDB's dialect as the warehouse's owner, and ALTER TABLE … SET TBLPROPERTIES. Each call makes a
// version of every table.
func (p *Peer) Exec(t testing.TB, sql string) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if text := propertyStatement.ReplaceAllString(sql, ""); strings.Trim(text, "; \n") != "" {
		require.NoError(t, p.db.exec(text))
	}
	p.version++
	require.NoError(t, p.follow(sql))
}

// Vacuum takes the earlier versions of all tables away, and what changed by them.
func (p *Peer) Vacuum(t testing.TB) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, kept := range []map[string]bool{p.frozen, p.changes} {
		for name := range kept {
			require.NoError(t, p.db.exec("DROP TABLE "+name))
		}
		clear(kept)
	}
	p.vacuumed = p.version
	p.version++
	require.NoError(t, p.record())
}

// BreakFeeds has feeds of more than one version end with an error condition and its SQLSTATE; none mends them.
func (p *Peer) BreakFeeds(condition, state string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.broken = nil; condition != "" {
		p.broken = refuse(state, condition, "The changes cannot be read.", 0)
	}
}

// Intercept sets what is asked before each answer: f is called with the call's name (of Thrift, or token, or file) and how
// often it was made, from 1, and answers a fault or nil.
func (p *Peer) Intercept(f func(call string, n int) *Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.intercept, p.calls = f, map[string]int{}
}

// Calls answers how often each call was made since Intercept.
func (p *Peer) Calls() map[string]int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.calls)
}

// Statements answers what was run so far.
func (p *Peer) Statements() []Statement {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.statements)
}

// Running answers how many statements are being computed or have results to fetch.
func (p *Peer) Running() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.operations)
}

// ExpireTokens takes back all tokens that service principals have.
func (p *Peer) ExpireTokens() {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.tokens)
}

// next counts a call and answers its fault.
func (p *Peer) next(call string) *Fault {
	p.mu.Lock()
	p.calls[call]++
	f, n := p.intercept, p.calls[call]
	p.mu.Unlock()
	if f == nil {
		return nil
	}
	return f(call, n)
}

// answer sends body, or does what a fault says.
func answer(w http.ResponseWriter, r *http.Request, f *Fault, kind string, body []byte) {
	w.Header().Set("Content-Type", kind)
	switch {
	case f == nil:
	case f.Hang:
		<-r.Context().Done()
		return
	case f.Status != 0:
		if f.RetryAfter != "" {
			w.Header().Set("Retry-After", f.RetryAfter)
		}
		w.WriteHeader(f.Status)
		return
	case f.Cut:
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		_, _ = w.Write(body[:len(body)/2])
		panic(http.ErrAbortHandler) //nolint:forbidigo // how a handler cuts its connection
	case f.Mangle != nil:
		body = f.Mangle(slices.Clone(body))
	}
	_, _ = w.Write(body)
}
