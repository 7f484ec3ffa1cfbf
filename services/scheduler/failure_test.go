package scheduler_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	configv1 "millrace.dev/gen/millrace/config/v1"
	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
	"millrace.dev/pkg/fault"
)

// running answers a run with one part, leased.
func (m *mesh) running(watermark string) (*schedulerv1.Run, *schedulerv1.PartLease) {
	m.t.Helper()
	r := m.trigger(&schedulerv1.TriggerRunRequest{})
	m.plan(watermark, watermark)
	return r, m.lease()
}

// fails plays an attempt that ends with an error.
func (m *mesh) fails(l *schedulerv1.PartLease, permanent bool, reason fault.Reason) {
	m.t.Helper()
	require.NoError(m.t, m.ends(&schedulerv1.CompletePartRequest{
		Run: l.GetRun(), Part: l.GetPart(), Epoch: l.GetEpoch(), Permanent: permanent,
		Error: &schedulerv1.RunError{Reason: reason.Word(), Message: "it went wrong; do this"},
	}))
}

func TestALostLeaseIsFencedBeforeTheNextAndItsZombieChangesNothing(t *testing.T) {
	onBoth(t, func(t *testing.T, sql string) {
		m := start(t, sql, quick())
		r, l := m.running("10")
		require.NoError(t, m.published(l, 0, 3))
		require.NoError(t, m.ingested(result(l, 0, 0, 0, 3, 0, true)))
		m.store.setDown(true)
		m.stop()
		short := quick()
		short.Lease = 200 * time.Millisecond
		m.up(short)
		m.until("the lease is lost", func() bool {
			return m.part(r.GetId(), 1).GetState() == schedulerv1.PartState_PART_STATE_WAITING
		})
		m.stop()
		m.up(quick()) // what is leased from here on lasts
		require.Equal(t, fault.ReasonFenced, reasonOf(m.complete(l, 1, 3)), "a lease that is lost is the worker's no more")
		m.noLease() // ingestion has not answered
		require.NoError(t, m.ingested(result(l, 1, 0, 0, 2, 0, true)), "what is applied before the fence is heard")
		m.store.setDown(false)

		next := m.lease()
		require.EqualValues(t, 1, next.GetPart())
		require.EqualValues(t, 2, next.GetEpoch())
		require.EqualValues(t, 2, m.store.fenceOf(r.GetId(), 1))
		require.False(t, m.store.commit(result(l, 2, 0, 0, 1, 0, true)), "the store lets nothing of epoch 1 in")

		for name, err := range map[string]error{
			"published": m.published(l, 5, 1),
			"complete":  m.complete(l, 1, 3),
			"quarantine": func() error {
				_, err := m.work.ReportQuarantined(t.Context(), &schedulerv1.ReportQuarantinedRequest{Batch: ref(l, 0), Error: &schedulerv1.RunError{}})
				return err
			}(),
			"ingested": func() error {
				_, err := m.work.ReportIngested(t.Context(), &schedulerv1.ReportIngestedRequest{Result: result(l, 3, 0, 0, 3, 0, true)})
				return err
			}(),
			"heartbeat": func() error {
				_, err := m.work.HeartbeatPart(t.Context(), &schedulerv1.HeartbeatPartRequest{Run: l.GetRun(), Part: l.GetPart(), Epoch: l.GetEpoch()})
				return err
			}(),
		} {
			require.Equal(t, fault.ReasonFenced, reasonOf(err), name)
			require.Equal(t, fault.Conflict, fault.ClassOf(fault.FromStatus(err)), name)
		}
		require.Zero(t, m.run(r.GetId()).GetCounts().GetRead(), "the account is that of the new epoch alone")
		require.Zero(t, m.part(r.GetId(), 1).GetTries(), "a lost lease is no try")
		m.whole(next, 2)
		end := m.reaches(r.GetId(), schedulerv1.RunState_RUN_STATE_SUCCEEDED)
		require.EqualValues(t, 6, end.GetCounts().GetRead())
		require.EqualValues(t, 2, end.GetBatches())
	})
}

func TestHeartbeatsKeepALease(t *testing.T) {
	m := start(t, "sqlite:"+t.TempDir()+"/c.db", quick())
	r := m.trigger(&schedulerv1.TriggerRunRequest{})
	m.plan("20", "10", "20")
	silent, l := m.lease(), m.lease()
	_, err := m.database().Exec(t.Context(), "UPDATE scheduler_parts SET lease_time = lease_time - ? WHERE state = 'leased'", (57 * time.Second).Microseconds())
	require.NoError(t, err) // both end in three seconds, and only one gives a sign of life
	m.until("the silent lease is lost", func() bool {
		resp, err := m.work.HeartbeatPart(t.Context(), &schedulerv1.HeartbeatPartRequest{Run: l.GetRun(), Part: l.GetPart(), Epoch: l.GetEpoch()})
		require.NoError(t, err)
		require.False(t, resp.GetCancel())
		return m.part(r.GetId(), silent.GetPart()).GetState() == schedulerv1.PartState_PART_STATE_WAITING
	})
	m.whole(l, 1)
	again := m.lease()
	require.Equal(t, silent.GetPart(), again.GetPart())
	m.whole(again, 1)
	m.reaches(r.GetId(), schedulerv1.RunState_RUN_STATE_SUCCEEDED)
	require.EqualValues(t, 1, m.part(r.GetId(), l.GetPart()).GetEpoch())
	require.EqualValues(t, 2, m.part(r.GetId(), again.GetPart()).GetEpoch())
}

func TestALostBatchMakesItsPartBeReadAgain(t *testing.T) {
	onBoth(t, func(t *testing.T, sql string) {
		set := quick()
		set.LossLimit, set.LossWindow = 300*time.Millisecond, 100*time.Millisecond
		m := start(t, sql, set)
		r, l := m.running("10")
		require.NoError(t, m.published(l, 0, 3))
		require.NoError(t, m.published(l, 1, 3))
		require.NoError(t, m.ingested(result(l, 0, 0, 0, 3, 0, true)))
		require.NoError(t, m.complete(l, 2, 6)) // batch 1 never arrives
		next := m.lease()
		require.EqualValues(t, 2, next.GetEpoch())
		m.whole(next, 2)
		end := m.reaches(r.GetId(), schedulerv1.RunState_RUN_STATE_SUCCEEDED)
		require.EqualValues(t, 6, end.GetCounts().GetRead())
		require.Zero(t, m.part(r.GetId(), 1).GetTries(), "a lost message is no try")
	})
}

func TestAFenceThatFindsEverythingAppliedCompletesThePart(t *testing.T) {
	onBoth(t, func(t *testing.T, sql string) {
		set := quick()
		set.LossLimit, set.LossWindow = 300*time.Millisecond, 100*time.Millisecond
		m := start(t, sql, set)
		r, l := m.running("10")
		require.NoError(t, m.published(l, 0, 3))
		require.True(t, m.store.commit(result(l, 0, 0, 0, 2, 0, false)), "applied, and its report lost")
		require.True(t, m.store.commit(result(l, 0, 1, 2, 1, 0, true)))
		require.NoError(t, m.complete(l, 1, 3))
		end := m.reaches(r.GetId(), schedulerv1.RunState_RUN_STATE_SUCCEEDED)
		require.EqualValues(t, 3, end.GetCounts().GetCreated())
		require.EqualValues(t, 1, m.part(r.GetId(), 1).GetEpoch(), "nobody read it again")
	})
}

func TestAQuarantinedBatchIsTriedFiveTimesAndThenNamed(t *testing.T) {
	onBoth(t, func(t *testing.T, sql string) {
		m := start(t, sql, quick())
		r, l := m.running("10")
		for try := 1; ; try++ {
			require.EqualValues(t, try, l.GetEpoch())
			require.NoError(t, m.published(l, 0, 3))
			require.NoError(t, m.published(l, 1, 3))
			if try%2 == 0 { // given up before the part is read to its end, or after
				require.NoError(t, m.complete(l, 2, 6))
			}
			for range 2 { // told twice, and of two batches: one try
				for seq := range uint32(2) {
					_, err := m.work.ReportQuarantined(t.Context(), &schedulerv1.ReportQuarantinedRequest{
						Batch: ref(l, seq), Error: &schedulerv1.RunError{Reason: "internal", Message: "it does not decode"},
					})
					if err != nil {
						require.Equal(t, fault.ReasonFenced, reasonOf(err))
					}
				}
			}
			if try == 5 {
				break
			}
			l = m.lease()
		}
		end := m.reaches(r.GetId(), schedulerv1.RunState_RUN_STATE_FAILED)
		require.Equal(t, "batch_quarantined", end.GetError().GetReason())
		require.Contains(t, end.GetError().GetMessage(), fmt.Sprintf("%s/1/5/0/0", r.GetId()))
		require.EqualValues(t, 5, m.part(r.GetId(), 1).GetTries())
		require.EqualValues(t, 6, m.store.fenceOf(r.GetId(), 1))
		m.trigger(&schedulerv1.TriggerRunRequest{})
		require.Empty(t, m.lease().GetCheckpoint(), "a failed run moves no checkpoint")
	})
}

func TestAnAccountThatCannotCloseIsAFailedTry(t *testing.T) {
	onBoth(t, func(t *testing.T, sql string) {
		m := start(t, sql, quick())
		r, l := m.running("10")
		wrong := result(l, 0, 0, 0, 3, 0, true)
		wrong.Digest[15]++
		require.NoError(t, m.published(l, 0, 3))
		require.NoError(t, m.complete(l, 1, 3))
		require.NoError(t, m.ingested(wrong))
		require.Equal(t, "account_unbalanced", m.part(r.GetId(), 1).GetError().GetReason())
		next := m.lease()
		require.EqualValues(t, 2, next.GetEpoch())
		require.EqualValues(t, 1, m.part(r.GetId(), 1).GetTries())
		m.whole(next, 1)
		require.True(t, m.reaches(r.GetId(), schedulerv1.RunState_RUN_STATE_SUCCEEDED).GetCertificate().GetBalanced())
	})
}

func TestTransientErrorsAreTriedAgainAndThenFailTheRun(t *testing.T) {
	onBoth(t, func(t *testing.T, sql string) {
		m := start(t, sql, quick())
		r := m.trigger(&schedulerv1.TriggerRunRequest{})
		m.fails(m.lease(), false, fault.ReasonWarehouseUnavailable) // planning too
		m.plan("10", "10")
		l := m.lease()
		require.NoError(t, m.ends(&schedulerv1.CompletePartRequest{Run: l.GetRun(), Part: l.GetPart(), Epoch: l.GetEpoch(), Released: true}))
		for range 5 {
			require.NotEqual(t, schedulerv1.RunState_RUN_STATE_FAILED, m.run(r.GetId()).GetState())
			m.fails(m.lease(), false, fault.ReasonWarehouseUnavailable)
		}
		end := m.reaches(r.GetId(), schedulerv1.RunState_RUN_STATE_FAILED)
		require.Equal(t, "warehouse_unavailable", end.GetError().GetReason())
		require.Contains(t, end.GetError().GetMessage(), "5 times")
		require.EqualValues(t, 5, m.part(r.GetId(), 1).GetTries(), "a part given back is no try")
		require.Equal(t, schedulerv1.PartState_PART_STATE_FAILED, m.part(r.GetId(), 1).GetState())
		m.succeeds(m.trigger(&schedulerv1.TriggerRunRequest{}).GetId(), "10")
		m.until("config was told", func() bool { return m.config.status("orders") != nil })
		require.Equal(t, configv1.SyncStatus_SYNC_STATUS_HEALTHY, m.config.status("orders").GetStatus(), "a busy warehouse is not for the owner to mend")
	})
}

func TestAPermanentErrorFaultsTheSyncUntilARunByHandSucceeds(t *testing.T) {
	onBoth(t, func(t *testing.T, sql string) {
		m := start(t, sql, quick())
		r := m.trigger(&schedulerv1.TriggerRunRequest{})
		m.store.setDown(true) // nothing was published: the run ends without ingestion
		m.fails(m.lease(), true, fault.ReasonQueryInvalid)
		end := m.reaches(r.GetId(), schedulerv1.RunState_RUN_STATE_FAILED)
		require.Equal(t, "query_invalid", end.GetError().GetReason())
		require.Equal(t, "it went wrong; do this", end.GetError().GetMessage())
		m.until("config was told", func() bool { return m.config.status("orders") != nil })
		st := m.config.status("orders")
		require.Equal(t, configv1.SyncStatus_SYNC_STATUS_FAULTED, st.GetStatus())
		require.Contains(t, st.GetReason(), "it went wrong")
		require.Contains(t, st.GetNextStep(), r.GetId())
		m.store.setDown(false)
		m.succeeds(m.trigger(&schedulerv1.TriggerRunRequest{}).GetId(), "10")
		m.until("config was told", func() bool {
			return m.config.status("orders").GetStatus() == configv1.SyncStatus_SYNC_STATUS_HEALTHY
		})
	})
}

func TestAPlanThatNoLongerHoldsIsMadeAgain(t *testing.T) {
	onBoth(t, func(t *testing.T, sql string) {
		m := start(t, sql, quick())
		r := m.trigger(&schedulerv1.TriggerRunRequest{})
		m.plan("20", "10", "20")
		done, l := m.lease(), m.lease()
		m.whole(done, 1)
		require.Equal(t, schedulerv1.PartState_PART_STATE_COMPLETE, m.part(r.GetId(), 1).GetState())
		m.store.setDown(true)
		require.NoError(t, m.ends(&schedulerv1.CompletePartRequest{Run: l.GetRun(), Part: l.GetPart(), Epoch: l.GetEpoch(), Replan: true}))
		require.Equal(t, schedulerv1.RunState_RUN_STATE_PLANNING, m.run(r.GetId()).GetState())
		m.noLease() // what the old plan left behind is not fenced yet
		m.store.setDown(false)
		again := m.plan("25", "25")
		require.EqualValues(t, 2, again.GetEpoch())
		require.EqualValues(t, 2, m.store.fenceOf(r.GetId(), 1), "finished parts are fenced for good too")
		require.EqualValues(t, 2, m.store.fenceOf(r.GetId(), 2))
		require.Equal(t, fault.ReasonFenced, reasonOf(m.published(l, 0, 3)))
		n := m.lease()
		require.EqualValues(t, 3, n.GetPart(), "a number is never given twice")
		m.whole(n, 1)
		end := m.reaches(r.GetId(), schedulerv1.RunState_RUN_STATE_SUCCEEDED)
		require.EqualValues(t, 3, end.GetCounts().GetRead(), "replaced parts are in no account")
		require.EqualValues(t, 1, end.GetParts())
		require.Equal(t, "25", end.GetWindow().GetHigh())
		require.Equal(t, schedulerv1.PartState_PART_STATE_REPLACED, m.part(r.GetId(), 1).GetState())
	})
}

func TestASourceThatNeverStandsStillFailsTheRun(t *testing.T) {
	m := start(t, "sqlite:"+t.TempDir()+"/c.db", quick())
	r := m.trigger(&schedulerv1.TriggerRunRequest{})
	for range 5 {
		m.plan("10", "10")
		l := m.lease()
		require.NoError(t, m.ends(&schedulerv1.CompletePartRequest{Run: l.GetRun(), Part: l.GetPart(), Epoch: l.GetEpoch(), Replan: true}))
	}
	require.Equal(t, "source_changed", m.reaches(r.GetId(), schedulerv1.RunState_RUN_STATE_FAILED).GetError().GetReason())
}

func TestCancelling(t *testing.T) {
	onBoth(t, func(t *testing.T, sql string) {
		m := start(t, sql, quick())
		m.succeeds(m.trigger(&schedulerv1.TriggerRunRequest{}).GetId(), "5")
		r := m.trigger(&schedulerv1.TriggerRunRequest{})
		m.plan("20", "10", "20")
		a, b := m.lease(), m.lease()
		m.whole(a, 1)
		require.NoError(t, m.published(b, 0, 3))
		require.NoError(t, m.published(b, 1, 3))
		require.NoError(t, m.ingested(result(b, 0, 0, 0, 3, 0, true)))

		resp, err := m.runs.CancelRun(t.Context(), &schedulerv1.CancelRunRequest{Id: r.GetId()})
		require.NoError(t, err)
		require.Equal(t, schedulerv1.RunState_RUN_STATE_CANCELLED, resp.GetRun().GetState())
		require.EqualValues(t, 2, m.store.fenceOf(r.GetId(), 2), "no batch comes in after the answer")
		require.EqualValues(t, 6, resp.GetRun().GetCounts().GetCreated(), "what is accounted stands")
		require.False(t, resp.GetRun().GetCertificate().GetBalanced())
		beat, err := m.work.HeartbeatPart(t.Context(), &schedulerv1.HeartbeatPartRequest{Run: b.GetRun(), Part: b.GetPart(), Epoch: b.GetEpoch()})
		require.NoError(t, err)
		require.True(t, beat.GetCancel())
		require.Equal(t, fault.ReasonFenced, reasonOf(m.published(b, 2, 3)))
		m.noLease()

		again, err := m.runs.CancelRun(t.Context(), &schedulerv1.CancelRunRequest{Id: r.GetId()})
		require.NoError(t, err)
		require.Equal(t, resp.GetRun().GetEndTime(), again.GetRun().GetEndTime())
		r2 := m.trigger(&schedulerv1.TriggerRunRequest{})
		l := m.lease()
		require.Equal(t, "5", l.GetCheckpoint(), "the checkpoint stays")
		require.NoError(t, m.reportPlan(l, "20", "20"))
		m.whole(m.lease(), 1)
		m.reaches(r2.GetId(), schedulerv1.RunState_RUN_STATE_SUCCEEDED)
		_, err = m.runs.CancelRun(t.Context(), &schedulerv1.CancelRunRequest{Id: r2.GetId()})
		require.Equal(t, fault.ReasonRunState, reasonOf(err))
	})
}

func TestARestartGoesOnUnderTheSameIds(t *testing.T) {
	onBoth(t, func(t *testing.T, sql string) {
		set := quick()
		m := start(t, sql, set)
		r := m.trigger(&schedulerv1.TriggerRunRequest{})
		m.plan("20", "10", "20")
		a, b := m.lease(), m.lease()
		m.whole(a, 1)
		require.NoError(t, m.published(b, 0, 3))
		m.stop()
		m = m.another(set)
		require.NoError(t, m.ingested(result(b, 0, 0, 0, 3, 0, true)), "workers go on under the leases they have")
		require.NoError(t, m.complete(b, 1, 3))
		end := m.reaches(r.GetId(), schedulerv1.RunState_RUN_STATE_SUCCEEDED)
		require.EqualValues(t, 6, end.GetCounts().GetRead())
		require.True(t, end.GetCertificate().GetBalanced())
	})
}
