package storetest

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/profile"
	"millrace.dev/pkg/record"
	"millrace.dev/pkg/record/recordtest"
	"millrace.dev/pkg/store"
)

// mirrorOf makes a batch one of a mirror run.
func mirrorOf(b batch) batch {
	b.origin.Full, b.origin.Mirror, b.origin.Sights = true, true, true
	return b
}

func absentOf(o record.Origin, kind record.Kind, keys ...id.Row) batch {
	o.Full, o.Mirror, o.Rows = true, true, int64(len(keys))
	return batch{record.Batch{Kind: kind, Absent: append([]id.Row{}, keys...)}, o}
}

func keysOf(names ...string) []id.Row {
	out := make([]id.Row, len(names))
	for i, n := range names {
		out[i] = recordtest.Key(n)
	}
	slices.SortFunc(out, compareKeys)
	return out
}

func compareKeys(a, b id.Row) int { return slices.Compare(a[:], b[:]) }

// absent answers all keys that a reading lacks, of those that begin as the given ones do; with none, all.
func (h *harness) absent(r store.Reading, like ...id.Row) []id.Row {
	h.t.Helper()
	out := []id.Row{}
	for first := range 256 {
		if len(like) > 0 && !slices.ContainsFunc(like, func(k id.Row) bool { return k[0] == byte(first) }) {
			continue
		}
		keys, err := h.Absent(h.ctx, r, byte(first))
		require.NoError(h.t, err)
		for _, k := range keys {
			require.Equal(h.t, byte(first), k[0])
		}
		out = append(out, keys...)
	}
	require.True(h.t, slices.IsSortedFunc(out, compareKeys))
	return out
}

func (h *harness) sighted(r store.Reading) int64 {
	h.t.Helper()
	n, err := h.Sighted(h.ctx, r)
	require.NoError(h.t, err)
	return n
}

func withdrawn(t *testing.T, open func() store.Store) {
	h := start(t, open)
	both := user("1", day(2), map[string]any{"plan": "pro"})
	both.Identities["email"] = "a@x"
	h.must(users(originOf("crm", 1, 1, 1, 0), user("1", day(1), map[string]any{"plan": "free", "city": "Rome"})))
	before := Digest(t, h)
	h.must(mirrorOf(users(originOf("shop", 1, 1, 1, 0), both, user("2", day(2), map[string]any{"plan": "pro"}))))
	two := h.resolve("customer_id", "2")
	require.NotZero(t, two)
	require.Equal(t, map[string]string{"plan": `"pro"`, "city": `"Rome"`}, h.attributes("1"))
	b := absentOf(originOf("shop", 2, 2, 1, 0), record.Users, keysOf("1", "2")...)
	require.Equal(t, record.Counts{Absent: 2, Deleted: 2}, h.must(b))
	again, err := h.ingest(b)
	require.NoError(t, err)
	require.True(t, again.Repeated)
	require.Equal(t, map[string]string{"plan": `"free"`, "city": `"Rome"`}, h.attributes("1"))
	require.Zero(t, h.resolve("email", "a@x"), "nobody else brought it")
	require.Zero(t, h.resolve("customer_id", "2"))
	doc, err := h.Profile(h.ctx, h.scope, two)
	require.NoError(t, err)
	require.Empty(t, doc)
	require.Equal(t, before, Digest(t, h), "nothing of the mirror is left")
	c := h.must(mirrorOf(users(originOf("shop", 3, 1, 1, 0), both)))
	require.EqualValues(t, 1, c.Created, "the row comes again")
	require.Equal(t, map[string]string{"plan": `"pro"`, "city": `"Rome"`}, h.attributes("1"))
	require.NotZero(t, h.resolve("email", "a@x"))
}

func withdrawnEvents(t *testing.T, open func() store.Store) {
	h := start(t, open)
	h.must(mirrorOf(eventsOf(originOf("web", 1, 1, 1, 0), event("1", "c", 1000), event("2", "c", 2000), event("3", "d", 3000))))
	d := h.resolve("customer_id", "d")
	require.Equal(t, record.Counts{Absent: 2, Deleted: 2}, h.must(absentOf(originOf("web", 2, 2, 1, 0), record.Events, keysOf("2", "3")...)))
	left, _, err := h.ProfileEvents(h.ctx, h.scope, h.resolve("customer_id", "c"), "", 10)
	require.NoError(t, err)
	require.Len(t, left, 1)
	require.EqualValues(t, 1000, left[0].Key.Time)
	gone, _, err := h.ProfileEvents(h.ctx, h.scope, d, "", 10)
	require.NoError(t, err)
	require.Empty(t, gone)
	require.Zero(t, h.resolve("customer_id", "d"))
}

func absentKeys(t *testing.T, open func() store.Store) {
	h := start(t, open)
	var rows []recordtest.Row
	for n := range 40 {
		rows = append(rows, user(fmt.Sprint("u", n), day(1), map[string]any{"a": n}))
	}
	h.must(mirrorOf(users(origin(1, 1, 1, 0), rows...)))
	run := store.Reading{Sync: syncOf("crm"), RunNo: 2, Parts: []store.ReadPart{{RunNo: 2, Part: 1, Epoch: 2}, {RunNo: 2, Part: 2, Epoch: 1}}}
	h.must(mirrorOf(users(origin(2, 1, 1, 0), rows[0]))) // an attempt that does not count
	h.must(mirrorOf(users(origin(2, 1, 2, 0), rows[1:20]...)))
	b := mirrorOf(users(origin(2, 2, 1, 0), rows[20:37]...))
	b.Filtered = []record.Filtered{{Row: 18, Key: recordtest.Key("u37")}}
	b.Rejects = []record.Reject{{Row: 17, Key: recordtest.Key("u38"), Stage: record.StageMap, Rule: "r", Reason: "r"}}
	h.must(b)
	require.EqualValues(t, 38, h.sighted(run), "repeats, rejected and filtered rows included")
	require.Equal(t, keysOf("u0", "u39"), h.absent(run))
	require.Equal(t, keysOf("u0", "u39"), h.absent(run), "asked again")

	h.must(absentOf(origin(2, 3, 1, 0), record.Users, keysOf("u0")...))
	require.Equal(t, keysOf("u0", "u39"), h.absent(run), "what the run itself has deleted is listed, for the account")
	retry := store.Reading{Sync: syncOf("crm"), RunNo: 3, Retried: []int64{2}, Parts: run.Parts}
	require.Equal(t, keysOf("u0", "u39"), h.absent(retry), "and so is what a run that is retried has deleted")

	next := store.Reading{Sync: syncOf("crm"), RunNo: 4, Parts: []store.ReadPart{{RunNo: 4, Part: 1, Epoch: 1}}}
	dry := mirrorOf(users(origin(4, 1, 1, 0), rows[1:39]...))
	require.NoError(t, h.Sight(h.ctx, dry.origin, h.look(dry).Sighted))
	require.NoError(t, h.Sight(h.ctx, dry.origin, h.look(dry).Sighted))
	require.EqualValues(t, 38, h.sighted(next), "a dry pass keeps keys as well, once")
	require.Equal(t, keysOf("u39"), h.absent(next), "what a closed run has deleted is not there")
	require.NoError(t, h.Forget(h.ctx, syncOf("crm"), 4))
	require.Zero(t, h.sighted(run))
	require.EqualValues(t, 38, h.sighted(next))
	require.Empty(t, h.absent(store.Reading{Sync: syncOf("nobody"), RunNo: 1}))
}

func takingAway(t *testing.T, open func() store.Store) {
	h := start(t, open)
	h.must(mirrorOf(users(originOf("shop", 1, 1, 1, 0), user("1", day(1), map[string]any{"a": 1}))))
	taking := h.look(absentOf(originOf("shop", 2, 2, 1, 0), record.Users, keysOf("1")...))
	bringing := h.look(users(originOf("crm", 1, 1, 1, 0), user("1", day(1), map[string]any{"b": 1})))
	_, err := h.Commit(h.ctx, bringing)
	require.NoError(t, err)
	_, err = h.Commit(h.ctx, taking)
	require.Equal(t, fault.Conflict, fault.ClassOf(err), "the profile has more now than was looked up")
	h.must(absentOf(originOf("shop", 2, 2, 1, 0), record.Users, keysOf("1")...))
	require.Equal(t, map[string]string{"b": "1"}, h.attributes("1"))

	h.must(mirrorOf(users(originOf("shop", 3, 1, 1, 0), user("2", day(1), map[string]any{"a": 1}))))
	bringing = h.look(users(originOf("crm", 1, 1, 1, 1), user("2", day(1), map[string]any{"b": 2})))
	h.must(absentOf(originOf("shop", 4, 2, 1, 0), record.Users, keysOf("2")...))
	_, err = h.Commit(h.ctx, bringing)
	require.Equal(t, fault.Conflict, fault.ClassOf(err), "the profile that was looked up is gone")
	h.must(users(originOf("crm", 1, 1, 1, 1), user("2", day(1), map[string]any{"b": 2})))
	require.Equal(t, map[string]string{"b": "2"}, h.attributes("2"))
}

// mirrored plays random histories of a table as mirror runs: after each the store has what one has that has read the
// table as it is now for the first time.
func mirrored(t *testing.T, open Opener) {
	t.Helper()
	h, fresh := start(t, open(t)), 0
	rapid.Check(t, func(rt *rapid.T) {
		fresh++
		sync := fmt.Sprintf("mirror%d", fresh)
		h.scope.Workspace = id.Workspace(sync)
		table := map[string]recordtest.Row{}
		for run := int64(1); run <= 4; run++ {
			for range rapid.IntRange(0, 5).Draw(rt, "edits") {
				key := fmt.Sprint(rapid.IntRange(1, 9).Draw(rt, "row"))
				r := user(key, day(1), map[string]any{"a": rapid.IntRange(0, 3).Draw(rt, "a")})
				if r.Identities["email"] = key + "@x"; rapid.Bool().Draw(rt, "other email") {
					r.Identities["email"] = key + "@y"
				}
				if table[key] = r; rapid.IntRange(0, 2).Draw(rt, "delete") == 0 {
					delete(table, key)
				}
			}
			h.mirrorRun(sync, run, table)
			was := h.content()
			h.scope.Workspace = id.Workspace(fmt.Sprintf("%s-fresh%d", sync, run))
			h.mirrorRun(fmt.Sprintf("%s-f%d", sync, run), 1, table)
			require.Equal(rt, h.content(), was)
			h.scope.Workspace = id.Workspace(sync)
		}
	})
}

func (h *harness) mirrorRun(sync string, run int64, table map[string]recordtest.Row) {
	h.t.Helper()
	var rows []recordtest.Row
	for _, r := range table {
		rows = append(rows, r)
	}
	h.must(mirrorOf(users(originOf(sync, run, 1, 1, 0), rows...)))
	r := store.Reading{Sync: syncOf(sync), RunNo: run, Parts: []store.ReadPart{{RunNo: run, Part: 1, Epoch: 1}}}
	require.EqualValues(h.t, len(rows), h.sighted(r))
	h.must(absentOf(originOf(sync, run, 2, 1, 0), record.Users, h.absent(r, keysOf("1", "2", "3", "4", "5", "6", "7", "8", "9")...)...))
	require.NoError(h.t, h.Forget(h.ctx, syncOf(sync), run))
}

// content answers the profiles of the scope in words, and checks that their identities, and no others, are bound.
func (h *harness) content() []string {
	h.t.Helper()
	docs, _, err := h.Profiles(h.ctx, h.scope, "", 100)
	require.NoError(h.t, err)
	var out []string
	for _, d := range docs {
		p, err := profile.Decode(d.Doc)
		require.NoError(h.t, err)
		s := fmt.Sprint(p.Identities)
		for _, a := range p.Attributes {
			s += fmt.Sprintf(" %s=%s", a.Name, a.Value.AppendJSON(nil))
		}
		for _, i := range p.Identities {
			require.Equal(h.t, d.Profile, h.resolve(i.Type, i.Value))
		}
		out = append(out, s)
	}
	for n := range 10 {
		for _, at := range []string{"@x", "@y"} {
			if p := h.resolve("email", fmt.Sprint(n, at)); p != 0 {
				out = append(out, fmt.Sprint(n, at))
			}
		}
	}
	slices.Sort(out)
	return out
}
