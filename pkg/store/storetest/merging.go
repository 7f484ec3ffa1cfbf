package storetest

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/identity"
	"millrace.dev/pkg/profile"
	"millrace.dev/pkg/record"
	"millrace.dev/pkg/record/recordtest"
	"millrace.dev/pkg/store"
)

// with puts the workspace's strategy into the rules.
func (h *harness) with(o identity.Options) *harness {
	h.t.Helper()
	s, err := identity.NewRules(o)
	require.NoError(h.t, err)
	h.rules.Strategy = s
	return h
}

func graph(t *testing.T, open func() store.Store) *harness {
	t.Helper()
	return start(t, open).with(identity.Options{Strategy: "graph"})
}

// known is a row with identities as "email=a@x.org".
func known(key string, at time.Time, attributes map[string]any, ids ...string) recordtest.Row {
	r := recordtest.Row{Key: key, Time: at, Attributes: attributes, Identities: map[string]string{}}
	for _, i := range ids {
		typ, value := cut(i)
		r.Identities[typ] = value
	}
	return r
}

func (h *harness) whole(p id.Profile) profile.Profile {
	h.t.Helper()
	f, err := store.Whole(h.ctx, h, h.scope, p)
	require.NoError(h.t, err)
	d, err := profile.Decode(f.Doc())
	require.NoError(h.t, err)
	return d
}

func (h *harness) log(p id.Profile) []profile.Merge {
	h.t.Helper()
	return pages(h.t, 1, func(after string) ([]profile.Merge, string, error) { return h.Merges(h.ctx, h.scope, p, after, 1) })
}

func names(ids []profile.Identity) []string {
	var out []string
	for _, i := range ids {
		out = append(out, i.Type+"="+i.Value)
	}
	return out
}

func merge(t *testing.T, open func() store.Store) {
	h := graph(t, open)
	h.must(users(origin(1, 1, 1, 0),
		known("1", day(1), map[string]any{"a": 1, "plan": "free"}, "email=ada@x.org"),
		known("2", day(2), map[string]any{"b": 2, "plan": "pro"}, "ios_idfv=phone", "alias=ada")))
	older, newer := h.resolve("email", "ada@x.org"), h.resolve("alias", "ada")
	require.NotEqual(t, older, newer)
	for n, i := range []string{"ios_idfv=phone", "email=ada@x.org", "alias=ada"} {
		e := event(fmt.Sprint("e", n), "", int64(1000*(n+1)))
		e.Identities = known("", day(1), nil, i).Identities
		h.must(eventsOf(originOf("web", 1, 1, 1, uint32(n)), e)) //nolint:gosec // few
	}

	b := users(origin(1, 1, 1, 1), known("3", day(3), map[string]any{"c": 3}, "email=ada@x.org", "ios_idfv=phone"))
	e := h.look(b)
	e.Stamp(day(50))
	_, err := h.Commit(h.ctx, e)
	require.NoError(t, err)
	again, err := h.Commit(h.ctx, e)
	require.NoError(t, err)
	require.True(t, again.Repeated)

	for _, i := range []string{"email=ada@x.org", "ios_idfv=phone", "alias=ada"} {
		require.Equal(t, older, h.resolve(cut(i)))
	}
	for _, p := range []id.Profile{older, newer} {
		f, err := store.Whole(h.ctx, h, h.scope, p)
		require.NoError(t, err)
		require.Equal(t, older, f.Profile, "the old id leads to the survivor")
		require.Equal(t, []id.Profile{newer}, f.Members)
		require.Equal(t, []string{"alias=ada", "email=ada@x.org", "ios_idfv=phone"}, names(h.whole(p).Identities))
		require.Len(t, h.whole(p).Attributes, 4)
		for _, size := range []int{1, 2, 3, 4} {
			events := pages(t, size, func(after string) ([]store.EventDoc, string, error) { return f.Events(h.ctx, h, h.scope, after, size) })
			var times []int64
			for _, x := range events {
				times = append(times, x.Key.Time)
			}
			require.Equal(t, []int64{3000, 2000, 1000}, times, "events of both, newest first")
		}
		log := h.log(p)
		require.Len(t, log, 1)
		require.Equal(t, profile.Merge{
			ID: log[0].ID, Kind: profile.Merged, Profile: older, Others: []id.Profile{newer}, Rule: "graph",
			Glue: profile.Identity{Type: "ios_idfv", Value: "phone"}, Moved: log[0].Moved, SyncID: "crm", Batch: b.origin.Batch,
			KeyValues: "3", Time: day(50),
		}, log[0])
		require.ElementsMatch(t, []string{"alias=ada", "ios_idfv=phone"}, names(log[0].Moved))
	}
	docs, next, err := h.Profiles(h.ctx, h.scope, "", 10)
	require.NoError(t, err)
	require.Empty(t, next)
	require.Len(t, docs, 1, "a merged profile is listed no more")
	_, n, err := store.Digest(h.ctx, h, "")
	require.NoError(t, err)
	require.Equal(t, store.Totals{Profiles: 1, Identities: 3, Events: 3}, n)

	// What the row index knows of the merged profile leads to the survivor, and so does its mpid.
	c := h.must(users(origin(2, 1, 1, 0), known("2", day(4), map[string]any{"b": 22}, "ios_idfv=phone", "alias=ada"),
		known("9", day(4), map[string]any{"d": 4}, "mpid="+newer.String())))
	require.EqualValues(t, 1, c.Updated)
	require.EqualValues(t, 1, c.Created)
	got := map[string]string{}
	for _, a := range h.whole(older).Attributes {
		got[a.Name] = string(a.Value.AppendJSON(nil))
	}
	require.Equal(t, map[string]string{"a": "1", "b": "22", "c": "3", "d": "4", "plan": `"pro"`}, got)
}

func (h *harness) standing(m profile.Merge) profile.Undoing {
	h.t.Helper()
	x, err := store.StandingOf(h.ctx, h, h.scope, m)
	require.NoError(h.t, err)
	return profile.Undo(h.scope, x, day(60))
}

func undo(t *testing.T, open func() store.Store) {
	h := graph(t, open)
	h.must(users(origin(1, 1, 1, 0), known("1", day(1), map[string]any{"a": 1}, "email=info@x.org"),
		known("2", day(2), map[string]any{"b": 2}, "customer_id=2", "alias=ada")))
	older, newer := h.resolve("email", "info@x.org"), h.resolve("alias", "ada")
	before := Digest(t, h)
	h.must(users(origin(1, 1, 1, 1), known("3", day(3), nil, "customer_id=2", "email=info@x.org")))
	require.Equal(t, older, h.resolve("customer_id", "2"))

	require.NoError(t, h.Undo(h.ctx, h.standing(h.log(older)[0])))
	require.Equal(t, newer, h.resolve("customer_id", "2"))
	require.Equal(t, newer, h.resolve("alias", "ada"))
	require.Equal(t, older, h.resolve("email", "info@x.org"))
	require.Equal(t, before, Digest(t, h), "row 3 brought nothing of its own")
	require.Equal(t, []string{"email=info@x.org"}, names(h.whole(older).Identities))
	require.Equal(t, day(60), h.log(newer)[0].Undone)

	h.must(users(origin(2, 1, 1, 0), known("3", day(4), map[string]any{"c": 3}, "customer_id=2", "email=info@x.org")))
	require.Equal(t, newer, h.resolve("customer_id", "2"), "the same value glues them no more")
	stops := h.log(older)
	require.Len(t, stops, 2)
	require.Equal(t, identity.RuleUnmerged, stops[1].Rule)
	require.Equal(t, profile.Stopped, stops[1].Kind)
	m, err := h.Merge(h.ctx, h.scope, stops[1].ID)
	require.NoError(t, err)
	require.Equal(t, stops[1], m)
	m, err = h.Merge(h.ctx, h.scope, profile.MergeID{1})
	require.NoError(t, err)
	require.Zero(t, m)
}

func mergeInBatch(t *testing.T, open func() store.Store) {
	h := graph(t, open)
	h.must(users(origin(1, 1, 1, 0), known("0", day(9), map[string]any{"z": 0}, "other=old")))
	h.must(users(origin(1, 1, 1, 1), known("1", day(1), map[string]any{"a": 1}, "email=ada@x.org"),
		known("2", day(2), map[string]any{"b": 2}, "ios_idfv=phone"), known("3", day(3), map[string]any{"c": 3}, "email=ada@x.org", "ios_idfv=phone"),
		known("4", day(4), map[string]any{"d": 4}, "ios_idfv=phone", "other=old")))
	p := h.resolve("ios_idfv", "phone")
	require.Equal(t, h.resolve("email", "ada@x.org"), p)
	require.Equal(t, p, h.resolve("other", "old"), "a profile of this batch survives an older one of the store that was seen later")
	require.Len(t, h.whole(p).Attributes, 5)
	require.Len(t, h.log(p), 2)
}

// conflictMerge: what goes to a profile that is merged meanwhile, and a merge of what has changed meanwhile, decide anew.
func conflictMerge(t *testing.T, open func() store.Store) {
	h := graph(t, open)
	h.must(users(origin(1, 1, 1, 0), known("1", day(1), nil, "email=ada@x.org"), known("2", day(2), nil, "alias=ada")))
	p := h.resolve("email", "ada@x.org")
	merging := users(origin(1, 1, 1, 1), known("3", day(3), map[string]any{"c": 3}, "email=ada@x.org", "alias=ada"))
	late := users(origin(1, 2, 1, 1), known("4", day(4), map[string]any{"d": 4}, "alias=ada"))
	more := users(origin(1, 2, 1, 2), known("5", day(5), map[string]any{"e": 5}, "alias=ada", "ios_idfv=phone"))
	first, attribute, bind := h.look(merging), h.look(late), h.look(more)

	_, err := h.Commit(h.ctx, bind)
	require.NoError(t, err)
	_, err = h.Commit(h.ctx, first)
	require.Equal(t, fault.ReasonCommitConflict, fault.ReasonOf(err), "the profile has got an identity: %v", err)
	h.must(merging)
	_, err = h.Commit(h.ctx, attribute)
	require.Equal(t, fault.ReasonCommitConflict, fault.ReasonOf(err), "the profile is merged: %v", err)
	h.must(late)
	require.Equal(t, p, h.resolve("ios_idfv", "phone"))
	require.Len(t, h.whole(p).Attributes, 3)
}

func conflictUndo(t *testing.T, open func() store.Store) {
	h := graph(t, open)
	h.must(users(origin(1, 1, 1, 0), known("1", day(1), nil, "email=ada@x.org"), known("2", day(2), nil, "alias=ada"), known("0", day(0), nil, "other=o")))
	h.must(users(origin(1, 1, 1, 1), known("3", day(3), nil, "email=ada@x.org", "alias=ada")))
	m := h.log(h.resolve("alias", "ada"))[0]
	stale := h.standing(m)
	h.must(users(origin(1, 1, 1, 2), known("4", day(4), nil, "email=ada@x.org", "other=o")))
	top, err := store.Whole(h.ctx, h, h.scope, m.Others[0])
	require.NoError(t, err)
	require.Equal(t, h.resolve("other", "o"), top.Profile)
	for _, size := range []int{1, 2, 10} {
		log := pages(t, size, func(after string) ([]profile.Merge, string, error) { return top.Merges(h.ctx, h, h.scope, after, size) })
		require.Len(t, log, 2, "what was merged into it, and what had been merged into that, each once")
		require.NotEqual(t, log[0].ID, log[1].ID)
	}
	err = h.Undo(h.ctx, stale)
	require.Equal(t, fault.ReasonCommitConflict, fault.ReasonOf(err), "the survivor is merged itself: %v", err)
	require.NoError(t, h.Undo(h.ctx, h.standing(m)))
	require.Equal(t, m.Others[0], h.resolve("alias", "ada"))
	require.Equal(t, h.resolve("other", "o"), h.resolve("email", "ada@x.org"))
}

func steal(t *testing.T, open func() store.Store) {
	h := start(t, open).with(identity.Options{
		Strategy: "profile_conversion", Unique: []string{"customer_id", "email"}, Login: []string{"customer_id"},
	})
	h.must(users(origin(1, 1, 1, 0), known("1", day(1), nil, "customer_id=1", "email=ada@x.org"), known("2", day(2), nil, "customer_id=2")))
	e := h.look(users(origin(1, 1, 1, 1), known("3", day(3), nil, "customer_id=2", "email=ada@x.org")))
	late := h.look(users(origin(1, 2, 1, 1), known("4", day(3), nil, "customer_id=3", "email=ada@x.org")))
	_, err := h.Commit(h.ctx, e)
	require.NoError(t, err)
	require.Equal(t, h.resolve("customer_id", "2"), h.resolve("email", "ada@x.org"))
	require.Equal(t, []string{"customer_id=1"}, names(h.profileOf("1").Identities))
	require.Equal(t, []string{"customer_id=2", "email=ada@x.org"}, names(h.profileOf("2").Identities))
	_, err = h.Commit(h.ctx, late)
	require.Equal(t, fault.ReasonCommitConflict, fault.ReasonOf(err), "%v", err)

	// A device whose owner is known begins a new profile, whose id no profile has.
	h.must(users(origin(1, 1, 1, 2), known("5", day(1), nil, "ios_idfv=phone"), known("6", day(1), nil, "ios_idfv=phone", "customer_id=6")))
	h.must(users(origin(1, 1, 1, 3), known("7", day(1), nil, "ios_idfv=phone")))
	require.NotEqual(t, h.resolve("customer_id", "6"), h.resolve("ios_idfv", "phone"))
	require.Equal(t, []string{"ios_idfv=phone"}, names(h.whole(h.resolve("ios_idfv", "phone")).Identities))
}

// eightMergers glue the same people together at once: one profile comes of each.
func eightMergers(t *testing.T, open func() store.Store) {
	h := graph(t, open)
	const workers, people = 8, 12
	var wg sync.WaitGroup
	errs := make([]error, workers)
	for w := range workers {
		wg.Go(func() {
			for n := range people {
				who := (n*5 + w) % people
				key := fmt.Sprint(w, "/", who)
				_, err := h.ingest(users(origin(1, uint32(w), 1, uint32(n)), //nolint:gosec // few
					known(key+"a", day(w+1), map[string]any{fmt.Sprint("a", w): who}, fmt.Sprint("email=p", who), fmt.Sprint("alias=p", who)),
					known(key+"b", day(w+1), map[string]any{fmt.Sprint("b", w): who}, fmt.Sprint("other=p", who)),
					known(key+"c", day(w+1), nil, fmt.Sprint("other=p", who), fmt.Sprint("alias=p", who))))
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
	for who := range people {
		p := h.resolve("email", fmt.Sprint("p", who))
		require.Equal(t, p, h.resolve("alias", fmt.Sprint("p", who)))
		require.Equal(t, p, h.resolve("other", fmt.Sprint("p", who)))
		require.Len(t, h.whole(p).Attributes, 2*workers)
		require.Len(t, h.whole(p).Identities, 3)
	}
	_, n, err := store.Digest(h.ctx, h, "")
	require.NoError(t, err)
	require.Equal(t, store.Totals{Profiles: people, Identities: 3 * people}, n)
}

// mirrorOfMerged: what a mirror takes from a merged profile goes from the survivor, and what it changes comes to it.
func mirrorOfMerged(t *testing.T, open func() store.Store) {
	h := graph(t, open)
	h.must(mirrorOf(users(originOf("shop", 1, 1, 1, 0), known("1", day(1), map[string]any{"a": 1}, "email=ada@x.org"),
		known("2", day(2), map[string]any{"b": 2}, "alias=ada"), known("3", day(2), map[string]any{"c": 3}, "alias=ada"))))
	h.must(users(origin(1, 1, 1, 0), known("4", day(3), map[string]any{"d": 4}, "email=ada@x.org", "alias=ada")))
	p := h.resolve("alias", "ada")
	require.Equal(t, h.resolve("email", "ada@x.org"), p)
	require.Len(t, h.whole(p).Attributes, 4)

	c := h.must(absentOf(originOf("shop", 2, 2, 1, 0), record.Users, keysOf("2")...))
	require.EqualValues(t, 1, c.Deleted)
	require.Len(t, h.whole(p).Attributes, 3)
	c = h.must(mirrorOf(users(originOf("shop", 3, 1, 1, 0), known("3", day(2), map[string]any{"e": 5}, "alias=ada"))))
	require.EqualValues(t, 1, c.Updated)
	got := map[string]string{}
	for _, a := range h.whole(p).Attributes {
		got[a.Name] = string(a.Value.AppendJSON(nil))
	}
	require.Equal(t, map[string]string{"a": "1", "d": "4", "e": "5"}, got)
}
