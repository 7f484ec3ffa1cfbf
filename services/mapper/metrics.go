package mapper

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/mapping"
	"millrace.dev/pkg/record"
)

// metrics are the service's figures.
type metrics struct {
	rows      *prometheus.CounterVec
	batches   *prometheus.CounterVec
	fragments prometheus.Counter
	rounded   prometheus.Counter
	compiled  prometheus.Counter
	apply     prometheus.Histogram
	publish   prometheus.Histogram
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	seconds := prometheus.ExponentialBuckets(0.0005, 2, 14)
	m := &metrics{
		rows: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "millrace_mapper_rows_total", Help: "Rows handed on, by outcome: mapped, rejected, filtered.",
		}, []string{"outcome"}),
		batches: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "millrace_mapper_batches_total", Help: "Deliveries of batches: mapped, quarantined.",
		}, []string{"outcome"}),
		fragments: prometheus.NewCounter(prometheus.CounterOpts{Name: "millrace_mapper_fragments_total", Help: "Messages that batches of records became."}),
		rounded:   prometheus.NewCounter(prometheus.CounterOpts{Name: "millrace_mapper_rounded_total", Help: "Values that lost precision because their rule or field allows it."}),
		compiled:  prometheus.NewCounter(prometheus.CounterOpts{Name: "millrace_mapper_programs_compiled_total", Help: "Mappings compiled."}),
		apply:     prometheus.NewHistogram(prometheus.HistogramOpts{Name: "millrace_mapper_apply_seconds", Help: "Time to map a batch.", Buckets: seconds}),
		publish: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "millrace_mapper_publish_seconds", Help: "Time until the broker has all of a batch durably.", Buckets: seconds,
		}),
	}
	for _, c := range []prometheus.Collector{m.rows, m.batches, m.fragments, m.rounded, m.compiled, m.apply, m.publish} {
		if err := r.Register(c); err != nil {
			return nil, fault.New(fault.Internal, fault.ReasonInternal, "register a metric: %w", err)
		}
	}
	return m, nil
}

// mapped counts what a batch became.
func (m *metrics) mapped(b record.Batch, t mapping.Tally, took time.Duration) {
	m.apply.Observe(took.Seconds())
	m.rounded.Add(float64(t.Rounded))
	m.rows.WithLabelValues("mapped").Add(float64(b.Record.NumRows()))
	m.rows.WithLabelValues("rejected").Add(float64(len(b.Rejects)))
	m.rows.WithLabelValues("filtered").Add(float64(len(b.Filtered)))
}
