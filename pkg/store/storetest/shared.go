package storetest

import (
	"embed"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/tools/txtar"

	"millrace.dev/pkg/identity"
	"millrace.dev/pkg/profile"
	"millrace.dev/pkg/record/recordtest"
	"millrace.dev/pkg/store"
)

//go:embed shared/*.txtar
var shared embed.FS

// sharedStories plays the histories in shared/, in which rows share identities, in their stated order: every driver
// answers what stands there, digest included. Sections:
//
//	settings   words: strategy=graph limits=email=5;alias=1 unique=… login=…
//	batch      rows: key, day, identities, and behind a bar attributes
//	undo       the value whose merge is taken back
//	profiles   identities and attributes of every profile
//	digest     of the whole store
func sharedStories(t *testing.T, open Opener) {
	t.Helper()
	files, err := shared.ReadDir("shared")
	require.NoError(t, err)
	for _, f := range files {
		t.Run(strings.TrimSuffix(f.Name(), ".txtar"), func(t *testing.T) {
			text, err := shared.ReadFile(path.Join("shared", f.Name()))
			require.NoError(t, err)
			a := txtar.Parse(text)
			got := start(t, open(t)).story(a)
			if dir := os.Getenv("UPDATE_SHARED"); dir != "" {
				require.NoError(t, os.WriteFile(path.Join(dir, f.Name()), txtar.Format(got), 0o600))
				return
			}
			require.Equal(t, string(txtar.Format(a)), string(txtar.Format(got)))
		})
	}
}

func (h *harness) story(a *txtar.Archive) *txtar.Archive {
	h.t.Helper()
	got := &txtar.Archive{Comment: a.Comment}
	seq := uint32(0)
	for _, f := range a.Files {
		text := string(f.Data)
		name, rest, _ := strings.Cut(f.Name, " ")
		switch name {
		case "settings":
			h.with(optionsOf(text))
		case "batch":
			var rows []recordtest.Row
			for line := range strings.Lines(text) {
				rows = append(rows, h.rowOf(line))
			}
			seq++
			h.must(users(origin(1, 1, 1, seq), rows...))
		case "undo":
			h.takeBack(rest)
		case "profiles":
			text = h.profilesText()
		case "digest":
			text = Digest(h.t, h) + "\n"
		default:
			h.t.Fatalf("no section is called %q", name)
		}
		got.Files = append(got.Files, txtar.File{Name: f.Name, Data: []byte(text)})
	}
	return got
}

func optionsOf(text string) identity.Options {
	words := map[string][]string{}
	for _, w := range strings.Fields(text) {
		k, v := cut(w)
		words[k] = strings.Split(strings.ReplaceAll(v, "_weekly", " weekly"), ";")
	}
	return identity.Options{
		Strategy: strings.Join(words["strategy"], ""), Unique: words["unique"], Login: words["login"], Limits: words["limits"],
	}
}

func cut(pair string) (string, string) {
	k, v, _ := strings.Cut(pair, "=")
	return k, v
}

func (h *harness) rowOf(line string) recordtest.Row {
	h.t.Helper()
	ids, attributes, _ := strings.Cut(line, "|")
	words := strings.Fields(ids)
	at, err := time.Parse(time.DateOnly, words[1])
	require.NoError(h.t, err)
	r := known(words[0], at, map[string]any{}, words[2:]...)
	for _, w := range strings.Fields(attributes) {
		k, v := cut(w)
		r.Attributes[k] = v
	}
	return r
}

// takeBack undoes the merges that a value has glued and that stand.
func (h *harness) takeBack(value string) {
	h.t.Helper()
	for _, m := range h.log(h.resolve(cut(value))) {
		if m.Kind == profile.Merged && m.Undone.IsZero() && m.Glue.Type+"="+m.Glue.Value == value {
			require.NoError(h.t, h.Undo(h.ctx, h.standing(m)))
		}
	}
}

func (h *harness) profilesText() string {
	h.t.Helper()
	docs := pages(h.t, 2, func(after string) ([]store.ProfileDoc, string, error) { return h.Profiles(h.ctx, h.scope, after, 2) })
	var out []string
	for _, d := range docs {
		p := h.whole(d.Profile)
		s := strings.Join(names(p.Identities), " ") + "\n"
		for _, a := range p.Attributes {
			s += fmt.Sprintf("  %s=%s\n", a.Name, a.Value.Text)
		}
		out = append(out, s)
	}
	slices.Sort(out)
	return strings.Join(out, "")
}
