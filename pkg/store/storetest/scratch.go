package storetest

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/identity"
	"millrace.dev/pkg/profile"
	"millrace.dev/pkg/record"
	"millrace.dev/pkg/record/recordtest"
	"millrace.dev/pkg/store"
	"millrace.dev/pkg/store/overlay"
)

// notes says what a scratch does: notes of a run are put in turn, and dropped.
func notes(t *testing.T, open func() store.Store) {
	h := start(t, open)
	one, two := runOf("crm", 1), runOf("crm", 2)
	noted := func(run id.Run, keys ...string) (out []string, turn int64) {
		ks := make([][]byte, len(keys))
		for i, k := range keys {
			ks[i] = []byte(k)
		}
		values, turn, err := h.Noted(h.ctx, run, ks)
		require.NoError(t, err)
		for _, v := range values {
			out = append(out, string(v))
		}
		return out, turn
	}
	note := func(run id.Run, turn int64, pairs ...string) error {
		var ns []store.Note
		for i := 0; i < len(pairs); i += 2 {
			ns = append(ns, store.Note{Key: []byte(pairs[i]), Value: []byte(pairs[i+1])})
		}
		return h.Note(h.ctx, run, turn, ns)
	}
	values, turn := noted(one, "a")
	require.Equal(t, []string{""}, values)
	require.Zero(t, turn)
	require.NoError(t, note(one, 0, "a", "1", "b", "2"))
	require.Equal(t, fault.Conflict, fault.ClassOf(note(one, 0, "a", "3")), "it has its first turn already")
	require.NoError(t, note(one, 1, "b", "3", "c", "4"))
	require.Equal(t, fault.Conflict, fault.ClassOf(note(two, 1, "a", "9")), "it has had no turn")
	require.NoError(t, note(two, 0, "a", "5"))
	values, turn = noted(one, "c", "b", "x", "a", "b")
	require.Equal(t, []string{"4", "3", "", "1", "3"}, values)
	require.EqualValues(t, 2, turn)
	runs, err := h.Scratched(h.ctx)
	require.NoError(t, err)
	require.Equal(t, []id.Run{one, two}, runs)

	require.NoError(t, h.Drop(h.ctx, one))
	require.NoError(t, h.Drop(h.ctx, one), "again")
	values, turn = noted(one, "a")
	require.Equal(t, []string{""}, values)
	require.Zero(t, turn)
	values, _ = noted(two, "a")
	require.Equal(t, []string{"5"}, values)
	runs, err = h.Scratched(h.ctx)
	require.NoError(t, err)
	require.Equal(t, []id.Run{two}, runs)
	require.Equal(t, Digest(t, start(t, open0(t, h))), Digest(t, h), "no digest covers notes")
}

// open0 answers the harness's own store again.
func open0(t *testing.T, h *harness) func() store.Store {
	t.Helper()
	return func() store.Store { return unclosed{h.Store} }
}

// unclosed is a store that another harness closes.
type unclosed struct{ store.Store }

func (unclosed) Close() error { return nil }

// unsighted says that the keys that one run read can be forgotten alone, and that a dry reading removes nothing.
func unsighted(t *testing.T, open func() store.Store) {
	h := start(t, open)
	h.must(mirrorOf(users(origin(1, 1, 1, 0), user("1", day(1), nil), user("2", day(1), nil))))
	h.must(absentOf(origin(2, 2, 1, 0), record.Users, keysOf("1")...))
	of := func(run int64) store.Reading {
		return store.Reading{Sync: syncOf("crm"), RunNo: run, Parts: []store.ReadPart{{RunNo: run, Part: 1, Epoch: 1}}}
	}
	for run := int64(3); run <= 5; run++ {
		dry := mirrorOf(users(origin(run, 1, 1, 0), user("1", day(1), nil)))
		require.NoError(t, h.Sight(h.ctx, dry.origin, h.look(dry).Sighted))
	}
	require.NoError(t, h.Unsight(h.ctx, syncOf("crm"), 4))
	require.NoError(t, h.Unsight(h.ctx, syncOf("nobody"), 4))
	require.EqualValues(t, 1, h.sighted(of(3)))
	require.Zero(t, h.sighted(of(4)))
	require.EqualValues(t, 1, h.sighted(of(5)))

	dry := of(4)
	dry.Dry = true
	require.Equal(t, keysOf("2"), h.absent(dry))
	mine := of(2)
	mine.Parts = nil
	require.Equal(t, keysOf("1", "2"), h.absent(mine), "the tombstone of another run is still there")
}

// eventRead says that an event is read by its key.
func eventRead(t *testing.T, open func() store.Store) {
	h := start(t, open)
	b := eventsOf(originOf("web", 1, 1, 1, 0), event("1", "c", 1000))
	key := h.look(b).Events[0].Key
	doc, err := h.Event(h.ctx, h.scope, key)
	require.NoError(t, err)
	require.Nil(t, doc)
	h.must(b)
	doc, err = h.Event(h.ctx, h.scope, key)
	require.NoError(t, err)
	e, err := profile.DecodeEvent(doc)
	require.NoError(t, err)
	require.Equal(t, "1", e.From.KeyValues)
	key.Time++
	doc, err = h.Event(h.ctx, h.scope, key)
	require.NoError(t, err)
	require.Nil(t, doc)
}

// dry judges a batch as a dry run does.
func (h *harness) dry(b batch) record.Counts {
	h.t.Helper()
	o := overlay.New(h.Store, b.origin, h.scope, h.rules)
	k := profile.KeysOf(b.Batch, b.origin, h.scope, h.rules)
	m, err := o.Look(h.ctx, k)
	require.NoError(h.t, err)
	require.False(h.t, m.Fenced)
	if m.Applied != nil {
		require.Equal(h.t, `"said"`, string(m.Said))
		return m.Applied.Counts
	}
	require.NoError(h.t, store.Consult(h.ctx, o, k, &m.State, h.rules))
	e := profile.Decide(b.Batch, k, m.State, h.rules)
	require.NoError(h.t, o.Keep(h.ctx, e, nil, []byte(`"said"`)))
	return e.Result.Counts
}

// drySame plays random runs, each as a dry run first: batches that come twice, parts that are read again, rows that share
// keys and identities across batches. What the dry run counts is what the run counts, and nothing is written by it.
func drySame(t *testing.T, open Opener) {
	t.Helper()
	h, seed := start(t, open(t)), uint64(0)
	for _, strategy := range []string{"best_match", "graph", "profile_conversion"} {
		opts := identity.Options{Strategy: strategy}
		if strategy == "profile_conversion" {
			opts.Login = []string{"customer_id"}
		}
		rules, err := identity.NewRules(opts)
		require.NoError(t, err)
		h.rules = profile.Rules{Strategy: rules}
		for range 4 {
			seed++
			h.tryOut(fmt.Sprintf("dry%d", seed), rand.New(rand.NewPCG(seed, 11)), seed%2 == 0) //nolint:gosec // a test's own history
		}
	}
}

// tryOut plays three random runs of a sync, each as a dry run first.
func (h *harness) tryOut(sync string, rnd *rand.Rand, mirrors bool) {
	h.t.Helper()
	h.scope.Workspace = id.Workspace(sync)
	for no := int64(1); no < 6; no += 2 {
		x := drawRun(rnd)
		before := Digest(h.t, h.Store)
		dry := h.playRun(sync, no, x, mirrors, h.dry)
		h.dropped(sync, no)
		require.Equal(h.t, before, Digest(h.t, h.Store), "a dry run writes nothing")
		done := h.playRun(sync, no+1, x, mirrors, func(b batch) record.Counts {
			out, err := h.ingest(b)
			require.NoError(h.t, err)
			return out.Result.Counts
		})
		require.Equal(h.t, done, dry, "run %d of %s, mirror %v", no, sync, mirrors)
	}
}

// drawn is a run: its rows by part and batch, and how many of its batches are judged before all parts are read again.
type drawn struct {
	parts [][][]recordtest.Row
	lost  int
}

func drawRun(rnd *rand.Rand) drawn {
	parts := make([][][]recordtest.Row, 1+rnd.IntN(2))
	for p := range parts {
		for range 1 + rnd.IntN(3) {
			var rows []recordtest.Row
			for range 1 + rnd.IntN(4) {
				r := recordtest.Row{
					Key: fmt.Sprint(1 + rnd.IntN(6)), Time: day(1 + rnd.IntN(3)), Identities: map[string]string{},
					Attributes: map[string]any{"a": rnd.IntN(3)},
				}
				if rnd.IntN(4) > 0 {
					r.Identities["customer_id"] = fmt.Sprint("c", 1+rnd.IntN(4))
				}
				if rnd.IntN(2) == 0 {
					r.Identities["email"] = []string{"a@x", "b@x", "c@x"}[rnd.IntN(3)]
				}
				rows = append(rows, r)
			}
			parts[p] = append(parts[p], rows)
		}
	}
	return drawn{parts, rnd.IntN(4)}
}

func batchesOf(sync string, run int64, epoch uint32, parts [][][]recordtest.Row, mirrors bool) (out []batch) {
	for p, part := range parts {
		for seq, rows := range part {
			b := users(originOf(sync, run, uint32(1+p), epoch, uint32(seq)), rows...) //nolint:gosec // few
			if mirrors {
				b = mirrorOf(b)
			}
			out = append(out, b)
		}
	}
	return out
}

func readingOf(sync string, run int64, epoch uint32, parts int) store.Reading {
	r := store.Reading{Sync: syncOf(sync), RunNo: run}
	for p := range parts {
		r.Parts = append(r.Parts, store.ReadPart{RunNo: run, Part: uint32(1 + p), Epoch: epoch}) //nolint:gosec // few
	}
	return r
}

// playRun plays a run, each batch twice, and answers its counts.
func (h *harness) playRun(sync string, no int64, x drawn, mirrors bool, judge func(batch) record.Counts) (sum record.Counts) {
	epoch := uint32(1)
	if x.lost > 0 {
		lost := batchesOf(sync, no, epoch, x.parts, mirrors)
		for _, b := range lost[:min(x.lost, len(lost))] {
			judge(b)
		}
		epoch++
		for p := range x.parts {
			_, err := h.Fence(h.ctx, id.Part{Run: runOf(sync, no), Part: uint32(1 + p)}, epoch) //nolint:gosec // few
			require.NoError(h.t, err)
		}
	}
	for _, b := range batchesOf(sync, no, epoch, x.parts, mirrors) {
		c := judge(b)
		require.True(h.t, c.Balanced())
		require.Equal(h.t, c, judge(b), "it came twice")
		sum = sum.Add(c)
		if mirrors {
			keys := make([]id.Row, b.Record.NumRows())
			for i := range keys {
				keys[i] = id.Row(b.Record.Column(record.PosKey).(*array.FixedSizeBinary).Value(i)) //nolint:forcetypeassert // made so
			}
			require.NoError(h.t, h.Sight(h.ctx, b.origin, keys))
		}
	}
	if mirrors {
		r := readingOf(sync, no, epoch, len(x.parts))
		r.Dry = true
		sum = sum.Add(judge(absentOf(originOf(sync, no, 9, 1, 0), record.Users, h.absent(r, keysOf("1", "2", "3", "4", "5", "6")...)...)))
	}
	return sum
}

// dropped ends a dry run.
func (h *harness) dropped(sync string, no int64) {
	w, ok, err := overlay.OwnerOf(h.ctx, h.Store, runOf(sync, no))
	require.NoError(h.t, err)
	require.True(h.t, ok)
	require.Equal(h.t, overlay.Owner{Workspace: id.DefaultWorkspace, Sync: syncOf(sync), RunNo: no}, w)
	require.NoError(h.t, h.Unsight(h.ctx, w.Sync, w.RunNo))
	require.NoError(h.t, h.Drop(h.ctx, runOf(sync, no)))
}
