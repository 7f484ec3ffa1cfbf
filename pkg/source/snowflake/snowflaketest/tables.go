//go:build cgo && duckdb_arrow

package snowflaketest

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// table is a table of the account, by whatever name.
type table struct {
	id            int
	name          string // as DuckDB has it
	born, altered int64  // when it was made, and when last something else than its rows changed, in microseconds
	tracked       int64  // since when its changes are tracked; 0: they are not
	retention     int
}

const namePattern = `((?:(?:"(?:[^"]|"")+"|[\pL\pN_$]+)\.)*(?:"(?:[^"]|"")+"|[\pL\pN_$]+))`

var (
	reCreate   = regexp.MustCompile(`(?is)^\s*CREATE\s+(?:OR\s+REPLACE\s+)?(?:TRANSIENT\s+)?TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?` + namePattern)
	reDrop     = regexp.MustCompile(`(?is)^\s*DROP\s+TABLE\s+(?:IF\s+EXISTS\s+)?` + namePattern)
	reRename   = regexp.MustCompile(`(?is)^\s*ALTER\s+TABLE\s+` + namePattern + `\s+RENAME\s+TO\s+` + namePattern)
	reProperty = regexp.MustCompile(`(?is)^\s*ALTER\s+TABLE\s+` + namePattern + `\s+SET\s+(CHANGE_TRACKING|DATA_RETENTION_TIME_IN_DAYS)\s*=\s*(\w+)\s*$`)
	reAlter    = regexp.MustCompile(`(?is)^\s*ALTER\s+TABLE\s+` + namePattern)
)

// keyOf answers the key of a name among the account's tables.
func keyOf(name string) string {
	return strings.ToUpper(strings.ReplaceAll(strings.Trim(bareOf(name), `"`), `""`, `"`))
}

// bareOf answers the last part of a name.
func bareOf(name string) string {
	if strings.HasSuffix(name, `"`) {
		for at := len(name) - 2; at >= 0; at-- {
			if name[at] != '"' {
				continue
			}
			if at > 0 && name[at-1] == '"' {
				at--
				continue
			}
			return name[at:]
		}
	}
	return name[strings.LastIndexByte(name, '.')+1:]
}

// statements cuts a text at its semicolons.
func statements(text string) []string {
	var out []string
	var one strings.Builder
	for i, p := range pieces(text) {
		if i%2 == 1 {
			one.WriteString(p)
			continue
		}
		cuts := strings.Split(p, ";")
		for _, c := range cuts[:len(cuts)-1] {
			one.WriteString(c)
			out = append(out, one.String())
			one.Reset()
		}
		one.WriteString(cuts[len(cuts)-1])
	}
	return append(out, one.String())
}

// Exec runs statements as the account's owner. What tables were before is kept. Beside DuckDB's own SQL it knows
// ALTER TABLE … SET CHANGE_TRACKING and SET DATA_RETENTION_TIME_IN_DAYS.
func (s *Server) Exec(t testing.TB, text string) {
	t.Helper()
	s.remember(t)
	all := statements(s.fold(text))
	var run []string
	for _, one := range all {
		if !reProperty.MatchString(one) {
			run = append(run, one)
		}
	}
	if text := strings.Join(run, ";"); strings.TrimSpace(text) != "" {
		_, err := s.db.ExecContext(s.life, text)
		require.NoError(t, err)
	}
	s.follow(t, all)
}

// follow keeps which tables there are after statements, and what became of them.
func (s *Server) follow(t testing.TB, all []string) {
	t.Helper()
	names := s.tables(t)
	s.mu.Lock()
	now := time.Now().UnixMicro()
	for _, one := range all {
		s.followOne(one, now)
	}
	s.mu.Unlock()
	require.NoError(t, s.publish(names))
}

// followOne follows one statement. The lock is held.
func (s *Server) followOne(one string, now int64) {
	if m := reRename.FindStringSubmatch(one); m != nil {
		if x := s.live[keyOf(m[1])]; x != nil {
			delete(s.live, keyOf(m[1]))
			x.altered = now
			s.live[keyOf(m[2])] = x
		}
		return
	}
	if m := reProperty.FindStringSubmatch(one); m != nil {
		if x := s.live[keyOf(m[1])]; x != nil {
			x.set(strings.ToUpper(m[2]), strings.ToUpper(m[3]), now)
		}
		return
	}
	if m := reAlter.FindStringSubmatch(one); m != nil {
		if x := s.live[keyOf(m[1])]; x != nil {
			x.altered = now
		}
		return
	}
	if m := reCreate.FindStringSubmatch(one); m != nil {
		s.bear(keyOf(m[1]), now)
	}
	if m := reDrop.FindStringSubmatch(one); m != nil {
		delete(s.live, keyOf(m[1]))
	}
}

// bear makes a table. The lock is held.
func (s *Server) bear(key string, now int64) {
	s.next++
	x := &table{id: s.next, born: now, altered: now, retention: 1}
	if s.options.Track {
		x.tracked = now
	}
	s.live[key] = x
}

func (x *table) set(property, value string, now int64) {
	switch property {
	case "CHANGE_TRACKING":
		x.altered, x.tracked = now, 0
		if value == "TRUE" {
			x.tracked = now
		}
	default:
		x.altered, x.retention = now, 0
		for _, digit := range value {
			x.retention = x.retention*10 + int(digit-'0')
		}
	}
}

// publish makes the information schema say which tables there are.
func (s *Server) publish(names []string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	there := map[string]bool{}
	rows := make([]string, 0, len(names))
	for _, n := range names {
		key := strings.ToUpper(n)
		there[key] = true
		if s.live[key] == nil {
			s.bear(key, time.Now().UnixMicro())
		}
		x := s.live[key]
		x.name = n
		rows = append(rows, "("+quoteText(n)+", "+number(x.born)+", "+number(x.altered)+", "+number(int64(x.retention))+")")
	}
	for key := range s.live {
		if !there[key] {
			delete(s.live, key)
		}
	}
	if _, err := s.db.ExecContext(s.life, "DELETE FROM peer_meta.facts"); err != nil || len(rows) == 0 {
		return err //nolint:wrapcheck // the test's
	}
	_, err := s.db.ExecContext(s.life, "INSERT INTO peer_meta.facts VALUES "+strings.Join(rows, ", ")) //nolint:gosec // quoted above
	return err                                                                                         //nolint:wrapcheck // the test's
}

// informationSchema is what the account says of itself.
//
//nolint:gochecknoglobals // never changed
var informationSchema = []string{
	"CREATE SCHEMA peer_meta",
	"CREATE TABLE peer_meta.table_privileges (grantee VARCHAR, privilege_type VARCHAR, table_schema VARCHAR DEFAULT 'PUBLIC')",
	`CREATE VIEW peer_meta.columns AS SELECT table_schema, table_name, column_name, ordinal_position, is_nullable,
	  CASE WHEN data_type LIKE '%INT' OR data_type LIKE 'DECIMAL%' OR data_type = 'INTEGER' THEN 'NUMBER' ELSE data_type END AS data_type,
	  CASE WHEN data_type LIKE 'DECIMAL%' THEN numeric_precision ELSE 38 END AS numeric_precision,
	  CASE WHEN data_type LIKE 'DECIMAL%' THEN numeric_scale ELSE 0 END AS numeric_scale
	FROM information_schema.columns WHERE NOT starts_with(table_schema, 'peer_')`,
	"CREATE TABLE peer_meta.facts (name VARCHAR, born BIGINT, altered BIGINT, retention BIGINT)",
	`CREATE VIEW peer_meta.tables AS
	SELECT 'main' AS table_schema, CASE WHEN regexp_full_match(name, '[a-z_][a-z0-9_$]*') THEN upper(name) ELSE name END AS table_name, 'BASE TABLE' AS table_type,
	  make_timestamp(born) AT TIME ZONE 'UTC' AS created, make_timestamp(altered) AT TIME ZONE 'UTC' AS last_ddl, retention AS retention_time FROM peer_meta.facts
	UNION ALL SELECT schema_name, table_name, 'BASE TABLE', NULL, NULL, 0 FROM duckdb_tables() WHERE schema_name <> 'main' AND NOT starts_with(schema_name, 'peer_')
	UNION ALL SELECT 'main', CASE WHEN regexp_full_match(view_name, '[a-z_][a-z0-9_$]*') THEN upper(view_name) ELSE view_name END, 'VIEW', NULL, NULL, NULL FROM duckdb_views() WHERE schema_name = 'main' AND NOT internal`,
	"CREATE VIEW peer_meta.schemata AS SELECT schema_name FROM duckdb_schemas() WHERE NOT internal AND NOT starts_with(schema_name, 'peer_')",
	"CREATE TABLE peer_meta.object_privileges (grantee VARCHAR, object_type VARCHAR, object_name VARCHAR, privilege_type VARCHAR)",
	"CREATE MACRO to_variant(x) AS x",
	"CREATE MACRO parse_json(x) AS CAST(x AS JSON)",
}
