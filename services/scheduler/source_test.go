package scheduler_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/timestamppb"

	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
	"millrace.dev/pkg/fault"
)

// counted plays part 0: a plan of two parts whose rows the warehouse counted.
func (m *mesh) counted(rows int64) {
	m.t.Helper()
	l := m.lease()
	require.Zero(m.t, l.GetPart())
	_, err := m.work.ReportPlan(m.t.Context(), &schedulerv1.ReportPlanRequest{Run: l.GetRun(), Epoch: l.GetEpoch(), Plan: &schedulerv1.RunPlan{
		Snapshot: "s1", SnapshotTime: timestamppb.New(time.Unix(1_800_000_000, 0)), Watermark: "20", PayloadCap: 1 << 20, KeyColumns: []string{"id"},
		CountedRows: &rows, FutureRows: 7,
		Parts: []*schedulerv1.PartRange{{High: "10"}, {Low: "10", High: "20", HighClosed: true}},
	}})
	require.NoError(m.t, err)
}

// under plays a part of one batch of three rows that was read under a snapshot.
func (m *mesh) under(l *schedulerv1.PartLease, snapshot string) {
	m.t.Helper()
	require.NoError(m.t, m.published(l, 0, 3))
	require.NoError(m.t, m.ingested(result(l, 0, 0, 0, 3, 0, true)))
	require.NoError(m.t, m.ends(&schedulerv1.CompletePartRequest{
		Run: l.GetRun(), Part: l.GetPart(), Epoch: l.GetEpoch(), Batches: 1, Rows: 3, Snapshot: snapshot,
	}))
}

func TestWhatWasReadIsWhatTheWarehouseCounted(t *testing.T) {
	onBoth(t, func(t *testing.T, sql string) {
		m := start(t, sql, quick())
		r := m.trigger(&schedulerv1.TriggerRunRequest{})
		m.counted(6)
		a, b := m.lease(), m.lease()
		m.under(a, "s1")
		m.under(b, "s1")
		done := m.reaches(r.GetId(), schedulerv1.RunState_RUN_STATE_SUCCEEDED)
		require.True(t, done.GetCertificate().GetBalanced())
		require.EqualValues(t, 6, done.GetCertificate().GetSourceRows())
		require.Equal(t, []string{"s1"}, done.GetCertificate().GetSnapshots())
		require.Equal(t, "s1", m.part(r.GetId(), 1).GetSnapshot())
		require.EqualValues(t, 7, done.GetFutureRows())

		r = m.trigger(&schedulerv1.TriggerRunRequest{})
		m.counted(7)
		a, b = m.lease(), m.lease()
		m.under(a, "s1")
		m.under(b, "s1")
		failed := m.reaches(r.GetId(), schedulerv1.RunState_RUN_STATE_FAILED)
		require.Equal(t, fault.ReasonAccountUnbalanced.Word(), failed.GetError().GetReason())
		require.Contains(t, failed.GetError().GetMessage(), "counted 7 rows in the snapshot, but 6 were read")
		require.False(t, failed.GetCertificate().GetBalanced())
	})
}

func TestPartsUnderAnotherSnapshotAreNotHeldAgainstTheCount(t *testing.T) {
	m := start(t, "sqlite:"+t.TempDir()+"/c.db", quick())
	r := m.trigger(&schedulerv1.TriggerRunRequest{})
	m.counted(5)
	a, b := m.lease(), m.lease()
	m.under(a, "s1")
	m.under(b, "s2")
	done := m.reaches(r.GetId(), schedulerv1.RunState_RUN_STATE_SUCCEEDED)
	require.True(t, done.GetCertificate().GetBalanced())
	require.Nil(t, done.GetCertificate().SourceRows)
	require.Equal(t, []string{"s1", "s2"}, done.GetCertificate().GetSnapshots())
}
