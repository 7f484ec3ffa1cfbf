package scheduler_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/durationpb"

	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
	"millrace.dev/pkg/fault"
	"millrace.dev/services/scheduler"
)

// failsBy plays an attempt that ends because of its warehouse.
func (m *mesh) failsBy(l *schedulerv1.PartLease, c schedulerv1.FailureClass, after time.Duration) {
	m.t.Helper()
	reason := fault.ReasonWarehouseUnavailable
	if c == schedulerv1.FailureClass_FAILURE_CLASS_THROTTLED {
		reason = fault.ReasonWarehouseThrottled
	}
	require.NoError(m.t, m.ends(&schedulerv1.CompletePartRequest{
		Run: l.GetRun(), Part: l.GetPart(), Epoch: l.GetEpoch(), Failure: c, RetryAfter: durationpb.New(after),
		Error: &schedulerv1.RunError{Reason: reason.Word(), Message: "it gives no answer"},
	}))
}

const (
	asksToWait  = schedulerv1.FailureClass_FAILURE_CLASS_THROTTLED
	unreachable = schedulerv1.FailureClass_FAILURE_CLASS_UNAVAILABLE
)

func TestAWarehouseThatAsksToWaitFailsNoTry(t *testing.T) {
	onBoth(t, func(t *testing.T, sql string) {
		m := start(t, sql, quick())
		r := m.trigger(&schedulerv1.TriggerRunRequest{})
		m.failsBy(m.lease(), asksToWait, time.Millisecond)
		p := m.part(r.GetId(), 0)
		require.Equal(t, schedulerv1.PartState_PART_STATE_WAITING, p.GetState())
		require.Equal(t, "warehouse_throttled", p.GetError().GetReason())
		require.Contains(t, p.GetError().GetMessage(), "it gives no answer; part 0 is read from ")
		require.Equal(t, []string{p.GetError().GetMessage()}, m.run(r.GetId()).GetWaitingFor())
		m.plan("10", "10") // a second later
		for range 7 {      // more often than a part may fail; without a time it is asked again by backoff
			m.failsBy(m.lease(), asksToWait, 0)
		}
		l := m.lease()
		require.Zero(t, m.part(r.GetId(), 1).GetTries())
		require.Nil(t, m.part(r.GetId(), 1).GetError())
		m.whole(l, 1)
		m.reaches(r.GetId(), schedulerv1.RunState_RUN_STATE_SUCCEEDED)
	})
}

// cautious lets a warehouse alone after three failures, until somebody asks for a run.
func cautious() scheduler.Settings {
	set := quick()
	set.BreakerAfter, set.BreakerCoolOff, set.BreakerMost = 3, time.Hour, time.Hour
	return set
}

// reading starts a run of a new sync that reads from a connection.
func (m *mesh) reading(sync, connection string) *schedulerv1.Run {
	m.t.Helper()
	y := sync1(sync)
	y.Connection = connection
	m.config.put(y)
	return m.trigger(&schedulerv1.TriggerRunRequest{Sync: sync})
}

// leaseOf waits for a part of a run, and gives back what else it gets.
func (m *mesh) leaseOf(runID string) *schedulerv1.PartLease {
	m.t.Helper()
	l := m.lease()
	for ; l.GetRun() != runID; l = m.lease() {
		m.release(l)
	}
	return l
}

func (m *mesh) release(l *schedulerv1.PartLease) {
	m.t.Helper()
	require.NoError(m.t, m.ends(&schedulerv1.CompletePartRequest{Run: l.GetRun(), Part: l.GetPart(), Epoch: l.GetEpoch(), Released: true}))
}

// openBreakers answers the figure that operators watch.
func (m *mesh) openBreakers() float64 {
	m.t.Helper()
	families, err := m.meters.Gather()
	require.NoError(m.t, err)
	for _, f := range families {
		if f.GetName() == "millrace_scheduler_open_breakers" {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	require.Fail(m.t, "no such metric")
	return 0
}

func TestAWarehouseThatDoesNotAnswerIsLetAloneButForOneProbe(t *testing.T) {
	onBoth(t, func(t *testing.T, sql string) {
		m := start(t, sql, cautious())
		a := m.reading("a", "down")
		m.reading("b", "down")
		la, lb := m.lease(), m.lease()
		m.failsBy(la, unreachable, 0)
		m.failsBy(lb, unreachable, 0)
		m.failsBy(m.lease(), unreachable, 0)
		m.noLease()
		m.until("it shows", func() bool { return m.openBreakers() == 1 })
		other := m.reading("c", "up")
		lo := m.lease()
		require.Equal(t, other.GetId(), lo.GetRun(), "other warehouses are read from")
		require.NoError(t, m.reportPlan(lo, "10", "10"))
		require.Equal(t, other.GetId(), m.lease().GetRun())
		m.noLease()
		require.Contains(t, m.part(a.GetId(), 0).GetError().GetMessage(), "the warehouse of connection default/down does not answer")
		require.Len(t, m.run(a.GetId()).GetWaitingFor(), 1)
		require.Empty(t, m.run(other.GetId()).GetWaitingFor())

		another := m.another(cautious())
		c := another.reading("d", "down") // an owner who asks for a run wants to know now
		probe := m.lease()
		another.noLease()
		m.noLease()
		require.Contains(t, m.part(c.GetId(), 0).GetError().GetMessage(), "probes it")
		m.failsBy(probe, unreachable, 0)
		m.noLease()
		another.reading("e", "down")
		probe = another.lease()
		require.NoError(t, another.reportPlan(probe, "10", "10"))
		for range 4 {
			m.lease() // the rest of the plan, and the other runs
		}
		m.noLease()
		m.until("it shows", func() bool { return m.openBreakers() == 0 })
	})
}

func TestARunAgainstADeadWarehouseFailsAloneAfterItsTries(t *testing.T) {
	set := cautious()
	set.BreakerCoolOff, set.BreakerMost = 10*time.Millisecond, 20*time.Millisecond
	m := start(t, "sqlite:"+t.TempDir()+"/c.db", set)
	a := m.reading("a", "down")
	b := m.reading("b", "down")
	for range 5 {
		m.failsBy(m.leaseOf(a.GetId()), unreachable, 0)
	}
	end := m.reaches(a.GetId(), schedulerv1.RunState_RUN_STATE_FAILED)
	require.Equal(t, "warehouse_unavailable", end.GetError().GetReason())
	require.Contains(t, end.GetError().GetMessage(), "5 times")
	require.Zero(t, m.part(b.GetId(), 0).GetTries(), "the other run has spent nothing")
}

func TestALostProbeIsFollowedByAnother(t *testing.T) {
	set := cautious()
	set.BreakerAfter = 1
	m := start(t, "sqlite:"+t.TempDir()+"/c.db", set)
	r := m.reading("a", "down")
	m.failsBy(m.lease(), unreachable, 0)
	m.reading("b", "down")
	probe := m.lease()
	m.noLease()
	m.release(probe)
	probe = m.leaseOf(r.GetId())
	require.NoError(t, m.reportPlan(probe, "10", "10"))
	m.lease()
}

func TestTheFirstRowsOfAProbeShowThatTheWarehouseAnswers(t *testing.T) {
	set := cautious()
	set.BreakerAfter = 1
	m := start(t, "sqlite:"+t.TempDir()+"/c.db", set)
	m.reading("a", "down")
	require.NoError(t, m.reportPlan(m.lease(), "20", "10", "20"))
	m.failsBy(m.lease(), unreachable, 0)
	m.noLease()
	m.reading("b", "down")
	var probe *schedulerv1.PartLease
	for probe = m.lease(); probe.GetPart() == 0; probe = m.lease() { // the planning of b
		m.release(probe)
		_, err := m.runs.CancelRun(t.Context(), &schedulerv1.CancelRunRequest{Id: probe.GetRun()})
		require.NoError(t, err)
	}
	m.noLease()
	require.NoError(t, m.published(probe, 0, 3))
	m.lease()
}
