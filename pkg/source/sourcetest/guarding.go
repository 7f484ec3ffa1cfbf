package sourcetest

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/source"
)

func refusals(t *testing.T, h Harness) {
	w := h.New(t)
	w.Exec(t, people)
	s := h.reopen(t, w)
	for _, bad := range []string{
		"", ";", "-- nothing", "SELEC 1", "SELECT",
		"SELECT 1; DROP TABLE people", "SELECT 1; SELECT 2",
		"DELETE FROM people", "UPDATE people SET name = 'x'", "INSERT INTO people VALUES (9, 'x', 1, NULL)",
		"DELETE FROM people RETURNING *", "WITH gone AS (DELETE FROM people RETURNING *) SELECT * FROM gone",
		"DROP TABLE people", "CREATE TABLE x AS SELECT 1 AS a", "ALTER TABLE people ADD COLUMN x INTEGER",
		"COPY people TO '/tmp/millrace-refused.csv'", "COPY (SELECT 1) TO '/tmp/millrace-refused.csv'",
		"CALL p()", "EXPLAIN SELECT 1", "EXPLAIN ANALYZE SELECT 1", "SET search_path = 'x'", "BEGIN", "COMMIT", "VACUUM", "CHECKPOINT",
		"SELECT 1 AS a) AS q; DROP TABLE people; --", "SELECT 1 AS a) AS q --", "SELECT 1 AS a /*", "SELECT 'a", "SELECT \"a",
		"SELECT * FROM missing", "SELECT missing FROM people", "SELECT $1 AS a", "SELECT 1 AS \x00", "SELECT '\xff' AS a",
	} {
		_, err := s.Describe(t.Context(), sql(bad))
		require.Error(t, err, "%q", bad)
		require.Equal(t, fault.Invalid, fault.ClassOf(err), "%q: %v", bad, err)
		require.Equal(t, fault.ReasonQueryInvalid, fault.ReasonOf(err), "%q: %v", bad, err)
		_, err = read(t.Context(), t, s, sql(bad))
		require.Error(t, err, "%q", bad)
	}
	for _, bad := range []string{"people; DROP TABLE people", "people --", "(SELECT 1)", "missing"} {
		_, err := s.Describe(t.Context(), source.Query{Model: resource.DataModel{Table: bad}})
		require.Equal(t, fault.ReasonQueryInvalid, fault.ReasonOf(err), bad)
	}
	require.Len(t, rows(t, s, sql("SELECT * FROM people")), 5)
}

func faultsSayTheLine(t *testing.T, h Harness) {
	s := h.open(t, people)
	_, err := s.Describe(t.Context(), sql("SELECT id,\n  name,\n  nickname, 'literal'\nFROM people"))
	require.ErrorContains(t, err, "line 3")
	require.ErrorContains(t, err, "nickname")
	require.NotContains(t, err.Error(), "literal")
}

func sameNames(t *testing.T, h Harness) {
	s := h.open(t, people)
	for _, q := range []string{"SELECT id, name AS \"ID\" FROM people", "SELECT id, id FROM people", "SELECT * FROM people AS a CROSS JOIN people AS b"} {
		_, err := s.Describe(t.Context(), sql(q))
		require.Equal(t, fault.ReasonQueryInvalid, fault.ReasonOf(err), q)
		require.ErrorContains(t, err, `"id"`, q)
	}
}

func namesAreQuoted(t *testing.T, h Harness) {
	names := []string{`a b`, `q"uote`, `dot.ted`, `semi;colon`, `SELECT`, `größe`, `🙂`, `back\slash`, "tick`"}
	var list []string
	for _, n := range names {
		list = append(list, `1 AS "`+strings.ReplaceAll(n, `"`, `""`)+`"`)
	}
	s := h.open(t)
	q := sql("SELECT " + strings.Join(list, ", "))
	schema, err := s.Describe(t.Context(), q)
	require.NoError(t, err)
	for i, n := range names {
		require.Equal(t, n, schema.Field(i).Name)
		one := by("SELECT CAST(7 AS BIGINT) AS "+list[i][5:], n, "integer", source.Range{Low: "7"})
		require.Len(t, rows(t, s, one), 1, n)
	}
	require.Len(t, rows(t, s, q), 1)
}

func trailing(t *testing.T, h Harness) {
	s := h.open(t, people)
	for _, q := range []string{"SELECT id FROM people;", "SELECT id FROM people ; -- all\n;", "-- all\nSELECT id FROM people -- all", "WITH p AS (SELECT * FROM people) SELECT id FROM p /* ; */", "SELECT id FROM people ORDER BY id LIMIT 100"} {
		require.Len(t, rows(t, s, sql(q)), 5, q)
	}
}
