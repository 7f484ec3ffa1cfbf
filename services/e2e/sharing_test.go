//go:build cgo && duckdb_arrow

package e2e_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
	"millrace.dev/pkg/source/sharing/sharingtest"
)

// share is a Delta Sharing server whose tables a scenario writes between runs.
type share struct{ *sharingtest.Peer }

func newShare(t *testing.T) share {
	t.Helper()
	s := share{sharingtest.Start(t, sharingtest.Options{PageFiles: 2})}
	s.Exec(t, `CREATE TABLE customers AS SELECT i AS id, 'User' || i || '@Example.com' AS email, 'First' || i AS first_name, 'Last' AS last_name, 'London' AS city,
		CASE WHEN i % 2 = 0 THEN 'free' ELSE 'pro' END AS plan, CAST(i AS DECIMAL(38,2)) AS ltv, i % 50 AS visits, i % 2 = 0 AS active,
		TIMESTAMPTZ '2024-01-01 00:00:00+00' + INTERVAL (i) MINUTE AS updated_at, 1 AS etl_batch FROM range(1, 3001) AS r(i)`)
	s.Exec(t, `CREATE TABLE order_history AS SELECT i AS order_id, 1 AS version, 1 + i % 3000 AS customer_id, 'paid' AS status, CAST(i / 4 AS DECIMAL(12,2)) AS total, 'EUR' AS currency,
		TIMESTAMPTZ '2025-01-01 00:00:00+00' + INTERVAL (i) SECOND AS placed_at, 'https://shop.example/' || i AS landing_url, {'gift': true, 'lines': [1, 2.5]} AS props,
		TIMESTAMPTZ '2025-01-01 00:00:00+00' + INTERVAL (i) SECOND AS loaded_at FROM range(5000) AS r(i)`)
	s.Exec(t, `CREATE TABLE members AS SELECT i AS id, 'gold' AS level FROM range(1, 101) AS r(i)`)
	return s
}

// documents answers the example documents over this share, and a mirror of a table.
func (s share) documents(t *testing.T) string {
	t.Helper()
	example, err := os.ReadFile("../config/testdata/shop.yaml")
	require.NoError(t, err)
	text, _, _ := strings.Cut(string(example), "---\nkind: Connection\nid: app_db")
	text = strings.Replace(text, "schedule: {every: hourly, start: 2026-01-01T00:15:00Z}", "schedule: {on_demand: {}}", 1)
	text = strings.Replace(text, "duckdb: {path: ./shop.duckdb}", fmt.Sprintf(`delta_sharing:
  share: %s
  schema: %s
  profile: '%s'`, sharingtest.Share, sharingtest.Schema, s.Profile()), 1)
	require.Contains(t, text, "delta_sharing:")
	return text + `---
kind: DataModel
id: members
connection: shop
record_kind: users
table: members
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

// TestDeltaSharing runs the example documents of a shop over a share: users and events incrementally, and a table mirrored
// in the versions that its runs were planned in.
func TestDeltaSharing(t *testing.T) {
	s := newShare(t)
	m := startOne(t, databases{})
	m.apply(t, t.TempDir(), s.documents(t))

	r := m.run(t, "customers")
	require.EqualValues(t, 3000, r.GetCounts().GetCreated())
	p := m.profile(t, "email", "user7@example.com")
	require.Equal(t, "pro", p.GetUserAttributes().GetFields()["plan.tier"].GetStringValue())
	require.Equal(t, "7.00", p.GetUserAttributes().GetFields()["ltv"].GetStringValue())
	s.requireTagged(t, r)

	s.Exec(t, `UPDATE customers SET plan = 'gone pro', updated_at = updated_at + INTERVAL 30 DAY WHERE id = 7`)
	s.ExpireLinks()
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
	s.Exec(t, `DELETE FROM members WHERE id <= 5; UPDATE members SET level = 'silver' WHERE id = 6`)
	r = m.run(t, "members")
	require.EqualValues(t, 5, r.GetCounts().GetDeleted())
	require.EqualValues(t, 1, r.GetCounts().GetUpdated())
	require.Equal(t, []int64{0, 1}, s.versions("members"))
}

// requireTagged holds that a run's requests carry its label.
func (s share) requireTagged(t *testing.T, r *schedulerv1.Run) {
	t.Helper()
	for _, q := range s.Queries() {
		if strings.Contains(q.Agent, r.GetId()) {
			return
		}
	}
	require.Fail(t, "no request carries the run's label")
}

// versions answers the versions of a table that rows were read in, in order.
func (s share) versions(table string) []int64 {
	var out []int64
	for _, q := range s.Queries() {
		if q.Table == table && q.Version != nil && (len(out) == 0 || out[len(out)-1] != *q.Version) {
			out = append(out, *q.Version)
		}
	}
	return out
}
