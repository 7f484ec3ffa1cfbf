//go:build cgo && duckdb_arrow

package duckdb_test

import (
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"testing"

	_ "github.com/duckdb/duckdb-go/v2"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/source"
	"millrace.dev/pkg/source/duckdb"
	"millrace.dev/pkg/source/sourcetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) {
	sourcetest.Run(t, sourcetest.Harness{
		Driver:   duckdb.New(duckdb.Settings{PartRows: 1000}),
		PartRows: 1000,
		New:      warehouse,
	})
}

func TestChanges(t *testing.T) {
	sourcetest.RunChanges(t, sourcetest.Harness{
		Driver:   duckdb.New(duckdb.Settings{PartRows: 1000, StateDir: filepath.Join(t.TempDir(), "states")}),
		PartRows: 1000,
		New:      warehouse,
		Engine:   resource.Diff,
	})
}

// TestNothingIsLeftOfASync clears all that was kept of it: its file goes, also where it is none any more.
func TestNothingIsLeftOfASync(t *testing.T) {
	states := filepath.Join(t.TempDir(), "states")
	d := duckdb.New(duckdb.Settings{StateDir: states})
	file := filepath.Join(states, "keeper.duckdb")
	last := source.Attempt{Run: 1, Epoch: 1}
	require.NoError(t, d.Clear(t.Context(), resource.Connection{}, "keeper", last), "there is nothing yet")

	path := filepath.Join(t.TempDir(), "warehouse.duckdb")
	fill(t, path, "CREATE TABLE things AS SELECT 1 AS id")
	s, err := d.Open(t.Context(), at(path))
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	r, ok := source.As[source.ChangeReader](s)
	require.True(t, ok)
	q := source.ChangeQuery{Query: source.Query{Model: resource.DataModel{SQL: "SELECT id FROM things", KeyColumns: []string{"id"}}}, Engine: resource.Diff, Owner: "keeper", Attempt: last}
	_, err = r.Changes(t.Context(), q, 1)
	require.NoError(t, err)
	require.NoError(t, d.Clear(t.Context(), resource.Connection{}, "keeper", source.Attempt{}))
	require.FileExists(t, file, "it was made later")
	require.NoError(t, d.Clear(t.Context(), resource.Connection{}, "keeper", last))
	require.NoFileExists(t, file)

	require.NoError(t, os.WriteFile(file, []byte("no database"), 0o600))
	require.NoError(t, d.Clear(t.Context(), resource.Connection{}, "keeper", last))
	require.NoFileExists(t, file)
}

func warehouse(t *testing.T) sourcetest.Warehouse {
	path := filepath.Join(t.TempDir(), "warehouse.duckdb")
	fill(t, path, "SELECT 1")
	return sourcetest.Warehouse{
		Connection: at(path),
		Exec:       func(t *testing.T, sql string) { fill(t, path, sql) },
	}
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

// Iterator types that other warehouses have not.
func TestIteratorsOfDuckDBAreLossless(t *testing.T) {
	path := filepath.Join(t.TempDir(), "w.duckdb")
	fill(t, path, "SELECT 1")
	s, err := duckdb.New(duckdb.Settings{}).Open(t.Context(), at(path))
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	for _, c := range []struct {
		sql, a, b string
		typ       resource.IteratorType
	}{
		{"TIMESTAMP_NS", "2026-01-01T00:00:00.123456788", "2026-01-01T00:00:00.123456789", resource.IteratorTimestamp},
		{"TIMESTAMP_MS", "2026-01-01T00:00:00.122", "2026-01-01T00:00:00.123", resource.IteratorTimestamp},
		{"TIMESTAMP_S", "2026-01-01T00:00:00", "2026-01-01T00:00:01", resource.IteratorTimestamp},
		{"HUGEINT", "99999999999999999999999999999999999998", "99999999999999999999999999999999999999", resource.IteratorInteger},
		{"UBIGINT", "18446744073709551614", "18446744073709551615", resource.IteratorInteger},
	} {
		q := source.Query{Model: resource.DataModel{
			SQL:      "SELECT 1 AS id, CAST('" + c.a + "' AS " + c.sql + ") AS at UNION ALL SELECT 2, CAST('" + c.b + "' AS " + c.sql + ")",
			Iterator: resource.Iterator{Column: "at", Type: c.typ},
		}}
		for low, want := range map[string]int64{"": 2, c.a: 2, c.b: 1} {
			q.Low, q.Range = low, source.Range{}
			p, err := s.(source.Planner).Plan(t.Context(), q, 1)
			require.NoError(t, err, c.sql)
			require.Equal(t, c.b, p.Watermark, c.sql)
			require.Equal(t, want, p.EstimatedRows, "%s from %q", c.sql, low)
			q.Range, q.Snapshot = p.Parts[0], p.Snapshot
			n := int64(0)
			for b, err := range s.Read(t.Context(), q) {
				require.NoError(t, err, c.sql)
				n += b.NumRows()
			}
			require.Equal(t, want, n, "%s from %q", c.sql, low)
		}
	}
}

// A comparison that the memory limit does not do for is made slice by slice.
func TestComparisonsLargerThanTheMemory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "w.duckdb")
	fill(t, path, "CREATE TABLE t AS SELECT i AS id, md5(CAST(i AS VARCHAR)) AS a, md5(CAST(-i AS VARCHAR)) AS b, 0 AS n FROM range(1500000) AS r(i)")
	d := duckdb.New(duckdb.Settings{MemoryLimit: "32MB", TempDir: t.TempDir(), StateDir: filepath.Join(t.TempDir(), "states")})
	q := source.ChangeQuery{
		Query:  source.Query{Model: resource.DataModel{SQL: "SELECT * FROM t", KeyColumns: []string{"id"}}},
		Engine: resource.Diff, Owner: "s0123456789abcdef", Compared: []string{"id", "a", "b", "n"},
	}
	compare := func() source.Changes {
		s, err := d.Open(t.Context(), at(path))
		require.NoError(t, err)
		defer func() { require.NoError(t, s.Close()) }()
		q.Attempt.Run++
		c, err := s.(source.ChangeReader).Changes(t.Context(), q, 4)
		require.NoError(t, err)
		return c
	}
	q.Since = compare().State
	fill(t, path, "UPDATE t SET n = 1 WHERE id % 1000 = 7; DELETE FROM t WHERE id < 100; INSERT INTO t SELECT i, 'new', 'new', 0 FROM range(2000000, 2000050) AS r(i)")
	c := compare()
	require.Equal(t, q.Since, c.Since, c.Lost)
	require.EqualValues(t, 1500+49, c.Changed)
	require.EqualValues(t, 100, c.Gone)
}
