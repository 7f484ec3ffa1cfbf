// Package telemetry gives a process its traces, metrics and logs: spans per service with an allow-list of attributes,
// Prometheus metrics, and log lines that carry trace ids.
package telemetry

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
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
	exporter sdktrace.SpanExporter // nil without OTLP
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
	t := &Telemetry{settings: s, registry: prometheus.NewRegistry(), providers: map[string]*sdktrace.TracerProvider{}}
	t.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
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
	t.exporter = allowed{next: exp, log: s.Log}
	return t, nil
}

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
	}
	if t.exporter != nil {
		opts = append(opts, sdktrace.WithBatcher(shared{t.exporter}, sdktrace.WithBatchTimeout(time.Second)))
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

// Shutdown sends what is left, of all services at once, until ctx ends. No span may be started afterwards.
func (t *Telemetry) Shutdown(ctx context.Context) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	errs := make([]error, len(t.providers))
	var wg sync.WaitGroup
	for i, p := range slices.Collect(maps.Values(t.providers)) {
		wg.Go(func() { errs[i] = p.Shutdown(ctx) })
	}
	wg.Wait()
	if t.exporter != nil {
		errs = append(errs, t.exporter.Shutdown(ctx))
	}
	errs = append(errs, t.meters.Shutdown(ctx))
	if err := errors.Join(errs...); err != nil {
		return fault.New(fault.Unavailable, fault.ReasonServiceUnavailable, "the last spans could not be delivered: %w", err)
	}
	return nil
}

// shared is an exporter that outlives the provider that uses it.
type shared struct{ sdktrace.SpanExporter }

func (shared) Shutdown(context.Context) error { return nil }
