package scheduler_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/timestamppb"

	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
)

// compared reports a plan of one part whose rows the warehouse keeps as a state, and answers the lease of the plan.
func (m *mesh) compared(state string) *schedulerv1.PartLease {
	m.t.Helper()
	l := m.lease()
	require.Zero(m.t, l.GetPart(), "planning comes first")
	_, err := m.work.ReportPlan(m.t.Context(), &schedulerv1.ReportPlanRequest{Run: l.GetRun(), Epoch: l.GetEpoch(), Plan: &schedulerv1.RunPlan{
		Snapshot: state, SnapshotTime: timestamppb.New(time.Unix(1_800_000_000, 0)), EstimatedRows: 3, PayloadCap: 1 << 20, KeyColumns: []string{"id"},
		Parts: []*schedulerv1.PartRange{{}}, Comparison: &schedulerv1.Comparison{State: state, Since: l.GetBase().GetState(), Rows: 3, Terms: "terms"},
	}})
	require.NoError(m.t, err)
	return l
}

func TestARunBesideAReplayMakesNoBase(t *testing.T) {
	onBoth(t, func(t *testing.T, sql string) {
		m := start(t, sql, quick())
		mirrored := func(state string) string {
			r := m.trigger(&schedulerv1.TriggerRunRequest{}).GetId()
			m.compared(state)
			m.whole(m.lease(), 1)
			m.reaches(r, schedulerv1.RunState_RUN_STATE_SUCCEEDED)
			return r
		}
		first := mirrored("one")

		live := m.trigger(&schedulerv1.TriggerRunRequest{}).GetId()
		require.Equal(t, "one", m.compared("two").GetBase().GetState())
		part := m.lease()
		back, err := m.replay(first)
		require.NoError(t, err)
		require.Equal(t, back.GetId(), m.plan("", "").GetRun())
		m.whole(m.lease(), 1)
		m.reaches(back.GetId(), schedulerv1.RunState_RUN_STATE_SUCCEEDED)
		m.whole(part, 1)
		m.reaches(live, schedulerv1.RunState_RUN_STATE_SUCCEEDED)

		next := m.trigger(&schedulerv1.TriggerRunRequest{}).GetId()
		require.Nil(t, m.compared("three").GetBase(), "the replay has written what the comparison with it does not know of")
		m.whole(m.lease(), 1)
		m.reaches(next, schedulerv1.RunState_RUN_STATE_SUCCEEDED)
		m.trigger(&schedulerv1.TriggerRunRequest{})
		require.Equal(t, "three", m.lease().GetBase().GetState(), "the run after it makes one")
	})
}
