package e2e_test

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/timestamppb"

	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
)

// parts answers the parts of a run that no later plan replaced, without its planning.
func (m mesh) parts(t *testing.T, run string) []*schedulerv1.Part {
	t.Helper()
	res, err := m.scheduler.ListParts(t.Context(), &schedulerv1.ListPartsRequest{Workspace: m.workspace, Run: run, PageSize: 1000})
	require.NoError(t, err)
	var out []*schedulerv1.Part
	for _, p := range res.GetParts() {
		if p.GetPart() > 0 && p.GetState() != schedulerv1.PartState_PART_STATE_REPLACED {
			out = append(out, p)
		}
	}
	return out
}

// TestAKillReadsOnlyUnfinishedPartsAgain kills the one process in the middle of a first load whose size makes as many parts
// as a run may have. Only the parts in work are read again: at most one row in twenty twice.
func TestAKillReadsOnlyUnfinishedPartsAgain(t *testing.T) {
	const n = 480_000
	w := newWarehouse(t, n)
	c := newChild(t, "millrace", "up", "--data", filepath.Join(t.TempDir(), "data"), "--http", "none", "--extractor-part-rows", fmt.Sprint(n/48))
	conn := dial(t, c.addr)
	m := clients(conn, conn, conn)
	c.start(t)
	c.ready(t)
	m.apply(t, "", w.documents("customers", asIs))
	id := m.trigger(t, "customers")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	m.until(ctx, t, id, func(r *schedulerv1.Run) bool {
		require.False(t, over(r), "the run ended before it could be killed")
		return r.GetIngestedRows() >= n/2
	})
	c.kill(t)
	c.start(t)
	c.ready(t)
	r := m.end(t, id)
	requireState(t, r, schedulerv1.RunState_RUN_STATE_SUCCEEDED)
	require.EqualValues(t, n, r.GetCounts().GetRead())
	require.EqualValues(t, n, r.GetCounts().GetCreated())
	require.EqualValues(t, n, r.GetCertificate().GetSourceRows())

	again, parts := int64(0), m.parts(t, id)
	require.Len(t, parts, 48)
	for _, p := range parts {
		if p.GetEpoch() > 1 {
			again += p.GetCounts().GetRead() * int64(p.GetEpoch()-1)
		}
	}
	t.Logf("%d rows of %d were read again at most, %.1f %%", again, n, 100*float64(again)/n)
	require.LessOrEqual(t, again, int64(n/20))
}

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
