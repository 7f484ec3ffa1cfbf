package pebble_test

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
)

// TestUnchangedRowsCostNoWrite brings the same rows twice. The second time only the batch's name and result are written.
func TestUnchangedRowsCostNoWrite(t *testing.T) {
	s := open(t, "store", small(vfs.NewMem()))
	const rows = 1000
	require.EqualValues(t, rows, created(t, s, people(0, rows), 0))
	first := s.Written()
	require.Greater(t, first, uint64(50*rows))
	out, err := ingest(t, s, people(0, rows), 1)
	require.NoError(t, err)
	require.EqualValues(t, rows, out.Result.Counts.Unchanged)
	require.Less(t, s.Written()-first, uint64(rows), "less than a byte a row")
}
