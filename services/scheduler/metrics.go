package scheduler

import (
	"github.com/prometheus/client_golang/prometheus"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/run"
	"millrace.dev/services/scheduler/alerts"
)

// metrics are the service's figures.
type metrics struct {
	opened        *prometheus.CounterVec
	closed        *prometheus.CounterVec
	lost          *prometheus.CounterVec
	ticks         *prometheus.CounterVec
	leases        prometheus.Counter
	fences        prometheus.Counter
	fencedReports prometheus.Counter
	openBreakers  prometheus.Gauge
	leftovers     *prometheus.GaugeVec
	openRuns      *prometheus.GaugeVec
	// What waits to be accounted for, of parts that are read to their end.
	unaccounted    prometheus.Gauge
	unaccountedFor prometheus.Gauge
	syncs          *syncGauges
	alerts         *prometheus.CounterVec
	alertsWaiting  prometheus.Gauge
	duration       prometheus.Histogram
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "millrace_scheduler_" + name, Help: help})
	}
	vec := func(name, help, label string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "millrace_scheduler_" + name, Help: help}, []string{label})
	}
	m := &metrics{
		opened:        vec("runs_created_total", "Runs created, by reason.", "reason"),
		closed:        vec("runs_closed_total", "Runs closed, by their last state.", "state"),
		lost:          vec("lost_total", "Leases lost to silent workers, and parts read again because batches got lost or the store was restored from an older copy.", "what"),
		ticks:         vec("ticks_total", "Looks for syncs that are due.", "outcome"),
		leases:        counter("leases_total", "Parts leased."),
		fences:        counter("fences_total", "Fences that ingestion has answered."),
		fencedReports: counter("fenced_reports_total", "Reports of epochs that are over."),
		openBreakers: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "millrace_scheduler_open_breakers", Help: "Warehouses that do not answer and are let alone but for a probe.",
		}),
		leftovers: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "millrace_scheduler_leftovers", Help: "Syncs whose snapshots are left in a warehouse: waiting to be dropped, or given up.",
		}, []string{"state"}),
		openRuns: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "millrace_scheduler_open_runs", Help: "Open runs, by state.",
		}, []string{"state"}),
		unaccounted: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "millrace_scheduler_unaccounted_batches", Help: "Batches that parts have published to their end and that no account has yet.",
		}),
		unaccountedFor: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "millrace_scheduler_unaccounted_seconds", Help: "How long ago the part last moved that has waited longest for its account; 0: none waits.",
		}),
		syncs: newSyncGauges(),
		alerts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "millrace_scheduler_alerts_total", Help: "Messages of alerts, by event, target and outcome: sent, failed (an attempt), given_up, dropped.",
		}, []string{"event", "target", "outcome"}),
		alertsWaiting: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "millrace_scheduler_alerts_waiting", Help: "Messages of alerts that wait to be sent.",
		}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "millrace_scheduler_run_duration_seconds", Help: "Time from a run's creation to its end.",
			Buckets: prometheus.ExponentialBuckets(0.25, 2, 18),
		}),
	}
	for _, c := range []prometheus.Collector{m.opened, m.closed, m.lost, m.ticks, m.leases, m.fences, m.fencedReports, m.openBreakers, m.leftovers, m.openRuns, m.unaccounted, m.unaccountedFor, m.syncs, m.alerts, m.alertsWaiting, m.duration} {
		if err := r.Register(c); err != nil {
			return nil, fault.New(fault.Internal, fault.ReasonInternal, "register a metric: %w", err)
		}
	}
	for _, state := range run.States() { // so that the first one counts as one
		if state.Closed() {
			m.closed.WithLabelValues(string(state))
		}
	}
	for _, event := range alerts.Events() {
		for _, target := range []string{alerts.ByWebhook, alerts.ByEmail} {
			for _, outcome := range []string{alertSent, alertFailed, alertGivenUp, alertDropped} {
				m.alerts.WithLabelValues(event, target, outcome)
			}
		}
	}
	for _, what := range []string{"lease", "batch", "store"} {
		m.lost.WithLabelValues(what)
	}
	return m, nil
}
