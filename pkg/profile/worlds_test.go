package profile_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/profile"
	"millrace.dev/pkg/record"
	"millrace.dev/pkg/resource"
)

// worlds are the data sets that a case file has rows in, each a model of its own.
type worlds map[profile.Scope]*model

func (w worlds) in(s profile.Scope) *model {
	if s == (profile.Scope{}) {
		s = scope()
	}
	if w[s] == nil {
		w[s] = newModel()
		w[s].scope = s
	}
	return w[s]
}

// of answers the model that words are about: by environment and by what the rows are.
func (w worlds) of(words map[string]string) *model {
	s := scope()
	if e, ok := words["env"]; ok {
		s.Environment = resource.Environment(e)
	}
	switch kind := kindOf(words); {
	case kind == record.Lookup:
		s = s.Lookup(syncOf(words["sync"]))
	case words["type"] != "":
		s = s.Groups(words["type"])
	case kind == record.Groups:
		s = s.Groups("company")
	}
	return w.in(s)
}

func with(words map[string]string, key, value string) map[string]string {
	words = maps.Clone(words)
	words[key] = value
	return words
}

// historyText shows what histories say of each profile at an instant.
func historyText(t *testing.T, m *model, at string) string {
	t.Helper()
	when, err := time.Parse(time.RFC3339, at)
	require.NoError(t, err)
	versions := m.eventsIn(m.scope.History())
	var out []string
	for p := range m.docs {
		var of []profile.EventWrite
		for _, k := range keysOf(versions, p) {
			of = append(of, profile.EventWrite{Key: k, Doc: versions[k]})
		}
		d, err := profile.Decode(m.docs[p])
		require.NoError(t, err)
		attributes, err := profile.AsOf(of, when.UnixMilli())
		require.NoError(t, err)
		s := title(d) + "\n"
		for _, a := range attributes {
			s += fmt.Sprintf("  %s: %s (%s run %d row %s)\n", a.Name, a.Value.AppendJSON(nil), a.From.SyncID, a.From.Version.RunNo, a.From.KeyValues)
		}
		out = append(out, s)
	}
	return joined(out)
}

// lookupText shows the rows of a table that its readers see.
func lookupText(t *testing.T, m *model, generation int64) string {
	t.Helper()
	var out []string
	for k, doc := range m.events {
		if k.Time != generation {
			continue
		}
		e, err := profile.DecodeEvent(doc)
		require.NoError(t, err)
		require.Equal(t, profile.LookupKey(m.scope, e.From.KeyValues), k.Profile, "a row is found by its key")
		out = append(out, fmt.Sprintf("%s: %s (run %d)\n", e.From.KeyValues, e.Data.AppendJSON(nil), e.From.Version.RunNo))
	}
	return joined(out)
}

// membersText shows the profiles whose attribute names a group, as the index of members leads to them.
func membersText(t *testing.T, m *model, words map[string]string) string {
	t.Helper()
	var out []string
	for typ, group := range words {
		for _, k := range keysOf(m.eventsIn(m.scope.Members()), profile.MembersKey(m.scope, typ, group)) {
			doc := m.whole(m.survivor(profile.MemberOf(k.ID)))
			if doc == nil {
				continue
			}
			d, err := profile.Decode(doc)
			require.NoError(t, err)
			for _, a := range d.Attributes {
				if a.Name == typ && slices.Contains(profile.GroupIDs(a.Value), group) {
					out = append(out, title(d)+"\n")
				}
			}
		}
	}
	slices.Sort(out)
	return joined(slices.Compact(out))
}

func joined(lines []string) string {
	slices.Sort(lines)
	s := ""
	for _, l := range lines {
		s += l
	}
	return s
}
