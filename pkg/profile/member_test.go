package profile_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/profile"
)

func TestAnAttributeNamesOneGroupOrSeveral(t *testing.T) {
	text := func(s string) profile.Value { return profile.Value{Kind: profile.String, Text: s} }
	for name, c := range map[string]struct {
		value profile.Value
		want  []string
	}{
		"one":                    {text("acme"), []string{"acme"}},
		"a number":               {profile.Value{Kind: profile.Int, Int: 77}, []string{"77"}},
		"none":                   {profile.Value{Kind: profile.Cleared}, nil},
		"a list":                 {profile.Value{Kind: profile.List, Items: []profile.Value{text("a"), {Kind: profile.Int, Int: 7}, text("a"), {Kind: profile.Cleared}}}, []string{"a", "7"}},
		"a JSON array":           {profile.Value{Kind: profile.JSON, Text: `["a", 7, "b\n"]`}, []string{"a", "7", "b\n"}},
		"text with a JSON array": {text(`["a"]`), []string{"a"}},
		"text with a bracket":    {text(`[a`), []string{"[a"}},
		"an object":              {profile.Value{Kind: profile.JSON, Text: `{"a": 1}`}, nil},
	} {
		require.Equal(t, c.want, profile.GroupIDs(c.value), name)
	}
}
