package scheduler_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
	"millrace.dev/pkg/fault"
)

func (m *mesh) retry(runID string) (*schedulerv1.Run, error) {
	resp, err := m.runs.RetryRun(m.t.Context(), &schedulerv1.RetryRunRequest{Id: runID})
	return resp.GetRun(), err
}

func TestARetryAdoptsThePlanAndTheFinishedParts(t *testing.T) {
	onBoth(t, func(t *testing.T, sql string) {
		m := start(t, sql, quick())
		r1 := m.trigger(&schedulerv1.TriggerRunRequest{})
		m.plan("30", "10", "20", "30")
		a, b, c := m.lease(), m.lease(), m.lease()
		m.whole(a, 2)
		require.NoError(t, m.published(b, 0, 3))
		require.NoError(t, m.ingested(result(b, 0, 0, 0, 3, 0, true)))
		_, err := m.retry(r1.GetId())
		require.Equal(t, fault.ReasonRunState, reasonOf(err), "an open run is not retried")
		m.fails(c, true, fault.ReasonWarehouseDenied)
		m.reaches(r1.GetId(), schedulerv1.RunState_RUN_STATE_FAILED)
		require.EqualValues(t, 2, m.store.fenceOf(r1.GetId(), 2), "what the failed run left under way is over")

		r2, err := m.retry(r1.GetId())
		require.NoError(t, err)
		require.Equal(t, r1.GetId(), r2.GetRetryOf())
		require.Equal(t, schedulerv1.RunReason_RUN_REASON_RETRY, r2.GetReason())
		require.Equal(t, schedulerv1.RunState_RUN_STATE_RUNNING, r2.GetState(), "it is planned already")
		require.EqualValues(t, 6, r2.GetCounts().GetRead())
		require.Equal(t, "30", r2.GetWindow().GetHigh())
		_, err = m.retry(r1.GetId())
		require.Equal(t, fault.ReasonRunOpen, reasonOf(err))

		l2, l3 := m.lease(), m.lease()
		require.EqualValues(t, 2, l2.GetPart(), "the planning and part 1 are done")
		require.EqualValues(t, 1, l2.GetEpoch())
		require.Equal(t, "20", l2.GetRange().GetHigh())
		require.Len(t, l2.GetRetried(), 1)
		require.Equal(t, r1.GetId(), l2.GetRetried()[0].GetRun())
		require.Equal(t, r1.GetRunNo(), l2.GetRetried()[0].GetRunNo())
		require.Equal(t, []uint32{1}, l2.GetRetried()[0].GetAdopted())
		m.whole(l2, 1)
		m.fails(l3, true, fault.ReasonWarehouseDenied)
		m.reaches(r2.GetId(), schedulerv1.RunState_RUN_STATE_FAILED)

		// A retry of the retry: newest first, each with the parts that it read itself.
		r3, err := m.retry(r2.GetId())
		require.NoError(t, err)
		l := m.lease()
		require.EqualValues(t, 3, l.GetPart())
		require.Len(t, l.GetRetried(), 2)
		require.Equal(t, r2.GetId(), l.GetRetried()[0].GetRun())
		require.Equal(t, []uint32{2}, l.GetRetried()[0].GetAdopted())
		require.Equal(t, r1.GetId(), l.GetRetried()[1].GetRun())
		require.Equal(t, []uint32{1}, l.GetRetried()[1].GetAdopted())
		m.whole(l, 1)
		end := m.reaches(r3.GetId(), schedulerv1.RunState_RUN_STATE_SUCCEEDED)
		require.EqualValues(t, 6+3+3, end.GetCounts().GetRead())
		require.EqualValues(t, 3, end.GetParts())
		require.EqualValues(t, 4, end.GetBatches())
		require.True(t, end.GetCertificate().GetBalanced())
		require.EqualValues(t, 3, end.GetRunNo())
		for _, r := range []string{r1.GetId(), r2.GetId(), r3.GetId()} {
			_, err = m.retry(r)
			require.Equal(t, fault.ReasonRunState, reasonOf(err), "done, or overtaken by a success")
		}
		m.trigger(&schedulerv1.TriggerRunRequest{})
		require.Equal(t, "30", m.lease().GetCheckpoint())
	})
}

func TestARetryOfWhatWasAllFinishedClosesAtOnce(t *testing.T) {
	m := start(t, "sqlite:"+t.TempDir()+"/c.db", quick())
	r := m.trigger(&schedulerv1.TriggerRunRequest{})
	m.plan("20", "10", "20")
	a, b := m.lease(), m.lease()
	m.whole(a, 1)
	require.NoError(t, m.published(b, 0, 3))
	require.NoError(t, m.complete(b, 1, 3))
	m.store.setDown(true) // the run cannot be closed yet
	go func() {
		_, _ = m.runs.CancelRun(t.Context(), &schedulerv1.CancelRunRequest{Id: r.GetId()})
	}()
	m.until("the worker is told to stop", func() bool {
		resp, err := m.work.HeartbeatPart(t.Context(), &schedulerv1.HeartbeatPartRequest{Run: b.GetRun(), Part: b.GetPart(), Epoch: b.GetEpoch()})
		return err == nil && resp.GetCancel()
	})
	require.True(t, m.store.commit(result(b, 0, 0, 0, 3, 0, true)), "applied before the fence")
	m.store.setDown(false)
	m.reaches(r.GetId(), schedulerv1.RunState_RUN_STATE_CANCELLED)
	require.EqualValues(t, 6, m.run(r.GetId()).GetCounts().GetCreated(), "the fence found what was applied")
	again, err := m.retry(r.GetId())
	require.NoError(t, err)
	m.reaches(again.GetId(), schedulerv1.RunState_RUN_STATE_SUCCEEDED)
	require.EqualValues(t, 6, m.run(again.GetId()).GetCounts().GetCreated())
}

func TestARetryOfAChangedSyncPlansAnew(t *testing.T) {
	onBoth(t, func(t *testing.T, sql string) {
		m := start(t, sql, quick())
		m.succeeds(m.trigger(&schedulerv1.TriggerRunRequest{}).GetId(), "5")
		r := m.trigger(&schedulerv1.TriggerRunRequest{})
		m.plan("20", "10", "20")
		a, b := m.lease(), m.lease()
		m.whole(a, 1)
		m.fails(b, true, fault.ReasonMappingInvalid)
		m.reaches(r.GetId(), schedulerv1.RunState_RUN_STATE_FAILED)
		y := sync1("orders")
		y.Uid, y.Version = m.config.get("orders").GetUid(), 2
		m.config.queries = map[int64]string{2: "SELECT other"}
		m.config.put(y)
		again, err := m.retry(r.GetId())
		require.NoError(t, err)
		require.EqualValues(t, 2, again.GetSyncVersion())
		l := m.lease()
		require.Zero(t, l.GetPart())
		require.Equal(t, "5", l.GetCheckpoint())
		require.Equal(t, r.GetId(), l.GetRetried()[0].GetRun(), "what the old run applied is recognised")
		require.Empty(t, l.GetRetried()[0].GetAdopted())
	})
}

func TestARetryOfWhatWasNeverPlannedPlansFromTheSameCheckpoint(t *testing.T) {
	m := start(t, "sqlite:"+t.TempDir()+"/c.db", quick())
	m.succeeds(m.trigger(&schedulerv1.TriggerRunRequest{}).GetId(), "5")
	r := m.trigger(&schedulerv1.TriggerRunRequest{})
	m.fails(m.lease(), true, fault.ReasonWarehouseDenied)
	m.reaches(r.GetId(), schedulerv1.RunState_RUN_STATE_FAILED)
	again, err := m.retry(r.GetId())
	require.NoError(t, err)
	require.Equal(t, schedulerv1.RunState_RUN_STATE_QUEUED, again.GetState(), "there is no plan to adopt")
	l := m.lease()
	require.Zero(t, l.GetPart())
	require.Equal(t, "5", l.GetCheckpoint())
	require.NoError(t, m.reportPlan(l, "9", "9"))
	m.whole(m.lease(), 1)
	m.reaches(again.GetId(), schedulerv1.RunState_RUN_STATE_SUCCEEDED)
	m.trigger(&schedulerv1.TriggerRunRequest{})
	require.Equal(t, "9", m.lease().GetCheckpoint(), "it moves the checkpoint as the failed run would have")
}

// The first run goes on in the history lane when a later run falls due, and fails there. Its retry stays in that lane,
// though the live lane has succeeded since.
func TestARetryInTheHistoryLaneIsNotOvertakenByTheLiveLane(t *testing.T) {
	m := start(t, "sqlite:"+t.TempDir()+"/c.db", quick())
	first := m.trigger(&schedulerv1.TriggerRunRequest{})
	m.plan("20", "10", "20")
	a, b := m.lease(), m.lease()
	m.whole(a, 1)
	y := m.config.get("orders")
	due := sync1("orders")
	due.Uid, due.Schedule = y.GetUid(), every("1s", time.Unix(1_700_000_000, 0))
	m.config.put(due)
	m.until("it goes on in the history lane", func() bool { return m.run(first.GetId()).GetLane() == schedulerv1.Lane_LANE_HISTORY })
	calm := sync1("orders")
	calm.Uid = y.GetUid()
	m.config.put(calm)
	l := m.lease()
	require.Zero(t, l.GetPart())
	require.Equal(t, "20", l.GetCheckpoint(), "the live lane starts at the first run's watermark")
	require.NoError(t, m.reportPlan(l, "30", "30"))
	m.whole(m.lease(), 1)
	m.reaches(l.GetRun(), schedulerv1.RunState_RUN_STATE_SUCCEEDED)
	m.fails(b, true, fault.ReasonWarehouseDenied)
	m.reaches(first.GetId(), schedulerv1.RunState_RUN_STATE_FAILED)

	again, err := m.retry(first.GetId())
	require.NoError(t, err)
	require.Equal(t, schedulerv1.Lane_LANE_HISTORY, again.GetLane())
	rest := m.lease()
	for rest.GetRun() != again.GetId() { // a tick of the second before
		m.release(rest)
		_, err := m.runs.CancelRun(t.Context(), &schedulerv1.CancelRunRequest{Id: rest.GetRun()})
		require.NoError(t, err)
		rest = m.lease()
	}
	require.EqualValues(t, 2, rest.GetPart(), "part 1 is adopted")
	m.whole(rest, 1)
	m.reaches(again.GetId(), schedulerv1.RunState_RUN_STATE_SUCCEEDED)
	m.trigger(&schedulerv1.TriggerRunRequest{Join: true})
	require.Equal(t, "30", m.lease().GetCheckpoint(), "the history lane moves no checkpoint")
}

// New credentials make a new version of the sync, under which the rest of the old plan is read.
func TestARetryWithMendedCredentialsAdoptsTheFinishedParts(t *testing.T) {
	m := start(t, "sqlite:"+t.TempDir()+"/c.db", quick())
	r := m.trigger(&schedulerv1.TriggerRunRequest{})
	m.plan("20", "10", "20")
	a, b := m.lease(), m.lease()
	m.whole(a, 1)
	m.fails(b, true, fault.ReasonWarehouseDenied)
	m.reaches(r.GetId(), schedulerv1.RunState_RUN_STATE_FAILED)
	y := sync1("orders")
	y.Uid, y.Version = m.config.get("orders").GetUid(), 2
	m.config.put(y)
	again, err := m.retry(r.GetId())
	require.NoError(t, err)
	l := m.lease()
	require.EqualValues(t, 2, l.GetPart())
	require.EqualValues(t, 2, l.GetSyncVersion())
	m.whole(l, 1)
	m.reaches(again.GetId(), schedulerv1.RunState_RUN_STATE_SUCCEEDED)
}
