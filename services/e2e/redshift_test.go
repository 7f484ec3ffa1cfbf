//go:build cgo && duckdb_arrow

package e2e_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
	"millrace.dev/pkg/source/redshift/redshifttest"
)

// shift is a Redshift warehouse that a scenario writes between runs.
type shift struct{ *redshifttest.Peer }

func newShift(t *testing.T) shift {
	t.Helper()
	s := shift{redshifttest.Start(t, redshifttest.Options{})}
	s.Exec(t, `CREATE TABLE customers AS SELECT i AS id, 'User' || i || '@Example.com' AS email, 'First' || i AS first_name, 'Last' AS last_name, 'London' AS city,
		CASE WHEN i % 2 = 0 THEN 'free' ELSE 'pro' END AS plan, CAST(i AS DECIMAL(38,2)) AS ltv, i % 50 AS visits, i % 2 = 0 AS active,
		CAST('2024-01-01 00:00:00+00' AS TIMESTAMPTZ) + i * INTERVAL '1 minute' AS updated_at, 1 AS etl_batch FROM generate_series(1, 3000) AS r(i)`)
	s.Exec(t, `CREATE TABLE order_history AS SELECT i AS order_id, 1 AS version, 1 + i % 3000 AS customer_id, 'paid' AS status, CAST(i / 4.0 AS DECIMAL(12,2)) AS total, 'EUR' AS currency,
		CAST('2025-01-01' AS TIMESTAMP) + i * INTERVAL '1 second' AS placed_at, 'https://shop.example/' || i AS landing_url, JSON_PARSE('{"gift": true, "lines": [1, 2.5]}') AS props,
		CAST('2025-01-01' AS TIMESTAMP) + i * INTERVAL '1 second' AS loaded_at FROM generate_series(0, 4999) AS r(i)`)
	return s
}

// documents answers the example documents over this warehouse, unloading where a bucket is to be used.
func (s shift) documents(t *testing.T, unload bool) string {
	t.Helper()
	c := s.Unloading().Redshift
	example, err := os.ReadFile("../config/testdata/shop.yaml")
	require.NoError(t, err)
	text, _, _ := strings.Cut(string(example), "---\nkind: Connection\nid: app_db")
	text = strings.Replace(text, "schedule: {every: hourly, start: 2026-01-01T00:15:00Z}", "schedule: {on_demand: {}}", 1)
	block := fmt.Sprintf(`redshift:
  host: %s
  port: %d
  database: %s
  user: %s
  password: %s
  sslmode: disable`, c.Host, c.Port, c.Database, c.User, c.Password.Plain)
	if unload {
		block += fmt.Sprintf(`
  region: %s
  unload_bucket: %s
  unload_prefix: %s
  unload_role: %s
  s3_endpoint: %s`, c.Region, c.UnloadBucket, c.UnloadPrefix, c.UnloadRole, c.S3Endpoint)
	}
	text = strings.Replace(text, "duckdb: {path: ./shop.duckdb}", block, 1)
	require.Contains(t, text, "redshift:")
	return text
}

// TestRedshift runs the example documents of a shop in Redshift, by UNLOAD and through a cursor: users and events
// incrementally. What a run unloaded is removed when it has closed.
func TestRedshift(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", redshifttest.AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", redshifttest.SecretKey)
	for name, unload := range map[string]bool{"by unload": true, "by cursor": false} {
		t.Run(name, func(t *testing.T) {
			s := newShift(t)
			m := startOne(t, databases{})
			m.apply(t, t.TempDir(), s.documents(t, unload))

			r := m.run(t, "customers")
			require.EqualValues(t, 3000, r.GetCounts().GetCreated())
			p := m.profile(t, "email", "user7@example.com").GetUserAttributes().GetFields()
			require.Equal(t, "pro", p["plan.tier"].GetStringValue())
			require.Equal(t, "7.00", p["ltv"].GetStringValue())
			s.requireNamed(t, r, unload)

			s.Exec(t, `UPDATE customers SET plan = 'gone pro', updated_at = updated_at + INTERVAL '30 day' WHERE id = 7`)
			r = m.run(t, "customers")
			require.EqualValues(t, 1, r.GetCounts().GetUpdated())
			require.Less(t, r.GetCounts().GetRead(), int64(3000))
			require.Equal(t, "gone pro", m.profile(t, "email", "user7@example.com").GetUserAttributes().GetFields()["plan.tier"].GetStringValue())

			require.EqualValues(t, 5000, m.run(t, "orders").GetCounts().GetCreated())
			events := m.events(t, "orders")
			require.Len(t, events, 5000)
			require.Equal(t, "order_paid", events[0].GetData().GetFields()["event_name"].GetStringValue())
			require.True(t, events[0].GetData().GetFields()["custom_attributes"].GetStructValue().GetFields()["gift"].GetBoolValue())
			require.Zero(t, m.run(t, "orders").GetCounts().GetCreated())
			require.Eventually(t, func() bool { return len(s.Objects()) == 0 }, time.Minute, 10*time.Millisecond, "the bucket is left empty")
		})
	}
}

// requireNamed holds that a run's rows were asked for under its name.
func (s shift) requireNamed(t *testing.T, r *schedulerv1.Run, unload bool) {
	t.Helper()
	word := "DECLARE"
	if unload {
		word = "UNLOAD"
	}
	for _, x := range s.Statements() {
		if strings.HasPrefix(x.SQL, word) && strings.HasSuffix(x.Group, "/customers/"+r.GetId()) {
			return
		}
	}
	require.Fail(t, "no statement has the run's query group")
}
