package trace

import (
	"github.com/prometheus/client_golang/prometheus"

	"millrace.dev/pkg/fault"
)

// metrics are the service's figures.
type metrics struct {
	spans   *prometheus.CounterVec
	deleted *prometheus.CounterVec
	bytes   prometheus.Gauge
	write   prometheus.Histogram
}

func newMetrics(r prometheus.Registerer, in *inbox) (*metrics, error) {
	m := &metrics{
		spans: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "millrace_trace_spans_total",
			Help: "Spans by outcome: received; refused (malformed, too old or in the future); dropped (the queue was full); beyond (their trace has too many); written; lost (the database did not take them in time).",
		}, []string{"outcome"}),
		deleted: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "millrace_trace_deleted_total", Help: "Traces deleted, by why: age, size, unwanted (by every configuration).",
		}, []string{"why"}),
		bytes: prometheus.NewGauge(prometheus.GaugeOpts{Name: "millrace_trace_bytes", Help: "Bytes of the traces that are kept."}),
		write: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "millrace_trace_write_seconds", Help: "Time that the writing of a group of spans took.", Buckets: prometheus.ExponentialBuckets(0.001, 2, 15),
		}),
	}
	queue := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "millrace_trace_queue_spans", Help: "Received spans that wait to be written."},
		func() float64 { return float64(in.len()) })
	for _, c := range []prometheus.Collector{m.spans, m.deleted, m.bytes, m.write, queue} {
		if err := r.Register(c); err != nil {
			return nil, fault.New(fault.Internal, fault.ReasonInternal, "register a metric: %w", err)
		}
	}
	return m, nil
}

func (m *metrics) count(outcome string, n int) { m.spans.WithLabelValues(outcome).Add(float64(n)) }
