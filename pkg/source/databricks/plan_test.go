//go:build cgo && duckdb_arrow

package databricks_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/source"
	"millrace.dev/pkg/source/databricks"
	"millrace.dev/pkg/source/databricks/databrickstest"
)

func by(sql, column string, typ resource.IteratorType) source.Query {
	q := model(sql)
	q.Model.Iterator = resource.Iterator{Column: column, Type: typ}
	return q
}

func planOf(t *testing.T, s source.Source, q source.Query, want int) source.Plan {
	t.Helper()
	p, _ := source.As[source.Planner](s)
	got, err := p.Plan(t.Context(), q, want)
	require.NoError(t, err)
	return got
}

func TestATableIsReadInThePlansVersion(t *testing.T) {
	p := databrickstest.Start(t, databrickstest.Options{})
	p.Exec(t, "CREATE TABLE t AS SELECT i AS id, 'a' AS k FROM generate_series(1, 10) AS g(i)")
	s := openWith(t, databricks.Settings{PartRows: 5}, p.Connection())
	q := source.Query{Model: resource.DataModel{Table: "shop.sales.t", Iterator: resource.Iterator{Column: "id", Type: resource.IteratorInteger}}}
	plan := planOf(t, s, q, 2)
	require.Equal(t, "version 1", plan.Snapshot)
	require.Equal(t, "10", plan.Watermark)
	require.True(t, plan.Counted)
	require.EqualValues(t, 10, plan.EstimatedRows)
	p.Exec(t, "DELETE FROM t WHERE id = 1; INSERT INTO t VALUES (2, 'b')")

	readParts := func() (out []string) {
		for _, r := range plan.Parts {
			q.Snapshot, q.Range = plan.Snapshot, r
			out = append(out, values(t, s, q)...)
		}
		return out
	}
	require.Len(t, plan.Parts, 2)
	require.ElementsMatch(t, []string{"1", "2", "3", "4", "5", "6", "7", "8", "9", "10"}, readParts(), "as it was when the run was planned")
	require.Equal(t, plan.Snapshot, s.(source.Renewer).ReadUnder())

	p.Vacuum(t)
	got := readParts()
	require.NotContains(t, got, "1", "parts by value go on in the newest version")
	require.Len(t, got, 10)
	require.Equal(t, "version 3", s.(source.Renewer).ReadUnder(), "and say so")
}

// What has no versions is read as it is when its statement runs, and nobody is held to the count.
func TestQueriesAndViewsHaveNoSnapshot(t *testing.T) {
	p := databrickstest.Start(t, databrickstest.Options{})
	p.Exec(t, "CREATE TABLE t AS SELECT 1 AS id; CREATE VIEW v AS FROM t")
	s := open(t, p)
	for _, m := range []resource.DataModel{{SQL: "SELECT id FROM t"}, {Table: "v"}} {
		plan := planOf(t, s, source.Query{Model: m, Full: true}, 1)
		require.Empty(t, plan.Snapshot)
		require.False(t, plan.Counted)
		require.False(t, plan.SnapshotTime.IsZero())
		require.EqualValues(t, 1, plan.EstimatedRows)
		require.Positive(t, plan.EstimatedBytes)
	}
	_, err := s.(source.Planner).Plan(t.Context(), source.Query{Model: resource.DataModel{Table: "missing"}}, 1)
	require.Equal(t, fault.ReasonQueryInvalid, fault.ReasonOf(err))
}

// A table that cannot be read in its version, as one with row filters, is read as it is.
func TestATableWhoseVersionsAreNotReadHasNoSnapshot(t *testing.T) {
	p := databrickstest.Start(t, databrickstest.Options{})
	p.Exec(t, "CREATE TABLE t AS SELECT 1 AS id")
	s := open(t, p)
	p.Intercept(func(call string, n int) *databrickstest.Fault {
		if call == "ExecuteStatement" && n == 3 { // after the clock and the history
			p.Vacuum(t)
		}
		return nil
	})
	plan := planOf(t, s, source.Query{Model: resource.DataModel{Table: "t"}}, 1)
	require.Empty(t, plan.Snapshot)
	require.False(t, plan.Counted)
	require.EqualValues(t, 1, plan.EstimatedRows)
}

// The lexical rules are Databricks': backslashes in strings, raw strings, backticks, comments that go on.
func TestTheTextOfQueries(t *testing.T) {
	s := open(t, databrickstest.Start(t, databrickstest.Options{}))
	for sql, want := range map[string]string{
		`SELECT 'it\'s; -- fine' AS v`:       "it's; -- fine",
		`SELECT "double; 'q'" AS v`:          "double; 'q'",
		`SELECT r'back\' AS v`:               `back\`,
		"SELECT 1 AS `a``;b` /* ; ' */ ; ; ": "1",
		"SELECT 2 AS v -- ' unclosed":        "2",
	} {
		require.Equal(t, []string{want}, values(t, s, model(sql)), sql)
	}
	for _, sql := range []string{
		`SELECT 'a\'`, "SELECT `a", "SELECT 1 AS a) AS q CROSS JOIN (SELECT 2 AS b", "SELECT :low AS a", "SELECT ? AS a",
		"DESCRIBE HISTORY t", "SHOW TABLES", "USE CATALOG x", "MERGE INTO t USING s ON TRUE WHEN MATCHED THEN DELETE", "OPTIMIZE t",
	} {
		_, err := s.Describe(t.Context(), model(sql))
		require.Equal(t, fault.ReasonQueryInvalid, fault.ReasonOf(err), "%s: %v", sql, err)
	}
}
