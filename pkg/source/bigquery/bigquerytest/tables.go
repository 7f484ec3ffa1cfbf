//go:build cgo && duckdb_arrow

package bigquerytest

import (
	"context"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// table is a table of the data set, by whatever name.
type table struct {
	id         int
	name       string    // as DuckDB has it
	born       time.Time // when it was made
	tracked    time.Time // since when its changes are kept; zero: they are not
	expiration int64     // of its partitions, in days; 0: none
}

// meta is where the peer says which tables there are.
const meta = "_meta"

const tableName = `("(?:[^"]|"")+"|[\pL\pN_]+)`

//nolint:gochecknoglobals // compiled once, never changed
var (
	reCreate = regexp.MustCompile(`(?is)^\s*CREATE\s+(?:OR\s+REPLACE\s+)?TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?` + tableName)
	reDrop   = regexp.MustCompile(`(?is)^\s*DROP\s+TABLE\s+(?:IF\s+EXISTS\s+)?` + tableName)
	reRename = regexp.MustCompile(`(?is)^\s*ALTER\s+TABLE\s+` + tableName + `\s+RENAME\s+TO\s+` + tableName)
	reOption = regexp.MustCompile(`(?is)^\s*ALTER\s+TABLE\s+` + tableName + `\s+SET\s+OPTIONS\s*\(\s*(enable_change_history|partition_expiration_days)\s*=\s*(\w+)\s*\)\s*$`)
	reUpdate = regexp.MustCompile(`(?is)^\s*UPDATE\s`)
)

// keyOf answers the key of a name among the data set's tables.
func keyOf(name string) string {
	return strings.ToLower(strings.ReplaceAll(strings.Trim(name, `"`), `""`, `"`))
}

// cut answers the statements of a text of DuckDB's, which ends at no quote.
func cut(text string) []string {
	var out []string
	quote, from := byte(0), 0
	for i := range len(text) {
		switch c := text[i]; {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '\'', c == '"':
			quote = c
		case c == ';':
			out, from = append(out, text[from:i]), i+1
		}
	}
	return append(out, text[from:])
}

// TrackChanges lets tables that are made from now on keep the history of their changes, and the peer what all of them
// were. It is asked for before the first statement.
func (s *Server) TrackChanges() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tracks = true
}

// Exec runs statements of DuckDB's dialect in the data set, as the warehouse's owner, and as one commit. Beside that
// dialect it knows ALTER TABLE … SET OPTIONS (enable_change_history = …) and (partition_expiration_days = …).
func (s *Server) Exec(t testing.TB, statements string) {
	t.Helper()
	s.commit(t, statements, false)
}

// ExecTransaction is Exec as a multi-statement transaction, whose changes BigQuery does not tell.
func (s *Server) ExecTransaction(t testing.TB, statements string) {
	t.Helper()
	s.commit(t, statements, true)
}

func (s *Server) commit(t testing.TB, text string, transaction bool) {
	t.Helper()
	all := cut(text)
	updates := true
	var run []string
	for _, one := range all {
		updates = updates && (strings.TrimSpace(one) == "" || reUpdate.MatchString(one))
		if !reOption.MatchString(one) {
			run = append(run, one)
		}
	}
	s.remember(t, transaction, updates)
	c, err := s.db.Conn(t.Context())
	require.NoError(t, err)
	defer func() { require.NoError(t, c.Close()) }()
	_, err = c.ExecContext(t.Context(), searchPath)
	require.NoError(t, err)
	if text := strings.Join(run, ";"); strings.TrimSpace(text) != "" {
		_, err = c.ExecContext(t.Context(), text)
		require.NoError(t, err)
	}
	s.follow(t, all)
}

// follow keeps which tables there are after statements, and what became of them.
func (s *Server) follow(t testing.TB, all []string) {
	t.Helper()
	names, err := s.names(t.Context(), "SELECT table_name FROM duckdb_tables() WHERE schema_name = '"+Dataset+"' ORDER BY 1")
	require.NoError(t, err)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range all {
		s.followOne(one)
	}
	there, rows := map[string]bool{}, []string{"(NULL, NULL)"}
	for _, n := range names {
		key := keyOf(n)
		if there[key] = true; s.live[key] == nil {
			s.bear(key)
		}
		x, kept := s.live[key], "NO"
		if x.name = n; !x.tracked.IsZero() {
			kept = "YES"
		}
		rows = append(rows, "("+literal(n)+", '"+kept+"')")
	}
	for key := range s.live {
		if !there[key] {
			delete(s.live, key)
		}
	}
	//nolint:gosec // the test's own
	_, err = s.db.ExecContext(t.Context(), "DELETE FROM "+meta+".tables; INSERT INTO "+meta+".tables VALUES "+strings.Join(rows, ", "))
	require.NoError(t, err)
}

// followOne follows one statement. The lock is held.
func (s *Server) followOne(one string) {
	if m := reRename.FindStringSubmatch(one); m != nil {
		if x := s.live[keyOf(m[1])]; x != nil {
			delete(s.live, keyOf(m[1]))
			s.live[keyOf(m[2])] = x
		}
	}
	if m := reOption.FindStringSubmatch(one); m != nil {
		if x := s.live[keyOf(m[1])]; x != nil {
			x.set(strings.ToLower(m[2]), strings.ToLower(m[3]), s.micros())
		}
	}
	if m := reCreate.FindStringSubmatch(one); m != nil {
		s.bear(keyOf(m[1]))
	}
	if m := reDrop.FindStringSubmatch(one); m != nil {
		delete(s.live, keyOf(m[1]))
	}
}

// micros answers the peer's time as timestamps have it. The lock is held.
func (s *Server) micros() time.Time { return s.now().UTC().Truncate(time.Microsecond) }

// bear makes a table. The lock is held.
func (s *Server) bear(key string) {
	s.serial++
	x := &table{id: s.serial, born: s.micros()}
	if s.tracks {
		x.tracked = x.born
	}
	s.live[key] = x
}

func (x *table) set(option, value string, now time.Time) {
	switch {
	case option != "enable_change_history":
		x.expiration, _ = strconv.ParseInt(value, 10, 64) //nolint:errcheck // NULL is none
	case value != "true":
		x.tracked = time.Time{}
	case x.tracked.IsZero():
		x.tracked = now
	}
}

// names answers the texts that a statement selects.
func (s *Server) names(ctx context.Context, text string) (out []string, err error) {
	rows, err := s.db.QueryContext(ctx, text)
	if err != nil {
		return nil, err
	}
	defer rows.Close() //nolint:errcheck // rows.Err says it
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, err
		}
		out = append(out, name)
	}
	return out, rows.Err()
}
