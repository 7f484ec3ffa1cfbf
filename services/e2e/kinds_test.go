package e2e_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/timestamppb"

	ingestionv1 "millrace.dev/gen/millrace/ingestion/v1"
	"millrace.dev/pkg/fault"
)

const kinds = `
kind: Connection
id: shop
duckdb: {path: %q}
---
kind: DataModel
id: companies
connection: shop
record_kind: groups
group_type: company
sql: SELECT id, name, seats FROM companies
key_columns: [id]
---
kind: Sync
id: companies
data_model: companies
mode: full
state: active
---
kind: DataModel
id: people
connection: shop
record_kind: users
sql: SELECT customer_id, company FROM people
key_columns: [customer_id]
---
kind: Sync
id: people
data_model: people
mode: full
state: active
---
kind: DataModel
id: products
connection: shop
record_kind: lookup
table: products
key_columns: [sku]
enrich: data.custom_attributes.sku
---
kind: Sync
id: products
data_model: products
mode: full
state: active
---
kind: DataModel
id: orders
connection: shop
record_kind: events
sql: SELECT id, customer_id, ordered_at, sku FROM orders
key_columns: [id]
---
kind: Mapping
id: orders
rules:
  - {column: customer_id, to: user_identities.customer_id}
  - object: events
    rules:
      - {static: custom_event, to: event_type}
      - {static: transaction, to: custom_event_type}
      - {static: order, to: event_name}
      - {column: ordered_at, to: timestamp_unixtime_ms}
      - {column: sku, to: custom_attributes.sku}
  - {ignore: id}
---
kind: Sync
id: orders
data_model: orders
mapping: orders
mode: full
state: active
---
kind: DataModel
id: plans
connection: shop
record_kind: profile_history
sql: SELECT customer_id, since, plan FROM plans
key_columns: [customer_id, since]
start_time: since
---
kind: Sync
id: plans
data_model: plans
mode: mirror
state: active
`

// everyKind lets each record kind arrive and be read in its own way.
func everyKind(t *testing.T, m mesh) {
	w := warehouse{path: t.TempDir() + "/shop.duckdb"}
	w.exec(t,
		`CREATE TABLE companies AS SELECT 'c' || i AS id, 'Company ' || i AS name, i AS seats FROM range(500) t(i)`,
		`CREATE TABLE people AS SELECT 'p' || i AS customer_id, ['c' || (i % 3), 'c' || (i % 3 + 100)] AS company FROM range(9) t(i)`,
		`CREATE TABLE products AS SELECT 's' || i AS sku, 'Product ' || i AS title FROM range(500) t(i)`,
		`CREATE TABLE orders AS SELECT i AS id, 'p1' AS customer_id, TIMESTAMP '2026-01-01' + INTERVAL (i) HOUR AS ordered_at, 's' || i AS sku FROM range(3) t(i)`,
		`CREATE TABLE plans (customer_id TEXT, since DATE, plan TEXT)`,
		`INSERT INTO plans VALUES ('p1', '2025-01-01', 'free'), ('p1', '2025-03-10', 'gold'), ('p1', '2025-06-02', 'inactive')`)
	m.apply(t, "", fmt.Sprintf(kinds, w.path))
	for sync, rows := range map[string]int64{"companies": 500, "people": 9, "products": 500, "orders": 3, "plans": 3} {
		require.Equal(t, rows, m.run(t, sync).GetCounts().GetCreated(), sync)
	}

	g, err := m.ingestion.GetGroup(t.Context(), &ingestionv1.GetGroupRequest{Workspace: m.workspace, GroupType: "company", GroupId: "c7"})
	require.NoError(t, err)
	require.Equal(t, map[string]any{"name": "Company 7", "seats": 7.0}, g.GetGroup().GetAttributes().AsMap())
	members, err := m.ingestion.ListGroupMembers(t.Context(), &ingestionv1.ListGroupMembersRequest{Workspace: m.workspace, GroupType: "company", GroupId: "c101"})
	require.NoError(t, err)
	require.Len(t, members.GetProfiles(), 3, "%v", m.profile(t, "customer_id", "p1"))

	titles := func() (out []string) {
		for _, e := range m.events(t, "orders") {
			out = append(out, e.GetLookups()["products"].GetFields()["title"].GetStringValue())
		}
		return out
	}
	require.ElementsMatch(t, []string{"Product 0", "Product 1", "Product 2"}, titles())
	w.exec(t, `DELETE FROM products WHERE sku = 's0'`, `UPDATE products SET title = 'New' WHERE sku = 's1'`)
	again := m.run(t, "products")
	require.EqualValues(t, 1, again.GetCounts().GetUpdated())
	require.EqualValues(t, 498, again.GetCounts().GetUnchanged())
	require.ElementsMatch(t, []string{"", "New", "Product 2"}, titles(), "the table was replaced as a whole")
	_, err = m.ingestion.GetLookupRow(t.Context(), &ingestionv1.GetLookupRowRequest{Workspace: m.workspace, DataModel: "products", KeyValues: []string{"s0"}})
	require.Equal(t, fault.NotFound, fault.ClassOf(fault.FromStatus(err)))

	plan := func(at time.Time) string {
		r, err := m.ingestion.GetProfile(t.Context(), &ingestionv1.GetProfileRequest{
			Workspace: m.workspace, Identity: &ingestionv1.Identity{Type: "customer_id", Value: "p1"}, AsOf: timestamppb.New(at),
		})
		require.NoError(t, err)
		return r.GetProfile().GetUserAttributes().GetFields()["plan"].GetStringValue()
	}
	april := time.Date(2025, 4, 1, 0, 0, 0, 0, time.UTC)
	require.Equal(t, "gold", plan(april))
	require.Equal(t, "inactive", plan(april.AddDate(0, 3, 0)))
	w.exec(t, `DELETE FROM plans WHERE plan = 'gold'`)
	gone := m.run(t, "plans")
	require.EqualValues(t, 1, gone.GetCounts().GetDeleted())
	require.Equal(t, "free", plan(april), "the version was taken back")
}
