package app_test

import (
	"context"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"

	mapperv1 "millrace.dev/gen/millrace/mapper/v1"
	"millrace.dev/pkg/app"
	"millrace.dev/pkg/telemetry"
)

// backend notes service and name of each span, and how many traces there are.
type backend struct {
	collector.UnimplementedTraceServiceServer
	mu     sync.Mutex
	spans  []string
	traces map[string]bool
}

func (b *backend) Export(_ context.Context, req *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range req.GetResourceSpans() {
		service := ""
		for _, a := range r.GetResource().GetAttributes() {
			if a.GetKey() == "service.name" {
				service = a.GetValue().GetStringValue()
			}
		}
		for _, ss := range r.GetScopeSpans() {
			for _, s := range ss.GetSpans() {
				b.spans = append(b.spans, service+": "+s.GetName())
				b.traces[string(s.GetTraceId())] = true
			}
		}
	}
	return &collector.ExportTraceServiceResponse{}, nil
}

// In one process each service is its own resource, a call continues its caller's trace, and one that belongs to no trace
// (a poll for work) begins none.
func TestCallsWithinOneProcessAreTracedByService(t *testing.T) {
	b := &backend{traces: map[string]bool{}}
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // a test
	require.NoError(t, err)
	otlp := grpc.NewServer()
	collector.RegisterTraceServiceServer(otlp, b)
	ended := make(chan error)
	go func() { ended <- otlp.Serve(l) }()
	defer func() {
		otlp.Stop()
		require.NoError(t, <-ended)
	}()

	m, s := &service{name: "mapper", log: &events{}}, &service{name: "scheduler", log: &events{}}
	p := start(t, app.Options{Modules: []app.Module{module(m), module(s)}, Settings: app.Settings{OTLP: l.Addr().String()}})
	conn, err := s.env.Dial("mapper")
	require.NoError(t, err)
	call := func(ctx context.Context) {
		_, err := mapperv1.NewMapperServiceClient(conn).ValidateMapping(ctx, &mapperv1.ValidateMappingRequest{})
		require.NoError(t, err)
	}
	call(t.Context())
	ctx, span := s.env.Tracer.Start(t.Context(), telemetry.SpanPlan)
	call(ctx)
	span.End()
	require.NoError(t, p.Stop(t.Context()))

	b.mu.Lock()
	defer b.mu.Unlock()
	require.Len(t, b.traces, 1)
	require.ElementsMatch(t, []string{
		"scheduler: plan", "scheduler: millrace.mapper.v1.MapperService/ValidateMapping", "mapper: millrace.mapper.v1.MapperService/ValidateMapping",
	}, b.spans, strings.Join(b.spans, "\n"))
}

// A process of several services goes without the trace service where there is to be none; one that is for nothing else hosts it.
func TestNoTraceServiceIsHostedWhereThereIsToBeNone(t *testing.T) {
	log := &events{}
	m := &service{name: "mapper", log: log}
	none := app.Settings{TraceAddr: "none"}
	p := start(t, app.Options{Modules: []app.Module{module(m), module(&service{name: "trace", log: log})}, Settings: none})
	require.Contains(t, log.all(), "new:mapper")
	require.NotContains(t, log.all(), "trace")
	_, err := m.env.Dial("trace")
	require.Error(t, err)
	require.NoError(t, p.Stop(t.Context()))

	p = start(t, app.Options{Modules: []app.Module{module(&service{name: "trace", log: log})}, Settings: none})
	require.Contains(t, log.all(), "new:trace")
	require.NoError(t, p.Stop(t.Context()))
}
