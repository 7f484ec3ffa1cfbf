package app

import (
	"context"
	"crypto/rand"
	"strings"

	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc/stats"

	"millrace.dev/pkg/telemetry"
)

// serverStats gives each call to the instrumentation of the service that it is for, so that its span has that service's
// resource. Calls of health and reflection have none.
type serverStats struct{ of map[string]stats.Handler }

func newServerStats(t *telemetry.Telemetry, services []string) serverStats {
	s := serverStats{of: map[string]stats.Handler{}}
	for _, name := range services {
		s.of[name] = otelgrpc.NewServerHandler(
			otelgrpc.WithTracerProvider(t.Provider(name)), otelgrpc.WithMeterProvider(t.Meters()),
			otelgrpc.WithPropagators(propagation.TraceContext{}))
	}
	return s
}

type handlerKey struct{}

func (s serverStats) TagRPC(ctx context.Context, info *stats.RPCTagInfo) context.Context {
	rest, ok := strings.CutPrefix(info.FullMethodName, "/millrace.")
	name, _, _ := strings.Cut(rest, ".")
	h := s.of[name]
	if !ok || h == nil {
		return ctx
	}
	return h.TagRPC(context.WithValue(ctx, handlerKey{}, h), info)
}

func (s serverStats) HandleRPC(ctx context.Context, r stats.RPCStats) {
	if h, ok := ctx.Value(handlerKey{}).(stats.Handler); ok {
		h.HandleRPC(ctx, r)
	}
}

func (serverStats) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }
func (serverStats) HandleConn(context.Context, stats.ConnStats)                       {}

// clientStats traces calls that belong to a trace. One that does not (a poll for work, a heartbeat) begins none: it gets
// a parent that is not sampled, so that neither side records a span, while the figures of the call are kept.
type clientStats struct{ stats.Handler }

func (c clientStats) TagRPC(ctx context.Context, info *stats.RPCTagInfo) context.Context {
	if !trace.SpanContextFromContext(ctx).IsValid() {
		var t trace.TraceID
		var s trace.SpanID
		_, _ = rand.Read(t[:]) // never fails
		_, _ = rand.Read(s[:])
		ctx = trace.ContextWithSpanContext(ctx, trace.NewSpanContext(trace.SpanContextConfig{TraceID: t, SpanID: s}))
	}
	return c.Handler.TagRPC(ctx, info)
}
