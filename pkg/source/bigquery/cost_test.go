//go:build cgo && duckdb_arrow

package bigquery_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/source"
	"millrace.dev/pkg/source/bigquery/bigquerytest"
)

// big is a table of 8,000 bytes, by the peer's measure.
func big(t *testing.T, peer *bigquerytest.Server) source.Query {
	t.Helper()
	peer.Exec(t, "CREATE TABLE big AS SELECT i AS id FROM generate_series(1, 1000) AS g(i)")
	q := model("SELECT id FROM big")
	q.Model.KeyColumns = []string{"id"}
	return q
}

func TestAPlanSaysWhatItsQueriesCostAndItsPartsCostNothing(t *testing.T) {
	peer := bigquerytest.Start(t)
	q := big(t, peer)
	s := open(t, peer, quick())
	_, err := s.Describe(t.Context(), q)
	require.NoError(t, err)
	require.True(t, s.Cost().IsZero(), "dry runs cost nothing")
	require.True(t, s.Estimated().IsZero())
	q.Limit = 3
	all, err := s.Estimate(t.Context(), q)
	require.NoError(t, err)
	require.EqualValues(t, 8000, *all.BytesScanned, "of all rows")
	require.True(t, s.Estimated().IsZero(), "nobody pays for it")
	q.Limit = 0

	q.Model.Iterator = resource.Iterator{Column: "id", Type: resource.IteratorInteger}
	plan, err := s.Plan(t.Context(), q, 1)
	require.NoError(t, err)
	ran := int64(len(queries(peer)))
	require.EqualValues(t, 2, ran, "the look at the iterator, and the query")
	require.Equal(t, ran*8000, *s.Estimated().BytesScanned)
	require.Equal(t, ran*8000, *s.Cost().BytesScanned)
	require.Equal(t, ran*(10<<20), *s.Cost().BytesBilled, "at least ten megabytes each")

	part := open(t, peer, quick())
	q.Snapshot, q.Range = plan.Snapshot, plan.Parts[0]
	_, err = values(t.Context(), part, q)
	require.NoError(t, err)
	require.True(t, part.Cost().IsZero(), "a part is a stream of what was paid for")

	_, err = s.Plan(t.Context(), source.Query{Model: q.Model, Label: q.Label}, 1)
	require.NoError(t, err)
	require.Equal(t, 2*ran*8000, *s.Cost().BytesScanned, "planned again, paid again")
}

func TestABudgetIsOfAllQueriesOfAPlanAndRefusesBeforeTheyRun(t *testing.T) {
	peer := bigquerytest.Start(t)
	q := big(t, peer)
	q.Full, q.MaxBytesScanned = true, 7999
	s := open(t, peer, quick())
	_, err := s.Plan(t.Context(), q, 1)
	require.Equal(t, fault.Precondition, fault.ClassOf(err))
	require.Equal(t, fault.ReasonBudgetExceeded, fault.ReasonOf(err))
	require.ErrorContains(t, err, "8000 bytes")
	require.ErrorContains(t, err, "7999")
	require.Empty(t, queries(peer), "nothing is paid for")
	require.True(t, s.Cost().IsZero())

	q.Full, q.MaxBytesScanned = false, 15999
	q.Model.Iterator = resource.Iterator{Column: "id", Type: resource.IteratorInteger}
	_, err = s.Plan(t.Context(), q, 1)
	require.Equal(t, fault.ReasonBudgetExceeded, fault.ReasonOf(err))
	require.ErrorContains(t, err, "16000 bytes", "with the look at the iterator, which ran")
	require.Len(t, queries(peer), 1)

	again := open(t, peer, quick())
	q.MaxBytesScanned = 16000
	_, err = again.Plan(t.Context(), q, 1)
	require.NoError(t, err)
}

func TestABudgetBoundsTheMakingOfASnapshot(t *testing.T) {
	peer := bigquerytest.Start(t)
	q := things(t, peer)
	q.MaxBytesScanned = 1
	s := open(t, peer, quick())
	_, err := s.Changes(t.Context(), q, 1)
	require.Equal(t, fault.ReasonBudgetExceeded, fault.ReasonOf(err))
	require.True(t, s.Cost().IsZero())

	q.MaxBytesScanned = 0
	_, err = s.Changes(t.Context(), q, 1)
	require.NoError(t, err)
	require.EqualValues(t, 2*2*8, *s.Cost().BytesScanned, "the table, once")
}
