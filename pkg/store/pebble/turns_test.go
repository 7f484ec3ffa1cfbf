package pebble_test

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/profile"
	"millrace.dev/pkg/store/pebble"
)

// TestCommitsSideBySideApplyEachBatchOnce lets many commit the same few batches at once while a fence is raised: what the
// fence answers and what is found afterwards is the same, each batch once.
func TestCommitsSideBySideApplyEachBatchOnce(t *testing.T) {
	s, err := pebble.Open(t.Context(), t.TempDir(), pebble.Options{})
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	const batches, each = 6, 3
	var (
		work    sync.WaitGroup
		mu      sync.Mutex
		applied = map[uint32]int{}
		in      = make(chan struct{}, batches*each)
	)
	commit := func(seq int) {
		batch := benchUsers(seq, 0)
		for {
			k := profile.KeysOf(batch, benchOrigin(1, seq), benchScope(), profile.Rules{})
			st, err := s.Look(t.Context(), k)
			if !assertNo(t, err) || st.Fenced {
				return
			}
			out, err := s.Commit(t.Context(), profile.Decide(batch, k, st, profile.Rules{}))
			if fault.ClassOf(err) == fault.Conflict {
				continue
			}
			if assertNo(t, err) && !out.Fenced && !out.Repeated && st.Applied == nil {
				mu.Lock()
				applied[uint32(seq)]++ //nolint:gosec // small
				mu.Unlock()
				in <- struct{}{}
			}
			return
		}
	}
	for seq := range batches {
		for range each {
			work.Go(func() { commit(seq) })
		}
	}
	<-in
	<-in
	o := benchOrigin(1, 0)
	part := id.Part{Run: o.Batch.Run, Part: o.Batch.Part}
	got, err := s.Fence(t.Context(), part, 2)
	require.NoError(t, err)
	work.Wait()
	after, err := s.Fence(t.Context(), part, 2)
	require.NoError(t, err)
	require.Equal(t, got, after, "nothing of the old epoch gets in behind the fence")
	require.GreaterOrEqual(t, len(after), 2)
	require.Len(t, applied, len(after))
	for _, r := range after {
		require.Equal(t, 1, applied[r.Batch.Seq], "batch %d", r.Batch.Seq)
		require.EqualValues(t, batchRows, r.Counts.Created)
	}
}

func assertNo(t *testing.T, err error) bool {
	if err != nil {
		t.Error(err)
	}
	return err == nil
}
