package storetest

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/profile"
	"millrace.dev/pkg/record/recordtest"
	"millrace.dev/pkg/store"
)

// pages walks all pages of a list and answers its items.
func pages[T any](t *testing.T, limit int, list func(after string) ([]T, string, error)) []T {
	t.Helper()
	var all []T
	after := ""
	for {
		page, next, err := list(after)
		require.NoError(t, err)
		require.LessOrEqual(t, len(page), limit)
		all = append(all, page...)
		if next == "" {
			return all
		}
		require.NotEmpty(t, page, "a page before the last has something")
		require.NotEqual(t, after, next)
		after = next
	}
}

func (h *harness) profileEvents(p id.Profile, limit int) []store.EventDoc {
	h.t.Helper()
	return pages(h.t, limit, func(after string) ([]store.EventDoc, string, error) {
		return h.ProfileEvents(h.ctx, h.scope, p, after, limit)
	})
}

func (h *harness) syncEvents(f store.EventFilter, limit int) []string {
	h.t.Helper()
	var names []string
	for _, d := range pages(h.t, limit, func(after string) ([]store.EventDoc, string, error) {
		return h.SyncEvents(h.ctx, h.scope, f, after, limit)
	}) {
		names = append(names, eventName(h.t, d))
	}
	slices.Sort(names)
	return names
}

func eventName(t *testing.T, d store.EventDoc) string {
	t.Helper()
	e, err := profile.DecodeEvent(d.Doc)
	require.NoError(t, err)
	for _, m := range e.Data.Members {
		if m.Name == "event_name" {
			return m.Value.Text
		}
	}
	return ""
}

func events(t *testing.T, open func() store.Store) {
	h := start(t, open)
	h.must(users(originOf("crm", 1, 1, 1, 0), user("1", day(1), map[string]any{"a": 1})))
	nobody := event("e2", "", 2000)
	c := h.must(eventsOf(originOf("web", 1, 1, 1, 0), event("e1", "1", -1000), nobody, event("e3", "3", 3000), event("e4", "1", 5000)))
	require.EqualValues(t, 4, c.Created)
	require.EqualValues(t, 1, c.Unattributed)
	one := h.resolve("customer_id", "1")
	got := h.profileEvents(one, 10)
	require.Len(t, got, 2)
	require.Equal(t, profile.EventKey{Profile: one, Time: 5000, ID: profile.EventIDOf(syncOf("web"), recordtest.Key("e4"))}, got[0].Key)
	require.Equal(t, int64(-1000), got[1].Key.Time, "before 1970")
	require.Equal(t, "ne1", eventName(t, got[1]))
	require.Len(t, h.profileEvents(0, 10), 1, "unattributed")
	require.Len(t, h.profileEvents(h.resolve("customer_id", "3"), 10), 1, "an event makes a profile")

	// The same rows again are the same events; one that moved leaves its old place.
	moved := event("e2", "1", 2500)
	moved.Time = day(2)
	c = h.must(eventsOf(originOf("web", 2, 1, 1, 0), event("e1", "1", -1000), moved, event("e3", "3", 3000)))
	require.EqualValues(t, 1, c.Updated)
	require.EqualValues(t, 2, c.Unchanged)
	require.Empty(t, h.profileEvents(0, 10))
	got = h.profileEvents(one, 10)
	require.Len(t, got, 3)
	require.Equal(t, int64(2500), got[1].Key.Time)
}

func eventPages(t *testing.T, open func() store.Store) {
	h := start(t, open)
	const n = 57
	rows := make([]recordtest.Row, n)
	for i := range rows {
		rows[i] = event(fmt.Sprint(i), "1", int64(i/2)*1000) // two at each time
	}
	h.must(eventsOf(originOf("web", 1, 1, 1, 0), rows...))
	p := h.resolve("customer_id", "1")
	for _, limit := range []int{1, 7, 56, 57, 58, 1000} {
		got := h.profileEvents(p, limit)
		require.Equal(t, n, len(got)) //nolint:testifylint // Len would print them all
		require.True(t, slices.IsSortedFunc(got, func(a, b store.EventDoc) int { return cmp.Compare(b.Key.Time, a.Key.Time) }), "newest first")
		seen := map[profile.EventID]bool{}
		for _, d := range got {
			seen[d.Key.ID] = true
		}
		require.Len(t, seen, n)
	}
}

func syncEvents(t *testing.T, open func() store.Store) {
	h := start(t, open)
	h.must(eventsOf(originOf("web", 1, 1, 1, 0), event("a", "1", 1000), event("b", "2", 2000), event("c", "", 3000)))
	changed := event("a", "1", 1500)
	changed.Time = day(2)
	later := event("b", "2", 2000)
	later.Time = day(3)
	h.must(eventsOf(originOf("web", 2, 1, 1, 0), changed, later, event("d", "1", 4000)))
	h.must(eventsOf(originOf("app", 1, 1, 1, 0), event("x", "1", 1000)))

	web := syncOf("web")
	for _, limit := range []int{1, 2, 3, 100} {
		require.Equal(t, []string{"na", "nb", "nc", "nd"}, h.syncEvents(store.EventFilter{Sync: web}, limit))
		require.Equal(t, []string{"nb", "nc"}, h.syncEvents(store.EventFilter{Sync: web, RunNo: 1}, limit),
			"of the run that wrote the event as it is: b's bumped row time wrote none")
		require.Equal(t, []string{"na", "nd"}, h.syncEvents(store.EventFilter{Sync: web, RunNo: 2}, limit))
		require.Equal(t, []string{"nb", "nc"}, h.syncEvents(store.EventFilter{
			Sync: web, From: time.UnixMilli(2000), Until: time.UnixMilli(4000),
		}, limit), "from is in, until is not")
		require.Equal(t, []string{"nx"}, h.syncEvents(store.EventFilter{Sync: syncOf("app")}, limit))
	}
	require.Empty(t, h.syncEvents(store.EventFilter{Sync: syncOf("nobody")}, 10))
}

func profilePages(t *testing.T, open func() store.Store) {
	h := start(t, open)
	const n = 53
	rows := make([]recordtest.Row, n)
	for i := range rows {
		rows[i] = user(fmt.Sprint("c", i), day(i), map[string]any{"a": i})
	}
	h.must(users(origin(1, 1, 1, 0), rows...))
	for _, limit := range []int{1, 10, 52, 53, 54} {
		got := pages(t, limit, func(after string) ([]store.ProfileDoc, string, error) {
			return h.Profiles(h.ctx, h.scope, after, limit)
		})
		require.Equal(t, n, len(got)) //nolint:testifylint // Len would print them all
		require.True(t, slices.IsSortedFunc(got, func(a, b store.ProfileDoc) int { return cmp.Compare(a.Profile, b.Profile) }))
	}
}

func everything(t *testing.T, open func() store.Store) {
	h := start(t, open)
	h.must(users(originOf("crm", 1, 1, 1, 0), user("1", day(1), map[string]any{"a": 1}), user("2", day(1), nil)))
	h.must(eventsOf(originOf("web", 1, 1, 1, 0), event("e1", "1", 1000), event("e2", "", 2000)))
	_, n, err := store.Digest(h.ctx, h, "")
	require.NoError(t, err)
	require.Equal(t, store.Totals{Profiles: 2, Identities: 2, Events: 2}, n)
	_, n, err = store.Digest(h.ctx, h, "other")
	require.NoError(t, err)
	require.Zero(t, n)
	whole := Digest(t, h)
	// Stopping early is fine.
	for _, err := range h.Everything(h.ctx) {
		require.NoError(t, err)
		break
	}
	h.must(users(originOf("crm", 2, 1, 1, 0), user("1", day(1), map[string]any{"a": 1})))
	require.Equal(t, whole, Digest(t, h), "runs and batches are not in it")
	h.must(users(originOf("crm", 3, 1, 1, 0), user("1", day(2), map[string]any{"a": 2})))
	require.NotEqual(t, whole, Digest(t, h))
}

func badToken(t *testing.T, open func() store.Store) {
	h := start(t, open)
	h.must(users(origin(1, 1, 1, 0), user("1", day(1), nil)))
	_, _, err := h.Profiles(h.ctx, h.scope, "\x00 no token", 10)
	require.Equal(t, fault.Invalid, fault.ClassOf(err), "%v", err)
}

func endedContext(t *testing.T, open func() store.Store) {
	h := start(t, open)
	ctx, cancel := context.WithCancel(h.ctx)
	cancel()
	b := users(origin(1, 1, 1, 0), user("1", day(1), nil))
	_, err := h.Look(ctx, profile.KeysOf(b.Batch, b.origin, h.scope, h.rules))
	require.Equal(t, fault.Cancelled, fault.ClassOf(err), "%v", err)
	_, err = h.Commit(ctx, h.look(b))
	require.Equal(t, fault.Cancelled, fault.ClassOf(err), "%v", err)
	require.Zero(t, h.resolve("customer_id", "1"))
}
