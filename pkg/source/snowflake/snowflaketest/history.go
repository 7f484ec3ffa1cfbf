//go:build cgo && duckdb_arrow

package snowflaketest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// version is the account's tables as they were until an instant.
type version struct {
	until  int64 // microseconds
	schema string
	tables []string
}

func (s *Server) tables(t testing.TB) []string {
	t.Helper()
	rows, err := s.db.QueryContext(s.life, "SELECT table_name FROM duckdb_tables() WHERE schema_name = 'main' ORDER BY 1")
	require.NoError(t, err)
	defer func() { require.NoError(t, rows.Close()) }()
	var out []string
	for rows.Next() {
		var name string
		require.NoError(t, rows.Scan(&name))
		out = append(out, name)
	}
	require.NoError(t, rows.Err())
	return out
}

// remember keeps the tables as they are.
func (s *Server) remember(t testing.TB) {
	t.Helper()
	names := s.tables(t)
	if len(names) == 0 {
		return
	}
	s.mu.Lock()
	v := version{schema: fmt.Sprintf("peer_was_%d", len(s.versions)), tables: names}
	s.mu.Unlock()
	_, err := s.db.ExecContext(s.life, "CREATE SCHEMA "+v.schema)
	require.NoError(t, err)
	for _, n := range names {
		q := quoteName(n)
		_, err := s.db.ExecContext(s.life, "CREATE TABLE "+v.schema+"."+q+" AS SELECT * FROM main."+q)
		require.NoError(t, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	v.until = time.Now().UnixMicro()
	s.versions = append(s.versions, v)
}

// note keeps when tables were made.
func (s *Server) note(t testing.TB) {
	t.Helper()
	names := s.tables(t)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range names {
		if key := strings.ToUpper(n); s.born[key] == 0 {
			s.born[key] = time.Now().UnixMicro()
		}
	}
}

// Forget makes the account keep nothing of what tables were until now.
func (s *Server) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept = time.Now().UnixMicro()
}

func quoteName(n string) string { return `"` + strings.ReplaceAll(n, `"`, `""`) + `"` }

// travel answers a statement with each table that stands AT an instant as the table that it was then.
func (s *Server) travel(sql string) (string, error) {
	var failed error
	out := reAt.ReplaceAllStringFunc(sql, func(m string) string {
		parts := reAt.FindStringSubmatch(m)
		at, err := time.Parse("2006-01-02T15:04:05.999999999Z07:00", parts[2])
		if err != nil {
			failed = &problem{"001003", "42000", "SQL compilation error:\nsyntax error line 1 at position 1 unexpected 'AT'."}
			return m
		}
		name, err := s.was(parts[1], at.UnixMicro())
		if err != nil {
			failed = err
		}
		return name
	})
	return out, failed
}

// was answers a table as it was: its name, or that of a copy.
func (s *Server) was(name string, at int64) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	bare := name[strings.LastIndexByte(name, '.')+1:]
	key := strings.ToUpper(strings.Trim(bare, `"`))
	born := s.born[key]
	switch {
	case born == 0:
		return "", &problem{"002141", "0A000", "SQL compilation error:\nUnsupported feature 'TIME TRAVEL ON A VIEW'."}
	case at < s.kept, at < born:
		return "", &problem{"000707", "02000", "Time travel data is not available for table. The requested time is either beyond the allowed time travel period or before the object creation time."}
	}
	for _, v := range s.versions {
		if v.until <= at {
			continue
		}
		for _, n := range v.tables {
			if strings.EqualFold(n, key) {
				return v.schema + "." + bare, nil
			}
		}
	}
	return name, nil
}
