package e2e_test

import (
	"fmt"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"

	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
	"millrace.dev/pkg/source/bigquery/bigquerytest"
)

// bigQuery is the data of the example documents in a peer of BigQuery.
func bigQuery(t *testing.T, n int) *bigquerytest.Server {
	t.Helper()
	s := bigquerytest.Start(t)
	s.Exec(t, fmt.Sprintf(`CREATE TABLE customers AS SELECT i AS id, 'User' || i || '@Example.com' AS email, 'First' || (i %% 100) AS first_name,
		'Last' || i AS last_name, 'Berlin' AS city, ['free','pro'][1 + i %% 2] AS plan, CAST(i / 100 AS DECIMAL(12,2)) AS ltv, i %% 50 AS visits,
		i %% 3 = 0 AS active, TIMESTAMPTZ '2024-01-01 00:00:00+00' + INTERVAL (i) SECOND AS updated_at, 1 AS etl_batch FROM range(1, %[1]d) t(i);
		CREATE TABLE order_history AS SELECT i AS order_id, 1 AS version, i AS customer_id, 'paid' AS status, CAST(i / 4 AS DECIMAL(12,2)) AS total,
		'EUR' AS currency, TIMESTAMPTZ '2024-02-01 00:00:00+00' + INTERVAL (i) SECOND AS placed_at, 'https://example.com/?i=' || i AS landing_url,
		CAST('{"coupon": "c' || i || '", "gift": true}' AS JSON) AS props, TIMESTAMPTZ '2024-02-01 00:00:01+00' + INTERVAL (i) SECOND AS loaded_at
		FROM range(1, %[1]d) t(i)`, n+1))
	return s
}

// bigQueryDocuments are the example documents of the guide with BigQuery for their warehouse.
func bigQueryDocuments(t *testing.T, s *bigquerytest.Server) string {
	t.Helper()
	b := s.Connection(t).BigQuery
	return fmt.Sprintf(`
kind: Connection
id: shop
bigquery:
  project_id: %s
  dataset_id: %s
  location: %s
  maximum_bytes_billed: 1000000000
  service_account_id: %s
  service_account_key: %s
  endpoint: %s
  storage_endpoint: %s
  token_endpoint: %s
`, b.ProjectID, b.DatasetID, b.Location, b.ServiceAccountID, strconv.Quote(b.ServiceAccountKey.Plain), b.Endpoint, b.StorageEndpoint, b.TokenEndpoint) + `---
kind: Feed
id: crm
environment: prod
input_protection: create_and_update
---
kind: DataModel
id: customers
connection: shop
record_kind: users
sql: |
  SELECT id, email, first_name, last_name, city, plan, ltv, visits, active, updated_at, etl_batch
  FROM customers
key_columns: [id]
iterator: {column: updated_at, type: timestamp, time_zone: UTC}
---
kind: Mapping
id: customers
rules:
  - object: user_identities
    rules:
      - {column: id, to: customer_id, type: string}
      - {column: email, to: email, transform: [trim, lower]}
  - object: user_attributes
    rules:
      - {column: first_name, to: $firstname}
      - {column: last_name, to: $lastname}
      - {column: plan, to: "{{'plan.tier'}}", on_null: clear}
      - {static: shop, to: source}
      - {column: $unmapped, to: "*"}
  - {ignore: etl_batch}
---
kind: Sync
id: customers
data_model: customers
mapping: customers
feed: crm
mode: incremental
from: 2024-01-01
lookback: 10m
delay: 30s
state: active
---
kind: DataModel
id: orders
connection: shop
record_kind: events
sql: SELECT order_id, version, customer_id, status, total, currency, placed_at, landing_url, props, loaded_at FROM order_history
key_columns: [order_id, version]
iterator: {column: loaded_at, type: timestamp, time_zone: UTC}
---
kind: Mapping
id: orders
rules:
  - {column: customer_id, to: user_identities.customer_id, type: string}
  - object: events
    rules:
      - {static: custom_event, to: event_type}
      - {static: transaction, to: data.custom_event_type}
      - {expression: "'order_' + row.status", to: data.event_name}
      - {column: placed_at, to: data.timestamp_unixtime_ms}
      - {column: landing_url, to: "data.custom_flags.{{'TikTok.URL'}}"}
      - {column: total, to: data.custom_attributes.total, type: decimal}
      - {column: props, to: data.custom_attributes, type: json}
      - {column: $unmapped, to: data.custom_attributes.*}
---
kind: Sync
id: orders
data_model: orders
mapping: orders
feed: crm
mode: incremental
schedule: {on_demand: {}}
state: active
`
}

// The example documents run against BigQuery's protocols: a first load in parts whose streams break off, then a window.
func TestBigQueryIsReadThroughTheMesh(t *testing.T) {
	const n = 5000
	peer := bigQuery(t, n)
	m := startOne(t, databases{}).in("bigquery")
	m.apply(t, "", bigQueryDocuments(t, peer))
	for range 3 {
		peer.Fail(bigquerytest.Fault{Method: "ReadRows", Times: 1, After: 1, Code: codes.Unavailable})
	}
	first := m.run(t, "customers")
	require.EqualValues(t, n, first.GetCounts().GetRead())
	require.EqualValues(t, n, first.GetCounts().GetCreated())
	require.Len(t, m.allParts(t, first.GetId()), 4, "the planning, and a part for each 2,000 rows")
	p := m.profile(t, "email", "user7@example.com").GetUserAttributes().GetFields()
	require.Equal(t, "First7", p["$firstname"].GetStringValue())
	require.Equal(t, "0.070000000", p["ltv"].GetStringValue(), "NUMERIC has nine places")
	require.Equal(t, "pro", p["plan.tier"].GetStringValue())
	require.False(t, p["active"].GetBoolValue())

	peer.Exec(t, `UPDATE customers SET visits = 99, updated_at = TIMESTAMPTZ '2024-02-01 00:00:00+00' WHERE id % 100 = 3`)
	second := m.run(t, "customers")
	require.EqualValues(t, n/100, second.GetCounts().GetUpdated())
	require.Zero(t, second.GetCounts().GetCreated())
	require.InDelta(t, 99, m.profile(t, "customer_id", 103).GetUserAttributes().GetFields()["visits"].GetNumberValue(), 0)

	orders := m.run(t, "orders")
	require.EqualValues(t, n, orders.GetCounts().GetRead())
	require.EqualValues(t, n, orders.GetCounts().GetCreated())
	for _, c := range peer.Calls("jobs.insert") {
		require.Equal(t, "true", c.Labels["millrace"])
	}
}

// A session that has ended while a run reads its parts makes the run plan again, and no row is lost or doubled.
func TestABigQuerySessionThatExpiresIsPlannedAgain(t *testing.T) {
	const n = 5000
	peer := bigQuery(t, n)
	m := startOne(t, databases{}).in("bigquery-expired")
	m.apply(t, "", bigQueryDocuments(t, peer))
	peer.Fail(bigquerytest.Fault{Method: "ReadRows", Times: 1, After: 1, Code: codes.FailedPrecondition})
	r := m.run(t, "customers")
	require.Equal(t, schedulerv1.RunState_RUN_STATE_SUCCEEDED, r.GetState())
	require.EqualValues(t, n, m.digest(t).GetProfiles())
	require.GreaterOrEqual(t, len(peer.Calls("CreateReadSession")), 2)
}
