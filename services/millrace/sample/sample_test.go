//go:build cgo && duckdb_arrow

package sample_test

import (
	"database/sql"
	"os"
	"path/filepath"
	"testing"

	"github.com/duckdb/duckdb-go/v2"
	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/fault"
	"millrace.dev/services/millrace/sample"
)

// ask answers the one row of a query as texts.
func ask(t *testing.T, path, query string, columns int) []string {
	t.Helper()
	connector, err := duckdb.NewConnector(path+"?access_mode=read_only", nil)
	require.NoError(t, err)
	db := sql.OpenDB(connector)
	defer func() { require.NoError(t, db.Close()) }()
	out := make([]string, columns)
	into := make([]any, columns)
	for i := range out {
		into[i] = &out[i]
	}
	require.NoError(t, db.QueryRowContext(t.Context(), query).Scan(into...))
	return out
}

const fingerprint = `SELECT
  (SELECT sum(hash(c)::HUGEINT)::VARCHAR FROM customers c),
  (SELECT sum(hash(o)::HUGEINT)::VARCHAR FROM order_history o)`

func TestTheWarehouseHasTheRowsThatWereAskedFor(t *testing.T) {
	dir := t.TempDir()
	paths, err := sample.Write(t.Context(), dir, sample.Options{Customers: 1234, Orders: 5678, Seed: 1})
	require.NoError(t, err)
	require.Equal(t, filepath.Join(dir, sample.Warehouse), paths[0])
	require.Len(t, paths, 4)
	require.Equal(t, []string{"1234", "1234", "5678", "5678", "0"}, ask(t, paths[0], `SELECT
  (SELECT count(*)::VARCHAR FROM customers), (SELECT count(DISTINCT id)::VARCHAR FROM customers),
  (SELECT count(*)::VARCHAR FROM order_history), (SELECT count(DISTINCT (order_id, version))::VARCHAR FROM order_history),
  (SELECT count(*)::VARCHAR FROM order_history WHERE customer_id NOT IN (SELECT id FROM customers))`, 5))
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 4, "nothing but the warehouse and the documents is left")
}

func TestTheColumnsAreThoseOfTheDocuments(t *testing.T) {
	paths, err := sample.Write(t.Context(), t.TempDir(), sample.Options{Customers: 10, Orders: 10})
	require.NoError(t, err)
	const columns = `SELECT
  (SELECT string_agg(column_name || ' ' || data_type, ', ' ORDER BY column_index) FROM duckdb_columns() WHERE table_name = 'customers'),
  (SELECT string_agg(column_name || ' ' || data_type, ', ' ORDER BY column_index) FROM duckdb_columns() WHERE table_name = 'order_history')`
	require.Equal(t, []string{
		"id BIGINT, email VARCHAR, first_name VARCHAR, last_name VARCHAR, city VARCHAR, plan VARCHAR, ltv DECIMAL(12,2), visits INTEGER, active BOOLEAN, updated_at TIMESTAMP, etl_batch INTEGER",
		"order_id BIGINT, version INTEGER, customer_id BIGINT, status VARCHAR, total DECIMAL(12,2), currency VARCHAR, placed_at TIMESTAMP, landing_url VARCHAR, props JSON, loaded_at TIMESTAMP",
	}, ask(t, paths[0], columns, 2))
}

func TestEqualOptionsGiveEqualRows(t *testing.T) {
	write := func(seed int64) []string {
		paths, err := sample.Write(t.Context(), t.TempDir(), sample.Options{Customers: 3000, Orders: 9000, Seed: seed})
		require.NoError(t, err)
		return ask(t, paths[0], fingerprint, 2)
	}
	first, second := write(7), write(7)
	require.Equal(t, first, second)
	require.NotEqual(t, first, write(8))
}

func TestEmailsAreOnePersonsOwn(t *testing.T) {
	paths, err := sample.Write(t.Context(), t.TempDir(), sample.Options{Customers: 5000, Orders: 1})
	require.NoError(t, err)
	got := ask(t, paths[0], `SELECT (count(email) = count(DISTINCT lower(trim(email))))::VARCHAR, (count(email) < count(*))::VARCHAR FROM customers`, 2)
	require.Equal(t, []string{"true", "true"}, got)
}

func TestWritingAgainReplacesTheWarehouse(t *testing.T) {
	dir := t.TempDir()
	for _, n := range []int64{20, 10} {
		_, err := sample.Write(t.Context(), dir, sample.Options{Customers: n, Orders: n})
		require.NoError(t, err)
	}
	require.Equal(t, []string{"10"}, ask(t, filepath.Join(dir, sample.Warehouse), `SELECT count(*)::VARCHAR FROM customers`, 1))
}

func TestNumbersOutOfBoundsAreNamedAllAtOnce(t *testing.T) {
	_, err := sample.Write(t.Context(), t.TempDir(), sample.Options{Orders: -1})
	require.Len(t, fault.As(err).Violations, 2)
}
