//go:build cgo && duckdb_arrow

package duckdb_test

import (
	"context"
	"database/sql"
	"path/filepath"
	"testing"

	_ "github.com/duckdb/duckdb-go/v2"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/source/duckdb"
	"millrace.dev/pkg/source/sourcetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) {
	sourcetest.Run(t, sourcetest.Harness{
		Driver:   duckdb.New(duckdb.Settings{PartRows: 1000}),
		PartRows: 1000,
		New: func(t *testing.T) sourcetest.Warehouse {
			path := filepath.Join(t.TempDir(), "warehouse.duckdb")
			fill(t, path, "SELECT 1")
			return sourcetest.Warehouse{
				Connection: at(path),
				Exec:       func(t *testing.T, sql string) { fill(t, path, sql) },
			}
		},
	})
}

func at(path string) resource.Connection {
	return resource.Connection{DuckDB: &resource.DuckDB{Path: path}}
}

// fill runs statements in a database file and, before it closes it, what else is to be done.
func fill(t testing.TB, path, text string, held ...func()) {
	db, err := sql.Open("duckdb", path)
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	_, err = db.ExecContext(context.Background(), text)
	require.NoError(t, err)
	for _, f := range held {
		f()
	}
}
