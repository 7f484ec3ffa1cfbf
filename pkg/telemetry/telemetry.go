// Package telemetry gives a process its traces, metrics and logs: spans per service with an allow-list of attributes,
// Prometheus metrics, and log lines that carry trace ids.
package telemetry

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"millrace.dev/pkg/fault"
)

// Scope is the instrumentation scope of Millrace's own spans.
const Scope = "millrace.dev"

// Settings says where telemetry goes.
type Settings struct {
	// OTLP is the gRPC endpoint that spans are sent to: host:port or http(s)://host:port. Empty: spans have ids, which
	// logs and runs carry, and go nowhere.
	OTLP string
	// Version of the program.
	Version string
	// Log hears of telemetry that can not be delivered. May be nil.
	Log *slog.Logger
}

// Telemetry is the telemetry of one process. Safe for concurrent use.
type Telemetry struct {
	settings Settings
	spans    *fan
	figures  *prometheus.CounterVec // of spans, by destination and outcome
	registry *prometheus.Registry
	meters   *sdkmetric.MeterProvider

	mu        sync.Mutex
	providers map[string]*sdktrace.TracerProvider
}

// New sets telemetry up. It does not dial: the exporter connects when it has spans, and what can not be delivered is
// dropped after a bounded time.
func New(ctx context.Context, s Settings) (*Telemetry, error) {
	if s.Log == nil {
		s.Log = slog.New(slog.DiscardHandler)
	}
	t := &Telemetry{settings: s, spans: &fan{}, registry: prometheus.NewRegistry(), providers: map[string]*sdktrace.TracerProvider{}}
	t.figures = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "millrace_telemetry_spans_total",
		Help: "Ended spans by destination and outcome: sent, rejected (of those sent, by the receiver), failed (not delivered), dropped (the queue was full).",
	}, []string{"destination", "outcome"})
	t.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), t.figures)
	reader, err := otelprometheus.New(otelprometheus.WithRegisterer(t.registry))
	if err != nil {
		return nil, fault.New(fault.Internal, fault.ReasonInternal, "set up metrics: %w", err)
	}
	t.meters = sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
	if s.OTLP == "" {
		return t, nil
	}
	exp, err := otlptracegrpc.New(ctx, endpoint(s.OTLP)...)
	if err != nil {
		return nil, fault.New(fault.Invalid, fault.ReasonInvalidArgument, "the OTLP endpoint can not be used; write host:port or http(s)://host:port: %w", err)
	}
	t.add(ctx, "otlp", exp)
	return t, nil
}

// add sends spans that end from now on by an exporter too, less what is not on the allow-list.
func (t *Telemetry) add(ctx context.Context, name string, exp sdktrace.SpanExporter) {
	t.spans.add(newQueue(ctx, name, allowed{exp}, t.settings.Log, t.figures))
}

// Flush sends the spans that have ended, until ctx ends.
func (t *Telemetry) Flush(ctx context.Context) { _ = t.spans.ForceFlush(ctx) } // it says no more than that ctx has ended

func endpoint(s string) []otlptracegrpc.Option {
	out := []otlptracegrpc.Option{otlptracegrpc.WithTimeout(10 * time.Second)}
	if strings.Contains(s, "://") {
		return append(out, otlptracegrpc.WithEndpointURL(s))
	}
	return append(out, otlptracegrpc.WithEndpoint(s), otlptracegrpc.WithInsecure())
}

// Provider answers the tracer provider of a service, whose resource has service.name = service. One per name.
func (t *Telemetry) Provider(service string) trace.TracerProvider {
	t.mu.Lock()
	defer t.mu.Unlock()
	if p, ok := t.providers[service]; ok {
		return p
	}
	attrs := []attribute.KeyValue{attribute.String("service.name", service), attribute.String("service.namespace", "millrace")}
	if t.settings.Version != "" {
		attrs = append(attrs, attribute.String("service.version", t.settings.Version))
	}
	opts := []sdktrace.TracerProviderOption{
		sdktrace.WithResource(resource.NewSchemaless(attrs...)),
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.AlwaysSample())),
		sdktrace.WithSpanProcessor(t.spans),
	}
	p := sdktrace.NewTracerProvider(opts...)
	t.providers[service] = p
	return p
}

// Tracer answers the tracer of a service.
func (t *Telemetry) Tracer(service string) trace.Tracer { return t.Provider(service).Tracer(Scope) }

// Meters answers the meter provider, whose figures stand in the registry.
func (t *Telemetry) Meters() metric.MeterProvider { return t.meters }

// Registry answers the Prometheus registry of the process.
func (t *Telemetry) Registry() *prometheus.Registry { return t.registry }

// Shutdown sends what is left, to all destinations at once, until ctx ends. No span may be started afterwards.
func (t *Telemetry) Shutdown(ctx context.Context) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	var errs []error
	for _, p := range t.providers {
		errs = append(errs, p.Shutdown(ctx))
	}
	queues := t.spans.all()
	ended := make([]error, len(queues))
	var wg sync.WaitGroup
	for i, q := range queues {
		wg.Go(func() { ended[i] = q.close(ctx) })
	}
	wg.Wait()
	errs = append(append(errs, ended...), t.meters.Shutdown(ctx))
	if err := errors.Join(errs...); err != nil {
		return fault.New(fault.Unavailable, fault.ReasonServiceUnavailable, "the last spans could not be delivered: %w", err)
	}
	return nil
}
