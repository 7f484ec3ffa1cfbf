package e2e_test

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
)

// undisturbed is what a run that nobody disturbs leaves.
type undisturbed struct {
	run    *schedulerv1.Run
	digest string
}

// requireSame says that a disturbed run counted and stored what the undisturbed one did.
func (u undisturbed) requireSame(t *testing.T, m mesh, r *schedulerv1.Run) {
	t.Helper()
	requireState(t, r, schedulerv1.RunState_RUN_STATE_SUCCEEDED)
	require.Equal(t, u.run.GetCounts().String(), r.GetCounts().String())
	require.Equal(t, u.run.GetCertificate().GetRowsDigest(), r.GetCertificate().GetRowsDigest())
	require.Equal(t, u.digest, m.digest(t).GetDigest())
}

// oneChild prepares the one-process form as a child process over its own data folder.
func oneChild(t *testing.T) (*child, mesh) {
	t.Helper()
	c := newChild(t, "millrace", "up", "--data", filepath.Join(t.TempDir(), "data"), "--http", "none")
	conn := dial(t, c.addr)
	return c, clients(conn, conn, conn)
}

// TestKillOfTheOneProcess kills the one-process form at three points of a run and starts it again. The run goes on
// under its id, and counts, certificate and store digest are those of an undisturbed run.
func TestKillOfTheOneProcess(t *testing.T) {
	t.Parallel()
	n := 1_000_000
	if testing.Short() {
		n = 200_000
	}
	w := newWarehouse(t, n)
	documents := w.documents("customers", asIs)

	calm, m := oneChild(t)
	calm.start(t)
	calm.ready(t)
	m.apply(t, "", documents)
	want := undisturbed{run: m.run(t, "customers")}
	want.digest = m.digest(t).GetDigest()
	calm.kill(t)
	require.EqualValues(t, n, want.run.GetCounts().GetCreated())

	c, m := oneChild(t)
	c.start(t)
	c.ready(t)
	m.apply(t, "", documents)
	id := m.trigger(t, "customers")
	for _, tenths := range []int64{1, 4, 8} {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		m.until(ctx, t, id, func(r *schedulerv1.Run) bool {
			require.False(t, over(r), "the run ended before it could be killed at %d tenths", tenths)
			return r.GetIngestedRows() >= int64(n)*tenths/10
		})
		cancel()
		c.kill(t)
		c.start(t)
		c.ready(t)
	}
	want.requireSame(t, m, m.end(t, id))
}

// TestKillOfEachOfFive kills each of the five processes once in the middle of a run and starts it again.
func TestKillOfEachOfFive(t *testing.T) {
	t.Parallel()
	const n = 300_000
	f := startFive(t)
	w := newWarehouse(t, n)
	documents := w.documents("customers", asIs)
	calm := f.in("calm")
	calm.apply(t, "", documents)
	want := calm.run(t, "customers")

	for i, c := range f.children {
		t.Run(c.name, func(t *testing.T) {
			m := f.in(fmt.Sprintf("killed-%d", i))
			m.apply(t, "", documents)
			id := m.trigger(t, "customers")
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			m.until(ctx, t, id, func(r *schedulerv1.Run) bool {
				require.False(t, over(r), "the run ended before %s could be killed", c.name)
				return r.GetIngestedRows() > 0
			})
			c.kill(t)
			c.start(t)
			c.ready(t)
			r := m.end(t, id)
			requireState(t, r, schedulerv1.RunState_RUN_STATE_SUCCEEDED)
			require.Equal(t, want.GetCounts().String(), r.GetCounts().String())
			require.Equal(t, want.GetCertificate().GetRowsDigest(), r.GetCertificate().GetRowsDigest())
			require.EqualValues(t, n, m.digest(t).GetProfiles())
		})
	}
}
