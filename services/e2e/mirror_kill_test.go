package e2e_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"

	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
)

// pointsOfMirrors are the points that only a mirror passes whose warehouse finds out what has changed.
func pointsOfMirrors() []kill {
	return []kill{
		{point: "extractor.compare.before"},
		{point: "extractor.compare.after"},
		{point: "extractor.drop.before"},
		{point: "extractor.drop.after"},
	}
}

// TestKillPointsOfAMirror kills the one process in the second run of a mirror by diff: while its snapshot is made, while
// its plan is told, while the run is closed with its snapshot as the next base, and while the old one is dropped. The run
// and the next one do what undisturbed ones do: no change is lost, and none comes twice.
func TestKillPointsOfAMirror(t *testing.T) {
	t.Parallel()
	const n = 2000
	for _, k := range append(pointsOfMirrors(), kill{point: "extractor.plan.made"}, kill{point: "scheduler.plan.after"},
		kill{point: "scheduler.close.before"}, kill{point: "scheduler.close.after"}) {
		t.Run(k.point, func(t *testing.T) {
			t.Parallel() // they mostly wait for leases
			x := newLedger(t, "duckdb", n)
			x.engine = "diff"
			m := newArmed(t)
			m.live(t, "")
			m.ready(t)
			x.play(t, m.mesh, nil)
			m.kill(t)
			at := k.point + ":1"
			m.live(t, at)
			m.ready(t)

			before := x.copy()
			x.exec(t, "DELETE FROM people WHERE id <= 100", "UPDATE people SET plan = 'second' WHERE id > 1900")
			for id, row := range x.rows {
				if id <= 100 {
					delete(x.rows, id)
				} else if id > 1900 {
					row["plan"] = "second"
				}
			}
			x.insert(t, 50)
			if _, err := m.mirrorOnce(t); err != nil {
				t.Log("the process died before it answered:", err)
			}
			m.die(t, at)
			m.live(t, "")
			m.ready(t)
			id, err := m.mirrorOnce(t)
			require.NoError(t, err)
			second := m.end(t, id)
			requireState(t, second, schedulerv1.RunState_RUN_STATE_SUCCEEDED)
			c := second.GetCounts()
			require.Equal(t, wanted{created: 50, updated: 100, deleted: 100}, wanted{c.GetCreated(), c.GetUpdated(), c.GetUnchanged(), c.GetDeleted()})
			require.Equal(t, changesOf(before, x.rows).created, c.GetCreated())
			require.Equal(t, x.rows, m.stored(t))

			before = x.copy()
			x.exec(t, "UPDATE people SET city = 'third' WHERE id = 1000")
			x.rows[1000]["city"] = "third"
			third := x.play(t, m.mesh, before)
			require.EqualValues(t, 1, third.GetCounts().GetRead(), "the second run's snapshot is the base")
			require.EqualValues(t, 3, third.GetRunNo(), "no other run was made")
		})
	}
}

// mirrorOnce starts the second run of the mirror, or answers it.
func (m mortal) mirrorOnce(t *testing.T) (string, error) {
	t.Helper()
	res, err := m.scheduler.TriggerRun(t.Context(), &schedulerv1.TriggerRunRequest{
		Workspace: m.workspace, Sync: "people", Reason: schedulerv1.RunReason_RUN_REASON_MANUAL, IdempotencyKey: "second",
	}, grpc.WaitForReady(true))
	return res.GetRun().GetId(), err
}
