package scheduler_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	configv1 "millrace.dev/gen/millrace/config/v1"
	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
	"millrace.dev/pkg/fault"
)

func (m *mesh) replay(runID string) (*schedulerv1.Run, error) {
	r, err := m.runs.TriggerRun(m.t.Context(), &schedulerv1.TriggerRunRequest{Reason: schedulerv1.RunReason_RUN_REASON_REPLAY, ReplayOf: runID})
	return r.GetRun(), err
}

func TestAReplayRunsInTheHistoryLaneAndMovesNothing(t *testing.T) {
	onBoth(t, func(t *testing.T, sql string) {
		m := start(t, sql, quick())
		m.scheduleIt("orders", func(y *configv1.ScheduledSync) { y.TriggerLimit = "3/h" })
		first := m.trigger(&schedulerv1.TriggerRunRequest{}).GetId()
		_, err := m.replay(first)
		require.Equal(t, fault.ReasonRunState, reasonOf(err))
		require.ErrorContains(t, err, "replay its rejects when it is over")
		m.succeeds(first, "100")

		back, err := m.replay(first)
		require.NoError(t, err)
		require.Equal(t, schedulerv1.Lane_LANE_HISTORY, back.GetLane())
		require.Equal(t, schedulerv1.RunReason_RUN_REASON_REPLAY, back.GetReason())
		require.Equal(t, first, back.GetReplayOf())
		again, err := m.replay(first)
		require.NoError(t, err)
		require.Equal(t, back.GetId(), again.GetId(), "idempotent while it is open")

		l := m.plan("", "")
		require.Equal(t, first, l.GetReplayOf())
		require.Empty(t, l.GetCheckpoint())
		part := m.lease()
		require.Equal(t, first, part.GetReplayOf())

		live := m.trigger(&schedulerv1.TriggerRunRequest{}).GetId() // beside it
		require.Equal(t, "100", m.plan("110", "110").GetCheckpoint())
		m.whole(m.lease(), 1)
		m.reaches(live, schedulerv1.RunState_RUN_STATE_SUCCEEDED)
		_, err = m.replay(live)
		f := fault.As(fault.FromStatus(err))
		require.Equal(t, fault.ReasonRunOpen, f.Reason, "of another run, by the usual rule")
		require.Equal(t, back.GetId(), f.Metadata["run"])

		m.whole(part, 1)
		end := m.reaches(back.GetId(), schedulerv1.RunState_RUN_STATE_SUCCEEDED)
		require.True(t, end.GetCertificate().GetBalanced())
		next, err := m.replay(first)
		require.NoError(t, err)
		require.NotEqual(t, back.GetId(), next.GetId())
		m.fails(m.lease(), true, fault.ReasonMappingInvalid)
		m.reaches(next.GetId(), schedulerv1.RunState_RUN_STATE_FAILED)
		last := m.trigger(&schedulerv1.TriggerRunRequest{}).GetId()
		require.Equal(t, "110", m.plan("120", "120").GetCheckpoint(), "no replay moved it")
		m.fails(m.lease(), true, fault.ReasonWarehouseDenied)
		m.reaches(last, schedulerv1.RunState_RUN_STATE_FAILED)
		m.until("config is told", func() bool {
			return m.config.status("orders").GetStatus() == configv1.SyncStatus_SYNC_STATUS_FAULTED
		})
		for _, s := range m.config.told() {
			require.NotContains(t, s.GetReason(), next.GetId(), "a replay that fails says nothing of the sync")
		}
		retried, err := m.retry(next.GetId())
		require.NoError(t, err)
		require.Equal(t, first, retried.GetReplayOf(), "a retry of a replay is one")
		require.Equal(t, first, m.lease().GetReplayOf())
	})
}

func TestAReplayIsRefusedClearly(t *testing.T) {
	m := start(t, "sqlite:"+t.TempDir()+"/control.db", quick())
	run := m.trigger(&schedulerv1.TriggerRunRequest{}).GetId()
	m.succeeds(run, "100")
	for name, req := range map[string]*schedulerv1.TriggerRunRequest{
		"a run that is none": {Reason: schedulerv1.RunReason_RUN_REASON_REPLAY, ReplayOf: "x"},
		"no run":             {Reason: schedulerv1.RunReason_RUN_REASON_REPLAY},
		"another reason":     {ReplayOf: run},
		"everything":         {Reason: schedulerv1.RunReason_RUN_REASON_REPLAY, ReplayOf: run, Full: true},
	} {
		_, err := m.runs.TriggerRun(t.Context(), req)
		require.Equal(t, fault.ReasonInvalidArgument, reasonOf(err), name)
	}
	_, err := m.runs.TriggerRun(t.Context(), &schedulerv1.TriggerRunRequest{Workspace: "other", Reason: schedulerv1.RunReason_RUN_REASON_REPLAY, ReplayOf: run})
	require.Equal(t, fault.ReasonNotFound, reasonOf(err))
	m.config.remove("orders")
	_, err = m.replay(run)
	require.Equal(t, fault.ReasonRunState, reasonOf(err))
	require.ErrorContains(t, err, "sync orders of run "+run+" is deleted; export the rejects")
}
