package ingestion

import (
	"github.com/prometheus/client_golang/prometheus"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/record"
	"millrace.dev/pkg/store"
)

// metrics are the service's figures.
type metrics struct {
	rows      *prometheus.CounterVec
	batches   *prometheus.CounterVec
	look      prometheus.Histogram
	commit    prometheus.Histogram
	rejects   rejectCounter
	conflicts prometheus.Counter
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		rows: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "millrace_ingestion_rows_total", Help: "Rows accounted for, by effect.",
		}, []string{"effect"}),
		batches: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "millrace_ingestion_batches_total", Help: "Deliveries of batches: applied, repeated, fenced, quarantined.",
		}, []string{"outcome"}),
		look: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "millrace_ingestion_look_seconds", Help: "Time to look up what a batch meets in the store.",
			Buckets: prometheus.ExponentialBuckets(0.002, 2, 14),
		}),
		rejects: rejectCounter{
			total: prometheus.NewCounterVec(prometheus.CounterOpts{
				Name: "millrace_ingestion_rejects_total",
				Help: "Rows kept as rejects, by sync, stage and rule; the rules above a thousand together as other.",
			}, []string{"workspace", "sync", "stage", "rule"}),
			known: map[rejectLabels]prometheus.Counter{},
		},
		commit: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "millrace_ingestion_commit_seconds", Help: "Time of durable commits.",
			Buckets: prometheus.ExponentialBuckets(0.002, 2, 14),
		}),
		conflicts: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "millrace_ingestion_conflicts_total", Help: "Batches decided anew because others changed what they go by.",
		}),
	}
	for _, c := range []prometheus.Collector{m.rows, m.batches, m.look, m.commit, m.rejects.total, m.conflicts} {
		if err := r.Register(c); err != nil {
			return nil, fault.New(fault.Internal, fault.ReasonInternal, "register a metric: %w", err)
		}
	}
	return m, nil
}

// watchStore shows how much an embedded store has written. A server tells that itself.
func watchStore(r prometheus.Registerer, st store.Store) error {
	w, ok := st.(interface{ Written() uint64 })
	if !ok {
		return nil
	}
	c := prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "millrace_ingestion_store_bytes_total", Help: "Bytes that batches have put into the embedded store, before compaction.",
	}, func() float64 { return float64(w.Written()) })
	if err := r.Register(c); err != nil {
		return fault.New(fault.Internal, fault.ReasonInternal, "register a metric: %w", err)
	}
	return nil
}

// applied counts the rows of a batch that was just committed.
func (m *metrics) applied(c record.Counts) {
	m.batches.WithLabelValues("applied").Inc()
	for _, x := range []struct {
		effect string
		rows   int64
	}{
		{"created", c.Created},
		{"updated", c.Updated},
		{"unchanged", c.Unchanged},
		{"deleted", c.Deleted},
		{"protected", c.Protected},
		{"refused", c.Refused},
		{"rejected", c.Rejected},
		{"filtered", c.Filtered},
	} {
		if x.rows > 0 {
			m.rows.WithLabelValues(x.effect).Add(float64(x.rows))
		}
	}
}
