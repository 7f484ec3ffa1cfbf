//go:build cgo && duckdb_arrow

package bigquerytest

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// version is the data set's tables as they were until a commit.
type version struct {
	until       time.Time
	schema      string
	copies      map[int]string // the name in the schema, by the table
	transaction bool           // the commit was a multi-statement transaction
	updates     bool           // it was of updates alone
}

// What CHANGES takes.
const (
	changesLag   = 10 * time.Minute
	changesRange = 24 * time.Hour
)

// remember keeps the tables as they are before a commit.
func (s *Server) remember(t testing.TB, transaction, updates bool) {
	t.Helper()
	s.mu.Lock()
	v := version{schema: "_was_" + strconv.Itoa(len(s.versions)), copies: map[int]string{}, transaction: transaction, updates: updates}
	for _, x := range s.live {
		v.copies[x.id] = x.name
	}
	tracks := s.tracks
	s.mu.Unlock()
	if !tracks || len(v.copies) == 0 {
		return
	}
	_, err := s.db.ExecContext(t.Context(), "CREATE SCHEMA "+v.schema)
	require.NoError(t, err)
	for _, n := range v.copies {
		_, err := s.db.ExecContext(t.Context(), "CREATE TABLE "+v.schema+"."+ident(n)+" AS SELECT * FROM "+Dataset+"."+ident(n)) //nolint:gosec // the test's own
		require.NoError(t, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	v.until = s.micros()
	s.versions = append(s.versions, v)
}

// SetTimeTravel sets how long the data set keeps what its tables were. Default seven days.
func (s *Server) SetTimeTravel(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.travels = d
}

// HidePreimages lets CHANGES tell of an update the row as it became, and not as it was.
func (s *Server) HidePreimages() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.imageless = true
}

// place is where a table's rows are.
type place struct{ schema, name string }

func (p place) sql() string { return ident(p.schema) + "." + ident(p.name) }

// was answers where a table is as it was at a time.
func (s *Server) was(key string, at time.Time) (place, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.live[key]
	switch now := s.micros(); {
	case x == nil:
		return place{}, missing("Table " + Project + ":" + Dataset + "." + key)
	case at.After(now):
		return place{}, bad(fmt.Sprintf("Invalid snapshot time %d for table %s: it is in the future", at.UnixMilli(), key))
	case at.Before(x.born), at.Before(now.Add(-s.travels)):
		return place{}, bad(fmt.Sprintf("Invalid snapshot time %d for table %s:%s.%s@%d. Cannot read before %d.", at.UnixMilli(), Project, Dataset, key, at.UnixMilli(), x.born.UnixMilli()))
	}
	for _, v := range s.versions {
		if n, ok := v.copies[x.id]; ok && v.until.After(at) {
			return place{v.schema, n}, nil
		}
	}
	return place{Dataset, x.name}, nil
}

// step is one commit's change of a table.
type step struct {
	from, to  place
	at        time.Time
	updates   bool // it was of updates alone
	preimages bool // rows are told as they were, too
}

// steps answers how a table changed from one time on and before another, or why that is not told.
func (s *Server) steps(key string, from, to time.Time) ([]step, place, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.live[key]
	now := s.micros()
	switch {
	case x == nil:
		return nil, place{}, missing("Table " + Project + ":" + Dataset + "." + key)
	case x.tracked.IsZero():
		return nil, place{}, bad("CHANGES is not enabled on table " + key + ": set the table option enable_change_history")
	case to.After(now.Add(-changesLag)):
		return nil, place{}, bad("The end_timestamp of CHANGES must be at least 10 minutes before the current time")
	case !to.After(from), to.Sub(from) > changesRange:
		return nil, place{}, bad("The time range of CHANGES must be at most 1 day")
	case from.Before(now.Add(-s.travels)):
		return nil, place{}, bad("The start_timestamp of CHANGES is earlier than allowed by time travel")
	case x.tracked.After(x.born) && from.Before(x.tracked):
		return nil, place{}, bad("Change history was not enabled on table " + key + " for the time range")
	}
	is := place{Dataset, x.name}
	var out []step
	next := is
	for i := len(s.versions) - 1; i >= 0; i-- {
		v := s.versions[i]
		n, ok := v.copies[x.id]
		if !ok {
			continue
		}
		old := place{v.schema, n}
		if !v.until.Before(from) && v.until.Before(to) {
			if v.transaction {
				return nil, place{}, bad("CHANGES is not supported on table " + key + ": a multi-statement transaction was committed in the time range")
			}
			out = append(out, step{from: old, to: next, at: v.until, updates: v.updates, preimages: !v.updates || !s.imageless})
		}
		next = old
	}
	return out, is, nil
}

// changes answers where the view is of how a table changed.
func (s *Server) changes(ctx context.Context, key string, from, to time.Time) (place, error) {
	steps, is, err := s.steps(key, from, to)
	if err != nil {
		return place{}, err
	}
	columns, err := s.columnsOf(ctx, is)
	if err != nil {
		return place{}, err
	}
	none := step{from: is, to: is, at: from}
	parts := []string{"SELECT * FROM (" + none.text(columns, columns, columns) + ") WHERE FALSE"}
	for _, x := range steps {
		had, err := s.columnsOf(ctx, x.from)
		if err != nil {
			return place{}, err
		}
		has, err := s.columnsOf(ctx, x.to)
		if err != nil {
			return place{}, err
		}
		parts = append(parts, x.text(columns, had, has))
	}
	view := place{"_changes_" + strconv.Itoa(s.next()), key}
	//nolint:gosec // the test's own
	_, err = s.db.ExecContext(ctx, "CREATE SCHEMA "+ident(view.schema)+"; CREATE VIEW "+view.sql()+" AS "+strings.Join(parts, " UNION ALL "))
	return view, err
}

func (s *Server) columnsOf(ctx context.Context, p place) ([]string, error) {
	return s.names(ctx, "SELECT column_name FROM (DESCRIBE SELECT * FROM "+p.sql()+")") //nolint:gosec // the test's own
}

// text selects one commit's changes by the table's columns; those that it had not were NULL. Of rows that stayed as they
// were, every third is said to have been written again.
func (x step) text(columns, had, has []string) string {
	list := make([]string, len(columns))
	for i, n := range columns {
		list[i] = ident(n)
	}
	all := strings.Join(list, ", ")
	rows := func(p place, there []string) string {
		known := map[string]bool{}
		for _, n := range there {
			known[n] = true
		}
		out := make([]string, len(columns))
		for i, n := range columns {
			if out[i] = list[i]; !known[n] {
				out[i] = "NULL AS " + list[i]
			}
		}
		return "(SELECT " + strings.Join(out, ", ") + " FROM " + p.sql() + ")"
	}
	a, b := rows(x.from, had), rows(x.to, has)
	change := func(typ, update, of string) string {
		return "SELECT " + all + `, '` + typ + `' AS "_CHANGE_TYPE", TIMESTAMPTZ '` + x.at.Format("2006-01-02 15:04:05.000000+00") + `' AS "_CHANGE_TIMESTAMP", ` +
			update + ` AS "_CHANGE_IS_FOR_UPDATE" FROM (` + of + ")"
	}
	again := "SELECT " + all + " FROM (" + a + " INTERSECT ALL " + b + ") WHERE hash(" + all + ") % 3 = 0"
	came, went := "INSERT", "FALSE"
	if x.updates {
		came, went = "UPDATE", "TRUE"
	}
	parts := []string{change(came, "FALSE", b+" EXCEPT ALL "+a), change("UPDATE", "FALSE", again)}
	if x.preimages {
		parts = append(parts, change("DELETE", went, a+" EXCEPT ALL "+b), change("DELETE", "TRUE", again))
	}
	return strings.Join(parts, " UNION ALL ")
}
