package e2e_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"

	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/testenv"
)

// dry makes a trigger one of a dry run.
func dry(r *schedulerv1.TriggerRunRequest) { r.DryRun = true }

// rehearse makes a dry run and answers it. Nothing that is stored may change by it, nor anything of the sync.
func (m mesh) rehearse(t *testing.T, sync string, hows ...how) *schedulerv1.Run {
	t.Helper()
	before, was := m.digest(t), m.sync(t, sync)
	r := m.end(t, m.trigger(t, sync, append(hows, dry)...))
	requireState(t, r, schedulerv1.RunState_RUN_STATE_REHEARSED)
	require.True(t, r.GetDryRun())
	require.True(t, proto.Equal(before, m.digest(t)), "a dry run of %s has changed what is stored", sync)
	require.Equal(t, prototext.Format(was), prototext.Format(m.sync(t, sync)))
	return r
}

// tried makes a dry run and then the run, which must count the same in the same window, and answers both.
func (m mesh) tried(t *testing.T, sync string, hows ...how) (tried, done *schedulerv1.Run) {
	t.Helper()
	tried = m.rehearse(t, sync, hows...)
	done = m.pastGuard(t, m.trigger(t, sync, hows...))
	require.Equal(t, prototext.Format(done.GetCounts()), prototext.Format(tried.GetCounts()), sync)
	require.Equal(t, prototext.Format(done.GetWindow()), prototext.Format(tried.GetWindow()), "the checkpoint was not moved")
	require.Equal(t, done.GetCertificate().GetRowsDigest(), tried.GetCertificate().GetRowsDigest())
	return tried, done
}

// pastGuard waits for a run's end, past a guard.
func (m mesh) pastGuard(t *testing.T, id string) *schedulerv1.Run {
	t.Helper()
	r := m.end(t, id)
	if r.GetState() == schedulerv1.RunState_RUN_STATE_HELD {
		m.approve(t, id)
		r = m.end(t, id)
	}
	require.Contains(t, []schedulerv1.RunState{schedulerv1.RunState_RUN_STATE_SUCCEEDED, schedulerv1.RunState_RUN_STATE_PARTIALLY_SUCCEEDED}, r.GetState(), "%v", r)
	return r
}

// effects answers what the samples of a run are of.
func effects(r *schedulerv1.Run) map[string][]string {
	out := map[string][]string{}
	for _, s := range r.GetSamples() {
		out[s.GetEffect()] = append(out[s.GetEffect()], strings.Join(s.GetKeyValues(), "/"))
	}
	return out
}

const moreKinds = `
---
kind: DataModel
id: members
connection: shop
record_kind: users
sql: SELECT id, email, plan, updated_at FROM members
key_columns: [id]
iterator: {column: updated_at, type: timestamp, time_zone: UTC}
---
kind: Mapping
id: members
rules:
  - object: user_identities
    rules:
      - {column: id, to: customer_id, type: string}
      - {column: email, to: email}
  - {column: plan, to: user_attributes.plan, type: integer}
---
kind: Sync
id: members
data_model: members
mapping: members
mode: incremental
lookback: 10m
reject_limit: {percent: 100, of: 1000}
state: active
---
kind: Sync
id: mirrored
data_model: people
mode: mirror
state: active
---
kind: Sync
id: moved
data_model: orders
mapping: orders
mode: mirror
state: active
---
kind: Sync
id: titles
data_model: products
mode: mirror
state: active
`

// TestADryRunCountsWhatTheRunCounts tries each kind and mode out before it runs, over a source that changes: rows that are
// new, changed, gone, that share a key or an identity with a row of another batch, and rows that can not be mapped.
func TestADryRunCountsWhatTheRunCounts(t *testing.T) {
	t.Parallel()
	for name, d := range map[string]databases{"pebble": {}, "postgres": {store: testenv.Postgres(t)}} {
		t.Run(name, func(t *testing.T) { countsTheSame(t, startOne(t, d).in("dry")) })
	}
}

func countsTheSame(t *testing.T, m mesh) {
	w := warehouse{path: t.TempDir() + "/shop.duckdb"}
	w.exec(t,
		`CREATE TABLE companies AS SELECT 'c' || i AS id, 'Company ' || i AS name, i AS seats FROM range(300) t(i)`,
		`INSERT INTO companies SELECT 'c' || i, 'Company ' || i, i FROM range(10) t(i)`,
		`CREATE TABLE people AS SELECT 'p' || (i % 250) AS customer_id, ['c' || (i % 250 % 3)] AS company FROM range(300) t(i)`,
		`CREATE TABLE products AS SELECT 's' || i AS sku, 'Product ' || i AS title FROM range(300) t(i)`,
		`CREATE TABLE orders AS SELECT i AS id, 'p' || (i % 280) AS customer_id, TIMESTAMP '2026-01-01' + INTERVAL (i) HOUR AS ordered_at, 's' || i AS sku FROM range(300) t(i)`,
		`CREATE TABLE plans AS SELECT 'p' || (i % 100) AS customer_id, DATE '2025-01-01' + CAST(i AS INTEGER) AS since, 'plan' || (i % 4) AS plan FROM range(300) t(i)`,
		`CREATE TABLE members AS SELECT CASE WHEN i % 50 = 0 THEN 'null' ELSE 'm' || i END AS id, 'mail' || (i % 200) || '@x' AS email,
			CASE WHEN i % 60 = 0 THEN 'none' ELSE CAST(i AS TEXT) END AS plan, TIMESTAMP '2025-01-01' + INTERVAL (i) MINUTE AS updated_at FROM range(300) t(i)`)
	m.apply(t, "", fmt.Sprintf(kinds, w.path)+moreKinds)
	syncs := []string{"companies", "people", "products", "orders", "plans", "members", "mirrored", "moved", "titles"}
	for _, sync := range syncs {
		m.tried(t, sync)
	}
	tried, _ := m.tried(t, "members", full)
	require.Positive(t, tried.GetCounts().GetRejected())
	require.Positive(t, tried.GetCounts().GetBlocked())
	require.NotEmpty(t, effects(tried)["rejected"])
	require.Len(t, tried.GetRejectReasons(), 1)
	require.Equal(t, "plan", tried.GetRejectReasons()[0].GetColumn())
	require.Equal(t, tried.GetCounts().GetRejected(), tried.GetRejectReasons()[0].GetRejects())

	w.exec(t,
		`DELETE FROM companies WHERE seats % 7 = 0`, `UPDATE companies SET name = 'New' WHERE seats % 5 = 0`,
		`INSERT INTO people SELECT 'p' || i, ['c' || (i % 3)] FROM range(240, 330) t(i)`, `DELETE FROM people WHERE customer_id IN ('p1', 'p2')`,
		`DELETE FROM products WHERE sku LIKE 's1%'`, `UPDATE products SET title = 'New' WHERE sku = 's2'`,
		`DELETE FROM orders WHERE id < 10`, `UPDATE orders SET customer_id = 'p5' WHERE id % 11 = 0`, `INSERT INTO orders SELECT * FROM orders WHERE id > 250`,
		`DELETE FROM plans WHERE plan = 'plan1'`, `UPDATE plans SET plan = 'gold' WHERE customer_id = 'p9'`,
		`UPDATE members SET plan = '7', updated_at = TIMESTAMP '2025-03-01' + INTERVAL (length(email)) MINUTE WHERE id LIKE 'm1%'`,
		`INSERT INTO members SELECT 'n' || (i % 90), 'mail' || i || '@x', '1', TIMESTAMP '2025-04-01' + INTERVAL (i) SECOND FROM range(150) t(i)`)
	for _, sync := range syncs {
		tried, done := m.tried(t, sync)
		c := tried.GetCounts()
		for effect, n := range map[string]int64{"created": c.GetCreated(), "updated": c.GetUpdated(), "deleted": c.GetDeleted()} {
			require.Equal(t, n > 0, len(effects(tried)[effect]) > 0, "%s of %s: %v", effect, sync, tried)
		}
		require.NotContains(t, strings.Join(effects(tried)["deleted"], " "), "row key", "rows that are gone are shown by their key values")
		if done.GetHold() != nil {
			require.NotEmpty(t, done.GetHold().GetSamples(), sync)
			require.Contains(t, strings.Join(tried.GetNotices(), "\n"), "the run would be held: the guard is breached", sync)
		}
	}
	require.Zero(t, m.rehearse(t, "products").GetCounts().GetDeleted(), "what the table lacked is gone from it")
	for _, sync := range syncs {
		c := m.rehearse(t, sync, full).GetCounts()
		require.Zero(t, c.GetCreated()+c.GetDeleted(), "%s: %v", sync, c)
	}
}

// TestADryRunLeavesTheSyncAlone says what a dry run is beside other runs of its sync, and what it does not go with.
func TestADryRunLeavesTheSyncAlone(t *testing.T) {
	m := startOne(t, databases{}).in("alone")
	w := newWarehouse(t, 3000)
	m.apply(t, "", w.documents("customers", asIs))
	m.rehearse(t, "customers")
	first := m.run(t, "customers")
	require.EqualValues(t, 3000, first.GetCounts().GetCreated())
	require.Empty(t, first.GetWindow().GetLow(), "it is the sync's first run all the same")

	trigger := func(hows ...how) error {
		req := &schedulerv1.TriggerRunRequest{Workspace: m.workspace, Sync: "customers", DryRun: true}
		for _, h := range hows {
			h(req)
		}
		_, err := m.scheduler.TriggerRun(t.Context(), req)
		return fault.FromStatus(err)
	}
	err := trigger(func(r *schedulerv1.TriggerRunRequest) { r.Resync = true })
	require.Equal(t, fault.Invalid, fault.ClassOf(err))
	require.Equal(t, "dry_run", fault.As(err).Violations[0].Field)

	w.exec(t, "UPDATE customers SET plan = 'gold', updated_at = TIMESTAMP '2025-01-01' WHERE id <= 10")
	open := m.trigger(t, "customers", full, dry)
	err = trigger()
	if fault.ReasonOf(err) == fault.ReasonRunOpen { // unless it was over already
		require.Equal(t, open, fault.As(err).Metadata["run"])
	}
	_, err = m.scheduler.CancelRun(t.Context(), &schedulerv1.CancelRunRequest{Workspace: m.workspace, Id: open})
	if err == nil {
		again, err := m.scheduler.RetryRun(t.Context(), &schedulerv1.RetryRunRequest{Workspace: m.workspace, Id: open})
		require.NoError(t, err)
		require.True(t, again.GetRun().GetDryRun(), "a dry run that is retried is a dry run")
		require.Equal(t, open, again.GetRun().GetRetryOf())
		r := m.end(t, again.GetRun().GetId())
		requireState(t, r, schedulerv1.RunState_RUN_STATE_REHEARSED)
		require.EqualValues(t, 10, r.GetCounts().GetUpdated())
		require.EqualValues(t, 2990, r.GetCounts().GetUnchanged())
	}
	tried, done := m.tried(t, "customers")
	require.EqualValues(t, 10, done.GetCounts().GetUpdated())
	require.Len(t, effects(tried)["updated"], 5)
	listed, err := m.scheduler.ListRuns(t.Context(), &schedulerv1.ListRunsRequest{Workspace: m.workspace, Sync: "customers", Filter: "state=rehearsed"})
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(listed.GetRuns()), 2)
}

// TestADryRunOutlivesAKill kills the one process in the middle of a dry run: it goes on under its id and counts what the
// run counts.
func TestADryRunOutlivesAKill(t *testing.T) {
	const n = 100_000
	c, m := oneChild(t)
	c.start(t)
	c.ready(t)
	w := newWarehouse(t, n)
	w.exec(t, "UPDATE customers SET email = 'shared' || (id % 70000) || '@x' WHERE id % 3 = 0")
	m.apply(t, "", w.documents("customers", asIs))
	before := m.digest(t)
	id := m.trigger(t, "customers", dry)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	m.until(ctx, t, id, func(r *schedulerv1.Run) bool {
		require.False(t, over(r), "the dry run ended before it could be killed")
		return r.GetIngestedRows() > 0
	})
	c.kill(t)
	c.start(t)
	c.ready(t)
	tried := m.end(t, id)
	requireState(t, tried, schedulerv1.RunState_RUN_STATE_REHEARSED)
	require.True(t, proto.Equal(before, m.digest(t)))
	done := m.run(t, "customers")
	require.Equal(t, prototext.Format(done.GetCounts()), prototext.Format(tried.GetCounts()))
}
