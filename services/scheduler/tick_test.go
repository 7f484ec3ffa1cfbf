package scheduler_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	configv1 "millrace.dev/gen/millrace/config/v1"
	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
	"millrace.dev/pkg/fault"
)

// scheduleIt gives a sync a schedule.
func (m *mesh) scheduleIt(name string, change func(*configv1.ScheduledSync)) {
	y, _ := proto.Clone(m.config.get(name)).(*configv1.ScheduledSync)
	change(y)
	m.config.put(y)
}

func every(text string, start time.Time) *configv1.Schedule {
	return &configv1.Schedule{When: &configv1.Schedule_Every{Every: &configv1.Every{Every: text, Start: timestamppb.New(start)}}}
}

func after(syncs ...string) *configv1.Schedule {
	return &configv1.Schedule{When: &configv1.Schedule_After{After: &configv1.After{Syncs: syncs}}}
}

func (m *mesh) list(filter string) []*schedulerv1.Run {
	m.t.Helper()
	resp, err := m.runs.ListRuns(m.t.Context(), &schedulerv1.ListRunsRequest{Filter: filter})
	require.NoError(m.t, err)
	return resp.GetRuns()
}

func TestMissedTicksCollapseIntoOneRun(t *testing.T) {
	onBoth(t, func(t *testing.T, sql string) {
		m := start(t, sql, quick())
		o := m.another(quick()) // two processes take one tick
		require.NotNil(t, o)
		m.scheduleIt("orders", func(y *configv1.ScheduledSync) { y.Schedule = every("10m", time.Now().Add(-55*time.Minute)) })
		m.until("a run is due", func() bool { return len(m.list("reason=scheduled")) == 1 })
		r := m.list("")[0]
		m.succeeds(r.GetId(), "10")
		m.scheduleIt("orders", func(y *configv1.ScheduledSync) { y.Schedule = every("1d", time.Now().Add(-30*time.Minute)) })
		m.never("five ticks were missed, and one run made up for them", func() bool { return len(m.list("")) > 1 })
	})
}

func TestTicksBeforeActivationAreNotMissed(t *testing.T) {
	m := start(t, "sqlite:"+t.TempDir()+"/c.db", quick())
	m.scheduleIt("orders", func(y *configv1.ScheduledSync) {
		y.Schedule, y.ActiveSince = every("1h", time.Now().Add(-90*time.Minute)), timestamppb.Now()
	})
	m.never("the tick of 30 minutes ago lies before the activation", func() bool { return len(m.list("")) > 0 })
	m.scheduleIt("orders", func(y *configv1.ScheduledSync) {
		y.Schedule = &configv1.Schedule{When: &configv1.Schedule_Once{Once: timestamppb.New(time.Now().Add(200 * time.Millisecond))}}
	})
	m.until("its time has come", func() bool { return len(m.list("reason=scheduled")) == 1 })
	m.succeeds(m.list("")[0].GetId(), "1")
	m.never("once is once", func() bool { return len(m.list("")) > 1 })
}

func TestOnlyActiveHealthySyncsTakeTicks(t *testing.T) {
	m := start(t, "sqlite:"+t.TempDir()+"/c.db", quick())
	due := every("1h", time.Now().Add(-30*time.Minute))
	m.scheduleIt("orders", func(y *configv1.ScheduledSync) {
		y.Schedule, y.Status = due, configv1.SyncStatus_SYNC_STATUS_FAULTED
	})
	paused := sync1("paused")
	paused.Schedule, paused.State = due, configv1.SyncState_SYNC_STATE_PAUSED
	m.config.put(paused)
	m.rounds()
	m.never("neither takes ticks", func() bool { return len(m.list("")) > 0 })
	m.scheduleIt("orders", func(y *configv1.ScheduledSync) { y.Status = configv1.SyncStatus_SYNC_STATUS_HEALTHY })
	m.never("ticks of the time when it was faulted are gone", func() bool { return len(m.list("")) > 0 })
	m.scheduleIt("orders", func(y *configv1.ScheduledSync) { y.Schedule = every("1h", time.Now().Add(-time.Minute)) })
	m.until("a later tick counts", func() bool { return len(m.list("")) == 1 })
}

func TestASyncIsDueAfterEachOfOthersHasSucceeded(t *testing.T) {
	onBoth(t, func(t *testing.T, sql string) {
		m := start(t, sql, quick())
		m.config.put(sync1("customers"))
		third := sync1("report")
		third.Schedule = after("orders", "customers")
		m.config.put(third)
		m.succeeds(m.trigger(&schedulerv1.TriggerRunRequest{Sync: "orders"}).GetId(), "1")
		m.never("customers has not succeeded", func() bool { return len(m.list("reason=scheduled")) > 0 })
		m.succeeds(m.trigger(&schedulerv1.TriggerRunRequest{Sync: "customers"}).GetId(), "1")
		m.until("both have", func() bool { return len(m.list("reason=scheduled")) == 1 })
		r := m.list("reason=scheduled")[0]
		require.Equal(t, "report", r.GetSync())
		m.succeeds(r.GetId(), "1")
		m.succeeds(m.trigger(&schedulerv1.TriggerRunRequest{Sync: "customers"}).GetId(), "2")
		m.never("orders has not succeeded since", func() bool { return len(m.list("reason=scheduled")) > 1 })
		m.succeeds(m.trigger(&schedulerv1.TriggerRunRequest{Sync: "orders"}).GetId(), "2")
		m.until("both have again", func() bool { return len(m.list("reason=scheduled")) == 2 })
	})
}

func TestTheFirstRunMakesWayWhenALaterOneIsDue(t *testing.T) {
	onBoth(t, func(t *testing.T, sql string) {
		m := start(t, sql, quick())
		first := m.trigger(&schedulerv1.TriggerRunRequest{})
		due := every("1h", time.Now().Add(-30*time.Minute))
		m.scheduleIt("orders", func(y *configv1.ScheduledSync) { y.Schedule = due })
		m.never("it is not planned: nobody knows where the live lane is to start", func() bool { return len(m.list("")) > 1 })
		m.scheduleIt("orders", func(y *configv1.ScheduledSync) { y.Schedule = nil })
		m.rounds() // no look is under way that knows the old schedule
		m.plan("100", "50", "100")
		h1, h2 := m.lease(), m.lease()
		m.scheduleIt("orders", func(y *configv1.ScheduledSync) { y.Schedule = due })
		m.until("the later run is there", func() bool { return len(m.list("lane=live")) == 1 && len(m.list("lane=history")) == 1 })
		second := m.list("lane=live")[0]
		require.Equal(t, schedulerv1.RunReason_RUN_REASON_SCHEDULED, second.GetReason())
		require.Equal(t, schedulerv1.Lane_LANE_HISTORY, m.run(first.GetId()).GetWindow().GetLane())

		l := m.lease()
		require.Equal(t, second.GetId(), l.GetRun())
		require.Equal(t, "100", l.GetCheckpoint(), "the live lane starts at the first run's watermark")
		_, err := m.runs.TriggerRun(t.Context(), &schedulerv1.TriggerRunRequest{Sync: "orders"})
		require.Equal(t, second.GetId(), fault.As(fault.FromStatus(err)).Metadata["run"], "the live lane's run is the one that is open")
		require.NoError(t, m.reportPlan(l, "110", "110"))
		m.whole(m.lease(), 1)
		m.reaches(second.GetId(), schedulerv1.RunState_RUN_STATE_SUCCEEDED)

		third := m.trigger(&schedulerv1.TriggerRunRequest{})
		l = m.lease()
		require.Equal(t, "110", l.GetCheckpoint())
		m.whole(h1, 1) // meanwhile the first run ends; it moves no checkpoint
		m.whole(h2, 1)
		m.reaches(first.GetId(), schedulerv1.RunState_RUN_STATE_SUCCEEDED)
		require.NoError(t, m.reportPlan(l, "", ""))
		require.NoError(t, m.complete(m.lease(), 0, 0))
		m.reaches(third.GetId(), schedulerv1.RunState_RUN_STATE_SUCCEEDED)
		m.trigger(&schedulerv1.TriggerRunRequest{})
		require.Equal(t, "110", m.lease().GetCheckpoint())
	})
}

func TestAFailedHistoryRunLeavesTheLiveLaneAndIsRetriedInItsOwn(t *testing.T) {
	m := start(t, "sqlite:"+t.TempDir()+"/c.db", quick())
	first := m.trigger(&schedulerv1.TriggerRunRequest{})
	m.plan("100", "100")
	h := m.lease()
	m.scheduleIt("orders", func(y *configv1.ScheduledSync) { y.Schedule = every("1h", time.Now().Add(-30*time.Minute)) })
	m.until("the later run is there", func() bool { return len(m.list("lane=history")) == 1 })
	live := m.list("lane=live")[0]
	for try := range 5 {
		m.fails(h, false, fault.ReasonWarehouseUnavailable)
		for try < 4 {
			if l := m.lease(); l.GetRun() == first.GetId() {
				h = l
				break
			}
		}
	}
	m.reaches(first.GetId(), schedulerv1.RunState_RUN_STATE_FAILED)
	m.until("the sync says so", func() bool { return m.config.status("orders") != nil })
	require.Equal(t, configv1.SyncStatus_SYNC_STATUS_HEALTHY, m.config.status("orders").GetStatus())
	require.Contains(t, m.config.status("orders").GetReason(), first.GetId())
	require.NotEqual(t, schedulerv1.RunState_RUN_STATE_FAILED, m.run(live.GetId()).GetState())
	again, err := m.retry(first.GetId())
	require.NoError(t, err)
	require.Equal(t, schedulerv1.Lane_LANE_HISTORY, again.GetLane())
}

// rounds waits until a look at what is due has begun and ended.
func (m *mesh) rounds() {
	m.t.Helper()
	ended := func() (n float64) {
		families, err := m.meters.Gather()
		require.NoError(m.t, err)
		for _, f := range families {
			if f.GetName() != "millrace_scheduler_ticks_total" {
				continue
			}
			for _, x := range f.GetMetric() {
				n += x.GetCounter().GetValue()
			}
		}
		return n
	}
	before := ended()
	m.until("two looks have ended", func() bool { return ended() >= before+2 })
}
