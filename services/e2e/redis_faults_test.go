package e2e_test

import (
	"context"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
	"millrace.dev/pkg/testenv"
)

// redisRows are so many that a run is still open while the test asks for another.
const redisRows = 20_000

// TestF31RedisForgetsIsAwayAndIsSlow does so in the middle of a run. Redis counts the triggers of syncs that have a
// limit: those are refused while it is away, and nothing else takes notice.
func TestF31RedisForgetsIsAwayAndIsSlow(t *testing.T) {
	t.Parallel()
	u, err := url.Parse(testenv.Redis(t))
	require.NoError(t, err)
	r := newRelay(t, u.Host)
	u.Host, u.Path = r.addr, "/9" // others use the same server
	m := startOne(t, databases{quota: u.String()}).in("redis")
	w := newWarehouse(t, redisRows)
	m.apply(t, "", strings.Replace(w.documents("customers", asIs), "state: active", "trigger_limit: 3/h\nstate: active", 1))
	trigger := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		_, err := m.scheduler.TriggerRun(ctx, &schedulerv1.TriggerRunRequest{Workspace: m.workspace, Sync: "customers"})
		return err
	}
	runs := func() int {
		res, err := m.scheduler.ListRuns(t.Context(), &schedulerv1.ListRunsRequest{Workspace: m.workspace, Sync: "customers"})
		require.NoError(t, err)
		return len(res.GetRuns())
	}

	id := m.trigger(t, "customers")
	require.Equal(t, codes.FailedPrecondition, status.Code(trigger()), "a run is open")
	r.shut()
	require.Equal(t, codes.FailedPrecondition, status.Code(trigger()), "still: no second run while nobody counts")
	first := m.end(t, id)
	requireState(t, first, schedulerv1.RunState_RUN_STATE_SUCCEEDED)
	require.EqualValues(t, redisRows, first.GetCounts().GetCreated())
	require.Equal(t, codes.Unavailable, status.Code(trigger()), "nobody counts: asked again later")
	require.Equal(t, 1, runs())

	r.open()
	m.run(t, "customers")
	m.run(t, "customers")
	require.Equal(t, codes.ResourceExhausted, status.Code(trigger()), "three triggers an hour")
	flush(t, r)
	r.slow(300 * time.Millisecond)
	m.run(t, "customers") // forgotten, so that it fits; and only slower
	r.slow(5 * time.Second)
	require.Equal(t, codes.Unavailable, status.Code(trigger()), "too slow is away")
	r.slow(0)
	m.run(t, "customers")
	require.Equal(t, 5, runs())
	require.EqualValues(t, redisRows, m.digest(t).GetProfiles())
}
