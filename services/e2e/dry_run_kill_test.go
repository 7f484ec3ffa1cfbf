package e2e_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"

	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
)

// pointsOfDryRuns are the points that only a dry run passes.
func pointsOfDryRuns() []kill {
	return []kill{
		{point: "ingestion.rehearse.before", time: 3},
		{point: "ingestion.rehearse.after", time: 3},
	}
}

// TestKillPointsOfADryRun kills the one process while the third batch of a dry run is noted. The dry run goes on under its
// id, stores nothing, and counts what the run then does.
func TestKillPointsOfADryRun(t *testing.T) {
	t.Parallel()
	const n = 30_000
	for _, k := range pointsOfDryRuns() {
		t.Run(k.point, func(t *testing.T) {
			t.Parallel() // they mostly wait for leases
			w := newWarehouse(t, n)
			w.exec(t, "UPDATE customers SET email = 'shared' || (id % 7000) || '@x' WHERE id % 3 = 0")
			m := newArmed(t)
			at := k.point + ":3"
			m.live(t, at)
			m.ready(t)
			m.apply(t, "", w.documents("customers", asIs))
			empty := m.digest(t)
			if _, err := m.rehearseOnce(t); err != nil {
				t.Log("the process died before it answered:", err)
			}
			m.die(t, at)
			m.live(t, "")
			m.ready(t)
			id, err := m.rehearseOnce(t)
			require.NoError(t, err)
			tried := m.end(t, id)
			requireState(t, tried, schedulerv1.RunState_RUN_STATE_REHEARSED)
			require.True(t, proto.Equal(empty, m.digest(t)))
			done := m.run(t, "customers")
			require.Equal(t, prototext.Format(done.GetCounts()), prototext.Format(tried.GetCounts()))
			require.EqualValues(t, 2, done.GetRunNo(), "no other run was made")
		})
	}
}

// rehearseOnce starts the dry run, or answers it.
func (m mortal) rehearseOnce(t *testing.T) (string, error) {
	t.Helper()
	res, err := m.scheduler.TriggerRun(t.Context(), &schedulerv1.TriggerRunRequest{
		Workspace: m.workspace, Sync: "customers", Reason: schedulerv1.RunReason_RUN_REASON_MANUAL, IdempotencyKey: "dry", DryRun: true,
	}, grpc.WaitForReady(true))
	return res.GetRun().GetId(), err
}
