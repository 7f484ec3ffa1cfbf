package gateway

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"millrace.dev/pkg/fault"
)

// metrics are the service's figures. Their labels are of bounded number: routes, and the codes that the gateway answers.
type metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "millrace_gateway_requests_total", Help: "Requests answered, by method, route and status.",
		}, []string{"method", "route", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "millrace_gateway_request_seconds", Help: "Time of requests, less those that are answered by a stream.",
			Buckets: prometheus.ExponentialBuckets(0.002, 2, 16),
		}, []string{"method", "route"}),
	}
	for _, c := range []prometheus.Collector{m.requests, m.seconds} {
		if err := r.Register(c); err != nil {
			return nil, fault.New(fault.Internal, fault.ReasonInternal, "register a metric: %w", err)
		}
	}
	return m, nil
}

// answered counts a request; route is empty where it had none.
func (m *metrics) answered(method, route string, status int, took time.Duration, stream bool) {
	m.requests.WithLabelValues(method, route, strconv.Itoa(status)).Inc()
	if !stream && route != "" {
		m.seconds.WithLabelValues(method, route).Observe(took.Seconds())
	}
}
