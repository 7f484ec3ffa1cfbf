//go:build cgo && duckdb_arrow

package bigquerytest

import (
	"context"
	"crypto/rsa"
	"database/sql"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"cloud.google.com/go/bigquery/storage/apiv1/storagepb"
	_ "github.com/duckdb/duckdb-go/v2" // holds the data
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"

	"millrace.dev/pkg/resource"
)

// What the peer has.
const (
	Project    = "acme-test"
	Dataset    = "marts"
	Account    = "reader@acme-test.iam.gserviceaccount.com"
	searchPath = "SET search_path = '" + Dataset + ",main'"
	// hidden is where results are kept.
	hidden   = "_results"
	location = "EU"
)

// Server is one project with one data set. Make it with Start. Safe for concurrent use.
type Server struct {
	db      *sql.DB
	rest    *httptest.Server
	storage *grpc.Server
	address string // of storage
	key     *rsa.PrivateKey
	running sync.WaitGroup
	stop    context.CancelFunc
	life    context.Context //nolint:containedctx // ends the queries when the server ends

	mu       sync.Mutex
	jobs     map[string]*job
	sessions map[string]*session
	tokens   map[string]time.Time // until when
	faults   []*Fault
	calls    []Call
	lifetime time.Duration
	batch    int64
	writable bool
	serial   int
	states   map[string]map[string]time.Time // data sets that the account made, and until when their tables are there
	passed   time.Duration                   // beside the machine's
	denied   bool                            // no data set may be made

	tracks    bool              // tables keep the history of their changes
	imageless bool              // CHANGES tells no preimages of updates
	live      map[string]*table // the data set's
	versions  []version         // what they were, the oldest first
	travels   time.Duration     // how long that is kept
}

// Call is a call that came, of either API.
type Call struct {
	Method string // such as jobs.insert or ReadRows
	Job    string // the job's id
	SQL    string
	Labels map[string]string
	Dry    bool
	Offset int64
}

// Start starts a peer that ends with the test. Its data set is empty.
func Start(t testing.TB) *Server {
	t.Helper()
	s := &Server{jobs: map[string]*job{}, sessions: map[string]*session{}, tokens: map[string]time.Time{}, lifetime: time.Hour, batch: 1024, states: map[string]map[string]time.Time{}, live: map[string]*table{}, travels: 7 * 24 * time.Hour}
	s.life, s.stop = context.WithCancel(t.Context())
	var err error
	s.db, err = sql.Open("duckdb", "")
	require.NoError(t, err)
	for _, statement := range setup {
		_, err := s.db.ExecContext(t.Context(), statement)
		require.NoError(t, err, statement)
	}
	s.key, err = newKey()
	require.NoError(t, err)
	s.rest = httptest.NewServer(s.handler())
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s.address = l.Addr().String()
	s.storage = grpc.NewServer(grpc.UnaryInterceptor(s.unary), grpc.StreamInterceptor(s.stream))
	storagepb.RegisterBigQueryReadServer(s.storage, &reader{s: s})
	served := make(chan error, 1)
	go func() { served <- s.storage.Serve(l) }()
	t.Cleanup(func() {
		s.stop()
		s.storage.Stop()
		if err := <-served; !errors.Is(err, grpc.ErrServerStopped) {
			require.NoError(t, err)
		}
		s.rest.CloseClientConnections()
		s.rest.Close()
		s.running.Wait()
		require.NoError(t, s.db.Close())
	})
	return s
}

// setup makes the data set, and what BigQuery has and DuckDB has not.
var setup = []string{ //nolint:gochecknoglobals // never changed
	"SET GLOBAL TimeZone = 'UTC'", "SET memory_limit = '1GB'", "SET threads = 2",
	"CREATE SCHEMA " + Dataset, "CREATE SCHEMA " + hidden, "CREATE SCHEMA " + meta,
	"CREATE TABLE " + meta + ".tables (table_name VARCHAR, is_change_history_enabled VARCHAR)", peerNow(0),
	// Texts whose type says what they are of.
	"CREATE TYPE BIGNUMERIC AS UNION(bignumeric VARCHAR)", "CREATE TYPE GEOGRAPHY AS UNION(geography VARCHAR)",
	"CREATE TYPE RANGE_DATE AS UNION(range_date VARCHAR)", "CREATE TYPE PICOS AS UNION(picos VARCHAR)",
	"CREATE MACRO to_json_string(x) AS CAST(to_json(x) AS VARCHAR)",
	"CREATE MACRO countif(x) AS coalesce(count_if(x), 0)",
	"CREATE MACRO parse_json(x) AS CAST(x AS JSON)",
	"CREATE MACRO st_geogfromtext(x) AS CAST(x AS GEOGRAPHY)",
	"CREATE MACRO st_astext(x) AS CAST(x AS VARCHAR)",
	"CREATE MACRO picos(x) AS CAST(x AS PICOS)",
	"CREATE MACRO range_of_dates(x) AS CAST(x AS RANGE_DATE)",
}

// Connection answers how the peer is connected to, by a key of its account.
func (s *Server) Connection(t testing.TB) resource.Connection {
	t.Helper()
	return resource.Connection{BigQuery: &resource.BigQuery{
		ProjectID: Project, DatasetID: Dataset, Location: location, ServiceAccountID: Account,
		ServiceAccountKey: resource.Secret{Plain: s.Key(t)}, Credentials: resource.ByServiceAccountKey, StatementTimeout: time.Hour,
		Endpoint: s.rest.URL, StorageEndpoint: "http://" + s.address, TokenEndpoint: s.rest.URL + "/token",
	}}
}

// SetBatch sets how many rows a message of a stream has. Default 1,024.
func (s *Server) SetBatch(rows int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.batch = rows
}

// SetWritable lets the account make tables, or not, which is the default.
func (s *Server) SetWritable(yes bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writable = yes
}

// ExpireSessions ends all read sessions, as six hours do.
func (s *Server) ExpireSessions() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, x := range s.sessions {
		x.expired = true
	}
}

// ExpireTokens makes all tokens bad that were given out.
func (s *Server) ExpireTokens() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.tokens)
}

// Calls answers the calls of a method that have come, in order; of all where method is empty.
func (s *Server) Calls(method string) []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Call
	for _, c := range s.calls {
		if method == "" || c.Method == method {
			out = append(out, c)
		}
	}
	return out
}

func (s *Server) note(c Call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, c)
}

// next answers a number that is given out once.
func (s *Server) next() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.serial++
	return s.serial
}

func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	const base = "/bigquery/v2/projects/{project}"
	mux.HandleFunc("POST /token", s.serveToken)
	for pattern, h := range map[string]struct {
		method string
		serve  func(http.ResponseWriter, *http.Request) error
	}{
		"POST " + base + "/jobs":                             {"jobs.insert", s.insertJob},
		"GET " + base + "/jobs/{job}":                        {"jobs.get", s.getJob},
		"POST " + base + "/jobs/{job}/cancel":                {"jobs.cancel", s.cancelJob},
		"GET " + base + "/queries/{job}":                     {"jobs.getQueryResults", s.getQueryResults},
		"GET " + base + "/datasets":                          {"datasets.list", s.listDatasets},
		"GET " + base + "/datasets/{dataset}":                {"datasets.get", s.getDataset},
		"GET " + base + "/datasets/{dataset}/tables":         {"tables.list", s.listTables},
		"GET " + base + "/datasets/{dataset}/tables/{table}": {"tables.get", s.getTable},

		"POST " + base + "/datasets":                            {"datasets.insert", s.insertDataset},
		"DELETE " + base + "/datasets/{dataset}/tables/{table}": {"tables.delete", s.deleteTable},
	} {
		mux.HandleFunc(pattern, s.serve(h.method, h.serve))
	}
	return mux
}
