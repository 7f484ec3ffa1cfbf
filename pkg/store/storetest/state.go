package storetest

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/id"
	"millrace.dev/pkg/identity"
	"millrace.dev/pkg/profile"
	"millrace.dev/pkg/record"
	"millrace.dev/pkg/record/recordtest"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/row"
	"millrace.dev/pkg/store"
)

func lookAtNothing(t *testing.T, open func() store.Store) {
	h := start(t, open)
	b := users(origin(1, 1, 1, 0), user("1", day(1), nil), user("2", day(1), nil))
	k := profile.KeysOf(b.Batch, b.origin, h.scope, h.rules)
	st, err := h.Look(h.ctx, k)
	require.NoError(t, err)
	require.Nil(t, st.Applied)
	require.False(t, st.Fenced)
	require.Equal(t, make([]profile.Entry, 2), st.Entries)
	require.Equal(t, [][]id.Profile{{0, 0}}, st.Profiles)
	require.Equal(t, []id.Profile{
		profile.Derive(h.scope, "customer_id", "1", 0), profile.Derive(h.scope, "customer_id", "2", 0),
	}, st.Fresh)
	require.Zero(t, h.resolve("customer_id", "1"), "looking binds nothing")
	require.Zero(t, h.resolve("a type nobody has used", "1"))
	doc, err := h.Profile(h.ctx, h.scope, 7)
	require.NoError(t, err)
	require.Nil(t, doc)
}

func rowIndex(t *testing.T, open func() store.Store) {
	h := start(t, open)
	b := users(origin(5, 2, 3, 0), user("1", day(-40000), map[string]any{"a": 1}), user("2", day(2), map[string]any{"a": 1}))
	k := profile.KeysOf(b.Batch, b.origin, h.scope, h.rules)
	st, err := h.Look(h.ctx, k)
	require.NoError(t, err)
	e := profile.Decide(b.Batch, k, st, h.rules)
	want := []profile.Entry{e.Entries[0].Entry, e.Entries[1].Entry}
	// What Decide does not make yet has to be kept as well.
	want[1].Tombstone, want[1].EventTime = true, -5
	want[1].Flags = profile.FlagLate | profile.FlagUnattributed
	want[1].Effect, want[1].Repeats = profile.Deleted, true
	want[1].RecordHash, want[1].Version.RowHash = row.Hash{Hi: 1<<64 - 1, Lo: 2}, row.Hash{Hi: 3, Lo: 1<<64 - 1}
	want[1].Part, want[1].Epoch = 1<<32-1, 1<<32-1
	e.Entries[1].Entry = want[1]
	_, err = h.Commit(h.ctx, e)
	require.NoError(t, err)

	b.origin = origin(6, 1, 1, 0)
	k = profile.KeysOf(b.Batch, b.origin, h.scope, h.rules)
	st, err = h.Look(h.ctx, k)
	require.NoError(t, err)
	require.Equal(t, want, st.Entries)

	other := users(originOf("shop", 1, 1, 1, 0), user("1", day(1), nil))
	st, err = h.Look(h.ctx, profile.KeysOf(other.Batch, other.origin, h.scope, h.rules))
	require.NoError(t, err)
	require.False(t, st.Entries[0].Found, "a row index is of one sync")
}

// repeatedKeys reads two rows of one key in every order, in one batch and in two, run after run: the newest stands.
func repeatedKeys(t *testing.T, open func() store.Store) {
	h := start(t, open)
	for customer, mirror := range map[string]bool{"1": false, "2": true} {
		newest, older := user(customer, day(9), map[string]any{"plan": "new"}), user(customer, day(5), map[string]any{"plan": "old"})
		run, seq := int64(0), uint32(0)
		read := func(batches ...[]recordtest.Row) (sum record.Counts) {
			run++
			for _, rows := range batches {
				seq++
				o := originOf("shop of "+customer, run, 1, 1, seq)
				o.Full, o.Mirror = true, mirror
				sum = sum.Add(h.must(users(o, rows...)))
			}
			return sum
		}
		rows := func(r ...recordtest.Row) []recordtest.Row { return r }
		for n, batches := range [][][]recordtest.Row{
			{rows(newest)},
			{rows(newest, older)}, // the other comes in a later run, behind the one that is what it was
			{rows(older), rows(newest)},
			{rows(newest), rows(older)},
			{rows(older, newest)},
			{rows(newest, older)},
		} {
			c := read(batches...)
			require.Equal(t, map[string]string{"plan": `"new"`}, h.attributes(customer), "after read %d", n)
			require.EqualValues(t, min(n, 1), c.Collapsed, "in read %d", n)
			require.EqualValues(t, max(0, 1-n), c.Created, "in read %d", n)
		}
	}
	_, n, err := store.Digest(h.ctx, h, h.scope.Workspace)
	require.NoError(t, err)
	require.EqualValues(t, 2, n.Profiles, "nobody comes twice")
}

func identities(t *testing.T, open func() store.Store) {
	h := start(t, open)
	h.must(users(origin(1, 1, 1, 0),
		recordtest.Row{Key: "1", Identities: map[string]string{"customer_id": "1", "email": "ada@x.org"}},
		recordtest.Row{Key: "2", Identities: map[string]string{"customer_id": "2", "email": "\x00 strange \xff\U0001F600 'value'"}},
		recordtest.Row{Key: "3", Identities: map[string]string{"email": "1", "customer_id": "12"}},
	))
	one := h.resolve("customer_id", "1")
	require.NotZero(t, one)
	require.Equal(t, one, h.resolve("email", "ada@x.org"))
	require.NotEqual(t, one, h.resolve("customer_id", "2"))
	require.Equal(t, h.resolve("customer_id", "2"), h.resolve("email", "\x00 strange \xff\U0001F600 'value'"))
	require.NotEqual(t, one, h.resolve("email", "1"), "types do not meet")
	require.Zero(t, h.resolve("customer_id", ""), "no prefix is taken for a value")

	b := users(origin(2, 1, 1, 0),
		recordtest.Row{Key: "4", Identities: map[string]string{"email": "ada@x.org"}},
		recordtest.Row{Key: "5", Identities: map[string]string{"email": "ada@x.org", "customer_id": "5"}},
		recordtest.Row{Key: "6", Identities: map[string]string{"email": "new@x.org", "customer_id": "6"}},
		recordtest.Row{Key: "7", Identities: map[string]string{"email": "ada@x.org", "customer_id": "2"}})
	k := profile.KeysOf(b.Batch, b.origin, h.scope, h.rules)
	st, err := h.Look(h.ctx, k)
	require.NoError(t, err)
	require.Equal(t, "customer_id", k.Identities[0].Type)
	require.Equal(t, [][]id.Profile{{0, 0, 0, h.resolve("customer_id", "2")}, {one, one, 0, one}}, st.Profiles)
	require.Equal(t, []id.Profile{0, 0, profile.Derive(h.scope, "customer_id", "6", 0), 0}, st.Fresh)
}

func mpid(t *testing.T, open func() store.Store) {
	h := start(t, open)
	h.must(users(origin(1, 1, 1, 0), user("1", day(1), map[string]any{"a": 1})))
	p := h.resolve("customer_id", "1")
	c := h.must(users(origin(1, 1, 1, 1),
		recordtest.Row{Key: "2", Identities: map[string]string{identity.MPID: p.String(), "email": "ada@x.org"}, Attributes: map[string]any{"b": 2}},
		recordtest.Row{Key: "3", Identities: map[string]string{identity.MPID: "77"}, Attributes: map[string]any{"b": 3}}))
	require.EqualValues(t, 1, c.Created)
	require.EqualValues(t, 1, c.Refused, "an id that no profile has names nobody")
	require.Equal(t, p, h.resolve("email", "ada@x.org"))
	require.Equal(t, map[string]string{"a": "1", "b": "2"}, h.attributes("1"))
	require.Zero(t, h.resolve(identity.MPID, p.String()), "it is not bound")
}

// probed makes a profile of another person stand where the first choice of an id would be.
func probed(t *testing.T, open func() store.Store) {
	h := start(t, open)
	first := profile.Derive(h.scope, "customer_id", "1", 0)
	e := h.look(users(origin(1, 1, 1, 0), user("other", day(1), map[string]any{"a": 1})))
	e.Identities[0].Profile, e.Contributions[0].Profile, e.Entries[0].Entry.Profile = first, first, first
	_, err := h.Commit(h.ctx, e)
	require.NoError(t, err)
	h.must(users(origin(1, 1, 1, 1), user("1", day(1), map[string]any{"a": 2})))
	require.Equal(t, profile.Derive(h.scope, "customer_id", "1", 1), h.resolve("customer_id", "1"))
	require.Equal(t, map[string]string{"a": "1"}, h.attributes("other"))
	require.Equal(t, map[string]string{"a": "2"}, h.attributes("1"))
}

func contributions(t *testing.T, open func() store.Store) {
	h := start(t, open)
	h.must(users(originOf("crm", 1, 1, 1, 0), user("1", day(5), map[string]any{"plan": "crm", "city": "Rome"})))
	h.must(users(originOf("shop", 1, 1, 1, 0), user("1", day(4), map[string]any{"plan": "shop", "ltv": 7.5})))
	require.Equal(t, map[string]string{"plan": `"crm"`, "city": `"Rome"`, "ltv": "7.5"}, h.attributes("1"))
	h.must(users(originOf("shop", 2, 1, 1, 0), user("1", day(6), map[string]any{"plan": "shop 2", "ltv": 8.5})))
	require.Equal(t, map[string]string{"plan": `"shop 2"`, "city": `"Rome"`, "ltv": "8.5"}, h.attributes("1"))
	for _, a := range h.profileOf("1").Attributes {
		if a.Name == "plan" {
			require.Equal(t, originOf("shop", 2, 1, 1, 0).Batch, a.From.Batch)
			require.Equal(t, "shop", a.From.SyncID)
			require.Equal(t, "1", a.From.KeyValues)
			require.Equal(t, day(6), a.From.RowTime())
		}
	}
	p := h.profileOf("1")
	require.Equal(t, day(4), p.FirstSeen)
	require.Equal(t, day(6), p.LastSeen)

	// Many updates of one profile, some in one batch.
	for n := range 40 {
		rows := make([]recordtest.Row, 25)
		for i := range rows {
			rows[i] = user("1", day(100+25*n+i), map[string]any{"plan": fmt.Sprint(n, " ", i), "n": n})
			rows[i].Key = fmt.Sprint("other key ", i)
		}
		h.must(users(originOf("shop", 3, 1, 1, uint32(n)), rows...)) //nolint:gosec // few
	}
	require.Equal(t, map[string]string{"plan": `"39 24"`, "city": `"Rome"`, "ltv": "8.5", "n": "39"}, h.attributes("1"))
	doc, err := h.Profile(h.ctx, h.scope, h.resolve("customer_id", "1"))
	require.NoError(t, err)
	require.Less(t, len(doc), 64<<10, "superseded contributions fall away")
}

func scopes(t *testing.T, open func() store.Store) {
	h := start(t, open)
	h.must(users(originOf("crm", 1, 1, 1, 0), user("1", day(1), map[string]any{"a": "prod"})))
	dev := *h
	dev.scope.Environment = resource.Dev
	dev.must(users(originOf("crm dev", 1, 1, 1, 0), user("1", day(1), map[string]any{"a": "dev"})))
	other := *h
	other.scope.Workspace = "other"
	require.Zero(t, other.resolve("customer_id", "1"))
	require.NotEqual(t, h.resolve("customer_id", "1"), dev.resolve("customer_id", "1"))
	require.Equal(t, map[string]string{"a": `"prod"`}, h.attributes("1"))
	require.Equal(t, map[string]string{"a": `"dev"`}, dev.attributes("1"))
	page, next, err := h.Profiles(h.ctx, h.scope, "", 10)
	require.NoError(t, err)
	require.Len(t, page, 1)
	require.Empty(t, next)
}

func emptyBatch(t *testing.T, open func() store.Store) {
	h := start(t, open)
	b := users(origin(1, 1, 1, 0))
	b.Filtered = []record.Filtered{{Row: 0, Key: recordtest.Key("1"), Hash: row.Hash{Hi: 1, Lo: 2}}}
	b.Rejects = []record.Reject{{Row: 1, Key: recordtest.Key("2"), Hash: row.Hash{Hi: 3, Lo: 4}, Stage: record.StageMap, Rule: "rules[0]", Reason: "r"}}
	out, err := h.ingest(b)
	require.NoError(t, err)
	require.Equal(t, record.Counts{Read: 2, Filtered: 1, Rejected: 1}, out.Result.Counts)
	require.Equal(t, row.Hash{Hi: 4, Lo: 6}, out.Result.Digest)
	again, err := h.ingest(b)
	require.NoError(t, err)
	require.True(t, again.Repeated)
	require.Equal(t, out.Result, again.Result)
}
