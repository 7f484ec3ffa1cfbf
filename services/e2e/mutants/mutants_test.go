// Package mutants_test breaks the code on purpose, one rule at a time, and holds that a test finds it out: a test that
// passes whatever the code does proves nothing. The source stays as it is; the go tool is given the broken file in an
// overlay. README.md lists the mutants and who catches them.
package mutants_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// root is the repository.
const root = "../../.."

// TestMutants breaks each rule of the table and runs its catcher, which must fail by what it asserts.
func TestMutants(t *testing.T) {
	for _, m := range chosen(t) {
		t.Run(m.name, func(t *testing.T) {
			out, err := play(t, m.catch, m.test, "-overlay="+overlay(t, m))
			if err == nil {
				t.Fatalf("%s: nobody notices that %s", m.test, m.breaks)
			}
			top, _, _ := strings.Cut(m.test, "/")
			require.Contains(t, out, "--- FAIL: "+top, "the catcher has not failed by an assertion:\n%s", out)
		})
	}
}

// TestCatchersPass runs the catchers on the code as it is.
func TestCatchersPass(t *testing.T) {
	tests := map[string]map[string]bool{}
	for _, m := range chosen(t) {
		if tests[m.catch] == nil {
			tests[m.catch] = map[string]bool{}
		}
		tests[m.catch][m.test] = true
	}
	for pkg, names := range tests {
		t.Run(pkg, func(t *testing.T) {
			for name := range names {
				out, err := play(t, pkg, name)
				require.NoError(t, err, "%s", out)
				require.NotContains(t, out, "no tests to run", name)
			}
		})
	}
}

func chosen(t *testing.T) []mutant {
	t.Helper()
	var out []mutant
	for _, m := range table() {
		if m.short || !testing.Short() {
			out = append(out, m)
		}
	}
	return out
}

// play runs one test of a package. No build tag is set: no catcher needs DuckDB, which takes long to link.
func play(t *testing.T, pkg, test string, args ...string) (string, error) {
	t.Helper()
	parts := strings.Split(test, "/")
	for i, p := range parts {
		parts[i] = "^" + p + "$"
	}
	args = append([]string{"test", "-count=1", "-timeout=3m", "-vet=off", "-run", strings.Join(parts, "/")}, args...)
	args = append(args, "./"+pkg)
	if isRandom(t, pkg) {
		args = append(args, "-rapid.nofailfile") // a mutant's failures are no cases to keep
	}
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "GOFLAGS=")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// isRandom says whether tests of a package draw their cases.
func isRandom(t *testing.T, pkg string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, pkg, "*_test.go"))
	require.NoError(t, err)
	for _, f := range files {
		b, err := os.ReadFile(f)
		require.NoError(t, err)
		if strings.Contains(string(b), `"pgregory.net/rapid"`) {
			return true
		}
	}
	return false
}

// overlay writes the broken file and answers the path of what tells the go tool of it.
func overlay(t *testing.T, m mutant) string {
	t.Helper()
	file, err := filepath.Abs(filepath.Join(root, m.file))
	require.NoError(t, err)
	b, err := os.ReadFile(file)
	require.NoError(t, err)
	broken, err := m.apply(string(b))
	require.NoError(t, err)
	dir := t.TempDir()
	at := filepath.Join(dir, filepath.Base(file))
	require.NoError(t, os.WriteFile(at, []byte(broken), 0o600))
	b, err = json.Marshal(map[string]map[string]string{"Replace": {file: at}})
	require.NoError(t, err)
	list := filepath.Join(dir, "overlay.json")
	require.NoError(t, os.WriteFile(list, b, 0o600))
	return list
}

// apply answers a source with the mutant in it. A text that stands there never, or more than once, is an error: the
// table has to follow the code.
func (m mutant) apply(source string) (string, error) {
	for _, e := range m.edits {
		if n := strings.Count(source, e.from); n != 1 {
			return "", fmt.Errorf("%s: %q stands %d times in %s; it must stand there once", m.name, e.from, n, m.file)
		}
		source = strings.Replace(source, e.from, e.to, 1)
	}
	return source, nil
}

// TestTheTableFollowsTheCode holds every text of the table, the costly mutants included.
func TestTheTableFollowsTheCode(t *testing.T) {
	names := map[string]bool{}
	for _, m := range table() {
		require.False(t, names[m.name], "two mutants are named %s", m.name)
		names[m.name] = true
		b, err := os.ReadFile(filepath.Join(root, m.file))
		require.NoError(t, err)
		_, err = m.apply(string(b))
		require.NoError(t, err)
	}
	require.GreaterOrEqual(t, len(names), 10)
}

// TestTheReadmeHasTheTable holds README and table together.
func TestTheReadmeHasTheTable(t *testing.T) {
	b, err := os.ReadFile("README.md")
	require.NoError(t, err)
	var want strings.Builder
	for _, m := range table() {
		fmt.Fprintf(&want, "| %s | %s | `%s` | `%s` in `%s` |\n", m.name, m.breaks, m.file, m.test, m.catch)
	}
	_, rest, found := strings.Cut(string(b), "|---|---|---|---|\n")
	require.True(t, found, "README.md has no table")
	got, _, _ := strings.Cut(rest, "\n\n")
	require.Equal(t, want.String(), strings.TrimRight(got, "\n")+"\n", "the table of README.md is to be this")
}
