package storetest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/identity"
	"millrace.dev/pkg/profile"
	"millrace.dev/pkg/record"
	"millrace.dev/pkg/store"
)

func hasher() *profile.Hasher { return profile.NewHasher([profile.HashKeyLen]byte{1, 2, 3}) }

func person(typ, value string) profile.Identity { return profile.Identity{Type: typ, Value: value} }

// erasure answers an erasure that is asked for by an identity, in its first revision.
func (h *harness) erasure(i profile.Identity) profile.Erasure {
	return profile.Erasure{ID: hasher().ErasureID(h.scope, i), Scope: h.scope, Revision: 1, Type: i.Type, Created: day(1)}
}

func (h *harness) erase(e profile.Erasing) {
	h.t.Helper()
	require.NoError(h.t, h.Erase(h.ctx, e))
}

// block adds identities to the hash list by an erasure of their own.
func (h *harness) block(is ...profile.Identity) profile.Erasure {
	h.t.Helper()
	e := profile.Erasing{Erasure: h.erasure(is[0])}
	for _, i := range is {
		e.Block = append(e.Block, hasher().Blocked(i))
	}
	h.erase(e)
	return e.Erasure
}

// step is the next step of an erasure.
func step(e *profile.Erasure) profile.Erasing {
	e.Revision++
	return profile.Erasing{Erasure: *e, EventScope: e.Scope}
}

// erasuresKept: an erasure goes from revision to revision, and is unfinished until it is done.
func erasuresKept(t *testing.T, open func() store.Store) {
	h := start(t, open)
	first := h.erasure(person("email", "a@x"))
	_, there, err := h.Erasure(h.ctx, first.ID)
	require.NoError(t, err)
	require.False(t, there)
	first.Profiles, first.Syncs = []id.Profile{7, 8}, []id.Sync{syncOf("crm")}
	*first.Report(profile.InEvents) = profile.PlaceReport{Place: profile.InEvents, State: profile.PlacePending, Removed: 3}
	h.erase(profile.Erasing{Erasure: first})
	again := h.erasure(person("email", "a@x"))
	require.Equal(t, fault.ReasonCommitConflict, fault.ReasonOf(h.Erase(h.ctx, profile.Erasing{Erasure: again})), "it is there already")
	kept, there, err := h.Erasure(h.ctx, first.ID)
	require.NoError(t, err)
	require.True(t, there)
	require.Equal(t, first, kept)
	other := h.block(person("email", "b@x"))

	unfinished := func() []profile.ErasureID {
		es, err := h.Unfinished(h.ctx, 10)
		require.NoError(t, err)
		var out []profile.ErasureID
		for _, e := range es {
			out = append(out, e.ID)
		}
		return out
	}
	require.ElementsMatch(t, []profile.ErasureID{first.ID, other.ID}, unfinished())
	one, err := h.Unfinished(h.ctx, 1)
	require.NoError(t, err)
	require.Len(t, one, 1)
	next := step(&first)
	next.Erasure.Done = day(2)
	h.erase(next)
	require.Equal(t, []profile.ErasureID{other.ID}, unfinished())
	require.Equal(t, fault.ReasonCommitConflict, fault.ReasonOf(h.Erase(h.ctx, next)), "a step is made once")
}

func hashLists(t *testing.T, open func() store.Store) {
	h := start(t, open)
	salt, err := h.Salt(h.ctx, "w", nil)
	require.NoError(t, err)
	require.Empty(t, salt)
	for _, first := range []string{"one", "two", ""} {
		salt, err = h.Salt(h.ctx, "w", []byte(first))
		require.NoError(t, err)
		require.Equal(t, "one", string(salt), "the first one stays")
	}

	a, b, c := person("email", "a@x"), person("email", "b@x"), person("customer_id", "1")
	h.block(a, b, a)
	h.block(b, c)
	is, err := h.Blocked(h.ctx, h.scope, []profile.Hash{hasher().Hash("email", "a@x"), hasher().Hash("customer_id", "a@x"), hasher().Hash("customer_id", "1")})
	require.NoError(t, err)
	require.Equal(t, []bool{true, false, true}, is)
	dev := h.scope
	dev.Environment = "dev"
	is, err = h.Blocked(h.ctx, dev, []profile.Hash{hasher().Hash("email", "a@x")})
	require.NoError(t, err)
	require.Equal(t, []bool{false}, is, "another data set")

	want := []uint32{hasher().Tag("email", "a@x"), hasher().Tag("email", "b@x"), hasher().Tag("customer_id", "1")}
	tags, err := h.Tags(h.ctx, h.scope, 0, 2)
	require.NoError(t, err)
	require.Equal(t, want[:2], tags)
	tags, err = h.Tags(h.ctx, h.scope, 2, 2)
	require.NoError(t, err)
	require.Equal(t, want[2:], tags, "each once, in order")
	look := users(origin(1, 1, 1, 0), user("1", day(1), nil))
	st, err := h.Look(h.ctx, profile.KeysOf(look.Batch, look.origin, h.scope, h.rules))
	require.NoError(t, err)
	require.EqualValues(t, 3, st.Blocked)
}

// personErased removes all that a person brought, step by step.
func personErased(t *testing.T, open func() store.Store) {
	h := graph(t, open)
	h.rules.GroupTypes = []string{"company"}
	h.must(users(originOf("shop", 1, 1, 1, 0), known("9", day(1), map[string]any{"plan": "pro", "company": "acme"}, "email=bob@x")))
	others := Digest(t, h)
	h.must(users(originOf("crm", 1, 1, 1, 0),
		known("1", day(1), map[string]any{"plan": "free", "company": "acme"}, "email=ada@x"),
		known("2", day(2), map[string]any{"company": []any{"umbra"}}, "alias=ada")))
	h.must(users(originOf("crm", 2, 1, 1, 0), known("3", day(3), nil, "email=ada@x", "alias=ada")))
	e1 := event("e1", "", 1000)
	e1.Identities = known("", day(1), nil, "alias=ada").Identities
	h.must(eventsOf(originOf("web", 1, 1, 1, 0), e1))

	f, err := store.Whole(h.ctx, h, h.scope, h.resolve("alias", "ada"))
	require.NoError(t, err)
	ps := append([]id.Profile{f.Profile}, f.Members...)
	require.Len(t, ps, 2)
	docs, err := h.Docs(h.ctx, h.scope, ps)
	require.NoError(t, err)
	who, err := profile.PersonOf(ps, docs)
	require.NoError(t, err)
	require.Equal(t, []profile.Identity{
		person("alias", "ada"), person("email", "ada@x"), person(identity.MPID, ps[0].String()), person(identity.MPID, ps[1].String()),
	}, who.Identities)
	require.Equal(t, []id.Sync{syncOf("crm")}, who.Syncs, "the event brought no identity; its own document names its sync")

	e := h.erasure(person("email", "ada@x"))
	e.Profiles = ps
	h.erase(profile.Erasing{Erasure: e})

	x := step(&e)
	for i, p := range ps {
		x.Read = append(x.Read, profile.ProfileRead{Profile: p, Doc: docs[i]})
		x.Unbound = append(x.Unbound, profile.IdentityWrite{Type: "email", Value: "ada@x", Profile: p}, profile.IdentityWrite{Type: "alias", Value: "ada", Profile: p})
	}
	x.Profiles = ps
	x.Unbound = append(x.Unbound, profile.IdentityWrite{Type: "email", Value: "bob@x", Profile: ps[0]})
	h.erase(x)
	require.Zero(t, h.resolve("email", "ada@x"))
	require.Zero(t, h.resolve("alias", "ada"))
	require.NotZero(t, h.resolve("email", "bob@x"), "it is bound to another")

	log := h.log(ps[0])
	require.Len(t, log, 1)
	x = step(&e)
	x.Merges = []profile.Merge{log[0].Erase()}
	h.erase(x)
	kept := h.log(ps[1])
	require.Len(t, kept, 1)
	require.True(t, kept[0].Erased)
	require.Empty(t, kept[0].Glue.Value)
	require.Equal(t, log[0].Time, kept[0].Time)
	x = step(&e)
	x.MergesGone = kept
	h.erase(x)
	require.Empty(t, h.log(ps[0]))
	require.Empty(t, h.log(ps[1]))

	for _, p := range ps {
		evs, _, err := h.ProfileEvents(h.ctx, h.scope, p, "", 10)
		require.NoError(t, err)
		x = step(&e)
		for _, ev := range evs {
			x.Events = append(x.Events, ev.Key)
		}
		h.erase(x)
	}
	var in []profile.EventKey
	members := pages(t, 1, func(after string) ([]profile.EventKey, string, error) {
		for {
			keys, next, err := h.EventsWith(h.ctx, h.scope.Members(), []profile.EventID{profile.MemberID(ps[0]), profile.MemberID(ps[1])}, after, 1)
			if after = next; err != nil || next == "" || len(keys) > 0 {
				return keys, next, err
			}
		}
	})
	in = append(in, members...)
	require.Len(t, in, 2, "of both groups")
	x = step(&e)
	x.EventScope, x.Events = h.scope.Members(), in
	h.erase(x)

	for _, sync := range []string{"crm", "web", "shop"} {
		x = step(&e)
		x.Sync = syncOf(sync)
		for after := ""; ; {
			rows, next, err := h.RowsOf(h.ctx, x.Sync, ps, after, 2)
			require.NoError(t, err)
			x.Rows = append(x.Rows, rows...)
			if after = next; after == "" {
				break
			}
		}
		require.Len(t, x.Rows, map[string]int{"crm": 3, "web": 1}[sync])
		h.erase(x)
		rows, _, err := h.RowsOf(h.ctx, x.Sync, ps, "", 10)
		require.NoError(t, err)
		require.Empty(t, rows)
	}
	require.Equal(t, others, Digest(t, h), "nothing of the person is left, all of others is")
	left, _, err := h.EventsWith(h.ctx, h.scope.Members(), []profile.EventID{profile.MemberID(h.resolve("email", "bob@x"))}, "", 10)
	require.NoError(t, err)
	require.Len(t, left, 1)
	again := users(originOf("crm", 3, 1, 1, 0), known("1", day(1), nil, "email=ada@x"))
	require.EqualValues(t, 1, h.must(again).Created, "where the list does not say so, nothing remembers the row")
}

// blockedBetween: what was decided before an identity was blocked does not commit after.
func blockedBetween(t *testing.T, open func() store.Store) {
	h := start(t, open)
	first := users(origin(1, 1, 1, 0), user("1", day(1), nil)) // looked up before the scope is there
	e := h.look(first)
	h.block(person("customer_id", "1"))
	_, err := h.Commit(h.ctx, e)
	require.Equal(t, fault.ReasonCommitConflict, fault.ReasonOf(err))
	require.Zero(t, h.resolve("customer_id", "1"))

	e = h.look(first)
	next := h.erasure(person("customer_id", "2"))
	h.erase(profile.Erasing{Erasure: next})
	_, err = h.Commit(h.ctx, e)
	require.NoError(t, err, "a step that takes nothing stands in nobody's way")
	for _, taking := range []func(*profile.Erasing){
		func(x *profile.Erasing) { x.Block = []profile.Blocked{hasher().Blocked(person("customer_id", "2"))} },
		func(x *profile.Erasing) { x.Events = []profile.EventKey{{Profile: 1, Time: 1}} },
		func(x *profile.Erasing) { x.Profiles = []id.Profile{12} },
	} {
		b := users(origin(1, 1, 1, uint32(next.Revision)), user("3", day(int(next.Revision)), nil)) //nolint:gosec // small
		e := h.look(b)
		x := step(&next)
		taking(&x)
		h.erase(x)
		_, err = h.Commit(h.ctx, e)
		require.Equal(t, fault.ReasonCommitConflict, fault.ReasonOf(err))
		h.must(b)
	}
}

// erasingOvertaken: a step that goes by what has changed since is not made.
func erasingOvertaken(t *testing.T, open func() store.Store) {
	h := start(t, open)
	h.must(users(origin(1, 1, 1, 0), user("1", day(1), map[string]any{"a": 1}), user("2", day(1), nil)))
	p, q := h.resolve("customer_id", "1"), h.resolve("customer_id", "2")
	doc, err := h.Profile(h.ctx, h.scope, p)
	require.NoError(t, err)
	e := h.erasure(person("customer_id", "1"))
	e.Profiles = []id.Profile{p}
	h.erase(profile.Erasing{Erasure: e})
	h.must(users(origin(2, 1, 1, 0), user("1", day(2), map[string]any{"a": 2})))
	next := e
	x := step(&next)
	x.Read, x.Profiles = []profile.ProfileRead{{Profile: p, Doc: doc}}, []id.Profile{p}
	require.Equal(t, fault.ReasonCommitConflict, fault.ReasonOf(h.Erase(h.ctx, x)), "the document has changed")
	rows, _, err := h.RowsOf(h.ctx, syncOf("crm"), []id.Profile{q}, "", 10)
	require.NoError(t, err)
	require.Len(t, rows, 1)
	next = e
	x = step(&next)
	x.Sync, x.Rows = syncOf("crm"), rows
	require.Equal(t, fault.ReasonCommitConflict, fault.ReasonOf(h.Erase(h.ctx, x)), "the row is another's")
	kept, _, err := h.Erasure(h.ctx, e.ID)
	require.NoError(t, err)
	require.EqualValues(t, 1, kept.Revision)
	require.Equal(t, map[string]string{"a": "2"}, h.attributes("1"))

	doc, err = h.Profile(h.ctx, h.scope, p)
	require.NoError(t, err)
	next = e
	x = step(&next)
	x.Read = []profile.ProfileRead{{Profile: p, Doc: doc}, {Profile: 99}}
	x.Rewritten = []profile.Rewritten{{Profile: p, Doc: profile.Fold(doc)}}
	h.erase(x)
	require.Equal(t, map[string]string{"a": "2"}, h.attributes("1"), "written anew")
}

func rejectsErased(t *testing.T, open func() store.Store) {
	h := start(t, open)
	for _, o := range []record.Origin{origin(1, 1, 1, 0), origin(1, 1, 2, 0), originOf("shop", 1, 1, 1, 0)} {
		h.keep(o, []byte("sealed "+o.SyncID))
	}
	list := func() []store.StoredReject {
		return pages(t, 2, func(after string) ([]store.StoredReject, string, error) { return h.AllRejects(h.ctx, after, 2) })
	}
	all := list()
	require.Len(t, all, 6, "of every run and epoch")
	e := h.erasure(person("email", "a@x"))
	one, both := all[0].Batch, all[2].Batch
	h.erase(profile.Erasing{Erasure: e, Rejects: []profile.RejectName{{Batch: one, Row: 1}, {Batch: both, Row: 1}, {Batch: both, Row: 2}}, Kept: []profile.KeptRows{
		{Batch: one, Sealed: []byte("less")}, {Batch: both}, {Batch: origin(9, 1, 1, 0).Batch, Sealed: []byte("of nobody")},
	}})
	left := list()
	require.Len(t, left, 3)
	require.Equal(t, one, left[0].Batch)
	require.EqualValues(t, 2, left[0].Reject.Row)
	for b, want := range map[id.Batch]string{one: "less", both: "", origin(9, 1, 1, 0).Batch: ""} {
		kept, err := h.Kept(h.ctx, b)
		require.NoError(t, err)
		require.Equal(t, want, string(kept))
	}
}
