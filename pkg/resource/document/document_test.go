package document_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/tools/txtar"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/resource/document"
)

// TestCases reads testdata/*.txtar: files *.yaml as a client would send them from the folder /docs, `secrets` with lines
// KEY=VALUE as the client read them, and what comes of it: `resources` (kind and id), `violations` and `warnings`.
func TestCases(t *testing.T) {
	paths, err := filepath.Glob("testdata/*.txtar")
	require.NoError(t, err)
	require.NotEmpty(t, paths)
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			data, err := os.ReadFile(path)
			require.NoError(t, err)
			runCase(t, txtar.Parse(data))
		})
	}
}

func runCase(t *testing.T, a *txtar.Archive) {
	t.Helper()
	var files []document.File
	want, secrets := map[string]string{}, map[string]string{}
	for _, f := range a.Files {
		switch {
		case strings.HasSuffix(f.Name, ".yaml"):
			files = append(files, document.File{Name: f.Name, Content: string(f.Data), Secrets: secrets, BaseDir: "/docs"})
		case f.Name == "secrets":
			for line := range strings.Lines(string(f.Data)) {
				k, v, _ := strings.Cut(strings.TrimSpace(line), "=")
				secrets[k] = strings.ReplaceAll(v, `\n`, "\n")
			}
		default:
			want[f.Name] = string(f.Data)
		}
	}
	set, violations := document.Parse(files)
	var items strings.Builder
	for _, it := range set.Items {
		items.WriteString(string(it.Resource.ResourceKind()) + " " + it.Resource.Head().ID + "\n")
	}
	require.Equal(t, want["violations"], lines(violations))
	require.Equal(t, want["warnings"], lines(set.Warnings))
	if r, ok := want["resources"]; ok {
		require.Equal(t, r, items.String())
	}
}

func lines(vs []fault.Violation) string {
	var b strings.Builder
	for _, v := range vs {
		b.WriteString(v.String() + "\n")
	}
	return b.String()
}

// one reads documents that hold one valid resource.
func one(t *testing.T, content string) resource.Resource {
	t.Helper()
	set, violations := document.Parse([]document.File{{Name: "a.yaml", Content: content, BaseDir: "/docs"}})
	require.Empty(t, lines(violations))
	require.Len(t, set.Items, 1)
	return set.Items[0].Resource
}
