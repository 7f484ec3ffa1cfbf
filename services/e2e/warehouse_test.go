package e2e_test

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"testing"

	_ "github.com/duckdb/duckdb-go/v2" // the warehouse that these tests write
	"github.com/stretchr/testify/require"
)

// warehouse is a DuckDB file that a scenario writes between runs.
type warehouse struct{ path string }

// newWarehouse answers a warehouse with the customers 1 to n, one a second apart. Zero would be no usable identity.
func newWarehouse(t *testing.T, n int) warehouse {
	t.Helper()
	w := warehouse{path: filepath.Join(t.TempDir(), "shop.duckdb")}
	w.exec(t, `CREATE TABLE customers (id BIGINT, email TEXT, first_name TEXT, plan TEXT, visits INTEGER, updated_at TIMESTAMP, etl_batch INTEGER)`)
	w.add(t, 1, n+1)
	return w
}

// add inserts the customers [from, until).
func (w warehouse) add(t *testing.T, from, until int) {
	t.Helper()
	w.exec(t, fmt.Sprintf(`INSERT INTO customers
		SELECT i, 'User' || i || '@Example.com', 'First' || (i %% 100), ['free','pro'][1 + i %% 2], i %% 50,
		       TIMESTAMP '2024-01-01' + INTERVAL (i) SECOND, 1 FROM range(%d, %d) t(i)`, from, until))
}

// exec runs statements and closes the file again: one process at a time may have it open for writing.
func (w warehouse) exec(t *testing.T, statements ...string) {
	t.Helper()
	db, err := sql.Open("duckdb", w.path)
	require.NoError(t, err)
	for _, s := range statements {
		_, err := db.ExecContext(t.Context(), s)
		require.NoError(t, err)
	}
	require.NoError(t, db.Close())
}

// writable says whether nobody in this process has the file open for reading.
func (w warehouse) writable(t *testing.T) bool {
	t.Helper()
	db, err := sql.Open("duckdb", w.path)
	if err == nil {
		_, err = db.ExecContext(t.Context(), "CREATE OR REPLACE TABLE free (i INTEGER)")
	}
	if db != nil {
		require.NoError(t, db.Close())
	}
	return err == nil
}

// documents answers the connection, model, mapping and sync of the customers, all named id. plan is the rule for the
// column plan.
func (w warehouse) documents(id, plan string) string {
	return fmt.Sprintf(`
kind: Connection
id: %[1]s
duckdb: {path: %[2]s}
---
kind: DataModel
id: %[1]s
connection: %[1]s
record_kind: users
sql: SELECT * FROM customers
key_columns: [id]
iterator: {column: updated_at, type: timestamp, time_zone: UTC}
---
kind: Mapping
id: %[1]s
rules:
  - object: user_identities
    rules:
      - {column: id, to: customer_id, type: string}
      - {column: email, to: email, transform: [trim, lower]}
  - object: user_attributes
    rules:
      - {column: first_name, to: $firstname}
      - %[3]s
      - {column: visits, to: visits}
  - {ignore: etl_batch}
---
kind: Sync
id: %[1]s
data_model: %[1]s
mapping: %[1]s
mode: incremental
lookback: 10m
state: active
`, id, w.path, plan)
}

// asIs maps the column plan as it is.
const asIs = "{column: plan, to: plan}"
