package scheduler

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/run"
	"millrace.dev/pkg/sqldb"
)

// maxSyncGauges bounds the syncs that have metrics of their own, so that a scrape stays small.
const maxSyncGauges = 2000

// syncGauges shows how syncs are: of each that is active when it fell due, what is in of it, and whether it goes. The
// scheduler's ticks keep it. Safe for concurrent use.
type syncGauges struct {
	fresh, overdue, status, left *prometheus.Desc
	now                          atomic.Pointer[[]syncGauge]
	unshown                      atomic.Int64
}

// syncGauge is how one sync is.
type syncGauge struct {
	workspace, sync string
	status          resource.SyncStatus
	fresh           time.Time     // zero: nothing is in
	overdue         time.Duration // since the tick that is due fell due; 0: none is
}

func newSyncGauges() *syncGauges {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("millrace_scheduler_"+name, help, labels, nil)
	}
	return &syncGauges{
		fresh:   desc("sync_fresh_timestamp_seconds", "The instant up to which the warehouse's rows are in, by active sync: when its last run that is done was planned.", "workspace", "sync"),
		overdue: desc("sync_overdue_seconds", "How long ago the tick fell due that has started no run yet, by active sync; 0: none has.", "workspace", "sync"),
		status:  desc("sync_status", "1 for the status of each active sync.", "workspace", "sync", "status"),
		left:    desc("syncs_unshown", "Active syncs beyond the two thousand that have metrics of their own."),
	}
}

// show replaces what is shown.
func (g *syncGauges) show(all []syncGauge) {
	g.unshown.Store(int64(max(0, len(all)-maxSyncGauges)))
	all = all[:min(len(all), maxSyncGauges)]
	g.now.Store(&all)
}

// Describe is of prometheus.Collector.
func (g *syncGauges) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{g.fresh, g.overdue, g.status, g.left} {
		ch <- d
	}
}

// Collect is of prometheus.Collector.
func (g *syncGauges) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	all := g.now.Load()
	if all == nil {
		return
	}
	gauge(g.left, float64(g.unshown.Load()))
	for _, y := range *all {
		if !y.fresh.IsZero() {
			gauge(g.fresh, float64(y.fresh.UnixMicro())/1e6, y.workspace, y.sync)
		}
		gauge(g.overdue, y.overdue.Seconds(), y.workspace, y.sync)
		gauge(g.status, 1, y.workspace, y.sync, string(y.status))
	}
}

// gaugeOf answers how an active sync is. due is the tick that has started no run yet; zero: none.
func gaugeOf(y scheduledSync, own syncRow, due, now time.Time) syncGauge {
	g := syncGauge{workspace: string(y.Workspace), sync: y.ID, status: y.Status, fresh: believable(own.Facts.Fresh, now)}
	if g.status == "" {
		g.status = resource.Healthy
	}
	if !due.IsZero() {
		g.overdue = max(0, now.Sub(due))
	}
	return g
}

// countOpen shows how many runs are open, by state, and what their account waits for.
func (s *Service) countOpen(ctx context.Context, now time.Time) error {
	open := map[run.State]float64{}
	err := s.db.Query(ctx, func(row sqldb.Row) error {
		var state string
		var n int64
		if err := row.Scan(&state, &n); err != nil {
			return err
		}
		open[run.State(state)] = float64(n)
		return nil
	}, "SELECT state, COUNT(*) FROM scheduler_runs WHERE is_open = 1 GROUP BY state")
	if err != nil {
		return err
	}
	for _, state := range run.States() {
		if !state.Closed() {
			s.metrics.openRuns.WithLabelValues(string(state)).Set(open[state])
		}
	}
	var batches, since int64
	err = s.db.QueryRow(ctx, `SELECT COALESCE(SUM(read_batches - settled), 0), COALESCE(MIN(progress_time), 0) FROM scheduler_parts
		WHERE state = ? AND read_batches > settled AND run_id IN (SELECT id FROM scheduler_runs WHERE is_open = 1)`, string(run.Extracted)).Scan(&batches, &since)
	if err != nil {
		return err
	}
	s.metrics.unaccounted.Set(float64(batches))
	waits := 0.0
	if since != 0 {
		waits = max(0, now.Sub(sqldb.Time(since)).Seconds())
	}
	s.metrics.unaccountedFor.Set(waits)
	return nil
}
