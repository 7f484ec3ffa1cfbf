package storetest

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/id"
	"millrace.dev/pkg/profile"
	"millrace.dev/pkg/record"
	"millrace.dev/pkg/record/recordtest"
	"millrace.dev/pkg/store"
)

func rejectRow(n int32, rule string) record.Reject {
	return record.Reject{
		Row: n, Key: recordtest.Key(fmt.Sprint("bad ", n)), KeyValues: recordtest.KeyValues("bad", fmt.Sprint(n)), Column: "ltv",
		Stage: record.StageMap, Rule: rule, Reason: "cannot be read as a number",
	}
}

func (h *harness) rejects(run id.Run, limit int) []store.StoredReject {
	h.t.Helper()
	return pages(h.t, limit, func(after string) ([]store.StoredReject, string, error) {
		return h.Rejects(h.ctx, run, after, limit)
	})
}

func rejects(t *testing.T, open func() store.Store) {
	h := start(t, open)
	b := users(origin(1, 1, 1, 1), user("1", day(1), nil), recordtest.Row{Key: "nobody"})
	b.Rejects = []record.Reject{rejectRow(12, "rules[2]"), rejectRow(7, "rules[1]")}
	c := h.must(b)
	require.EqualValues(t, 1, c.Refused)
	require.EqualValues(t, 2, c.Rejected)
	first := users(origin(1, 1, 1, 0), user("2", day(1), nil))
	first.Rejects = []record.Reject{rejectRow(3, "rules[1]")}
	h.must(first)
	for _, limit := range []int{1, 2, 4, 10} {
		got := h.rejects(b.origin.Batch.Run, limit)
		require.Len(t, got, 4)
		require.Equal(t, []int32{3, 1, 7, 12}, []int32{got[0].Reject.Row, got[1].Reject.Row, got[2].Reject.Row, got[3].Reject.Row},
			"in the order of batches and rows")
		require.Equal(t, rejectRow(3, "rules[1]"), got[0].Reject)
		require.Equal(t, profile.RuleNoIdentity, got[1].Reject.Rule)
		require.Equal(t, record.StageIngest, got[1].Reject.Stage)
		require.Equal(t, b.origin.Batch, got[1].Batch)
		require.Equal(t, store.StoredOrigin{Workspace: id.DefaultWorkspace, Sync: b.origin.Sync, SyncID: "crm"}, got[1].Origin)
		require.False(t, got[1].Time.IsZero())
	}
	require.Empty(t, h.rejects(runOf("crm", 9), 10))
}

// rejectsReadAgain: of each part, the rejects of its highest epoch that has applied batches.
func rejectsReadAgain(t *testing.T, open func() store.Store) {
	h := start(t, open)
	for _, o := range []record.Origin{origin(1, 1, 1, 0), origin(1, 2, 1, 0), origin(1, 1, 2, 0)} {
		if o.Batch.Epoch == 2 {
			_, err := h.Fence(h.ctx, id.Part{Run: o.Batch.Run, Part: 1}, 2)
			require.NoError(t, err)
		}
		b := users(o)
		b.Rejects = []record.Reject{rejectRow(1, fmt.Sprint("part ", o.Batch.Part, " epoch ", o.Batch.Epoch))}
		h.must(b)
	}
	got := h.rejects(runOf("crm", 1), 10)
	require.Len(t, got, 2)
	require.Equal(t, "part 1 epoch 2", got[0].Reject.Rule)
	require.Equal(t, "part 2 epoch 1", got[1].Reject.Rule)
}

func rejectsCounted(t *testing.T, open func() store.Store) {
	h := start(t, open)
	for _, o := range []record.Origin{origin(1, 1, 1, 0), origin(1, 1, 2, 0), origin(1, 1, 2, 1), origin(2, 1, 1, 0)} {
		b := users(o)
		b.Rejects = []record.Reject{rejectRow(1, "rules[1]"), rejectRow(2, "rules[2]"), rejectRow(3, "rules[2]"), rejectRow(4, fmt.Sprint("of batch ", o.Batch.Seq))}
		h.must(b)
	}
	count := func(rule string, n int64) store.RejectCount {
		r := rejectRow(0, rule)
		return store.RejectCount{RejectGroup: store.RejectGroup{Stage: r.Stage, Column: r.Column, Rule: rule, Reason: r.Reason}, Rejects: n}
	}
	got, err := h.CountRejects(h.ctx, runOf("crm", 1), 10)
	require.NoError(t, err)
	require.Equal(t, []store.RejectCount{count("rules[2]", 4), count("rules[1]", 2), count("of batch 0", 1), count("of batch 1", 1)}, got,
		"those that Rejects lists: of the highest epoch")
	got, err = h.CountRejects(h.ctx, runOf("crm", 1), 2)
	require.NoError(t, err)
	require.Len(t, got, 3)
	require.Equal(t, store.OtherReasons, got[2].Reason)
	require.EqualValues(t, 8, got[0].Rejects+got[1].Rejects+got[2].Rejects)
	got, err = h.CountRejects(h.ctx, runOf("crm", 9), 10)
	require.NoError(t, err)
	require.Empty(t, got)
}

// keep commits a batch of one reject with its row kept.
func (h *harness) keep(o record.Origin, sealed []byte) {
	h.t.Helper()
	b := users(o)
	b.Rejects = []record.Reject{rejectRow(1, "rules[1]"), rejectRow(2, "rules[1]")}
	e := h.look(b)
	e.Kept = sealed
	out, err := h.Commit(h.ctx, e)
	require.NoError(h.t, err)
	require.False(h.t, out.Repeated)
}

func rowsKept(t *testing.T, open func() store.Store) {
	h := start(t, open)
	sealed := bytes.Repeat([]byte{0, 1, 0xFF}, 100_000)
	h.keep(origin(1, 1, 1, 0), sealed)
	h.keep(origin(1, 1, 1, 1), nil)
	got, err := h.Kept(h.ctx, origin(1, 1, 1, 0).Batch)
	require.NoError(t, err)
	require.Equal(t, sealed, got)
	for _, o := range []record.Origin{origin(1, 1, 1, 1), origin(1, 1, 2, 0), origin(2, 1, 1, 0)} {
		got, err := h.Kept(h.ctx, o.Batch)
		require.NoError(t, err)
		require.Nil(t, got)
	}
}

func rejectsExpire(t *testing.T, open func() store.Store) {
	h := start(t, open)
	const batches = 5
	run := id.NewRun() // its id says when it was made
	first := id.Batch{Run: run, Part: 1, Epoch: 1}
	for seq := range uint32(batches) {
		o := origin(1, 1, 1, seq)
		o.Batch.Run = run
		h.keep(o, []byte("sealed"))
	}
	n, err := h.Expire(h.ctx, time.Now().Add(-time.Hour), 100)
	require.NoError(t, err)
	require.Zero(t, n, "all of them are younger")
	require.Len(t, h.rejects(run, 100), 2*batches)

	later := time.Now().Add(time.Hour)
	for left := 2 * batches; left > 0; {
		n, err := h.Expire(h.ctx, later, 3)
		require.NoError(t, err)
		require.Equal(t, min(left, 3), n)
		left -= n
		require.Len(t, h.rejects(run, 100), left)
	}
	n, err = h.Expire(h.ctx, later, 3)
	require.NoError(t, err)
	require.Zero(t, n)
	kept, err := h.Kept(h.ctx, first)
	require.NoError(t, err)
	require.Nil(t, kept)
	applied, err := h.Fence(h.ctx, id.Part{Run: run, Part: 1}, 2)
	require.NoError(t, err)
	require.Len(t, applied, batches, "what became of batches stays")
}
