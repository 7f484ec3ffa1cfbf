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
}

func newModel() *model {
	return &model{
		map[string]profile.Entry{}, map[profile.Identity]id.Profile{}, map[id.Profile][]byte{},
		map[profile.EventKey][]byte{}, map[profile.RunPart]uint32{}, map[id.Batch]profile.Result{},
	}
}

func scope() profile.Scope {
	return profile.Scope{Workspace: id.DefaultWorkspace, Environment: resource.Prod}
}

func entryKey(s id.Sync, row []byte) string { return string(s[:]) + string(row) }

func (m *model) look(k profile.Keys) profile.State {
	n := k.Len()
	st := profile.State{
		Entries: make([]profile.Entry, n), Fresh: make([]id.Profile, n), Fences: m.fences,
		Profiles: make([][]id.Profile, len(k.Identities)),
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
			}
			st.Profiles[c][i] = p
			bound = bound || p != 0
		}
		if !bound {
			st.Fresh[i] = m.freshFor(k, i)
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
	for _, w := range e.Identities {
		k := profile.Identity{Type: w.Type, Value: strings.Clone(w.Value)}
		require.Zero(t, m.identities[k], "an identity is bound that was bound before")
		m.identities[k] = w.Profile
	}
	for _, w := range e.Contributions {
		m.docs[w.Profile] = append(m.docs[w.Profile], w.Doc...)
	}
	for _, k := range e.EventsGone {
		delete(m.events, k)
	}
	put := map[profile.EventKey]bool{}
	for _, w := range e.Events {
		require.False(t, put[w.Key], "an event is put twice")
		put[w.Key] = true
		m.events[w.Key] = w.Doc
	}
}

func (m *model) apply(t require.TestingT, b record.Batch, o record.Origin, r profile.Rules) profile.Effects {
	k := profile.KeysOf(b, o, scope(), r)
	e := profile.Decide(b, k, m.look(k), r)
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
func (m *model) eventsOf(p id.Profile) []profile.EventKey {
	keys := slices.DeleteFunc(slices.Collect(maps.Keys(m.events)), func(k profile.EventKey) bool { return k.Profile != p })
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
