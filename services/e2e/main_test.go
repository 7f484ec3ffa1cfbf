// Package e2e_test plays scenarios that users rely on against whole meshes: every service in one process with everything
// embedded, the same as a child process that is killed, and five processes with NATS, PostgreSQL and Redis beside them.
package e2e_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// build is programs under test; made once, removed at the end.
type build struct {
	tags     string
	programs []string
	once     sync.Once
	dir      string
	err      error
}

var (
	// released is every program as users have it.
	released = build{tags: "duckdb_arrow", programs: []string{
		"../config/cmd/config", "../scheduler/cmd/scheduler", "../extractor/cmd/extractor", "../mapper/cmd/mapper",
		"../ingestion/cmd/ingestion", "../trace/cmd/trace", "../gateway/cmd/gateway", "../millrace/cmd/millrace",
	}}
	// armed is the one process with the kill points in it.
	armed = build{tags: "duckdb_arrow,killpoints", programs: []string{"../millrace/cmd/millrace"}}
)

func TestMain(m *testing.M) {
	code := m.Run()
	for _, b := range []*build{&released, &armed} {
		if b.dir != "" {
			_ = os.RemoveAll(b.dir)
		}
	}
	os.Exit(code)
}

// binary builds the programs once and answers the path of one.
func (b *build) binary(t *testing.T, name string) string {
	t.Helper()
	b.once.Do(func() {
		if b.dir, b.err = os.MkdirTemp("", "millrace-e2e-"); b.err != nil { //nolint:usetesting // several tests share it
			return
		}
		cmd := exec.CommandContext(context.Background(), "go", append([]string{"build", "-tags", b.tags, "-o", b.dir + "/"}, b.programs...)...)
		cmd.Stderr = os.Stderr
		b.err = cmd.Run()
	})
	require.NoError(t, b.err)
	return filepath.Join(b.dir, name)
}
