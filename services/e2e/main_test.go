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

// built is where the binaries under test are; made once, removed at the end.
var built struct {
	once sync.Once
	dir  string
	err  error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if built.dir != "" {
		_ = os.RemoveAll(built.dir)
	}
	os.Exit(code)
}

// binary builds the program of a service once and answers its path.
func binary(t *testing.T, name string) string {
	t.Helper()
	built.once.Do(func() {
		if built.dir, built.err = os.MkdirTemp("", "millrace-e2e-"); built.err != nil { //nolint:usetesting // several tests share it
			return
		}
		cmd := exec.CommandContext(context.Background(), "go", "build", "-tags", "duckdb_arrow", "-o", built.dir+"/",
			"../config/cmd/config", "../scheduler/cmd/scheduler", "../extractor/cmd/extractor", "../mapper/cmd/mapper",
			"../ingestion/cmd/ingestion", "../millrace/cmd/millrace")
		cmd.Stderr = os.Stderr
		built.err = cmd.Run()
	})
	require.NoError(t, built.err)
	return filepath.Join(built.dir, name)
}
