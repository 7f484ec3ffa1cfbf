//go:build cgo && duckdb_arrow

package bigquerytest

import (
	"context"
	"encoding/json"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"cloud.google.com/go/bigquery/storage/apiv1/storagepb"
	bq "google.golang.org/api/bigquery/v2"

	"millrace.dev/pkg/source/bigquery/googlesql"
)

// creation is a statement that makes a table of a query's rows, which expires.
type creation struct {
	dataset, table string
	days           int
	query          string
}

//nolint:gochecknoglobals // compiled once, never changed
var (
	creating = regexp.MustCompile(`(?s)^CREATE OR REPLACE TABLE (\S+) PARTITION BY RANGE_BUCKET\(\w+, GENERATE_ARRAY\(\d+, \d+, \d+\)\)` +
		` OPTIONS\(expiration_timestamp = TIMESTAMP_ADD\(CURRENT_TIMESTAMP\(\), INTERVAL (\d+) DAY\)\) AS (SELECT .*)$`)
	threeNames = regexp.MustCompile("^`([^`]+)`\\.`([^`]+)`\\.`([^`]+)`$")
)

// creationOf reads a statement, nil where it makes no table of a query.
func creationOf(text string) (*creation, error) {
	m := creating.FindStringSubmatch(text)
	if m == nil {
		return nil, nil //nolint:nilnil // it makes none
	}
	n := threeNames.FindStringSubmatch(m[1])
	if n == nil || n[1] != Project {
		return nil, missing("Project of " + m[1])
	}
	days, err := strconv.Atoi(m[2])
	return &creation{dataset: n[2], table: n[3], days: days, query: m[3]}, err
}

// mayMake refuses tables elsewhere than in data sets that the account has made.
func (s *Server) mayMake(_ context.Context, c creation) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.states[c.dataset] == nil {
		return &refusal{http.StatusForbidden, "accessDenied", "Access Denied: Permission bigquery.tables.create denied on dataset " + c.dataset}
	}
	return nil
}

// make makes the table.
func (s *Server) make(ctx context.Context, c creation, translated string) error {
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // it goes back to the pool
	if _, err := conn.ExecContext(ctx, searchPath); err != nil {
		return err
	}
	if _, err := conn.ExecContext(ctx, "CREATE OR REPLACE TABLE "+ident(c.dataset)+"."+ident(c.table)+" AS "+translated); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.states[c.dataset][c.table] = s.now().AddDate(0, 0, c.days)
	return nil
}

func (s *Server) hasDataset(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return name == Dataset || s.states[name] != nil
}

func (s *Server) insertDataset(w http.ResponseWriter, r *http.Request) error {
	var in bq.Dataset
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil || in.DatasetReference == nil {
		return &refusal{http.StatusBadRequest, "invalid", "Invalid JSON payload received."}
	}
	name := in.DatasetReference.DatasetId
	s.mu.Lock()
	denied := s.denied
	s.mu.Unlock()
	switch {
	case denied:
		return &refusal{http.StatusForbidden, "accessDenied", "Access Denied: User does not have bigquery.datasets.create permission"}
	case s.hasDataset(name):
		return &refusal{http.StatusConflict, "duplicate", "Already Exists: Dataset " + name}
	case in.Location != location:
		return &refusal{http.StatusBadRequest, "invalid", "the peer is at " + location}
	}
	//nolint:gosec // the test's own
	if _, err := s.db.ExecContext(r.Context(), "CREATE SCHEMA IF NOT EXISTS "+ident(name)); err != nil {
		return err
	}
	s.mu.Lock()
	if s.states[name] == nil {
		s.states[name] = map[string]time.Time{}
	}
	s.mu.Unlock()
	answer(w, &in)
	return nil
}

func (s *Server) deleteTable(w http.ResponseWriter, r *http.Request) error {
	dataset, table := r.PathValue("dataset"), r.PathValue("table")
	s.mu.Lock()
	_, ok := s.states[dataset][table]
	delete(s.states[dataset], table)
	s.mu.Unlock()
	if !ok {
		return missing("Table " + table)
	}
	//nolint:gosec // the test's own
	_, err := s.db.ExecContext(r.Context(), "DROP TABLE IF EXISTS "+ident(dataset)+"."+ident(table))
	w.WriteHeader(http.StatusNoContent)
	return err
}

// expire drops what has expired.
func (s *Server) expire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for dataset, tables := range s.states {
		for table, until := range tables {
			if s.now().After(until) {
				delete(tables, table)
				s.db.Exec("DROP TABLE IF EXISTS " + ident(dataset) + "." + ident(table)) //nolint:errcheck,gosec,noctx // a table that stays is seen by the test
			}
		}
	}
}

// now answers the peer's time. The caller holds mu.
func (s *Server) now() time.Time { return time.Now().Add(s.passed) }

// Pass lets time pass for the peer.
func (s *Server) Pass(d time.Duration) {
	s.mu.Lock()
	s.passed += d
	s.db.Exec(peerNow(s.passed)) //nolint:errcheck,gosec,noctx // a clock that stands still is seen by the test
	s.mu.Unlock()
	s.expire()
}

// peerNow makes the function that says what time it is.
func peerNow(passed time.Duration) string {
	return "CREATE OR REPLACE MACRO main.peer_now() AS now() + to_microseconds(" + strconv.FormatInt(passed.Microseconds(), 10) + ")"
}

// DenyDatasets lets the account make no data sets.
func (s *Server) DenyDatasets(yes bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.denied = yes
}

// isNarrowed says whether a read session wants less than a whole table.
func isNarrowed(in *storagepb.ReadSession) bool {
	return len(in.GetReadOptions().GetSelectedFields()) > 0 || in.GetReadOptions().GetRowRestriction() != ""
}

// selected keeps what a read session selects of a table, as if it were a job's result. nil: there is no such table.
func (s *Server) selected(ctx context.Context, in *storagepb.ReadSession) (*job, error) {
	parts := strings.Split(in.GetTable(), "/")
	if len(parts) != 6 {
		return nil, nil //nolint:nilnil // none
	}
	dataset, table := parts[3], parts[5]
	s.expire()
	s.mu.Lock()
	_, ok := s.states[dataset][table]
	s.mu.Unlock()
	if !ok && s.jobOf(in.GetTable()) == nil {
		return nil, nil //nolint:nilnil // none
	}
	list := "*"
	if f := in.GetReadOptions().GetSelectedFields(); len(f) > 0 {
		names := make([]string, len(f))
		for i := range f {
			names[i] = googlesql.Quote(f[i])
		}
		list = strings.Join(names, ", ")
	}
	text := "SELECT " + list + " FROM `" + dataset + "`.`" + table + "`"
	if r := in.GetReadOptions().GetRowRestriction(); r != "" {
		text += " WHERE " + r
	}
	q := &bq.JobConfigurationQuery{Query: text}
	stats, translated, err := s.look(ctx, q)
	if err != nil {
		return nil, err
	}
	j := &job{fields: stats.Schema.Fields, table: "anon" + strconv.Itoa(s.next())}
	j.rows, err = s.run(ctx, j.table, translated)
	return j, err
}
