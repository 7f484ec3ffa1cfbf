package profile_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"millrace.dev/pkg/id"
	"millrace.dev/pkg/identity"
	"millrace.dev/pkg/profile"
	"millrace.dev/pkg/record"
	"millrace.dev/pkg/record/recordtest"
)

// TestSharedIdentities plays rows that share identities under every strategy, with undone merges in between. After each
// batch a profile shows exactly the identities that are bound to it, nothing is bound to a merged one, and what holds in
// batches of many rows holds in batches of one.
func TestSharedIdentities(t *testing.T) {
	for _, o := range []identity.Options{
		{}, {Strategy: "default"}, {Strategy: "profile_link"}, {Strategy: "profile_isolation"},
		{Strategy: "profile_conversion", Unique: []string{"customer_id", "email"}, Login: []string{"customer_id", "email"}, Immutable: []string{"email"}},
		{Strategy: "graph"}, {Strategy: "graph", Limits: []string{"*=2", "email=1 weekly"}, MaxMerges: 2},
	} {
		t.Run(fmt.Sprint(o.Strategy, len(o.Limits)), func(t *testing.T) {
			s, err := identity.NewRules(o)
			require.NoError(t, err)
			rapid.Check(t, func(t *rapid.T) { playShared(t, profile.Rules{Strategy: s}, len(o.Limits) == 0) })
		})
	}
}

func playShared(t *rapid.T, rules profile.Rules, undo bool) {
	whole, single := newModel(), newModel()
	n := uint32(0)
	for batch := range rapid.IntRange(1, 4).Draw(t, "batches") {
		rows := make([]recordtest.Row, rapid.IntRange(1, 5).Draw(t, "rows"))
		kind := rapid.SampledFrom([]record.Kind{record.Users, record.Users, record.Events}).Draw(t, "kind")
		for i := range rows {
			rows[i] = sharedRow(t, kind, fmt.Sprint(batch, "/", i))
		}
		n++
		whole.apply(t, recordtest.Batch(kind, rows, recordtest.Options{}), origin(1, 1, 1, n), rules)
		for _, r := range rows {
			n++
			single.apply(t, recordtest.Batch(kind, []recordtest.Row{r}, recordtest.Options{}), origin(1, 1, 1, n), rules)
		}
		whole.shows(t)
		single.shows(t)
		require.Equal(t, whole.wholes(t), single.wholes(t), "in one batch, and in batches of one row")
		if undo && rapid.Bool().Draw(t, "undo") {
			whole.undoAny(t)
			whole.shows(t)
			single = whole.clone()
		}
	}
}

func sharedRow(t *rapid.T, kind record.Kind, key string) recordtest.Row {
	r := recordtest.Row{Key: key, Time: time.Date(2026, 1, rapid.IntRange(1, 20).Draw(t, "day"), 0, 0, 0, 0, time.UTC), Identities: map[string]string{}}
	for _, typ := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"customer_id", "email", "alias", "ios_idfv"}), 1, 4, rapid.ID).Draw(t, "types") {
		r.Identities[typ] = fmt.Sprint(typ, rapid.IntRange(1, 3).Draw(t, typ))
	}
	if kind == record.Events {
		r.EventType, r.Data = "custom_event", map[string]any{"timestamp_unixtime_ms": r.Time.UnixMilli()}
	} else {
		r.Attributes = map[string]any{"a": key}
	}
	return r
}

// shows holds that each profile shows what is bound to it.
func (m *model) shows(t require.TestingT) {
	bound := map[id.Profile][]profile.Identity{}
	for i, p := range m.identities {
		require.Zero(t, profile.SurvivorOf(m.docs[p]), "%v is bound to a merged profile", i)
		bound[p] = append(bound[p], i)
	}
	for p := range m.docs {
		doc := m.whole(p)
		if doc == nil {
			require.Empty(t, bound[p])
			continue
		}
		d, err := profile.Decode(doc)
		require.NoError(t, err)
		require.ElementsMatch(t, bound[p], d.Identities)
	}
}

// wholes answers what the profiles that are there hold, without their ids: a row whose first identity is new to the store
// but not to the batch derives another one.
func (m *model) wholes(t require.TestingT) []string {
	var out []string
	for p := range m.docs {
		if doc := m.whole(p); doc != nil {
			d, err := profile.Decode(doc)
			require.NoError(t, err)
			s := fmt.Sprint(d.Identities, d.FirstSeen, d.LastSeen)
			for _, a := range d.Attributes {
				s += fmt.Sprintf(" %s=%s", a.Name, a.Value.AppendJSON(nil))
			}
			out = append(out, s)
		}
	}
	slices.Sort(out)
	return out
}

// undoAny takes back one of the merges that stand.
func (m *model) undoAny(t *rapid.T) {
	var stand []profile.MergeID
	for at, x := range m.merges {
		if x.Kind == profile.Merged && x.Undone.IsZero() {
			stand = append(stand, at)
		}
	}
	if len(stand) == 0 {
		return
	}
	slices.SortFunc(stand, func(a, b profile.MergeID) int { return slices.Compare(a[:], b[:]) })
	m.undo(t, rapid.SampledFrom(stand).Draw(t, "merge"))
}

func (m *model) clone() *model {
	return &model{
		maps.Clone(m.entries), maps.Clone(m.identities), maps.Clone(m.docs), maps.Clone(m.events), maps.Clone(m.fences),
		maps.Clone(m.applied), maps.Clone(m.merges), maps.Clone(m.types), m.scope, maps.Clone(m.beside), maps.Clone(m.blocked),
	}
}
