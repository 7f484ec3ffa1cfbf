package scheduler

import (
	"context"
	"crypto/rand"
	"sync"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"millrace.dev/pkg/id"
	"millrace.dev/pkg/telemetry"
)

// spans holds the spans of runs that this process created and that are open: each lasts from its run's creation to the
// run's end, and batches link to it. Safe for concurrent use.
type spans struct {
	tracer trace.Tracer
	mu     sync.Mutex
	open   map[id.Run]trace.Span
}

func newSpans(t trace.Tracer) *spans { return &spans{tracer: t, open: map[id.Run]trace.Span{}} }

// begin starts the span of a run and answers its W3C traceparent. The run must be kept or dropped afterwards.
func (s *spans) begin(ctx context.Context, r runRow) string {
	ctx, span := s.tracer.Start(ctx, telemetry.SpanRun, trace.WithNewRoot(), trace.WithAttributes(attributesOf(r)...))
	header := telemetry.Inject(ctx)["traceparent"]
	if header == "" {
		return randomTraceparent()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open[r.ID] = span
	return header
}

// drop forgets the span of a run that was not created after all.
func (s *spans) drop(r id.Run) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, r)
}

// close ends the span of a run. One that another process began is told again in the same trace, over the same time.
func (s *spans) close(ctx context.Context, r runRow) {
	s.mu.Lock()
	span, ok := s.open[r.ID]
	delete(s.open, r.ID)
	s.mu.Unlock()
	if !ok {
		ctx = telemetry.Extract(ctx, map[string]string{"traceparent": r.Traceparent})
		_, span = s.tracer.Start(ctx, telemetry.SpanRun, trace.WithTimestamp(r.CreateTime), trace.WithAttributes(attributesOf(r)...))
	}
	t := r.Totals
	span.SetAttributes(telemetry.Rows(t.Rows), telemetry.Bytes(t.Bytes), telemetry.Count("parts", t.Parts), telemetry.Count("batches", t.Batches))
	if r.Issue.Reason != "" {
		span.SetAttributes(attribute.String("millrace.reason", r.Issue.Reason), attribute.String("error.type", r.Issue.Reason))
		span.SetStatus(codes.Error, r.Issue.Reason)
	}
	span.End()
}

// end ends the spans of runs that go on after this process.
func (s *spans) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for r, span := range s.open {
		span.End()
		delete(s.open, r)
	}
}

func attributesOf(r runRow) []attribute.KeyValue {
	out := []attribute.KeyValue{
		telemetry.Workspace(r.Workspace), telemetry.SyncID(r.SyncID), telemetry.Run(r.ID), telemetry.RunNo(r.RunNo), telemetry.Version(r.SyncVersion),
	}
	if uid, err := id.ParseSync(r.SyncUID); err == nil {
		out = append(out, telemetry.Sync(uid))
	}
	return out
}

// traceID answers the trace that a traceparent names.
func traceID(traceparent string) string {
	const from, to = 3, 35
	if len(traceparent) < to {
		return ""
	}
	return traceparent[from:to]
}

// randomTraceparent names a trace that nobody records, so that batches of a run still share it.
func randomTraceparent() string {
	var (
		t trace.TraceID
		p trace.SpanID
	)
	_, _ = rand.Read(t[:]) // never fails
	_, _ = rand.Read(p[:])
	return "00-" + t.String() + "-" + p.String() + "-00"
}
