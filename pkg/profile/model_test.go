package profile_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/id"
	"millrace.dev/pkg/identity"
	"millrace.dev/pkg/profile"
	"millrace.dev/pkg/record"
	"millrace.dev/pkg/resource"
)

// model is what a store does, in maps: it answers states and keeps effects.
type model struct {
	entries    map[string]profile.Entry // by sync and row key
	identities map[profile.Identity]id.Profile
	docs       map[id.Profile][]byte
	events     map[profile.EventKey][]byte
	fences     map[profile.RunPart]uint32
	applied    map[id.Batch]profile.Result
	merges     map[profile.MergeID]profile.Merge
	types      map[string]profile.AttributeType
	scope      profile.Scope
	beside     map[profile.Scope]map[profile.EventKey][]byte // what other spaces have: versions, members
	blocked    map[profile.Hash]bool                         // identities of erased people
}

func newModel() *model {
	return &model{
		map[string]profile.Entry{}, map[profile.Identity]id.Profile{}, map[id.Profile][]byte{},
		map[profile.EventKey][]byte{}, map[profile.RunPart]uint32{}, map[id.Batch]profile.Result{},
		map[profile.MergeID]profile.Merge{}, map[string]profile.AttributeType{}, scope(), map[profile.Scope]map[profile.EventKey][]byte{},
		map[profile.Hash]bool{},
	}
}

// eventsIn answers the events of a space beside the model's profiles, or their own.
func (m *model) eventsIn(s profile.Scope) map[profile.EventKey][]byte {
	if s == m.scope {
		return m.events
	}
	if m.beside[s] == nil {
		m.beside[s] = map[profile.EventKey][]byte{}
	}
	return m.beside[s]
}

func scope() profile.Scope {
	return profile.Scope{Workspace: id.DefaultWorkspace, Environment: resource.Prod}
}

func entryKey(s id.Sync, row []byte) string { return string(s[:]) + string(row) }

func (m *model) look(k profile.Keys) profile.State {
	n := k.Len()
	st := profile.State{
		Entries: make([]profile.Entry, n), Fresh: make([]id.Profile, n), Fences: m.fences,
		Profiles: make([][]id.Profile, len(k.Identities)), Docs: map[id.Profile][]byte{}, Erased: m.erased(k),
	}
	if r, ok := m.applied[k.Origin.Batch]; ok {
		st.Applied = &r
		return st
	}
	for c := range k.Identities {
		st.Profiles[c] = make([]id.Profile, n)
	}
	for i := range n {
		st.Entries[i] = m.entries[entryKey(k.Origin.Sync, k.Rows.Value(i))]
		bound := false
		for c, col := range k.Identities {
			if col.Values.IsNull(i) {
				continue
			}
			p := m.identities[profile.Identity{Type: col.Type, Value: col.Values.Value(i)}]
			if col.Type == identity.MPID {
				if p, _ = id.ParseProfile(col.Values.Value(i)); m.docs[p] == nil {
					p = 0
				}
				p = m.survivor(p)
			}
			st.Profiles[c][i] = p
			bound = bound || p != 0
		}
		if !bound {
			st.Fresh[i] = m.freshFor(k, i)
		}
	}
	settled := k.Settled(st.Entries)
	k.Documents(st.Entries, settled, func(_ int, p id.Profile) { st.Docs[p] = m.docs[p] })
	for i := range settled { // a store looks nothing else up for them
		for c := range st.Profiles {
			if settled[i] {
				st.Profiles[c][i], st.Fresh[i] = 0, 0
			}
		}
	}
	return st
}

func (m *model) freshFor(k profile.Keys, i int) id.Profile {
	for _, col := range k.Identities {
		if col.Values.IsNull(i) || col.Type == identity.MPID {
			continue
		}
		for n := 0; ; n++ {
			if p := profile.Derive(k.Scope, col.Type, col.Values.Value(i), n); m.docs[p] == nil {
				return p
			}
		}
	}
	return 0
}

// hold answers what Asks asks for.
func (m *model) hold(t require.TestingT, k profile.Keys, st *profile.State, r profile.Rules) {
	asked := profile.Asks(k, *st, r)
	st.Held = map[id.Profile]profile.Holding{}
	for _, p := range asked.Profiles {
		st.Held[p] = m.holding(t, p)
	}
	st.Events = map[id.Profile][]profile.EventWrite{}
	for _, p := range asked.Events {
		for _, in := range []map[profile.EventKey][]byte{m.events, m.eventsIn(m.scope.History())} {
			for _, key := range keysOf(in, p) {
				st.Events[p] = append(st.Events[p], profile.EventWrite{Key: key, Doc: in[key]})
			}
		}
	}
	for _, x := range asked.Rows {
		col := k.Identities[x.Column]
		for n := 0; st.Fresh[x.Row] == 0; n++ {
			if p := profile.Derive(k.Scope, col.Type, col.Values.Value(x.Row), n); m.docs[p] == nil {
				st.Fresh[x.Row] = p
			}
		}
	}
}

func (m *model) holding(t require.TestingT, p id.Profile) profile.Holding {
	var docs [][]byte
	members := m.members(p)
	for _, q := range members {
		docs = append(docs, m.docs[q])
	}
	h, err := profile.HoldingOf(m.docs[p], members, docs...)
	require.NoError(t, err)
	return h
}

// members answers the profiles that are merged into p, directly or not.
func (m *model) members(p id.Profile) []id.Profile {
	var out []id.Profile
	for _, q := range profile.MembersOf(m.docs[p]) {
		out = append(append(out, q), m.members(q)...)
	}
	return out
}

func (m *model) survivor(p id.Profile) id.Profile {
	for q := profile.SurvivorOf(m.docs[p]); q != 0; q = profile.SurvivorOf(m.docs[p]) {
		p = q
	}
	return p
}

// whole answers the document of p with all that is merged into it, nil where p itself is merged.
func (m *model) whole(p id.Profile) []byte {
	if profile.SurvivorOf(m.docs[p]) != 0 {
		return nil
	}
	docs := [][]byte{m.docs[p]}
	for _, q := range m.members(p) {
		docs = append(docs, m.docs[q])
	}
	return profile.Concat(docs...)
}

// undo takes a merge back.
func (m *model) undo(t require.TestingT, at profile.MergeID) {
	x := m.merges[at]
	st := profile.Standing{Merge: x, Path: []id.Profile{x.Profile}, Parent: m.holding(t, x.Profile), From: m.holding(t, x.Others[0])}
	top := x.Profile
	for q := profile.SurvivorOf(m.docs[top]); q != 0; q = profile.SurvivorOf(m.docs[top]) {
		top = q
		st.Path = append(st.Path, q)
	}
	st.Into = m.holding(t, top)
	u := profile.Undo(m.scope, st, time.Unix(1, 0))
	m.reshape(t, u.Identities, u.Contributions, u.Reshaping)
}

func (m *model) reshape(t require.TestingT, identities []profile.IdentityWrite, contributions []profile.ContributionWrite, r profile.Reshaping) {
	for _, g := range r.Guards {
		require.Equal(t, g.Shape, profile.Shape(m.docs[g.Profile]), "a guard of what was looked up a moment ago")
	}
	for _, w := range identities {
		k := profile.Identity{Type: w.Type, Value: strings.Clone(w.Value)}
		require.Equal(t, w.From, m.identities[k], "an identity is bound otherwise than Decide was told")
		m.identities[k] = w.Profile
	}
	for _, w := range contributions {
		m.docs[w.Profile] = profile.Fold(m.docs[w.Profile], w.Doc)
	}
	for _, x := range r.Merges {
		back, err := profile.DecodeMerge(x.ID, profile.AppendMerge(nil, x))
		require.NoError(t, err)
		m.merges[x.ID] = back
	}
	for _, l := range r.Links {
		require.Equal(t, l.Survivor, profile.SurvivorOf(m.docs[l.Profile]), "a link says what the documents say")
	}
}

// commit keeps effects. It fails the test when they break what Effects promises.
func (m *model) commit(t require.TestingT, e profile.Effects) {
	m.applied[e.Result.Batch] = e.Result
	seen := map[string]bool{}
	for _, w := range e.Entries {
		k := entryKey(e.Keys.Origin.Sync, w.Row[:])
		require.False(t, seen[k], "an entry is written twice")
		seen[k] = true
		m.entries[k] = w.Entry
	}
	for _, w := range e.Unbound {
		k := profile.Identity{Type: w.Type, Value: strings.Clone(w.Value)}
		require.Equal(t, w.Profile, m.identities[k], "an identity is unbound that is not bound to its profile")
		delete(m.identities, k)
	}
	for _, p := range e.ProfilesGone {
		delete(m.docs, p)
	}
	for _, w := range e.Contributions {
		require.NotContains(t, e.ProfilesGone, w.Profile, "a deleted profile is written")
	}
	m.reshape(t, e.Identities, e.Contributions, e.Reshaping)
	events := m.eventsIn(e.EventScope)
	for _, k := range e.EventsGone {
		delete(events, k)
	}
	put := map[profile.EventKey]bool{}
	for _, w := range e.Events {
		require.False(t, put[w.Key], "an event is put twice")
		put[w.Key] = true
		events[w.Key] = w.Doc
	}
}

func (m *model) apply(t require.TestingT, b record.Batch, o record.Origin, r profile.Rules) profile.Effects {
	k := profile.KeysOf(b, o, m.scope, r)
	st := m.look(k)
	m.hold(t, k, &st, r)
	e := profile.Decide(b, k, st, r)
	require.True(t, e.Result.Counts.Balanced(), "%+v", e.Result.Counts)
	m.commit(t, e)
	return e
}

// content answers what profiles hold, without where it came from.
func (m *model) content(t require.TestingT) map[id.Profile]string {
	out := map[id.Profile]string{}
	for p, doc := range m.docs {
		d, err := profile.Decode(doc)
		require.NoError(t, err)
		s := fmt.Sprint(d.Identities)
		for _, a := range d.Attributes {
			s += fmt.Sprintf(" %s=%s at %d", a.Name, a.Value.AppendJSON(nil), a.From.Version.Time)
		}
		out[p] = s
	}
	return out
}

// eventsOf answers the events of a profile, newest first.
func (m *model) eventsOf(p id.Profile) []profile.EventKey { return keysOf(m.events, p) }

// keysOf answers the keys of a profile's events, newest first.
func keysOf(events map[profile.EventKey][]byte, p id.Profile) []profile.EventKey {
	keys := slices.DeleteFunc(slices.Collect(maps.Keys(events)), func(k profile.EventKey) bool { return k.Profile != p })
	slices.SortFunc(keys, func(a, b profile.EventKey) int {
		if a.Time != b.Time {
			return int(b.Time - a.Time)
		}
		return strings.Compare(string(a.ID[:]), string(b.ID[:]))
	})
	return keys
}

func origin(run int64, part, epoch, seq uint32) record.Origin {
	var r id.Run
	r[15] = byte(run)
	return record.Origin{
		Workspace: id.DefaultWorkspace, Sync: syncOf("crm"), SyncID: "crm", SyncVersion: 1, RunNo: run,
		Batch:        id.Batch{Run: r, Part: part, Epoch: epoch, Seq: seq},
		SnapshotTime: time.Date(2026, 2, int(run), 0, 0, 0, 0, time.UTC), Last: true, Model: "customers", Provider: "duckdb",
	}
}

func syncOf(name string) id.Sync {
	var s id.Sync
	copy(s[:], name)
	return s
}
