package pebble_test

import (
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/store/storetest"
)

// TestWhatALoadLeavesIsMovedDown loads through small memtables, which leaves many sorted runs in the first level. They are
// moved down by themselves once nothing is written, and nothing is lost by it.
func TestWhatALoadLeavesIsMovedDown(t *testing.T) {
	s := open(t, "store", small(vfs.NewMem()))
	const rows, batches = 2000, 40
	for n := range batches {
		require.EqualValues(t, rows, created(t, s, people(n*rows, (n+1)*rows), n))
	}
	before := storetest.Digest(t, s)
	require.Eventually(t, func() bool { return s.Metrics().Levels[0].Sublevels <= 4 }, time.Minute, 10*time.Millisecond)
	require.Equal(t, before, storetest.Digest(t, s))
	out, err := ingest(t, s, people(0, rows), batches)
	require.NoError(t, err)
	require.EqualValues(t, rows, out.Result.Counts.Unchanged)
}
