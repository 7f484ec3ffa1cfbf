//go:build cgo && duckdb_arrow

package snowflaketest

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// version is the account's tables as they were until an instant.
type version struct {
	until  int64 // microseconds
	schema string
	copies map[int]string // the copy's name, by the table
}

func (s *Server) tables(t testing.TB) []string {
	t.Helper()
	out, err := s.names(s.life, "SELECT table_name FROM duckdb_tables() WHERE schema_name = 'main' ORDER BY 1")
	require.NoError(t, err)
	return out
}

// names answers the texts that a statement selects.
func (s *Server) names(ctx context.Context, text string, args ...any) (out []string, err error) {
	rows, err := s.db.QueryContext(ctx, text, args...)
	if err != nil {
		return nil, err //nolint:wrapcheck // numbered by the caller
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, err //nolint:wrapcheck // numbered by the caller
		}
		out = append(out, name)
	}
	return out, rows.Err() //nolint:wrapcheck // numbered by the caller
}

// remember keeps the tables as they are.
func (s *Server) remember(t testing.TB) {
	t.Helper()
	s.mu.Lock()
	v := version{schema: fmt.Sprintf("peer_was_%d", len(s.versions)), copies: map[int]string{}}
	for _, x := range s.live {
		v.copies[x.id] = x.name
	}
	s.mu.Unlock()
	if len(v.copies) == 0 {
		return
	}
	_, err := s.db.ExecContext(s.life, "CREATE SCHEMA "+v.schema)
	require.NoError(t, err)
	for id, n := range v.copies {
		copied := quoteName(n)
		v.copies[id] = v.schema + "." + copied
		_, err := s.db.ExecContext(s.life, "CREATE TABLE "+v.copies[id]+" AS SELECT * FROM main."+copied)
		require.NoError(t, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	v.until = time.Now().UnixMicro()
	s.versions = append(s.versions, v)
}

// Forget makes the account keep nothing of what tables were until now: their retention has passed by.
func (s *Server) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept = time.Now().UnixMicro()
}

// Age makes everything that the account knows of the past lie further back.
func (s *Server) Age(by time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := by.Microseconds()
	for i := range s.versions {
		s.versions[i].until -= n
	}
	for _, x := range s.live {
		x.born -= n
		if x.tracked != 0 {
			x.tracked -= n
		}
	}
}

func quoteName(n string) string { return `"` + strings.ReplaceAll(n, `"`, `""`) + `"` }
func quoteText(n string) string { return "'" + strings.ReplaceAll(n, "'", "''") + "'" }
func number(n int64) string     { return strconv.FormatInt(n, 10) }

const instantPattern = `\(TIMESTAMP => '([^']+)'::TIMESTAMP_TZ\)`

var (
	reAt      = regexp.MustCompile(namePattern + ` AT` + instantPattern)
	reChanges = regexp.MustCompile(namePattern + ` CHANGES\(INFORMATION => DEFAULT\) AT` + instantPattern + `(?: END` + instantPattern + `)?`)
)

func instantOf(text string) (int64, error) {
	at, err := time.Parse("2006-01-02T15:04:05.999999999Z07:00", text)
	if err != nil {
		return 0, &problem{"001003", "42000", "SQL compilation error:\nsyntax error line 1 at position 1 unexpected 'AT'."}
	}
	return at.UnixMicro(), nil
}

// travel answers a statement with each table that stands AT an instant as the table that it was then, and each whose
// CHANGES are asked for as a view of these.
func (s *Server) travel(sql string) (string, error) {
	var failed error
	replace := func(re *regexp.Regexp, f func(parts []string) (string, error)) {
		sql = re.ReplaceAllStringFunc(sql, func(m string) string {
			name, err := f(re.FindStringSubmatch(m))
			if err != nil {
				failed = err
				return m
			}
			return name
		})
	}
	replace(reChanges, s.changes)
	replace(reAt, func(parts []string) (string, error) {
		at, err := instantOf(parts[2])
		if err != nil {
			return "", err
		}
		return s.was(parts[1], at)
	})
	return sql, failed
}

// was answers a table as it was: its name, or that of a copy.
func (s *Server) was(name string, at int64) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.live[keyOf(name)]
	switch {
	case x == nil:
		return "", &problem{"002141", "0A000", "SQL compilation error:\nUnsupported feature 'TIME TRAVEL ON A VIEW'."}
	case at < s.kept, at < x.born, x.retention == 0:
		return "", &problem{"000707", "02000", "Time travel data is not available for table. The requested time is either beyond the allowed time travel period or before the object creation time."}
	}
	for _, v := range s.versions {
		if copied, ok := v.copies[x.id]; ok && v.until > at {
			return copied[:strings.IndexByte(copied, '.')+1] + bareAs(copied, name), nil
		}
	}
	return name, nil
}

// bareAs answers a copy's own name, written as `name` is where that is the same.
func bareAs(copied, name string) string {
	own := copied[strings.IndexByte(copied, '.')+1:]
	if bare := bareOf(name); keyOf(own) == keyOf(bare) {
		return bare
	}
	return own
}

// changes answers the name of a view of how a table changed. A row that was written again as it was is a pair of changes,
// here every third one; METADATA$ROW_ID tells rows apart by what they are.
func (s *Server) changes(parts []string) (string, error) {
	name := parts[1]
	from, err := instantOf(parts[2])
	if err != nil {
		return "", err
	}
	to := int64(1<<62 - 1)
	if parts[3] != "" {
		if to, err = instantOf(parts[3]); err != nil {
			return "", err
		}
	}
	s.mu.Lock()
	x := s.live[keyOf(name)]
	untracked, own := false, ""
	if x != nil {
		untracked, own = x.tracked == 0 || from < x.tracked, "main."+quoteName(x.name)
	}
	s.next++
	schema := "peer_changes_" + strconv.Itoa(s.next)
	s.mu.Unlock()
	old, err := s.was(name, from)
	if err != nil {
		return "", err
	}
	if untracked {
		return "", &problem{"091930", "2F003", "SQL compilation error:\nChange tracking is not enabled or has been missing for the time range requested on table '" + keyOf(name) + "'."}
	}
	now, err := s.was(name, to)
	if err != nil {
		return "", err
	}
	for _, n := range []*string{&old, &now} {
		if *n == name { // the view has its name
			*n = own
		}
	}
	is, err := s.columnsOf(now)
	if err != nil {
		return "", err
	}
	had, err := s.columnsOf(old)
	if err != nil {
		return "", err
	}
	view := schema + "." + bareOf(name)
	_, err = s.db.ExecContext(s.life, "CREATE SCHEMA "+schema+"; CREATE VIEW "+view+" AS "+changesText(old, now, is, had))
	return view, err //nolint:wrapcheck // numbered by the caller
}

func (s *Server) columnsOf(name string) ([]string, error) {
	return s.names(s.life, "SELECT column_name FROM (DESCRIBE SELECT * FROM "+name+")")
}

// changesText selects the changes from one table to another by its columns; those that the first one had not were NULL.
func changesText(old, now string, is, had []string) string {
	there := map[string]bool{}
	for _, n := range had {
		there[n] = true
	}
	columns, before := make([]string, len(is)), make([]string, len(is))
	for i, n := range is {
		columns[i], before[i] = quoteName(n), quoteName(n)
		if !there[n] {
			before[i] = "NULL AS " + quoteName(n)
		}
	}
	list := strings.Join(columns, ", ")
	a, b := "(SELECT "+strings.Join(before, ", ")+" FROM "+old+")", "(SELECT "+list+" FROM "+now+")"
	id := "md5(CAST(row(" + list + ") AS VARCHAR))"
	change := func(action, update, rows string) string {
		return "SELECT " + list + `, '` + action + `' AS "METADATA$ACTION", ` + update + ` AS "METADATA$ISUPDATE", ` + id + ` AS "METADATA$ROW_ID" FROM (` + rows + ")"
	}
	again := "SELECT " + list + " FROM (" + a + " INTERSECT ALL " + b + ") WHERE hash(" + list + ") % 3 = 0"
	return strings.Join([]string{
		change("DELETE", "FALSE", a+" EXCEPT ALL "+b), change("INSERT", "FALSE", b+" EXCEPT ALL "+a),
		change("DELETE", "TRUE", again), change("INSERT", "TRUE", again),
	}, " UNION ALL ")
}
