package scheduler_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	configv1 "millrace.dev/gen/millrace/config/v1"
	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
	"millrace.dev/pkg/fault"
)

func TestARunFromItsTriggerToItsCertificate(t *testing.T) {
	onBoth(t, func(t *testing.T, sql string) {
		m := start(t, sql, quick())
		r := m.trigger(&schedulerv1.TriggerRunRequest{})
		require.Equal(t, schedulerv1.RunState_RUN_STATE_QUEUED, r.GetState())
		require.EqualValues(t, 1, r.GetRunNo())
		require.Equal(t, schedulerv1.Lane_LANE_LIVE, r.GetLane())
		require.Equal(t, schedulerv1.RunReason_RUN_REASON_MANUAL, r.GetReason())
		require.NotNil(t, r.GetCounts(), "counts are there from the first state on")
		require.NotNil(t, r.GetCertificate())
		require.False(t, r.GetCertificate().GetBalanced())
		require.Len(t, r.GetTraceId(), 32)

		l := m.lease()
		require.Zero(t, l.GetPart())
		require.EqualValues(t, 1, l.GetEpoch())
		require.Empty(t, l.GetCheckpoint(), "the first run reads from the beginning")
		require.Contains(t, l.GetTraceparent(), r.GetTraceId())
		require.Nil(t, l.GetPlan())
		require.Equal(t, schedulerv1.RunState_RUN_STATE_PLANNING, m.run(r.GetId()).GetState())
		m.noLease()
		require.NoError(t, m.reportPlan(l, "20", "10", "20"))
		require.NoError(t, m.complete(l, 0, 0), "a planner may say that it is done")

		a, b := m.lease(), m.lease()
		require.EqualValues(t, 1, a.GetPart())
		require.EqualValues(t, 2, b.GetPart())
		require.Equal(t, "20", b.GetRange().GetHigh())
		require.True(t, b.GetRange().GetHighClosed())
		require.Equal(t, "20", b.GetPlan().GetWatermark())
		require.Equal(t, []string{"id"}, b.GetPlan().GetKeyColumns())
		m.noLease()

		// Part 1: two batches, one of them in two fragments, the last of which is heard of first and before its batch.
		require.NoError(t, m.published(a, 0, 3))
		require.NoError(t, m.ingested(result(a, 1, 1, 2, 3, 1, true)))
		require.NoError(t, m.ingested(result(a, 1, 0, 0, 2, 0, false)))
		open := m.run(r.GetId())
		require.EqualValues(t, 5, open.GetIngestedRows(), "an open run counts what is accounted for so far")
		require.EqualValues(t, 4, open.GetCounts().GetCreated())
		require.EqualValues(t, 100, open.GetEstimatedRows())
		require.NoError(t, m.complete(a, 2, 8))
		require.Equal(t, schedulerv1.PartState_PART_STATE_EXTRACTED, m.part(r.GetId(), 1).GetState())
		require.NoError(t, m.published(a, 1, 5))
		require.NoError(t, m.ingested(result(a, 0, 0, 0, 3, 0, true)))
		require.Equal(t, schedulerv1.PartState_PART_STATE_COMPLETE, m.part(r.GetId(), 1).GetState())
		require.Equal(t, "(, 10)", m.part(r.GetId(), 1).GetRange())

		// Part 2 has no rows.
		require.NoError(t, m.complete(b, 0, 0))
		end := m.reaches(r.GetId(), schedulerv1.RunState_RUN_STATE_PARTIALLY_SUCCEEDED)
		require.EqualValues(t, 8, end.GetCounts().GetRead())
		require.EqualValues(t, 1, end.GetCounts().GetRejected())
		require.EqualValues(t, 7, end.GetCounts().GetCreated())
		require.EqualValues(t, 2, end.GetParts())
		require.EqualValues(t, 2, end.GetBatches())
		require.EqualValues(t, 80, end.GetBytesRead())
		require.Equal(t, "20", end.GetWindow().GetHigh())
		require.True(t, end.GetCertificate().GetBalanced())
		require.Equal(t, []string{"s1"}, end.GetCertificate().GetSnapshots())
		require.Equal(t, end.GetCertificate().GetRowsDigest(), end.GetCertificate().GetAccountedDigest())
		for _, at := range []interface{ AsTime() time.Time }{end.GetCreateTime(), end.GetStartTime(), end.GetPlanTime(), end.GetEndTime()} {
			require.False(t, at.AsTime().IsZero())
		}
		require.EqualValues(t, 2, m.store.fenceOf(r.GetId(), 1), "every part is fenced before its run is closed")
		require.EqualValues(t, 2, m.store.fenceOf(r.GetId(), 2))

		cert, err := m.runs.GetRunCertificate(t.Context(), &schedulerv1.GetRunCertificateRequest{Id: r.GetId()})
		require.NoError(t, err)
		require.Equal(t, end.GetCertificate().GetRowsDigest(), cert.GetCertificate().GetRowsDigest())
		first, err := m.runs.ListBatches(t.Context(), &schedulerv1.ListBatchesRequest{Run: r.GetId(), PageSize: 1})
		require.NoError(t, err)
		require.Equal(t, r.GetId()+"/1/1/0", first.GetBatches()[0].GetId())
		rest, err := m.runs.ListBatches(t.Context(), &schedulerv1.ListBatchesRequest{Run: r.GetId(), PageSize: 1, PageToken: first.GetNextPageToken()})
		require.NoError(t, err)
		require.Equal(t, r.GetId()+"/1/1/1", rest.GetBatches()[0].GetId())
		require.True(t, rest.GetBatches()[0].GetIngested())
		require.EqualValues(t, 4, rest.GetBatches()[0].GetCounts().GetCreated())
		require.Empty(t, rest.GetNextPageToken())

		// The next run starts at the checkpoint; a full one does not, and moves it as usual.
		r2 := m.trigger(&schedulerv1.TriggerRunRequest{Full: true})
		l = m.plan("30", "30")
		require.Empty(t, l.GetCheckpoint())
		require.True(t, l.GetFull())
		m.whole(m.lease(), 1)
		m.reaches(r2.GetId(), schedulerv1.RunState_RUN_STATE_SUCCEEDED)
		r3 := m.trigger(&schedulerv1.TriggerRunRequest{})
		l = m.lease()
		require.Equal(t, "30", l.GetCheckpoint())
		require.EqualValues(t, 3, l.GetRunNo())

		// No rows, no move.
		require.NoError(t, m.reportPlan(l, "", ""))
		require.NoError(t, m.complete(m.lease(), 0, 0))
		m.reaches(r3.GetId(), schedulerv1.RunState_RUN_STATE_SUCCEEDED)
		m.trigger(&schedulerv1.TriggerRunRequest{})
		require.Equal(t, "30", m.lease().GetCheckpoint())
	})
}

func TestAReportToldAgainChangesNothing(t *testing.T) {
	onBoth(t, func(t *testing.T, sql string) {
		m := start(t, sql, quick())
		r := m.trigger(&schedulerv1.TriggerRunRequest{})
		p := m.lease()
		for range 3 {
			require.NoError(t, m.reportPlan(p, "10", "10"))
		}
		l := m.lease()
		other := m.trigger(&schedulerv1.TriggerRunRequest{Join: true})
		require.Equal(t, r.GetId(), other.GetId())
		for range 3 {
			require.NoError(t, m.ingested(result(l, 0, 1, 1, 2, 0, true)))
			require.NoError(t, m.published(l, 0, 3))
			_, err := m.work.HeartbeatPart(t.Context(), &schedulerv1.HeartbeatPartRequest{Run: l.GetRun(), Part: l.GetPart(), Epoch: l.GetEpoch()})
			require.NoError(t, err)
		}
		require.EqualValues(t, 2, m.run(r.GetId()).GetIngestedRows())
		for range 3 {
			require.NoError(t, m.complete(l, 1, 3))
		}
		require.EqualValues(t, 1, m.run(r.GetId()).GetBatches())
		require.NoError(t, m.ingested(result(l, 0, 0, 0, 1, 0, false)))
		end := m.reaches(r.GetId(), schedulerv1.RunState_RUN_STATE_SUCCEEDED)
		require.EqualValues(t, 3, end.GetCounts().GetRead())
		for range 2 { // a delivery repeated after the end
			_, err := m.work.ReportIngested(t.Context(), &schedulerv1.ReportIngestedRequest{Result: result(l, 0, 0, 0, 1, 0, false)})
			require.Equal(t, fault.ReasonFenced, reasonOf(err))
		}
		require.EqualValues(t, 3, m.run(r.GetId()).GetCounts().GetRead())
	})
}

func TestTriggers(t *testing.T) {
	onBoth(t, func(t *testing.T, sql string) {
		m := start(t, sql, quick())
		r := m.trigger(&schedulerv1.TriggerRunRequest{IdempotencyKey: "k1", Reason: schedulerv1.RunReason_RUN_REASON_API})
		require.Equal(t, schedulerv1.RunReason_RUN_REASON_API, r.GetReason())

		_, err := m.runs.TriggerRun(t.Context(), &schedulerv1.TriggerRunRequest{Sync: "orders"})
		f := fault.As(fault.FromStatus(err))
		require.Equal(t, fault.Precondition, f.Class)
		require.Equal(t, fault.ReasonRunOpen, f.Reason)
		require.Equal(t, r.GetId(), f.Metadata["run"])

		require.Equal(t, r.GetId(), m.trigger(&schedulerv1.TriggerRunRequest{Join: true}).GetId())
		require.Equal(t, r.GetId(), m.trigger(&schedulerv1.TriggerRunRequest{IdempotencyKey: "k1"}).GetId())
		m.succeeds(r.GetId(), "10")
		require.Equal(t, r.GetId(), m.trigger(&schedulerv1.TriggerRunRequest{IdempotencyKey: "k1"}).GetId(), "for a day, whatever became of it")
		r2 := m.trigger(&schedulerv1.TriggerRunRequest{IdempotencyKey: "k2"})
		require.NotEqual(t, r.GetId(), r2.GetId())
		m.succeeds(r2.GetId(), "11")

		_, err = m.runs.TriggerRun(t.Context(), &schedulerv1.TriggerRunRequest{Reason: schedulerv1.RunReason_RUN_REASON_SCHEDULED})
		require.Len(t, fault.As(fault.FromStatus(err)).Violations, 2, "all at once: no sync, and a reason of our own")
		_, err = m.runs.TriggerRun(t.Context(), &schedulerv1.TriggerRunRequest{Sync: "none"})
		require.Equal(t, fault.NotFound, fault.ClassOf(fault.FromStatus(err)))

		draft := sync1("draft")
		draft.State = configv1.SyncState_SYNC_STATE_DRAFT
		m.config.put(draft)
		_, err = m.runs.TriggerRun(t.Context(), &schedulerv1.TriggerRunRequest{Sync: "draft"})
		require.Equal(t, fault.ReasonRunState, reasonOf(err))
		paused := sync1("paused")
		paused.State = configv1.SyncState_SYNC_STATE_PAUSED
		m.config.put(paused)
		m.succeeds(m.trigger(&schedulerv1.TriggerRunRequest{Sync: "paused"}).GetId(), "1")

		limited := sync1("limited")
		limited.TriggerLimit = "2/h"
		m.config.put(limited)
		m.trigger(&schedulerv1.TriggerRunRequest{Sync: "limited", IdempotencyKey: "a"})
		for range 5 { // what makes no run takes nothing from the limit
			m.trigger(&schedulerv1.TriggerRunRequest{Sync: "limited", IdempotencyKey: "a"})
			_, err = m.runs.TriggerRun(t.Context(), &schedulerv1.TriggerRunRequest{Sync: "limited"})
			require.Equal(t, fault.ReasonRunOpen, reasonOf(err))
		}
		m.succeeds(m.trigger(&schedulerv1.TriggerRunRequest{Sync: "limited", Join: true}).GetId(), "1")
		m.succeeds(m.trigger(&schedulerv1.TriggerRunRequest{Sync: "limited"}).GetId(), "1")
		_, err = m.runs.TriggerRun(t.Context(), &schedulerv1.TriggerRunRequest{Sync: "limited"})
		f = fault.As(fault.FromStatus(err))
		require.Equal(t, fault.Throttled, f.Class)
		require.Equal(t, fault.ReasonLimitExceeded, f.Reason)
		require.Positive(t, f.RetryAfter)
		require.LessOrEqual(t, f.RetryAfter, time.Hour)
	})
}

func TestConcurrentTriggersMakeOneRun(t *testing.T) {
	onBoth(t, func(t *testing.T, sql string) {
		m := start(t, sql, quick())
		o := m.another(quick())
		ids := make(chan string, 16)
		for i := range 16 {
			runs := m.runs
			if i%2 == 1 {
				runs = o.runs
			}
			go func() {
				resp, err := runs.TriggerRun(t.Context(), &schedulerv1.TriggerRunRequest{Sync: "orders", Join: true})
				if err != nil {
					ids <- err.Error()
					return
				}
				ids <- resp.GetRun().GetId()
			}()
		}
		first := <-ids
		for range 15 {
			require.Equal(t, first, <-ids)
		}
	})
}

func TestRunsAreListedNewestFirst(t *testing.T) {
	onBoth(t, func(t *testing.T, sql string) {
		m := start(t, sql, quick())
		var want []string
		for range 3 {
			r := m.trigger(&schedulerv1.TriggerRunRequest{})
			m.succeeds(r.GetId(), "1")
			want = append([]string{r.GetId()}, want...)
		}
		open := m.trigger(&schedulerv1.TriggerRunRequest{})
		list := func(req *schedulerv1.ListRunsRequest) (ids []string) {
			for {
				resp, err := m.runs.ListRuns(t.Context(), req)
				require.NoError(t, err)
				for _, r := range resp.GetRuns() {
					ids = append(ids, r.GetId())
				}
				if req.PageToken = resp.GetNextPageToken(); req.GetPageToken() == "" {
					return ids
				}
			}
		}
		require.Equal(t, append([]string{open.GetId()}, want...), list(&schedulerv1.ListRunsRequest{Sync: "orders", PageSize: 2}))
		require.Equal(t, want, list(&schedulerv1.ListRunsRequest{Filter: "state=succeeded AND lane=live AND reason=manual", PageSize: 1}))
		require.Equal(t, want[2], list(&schedulerv1.ListRunsRequest{OrderBy: "create_time asc"})[0])
		require.Empty(t, list(&schedulerv1.ListRunsRequest{Sync: "none"}))
		require.Empty(t, list(&schedulerv1.ListRunsRequest{Workspace: "other"}))
		_, err := m.runs.ListRuns(t.Context(), &schedulerv1.ListRunsRequest{Filter: "color=red"})
		require.Equal(t, fault.Invalid, fault.ClassOf(fault.FromStatus(err)))
		_, err = m.runs.GetRun(t.Context(), &schedulerv1.GetRunRequest{Workspace: "other", Id: open.GetId()})
		require.Equal(t, fault.NotFound, fault.ClassOf(fault.FromStatus(err)), "a run of another workspace is none")
		_, err = m.runs.GetRun(t.Context(), &schedulerv1.GetRunRequest{Id: "x"})
		require.Equal(t, fault.Invalid, fault.ClassOf(fault.FromStatus(err)))
	})
}

func TestWatchingSeesEachStateUntilTheLast(t *testing.T) {
	m := start(t, "sqlite:"+t.TempDir()+"/c.db", quick())
	r := m.trigger(&schedulerv1.TriggerRunRequest{})
	w, err := m.runs.WatchRun(t.Context(), &schedulerv1.WatchRunRequest{Id: r.GetId()})
	require.NoError(t, err)
	sees := func(s schedulerv1.RunState) {
		for {
			resp, err := w.Recv()
			require.NoError(t, err)
			if resp.GetRun().GetState() == s {
				return
			}
		}
	}
	sees(schedulerv1.RunState_RUN_STATE_QUEUED)
	l := m.lease()
	sees(schedulerv1.RunState_RUN_STATE_PLANNING)
	require.NoError(t, m.reportPlan(l, "1", "1"))
	sees(schedulerv1.RunState_RUN_STATE_RUNNING)
	m.whole(m.lease(), 1)
	sees(schedulerv1.RunState_RUN_STATE_SUCCEEDED)
	_, err = w.Recv()
	require.ErrorContains(t, err, "EOF")
	_, err = m.runs.GetRun(t.Context(), &schedulerv1.GetRunRequest{Id: r.GetId()})
	require.NoError(t, err)

	open := m.trigger(&schedulerv1.TriggerRunRequest{})
	w, err = m.runs.WatchRun(t.Context(), &schedulerv1.WatchRunRequest{Id: open.GetId()})
	require.NoError(t, err)
	_, err = w.Recv()
	require.NoError(t, err)
	m.stop()
	_, err = w.Recv()
	require.Equal(t, fault.Unavailable, fault.ClassOf(fault.FromStatus(err)), "a watch does not hold up the end of the process")
}
