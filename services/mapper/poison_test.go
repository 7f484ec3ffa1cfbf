package mapper

import (
	"testing"

	"github.com/stretchr/testify/require"

	configv1 "millrace.dev/gen/millrace/config/v1"
)

// requireOthersGoOn sends a batch behind one that was given up, and finds it mapped.
func (w *world) requireOthersGoOn(seq uint32) {
	w.t.Helper()
	good := w.origin(seq, 1, 1<<20)
	w.send(w.t.Context(), good, people(person{7, "30", 1}), nil)
	o, b, _ := w.next()
	require.Equal(w.t, good.Batch, o.Batch)
	require.EqualValues(w.t, 1, b.Record.NumRows())
}

func TestABatchThatMakesTheMapperPanicIsGivenUpAndOthersGoOn(t *testing.T) {
	w := newWorldWith(t, 64<<20, func(request any) bool {
		r, ok := request.(*configv1.GetSyncSnapshotRequest)
		return ok && r.GetVersion() == 13
	})
	poison := w.origin(0, 1, 1<<20)
	poison.SyncVersion = 13
	w.send(t.Context(), poison, people(person{1, "30", 1}), nil)
	w.requireOthersGoOn(1) // while the other is tried
	r := <-w.peers.quarantined
	require.Equal(t, uint32(0), r.GetBatch().GetSeq())
	require.Equal(t, "internal", r.GetError().GetReason())
	require.NotContains(t, r.GetError().GetMessage(), "a defect", "the log has what it panicked with")
	w.requireOthersGoOn(2)
}

func TestABatchThatDecodesToMoreThanTheBoundIsGivenUpAndOthersGoOn(t *testing.T) {
	w := newWorldWith(t, 256<<10, func(any) bool { return false })
	ps := make([]person, 4000)
	for i := range ps {
		ps[i] = person{1, "30", 100} // alike: they compress
	}
	w.send(t.Context(), w.origin(0, int64(len(ps)), 1<<20), people(ps...), nil)
	w.requireOthersGoOn(1)
	r := <-w.peers.quarantined
	require.Equal(t, uint32(0), r.GetBatch().GetSeq())
	require.Equal(t, "batch_quarantined", r.GetError().GetReason())
	w.requireOthersGoOn(2)
}
