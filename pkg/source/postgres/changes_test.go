package postgres_test

import (
	"iter"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/source"
	"millrace.dev/pkg/source/postgres"
	"millrace.dev/pkg/testenv"
)

func step(t *testing.T, s source.Source) (source.CheckStep, bool) {
	t.Helper()
	for _, x := range s.Check(t.Context()) {
		if x.Name == "state schema writable" {
			return x, true
		}
	}
	return source.CheckStep{}, false
}

// TestTheStateSchema keeps snapshots as a role that may only read the data: it is told what it lacks, and does with what
// Setup says.
func TestTheStateSchema(t *testing.T) {
	at := testenv.Postgres(t)
	c := connection(t, at)
	exec(t, at, `DROP ROLE IF EXISTS keeper; CREATE ROLE keeper LOGIN PASSWORD 'keeper'; ALTER ROLE keeper SET default_transaction_read_only = on;
CREATE TABLE things (id BIGINT, n BIGINT); INSERT INTO things VALUES (1, 1); GRANT SELECT ON things TO keeper`)
	t.Cleanup(func() { exec(t, at, "DROP SCHEMA IF EXISTS kept CASCADE; DROP OWNED BY keeper; DROP ROLE keeper") })
	c.Postgres.User, c.Postgres.Password.Plain = "keeper", "keeper"
	_, there := step(t, open(t, c))
	require.False(t, there, "nobody has asked for a state schema")

	c.Postgres.StateSchema = "kept"
	s := open(t, c)
	got, there := step(t, s)
	require.True(t, there)
	require.False(t, got.OK)
	require.Contains(t, got.Message, `"kept"`)
	q := source.ChangeQuery{Query: model("SELECT id, n FROM things"), Engine: resource.Diff, Owner: "keeper", Attempt: source.Attempt{Run: 1, Epoch: 1}, Compared: []string{"n"}}
	q.Model.KeyColumns = []string{"id"}
	r, ok := source.As[source.ChangeReader](s)
	require.True(t, ok)
	_, err := r.Changes(t.Context(), q, 1)
	require.Equal(t, fault.ReasonWarehouseDenied, fault.ReasonOf(err), "%v", err)
	require.ErrorContains(t, err, "mirror_engine: row_index")

	text, err := postgres.New(postgres.Settings{}).Setup(c)
	require.NoError(t, err)
	require.Contains(t, text, `CREATE SCHEMA "kept" AUTHORIZATION "keeper";`)
	exec(t, at, `CREATE SCHEMA "kept" AUTHORIZATION "keeper"`)
	got, _ = step(t, s)
	require.True(t, got.OK, got.Message)
	first, err := r.Changes(t.Context(), q, 1)
	require.NoError(t, err)
	require.EqualValues(t, 1, first.Changed)
	require.False(t, warns(t, s), "the snapshots are Millrace's own")
	exec(t, at, "SET ROLE keeper; SET default_transaction_read_only = off; CREATE TABLE kept.m_other (id BIGINT)")
	require.True(t, warns(t, s), "a table that is none of them")
	exec(t, at, "DROP TABLE kept.m_other")

	// After a crash of the server an unlogged table is empty.
	k, ok := source.ParseKept(first.State)
	require.True(t, ok)
	exec(t, at, `TRUNCATE kept."`+k.Table()+`"`)
	q.Since, q.Attempt.Run = first.State, 2
	second, err := r.Changes(t.Context(), q, 1)
	require.NoError(t, err)
	require.Contains(t, second.Lost, "not whole")
	require.EqualValues(t, 1, second.Changed)
}

// warns says whether the connection's test warns of a role that could write.
func warns(t *testing.T, s source.Source) bool {
	t.Helper()
	return slices.ContainsFunc(s.Check(t.Context()), func(x source.CheckStep) bool { return x.Name == "privileges" && x.Warning })
}

// TestWhatIsStillReadIsNotCleared holds a table that is to be dropped: that is told, and made good once it is free.
func TestWhatIsStillReadIsNotCleared(t *testing.T) {
	at := testenv.Postgres(t)
	exec(t, at, "CREATE TABLE things (id BIGINT, n BIGINT); INSERT INTO things VALUES (1, 1)")
	c := connection(t, at)
	q := source.ChangeQuery{Query: model("SELECT id, n FROM things"), Engine: resource.Diff, Owner: "keeper", Attempt: source.Attempt{Run: 1, Epoch: 1}, Compared: []string{"n"}}
	q.Model.KeyColumns = []string{"id"}
	r, ok := source.As[source.ChangeReader](open(t, c))
	require.True(t, ok)
	got, err := r.Changes(t.Context(), q, 1)
	require.NoError(t, err)

	d := postgres.New(postgres.Settings{})
	next, stop := iter.Pull2(r.ReadChanges(t.Context(), q, got.State, source.Range{}))
	_, err, ok = next()
	require.True(t, ok)
	require.NoError(t, err)
	err = d.Clear(t.Context(), c, q.Owner, q.Attempt)
	require.Equal(t, fault.ReasonWarehouseLocked, fault.ReasonOf(err), "%v", err)
	stop()
	require.NoError(t, d.Clear(t.Context(), c, q.Owner, q.Attempt))
	require.Equal(t, `the tables m_keeper_* in the schema "millrace" of the database `+c.Postgres.Database+" at "+c.Postgres.Host, d.Whereabouts(c, q.Owner))
}
