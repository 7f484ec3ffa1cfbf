//go:build cgo && duckdb_arrow

package snowflake_test

import (
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/source"
	"millrace.dev/pkg/source/snowflake"
	"millrace.dev/pkg/source/snowflake/snowflaketest"
)

func firstOf(b arrow.RecordBatch) []string {
	out := make([]string, b.NumRows())
	for i := range out {
		out[i] = string([]byte(b.Column(0).ValueStr(i)))
	}
	return out
}

func stepOf(t *testing.T, s source.Source, name string) (source.CheckStep, bool) {
	t.Helper()
	for _, x := range s.Check(t.Context()) {
		if x.Name == name {
			return x, true
		}
	}
	return source.CheckStep{}, false
}

// TestTheStateSchema keeps snapshots as a role that may only read the data: it is told what it lacks, and does with what
// Setup says.
func TestTheStateSchema(t *testing.T) {
	denied := snowflaketest.New(t, snowflaketest.Options{Fold: true})
	denied.Exec(t, people)
	_, err := follow(t, denied, resource.Diff, "SELECT id, plan FROM people", "PLAN").changes(t.Context())
	require.Equal(t, fault.ReasonWarehouseDenied, fault.ReasonOf(err), "%v", err)
	require.ErrorContains(t, err, "mirror_engine: row_index")
	_, there := stepOf(t, open(t, denied), "state schema writable")
	require.False(t, there, "nobody has asked for a state schema")
	kept := func(c *resource.Snowflake) { c.StateSchema = "kept" }
	step, there := stepOf(t, open(t, denied, kept), "state schema writable")
	require.True(t, there)
	require.True(t, step.Warning)
	require.Contains(t, step.Message, "KEPT")

	s := snowflaketest.New(t, snowflaketest.Options{Fold: true, Writes: []string{"KEPT"}})
	s.Exec(t, people)
	s.Exec(t, "INSERT INTO peer_meta.object_privileges VALUES ('SYNC_R', 'SCHEMA', 'KEPT', 'CREATE TABLE'); INSERT INTO peer_meta.table_privileges VALUES ('SYNC_R', 'OWNERSHIP', 'KEPT')")
	src := open(t, s, kept)
	step, _ = stepOf(t, src, "state schema writable")
	require.Equal(t, source.CheckStep{Name: "state schema writable", OK: true}, step)
	_, there = stepOf(t, src, "privileges")
	require.False(t, there, "its own snapshots are no data")
	c := s.Connection()
	kept(&c)
	text, err := snowflake.New(snowflake.Settings{}).Setup(resource.Connection{Snowflake: &c})
	require.NoError(t, err)
	require.Contains(t, text, "GRANT USAGE, CREATE TABLE ON SCHEMA MARTS.KEPT TO ROLE SYNC_R;")
	require.Contains(t, text, "SET CHANGE_TRACKING = TRUE")

	r, ok := source.As[source.ChangeReader](src)
	require.True(t, ok)
	f := &follower{ChangeReader: r, q: source.ChangeQuery{Query: model("SELECT id, plan FROM people"), Engine: resource.Diff, Owner: "keeper", Compared: []string{"PLAN"}}}
	f.q.Model.KeyColumns = []string{"ID"}
	first, rows, _ := f.next(t)
	require.Len(t, rows, 40)
	s.Exec(t, `DELETE FROM KEPT."m_keeper_1_0" WHERE ID = 1`)
	second, rows, _ := f.next(t)
	require.Contains(t, second.Lost, "not whole")
	require.Len(t, rows, 40)
	require.NotEqual(t, first.State, second.State)
}

func TestTablesWithoutAPastAreWarnedOf(t *testing.T) {
	s := tracked(t)
	_, there := stepOf(t, open(t, s), "time travel")
	require.False(t, there)
	s.Exec(t, "ALTER TABLE people SET DATA_RETENTION_TIME_IN_DAYS = 0")
	step, there := stepOf(t, open(t, s), "time travel")
	require.True(t, there)
	require.True(t, step.Warning)
	require.Contains(t, step.Message, "1 tables")
}
