package e2e_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	configv1 "millrace.dev/gen/millrace/config/v1"
	"millrace.dev/pkg/source/snowflake/snowflaketest"
)

// marts is an account of Snowflake, of our own making, with customers and orders; names and timestamps are as Snowflake's.
type marts struct {
	*snowflaketest.Server
	dir string // where the key lies
}

func newMarts(t *testing.T, n int) marts {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	m := marts{dir: t.TempDir(), Server: snowflaketest.New(t, snowflaketest.Options{
		Fold: true, TimestampScale: 9, ChunkRows: 700, InlineRows: 50, Gzip: true, Keys: []*rsa.PublicKey{&key.PublicKey},
	})}
	require.NoError(t, os.WriteFile(filepath.Join(m.dir, "snow.p8"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600))
	m.Exec(t, fmt.Sprintf(`CREATE TABLE customers AS SELECT i AS id, 'User' || i || '@Example.com' AS email, 'First' || (i %% 100) AS first_name, 'Last' || i AS last_name,
  ['London','Paris','Berlin'][1 + i %% 3] AS city, ['free','pro'][1 + i %% 2] AS plan, CAST(i / 100 AS DECIMAL(12,2)) AS ltv, CAST(i %% 50 AS DECIMAL(9,0)) AS visits,
  i %% 2 = 0 AS active, TIMESTAMP '2024-01-01' + INTERVAL (i) SECOND AS updated_at, 1 AS etl_batch FROM range(1, %d) t(i);
CREATE TABLE order_history AS SELECT i AS order_id, 1 AS version, i %% 100 + 1 AS customer_id, ['placed','paid'][1 + i %% 2] AS status, CAST('7.00' AS DECIMAL(12,2)) AS total, 'EUR' AS currency,
  TIMESTAMPTZ '2024-01-01 00:00:00+00' AS placed_at, 'https://shop.example.com' AS landing_url, CAST('{"coupon": "X1", "lines": 2}' AS JSON) AS props,
  TIMESTAMP '2024-01-01' + INTERVAL (i) SECOND AS loaded_at FROM range(1, 1001) t(i);`, n+1))
	return m
}

// documents answers the documentation's connection to Snowflake, with models, mappings and syncs like those of its shop.
func (m marts) documents() string {
	c := m.Connection()
	return fmt.Sprintf(`
kind: Connection
id: snow
snowflake:
  account: %s
  warehouse: SYNC_WH
  database: MARTS
  schema: PUBLIC
  role: SYNC_R
  user: SYNC_U
  private_key: {file: ./snow.p8}
  host: %s
  port: %d
  protocol: http
---
kind: Feed
id: crm
environment: prod
input_protection: create_and_update
---
kind: DataModel
id: customers
connection: snow
record_kind: users
sql: |
  SELECT id, email, first_name, last_name, city, plan, ltv, visits, active, updated_at, etl_batch
  FROM customers
key_columns: [ID]
iterator: {column: UPDATED_AT, type: timestamp, time_zone: UTC}
---
kind: Mapping
id: customers
rules:
  - object: user_identities
    rules:
      - {column: ID, to: customer_id, type: string}
      - {column: EMAIL, to: email, transform: [trim, lower]}
  - object: user_attributes
    rules:
      - {column: FIRST_NAME, to: $firstname}
      - {column: LAST_NAME, to: $lastname}
      - {column: PLAN, to: "{{'plan.tier'}}", on_null: clear}
      - {static: shop, to: source}
      - {column: $unmapped, to: "*"}
  - {ignore: ETL_BATCH}
---
kind: Sync
id: customers
data_model: customers
mapping: customers
feed: crm
mode: incremental
schedule: {on_demand: {}}
from: 2024-01-01
lookback: 10m
state: active
---
kind: DataModel
id: orders
connection: snow
record_kind: events
sql: SELECT order_id, version, customer_id, status, total, currency, placed_at, landing_url, props, loaded_at FROM order_history
key_columns: [ORDER_ID, VERSION]
iterator: {column: LOADED_AT, type: timestamp, time_zone: UTC}
---
kind: Mapping
id: orders
rules:
  - {column: CUSTOMER_ID, to: user_identities.customer_id, type: string}
  - object: events
    rules:
      - {static: custom_event, to: event_type}
      - {static: transaction, to: data.custom_event_type}
      - {expression: "'order_' + row.STATUS", to: data.event_name}
      - {column: PLACED_AT, to: data.timestamp_unixtime_ms}
      - {column: LANDING_URL, to: "data.custom_flags.{{'TikTok.URL'}}"}
      - {column: TOTAL, to: data.custom_attributes.total, type: decimal}
      - {column: PROPS, to: data.custom_attributes, type: json}
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
`, c.Account, c.Host, c.Port)
}

// TestSnowflakeFromDocumentToProfile takes the documentation's connection, models and syncs from a document through
// Snowflake's protocol to profiles and events, and then what changed.
func TestSnowflakeFromDocumentToProfile(t *testing.T) {
	t.Parallel()
	const n = 4_000
	s, m := newMarts(t, n), startOne(t, databases{})
	key, err := os.ReadFile(filepath.Join(s.dir, "snow.p8"))
	require.NoError(t, err)
	_, err = m.config.Apply(t.Context(), &configv1.ApplyRequest{Workspace: m.workspace, Documents: []*configv1.Document{{
		File: "snow.yaml", Content: s.documents(), BaseDir: s.dir, Secrets: map[string]string{"file:./snow.p8": string(key)},
	}}})
	require.NoError(t, err)
	steps, err := m.config.TestConnection(t.Context(), &configv1.TestConnectionRequest{Workspace: m.workspace, Id: "snow"})
	require.NoError(t, err)
	require.True(t, steps.GetOk(), "%v", steps.GetSteps())

	first := m.run(t, "customers")
	require.EqualValues(t, n, first.GetCounts().GetCreated())
	require.Greater(t, len(m.allParts(t, first.GetId())), 2, "the planning, and more than one part")
	p := m.profile(t, "email", "user7@example.com").GetUserAttributes().GetFields()
	require.Equal(t, "First7", p["$firstname"].GetStringValue())
	require.Equal(t, "pro", p["plan.tier"].GetStringValue())
	require.Equal(t, "0.07", p["LTV"].GetStringValue())
	require.InDelta(t, 7, p["VISITS"].GetNumberValue(), 0)

	s.Exec(t, `UPDATE customers SET plan = 'gold', updated_at = TIMESTAMP '2024-02-01' WHERE id = 7`)
	second := m.run(t, "customers")
	require.EqualValues(t, 1, second.GetCounts().GetUpdated())
	require.Equal(t, "gold", m.profile(t, "customer_id", 7).GetUserAttributes().GetFields()["plan.tier"].GetStringValue())

	orders := m.run(t, "orders")
	require.EqualValues(t, 1000, orders.GetCounts().GetCreated())
	require.Len(t, m.events(t, "orders"), 1000)
	tagged := false
	for _, r := range s.Statements() {
		tagged = tagged || r.Tag == "millrace:"+first.GetWorkspace()+"/customers/"+first.GetId()
		require.NotContains(t, r.Path, "telemetry")
	}
	require.True(t, tagged, "statements carry the run's label")
}
