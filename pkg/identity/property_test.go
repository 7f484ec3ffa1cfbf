package identity_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"millrace.dev/pkg/id"
	"millrace.dev/pkg/identity"
)

var settings = map[string]identity.Options{
	"best match": {}, "default": {Strategy: "default"}, "isolation": {Strategy: "profile_isolation"}, "link": {Strategy: "profile_link"},
	"conversion": {Strategy: "profile_conversion", Unique: []string{"customer_id", "email"}, Login: []string{"customer_id", "email"}, Immutable: []string{"customer_id"}},
	"graph":      {Strategy: "graph"},
	"tight":      {Strategy: "graph", Limits: []string{"*=1", "email=2 weekly"}, MaxMerges: 2, MaxMappings: 4},
}

// drawRow draws identities out of few, so that rows meet; mostly one a type.
func drawRow(t *rapid.T, w *world) []held {
	if rapid.IntRange(0, 3).Draw(t, "later") == 0 {
		w.now = w.now.AddDate(0, 0, rapid.IntRange(1, 4).Draw(t, "days"))
	}
	types := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"customer_id", "email", "alias", "ios_idfv"}), 1, 4, rapid.ID).Draw(t, "types")
	var ids []held
	for _, typ := range types {
		ids = append(ids, held{typ, fmt.Sprint(rapid.IntRange(1, 4).Draw(t, typ))})
	}
	return ids
}

// limits holds that no profile has more than the rules allow.
func (w *world) limits(t *rapid.T, mappings, merges int, of map[string]int) {
	for p, h := range w.holders {
		require.LessOrEqual(t, len(h.Held), mappings, "P%d", p)
		require.LessOrEqual(t, h.Merges, merges, "P%d", p)
		n := map[string]int{}
		for _, x := range h.Held {
			n[x.Type]++
		}
		for typ, limit := range of {
			require.LessOrEqual(t, n[typ], limit, "P%d has too many of %s", p, typ)
		}
	}
}

// names answers what an outcome says, by the names of the identities.
func names(ids []held, o identity.Outcome) (map[held]identity.Fate, []string) {
	fates := map[held]identity.Fate{}
	for i, f := range o.Fates {
		fates[ids[i]] = f
	}
	rest := []string{fmt.Sprint(o.Profile, o.Linked)}
	for _, m := range o.Merges {
		rest = append(rest, fmt.Sprint("merge ", m.Profile, ids[m.By]))
	}
	for _, s := range o.Stops {
		rest = append(rest, fmt.Sprint("stop ", s.Profiles, s.Rule, s.Type, ids[s.Demoted]))
	}
	return fates, rest
}

// TestAnyHistory plays rows under every strategy. Whatever comes: the order in which a row's identities are given does not
// matter, limits hold, what is bound is held by exactly the profile that it is bound to, and the same row again goes to
// the same profile and changes nothing.
func TestAnyHistory(t *testing.T) {
	for name, o := range settings {
		t.Run(name, func(t *testing.T) {
			rules, err := identity.NewRules(o)
			require.NoError(t, err)
			rapid.Check(t, func(t *rapid.T) {
				w := newWorld(rules)
				for range rapid.IntRange(1, 25).Draw(t, "rows") {
					w.step(t, drawRow(t, w))
					w.consistent(t)
					switch name {
					case "graph":
						w.limits(t, identity.DefaultMaxMappings, identity.DefaultMaxMerges, map[string]int{"customer_id": 1, "email": 5})
					case "tight":
						w.limits(t, 4, 2, map[string]int{"customer_id": 1, "alias": 1, "ios_idfv": 1})
					}
				}
			})
		})
	}
}

func (w *world) step(t *rapid.T, ids []held) {
	turned := slices.Clone(ids)
	rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "order"), 1)).Shuffle(len(turned), func(i, j int) { turned[i], turned[j] = turned[j], turned[i] }) //nolint:gosec // a test's own order
	fates, rest := names(ids, w.rules.Resolve(w.question(ids)))
	turnedFates, turnedRest := names(turned, w.rules.Resolve(w.question(turned)))
	require.Equal(t, fates, turnedFates)
	require.Equal(t, rest, turnedRest)

	_, first, p := w.row(ids)
	if w.rules.Strategy() == identity.Graph {
		best := slices.IndexFunc(ids, func(i held) bool { return i.typ == identity.Order(types(ids), nil)[0] })
		require.NotEqual(t, identity.Leave, first.Fates[best].Do, "the best identity is never demoted")
	}
	require.NotContains(t, merged(first), first.Profile)

	_, again, q := w.row(ids)
	require.Equal(t, p, q, "the same row again")
	require.Empty(t, again.Merges)
	require.Zero(t, again.Linked)
	for _, f := range again.Fates {
		require.NotEqual(t, identity.Bind, f.Do)
		require.NotEqual(t, identity.Steal, f.Do)
	}
}

func types(ids []held) []string {
	var out []string
	for _, i := range ids {
		out = append(out, i.typ)
	}
	return out
}

func merged(o identity.Outcome) []id.Profile {
	var out []id.Profile
	for _, m := range o.Merges {
		out = append(out, m.Profile)
	}
	return out
}

func (w *world) consistent(t *rapid.T) {
	all := map[held]id.Profile{}
	for p, h := range w.holders {
		for _, x := range h.Held {
			k := held{x.Type, x.Value}
			require.Zero(t, all[k], "held twice")
			all[k] = p
		}
	}
	require.True(t, maps.Equal(w.bound, all))
}
