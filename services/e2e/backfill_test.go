package e2e_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/timestamppb"

	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
)

// TestABackfillBesideTheLiveLane runs both lanes of a sync at once over rows that both read: each row is counted as created
// once.
func TestABackfillBesideTheLiveLane(t *testing.T) {
	const n, low, high = 40_000, 10_000, 29_999
	s := newShop(t, n)
	m := smallParts(t, n/8)
	m.apply(t, "", s.documents())
	live := m.trigger(t, "customers")
	at := func(second int) *timestamppb.Timestamp {
		return timestamppb.New(time.Date(2024, 1, 1, 0, 0, second, 0, time.UTC))
	}
	back := m.trigger(t, "customers", func(r *schedulerv1.TriggerRunRequest) { r.From, r.Until = at(low), at(high) })
	for _, id := range []string{live, back} {
		res, err := m.scheduler.GetRun(t.Context(), &schedulerv1.GetRunRequest{Id: id})
		require.NoError(t, err)
		require.False(t, over(res.GetRun()), "both lanes are open at once")
	}
	r, b := m.end(t, live), m.end(t, back)
	requireState(t, r, schedulerv1.RunState_RUN_STATE_SUCCEEDED)
	requireState(t, b, schedulerv1.RunState_RUN_STATE_SUCCEEDED)
	require.Equal(t, schedulerv1.Lane_LANE_HISTORY, b.GetLane())
	require.Equal(t, schedulerv1.RunReason_RUN_REASON_BACKFILL, b.GetReason())
	require.EqualValues(t, n, r.GetCounts().GetRead())
	require.EqualValues(t, high-low+1, b.GetCounts().GetRead(), "both ends are in the range")
	require.EqualValues(t, high-low+1, b.GetCertificate().GetSourceRows())
	require.EqualValues(t, n, r.GetCounts().GetCreated()+b.GetCounts().GetCreated(), "no row is counted twice")
	require.EqualValues(t, high-low+1, r.GetCounts().GetUnchanged()+b.GetCounts().GetUnchanged())
	require.EqualValues(t, n, m.digest(t).GetProfiles())

	next := m.run(t, "customers")
	require.EqualValues(t, 601, next.GetCounts().GetRead(), "the checkpoint is the live lane's: the lookback of ten minutes, both ends included")
}
