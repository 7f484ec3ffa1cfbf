package e2e_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	configv1 "millrace.dev/gen/millrace/config/v1"
	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
)

// marketRows is how many rows the warehouse has: about 48 MB, in four parts and eighty batches. What a part has left where
// a test stops it is more than sockets hold.
const marketRows = 8_000

// calm runs a sync in a workspace of its own, undisturbed.
func calm(t *testing.T, m mesh, documents string) *schedulerv1.Run {
	t.Helper()
	m = m.in("calm")
	m.apply(t, "", documents)
	r := m.run(t, "customers")
	require.EqualValues(t, marketRows, r.GetCounts().GetCreated())
	return r
}

// requireLike says that a disturbed run counted what an undisturbed one did, and that the store has it once.
func requireLike(t *testing.T, m mesh, want, got *schedulerv1.Run) {
	t.Helper()
	requireState(t, got, schedulerv1.RunState_RUN_STATE_SUCCEEDED)
	require.Equal(t, want.GetCounts().String(), got.GetCounts().String())
	require.Equal(t, want.GetCertificate().GetRowsDigest(), got.GetCertificate().GetRowsDigest())
	require.Equal(t, want.GetCounts().GetRead(), m.digest(t).GetProfiles())
}

// tries answers how often the parts of a run have failed.
func tries(parts []*schedulerv1.Part) int32 {
	n := int32(0)
	for _, p := range parts {
		n += p.GetTries()
	}
	return n
}

// TestF34TheWarehousesConnectionDrops cuts the connection in the middle of the result, and has the server hang up. The
// part is read again, and nothing is doubled.
func TestF34TheWarehousesConnectionDrops(t *testing.T) {
	t.Parallel()
	m := startOne(t, databases{})
	s := newMarket(t, marketRows)
	want := calm(t, m, s.documents(t, "customers", "first"))

	t.Run("cut in the middle of a message", func(t *testing.T) {
		m := m.in("cut")
		m.apply(t, "", s.documents(t, "customers", "first"))
		s.cut(5_000_001, 2)
		id := m.trigger(t, "customers")
		r := m.end(t, id)
		require.Zero(t, s.cutting(), "both cuts were made")
		requireLike(t, m, want, r)
		require.Positive(t, tries(m.allParts(t, id)), "a lost connection is a try")
	})
	t.Run("the server hangs up", func(t *testing.T) {
		m := m.in("terminated")
		m.apply(t, "", s.documents(t, "customers", "first"))
		s.stop(5_000_000)
		id := m.trigger(t, "customers")
		eventually(t, "the read is held", s.holds)
		s.hangUp(t)
		s.open()
		r := m.end(t, id)
		requireLike(t, m, want, r)
		require.Positive(t, tries(m.allParts(t, id)))
	})
}

// TestF35TheWarehouseRefuses makes the warehouse end statements, have no connection left, be away and lock Millrace out.
// The run waits or fails by class, and goes on where it stopped.
func TestF35TheWarehouseRefuses(t *testing.T) {
	t.Parallel()
	m := startOne(t, databases{})
	s := newMarket(t, marketRows)
	want := calm(t, m, s.documents(t, "customers", "first"))

	t.Run("statement time-out", func(t *testing.T) {
		m := m.in("timeout")
		s.more = ", statement_timeout: 8s"
		defer func() { s.more = "" }()
		m.apply(t, "", sleepy(s.documents(t, "customers", "first")))
		s.exec(t, "UPDATE nap SET seconds = 60")
		id := m.trigger(t, "customers")
		p := m.part(t, id, func(p *schedulerv1.Part) bool { return p.GetTries() > 0 && p.GetError() != nil })
		require.Equal(t, "query_interrupted", p.GetError().GetReason())
		require.Contains(t, p.GetError().GetMessage(), "statement_timeout")
		s.exec(t, "UPDATE nap SET seconds = 0")
		requireLike(t, m, want, m.end(t, id))
	})
	t.Run("no connection left", func(t *testing.T) {
		m := m.in("quota")
		s.exec(t, "ALTER ROLE "+s.user+" CONNECTION LIMIT 0")
		m.apply(t, "", s.documents(t, "customers", "first"))
		id := m.trigger(t, "customers")
		p := m.part(t, id, func(p *schedulerv1.Part) bool { return p.GetError() != nil })
		require.Equal(t, "warehouse_throttled", p.GetError().GetReason())
		require.Zero(t, p.GetTries(), "to wait is no try")
		s.exec(t, "ALTER ROLE "+s.user+" CONNECTION LIMIT -1")
		requireLike(t, m, want, m.end(t, id))
		require.Zero(t, tries(m.allParts(t, id)))
	})
	t.Run("away for a while", func(t *testing.T) {
		m := m.in("away")
		m.apply(t, "", s.documents(t, "customers", "first"))
		s.stop(5_000_000)
		id := m.trigger(t, "customers")
		eventually(t, "the read is held", s.holds)
		s.shut()
		alone := m.part(t, id, func(p *schedulerv1.Part) bool {
			return strings.Contains(p.GetError().GetMessage(), "it is let alone until")
		})
		require.Equal(t, "warehouse_unavailable", alone.GetError().GetReason())
		spent := tries(m.allParts(t, id))
		require.LessOrEqual(t, spent, int32(4))
		s.open()
		requireLike(t, m, want, m.end(t, id))
	})
	t.Run("locked out", func(t *testing.T) {
		m := m.in("denied")
		m.apply(t, "", s.documents(t, "customers", "first"))
		s.stop(18_000_000)
		id := m.trigger(t, "customers")
		eventually(t, "the read is held", s.holds)
		eventually(t, "a part is complete", func() bool { return complete(m.allParts(t, id)) > 1 })
		s.exec(t, "ALTER ROLE "+s.user+" NOLOGIN")
		s.hangUp(t)
		s.open()
		failed := m.end(t, id)
		require.Equal(t, schedulerv1.RunState_RUN_STATE_FAILED, failed.GetState())
		require.Equal(t, "warehouse_denied", failed.GetError().GetReason())
		eventually(t, "the sync is faulted", func() bool {
			return m.sync(t, "customers").GetStatus() == configv1.SyncStatus_SYNC_STATUS_FAULTED
		})
		require.Contains(t, m.sync(t, "customers").GetStatusNextStep(), "mend the connection's credentials")
		done := complete(m.allParts(t, id))

		s.exec(t, "ALTER ROLE "+s.user+" LOGIN PASSWORD 'second'")
		m.apply(t, "", s.documents(t, "customers", "second"))
		res, err := m.scheduler.RetryRun(t.Context(), &schedulerv1.RetryRunRequest{Workspace: m.workspace, Id: id})
		require.NoError(t, err)
		require.GreaterOrEqual(t, complete(m.allParts(t, res.GetRun().GetId())), done, "the finished parts are adopted")
		requireLike(t, m, want, m.end(t, res.GetRun().GetId()))
		eventually(t, "the sync is healthy", func() bool {
			return m.sync(t, "customers").GetStatus() == configv1.SyncStatus_SYNC_STATUS_HEALTHY
		})
	})
}

// complete answers how many parts are.
func complete(parts []*schedulerv1.Part) int {
	n := 0
	for _, p := range parts {
		if p.GetState() == schedulerv1.PartState_PART_STATE_COMPLETE {
			n++
		}
	}
	return n
}

// TestCancelEndsTheWarehousesStatement cancels runs and a preview while the warehouse works for them.
func TestCancelEndsTheWarehousesStatement(t *testing.T) {
	m := startOne(t, databases{})
	cancelled := func(t *testing.T, m mesh, id string) {
		t.Helper()
		_, err := m.scheduler.CancelRun(t.Context(), &schedulerv1.CancelRunRequest{Workspace: m.workspace, Id: id})
		require.NoError(t, err)
		require.Equal(t, schedulerv1.RunState_RUN_STATE_CANCELLED, m.end(t, id).GetState())
	}
	s := newMarket(t, marketRows)
	t.Run("postgres reading", func(t *testing.T) {
		m := m.in("reading")
		m.apply(t, "", s.documents(t, "customers", "first"))
		first := m.run(t, "customers")
		s.stop(5_000_000)
		id := m.trigger(t, "customers", full)
		eventually(t, "the read is held", s.holds)
		require.Positive(t, s.active(t))
		cancelled(t, m, id)
		eventually(t, "the statement is gone", func() bool { return s.active(t) == 0 })
		s.open()
		again := m.run(t, "customers")
		require.Equal(t, first.GetWindow().GetHigh(), again.GetWindow().GetLow(), "the checkpoint stands")
		require.EqualValues(t, 601, again.GetCounts().GetUnchanged())
	})
	t.Run("postgres planning", func(t *testing.T) {
		m := m.in("planning")
		m.apply(t, "", sleepy(s.documents(t, "customers", "first")))
		s.exec(t, "UPDATE nap SET seconds = 600")
		id := m.trigger(t, "customers")
		eventually(t, "a statement sleeps", func() bool { return s.active(t) > 0 })
		cancelled(t, m, id)
		eventually(t, "the statement is gone", func() bool { return s.active(t) == 0 })
	})
	t.Run("preview whose client leaves", func(t *testing.T) {
		m := m.in("preview")
		s.exec(t, "UPDATE nap SET seconds = 0")
		m.apply(t, "", sleepy(s.documents(t, "customers", "first")))
		s.exec(t, "UPDATE nap SET seconds = 600")
		ctx, leave := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			_, err := m.config.PreviewDataModel(ctx, &configv1.PreviewDataModelRequest{Workspace: m.workspace, Id: "customers"})
			ended <- err
		}()
		eventually(t, "a statement sleeps", func() bool { return s.active(t) > 0 })
		leave()
		require.Error(t, <-ended)
		eventually(t, "the statement is gone", func() bool { return s.active(t) == 0 })
	})
	t.Run("preview out of time", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := m.in("preview").config.PreviewDataModel(ctx, &configv1.PreviewDataModelRequest{Workspace: "preview", Id: "customers"})
		require.Error(t, err)
		eventually(t, "the statement is gone", func() bool { return s.active(t) == 0 })
	})
	t.Run("duckdb", func(t *testing.T) {
		m := m.in("duckdb")
		w := newWarehouse(t, 1000)
		w.exec(t, "CREATE TABLE nap AS SELECT 1::BIGINT AS i")
		m.apply(t, "", strings.Replace(w.documents("customers", asIs), "sql: SELECT * FROM customers",
			"sql: SELECT * FROM customers WHERE id + (SELECT count(*) FROM nap a, nap b, nap c WHERE (a.i + b.i * c.i) % 7 = 1) > 0", 1))
		w.exec(t, "INSERT INTO nap SELECT i FROM range(20000) t(i)")
		id := m.trigger(t, "customers")
		m.part(t, id, func(p *schedulerv1.Part) bool { return p.GetState() == schedulerv1.PartState_PART_STATE_LEASED })
		cancelled(t, m, id)
		eventually(t, "the engine has let the file go", func() bool { return w.writable(t) })
	})
}
