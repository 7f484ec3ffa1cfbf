package e2e_test

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"

	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
	"millrace.dev/pkg/killpoint"
	"millrace.dev/pkg/testenv"
)

// kill is a place of the protocol at which the process is killed.
type kill struct {
	point string // as the code and the README name it
	time  int    // which time that it is reached
	first string // a kill in an earlier life of the process, as POINT:TIME; it leaves what this one is about
}

// leftover is a kill that leaves a part leased with a batch that is published and not reported. The next life takes the lease
// back, fences the part and leases it again.
const leftover = "extractor.report.before:2"

// pointsOfTheRun are the points that a run over the embedded store passes, in the order of the design's steps.
func pointsOfTheRun() []kill {
	return []kill{
		{point: "scheduler.create.before", time: 1},
		{point: "scheduler.create.after", time: 1},
		{point: "scheduler.lease.before", time: 2},
		{point: "scheduler.lease.after", time: 2},
		{point: "extractor.lease.after", time: 2},
		{point: "extractor.plan.before", time: 1},
		{point: "extractor.plan.made", time: 1},
		{point: "scheduler.plan.before", time: 1},
		{point: "scheduler.plan.after", time: 1},
		{point: "extractor.plan.after", time: 1},
		{point: "extractor.read.before", time: 2},
		{point: "extractor.read.after", time: 4},
		{point: "extractor.encode.before", time: 4},
		{point: "extractor.encode.after", time: 4},
		{point: "extractor.publish.before", time: 4},
		{point: "extractor.publish.after", time: 4},
		{point: "extractor.report.before", time: 4},
		{point: "scheduler.extracted.before", time: 4},
		{point: "scheduler.extracted.after", time: 4},
		{point: "extractor.report.after", time: 4},
		{point: "extractor.complete.before", time: 2},
		{point: "scheduler.complete.before", time: 1},
		{point: "scheduler.complete.after", time: 2},
		{point: "extractor.complete.after", time: 2},
		{point: "mapper.apply.before", time: 3},
		{point: "mapper.publish.before", time: 3},
		{point: "mapper.publish.after", time: 3},
		{point: "bus.ack.before/ROWS", time: 3},
		{point: "bus.ack.after/ROWS", time: 3},
		{point: "ingestion.look.before", time: 3},
		{point: "ingestion.look.after", time: 3},
		{point: "pebble.commit.before", time: 3},
		{point: "pebble.commit.applied", time: 3},
		{point: "pebble.commit.after", time: 3},
		{point: "ingestion.report.before", time: 3},
		{point: "scheduler.ingested.before", time: 3},
		{point: "scheduler.ingested.after", time: 3},
		{point: "ingestion.report.after", time: 3},
		{point: "bus.ack.before/RECORDS", time: 3},
		{point: "bus.ack.after/RECORDS", time: 3},
		{point: "scheduler.reap.before", time: 1, first: leftover},
		{point: "scheduler.reap.after", time: 1, first: leftover},
		{point: "scheduler.fence.before", time: 1, first: leftover},
		{point: "pebble.fence.before", time: 1, first: leftover},
		{point: "pebble.fence.after", time: 1, first: leftover},
		{point: "scheduler.fence.answered", time: 1, first: leftover},
		{point: "scheduler.fence.after", time: 1, first: leftover},
		{point: "scheduler.close.before", time: 1},
		{point: "scheduler.close.after", time: 1},
		{point: "scheduler.status.before", time: 1},
		{point: "scheduler.status.after", time: 1},
	}
}

// pointsOfPostgres are the points inside the store in PostgreSQL.
func pointsOfPostgres() []kill {
	return []kill{
		{point: "postgres.commit.before", time: 3},
		{point: "postgres.commit.after", time: 3},
		{point: "postgres.fence.before", time: 1, first: leftover},
		{point: "postgres.fence.after", time: 1, first: leftover},
	}
}

// TestKillPoints kills the one process at each named point before and after the protocol's steps, and starts it again. The
// run is there once and ends as an undisturbed one does: counts, certificate and store digest; and so does the next run,
// which goes from its checkpoint.
func TestKillPoints(t *testing.T) {
	const n = 30_000
	documents := newWarehouse(t, n).documents("customers", asIs)
	calm := newArmed(t)
	calm.start(t)
	calm.ready(t)
	calm.apply(t, "", documents)
	want := calm.ending(t, "once")
	calm.kill(t)
	require.EqualValues(t, n, want.run.GetCounts().GetCreated())
	require.EqualValues(t, 601, want.next.GetCounts().GetUnchanged(), "the lookback of ten minutes, both ends included")

	for _, k := range pointsOfTheRun() {
		t.Run(k.point, func(t *testing.T) {
			t.Parallel() // they mostly wait for leases
			k.play(t, newArmed(t), documents, want)
		})
	}
	for _, k := range pointsOfPostgres() {
		t.Run(k.point, func(t *testing.T) {
			t.Parallel()
			k.play(t, newArmed(t, "--store", testenv.Postgres(t)), documents, want)
		})
	}
}

// mortal is the one process with the kill points in it.
type mortal struct {
	*child
	mesh
}

// newArmed prepares a process that cuts runs into some parts of some batches, and waits for nobody long.
func newArmed(t *testing.T, args ...string) mortal {
	t.Helper()
	c := newChild(t, "millrace", append([]string{"up", "--data", filepath.Join(t.TempDir(), "data"), "--http", "none",
		"--extractor-batch-rows", "2500", "--extractor-part-rows", "10000",
		"--scheduler-tick", "100ms", "--scheduler-lease", "1s", "--scheduler-loss-window", "2s", "--scheduler-retry-backoff", "100ms"}, args...)...)
	c.from = &armed
	conn := dial(t, c.addr)
	return mortal{c, clients(conn, conn, conn)}
}

// finished is a run that has ended, the next one, and what both have left.
type finished struct {
	undisturbed
	next *schedulerv1.Run
}

// ending starts the run that the key names, unless it is there, waits for its end and that of the next run.
func (m mortal) ending(t *testing.T, key string) finished {
	t.Helper()
	id, err := m.triggerOnce(t, key)
	require.NoError(t, err)
	f := finished{undisturbed: undisturbed{run: m.end(t, id)}}
	requireState(t, f.run, schedulerv1.RunState_RUN_STATE_SUCCEEDED)
	f.next = m.run(t, "customers")
	f.digest = m.mesh.digest(t).GetDigest()
	return f
}

// triggerOnce starts the run that the key names, or answers the one that it has started.
func (m mortal) triggerOnce(t *testing.T, key string) (string, error) {
	t.Helper()
	res, err := m.scheduler.TriggerRun(t.Context(), &schedulerv1.TriggerRunRequest{
		Workspace: m.workspace, Sync: "customers", Reason: schedulerv1.RunReason_RUN_REASON_MANUAL, IdempotencyKey: key,
	}, grpc.WaitForReady(true))
	return res.GetRun().GetId(), err
}

// play kills m at k in a run of its own and requires that all is as wanted in the end.
func (k kill) play(t *testing.T, m mortal, documents string, want finished) {
	at := fmt.Sprintf("%s:%d", k.point, k.time)
	life := at
	if k.first != "" {
		life = k.first
	}
	m.live(t, life)
	m.ready(t)
	m.apply(t, "", documents)
	if _, err := m.triggerOnce(t, "once"); err != nil {
		t.Log("the process died before it answered:", err)
	}
	m.die(t, life)
	if k.first != "" {
		m.live(t, at)
		m.die(t, at)
	}
	m.live(t, "")
	m.ready(t)
	got := m.ending(t, "once")
	want.requireSame(t, m.mesh, got.run)
	require.Equal(t, want.run.GetWindow().String(), got.run.GetWindow().String())
	require.Equal(t, want.next.GetCounts().String(), got.next.GetCounts().String())
	require.EqualValues(t, 2, got.next.GetRunNo(), "no other run was made")
}

// live starts the process to be killed at a point.
func (m mortal) live(t *testing.T, at string) {
	t.Helper()
	m.env = []string{killpoint.Variable + "=" + at}
	m.start(t)
}

// die waits until the process has been killed at the point, and by nothing else.
func (m mortal) die(t *testing.T, at string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	select {
	case <-m.done:
	case <-ctx.Done():
		require.Fail(t, at+" was not reached")
	}
	status, ok := m.cmd.ProcessState.Sys().(syscall.WaitStatus)
	require.True(t, ok && status.Signaled() && status.Signal() == syscall.SIGKILL, "the process ended otherwise: %v", m.cmd.ProcessState)
	said, err := os.ReadFile(m.log)
	require.NoError(t, err)
	point, _, _ := strings.Cut(at, ":")
	require.Contains(t, string(said), killpoint.Said+point+"\n")
}

// TestEveryKillPointIsInTheTable holds that code, README and TestKillPoints name the same points.
func TestEveryKillPointIsInTheTable(t *testing.T) {
	var played []string
	for _, k := range slices.Concat(pointsOfTheRun(), pointsOfPostgres(), pointsOfMirrors(), pointsOfDryRuns()) {
		played = append(played, k.point)
	}
	slices.Sort(played)
	require.Equal(t, pointsOfTheCode(t), played)
	require.Equal(t, pointsOfTheTable(t), played)
	require.GreaterOrEqual(t, len(played), 24)
}

// pointsOfTheCode answers the points that the product names. One that stands for both streams is two.
func pointsOfTheCode(t *testing.T) []string {
	t.Helper()
	call := regexp.MustCompile(`killpoint\.Reach\("([a-z.]+)"(, string\(c\.stream\))?\)`)
	var points []string
	for _, root := range []string{"../../pkg", "../../services"} {
		require.NoError(t, filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			text, err := os.ReadFile(path)
			require.NoError(t, err)
			found := call.FindAllStringSubmatch(string(text), -1)
			require.Len(t, found, strings.Count(string(text), "killpoint.Reach("), "a point in %s has no name of its own", path)
			for _, f := range found {
				if f[2] == "" {
					points = append(points, f[1])
					continue
				}
				points = append(points, f[1]+"/ROWS", f[1]+"/RECORDS")
			}
			return nil
		}))
	}
	slices.Sort(points)
	return points
}

// pointsOfTheTable answers the points of the README's table; each has its step and its fault.
func pointsOfTheTable(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("README.md")
	require.NoError(t, err)
	_, section, found := strings.Cut(string(text), "\n## Kill points\n")
	require.True(t, found)
	section, _, _ = strings.Cut(section, "\n## ")
	var points []string
	for _, row := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\| \\d+ .* \\| F\\d\\d \\| .+ \\|$").FindAllStringSubmatch(section, -1) {
		points = append(points, row[1])
	}
	require.Len(t, points, strings.Count(section, "\n| `"), "a row of the table lacks its step, its fault or its result")
	slices.Sort(points)
	return points
}

// TestNoReleasedProgramHasKillPoints holds that kill points exist in the builds of these tests only.
func TestNoReleasedProgramHasKillPoints(t *testing.T) {
	for b, has := range map[*build]bool{&released: false, &armed: true} {
		program, err := os.ReadFile(b.binary(t, "millrace"))
		require.NoError(t, err)
		require.Equal(t, has, strings.Contains(string(program), killpoint.Said))
	}
}
