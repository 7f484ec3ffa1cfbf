//go:build cgo && duckdb_arrow

package bigquery_test

import (
	"context"
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/source"
	"millrace.dev/pkg/source/bigquery"
	"millrace.dev/pkg/source/bigquery/bigquerytest"
	"millrace.dev/pkg/source/sourcetest"
)

func TestDiff(t *testing.T) {
	sourcetest.RunChanges(t, sourcetest.Harness{
		Driver:   speaker{bigquery.New(quick())},
		Engine:   resource.Diff,
		PartRows: 1000,
		New: func(t *testing.T) sourcetest.Warehouse {
			s := bigquerytest.Start(t)
			return sourcetest.Warehouse{Connection: s.Connection(t), Exec: func(t *testing.T, sql string) { s.Exec(t, sql) }}
		},
		Exceptions: map[string]string{
			"NamesOfChangesAreQuoted": "BigQuery refuses most of the suite's names for columns: TestNamesOfChanges has those that it takes",
		},
	})
}

func (d speaker) Drop(ctx context.Context, c resource.Connection, s source.State) error {
	return d.Driver.(source.StateKeeper).Drop(ctx, c, s)
}

func (d speaker) Clear(ctx context.Context, c resource.Connection, owner string, last source.Attempt) error {
	return d.Driver.(source.StateKeeper).Clear(ctx, c, owner, last)
}

func (d speaker) Whereabouts(c resource.Connection, owner string) string {
	return d.Driver.(source.StateKeeper).Whereabouts(c, owner)
}

func saidChanges(q source.ChangeQuery) source.ChangeQuery {
	q.Query = said(q.Query)
	return q
}

func (s spoken) Changes(ctx context.Context, q source.ChangeQuery, want int) (source.Changes, error) {
	return s.Source.Changes(ctx, saidChanges(q), want)
}

func (s spoken) ReadChanges(ctx context.Context, q source.ChangeQuery, c source.State, r source.Range) iter.Seq2[arrow.RecordBatch, error] {
	return s.Source.ReadChanges(ctx, saidChanges(q), c, r)
}

func (s spoken) ReadGone(ctx context.Context, q source.ChangeQuery, c source.State) iter.Seq2[arrow.RecordBatch, error] {
	return s.Source.ReadGone(ctx, saidChanges(q), c)
}

// things watches a table by an id.
func things(t *testing.T, peer *bigquerytest.Server) source.ChangeQuery {
	t.Helper()
	peer.Exec(t, "CREATE TABLE things (id BIGINT, n BIGINT); INSERT INTO things VALUES (1, 1), (2, 2)")
	q := source.ChangeQuery{Query: model("SELECT id, n FROM things"), Engine: resource.Diff, Owner: "keeper", Attempt: source.Attempt{Run: 1, Epoch: 1}, Compared: []string{"n"}}
	q.Model.KeyColumns = []string{"id"}
	return q
}

// TestASnapshotThatHasExpired is made 21 days before, and so there is nothing to compare with: everything is new.
func TestASnapshotThatHasExpired(t *testing.T) {
	peer := bigquerytest.Start(t)
	s, q := open(t, peer, quick()), things(t, peer)
	first, err := s.Changes(t.Context(), q, 1)
	require.NoError(t, err)
	q.Since, q.Attempt.Run = first.State, 2
	peer.Pass(20 * 24 * time.Hour)
	peer.ExpireTokens()
	second, err := s.Changes(t.Context(), q, 1)
	require.NoError(t, err)
	require.Empty(t, second.Lost, "it is there for 21 days")
	require.Zero(t, second.Changed)
	q.Since, q.Attempt.Run = second.State, 3
	peer.Pass(22 * 24 * time.Hour)
	peer.ExpireTokens()
	third, err := s.Changes(t.Context(), q, 1)
	require.NoError(t, err)
	require.Contains(t, third.Lost, "at least every two weeks")
	require.EqualValues(t, 2, third.Changed)
	for _, err := range s.ReadChanges(t.Context(), q, first.State, source.Range{}) {
		require.Equal(t, fault.ReasonSourceChanged, fault.ReasonOf(err))
	}
}

// TestTheStateDataset is made by the account where it may, and else by what Setup prints.
func TestTheStateDataset(t *testing.T) {
	peer := bigquerytest.Start(t)
	c := peer.Connection(t)
	c.BigQuery.StateDataset = "kept"
	peer.DenyDatasets(true)
	q := things(t, peer)
	s := openAs(t, c, quick())
	_, err := s.Changes(t.Context(), q, 1)
	require.Equal(t, fault.ReasonWarehouseDenied, fault.ReasonOf(err), "%v", err)
	require.ErrorContains(t, err, "kept")
	require.ErrorContains(t, err, "mirror_engine: row_index")
	steps := s.Check(t.Context())
	require.Equal(t, "state data set writable", steps[len(steps)-1].Name)
	require.False(t, steps[len(steps)-1].OK)
	text, err := bigquery.New(quick()).Setup(c)
	require.NoError(t, err)
	require.Contains(t, text, "`acme-test`.`kept`")
	peer.DenyDatasets(false)
	first, err := s.Changes(t.Context(), q, 1)
	require.NoError(t, err)
	require.EqualValues(t, 2, first.Changed)
	for _, step := range s.Check(t.Context()) {
		require.True(t, step.OK, step.Message)
	}
}

// TestNamesOfChanges compares columns whose names BigQuery takes, and that stand for something else in the driver's text.
func TestNamesOfChanges(t *testing.T) {
	peer := bigquerytest.Start(t)
	s := open(t, peer, quick())
	names := []string{"k 1", "größe", "select", "100%s", "k", "v", "n", "millrace_part", "k0"}
	peer.Exec(t, `CREATE TABLE odd ("`+strings.Join(names, `" BIGINT, "`)+`" BIGINT); INSERT INTO odd VALUES (1, 0, 0, 0, 0, 0, 0, 0, 0)`)
	q := source.ChangeQuery{Query: model("SELECT * FROM odd"), Engine: resource.Diff, Owner: "odd", Compared: names[2:]}
	q.Model.KeyColumns = names[:2]
	next := func() source.Changes {
		q.Attempt.Run++
		c, err := s.Changes(t.Context(), q, 1)
		require.NoError(t, err)
		require.Empty(t, c.Lost)
		q.Since = c.State
		return c
	}
	require.EqualValues(t, 1, next().Changed)
	for _, n := range names[2:] {
		peer.Exec(t, `UPDATE odd SET "`+n+`" = 1`)
		require.EqualValues(t, 1, next().Changed, n)
	}
	peer.Exec(t, "DELETE FROM odd")
	gone := next()
	require.EqualValues(t, 1, gone.Gone)
}

// TestAColumnOfKeysThatChangesItsType makes everything new: values of two types are not compared.
func TestAColumnOfKeysThatChangesItsType(t *testing.T) {
	peer := bigquerytest.Start(t)
	s, q := open(t, peer, quick()), things(t, peer)
	first, err := s.Changes(t.Context(), q, 1)
	require.NoError(t, err)
	peer.Exec(t, "ALTER TABLE things ALTER id TYPE VARCHAR")
	q.Since, q.Attempt.Run = first.State, 2
	second, err := s.Changes(t.Context(), q, 1)
	require.NoError(t, err)
	require.Contains(t, second.Lost, "other columns")
	require.EqualValues(t, 2, second.Changed)
}
