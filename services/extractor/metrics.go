package extractor

import (
	"github.com/prometheus/client_golang/prometheus"

	"millrace.dev/pkg/fault"
)

// metrics are the service's figures.
type metrics struct {
	rows    prometheus.Counter
	bytes   prometheus.Counter
	batches prometheus.Counter
	parts   *prometheus.CounterVec
	leased  prometheus.Gauge
	publish prometheus.Histogram
	heldNow prometheus.Gauge
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		rows:    prometheus.NewCounter(prometheus.CounterOpts{Name: "millrace_extractor_rows_total", Help: "Rows that the broker holds or held."}),
		bytes:   prometheus.NewCounter(prometheus.CounterOpts{Name: "millrace_extractor_bytes_total", Help: "Bytes of batches published."}),
		batches: prometheus.NewCounter(prometheus.CounterOpts{Name: "millrace_extractor_batches_total", Help: "Batches published."}),
		parts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "millrace_extractor_parts_total", Help: "Attempts at parts, by outcome: planned, read, released, lost, failed.",
		}, []string{"outcome"}),
		leased: prometheus.NewGauge(prometheus.GaugeOpts{Name: "millrace_extractor_parts_leased", Help: "Parts in hand."}),
		publish: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "millrace_extractor_publish_seconds", Help: "Time until the broker has a batch durably.", Buckets: prometheus.ExponentialBuckets(0.001, 2, 14),
		}),
		heldNow: prometheus.NewGauge(prometheus.GaugeOpts{Name: "millrace_extractor_snapshots_held", Help: "Snapshots held open in warehouses for runs."}),
	}
	for _, c := range []prometheus.Collector{m.rows, m.bytes, m.batches, m.parts, m.leased, m.publish, m.heldNow} {
		if err := r.Register(c); err != nil {
			return nil, fault.New(fault.Internal, fault.ReasonInternal, "register a metric: %w", err)
		}
	}
	return m, nil
}
