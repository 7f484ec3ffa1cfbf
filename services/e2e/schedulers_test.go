package e2e_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	configv1 "millrace.dev/gen/millrace/config/v1"
	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
)

// TestF46TwoSchedulersShareTheWork runs a second scheduler process over the database of the first. Each tick of a
// schedule starts one run, each part has one lease, and both processes give the same answers.
func TestF46TwoSchedulersShareTheWork(t *testing.T) {
	t.Parallel()
	const n = 2000
	f := startFive(t)
	first := f.children[slices.IndexFunc(f.children, func(c *child) bool { return c.name == "scheduler" })]
	second := newChild(t, "scheduler")
	own := second.args
	second.args = append(slices.Clone(first.args), own...) // the last word counts: an address of its own
	second.args = append(second.args, "--data", t.TempDir())
	second.start(t)
	second.ready(t)

	m := f.in("two")
	other := m
	other.scheduler = schedulerv1.NewSchedulerServiceClient(dial(t, second.addr))
	w := newWarehouse(t, n)
	m.apply(t, "", w.documents("customers", asIs)+"schedule: {every: 1s}\n")
	const enough = 6
	runs := func(m mesh) []*schedulerv1.Run {
		t.Helper()
		resp, err := m.scheduler.ListRuns(t.Context(), &schedulerv1.ListRunsRequest{Workspace: m.workspace, Sync: "customers"})
		require.NoError(t, err)
		return resp.GetRuns()
	}
	soon(t, "runs of the schedule", func() bool { return len(runs(m)) >= enough && over(runs(m)[0]) })
	_, err := m.config.PauseSync(t.Context(), &configv1.PauseSyncRequest{Workspace: m.workspace, Id: "customers"})
	require.NoError(t, err)
	last(t, 3*time.Second) // a tick that was being taken still makes its run
	soon(t, "runs of the schedule", func() bool { return !slices.ContainsFunc(runs(m), func(r *schedulerv1.Run) bool { return !over(r) }) })

	all := runs(m)
	require.Equal(t, strings.Join(names(all), " "), strings.Join(names(runs(other)), " "), "both answer alike")
	newest, oldest := all[0], all[len(all)-1]
	ticks := int(newest.GetCreateTime().AsTime().Sub(oldest.GetCreateTime().AsTime()).Seconds()) + 3
	require.LessOrEqual(t, len(all), ticks, "no tick started two runs")
	for i, r := range all {
		requireState(t, r, schedulerv1.RunState_RUN_STATE_SUCCEEDED)
		require.EqualValues(t, len(all)-i, r.GetRunNo(), "no run was made twice or left out")
		parts, err := m.scheduler.ListParts(t.Context(), &schedulerv1.ListPartsRequest{Workspace: m.workspace, Run: r.GetId()})
		require.NoError(t, err)
		for _, p := range parts.GetParts() {
			require.EqualValues(t, 1, p.GetEpoch(), "part %d of run %d was leased once", p.GetPart(), r.GetRunNo())
		}
	}
	require.EqualValues(t, n, oldest.GetCounts().GetCreated())
	require.EqualValues(t, n, m.digest(t).GetProfiles())
}

func names(runs []*schedulerv1.Run) []string {
	out := make([]string, len(runs))
	for i, r := range runs {
		out[i] = r.GetId()
	}
	return out
}
