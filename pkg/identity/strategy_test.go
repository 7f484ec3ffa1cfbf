package identity_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
	"golang.org/x/tools/txtar"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/identity"
)

// A case file is a story in sections, in order:
//
//	settings   the workspace's, as YAML: strategy, priority, unique, login, immutable, limits, max_merges, max_mappings
//	profiles   those that are there before: name, day, merges=N, mappings=N, apart=P1/TYPE=VALUE, identities
//	row        a day, where it matters, and identities
//	outcome    of the row before: its profile, and what becomes of what it brought
//	after      the profiles and what is bound to them
//	faults     what is wrong with the settings
func TestStrategies(t *testing.T) {
	files, err := filepath.Glob("testdata/*/*.txtar")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, f := range files {
		name := filepath.Base(filepath.Dir(f)) + "/" + strings.TrimSuffix(filepath.Base(f), ".txtar")
		t.Run(name, func(t *testing.T) { runStory(t, f) })
	}
}

func runStory(t *testing.T, path string) {
	t.Helper()
	a, err := txtar.ParseFile(path)
	require.NoError(t, err)
	got := &txtar.Archive{Comment: a.Comment}
	w := newWorld(nil)
	outcome, faults := "", ""
	for _, f := range a.Files {
		text := string(f.Data)
		switch f.Name {
		case "settings":
			w.rules, faults = rulesOf(t, text)
		case "profiles":
			for line := range strings.Lines(text) {
				w.start(t, line)
			}
		case "row":
			ids, said := w.usable(w.parse(t, text))
			q, o, p := w.row(ids)
			outcome = outcomeText(q, o, p) + said
		case "outcome":
			text = outcome
		case "after":
			text = w.text()
		case "faults":
			text = faults
		default:
			t.Fatalf("%s: no section is called %q", path, f.Name)
		}
		got.Files = append(got.Files, txtar.File{Name: f.Name, Data: []byte(text)})
	}
	if os.Getenv("UPDATE") != "" {
		require.NoError(t, os.WriteFile(path, txtar.Format(got), 0o600))
		return
	}
	require.Equal(t, string(txtar.Format(a)), string(txtar.Format(got)))
}

func rulesOf(t *testing.T, text string) (*identity.Rules, string) {
	t.Helper()
	var s struct {
		Strategy                                   string
		Priority, Unique, Login, Immutable, Limits []string
		MaxMerges                                  int `yaml:"max_merges"`
		MaxMappings                                int `yaml:"max_mappings"`
	}
	d := yaml.NewDecoder(strings.NewReader(text))
	d.KnownFields(true)
	require.NoError(t, d.Decode(&s))
	r, err := identity.NewRules(identity.Options{
		Strategy: s.Strategy, Priority: s.Priority, Unique: s.Unique, Login: s.Login, Immutable: s.Immutable, Limits: s.Limits,
		MaxMerges: s.MaxMerges, MaxMappings: s.MaxMappings,
	})
	if err == nil {
		return r, "none\n"
	}
	out := ""
	for _, v := range fault.As(err).Violations {
		out += fmt.Sprintf("%s %s; %s\n", v.Field, v.Message, v.Fix)
	}
	return nil, out
}
