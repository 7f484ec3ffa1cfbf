package telemetry_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"go.uber.org/goleak"
	"google.golang.org/grpc"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/telemetry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// receiver is an OTLP backend that keeps what it gets.
type receiver struct {
	collector.UnimplementedTraceServiceServer
	mu    sync.Mutex
	spans map[string][]*tracev1.Span // by service.name
}

func (r *receiver) Export(_ context.Context, req *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, rs := range req.GetResourceSpans() {
		name := ""
		for _, a := range rs.GetResource().GetAttributes() {
			if a.GetKey() == "service.name" {
				name = a.GetValue().GetStringValue()
			}
		}
		for _, ss := range rs.GetScopeSpans() {
			r.spans[name] = append(r.spans[name], ss.GetSpans()...)
		}
	}
	return &collector.ExportTraceServiceResponse{}, nil
}

func receive(t *testing.T) (*receiver, string) {
	t.Helper()
	r := &receiver{spans: map[string][]*tracev1.Span{}}
	return r, serveOTLP(t, r)
}

// serveOTLP answers the address of a receiver, which ends with the test.
func serveOTLP(t *testing.T, r collector.TraceServiceServer) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // a test
	require.NoError(t, err)
	s := grpc.NewServer()
	collector.RegisterTraceServiceServer(s, r)
	ended := make(chan error)
	go func() { ended <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Stop()
		require.NoError(t, <-ended)
	})
	return l.Addr().String()
}

func TestSpansReachTheBackendUnderTheirServicesAndWithoutSecrets(t *testing.T) {
	r, addr := receive(t)
	tel, err := telemetry.New(t.Context(), telemetry.Settings{OTLP: "http://" + addr})
	require.NoError(t, err)
	run := id.NewRun()
	b := id.Batch{Run: run, Part: 1, Epoch: 2, Seq: 3}

	ctx, read := tel.Tracer("extractor").Start(t.Context(), telemetry.SpanRead, trace.WithAttributes(telemetry.Batch(b)...))
	read.SetAttributes(telemetry.Rows(16384), attribute.String("db.query.text", "SELECT hunter2"))
	header := telemetry.Inject(ctx)
	telemetry.End(read, nil)

	_, mapped := tel.Tracer("mapper").Start(telemetry.Extract(t.Context(), header), telemetry.SpanMap, trace.WithLinks(telemetry.Link(t.Context(), header)))
	mapped.RecordError(errors.New("row hunter2"))
	mapped.SetStatus(codes.Error, "value hunter2 is bad")
	telemetry.End(mapped, fault.New(fault.Invalid, fault.ReasonMappingInvalid, "column x"))
	_, raw := tel.Tracer("mapper").Start(t.Context(), "raw")
	raw.SetStatus(codes.Error, "value hunter2 is bad")
	raw.End()
	require.NoError(t, tel.Shutdown(t.Context()))

	require.Len(t, r.spans["extractor"], 1)
	require.Len(t, r.spans["mapper"], 2)
	got, next := r.spans["extractor"][0], r.spans["mapper"][0]
	require.Equal(t, got.GetTraceId(), next.GetTraceId(), "one trace per batch")
	require.Equal(t, got.GetSpanId(), next.GetParentSpanId())
	require.Equal(t, got.GetSpanId(), next.GetLinks()[0].GetSpanId())
	require.Equal(t, "mapping_invalid", next.GetStatus().GetMessage())
	keys := map[string]bool{}
	for _, a := range got.GetAttributes() {
		keys[a.GetKey()] = true
	}
	require.True(t, keys["millrace.batch"] && keys["millrace.rows"] && keys["millrace.run"])
	require.False(t, keys["db.query.text"], "not on the allow-list")
	for _, spans := range r.spans {
		for _, s := range spans {
			require.NotContains(t, s.String(), "hunter2")
		}
	}
}

func TestWithoutABackendSpansHaveIDs(t *testing.T) {
	tel, err := telemetry.New(t.Context(), telemetry.Settings{})
	require.NoError(t, err)
	var out bytes.Buffer
	log, err := telemetry.NewLogger(&out, "info", "json")
	require.NoError(t, err)
	ctx, span := tel.Tracer("config").Start(t.Context(), "x")
	require.Len(t, telemetry.TraceID(ctx), 32)
	log.With("service", "config").InfoContext(ctx, "hello")
	log.DebugContext(ctx, "not at this level")
	span.End()
	require.NoError(t, tel.Shutdown(t.Context()))

	var line map[string]any
	require.NoError(t, json.Unmarshal(out.Bytes(), &line))
	require.Equal(t, telemetry.TraceID(ctx), line["trace_id"])
	require.Len(t, line["span_id"], 16)
	require.Equal(t, "config", line["service"])
	require.Empty(t, telemetry.TraceID(t.Context()))
	require.Nil(t, telemetry.Inject(t.Context()))
}

func TestABackendThatIsAwayHoldsNothingUp(t *testing.T) {
	tel, err := telemetry.New(t.Context(), telemetry.Settings{OTLP: "127.0.0.1:1"})
	require.NoError(t, err)
	_, span := tel.Tracer("config").Start(t.Context(), "x")
	span.End()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	require.Error(t, tel.Shutdown(ctx))
}

func TestSettingsThatAreWrong(t *testing.T) {
	_, err := telemetry.NewLogger(&bytes.Buffer{}, "loud", "text")
	require.Equal(t, fault.Invalid, fault.ClassOf(err))
	_, err = telemetry.NewLogger(&bytes.Buffer{}, "info", "xml")
	require.Equal(t, fault.Invalid, fault.ClassOf(err))
}

func TestHeadersThatNameNoSpanAreLeftAlone(t *testing.T) {
	for _, h := range []map[string]string{nil, {}, {"traceparent": "nonsense"}} {
		require.Empty(t, telemetry.TraceID(telemetry.Extract(t.Context(), h)))
		require.False(t, telemetry.Link(t.Context(), h).SpanContext.IsValid())
	}
}
