package scheduler

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/resource"
)

func TestEachActiveSyncIsShown(t *testing.T) {
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	g := newSyncGauges()
	require.Zero(t, testutil.CollectAndCount(g), "nothing before the first look")
	g.show([]syncGauge{
		gaugeOf(scheduledSync{Workspace: "w", ID: "a", Status: resource.Faulted}, syncRow{Facts: syncFacts{Fresh: now.Add(-time.Hour)}}, now.Add(-time.Minute), now),
		gaugeOf(scheduledSync{Workspace: "w", ID: "new"}, syncRow{}, time.Time{}, now),
		gaugeOf(scheduledSync{Workspace: "w", ID: "odd"}, syncRow{Facts: syncFacts{Fresh: now.AddDate(1, 0, 0)}}, now.Add(time.Second), now),
	})
	require.NoError(t, testutil.CollectAndCompare(g, strings.NewReader(`
# HELP millrace_scheduler_sync_fresh_timestamp_seconds The instant up to which the warehouse's rows are in, by active sync: when its last run that is done was planned.
# TYPE millrace_scheduler_sync_fresh_timestamp_seconds gauge
millrace_scheduler_sync_fresh_timestamp_seconds{sync="a",workspace="w"} 1.7672652e+09
# HELP millrace_scheduler_sync_overdue_seconds How long ago the tick fell due that has started no run yet, by active sync; 0: none has.
# TYPE millrace_scheduler_sync_overdue_seconds gauge
millrace_scheduler_sync_overdue_seconds{sync="a",workspace="w"} 60
millrace_scheduler_sync_overdue_seconds{sync="new",workspace="w"} 0
millrace_scheduler_sync_overdue_seconds{sync="odd",workspace="w"} 0
# HELP millrace_scheduler_sync_status 1 for the status of each active sync.
# TYPE millrace_scheduler_sync_status gauge
millrace_scheduler_sync_status{status="faulted",sync="a",workspace="w"} 1
millrace_scheduler_sync_status{status="healthy",sync="new",workspace="w"} 1
millrace_scheduler_sync_status{status="healthy",sync="odd",workspace="w"} 1
# HELP millrace_scheduler_syncs_unshown Active syncs beyond the two thousand that have metrics of their own.
# TYPE millrace_scheduler_syncs_unshown gauge
millrace_scheduler_syncs_unshown 0
`)))
}

func TestAScrapeOfManySyncsStaysSmall(t *testing.T) {
	g := newSyncGauges()
	all := make([]syncGauge, maxSyncGauges+5)
	for i := range all {
		all[i] = syncGauge{workspace: "w", sync: fmt.Sprint(i), status: resource.Healthy}
	}
	g.show(all)
	r := prometheus.NewRegistry()
	require.NoError(t, r.Register(g))
	n, err := testutil.GatherAndCount(r)
	require.NoError(t, err)
	require.Equal(t, 2*maxSyncGauges+1, n)
}
