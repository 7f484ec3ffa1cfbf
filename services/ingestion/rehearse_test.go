package ingestion

import (
	"errors"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/bus"
	"millrace.dev/pkg/store"
)

// dryUsers answers a batch of users of a dry pass.
func (w *world) dryUsers(rows ...user) bus.Message {
	o := w.origin(len(rows))
	o.Dry, o.RunNo = true, 2
	return w.message(o, usersBatch(rows...))
}

// TestADryPassMeetsWhatItWouldHaveDone: batches of a dry pass see one another's effects, and nothing is written.
func TestADryPassMeetsWhatItWouldHaveDone(t *testing.T) {
	w := newWorld(t, nil)
	w.graph("9")
	require.NoError(t, w.handle(w.users(user{"1", "ann@example.com", "Ann", 100}, user{"2", "bob@example.com", "Bob", 200})))
	w.report()
	before := w.digest()
	require.NoError(t, w.handle(w.dryUsers(user{"3", "cid@example.com", "Cid", 300}, user{"1", "ann@example.com", "Anne", 300})))
	first := w.report()
	require.EqualValues(t, 1, first.GetCounts().GetCreated())
	require.EqualValues(t, 1, first.GetCounts().GetUpdated())
	again := w.dryUsers(user{"3", "ann@example.com", "Cid", 400}, user{"4", "", "Dan", 400})
	for range 2 { // the second delivery says the same
		require.NoError(t, w.handle(again))
		r := w.report()
		require.EqualValues(t, 1, r.GetCounts().GetCreated(), "4 alone is new")
		require.EqualValues(t, 1, r.GetCounts().GetCollapsed(), "3 came before")
		require.EqualValues(t, 1, r.GetCounts().GetMerges(), "the profile that 3 would have made is merged into that of 1")
		require.Len(t, r.GetSamples(), 3)
	}
	require.Equal(t, before, w.digest())
}

// TestWhatDryPassesNotedIsRemovedOnceTheyAreOver: notes live as long as their run.
func TestWhatDryPassesNotedIsRemovedOnceTheyAreOver(t *testing.T) {
	w := newWorld(t, nil)
	require.NoError(t, w.handle(w.dryUsers(user{"1", "ann@example.com", "Ann", 100})))
	runs, err := w.store.Scratched(t.Context())
	require.NoError(t, err)
	require.Len(t, runs, 1)
	w.peers.mu.Lock()
	w.peers.dry = true
	w.peers.mu.Unlock()
	require.NoError(t, w.dropOver(t.Context()))
	runs, err = w.store.Scratched(t.Context())
	require.NoError(t, err)
	require.Len(t, runs, 1, "the run is open")
	w.peers.end()
	require.NoError(t, w.dropOver(t.Context()))
	runs, err = w.store.Scratched(t.Context())
	require.NoError(t, err)
	require.Empty(t, runs)
}

// TestBatchesOfADryPassTakeTurns: workers that judge batches of one run at once count each row once.
func TestBatchesOfADryPassTakeTurns(t *testing.T) {
	w := newWorld(t, func(s store.Store) store.Store { return s })
	var all []bus.Message
	for range 8 {
		all = append(all, w.dryUsers(user{"1", "ann@example.com", "Ann", 100}))
	}
	errs := make([]error, len(all))
	var working sync.WaitGroup
	for i, m := range all {
		working.Go(func() { errs[i] = w.handle(m) })
	}
	working.Wait()
	require.NoError(t, errors.Join(errs...))
	created := int64(0)
	for range all {
		created += w.report().GetCounts().GetCreated()
	}
	require.EqualValues(t, 1, created)
	w.silent()
}
