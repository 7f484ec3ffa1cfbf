package scheduler_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/timestamppb"

	configv1 "millrace.dev/gen/millrace/config/v1"
	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
	"millrace.dev/pkg/fault"
)

func day(n int) *timestamppb.Timestamp {
	return timestamppb.New(time.Date(2026, 1, n, 0, 0, 0, 0, time.UTC))
}

func TestABackfillRunsBesideTheLiveLaneAndMovesNoCheckpoint(t *testing.T) {
	onBoth(t, func(t *testing.T, sql string) {
		m := start(t, sql, quick())
		m.config.iterator = configv1.IteratorType_ITERATOR_TYPE_TIMESTAMP
		m.scheduleIt("orders", func(y *configv1.ScheduledSync) { y.TriggerLimit = "2/h" })
		m.succeeds(m.trigger(&schedulerv1.TriggerRunRequest{}).GetId(), "100")

		live := m.trigger(&schedulerv1.TriggerRunRequest{})
		back := m.trigger(&schedulerv1.TriggerRunRequest{From: day(1), Until: day(2), IdempotencyKey: "k"})
		require.Equal(t, schedulerv1.Lane_LANE_HISTORY, back.GetLane())
		require.Equal(t, schedulerv1.RunReason_RUN_REASON_BACKFILL, back.GetReason())
		require.Equal(t, back.GetId(), m.trigger(&schedulerv1.TriggerRunRequest{From: day(1), IdempotencyKey: "k"}).GetId(), "the key's run, whatever else is asked")
		_, err := m.runs.TriggerRun(t.Context(), &schedulerv1.TriggerRunRequest{Sync: "orders", From: day(3)})
		f := fault.As(fault.FromStatus(err))
		require.Equal(t, fault.ReasonRunOpen, f.Reason)
		require.Equal(t, back.GetId(), f.Metadata["run"])
		require.Equal(t, back.GetId(), m.trigger(&schedulerv1.TriggerRunRequest{From: day(3), Join: true}).GetId())

		leases := map[string]*schedulerv1.PartLease{}
		for range 2 { // both are planned at once
			l := m.lease()
			leases[l.GetRun()] = l
		}
		require.Equal(t, "100", leases[live.GetId()].GetCheckpoint())
		require.Nil(t, leases[live.GetId()].GetFrom())
		require.Empty(t, leases[back.GetId()].GetCheckpoint())
		require.Equal(t, day(1).AsTime(), leases[back.GetId()].GetFrom().AsTime())
		require.Equal(t, day(2).AsTime(), leases[back.GetId()].GetUntil().AsTime())
		require.NoError(t, m.reportPlan(leases[back.GetId()], "50", "50"))
		part := m.lease()
		require.Equal(t, day(1).AsTime(), part.GetFrom().AsTime(), "parts know that they are a backfill's")
		m.whole(part, 1)
		m.reaches(back.GetId(), schedulerv1.RunState_RUN_STATE_SUCCEEDED)
		require.NoError(t, m.reportPlan(leases[live.GetId()], "110", "110"))
		m.whole(m.lease(), 1)
		m.reaches(live.GetId(), schedulerv1.RunState_RUN_STATE_SUCCEEDED)

		_, err = m.runs.TriggerRun(t.Context(), &schedulerv1.TriggerRunRequest{Sync: "orders"})
		require.Equal(t, fault.ReasonLimitExceeded, reasonOf(err), "two of the live lane within the hour")
		back = m.trigger(&schedulerv1.TriggerRunRequest{Until: day(9)})
		require.Nil(t, m.lease().GetFrom(), "unbounded below")
		require.Equal(t, schedulerv1.RunReason_RUN_REASON_BACKFILL, back.GetReason(), "history does not count toward the limit")
		m.scheduleIt("orders", func(y *configv1.ScheduledSync) { y.TriggerLimit = "" })
		m.trigger(&schedulerv1.TriggerRunRequest{})
		require.Equal(t, "110", m.lease().GetCheckpoint(), "the live lane's own")
	})
}

func TestBackfillsThatCanNotBeAreRefusedWithAllReasons(t *testing.T) {
	m := start(t, "sqlite:"+t.TempDir()+"/c.db", quick())
	fields := func(req *schedulerv1.TriggerRunRequest) []string {
		t.Helper()
		req.Sync = "orders"
		_, err := m.runs.TriggerRun(t.Context(), req)
		var out []string
		for _, v := range fault.As(fault.FromStatus(err)).Violations {
			out = append(out, v.Field)
			require.NotEmpty(t, v.Fix)
		}
		return out
	}
	m.config.iterator = configv1.IteratorType_ITERATOR_TYPE_DATE
	require.Equal(t, []string{"from"}, fields(&schedulerv1.TriggerRunRequest{From: day(2), Until: day(1)}))
	require.Equal(t, []string{"from", "full"}, fields(&schedulerv1.TriggerRunRequest{From: day(2), Until: day(1), Full: true}))
	m.config.iterator = configv1.IteratorType_ITERATOR_TYPE_INTEGER
	require.Equal(t, []string{"from", "full", "from"}, fields(&schedulerv1.TriggerRunRequest{From: day(2), Until: day(1), Full: true}))
	require.Equal(t, []string{"until"}, fields(&schedulerv1.TriggerRunRequest{Until: day(1)}))
	m.scheduleIt("orders", func(y *configv1.ScheduledSync) { y.Mode = configv1.Mode_MODE_FULL })
	require.Equal(t, []string{"until"}, fields(&schedulerv1.TriggerRunRequest{Until: day(1)}))
	require.Empty(t, m.list(""))
}
