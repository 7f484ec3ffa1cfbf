package scheduler

import (
	"github.com/prometheus/client_golang/prometheus"

	"millrace.dev/pkg/fault"
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
	duration      prometheus.Histogram
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
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "millrace_scheduler_run_duration_seconds", Help: "Time from a run's creation to its end.",
			Buckets: prometheus.ExponentialBuckets(0.25, 2, 18),
		}),
	}
	for _, c := range []prometheus.Collector{m.opened, m.closed, m.lost, m.ticks, m.leases, m.fences, m.fencedReports, m.openBreakers, m.duration} {
		if err := r.Register(c); err != nil {
			return nil, fault.New(fault.Internal, fault.ReasonInternal, "register a metric: %w", err)
		}
	}
	return m, nil
}
