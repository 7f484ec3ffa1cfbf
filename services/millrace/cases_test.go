package millrace_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/tools/txtar"

	"millrace.dev/pkg/rpc"
	"millrace.dev/services/millrace"
)

var update = flag.Bool("update", false, "rewrite what the cases expect")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestCases runs each case of testdata. A case holds
//
//	command       command lines, one a line, each of which must give the same result
//	METHOD.json   what the services answer (see script)
//	in/NAME       files of the current folder
//	env           NAME=VALUE, one a line
//	stdin         what a person types; where it is missing nobody is there to answer
//	width         columns of the terminal; where it is missing stderr is none
//
// and expects stdout, stderr, exit and METHOD.n.request (the n-th request of a method).
func TestCases(t *testing.T) {
	paths, err := filepath.Glob("testdata/*.txtar")
	require.NoError(t, err)
	require.NotEmpty(t, paths)
	for _, path := range paths {
		path, err := filepath.Abs(path)
		require.NoError(t, err)
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) { runCase(t, path) })
	}
}

func runCase(t *testing.T, path string) {
	archive, err := txtar.ParseFile(path)
	require.NoError(t, err)
	files := map[string]string{}
	dir := t.TempDir()
	for _, f := range archive.Files {
		files[f.Name] = string(f.Data)
		if name, ok := strings.CutPrefix(f.Name, "in/"); ok {
			require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o750))
			require.NoError(t, os.WriteFile(filepath.Join(dir, name), f.Data, 0o600))
		}
	}
	t.Chdir(dir)
	lines := strings.Split(strings.TrimSpace(files["command"]), "\n")
	for _, l := range lines {
		got := runLine(t, l, files)
		for name, text := range got {
			if text != "" && !strings.HasSuffix(text, "\n") {
				text += "\n" // a file of a case ends with a line's end
			}
			got[name] = strings.ReplaceAll(text, dir, "DIR")
		}
		if *update {
			rewrite(t, path, archive, got)
			return
		}
		for name, text := range files {
			if _, made := got[name]; expected(name) && (made || name == "exit") {
				require.Equal(t, text, got[name], "%s of `%s`", name, l)
			} else if expected(name) && strings.HasSuffix(name, ".request") {
				require.Contains(t, got, name, "`%s` made no such call", l)
			}
		}
	}
}

// runLine runs one command line against the case's services and answers what came of it.
func runLine(t *testing.T, line string, files map[string]string) map[string]string {
	t.Helper()
	s, addr := serve(t, files)
	t.Setenv("MILLRACE_SERVER", addr)
	env := map[string]string{}
	for _, l := range strings.Fields(files["env"]) {
		name, value, _ := strings.Cut(l, "=")
		env[name] = value
	}
	var out, errs bytes.Buffer
	typed, asks := files["stdin"]
	clock := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	stdio := millrace.IO{
		In: strings.NewReader(typed), Out: &out, Err: &errs, Asks: asks,
		Environ: func(name string) (string, bool) { v, ok := env[name]; return v, ok },
		Now:     func() time.Time { clock = clock.Add(time.Second); return clock },
	}
	if w, ok := files["width"]; ok {
		n, err := strconv.Atoi(strings.TrimSpace(w))
		require.NoError(t, err)
		stdio.Width = func() int { return n }
	}
	args := strings.Fields(line)
	require.Equal(t, "millrace", args[0])
	code := millrace.Main(t.Context(), args[1:], stdio)
	got := map[string]string{
		"stdout": out.String(),
		"stderr": strings.ReplaceAll(strings.ReplaceAll(errs.String(), addr, "SERVER"), "\r", "<CR>"),
		"exit":   strconv.Itoa(code) + "\n",
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for call, in := range s.asked {
		data, err := rpc.MarshalJSON(in)
		require.NoError(t, err)
		got[call+".request"] = indented(t, data)
	}
	return got
}

func expected(name string) bool {
	return name == "stdout" || name == "stderr" || name == "exit" || strings.HasSuffix(name, ".request")
}

// rewrite puts what came of a case into its file; requests only where the case asks for them.
func rewrite(t *testing.T, path string, archive *txtar.Archive, got map[string]string) {
	t.Helper()
	for i, f := range archive.Files {
		if expected(f.Name) {
			archive.Files[i].Data = []byte(got[f.Name])
			delete(got, f.Name)
		}
	}
	for _, name := range []string{"stdout", "stderr", "exit"} {
		if text, ok := got[name]; ok {
			archive.Files = append(archive.Files, txtar.File{Name: name, Data: []byte(text)})
		}
	}
	require.NoError(t, os.WriteFile(path, txtar.Format(archive), 0o600))
}

// indented answers JSON as the cases show it.
func indented(t *testing.T, data []byte) string {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, json.Indent(&b, data, "", "  "))
	return b.String() + "\n"
}
