package storetest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/profile"
	"millrace.dev/pkg/record"
	"millrace.dev/pkg/store"
)

// imported answers all row keys of an import, asked for in pages.
func (h *harness) imported(m profile.Import, limit int) []id.Row {
	h.t.Helper()
	out := []id.Row{}
	for after := ""; ; {
		page, next, err := h.Imported(h.ctx, m, after, limit)
		require.NoError(h.t, err)
		require.LessOrEqual(h.t, len(page), limit)
		out = append(out, page...)
		if after = next; after == "" {
			return out
		}
	}
}

// remove deletes an import.
func (h *harness) remove(m profile.Import, kind record.Kind) profile.Removed {
	h.t.Helper()
	k := profile.KeysOfImport(h.scope, m, id.Batch{Run: id.NewRun(), Epoch: 1}, h.imported(m, 100))
	st, err := h.Look(h.ctx, k)
	require.NoError(h.t, err)
	require.NoError(h.t, store.ConsultImport(h.ctx, h.Store, m, k, &st))
	e, out := profile.Remove(m, kind, k, st)
	_, err = h.Commit(h.ctx, e)
	require.NoError(h.t, err)
	return out
}

func importDeleted(t *testing.T, open func() store.Store) {
	h := start(t, open)
	both := user("1", day(2), map[string]any{"plan": "pro", "seats": 3})
	both.Identities["email"] = "a@x"
	h.must(users(originOf("crm", 1, 1, 1, 0), user("1", day(1), map[string]any{"plan": "free", "city": "Rome"})))
	before := Digest(t, h)
	h.must(users(originOf("shop", 1, 1, 1, 0), both, user("2", day(2), map[string]any{"plan": "pro"}), user("3", day(2), nil)))
	h.must(eventsOf(originOf("clicks", 1, 1, 1, 0), event("e1", "1", 1000), event("e2", "9", 2000)))
	m, clicks := profile.Import{Sync: syncOf("shop"), First: 1, Last: 1}, profile.Import{Sync: syncOf("clicks"), First: 1, Last: 1}
	require.Len(t, h.imported(m, 2), 3, "in pages")
	require.Equal(t, profile.Removed{Rows: 3, Profiles: 3, ProfilesDeleted: 2, Attributes: 2, AttributesBack: 1, Identities: 3}, h.remove(m, record.Users))
	require.Equal(t, profile.Removed{Rows: 2, Events: 2, Profiles: 1, ProfilesDeleted: 1, Identities: 1}, h.remove(clicks, record.Events))
	require.Equal(t, before, Digest(t, h), "nothing of them is left")
	require.Equal(t, map[string]string{"plan": `"free"`, "city": `"Rome"`}, h.attributes("1"))
	require.Equal(t, profile.Removed{}, h.remove(m, record.Users), "once more changes nothing")

	c := h.must(users(originOf("shop", 3, 1, 1, 0), both, user("2", day(2), map[string]any{"plan": "pro"})))
	require.EqualValues(t, 2, c.Created, "the same rows come in again")
	require.Equal(t, map[string]string{"plan": `"pro"`, "city": `"Rome"`, "seats": "3"}, h.attributes("1"))
	require.NotZero(t, h.resolve("customer_id", "2"))
}

func runDeleted(t *testing.T, open func() store.Store) {
	h := start(t, open)
	h.must(users(originOf("shop", 1, 1, 1, 0), user("1", day(1), map[string]any{"plan": "free", "city": "Rome"}), user("2", day(1), map[string]any{"plan": "free"})))
	h.must(users(originOf("shop", 2, 1, 1, 0), user("1", day(2), map[string]any{"plan": "pro"}), user("4", day(2), map[string]any{"plan": "pro"}),
		user("2", day(2), map[string]any{"plan": "free"})))
	second := profile.Import{Sync: syncOf("shop"), First: 2, Last: 2}
	require.Equal(t, profile.Removed{Rows: 2, Profiles: 2, ProfilesDeleted: 1, Attributes: 2, Identities: 1}, h.remove(second, record.Users))
	require.Equal(t, map[string]string{"city": `"Rome"`}, h.attributes("1"), "of each sync only the newest value is kept")
	require.Equal(t, map[string]string{"plan": `"free"`}, h.attributes("2"), "what another run brought stays, though its time has moved")
	require.Zero(t, h.resolve("customer_id", "4"))
	c := h.must(users(originOf("shop", 3, 1, 1, 0), user("1", day(2), map[string]any{"plan": "pro"}), user("2", day(1), map[string]any{"plan": "free"})))
	require.EqualValues(t, 1, c.Created)
	require.EqualValues(t, 1, c.Unchanged)
}

func importMoved(t *testing.T, open func() store.Store) {
	h := start(t, open)
	h.must(users(originOf("shop", 1, 1, 1, 0), user("1", day(1), map[string]any{"plan": "free"})))
	m := profile.Import{Sync: syncOf("shop"), First: 1, Last: 1}
	k := profile.KeysOfImport(h.scope, m, id.Batch{Run: id.NewRun(), Epoch: 1}, h.imported(m, 10))
	st, err := h.Look(h.ctx, k)
	require.NoError(t, err)
	h.must(users(originOf("shop", 2, 1, 1, 0), user("1", day(2), map[string]any{"plan": "pro"})))
	e, _ := profile.Remove(m, record.Users, k, st)
	_, err = h.Commit(h.ctx, e)
	require.Equal(t, fault.ReasonCommitConflict, fault.ReasonOf(err))
	require.Equal(t, map[string]string{"plan": `"pro"`}, h.attributes("1"))
}

func importLeavesPeopleOfEvents(t *testing.T, open func() store.Store) {
	h := start(t, open)
	h.must(users(originOf("shop", 1, 1, 1, 0), user("1", day(1), map[string]any{"plan": "free"}), user("2", day(1), nil)))
	h.must(eventsOf(originOf("clicks", 1, 1, 1, 0), event("e1", "1", 1000)))
	h.must(eventsOf(originOf("clicks", 2, 1, 1, 0), event("e2", "1", 2000)))
	m, clicks := profile.Import{Sync: syncOf("shop"), First: 1, Last: 1}, profile.Import{Sync: syncOf("clicks"), First: 1, Last: 2}
	require.Equal(t, profile.Removed{Rows: 2, Profiles: 2, ProfilesDeleted: 1, Attributes: 1, Identities: 1}, h.remove(m, record.Users))
	p := h.resolve("customer_id", "1")
	require.NotZero(t, p, "the events of another sync name the person")
	require.Empty(t, h.attributes("1"))
	require.Zero(t, h.resolve("customer_id", "2"), "nothing names the other")
	left, _, err := h.ProfileEvents(h.ctx, h.scope, p, "", 10)
	require.NoError(t, err)
	require.Len(t, left, 2)

	second := profile.Import{Sync: clicks.Sync, First: 2, Last: 2}
	require.EqualValues(t, 0, h.remove(second, record.Events).ProfilesDeleted)
	require.Equal(t, p, h.resolve("customer_id", "1"), "another run's event names the person still")
	require.EqualValues(t, 1, h.remove(clicks, record.Events).ProfilesDeleted, "with the last event the person goes")
	require.Zero(t, h.resolve("customer_id", "1"))
	left, _, err = h.ProfileEvents(h.ctx, h.scope, p, "", 10)
	require.NoError(t, err)
	require.Empty(t, left)
}
