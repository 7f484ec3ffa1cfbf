package trace

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/require"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonv1 "go.opentelemetry.io/proto/otlp/common/v1"
	resourcev1 "go.opentelemetry.io/proto/otlp/resource/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"go.uber.org/goleak"

	tracev1 "millrace.dev/gen/millrace/trace/v1"
	"millrace.dev/pkg/app"
	"millrace.dev/pkg/sqldb"
	"millrace.dev/pkg/testenv"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, testenv.Leaks()...) }

// world is the service in a process of its own.
type world struct {
	t       *testing.T
	service *Service
	api     tracev1.TraceServiceClient
	otlp    collector.TraceServiceClient
	process *app.Process
	meters  *prometheus.Registry
}

// sqlite answers the address of a database that is not there yet.
func sqlite(t *testing.T) string {
	t.Helper()
	return "sqlite:" + filepath.Join(t.TempDir(), "traces.db")
}

// start starts the service, which ends with the test.
func start(t *testing.T, s Settings) *world {
	t.Helper()
	w := &world{t: t, meters: prometheus.NewRegistry()}
	m := app.Module{Name: Name, New: func(ctx context.Context, env *app.Env) (app.Service, error) {
		env.Metrics = w.meters
		var err error
		w.service, err = New(ctx, env, s)
		return w.service, err
	}}
	p, err := app.Start(t.Context(), app.Options{Modules: []app.Module{m}, Settings: app.Settings{Data: t.TempDir(), GRPC: "none", HTTP: "none"}, LogTo: t.Output()})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Stop(t.Context())) })
	conn, err := p.Dial(Name)
	require.NoError(t, err)
	w.process, w.api, w.otlp = p, tracev1.NewTraceServiceClient(conn), collector.NewTraceServiceClient(conn)
	return w
}

// db answers the service's database.
func (w *world) db() *sqldb.DB { return w.service.db.Load() }

// count answers a counter's value by its label.
func (w *world) count(name, label string) int {
	w.t.Helper()
	all, err := w.meters.Gather()
	require.NoError(w.t, err)
	for _, f := range all {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			if labelled(m, label) {
				return int(m.GetCounter().GetValue())
			}
		}
	}
	return 0
}

func labelled(m *dto.Metric, value string) bool {
	for _, l := range m.GetLabel() {
		if l.GetValue() == value {
			return true
		}
	}
	return false
}

// export sends spans of a service and answers what was said about them.
func (w *world) export(service string, spans ...*otlp.Span) *collector.ExportTracePartialSuccess {
	w.t.Helper()
	res, err := w.otlp.Export(w.t.Context(), request(service, spans...))
	require.NoError(w.t, err)
	return res.GetPartialSuccess()
}

// list answers the trace ids of a list.
func (w *world) list(req *tracev1.ListTracesRequest) []string {
	w.t.Helper()
	res, err := w.api.ListTraces(w.t.Context(), req)
	require.NoError(w.t, err)
	out := []string{}
	for _, t := range res.GetTraces() {
		out = append(out, t.GetTraceId())
	}
	return out
}

// until waits for an event: it asks until the answer is yes.
func (w *world) until(what string, yes func() bool) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 30*time.Second)
	defer cancel()
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for !yes() {
		select {
		case <-again.C:
		case <-ctx.Done():
			require.Fail(w.t, "it never happened", what)
		}
	}
}

// written waits until so many spans are in the database.
func (w *world) written(n int) {
	w.t.Helper()
	w.until("the spans are written", func() bool { return w.count("millrace_trace_spans_total", "written") >= n })
}

func request(service string, spans ...*otlp.Span) *collector.ExportTraceServiceRequest {
	return &collector.ExportTraceServiceRequest{ResourceSpans: []*otlp.ResourceSpans{{
		Resource:   &resourcev1.Resource{Attributes: []*commonv1.KeyValue{text("service.name", service)}},
		ScopeSpans: []*otlp.ScopeSpans{{Spans: spans}},
	}}}
}

func text(key, value string) *commonv1.KeyValue {
	return &commonv1.KeyValue{Key: key, Value: &commonv1.AnyValue{Value: &commonv1.AnyValue_StringValue{StringValue: value}}}
}

func integer(key string, n int64) *commonv1.KeyValue {
	return &commonv1.KeyValue{Key: key, Value: &commonv1.AnyValue{Value: &commonv1.AnyValue_IntValue{IntValue: n}}}
}

func newTrace() string {
	var b [16]byte
	_, _ = rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

func newSpan() []byte {
	var b [8]byte
	_, _ = rand.Read(b[:])
	return b[:]
}

// of answers a span of a trace that began some time ago and took so long.
func of(traceID, name string, ago, took time.Duration, attributes ...*commonv1.KeyValue) *otlp.Span {
	id, err := hex.DecodeString(traceID)
	if err != nil {
		return nil
	}
	start := time.Now().Add(-ago)
	return &otlp.Span{
		TraceId: id, SpanId: newSpan(), Name: name, Kind: otlp.Span_SPAN_KIND_INTERNAL, Attributes: attributes,
		StartTimeUnixNano: uint64(start.UnixNano()), EndTimeUnixNano: uint64(start.Add(took).UnixNano()),
	}
}

// failed makes a span one that failed.
func failed(s *otlp.Span, reason string) *otlp.Span {
	s.Status = &otlp.Status{Code: otlp.Status_STATUS_CODE_ERROR, Message: reason}
	return s
}
