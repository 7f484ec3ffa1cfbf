//go:build cgo && duckdb_arrow

package e2e_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
	"millrace.dev/pkg/source/databricks/databrickstest"
)

// lake is a Databricks warehouse that a scenario writes between runs.
type lake struct{ *databrickstest.Peer }

func newLake(t *testing.T) lake {
	t.Helper()
	l := lake{databrickstest.Start(t, databrickstest.Options{Files: true})}
	l.Exec(t, `CREATE TABLE customers AS SELECT i AS id, 'User' || i || '@Example.com' AS email, 'First' || i AS first_name, 'Last' AS last_name, 'London' AS city,
		CASE WHEN i % 2 = 0 THEN 'free' ELSE 'pro' END AS plan, CAST(i AS DECIMAL(38,2)) AS ltv, i % 50 AS visits, i % 2 = 0 AS active,
		TIMESTAMPTZ '2024-01-01 00:00:00+00' + INTERVAL (i) MINUTE AS updated_at, 1 AS etl_batch FROM range(1, 3001) AS r(i)`)
	l.Exec(t, `CREATE TABLE order_history AS SELECT i AS order_id, 1 AS version, 1 + i % 3000 AS customer_id, 'paid' AS status, CAST(i / 4 AS DECIMAL(12,2)) AS total, 'EUR' AS currency,
		TIMESTAMP '2025-01-01' + INTERVAL (i) SECOND AS placed_at, 'https://shop.example/' || i AS landing_url, CAST('{"gift": true, "lines": [1, 2.5]}' AS JSON) AS props,
		TIMESTAMP '2025-01-01' + INTERVAL (i) SECOND AS loaded_at FROM range(5000) AS r(i)`)
	return l
}

// documents answers the example documents over this warehouse, and a mirror of a table.
func (l lake) documents(t *testing.T) string {
	t.Helper()
	c := l.Connection().Databricks
	example, err := os.ReadFile("../config/testdata/shop.yaml")
	require.NoError(t, err)
	text, _, _ := strings.Cut(string(example), "---\nkind: Connection\nid: app_db")
	text = strings.Replace(text, "schedule: {every: hourly, start: 2026-01-01T00:15:00Z}", "schedule: {on_demand: {}}", 1)
	text = strings.Replace(text, "duckdb: {path: ./shop.duckdb}", fmt.Sprintf(`databricks:
  host: %s
  port: %d
  protocol: http
  warehouse_id: %q
  catalog: %s
  schema: %s
  client_id: %s
  client_secret: %s`, c.Host, c.Port, c.WarehouseID, c.Catalog, c.Schema, c.ClientID, c.ClientSecret.Plain), 1)
	require.Contains(t, text, "databricks:")
	return text + `---
kind: DataModel
id: members
connection: shop
record_kind: users
table: shop.sales.members
key_columns: [id]
---
kind: Mapping
id: members
rules:
  - {column: id, to: user_identities.other, type: string}
  - {column: level, to: user_attributes.level}
---
kind: Sync
id: members
data_model: members
mapping: members
mode: mirror
state: active
`
}

// TestDatabricks runs the example documents of a shop in Databricks: users and events incrementally, and a table mirrored
// in the versions that its runs were planned in.
func TestDatabricks(t *testing.T) {
	l := newLake(t)
	l.Exec(t, `CREATE TABLE members AS SELECT i AS id, 'gold' AS level FROM range(1, 101) AS r(i)`)
	m := startOne(t, databases{})
	m.apply(t, t.TempDir(), l.documents(t))

	r := m.run(t, "customers")
	require.EqualValues(t, 3000, r.GetCounts().GetCreated())
	p := m.profile(t, "email", "user7@example.com")
	require.Equal(t, "pro", p.GetUserAttributes().GetFields()["plan.tier"].GetStringValue())
	require.Equal(t, "7.00", p.GetUserAttributes().GetFields()["ltv"].GetStringValue())
	l.requireTagged(t, r)

	l.Exec(t, `UPDATE customers SET plan = 'gone pro', updated_at = updated_at + INTERVAL 30 DAY WHERE id = 7`)
	r = m.run(t, "customers")
	require.EqualValues(t, 1, r.GetCounts().GetUpdated())
	require.Less(t, r.GetCounts().GetRead(), int64(3000))
	require.Equal(t, "gone pro", m.profile(t, "email", "user7@example.com").GetUserAttributes().GetFields()["plan.tier"].GetStringValue())

	r = m.run(t, "orders")
	require.EqualValues(t, 5000, r.GetCounts().GetCreated())
	events := m.events(t, "orders")
	require.Len(t, events, 5000)
	require.Equal(t, "order_paid", events[0].GetData().GetFields()["event_name"].GetStringValue())
	require.True(t, events[0].GetData().GetFields()["custom_attributes"].GetStructValue().GetFields()["gift"].GetBoolValue())
	require.Zero(t, m.run(t, "orders").GetCounts().GetCreated())

	r = m.run(t, "members")
	require.EqualValues(t, 100, r.GetCounts().GetCreated())
	require.Equal(t, []string{"version 4"}, versions(l))
	l.Exec(t, `DELETE FROM members WHERE id <= 5; UPDATE members SET level = 'silver' WHERE id = 6`)
	r = m.run(t, "members")
	require.EqualValues(t, 5, r.GetCounts().GetDeleted())
	require.EqualValues(t, 1, r.GetCounts().GetUpdated())
	require.Equal(t, []string{"version 4", "version 5"}, versions(l))
	require.Zero(t, l.Running(), "no statement is left behind")
}

// requireTagged holds that a run's statements carry its label.
func (l lake) requireTagged(t *testing.T, r *schedulerv1.Run) {
	t.Helper()
	for _, s := range l.Statements() {
		if strings.HasPrefix(s.SQL, "SELECT `id`") && strings.Contains(s.Tags, r.GetId()) {
			return
		}
	}
	require.Fail(t, "no statement carries the run's label")
}

// versions answers the versions of tables that rows were read in, in order.
func versions(l lake) []string {
	var out []string
	for _, s := range l.Statements() {
		_, rest, ok := strings.Cut(s.SQL, " VERSION AS OF ")
		if !ok || !strings.HasPrefix(s.SQL, "SELECT `id`") {
			continue
		}
		n, _, _ := strings.Cut(rest, "\n")
		if v := "version " + n; len(out) == 0 || out[len(out)-1] != v {
			out = append(out, v)
		}
	}
	return out
}
