//go:build cgo && duckdb_arrow

package snowflaketest

import (
	"context"
	"regexp"
	"slices"
	"strings"

	"github.com/duckdb/duckdb-go/v2"
)

var (
	reMakeSchema = regexp.MustCompile(`(?is)^\s*CREATE\s+SCHEMA\s+IF\s+NOT\s+EXISTS\s+` + namePattern + `\s*$`)
	reTransient  = regexp.MustCompile(`(?is)^(\s*CREATE\s+OR\s+REPLACE\s+)TRANSIENT\s+(TABLE\s+` + namePattern + `)\s+DATA_RETENTION_TIME_IN_DAYS\s+=\s+0(\s+AS\s)`)
)

// writes answers the schema that a statement of the role writes to, "" where it is none that a role may write at all.
func writes(sql string) string {
	if m := reMakeSchema.FindStringSubmatch(sql); m != nil {
		return keyOf(m[1])
	}
	for _, re := range []*regexp.Regexp{reTransient, reDrop} {
		m := re.FindStringSubmatch(sql)
		if m == nil {
			continue
		}
		name := m[len(m)-1]
		if re == reTransient {
			name = m[3]
		}
		schema := strings.TrimSuffix(name, bareOf(name))
		return keyOf(strings.TrimSuffix(schema, "."))
	}
	return ""
}

// plainTable answers a statement that makes a table without what DuckDB does not know.
func plainTable(sql string) string { return reTransient.ReplaceAllString(sql, "$1$2$4") }

// write runs a statement that writes, where the role may.
func (s *Server) write(ctx context.Context, conn *duckdb.Conn, q queryRequest, text string) (map[string]any, error) {
	schema := writes(q.SQLText)
	if schema == "" || !slices.Contains(s.options.Writes, schema) {
		return nil, &problem{"003001", "42501", "SQL access control error:\nInsufficient privileges to operate on schema '" + schema + "'"}
	}
	if reMakeSchema.MatchString(q.SQLText) { // Snowflake makes one that is asked for twice at once; DuckDB calls it a conflict
		s.making.Lock()
		defer s.making.Unlock()
	}
	if _, err := conn.ExecContext(ctx, text, nil); err != nil {
		return nil, err //nolint:wrapcheck // numbered by the caller
	}
	return map[string]any{
		"queryResultFormat": "json", "statementTypeId": 0x6000, "sqlState": "00000", "total": 1, "returned": 1,
		"rowtype": []wireColumn{{Name: "status", Type: "text", Length: 16777216}}, "rowset": [][]string{{"done."}},
	}, nil
}
