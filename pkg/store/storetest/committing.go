package storetest

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/profile"
	"millrace.dev/pkg/record"
	"millrace.dev/pkg/record/recordtest"
	"millrace.dev/pkg/store"
)

func commitsOnce(t *testing.T, open func() store.Store) {
	h := start(t, open)
	b := users(origin(1, 1, 1, 0), user("1", day(1), map[string]any{"a": 1}), user("2", day(1), nil))
	e := h.look(b)
	first, err := h.Commit(h.ctx, e)
	require.NoError(t, err)
	require.Equal(t, e.Result, first.Result)
	require.EqualValues(t, 2, first.Result.Counts.Created)
	whole := Digest(t, h)

	again, err := h.Commit(h.ctx, e)
	require.NoError(t, err)
	require.Equal(t, store.Outcome{Repeated: true, Result: first.Result}, again, "the same effects")

	k := profile.KeysOf(b.Batch, b.origin, h.scope, h.rules)
	st, err := h.Look(h.ctx, k)
	require.NoError(t, err)
	require.NotNil(t, st.Applied)
	require.Equal(t, first.Result, *st.Applied)

	// What was decided before the first commit does not get in after it either.
	changed := users(b.origin, user("1", day(1), map[string]any{"a": 2}))
	again, err = h.Commit(h.ctx, profile.Decide(changed.Batch, profile.KeysOf(changed.Batch, b.origin, h.scope, h.rules), profile.State{
		Seen: e.Seen, Entries: make([]profile.Entry, 1), Fresh: []id.Profile{1}, Profiles: [][]id.Profile{{0}},
	}, h.rules))
	require.NoError(t, err)
	require.True(t, again.Repeated)
	require.Equal(t, whole, Digest(t, h))
}

func fragments(t *testing.T, open func() store.Store) {
	h := start(t, open)
	fragment := func(n uint32, first int64, last bool, rows ...recordtest.Row) batch {
		b := users(origin(1, 1, 1, 4), rows...)
		b.origin.Batch.Fragment, b.origin.FirstRow, b.origin.Last = n, first, last
		return b
	}
	h.must(fragment(0, 0, false, user("1", day(1), nil), user("2", day(1), nil)))
	h.must(fragment(1, 2, true, user("3", day(1), nil)))
	_, err := h.ingest(fragment(2, 1, true, user("4", day(1), nil), user("5", day(1), nil)))
	require.Equal(t, fault.Invalid, fault.ClassOf(err), "a fragment that overlaps an applied one: %v", err)
	require.Zero(t, h.resolve("customer_id", "4"))

	applied, err := h.Fence(h.ctx, id.Part{Run: runOf("crm", 1), Part: 1}, 1)
	require.NoError(t, err)
	require.Len(t, applied, 2)
	require.Equal(t, int64(2), applied[1].FirstRow)
	require.True(t, applied[1].Last)
	require.False(t, applied[0].Last)
}

func fence(t *testing.T, open func() store.Store) {
	h := start(t, open)
	part := id.Part{Run: runOf("crm", 1), Part: 1}
	applied, err := h.Fence(h.ctx, part, 1)
	require.NoError(t, err)
	require.Empty(t, applied)

	b := users(origin(1, 1, 1, 0), user("1", day(1), nil))
	h.must(b)
	h.must(users(origin(1, 2, 1, 0), user("2", day(1), nil)))
	stale := h.look(users(origin(1, 1, 1, 1), user("3", day(1), nil)))
	applied, err = h.Fence(h.ctx, part, 3)
	require.NoError(t, err)
	require.Len(t, applied, 1, "the results of that part, no other")
	require.Equal(t, b.origin.Batch, applied[0].Batch)
	require.Equal(t, record.Counts{Read: 1, Mapped: 1, Created: 1}, applied[0].Counts)

	out, err := h.Commit(h.ctx, stale)
	require.NoError(t, err)
	require.True(t, out.Fenced)
	require.Zero(t, h.resolve("customer_id", "3"))
	out, err = h.ingest(users(origin(1, 1, 2, 0), user("3", day(1), nil)))
	require.NoError(t, err)
	require.True(t, out.Fenced, "epoch 2 is below the fence 3")
	again, err := h.ingest(b)
	require.NoError(t, err)
	require.True(t, again.Repeated, "what was applied stays applied")

	_, err = h.Fence(h.ctx, part, 2)
	require.NoError(t, err)
	out, err = h.ingest(users(origin(1, 1, 2, 1), user("3", day(1), nil)))
	require.NoError(t, err)
	require.True(t, out.Fenced, "a fence never falls")

	h.must(users(origin(1, 1, 3, 0), user("3", day(1), nil)))
	h.must(users(origin(1, 2, 1, 1), user("4", day(1), nil)))
	applied, err = h.Fence(h.ctx, part, 3)
	require.NoError(t, err)
	require.Len(t, applied, 2, "of any epoch")
}

// fenceBetween: what was decided on other fences does not get in.
func fenceBetween(t *testing.T, open func() store.Store) {
	h := start(t, open)
	h.must(users(origin(1, 1, 1, 0), user("1", day(1), nil)))
	e := h.look(users(origin(1, 2, 1, 0), user("1", day(1), nil)))
	require.EqualValues(t, 1, e.Result.Counts.Collapsed)
	_, err := h.Fence(h.ctx, id.Part{Run: runOf("crm", 1), Part: 1}, 2)
	require.NoError(t, err)
	_, err = h.Commit(h.ctx, e)
	require.Equal(t, fault.Conflict, fault.ClassOf(err), "%v", err)
	require.Equal(t, fault.ReasonCommitConflict, fault.ReasonOf(err))
	c := h.must(users(origin(1, 2, 1, 0), user("1", day(1), nil)))
	require.EqualValues(t, 1, c.Created, "the row is counted for the part that took it over")
}

func readAgain(t *testing.T, open func() store.Store) {
	h := start(t, open)
	h.must(users(origin(1, 1, 1, 0), user("1", day(1), map[string]any{"a": 1}), user("2", day(1), map[string]any{"a": 1})))
	_, err := h.Fence(h.ctx, id.Part{Run: runOf("crm", 1), Part: 1}, 2)
	require.NoError(t, err)
	c := h.must(users(origin(1, 1, 2, 0), user("1", day(1), map[string]any{"a": 1}), user("2", day(3), map[string]any{"a": 2}), user("3", day(1), nil)))
	require.EqualValues(t, 3, c.Created, "counted with the recorded effect")
	c = h.must(users(origin(1, 1, 2, 1), user("1", day(1), map[string]any{"a": 1})))
	require.EqualValues(t, 1, c.Unchanged)
	require.EqualValues(t, 1, c.Collapsed)
	require.Equal(t, map[string]string{"a": "2"}, h.attributes("2"))
}

func retriedRun(t *testing.T, open func() store.Store) {
	h := start(t, open)
	h.must(users(origin(1, 1, 1, 0), user("1", day(1), nil)))
	h.must(users(origin(1, 2, 1, 0), user("2", day(1), nil)))
	for _, p := range []uint32{1, 2} {
		_, err := h.Fence(h.ctx, id.Part{Run: runOf("crm", 1), Part: p}, 2)
		require.NoError(t, err)
	}
	b := users(origin(2, 2, 1, 0), user("1", day(1), nil), user("2", day(1), nil))
	b.origin.Retried = []record.RetriedRun{{RunNo: 1, Run: runOf("crm", 1), Adopted: []uint32{1}}}
	c := h.must(b)
	require.EqualValues(t, 1, c.Created)
	require.EqualValues(t, 1, c.Collapsed)
}

func conflictRow(t *testing.T, open func() store.Store) {
	h := start(t, open)
	for n, before := range []string{"new", "known"} {
		a := h.look(users(origin(1, 1, 1, uint32(10*n)), user("1", day(1+10*n), map[string]any{"a": before})))
		b := users(origin(1, 2, 1, uint32(10*n)), user("1", day(2+10*n), map[string]any{"a": before + " 2"}))
		late := h.look(b)
		_, err := h.Commit(h.ctx, a)
		require.NoError(t, err)
		_, err = h.Commit(h.ctx, late)
		require.Equal(t, fault.Conflict, fault.ClassOf(err), "%s: %v", before, err)
		require.Equal(t, fault.ReasonCommitConflict, fault.ReasonOf(err))
		require.Equal(t, map[string]string{"a": fmt.Sprintf("%q", before)}, h.attributes("1"), "nothing of it was written")
		h.must(b)
		require.Equal(t, map[string]string{"a": fmt.Sprintf("%q", before+" 2")}, h.attributes("1"))
	}
}

func conflictIdentity(t *testing.T, open func() store.Store) {
	h := start(t, open)
	row := func(key, customer, email string) recordtest.Row {
		return recordtest.Row{Key: key, Time: day(1), Identities: map[string]string{"customer_id": customer, "email": email}}
	}
	a := h.look(users(origin(1, 1, 1, 0), row("1", "1", "shared@x.org")))
	b := users(origin(1, 2, 1, 0), row("2", "2", "shared@x.org"))
	late := h.look(b)
	_, err := h.Commit(h.ctx, a)
	require.NoError(t, err)
	_, err = h.Commit(h.ctx, late)
	require.Equal(t, fault.Conflict, fault.ClassOf(err), "%v", err)
	require.Zero(t, h.resolve("customer_id", "2"))
	h.must(b)
	require.Equal(t, h.resolve("customer_id", "1"), h.resolve("customer_id", "2"), "its email is bound by now")
}

func noConflict(t *testing.T, open func() store.Store) {
	h := start(t, open)
	h.must(users(origin(1, 1, 1, 0), user("known", day(1), map[string]any{"a": 1})))
	other := user("known", day(2), map[string]any{"b": 1})
	other.Key = "another key"
	es := []profile.Effects{
		h.look(users(origin(1, 1, 1, 1), user("1", day(1), nil), user("known", day(2), map[string]any{"a": 2}))),
		h.look(users(origin(1, 2, 1, 1), user("2", day(1), nil), other)),
		h.look(users(originOf("shop", 1, 1, 1, 1), user("3", day(1), nil))),
	}
	for _, e := range es {
		_, err := h.Commit(h.ctx, e)
		require.NoError(t, err)
	}
	require.Equal(t, map[string]string{"a": "2", "b": "1"}, h.attributes("known"), "contributions to one profile do not meet")
}

// eightCommitters bind overlapping new identities at once: one profile comes of each.
func eightCommitters(t *testing.T, open func() store.Store) {
	h := start(t, open)
	const workers, batches, people = 8, 6, 40
	var wg sync.WaitGroup
	errs := make([]error, workers)
	for w := range workers {
		wg.Go(func() {
			for n := range batches {
				rows := make([]recordtest.Row, people)
				for i := range rows {
					who := (i*7 + n*11 + w*3) % (people * 2)
					rows[i] = recordtest.Row{
						Key: fmt.Sprintf("%d/%d/%d", w, n, i), Time: day(n),
						Identities: map[string]string{"customer_id": fmt.Sprint("c", who), "email": fmt.Sprint(who, "@x.org")},
						Attributes: map[string]any{"a": w},
					}
				}
				out, err := h.ingest(users(origin(1, uint32(w), 1, uint32(n)), rows...))
				if err == nil && out.Result.Counts.Created != people {
					err = fmt.Errorf("counts %+v", out.Result.Counts)
				}
				if err != nil {
					errs[w] = err
					return
				}
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		require.NoError(t, err)
	}
	docs := pages(t, 1000, func(after string) ([]store.ProfileDoc, string, error) { return h.Profiles(h.ctx, h.scope, after, 1000) })
	require.Len(t, docs, people*2)
	for who := range people * 2 {
		p := h.resolve("customer_id", fmt.Sprint("c", who))
		require.NotZero(t, p)
		require.Equal(t, p, h.resolve("email", fmt.Sprint(who, "@x.org")))
	}
	_, n, err := store.Digest(h.ctx, h, "")
	require.NoError(t, err)
	require.Equal(t, store.Totals{Profiles: people * 2, Identities: people * 4}, n)
}

func closed(t *testing.T, open func() store.Store) {
	h := start(t, open)
	b := users(origin(1, 1, 1, 0), user("1", day(1), nil))
	k := profile.KeysOf(b.Batch, b.origin, h.scope, h.rules)
	e := h.look(b)
	require.NoError(t, h.Close())
	_, lookErr := h.Look(h.ctx, k)
	_, commitErr := h.Commit(h.ctx, e)
	_, fenceErr := h.Fence(h.ctx, id.Part{Run: runOf("crm", 1), Part: 1}, 1)
	_, resolveErr := h.Resolve(h.ctx, h.scope, "customer_id", "1")
	_, profileErr := h.Profile(h.ctx, h.scope, 1)
	_, _, listErr := h.Rejects(h.ctx, runOf("crm", 1), "", 10)
	var walkErr error
	for _, err := range h.Everything(h.ctx) {
		walkErr = err
	}
	for _, err := range []error{lookErr, commitErr, fenceErr, resolveErr, profileErr, listErr, walkErr} {
		require.Equal(t, fault.Unavailable, fault.ClassOf(err), "%v", err)
		require.Equal(t, fault.ReasonStoreUnavailable, fault.ReasonOf(err))
	}
}

// reopened: everything that was answered is there after a restart.
func reopened(t *testing.T, open func() store.Store) {
	h := start(t, open)
	b := users(origin(1, 1, 1, 0), user("1", day(1), map[string]any{"a": 1}), recordtest.Row{Key: "nobody"})
	h.must(b)
	h.must(eventsOf(originOf("web", 1, 1, 1, 0), event("e1", "1", 1000)))
	_, err := h.Fence(h.ctx, id.Part{Run: runOf("crm", 1), Part: 1}, 2)
	require.NoError(t, err)
	whole := Digest(t, h)
	require.NoError(t, h.Close())

	for range 2 {
		h = start(t, open)
		require.Equal(t, whole, Digest(t, h))
		require.Len(t, h.rejects(runOf("crm", 1), 10), 1)
		again, err := h.ingest(b)
		require.NoError(t, err)
		require.True(t, again.Repeated)
		out, err := h.ingest(users(origin(1, 1, 1, 1), user("2", day(1), nil)))
		require.NoError(t, err)
		require.True(t, out.Fenced)
		require.NoError(t, h.Close())
	}
	h = start(t, open)
	c := h.must(users(origin(2, 1, 1, 0), user("1", day(1), map[string]any{"a": 1}), user("2", day(1), nil)))
	require.EqualValues(t, 1, c.Unchanged, "the row is known")
	require.EqualValues(t, 1, c.Created)
	require.False(t, slices.Contains([]id.Profile{0, h.resolve("customer_id", "1")}, h.resolve("customer_id", "2")))
}

// reopenedWithoutRows: what stands in the way of rows to come is there after a restart, though there are none yet.
func reopenedWithoutRows(t *testing.T, open func() store.Store) {
	h := start(t, open)
	_, err := h.Fence(h.ctx, id.Part{Run: runOf("crm", 1), Part: 1}, 2)
	require.NoError(t, err)
	h.block(person("email", "a@x"))
	require.NoError(t, h.Close())

	for range 2 {
		h = start(t, open)
		out, err := h.ingest(users(origin(1, 1, 1, 0), user("1", day(1), nil)))
		require.NoError(t, err)
		require.True(t, out.Fenced)
		b := users(origin(2, 1, 1, 0), user("1", day(1), nil))
		st, err := h.Look(h.ctx, profile.KeysOf(b.Batch, b.origin, h.scope, h.rules))
		require.NoError(t, err)
		require.EqualValues(t, 1, st.Blocked)
		require.NoError(t, h.Close())
	}
}
