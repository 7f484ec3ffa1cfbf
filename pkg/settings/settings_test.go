package settings_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/settings"
)

type shared struct {
	GRPC     string        `name:"grpc" default:"127.0.0.1:7080" help:"Address."`
	LogLevel string        `default:"info" enum:"debug,info,warn,error" help:"Level."`
	Grace    time.Duration `default:"20s" help:"Grace."`
	SQL      string        `name:"sql" help:"Database."`
	Reflect  bool          `negatable:"" help:"Reflection."`
}

type extractor struct {
	Workers    int      `default:"2" help:"Workers."`
	FilesRoots []string `help:"Roots."`
}

type loaded struct {
	shared
	extractor
	out string
	err error
}

func load(t *testing.T, file string, env map[string]string, args ...string) loaded {
	t.Helper()
	var l loaded
	if file != "" {
		path := filepath.Join(t.TempDir(), "m.yaml")
		require.NoError(t, os.WriteFile(path, []byte(file), 0o600))
		args = append(args, "--config", path)
	}
	var out bytes.Buffer
	l.err = settings.Load(settings.Input{
		Name: "extractor", Args: args, Stdout: &out, Own: "extractor", Sections: []string{"mapper", "extractor"},
		Getenv: func(k string) (string, bool) { v, ok := env[k]; return v, ok },
	}, settings.Group{Into: &l.shared}, settings.Group{Name: "extractor", Into: &l.extractor})
	l.out = out.String()
	return l
}

func TestFlagsBeatEnvironmentBeatsFileBeatsDefault(t *testing.T) {
	const file = "grpc: 127.0.0.1:1\nlog_level: warn\ngrace: 1s\nextractor: {workers: 4, files_roots: [/a, '/b,c']}\nmapper: {anything: 1}\n"
	env := map[string]string{"MILLRACE_LOG_LEVEL": "error", "MILLRACE_GRACE": "2s", "MILLRACE_SQL": ""}
	l := load(t, file, env, "--grace", "3s")
	require.NoError(t, l.err)
	require.Equal(t, "127.0.0.1:1", l.GRPC)
	require.Equal(t, "error", l.LogLevel)
	require.Equal(t, 3*time.Second, l.Grace)
	require.Equal(t, 4, l.Workers)
	require.Equal(t, []string{"/a", "/b,c"}, l.FilesRoots)

	l = load(t, "", nil)
	require.NoError(t, l.err)
	require.Equal(t, "127.0.0.1:7080", l.GRPC)
	require.Equal(t, 2, l.Workers)

	l = load(t, "", map[string]string{"MILLRACE_EXTRACTOR_WORKERS": "7", "MILLRACE_REFLECT": "true"})
	require.NoError(t, l.err)
	require.Equal(t, 7, l.Workers)
	require.True(t, l.Reflect)
}

func TestAServiceAloneTakesItsFlagsWithoutPrefix(t *testing.T) {
	l := load(t, "", nil, "--workers=9", "--files-roots", "/a,/b", "--sql", "x")
	require.NoError(t, l.err)
	require.Equal(t, 9, l.Workers)
	require.Equal(t, []string{"/a", "/b"}, l.FilesRoots)
	require.Equal(t, "x", l.SQL)
}

func TestASectionMayGiveSharedSettingsAnew(t *testing.T) {
	l := load(t, "grpc: 127.0.0.1:1\nextractor:\n  grpc: 127.0.0.1:2\n", nil)
	require.NoError(t, l.err)
	require.Equal(t, "127.0.0.1:2", l.GRPC)
}

func TestEveryFaultOfTheFileIsToldWithItsLine(t *testing.T) {
	l := load(t, "grp: x\nlog_level: loud\ngrace: soon\nextractor:\n  workers: many\n  colour: red\ngrpc: a\ngrpc: b\nscheduler: {x: 1}\n", nil)
	var usage *settings.UsageError
	require.ErrorAs(t, l.err, &usage)
	var lines []int
	var fields []string
	for _, v := range fault.As(l.err).Violations {
		lines, fields = append(lines, v.Line), append(fields, v.Field)
	}
	require.Equal(t, []int{1, 2, 3, 5, 6, 8, 9}, lines, l.err)
	require.Equal(t, []string{"grp", "log_level", "grace", "extractor.workers", "extractor.colour", "grpc", "scheduler"}, fields)
	require.ErrorContains(t, l.err, "did you mean grpc?")
	require.ErrorContains(t, l.err, "7 violation(s)")
}

func TestMistakesAreUsageErrors(t *testing.T) {
	for _, args := range [][]string{{"--nope"}, {"--grace", "soon"}, {"--log-level", "loud"}, {"word"}, {"--config", "/does/not/exist"}} {
		var usage *settings.UsageError
		require.ErrorAs(t, load(t, "", nil, args...).err, &usage, args)
	}
	require.Error(t, load(t, "a: [", nil).err)
	require.Error(t, load(t, "- a\n", nil).err)
	require.Error(t, load(t, "grpc: a\n---\ngrpc: b\n", nil).err)
	require.NoError(t, load(t, "# nothing\n", nil).err)
	require.Error(t, load(t, "", map[string]string{"MILLRACE_GRACE": "soon"}).err)
}

func TestPrintSettingsNamesOriginsAndMasksSecrets(t *testing.T) {
	l := load(t, "grace: 1s\n", map[string]string{"MILLRACE_SQL": "postgres://u:hunter2@h/db?sslmode=disable&sslpassword=hunter2"}, "--grpc", "x:1", "--print-settings")
	require.ErrorIs(t, l.err, settings.ErrDone)
	require.Regexp(t, `(?m)^grpc: +x:1 +# flag$`, l.out)
	require.Regexp(t, `(?m)^grace: +1s +# .*m\.yaml:1$`, l.out)
	require.Regexp(t, `(?m)^sql: +postgres://u:\*\*\*@h/db\?sslmode=disable&sslpassword=\*\*\* +# env MILLRACE_SQL$`, l.out)
	require.Regexp(t, `(?m)^extractor-workers: +2 +# default$`, l.out)
	require.NotContains(t, l.out, "hunter2")
}

func TestHelpIsDone(t *testing.T) {
	l := load(t, "", nil, "--help")
	require.ErrorIs(t, l.err, settings.ErrDone)
	require.Contains(t, l.out, "--extractor-workers")
}

func TestMask(t *testing.T) {
	for in, want := range map[string]string{
		"memory":                          "memory",
		"nats://tok@h:4222,nats://u:p@h2": "nats://***@h:4222,nats://u:***@h2",
		"redis://:p@h:1/0":                "redis://:***@h:1/0",
		"host=h password=abc user=u":      "host=h password=*** user=u",
		"postgres://u:p@ss@h/db":          "postgres://u:***@h/db",
	} {
		require.Equal(t, want, settings.Mask(in))
	}
}
