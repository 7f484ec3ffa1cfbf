package profile_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/identity"
	"millrace.dev/pkg/profile"
)

func strategyOf(t *testing.T, words map[string]string) profile.Rules {
	t.Helper()
	lists := func(key string) []string {
		return strings.FieldsFunc(words[key], func(r rune) bool { return r == ';' })
	}
	var limits []string
	for _, l := range lists("limits") {
		limits = append(limits, strings.ReplaceAll(l, "_weekly", " weekly"))
	}
	s, err := identity.NewRules(identity.Options{
		Strategy: words["strategy"], Unique: lists("unique"), Login: lists("login"), Immutable: lists("immutable"), Limits: limits,
		Priority: lists("priority"), MaxMerges: int(number(t, words, "max_merges", 0)), MaxMappings: int(number(t, words, "max_mappings", 0)),
	})
	require.NoError(t, err)
	return profile.Rules{Strategy: s}
}

// mergesText shows the log. Profiles are named by the first identity of their own documents.
func mergesText(t *testing.T, m *model) (string, []profile.MergeID) {
	t.Helper()
	type line struct {
		text string
		id   profile.MergeID
	}
	var lines []line
	name := func(p profile.Identity) string { return p.Type + "=" + p.Value }
	for at, x := range m.merges {
		var others []string
		for _, p := range x.Others {
			d, err := profile.Decode(m.docs[p])
			require.NoError(t, err)
			if m.docs[p] == nil {
				d.Identities = []profile.Identity{{Type: "somebody", Value: "erased"}}
			}
			others = append(others, name(d.Identities[0]))
		}
		s := fmt.Sprintf("row %s: %s: ", x.KeyValues, x.Rule)
		switch x.Kind {
		case profile.Merged:
			s += "merged " + others[0] + ", glued by " + name(x.Glue) + ", moved"
			for _, i := range x.Moved {
				s += " " + name(i)
			}
		case profile.Stopped:
			s += strings.TrimSpace("no merge of "+strings.Join(others, ", ")+" "+x.Limit) + ", left " + name(x.Glue)
		case profile.Linked:
			s += "linked " + others[0]
		}
		if !x.Undone.IsZero() {
			s += ", undone"
		}
		if x.Erased {
			s += ", erased"
		}
		lines = append(lines, line{s + "\n", at})
	}
	slices.SortFunc(lines, func(a, b line) int { return strings.Compare(a.text, b.text) })
	text := ""
	var ids []profile.MergeID
	for _, l := range lines {
		text += l.text
		ids = append(ids, l.id)
	}
	return text, ids
}
