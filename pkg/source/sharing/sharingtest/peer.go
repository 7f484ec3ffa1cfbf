//go:build cgo && duckdb_arrow

package sharingtest

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	_ "github.com/duckdb/duckdb-go/v2" // the engine
	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/resource"
)

// What the peer shares.
const (
	Share  = "shop"
	Schema = "sales"
)

// Options are what a server may do or not.
type Options struct {
	// PageFiles is how many files a page names at most; 0: all, and what is asked for counts for nothing.
	PageFiles int
	// NoHistory shares tables without their older versions and changes.
	NoHistory bool
	// NoStats leaves statistics out.
	NoStats bool
	// NoEnd leaves the end of pages out, as old servers do.
	NoEnd bool
	// NoRanges answers whole files, whatever the range.
	NoRanges bool
	// FileRows is how many rows a file has; 0: a thousand, or an eighth of a large table.
	FileRows int
	// Expires is what the profile says; zero: nothing.
	Expires time.Time
}

// Peer is a server with its tables. Make it with Start.
type Peer struct {
	options Options
	server  *httptest.Server
	db      *sql.DB
	dir     string
	stop    chan struct{}

	mu        sync.Mutex
	token     string
	epoch     int // of links
	tables    map[string]*table
	settings  map[string]Table
	calls     map[string]int
	queries   []Query
	intercept func(call string, n int) *Fault
	made      int // files
	open      int // requests
}

// Table is what a table has beside its rows.
type Table struct {
	// Partition is a column by whose values files are cut.
	Partition string
	// Config is the table's properties.
	Config map[string]string
	// MinReader is the version of the protocol that it needs; 0: 1.
	MinReader int
	// Mapped gives columns other names in files; Vectors gives a file a deletion vector; Delta answers in the Delta form.
	Mapped, Vectors, Delta bool
	// Provider is the format of its files; empty: parquet.
	Provider string
	// Refused is the code that the server refuses it by; empty: it does not.
	Refused string
	// FeedFrom is the first version of its change data feed.
	FeedFrom int64
	// NoFeed leaves the feed out. A version that was made meanwhile is not in the feed later, but by its metadata.
	NoFeed bool
	// Overwritten writes all files again in each version: the feed has them whole, those that went and those that came.
	Overwritten bool
}

// Query is one request for files.
type Query struct {
	Table   string
	Version *int64   `json:"version"`
	Hints   []string `json:"predicateHints"`
	JSON    string   `json:"jsonPredicateHints"`
	Limit   int      `json:"limitHint"`
	Max     int      `json:"maxFiles"`
	Page    string   `json:"pageToken"`
	Agent   string   `json:"-"`
}

// Fault is what becomes of one answer.
type Fault struct {
	Status int
	// Code is an error's code, and Header what goes with the answer in the place of its own.
	Code   string
	Header map[string]string
	// Cut breaks the body off in its middle.
	Cut bool
	// Hang answers the head, and then nothing until the client goes.
	Hang bool
	// Mangle changes the body.
	Mangle func([]byte) []byte
}

// Start answers a peer that ends with the test.
func Start(t testing.TB, o Options) *Peer {
	t.Helper()
	db, err := sql.Open("duckdb", "")
	require.NoError(t, err)
	db.SetMaxOpenConns(1)
	p := &Peer{
		options: o, db: db, dir: t.TempDir(), token: "token-1", stop: make(chan struct{}),
		tables: map[string]*table{}, settings: map[string]Table{}, calls: map[string]int{},
	}
	for _, q := range []string{"SET TimeZone = 'UTC'", "SET threads = 2", "CREATE SCHEMA " + Schema, "CREATE SCHEMA peer", "USE " + Schema} {
		_, err := db.ExecContext(t.Context(), q)
		require.NoError(t, err, q)
	}
	p.server = httptest.NewServer(p.handler())
	t.Cleanup(func() {
		close(p.stop)
		p.server.Close()
		require.NoError(t, db.Close())
	})
	return p
}

// Connection answers the connection to the peer, with its profile as it is now.
func (p *Peer) Connection() resource.Connection {
	return resource.Connection{DeltaSharing: &resource.DeltaSharing{Share: Share, Schema: Schema, Profile: resource.Secret{Plain: p.Profile()}}}
}

// Profile answers the text of the recipient's profile file.
func (p *Peer) Profile() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := map[string]any{"shareCredentialsVersion": 1, "endpoint": p.server.URL + prefix + "/", "bearerToken": p.token}
	if !p.options.Expires.IsZero() {
		out["expirationTime"] = p.options.Expires.UTC().Format("2006-01-02T15:04:05.0Z")
	}
	text, err := json.Marshal(out)
	if err != nil {
		return "" // text and numbers always have a form
	}
	return string(text)
}

// Exec runs statements as the tables' owner, and makes a version of each table that they changed.
func (p *Peer) Exec(t testing.TB, text string) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	_, err := p.db.ExecContext(t.Context(), text)
	require.NoError(t, err)
	require.NoError(t, p.commit(t.Context()))
}

// Materialize makes a table of what a query selects, and answers its name. The same query is the same table. What the
// engine does not run is an error.
func (p *Peer) Materialize(t testing.TB, query string) (string, error) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	name := "q" + strconv.FormatUint(hash(query), 36)
	if _, ok := p.tables[name]; ok {
		return name, nil
	}
	if _, err := p.db.ExecContext(t.Context(), "CREATE TABLE "+name+" AS "+query); err != nil {
		return "", fmt.Errorf("materialize: %w", err)
	}
	return name, p.commit(t.Context())
}

// Set says what a table has beside its rows. It counts from the next version on, and for refusals at once.
func (p *Peer) Set(name string, t Table) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.settings[name] = t
}

// RotateToken makes the profile's token one that is refused; Profile has the new one.
func (p *Peer) RotateToken() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.token += "1"
}

// ExpireLinks makes links that were given out ones that are refused.
func (p *Peer) ExpireLinks() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.epoch++
}

// Intercept says what becomes of the n-th call of a name, from 1: list, share, metadata, query, changes or file.
func (p *Peer) Intercept(f func(call string, n int) *Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.intercept, p.calls = f, map[string]int{}
}

// Calls answers how often each call came since the last Intercept.
func (p *Peer) Calls() map[string]int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.calls)
}

// Queries answers the requests for files, in order.
func (p *Peer) Queries() []Query {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.queries)
}

// Open answers how many requests are being answered.
func (p *Peer) Open() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.open
}

// Host answers where the peer listens.
func (p *Peer) Host() string { return p.server.Listener.Addr().String() }

// called notes a call and answers what becomes of it.
func (p *Peer) called(call string) *Fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls[call]++
	if p.intercept == nil {
		return nil
	}
	return p.intercept(call, p.calls[call])
}

// fault answers in the place of what was asked for, true where it did.
func (p *Peer) fault(w http.ResponseWriter, f *Fault) bool {
	if f == nil || f.Status == 0 {
		return false
	}
	for k, v := range f.Header {
		w.Header().Set(k, v)
	}
	refuse(w, f.Status, f.Code)
	return true
}
