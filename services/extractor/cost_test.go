//go:build cgo && duckdb_arrow

package extractor_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/secret"
	"millrace.dev/pkg/source/bigquery/bigquerytest"
)

// A plan whose lease is over was paid for: what its queries cost is told, though nobody takes the plan.
func TestALostLeaseTellsWhatItsQueriesCost(t *testing.T) {
	peer := bigquerytest.Start(t)
	peer.Exec(t, "CREATE TABLE people AS SELECT i AS customer_id FROM generate_series(1, 1000) AS g(i)")
	m := newMesh(t)
	m.warehouse(people)
	keys, err := secret.Open(t.Context(), "file:"+filepath.Join(m.dir, "keys.json"))
	require.NoError(t, err)
	m.snapshot.Connection = peer.Connection(t)
	require.NoError(t, keys.SealSecrets(&m.snapshot.Connection))
	m.snapshot.DataModel.SQL = "SELECT customer_id FROM people"
	m.snapshot.DataModel.Iterator = resource.Iterator{}
	m.snapshot.Sync.Mode = resource.Full

	m.fenced.Store(true)
	late := m.work(m.lease(0))
	require.Positive(t, late.GetCost().GetBytesScanned())
	select {
	case told := <-m.costs:
		require.Equal(t, []uint32{0, 3}, []uint32{told.GetPart(), told.GetEpoch()})
		require.Equal(t, late.GetCost().GetBytesScanned(), told.GetCost().GetBytesScanned())
	case <-time.After(60 * time.Second):
		require.Fail(t, "the cost is not told")
	}
	m.fenced.Store(false)
	require.Nil(t, m.work(m.lease(0)).GetError())
	require.Empty(t, m.costs, "the plan has it")
}
