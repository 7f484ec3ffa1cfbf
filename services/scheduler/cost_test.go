package scheduler_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
	"millrace.dev/pkg/fault"
)

func spent(scanned, billed int64) *schedulerv1.Cost {
	return &schedulerv1.Cost{BytesScanned: &scanned, BytesBilled: &billed}
}

// A run costs what all its attempts cost: failed ones and those read again were paid for, what is told twice was not.
func TestARunCostsWhatItsAttemptsCost(t *testing.T) {
	onBoth(t, func(t *testing.T, sql string) {
		m := start(t, sql, quick())
		r := m.trigger(&schedulerv1.TriggerRunRequest{})
		require.Nil(t, r.GetCost(), "nothing is known")

		l := m.lease()
		require.NoError(t, m.ends(&schedulerv1.CompletePartRequest{
			Run: l.GetRun(), Epoch: l.GetEpoch(), Error: &schedulerv1.RunError{Reason: fault.ReasonWarehouseUnavailable.Word()}, Cost: spent(10, 100),
		}))
		l = m.lease()
		require.Zero(t, l.GetPart())
		plan := &schedulerv1.ReportPlanRequest{Run: l.GetRun(), Epoch: l.GetEpoch(), Plan: &schedulerv1.RunPlan{
			Snapshot: "s1", Watermark: "10", KeyColumns: []string{"id"}, Parts: []*schedulerv1.PartRange{{High: "10", HighClosed: true}},
			EstimatedCost: &schedulerv1.Cost{BytesScanned: spent(30, 0).BytesScanned}, Cost: spent(20, 100),
		}}
		for range 2 {
			_, err := m.work.ReportPlan(t.Context(), plan)
			require.NoError(t, err)
		}
		require.NoError(t, m.ends(&schedulerv1.CompletePartRequest{Run: l.GetRun(), Epoch: l.GetEpoch(), Cost: spent(20, 100)}), "the plan had it")

		l = m.lease()
		require.Nil(t, l.GetPlan().GetCost())
		released := &schedulerv1.CompletePartRequest{Run: l.GetRun(), Part: l.GetPart(), Epoch: l.GetEpoch(), Released: true, Cost: spent(5, 100)}
		require.NoError(t, m.ends(released))
		again := m.lease()
		require.Equal(t, fault.ReasonFenced, reasonOf(m.ends(released)), "told late by a worker that has it no more")
		require.NoError(t, m.published(again, 0, 3))
		require.NoError(t, m.ingested(result(again, 0, 0, 0, 3, 0, true)))
		done := &schedulerv1.CompletePartRequest{Run: again.GetRun(), Part: again.GetPart(), Epoch: again.GetEpoch(), Batches: 1, Rows: 3, Snapshot: "s1", Cost: spent(5, 100)}
		require.NoError(t, m.ends(done))

		got := m.reaches(r.GetId(), schedulerv1.RunState_RUN_STATE_SUCCEEDED)
		require.EqualValues(t, 10+20+5+5, got.GetCost().GetBytesScanned())
		require.EqualValues(t, 400, got.GetCost().GetBytesBilled())
		require.EqualValues(t, 30, got.GetEstimatedCost().GetBytesScanned())
		require.Nil(t, got.GetEstimatedCost().BytesBilled, "what is not known is left out")
		listed, err := m.runs.ListRuns(t.Context(), &schedulerv1.ListRunsRequest{Sync: "orders"})
		require.NoError(t, err)
		require.EqualValues(t, 40, listed.GetRuns()[0].GetCost().GetBytesScanned())
	})
}

// A worker that has lost its lease tells what it spent all the same, once, and whatever has become of the run. It changes
// nothing else.
func TestALostLeaseTellsWhatItCost(t *testing.T) {
	onBoth(t, func(t *testing.T, sql string) {
		m := start(t, sql, quick())
		r, l := m.running("10")
		late := &schedulerv1.ReportCostRequest{Run: l.GetRun(), Part: l.GetPart(), Epoch: l.GetEpoch(), Cost: spent(7, 70)}
		require.NoError(t, m.ends(&schedulerv1.CompletePartRequest{Run: l.GetRun(), Part: l.GetPart(), Epoch: l.GetEpoch(), Released: true}), "as if it were lost")
		again := m.lease()
		require.Greater(t, again.GetEpoch(), l.GetEpoch())
		before := m.part(r.GetId(), l.GetPart())
		for range 2 {
			_, err := m.work.ReportCost(t.Context(), late)
			require.NoError(t, err)
		}
		require.EqualValues(t, 7, m.run(r.GetId()).GetCost().GetBytesScanned())
		require.True(t, proto.Equal(before, m.part(r.GetId(), l.GetPart())), "the part is as it was")

		require.NoError(t, m.published(again, 0, 3))
		require.NoError(t, m.ingested(result(again, 0, 0, 0, 3, 0, true)))
		require.NoError(t, m.ends(&schedulerv1.CompletePartRequest{
			Run: again.GetRun(), Part: again.GetPart(), Epoch: again.GetEpoch(), Batches: 1, Rows: 3, Snapshot: "s1", Cost: spent(5, 50),
		}))
		closed := m.reaches(r.GetId(), schedulerv1.RunState_RUN_STATE_SUCCEEDED)
		require.EqualValues(t, 12, closed.GetCost().GetBytesScanned())
		for _, epoch := range []uint32{l.GetEpoch(), again.GetEpoch()} {
			late.Epoch = epoch
			_, err := m.work.ReportCost(t.Context(), late)
			require.NoError(t, err, "told already")
		}
		for _, epoch := range []uint32{0, again.GetEpoch() + 1} {
			late.Epoch = epoch
			_, err := m.work.ReportCost(t.Context(), late)
			require.Equal(t, fault.ReasonInvalidArgument, reasonOf(err))
		}
		late.Part, late.Epoch = 0, 1
		_, err := m.work.ReportCost(t.Context(), late)
		require.NoError(t, err)
		got := m.run(r.GetId())
		require.EqualValues(t, 12+7, got.GetCost().GetBytesScanned(), "of a run that is closed")
		require.EqualValues(t, 120+70, got.GetCost().GetBytesBilled())
		got.Cost, closed.Cost = nil, nil
		require.True(t, proto.Equal(closed, got), "the run is as it was")
	})
}

func TestACostBelowZeroIsRefused(t *testing.T) {
	onBoth(t, func(t *testing.T, sql string) {
		m := start(t, sql, quick())
		r, l := m.running("10")
		err := m.ends(&schedulerv1.CompletePartRequest{Run: l.GetRun(), Part: l.GetPart(), Epoch: l.GetEpoch(), Released: true, Cost: spent(-1, 0)})
		require.Equal(t, fault.ReasonInvalidArgument, reasonOf(err))
		require.Nil(t, m.run(r.GetId()).GetCost())
	})
}
