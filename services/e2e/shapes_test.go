package e2e_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/app"
	"millrace.dev/pkg/testenv"
	"millrace.dev/services/config"
	"millrace.dev/services/extractor"
	"millrace.dev/services/ingestion"
	"millrace.dev/services/mapper"
	"millrace.dev/services/scheduler"
	"millrace.dev/services/trace"
)

// TestOneProcess plays the scenarios with every service in this process and everything embedded.
func TestOneProcess(t *testing.T) {
	t.Parallel()
	play(t, allInOne(t))
}

// allInOne answers a Millrace of one process, in this one, with its default settings.
func allInOne(t *testing.T) mesh {
	t.Helper()
	p, err := app.Start(t.Context(), app.Options{
		Modules:       []app.Module{config.Module(), scheduler.Module(), extractor.Module(), mapper.Module(), ingestion.Module(), trace.Module()},
		Settings:      app.Settings{Data: t.TempDir(), GRPC: "127.0.0.1:0", HTTP: "none"},
		FilesAnywhere: true,
		LogTo:         t.Output(),
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Stop(t.Context())) })
	conn := dial(t, p.Addr())
	return clients(conn, conn, conn).traced(conn)
}

// five is the mesh as five processes, and their traces in one more.
type five struct {
	mesh
	children []*child
	tracer   *child
}

// startFive starts the five services as processes of their own, with NATS, PostgreSQL and Redis beside them.
func startFive(t *testing.T) five {
	t.Helper()
	return startFiveOn(t, testenv.NATSServer(t), testenv.Postgres(t), testenv.Postgres(t))
}

// startFiveOn starts them over a broker and databases for the control tables and the store. The extractor has arguments of
// its own.
func startFiveOn(t *testing.T, broker *testenv.NATS, sql, store string, extractor ...string) five {
	t.Helper()
	dir := t.TempDir()
	shared := []string{
		"--http", "none", "--nats", broker.URL, "--quota", testenv.Redis(t), "--keys", "file:" + filepath.Join(dir, "keys.json"),
	}
	own := map[string][]string{
		"config": {"--sql", sql}, "scheduler": {"--sql", sql}, "ingestion": {"--store", store},
		"extractor": append(extractor, "--files-roots", "/"), "mapper": {},
	}
	var f five
	byName := map[string]*child{}
	for _, name := range []string{"config", "scheduler", "extractor", "mapper", "ingestion"} {
		c := newChild(t, name, append([]string{"--data", filepath.Join(dir, name)}, append(own[name], shared...)...)...)
		f.children = append(f.children, c)
		byName[name] = c
	}
	f.tracer = newChild(t, "trace", "--data", filepath.Join(dir, "trace"), "--http", "none")
	f.tracer.start(t)
	for _, c := range f.children {
		c.args = append(c.args, "--trace-addr", f.tracer.addr)
		for _, peer := range f.children {
			if peer != c {
				c.args = append(c.args, "--"+peer.name+"-addr", peer.addr)
			}
		}
		c.start(t)
	}
	for _, c := range append(f.children, f.tracer) {
		c.ready(t)
	}
	f.mesh = clients(dial(t, byName["config"].addr), dial(t, byName["scheduler"].addr), dial(t, byName["ingestion"].addr)).traced(dial(t, f.tracer.addr))
	return f
}

// TestFiveProcesses plays the same scenarios with every service in a process of its own.
func TestFiveProcesses(t *testing.T) {
	t.Parallel()
	f := startFive(t)
	pids := map[int]bool{}
	for _, c := range f.children {
		pids[c.cmd.Process.Pid] = true
	}
	require.Len(t, pids, 5)
	play(t, f.mesh)
}
