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

const (
	runHeld      = schedulerv1.RunState_RUN_STATE_HELD
	runSucceeded = schedulerv1.RunState_RUN_STATE_SUCCEEDED
)

func (m *mesh) approve(runID string) (*schedulerv1.Run, error) {
	r, err := m.runs.ApproveRun(m.t.Context(), &schedulerv1.ApproveRunRequest{Id: runID})
	return r.GetRun(), err
}

func (m *mesh) drop(runID string) (*schedulerv1.Run, error) {
	r, err := m.runs.DropRun(m.t.Context(), &schedulerv1.DropRunRequest{Id: runID})
	return r.GetRun(), err
}

// updates plays ingestion: all rows of a batch are updated; nothing is kept in a dry pass.
func (m *mesh) updates(l *schedulerv1.PartLease, rows int64) {
	m.t.Helper()
	r := result(l, 0, 0, 0, rows, 0, true)
	r.Counts.Created, r.Counts.Updated = 0, rows
	if !l.GetDry() {
		require.NoError(m.t, m.ingested(r))
		return
	}
	r.Samples = []*schedulerv1.EffectSample{{Effect: "updated", KeyValues: []string{"1"}}, {Effect: "updated", KeyValues: []string{"2"}}}
	_, err := m.work.ReportIngested(m.t.Context(), &schedulerv1.ReportIngestedRequest{Result: r})
	require.NoError(m.t, err)
}

// load plays a first run that creates three rows, without a guard.
func (m *mesh) load() {
	m.t.Helper()
	r := m.trigger(&schedulerv1.TriggerRunRequest{})
	m.succeeds(r.GetId(), "10")
	m.config.terms.Guard = &configv1.Guard{Updates: &configv1.GuardLimit{MaxPercent: 50, MinRows: 1}}
}

// dryPass plays the dry pass of a guarded run that would update `rows` rows.
func (m *mesh) dryPass(rows int64) *schedulerv1.Run {
	m.t.Helper()
	r := m.trigger(&schedulerv1.TriggerRunRequest{})
	m.plan("20", "20")
	l := m.lease()
	require.True(m.t, l.GetDry(), "a guarded run begins with a dry pass")
	require.True(m.t, m.run(r.GetId()).GetDry())
	require.NoError(m.t, m.published(l, 0, rows))
	m.updates(l, rows)
	require.NoError(m.t, m.complete(l, 1, rows))
	return r
}

// written plays the pass that writes.
func (m *mesh) written(runID string, rows int64) *schedulerv1.Run {
	m.t.Helper()
	l := m.lease()
	require.False(m.t, l.GetDry())
	require.EqualValues(m.t, 2, l.GetEpoch(), "nothing that the dry pass left behind has an effect")
	require.NoError(m.t, m.published(l, 0, rows))
	m.updates(l, rows)
	require.NoError(m.t, m.complete(l, 1, rows))
	done := m.reaches(runID, runSucceeded)
	require.Equal(m.t, rows, done.GetCounts().GetUpdated())
	require.Equal(m.t, rows, done.GetCounts().GetRead(), "the dry pass is not counted")
	require.True(m.t, done.GetCertificate().GetBalanced())
	require.False(m.t, done.GetDry())
	return done
}

func TestAGuardedRunWithinItsBoundsGoesOn(t *testing.T) {
	onBoth(t, func(t *testing.T, sql string) {
		m := start(t, sql, quick())
		m.load()
		r := m.dryPass(1)
		m.written(r.GetId(), 1)
	})
}

func TestABreachHoldsTheRunUntilItsOwnerApproves(t *testing.T) {
	onBoth(t, func(t *testing.T, sql string) {
		m := start(t, sql, quick())
		m.load()
		r := m.dryPass(3)
		held := m.reaches(r.GetId(), runHeld)
		require.Equal(t, fault.ReasonGuardBreached.Word(), held.GetHold().GetReason())
		require.Contains(t, held.GetHold().GetMessage(), "3 of 3 known rows would be updated")
		require.Len(t, held.GetHold().GetSamples(), 2)
		require.NotEmpty(t, held.GetHold().GetApprove())
		require.NotEmpty(t, held.GetHold().GetDrop())
		m.until("config is told", func() bool {
			return m.config.status("orders").GetStatus() == configv1.SyncStatus_SYNC_STATUS_HELD
		})
		require.Contains(t, m.config.status("orders").GetNextStep(), "runs approve "+r.GetId())
		m.noLease()

		m.stop()
		m.up(quick())
		m.noLease()
		require.Equal(t, runHeld, m.run(r.GetId()).GetState(), "a restart keeps it held")

		on, err := m.approve(r.GetId())
		require.NoError(t, err)
		require.Equal(t, schedulerv1.RunState_RUN_STATE_RUNNING, on.GetState())
		_, err = m.approve(r.GetId())
		require.NoError(t, err, "asked again it changes nothing")
		m.until("config is told", func() bool {
			return m.config.status("orders").GetStatus() == configv1.SyncStatus_SYNC_STATUS_HEALTHY
		})
		done := m.written(r.GetId(), 3)
		require.NotNil(t, done.GetHold(), "why it was held is kept")
		_, err = m.approve(r.GetId())
		require.Equal(t, fault.ReasonRunState, reasonOf(err))
	})
}

func TestADroppedRunHasWrittenNothing(t *testing.T) {
	m := start(t, "sqlite:"+t.TempDir()+"/c.db", quick())
	m.load()
	r := m.dryPass(3)
	m.reaches(r.GetId(), runHeld)
	done, err := m.drop(r.GetId())
	require.NoError(t, err)
	require.Equal(t, schedulerv1.RunState_RUN_STATE_CANCELLED, done.GetState())
	require.Zero(t, done.GetCounts().GetUpdated())
	_, err = m.drop(r.GetId())
	require.NoError(t, err, "asked again it changes nothing")
	m.until("config is told", func() bool {
		return m.config.status("orders").GetStatus() == configv1.SyncStatus_SYNC_STATUS_HEALTHY
	})

	// A retry of it makes its own dry pass.
	resp, err := m.runs.RetryRun(t.Context(), &schedulerv1.RetryRunRequest{Id: r.GetId()})
	require.NoError(t, err)
	require.Zero(t, m.lease().GetPart(), "it plans anew")
	require.True(t, m.run(resp.GetRun().GetId()).GetDry())
}

func TestANotifyingGuardGoesOnAndSaysSo(t *testing.T) {
	m := start(t, "sqlite:"+t.TempDir()+"/c.db", quick())
	m.load()
	m.config.terms.Guard.OnBreach = configv1.GuardAction_GUARD_ACTION_NOTIFY
	r := m.dryPass(3)
	done := m.written(r.GetId(), 3)
	require.Len(t, done.GetNotices(), 1)
	require.Nil(t, done.GetHold())
}

func TestNullsAreGuardedByColumn(t *testing.T) {
	m := start(t, "sqlite:"+t.TempDir()+"/c.db", quick())
	m.config.terms.Guard = &configv1.Guard{Nulls: &configv1.GuardLimit{MaxPercent: 50, MinRows: 1}}
	r := m.trigger(&schedulerv1.TriggerRunRequest{})
	m.plan("20", "20")
	l := m.lease()
	for range 2 { // told again it counts once
		_, err := m.work.ReportExtracted(t.Context(), &schedulerv1.ReportExtractedRequest{
			Batch: ref(l, 0), Rows: 3, Digest: digest(l.GetPart(), 0, 0, 3), Nulls: map[string]int64{"email": 2, "plan": 1},
		})
		require.NoError(t, err)
	}
	m.updates(l, 3)
	require.NoError(t, m.complete(l, 1, 3))
	held := m.reaches(r.GetId(), runHeld)
	require.Contains(t, held.GetHold().GetMessage(), `2 of 3 rows read have no value in column "email"`)
	require.NotContains(t, held.GetHold().GetMessage(), "plan")
}

func TestTooManyRejectsHoldARunInItsMiddle(t *testing.T) {
	onBoth(t, func(t *testing.T, sql string) {
		m := start(t, sql, quick())
		m.config.terms.RejectLimit = &configv1.RejectLimit{Percent: 50, Of: 3}
		r := m.trigger(&schedulerv1.TriggerRunRequest{})
		m.plan("20", "20")
		l := m.lease()
		require.NoError(t, m.published(l, 0, 3))
		require.NoError(t, m.ingested(result(l, 0, 0, 0, 3, 2, true)))
		held := m.reaches(r.GetId(), runHeld)
		require.Equal(t, fault.ReasonRejectLimit.Word(), held.GetHold().GetReason())
		beat, err := m.work.HeartbeatPart(t.Context(), &schedulerv1.HeartbeatPartRequest{Run: l.GetRun(), Part: l.GetPart(), Epoch: l.GetEpoch()})
		require.NoError(t, err)
		require.True(t, beat.GetCancel(), "workers give their parts back")
		require.NoError(t, m.ends(&schedulerv1.CompletePartRequest{Run: l.GetRun(), Part: l.GetPart(), Epoch: l.GetEpoch(), Released: true}))
		m.noLease()

		_, err = m.approve(r.GetId())
		require.NoError(t, err)
		l = m.lease()
		require.Zero(t, m.part(r.GetId(), 1).GetTries())
		require.NoError(t, m.published(l, 0, 3))
		require.NoError(t, m.ingested(result(l, 0, 0, 0, 3, 2, true)))
		require.NoError(t, m.complete(l, 1, 3))
		m.reaches(r.GetId(), schedulerv1.RunState_RUN_STATE_PARTIALLY_SUCCEEDED)
	})
}

func TestADryPassThatIsHeldForItsRejectsGoesOnDry(t *testing.T) {
	m := start(t, "sqlite:"+t.TempDir()+"/c.db", quick())
	m.load()
	m.config.terms.RejectLimit = &configv1.RejectLimit{Percent: 50, Of: 3}
	r := m.trigger(&schedulerv1.TriggerRunRequest{})
	m.plan("20", "20")
	rejecting := func(l *schedulerv1.PartLease) error {
		require.NoError(t, m.published(l, 0, 3))
		x := result(l, 0, 0, 0, 3, 3, true)
		_, err := m.work.ReportIngested(t.Context(), &schedulerv1.ReportIngestedRequest{Result: x})
		return err
	}
	l := m.lease()
	require.NoError(t, rejecting(l))
	m.reaches(r.GetId(), runHeld)
	require.NoError(t, m.ends(&schedulerv1.CompletePartRequest{Run: l.GetRun(), Part: l.GetPart(), Epoch: l.GetEpoch(), Released: true}))
	_, err := m.approve(r.GetId())
	require.NoError(t, err)
	l = m.lease()
	require.True(t, l.GetDry(), "the dry pass is not over")
	require.NoError(t, rejecting(l))
	require.NoError(t, m.complete(l, 1, 3))
	require.False(t, m.lease().GetDry())
}

func TestASmallRunIsJudgedByItsRejectsAtItsEnd(t *testing.T) {
	m := start(t, "sqlite:"+t.TempDir()+"/c.db", quick())
	m.config.terms.RejectLimit = &configv1.RejectLimit{Percent: 50, Of: 1000}
	r := m.trigger(&schedulerv1.TriggerRunRequest{})
	m.plan("20", "20")
	l := m.lease()
	require.NoError(t, m.published(l, 0, 3))
	require.NoError(t, m.ingested(result(l, 0, 0, 0, 3, 2, true)))
	require.Equal(t, schedulerv1.RunState_RUN_STATE_RUNNING, m.run(r.GetId()).GetState())
	require.NoError(t, m.complete(l, 1, 3))
	m.reaches(r.GetId(), runHeld)
	_, err := m.approve(r.GetId())
	require.NoError(t, err)
	m.reaches(r.GetId(), schedulerv1.RunState_RUN_STATE_PARTIALLY_SUCCEEDED)
}

// empty plays a complete read of no row.
func (m *mesh) empty() *schedulerv1.Run {
	m.t.Helper()
	r := m.trigger(&schedulerv1.TriggerRunRequest{})
	l := m.lease()
	_, err := m.work.ReportPlan(m.t.Context(), &schedulerv1.ReportPlanRequest{Run: l.GetRun(), Epoch: l.GetEpoch(), Plan: &schedulerv1.RunPlan{
		Snapshot: "s1", SnapshotTime: timestamppb.New(time.Unix(1_800_000_000, 0)), PayloadCap: 1 << 20,
		Parts: []*schedulerv1.PartRange{{}}, CompleteRead: true, KeyColumns: []string{"id"},
	}})
	require.NoError(m.t, err)
	require.NoError(m.t, m.complete(m.lease(), 0, 0))
	return r
}

func TestACompleteReadOfNothingIsHeldWhereThereWereRows(t *testing.T) {
	m := start(t, "sqlite:"+t.TempDir()+"/c.db", quick())
	m.reaches(m.empty().GetId(), runSucceeded) // there were none
	m.load()
	m.config.terms.Guard = nil
	r := m.empty()
	held := m.reaches(r.GetId(), runHeld)
	require.Equal(t, fault.ReasonEmptyRead.Word(), held.GetHold().GetReason())
	_, err := m.approve(r.GetId())
	require.NoError(t, err)
	m.reaches(r.GetId(), runSucceeded)
}

func TestTicksThatMeetAHeldRunAreSkippedAndCounted(t *testing.T) {
	m := start(t, "sqlite:"+t.TempDir()+"/c.db", quick())
	m.load()
	r := m.dryPass(3)
	m.reaches(r.GetId(), runHeld)
	y := m.config.get("orders")
	m.config.put(&configv1.ScheduledSync{
		Workspace: y.GetWorkspace(), Id: y.GetId(), Uid: y.GetUid(), Version: 1, Mode: y.GetMode(), State: y.GetState(), ActiveSince: y.GetActiveSince(),
		Status:   configv1.SyncStatus_SYNC_STATUS_HELD,
		Schedule: &configv1.Schedule{When: &configv1.Schedule_Every{Every: &configv1.Every{Every: "1s"}}},
	})
	m.until("ticks are skipped", func() bool { return m.run(r.GetId()).GetSkippedTicks() > 0 })
	require.Equal(t, runHeld, m.run(r.GetId()).GetState())
}

func TestDriftHoldsTheRunBeforeAnythingIsRead(t *testing.T) {
	onBoth(t, func(t *testing.T, sql string) {
		m := start(t, sql, quick())
		columns := []*schedulerv1.PlanColumn{{Name: "id", Type: "BIGINT", ArrowType: "int64"}}
		plan := &schedulerv1.RunPlan{
			Snapshot: "s1", SnapshotTime: timestamppb.New(time.Unix(1_800_000_000, 0)), Watermark: "10", PayloadCap: 1 << 20,
			Parts: []*schedulerv1.PartRange{{High: "10", HighClosed: true}}, ModelFingerprint: "f", Columns: columns,
		}
		first := m.trigger(&schedulerv1.TriggerRunRequest{})
		l := m.lease()
		require.Nil(t, l.GetAccepted(), "there is nothing to compare with")
		_, err := m.work.ReportPlan(t.Context(), &schedulerv1.ReportPlanRequest{Run: l.GetRun(), Epoch: l.GetEpoch(), Plan: plan})
		require.NoError(t, err)
		m.whole(m.lease(), 1)
		m.reaches(first.GetId(), runSucceeded)

		r := m.trigger(&schedulerv1.TriggerRunRequest{})
		l = m.lease()
		require.Equal(t, "f", l.GetAccepted().GetModelFingerprint())
		require.Len(t, l.GetAccepted().GetColumns(), 1)
		require.False(t, l.GetDriftApproved())
		report := &schedulerv1.ReportPlanRequest{Run: l.GetRun(), Epoch: l.GetEpoch(), Plan: &schedulerv1.RunPlan{
			Hold: true, Drift: []*schedulerv1.ColumnChange{{Column: "email", Change: "dropped", Was: "VARCHAR", Action: "held", Choices: "approve: goes on without it"}},
		}}
		_, err = m.work.ReportPlan(t.Context(), report)
		require.NoError(t, err)
		_, err = m.work.ReportPlan(t.Context(), report)
		require.Equal(t, fault.ReasonFenced, reasonOf(err), "the part was given back")
		held := m.reaches(r.GetId(), runHeld)
		require.Equal(t, fault.ReasonSchemaDrift.Word(), held.GetHold().GetReason())
		require.Equal(t, "email", held.GetHold().GetColumns()[0].GetColumn())
		require.Contains(t, held.GetHold().GetMessage(), `"email" dropped`)
		m.noLease()
		_, err = m.approve(r.GetId())
		require.NoError(t, err)
		l = m.lease()
		require.Zero(t, l.GetPart())
		require.True(t, l.GetDriftApproved())
		_, err = m.work.ReportPlan(t.Context(), &schedulerv1.ReportPlanRequest{Run: l.GetRun(), Epoch: l.GetEpoch(), Plan: plan})
		require.NoError(t, err)
		m.whole(m.lease(), 1)
		m.reaches(r.GetId(), runSucceeded)
	})
}
