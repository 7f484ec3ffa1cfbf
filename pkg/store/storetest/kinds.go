package storetest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/id"
	"millrace.dev/pkg/profile"
	"millrace.dev/pkg/record"
	"millrace.dev/pkg/record/recordtest"
	"millrace.dev/pkg/store"
)

func ofKind(kind record.Kind, o record.Origin, rows ...recordtest.Row) batch {
	o.Rows = int64(len(rows))
	return batch{recordtest.Batch(kind, rows, recordtest.Options{}), o}
}

// in lets what follows be about another scope.
func (h *harness) in(s profile.Scope, r profile.Rules) *harness {
	out := *h
	out.scope, out.rules = s, r
	return &out
}

// groups says that groups of a type are kept apart from people and from groups of other types, and merge as profiles do.
func groups(t *testing.T, open func() store.Store) {
	h := start(t, open)
	row := func(typ, key string, n int, plan string) recordtest.Row {
		return recordtest.Row{Key: key, Time: day(n), Identities: map[string]string{typ: key}, Attributes: map[string]any{"plan": plan}}
	}
	company, team := h.in(h.scope.Groups("company"), profile.Rules{}), h.in(h.scope.Groups("team"), profile.Rules{})
	h.must(users(origin(1, 1, 1, 0), user("a", day(1), map[string]any{"plan": "own"})))
	c := company.must(ofKind(record.Groups, originOf("companies", 1, 1, 1, 0), row("company", "a", 2, "gold"), row("company", "b", 1, "free")))
	require.EqualValues(t, 2, c.Created)
	team.must(ofKind(record.Groups, originOf("teams", 1, 1, 1, 0), row("team", "a", 1, "red")))
	c = company.must(ofKind(record.Groups, originOf("companies", 2, 1, 1, 0), row("company", "a", 1, "old"), row("company", "b", 1, "free")))
	require.EqualValues(t, 2, c.Unchanged)

	for typ, x := range map[string]struct {
		in   *harness
		plan string
	}{"customer_id": {h, `"own"`}, "company": {company, `"gold"`}, "team": {team, `"red"`}} {
		p := x.in.resolve(typ, "a")
		require.NotZero(t, p, typ)
		doc, err := h.Profile(t.Context(), x.in.scope, p)
		require.NoError(t, err)
		d, err := profile.Decode(doc)
		require.NoError(t, err)
		require.Equal(t, x.plan, string(d.Attributes[0].Value.AppendJSON(nil)), typ)
	}
	all, _, err := h.Profiles(t.Context(), company.scope, "", 10)
	require.NoError(t, err)
	require.Len(t, all, 2)
	all, _, err = h.Profiles(t.Context(), h.scope, "", 10)
	require.NoError(t, err)
	require.Len(t, all, 1)
	_, totals, err := store.Digest(t.Context(), h, id.DefaultWorkspace)
	require.NoError(t, err)
	require.EqualValues(t, 4, totals.Profiles, "the digest covers groups")
}

// lookups says that the rows of each generation of a lookup table stand side by side, and that sweeping takes those
// before one away.
func lookups(t *testing.T, open func() store.Store) {
	h := start(t, open)
	row := func(key, title string) recordtest.Row {
		return recordtest.Row{Key: key, Attributes: map[string]any{"title": title}}
	}
	table := func(generation, current int64) *harness {
		return h.in(h.scope.Lookup(syncOf("products")), profile.Rules{Table: profile.Table{Generation: generation, Current: current}})
	}
	full := func(run int64) record.Origin {
		o := originOf("products", run, 1, 1, 0)
		o.Full = true
		return o
	}
	scope := table(0, 0).scope
	seen := func(key string) map[int64]string {
		docs, _, err := h.ProfileEvents(t.Context(), scope, profile.LookupKey(scope, key), "", 10)
		require.NoError(t, err)
		out := map[int64]string{}
		for _, d := range docs {
			e, err := profile.DecodeEvent(d.Doc)
			require.NoError(t, err)
			out[d.Key.Time] = string(e.Data.AppendJSON(nil))
		}
		return out
	}
	c := table(1, 0).must(ofKind(record.Lookup, full(1), row("a", "Kite"), row("b", "Ball")))
	require.EqualValues(t, 2, c.Created)
	c = table(2, 1).must(ofKind(record.Lookup, full(2), row("a", "Kite"), row("c", "Dart")))
	require.EqualValues(t, 1, c.Unchanged)
	require.EqualValues(t, 1, c.Created)
	require.Equal(t, map[int64]string{1: `{"title":"Kite"}`, 2: `{"title":"Kite"}`}, seen("a"))
	require.Equal(t, map[int64]string{1: `{"title":"Ball"}`}, seen("b"))

	n, err := h.Sweep(t.Context(), scope, 2, 1)
	require.NoError(t, err)
	require.Equal(t, 1, n, "no more than were asked for")
	n, err = h.Sweep(t.Context(), scope, 2, 10)
	require.NoError(t, err)
	require.Equal(t, 1, n)
	require.Equal(t, map[int64]string{2: `{"title":"Kite"}`}, seen("a"))
	require.Empty(t, seen("b"))
	n, err = h.Sweep(t.Context(), h.scope.Lookup(syncOf("nobody")), 2, 10)
	require.NoError(t, err)
	require.Zero(t, n)

	c = table(3, 2).must(ofKind(record.Lookup, full(3), row("a", "Red kite"), row("b", "Ball")))
	require.EqualValues(t, 1, c.Updated)
	require.EqualValues(t, 1, c.Created, "it was not in the table of run 2")
}

// histories says that versions belong to a profile and are none of its events.
func histories(t *testing.T, open func() store.Store) {
	h := start(t, open)
	version := func(n int, plan string) recordtest.Row {
		return recordtest.Row{Key: "m" + day(n).String(), Start: day(n), Identities: map[string]string{"customer_id": "m"}, Attributes: map[string]any{"plan": plan}}
	}
	h.must(users(origin(1, 1, 1, 0), user("m", day(1), map[string]any{"city": "Oslo"})))
	c := h.must(ofKind(record.History, originOf("plans", 1, 1, 1, 0), version(20, "gold"), version(10, "free")))
	require.EqualValues(t, 2, c.Created)
	p := h.resolve("customer_id", "m")
	docs, _, err := h.ProfileEvents(t.Context(), h.scope.History(), p, "", 10)
	require.NoError(t, err)
	require.Len(t, docs, 2)
	require.Equal(t, day(20).UnixMilli(), docs[0].Key.Time, "newest first")
	none, _, err := h.ProfileEvents(t.Context(), h.scope, p, "", 10)
	require.NoError(t, err)
	require.Empty(t, none)
	require.Equal(t, map[string]string{"city": `"Oslo"`}, h.attributes("m"))
	_, totals, err := store.Digest(t.Context(), h, id.DefaultWorkspace)
	require.NoError(t, err)
	require.EqualValues(t, 2, totals.Events, "the digest covers versions")
}
