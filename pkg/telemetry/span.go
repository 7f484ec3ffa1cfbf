package telemetry

import (
	"context"
	"maps"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
)

// Names of spans, stable: one trace per batch has read, publish, map, ingest, commit and report; a run's trace has plan
// and the run's own span, and each batch's first span links to it. services/trace/SPANS.md is their table.
const (
	SpanRun     = "run"
	SpanPlan    = "plan"
	SpanRead    = "read batch"
	SpanPublish = "publish"
	SpanMap     = "map"
	SpanIngest  = "ingest"
	SpanCommit  = "commit"
	SpanReport  = "report"
	SpanDeliver = "deliver" // of the forwarder
)

// The attributes of spans: ids, counts, bytes, durations, versions. There are no others; what is not on the allow-list
// does not leave the process.

// Workspace names the tenant.
func Workspace(w id.Workspace) attribute.KeyValue {
	return attribute.String("millrace.workspace", string(w))
}

// Sync names a sync by uid.
func Sync(s id.Sync) attribute.KeyValue { return attribute.String("millrace.sync", s.String()) }

// SyncID names a sync by the id that its owner gave it.
func SyncID(sync string) attribute.KeyValue { return attribute.String("millrace.sync_id", sync) }

// Feed names the feed that a sync writes as.
func Feed(feed string) attribute.KeyValue { return attribute.String("millrace.feed", feed) }

// Run names a run.
func Run(r id.Run) attribute.KeyValue { return attribute.String("millrace.run", r.String()) }

// RunNo is a run's ordinal.
func RunNo(n int64) attribute.KeyValue { return attribute.Int64("millrace.run_no", n) }

// Part names a part and its run.
func Part(p id.Part) []attribute.KeyValue {
	return []attribute.KeyValue{Run(p.Run), attribute.Int64("millrace.part", int64(p.Part))}
}

// Batch names a batch.
func Batch(b id.Batch) []attribute.KeyValue {
	return []attribute.KeyValue{
		Run(b.Run), attribute.String("millrace.batch", b.String()), attribute.Int64("millrace.part", int64(b.Part)),
		attribute.Int64("millrace.epoch", int64(b.Epoch)), attribute.Int64("millrace.seq", int64(b.Seq)),
	}
}

// Rows is how many rows a span dealt with.
func Rows(n int64) attribute.KeyValue { return attribute.Int64("millrace.rows", n) }

// Bytes is how many bytes a span dealt with.
func Bytes(n int64) attribute.KeyValue { return attribute.Int64("millrace.bytes", n) }

// Count is a further number: millrace.<name>, name in snake_case and on the allow-list.
func Count(name string, n int64) attribute.KeyValue { return attribute.Int64("millrace."+name, n) }

// Sends says, by the conventions for messaging, that a span publishes so many messages of so many bytes to a stream.
func Sends(stream string, messages, bytes int) []attribute.KeyValue {
	return []attribute.KeyValue{
		attribute.String("messaging.system", "nats"), attribute.String("messaging.operation.type", "send"),
		attribute.String("messaging.operation.name", "publish"), attribute.String("messaging.destination.name", stream),
		attribute.Int("messaging.batch.message_count", messages), attribute.Int("messaging.message.body.size", bytes),
	}
}

// Handles says, by the conventions for messaging, that a span is about a message taken from a stream, delivered to it for
// the attempt-th time.
func Handles(stream, message string, bytes, attempt int) []attribute.KeyValue {
	return []attribute.KeyValue{
		attribute.String("messaging.system", "nats"), attribute.String("messaging.operation.type", "process"),
		attribute.String("messaging.operation.name", "process"), attribute.String("messaging.destination.name", stream),
		attribute.String("messaging.message.id", message), attribute.Int("messaging.message.body.size", bytes),
		attribute.Int("millrace.attempt", attempt),
	}
}

// Database says, by the conventions for databases, what a span does in which one.
func Database(system, operation string) []attribute.KeyValue {
	if system == "postgres" {
		system = "postgresql"
	}
	return []attribute.KeyValue{attribute.String("db.system.name", system), attribute.String("db.operation.name", operation)}
}

// Version is the version of a resource that a span worked by.
func Version(n int64) attribute.KeyValue { return attribute.Int64("millrace.version", n) }

// End ends a span; an error makes it a failed one with class and reason, and without the error's text.
func End(s trace.Span, err error) {
	if err != nil {
		f := fault.As(err)
		s.SetAttributes(attribute.String("millrace.error_class", f.Class.String()), attribute.String("millrace.reason", f.Reason.Word()),
			attribute.String("error.type", f.Reason.Word()))
		s.SetStatus(codes.Error, f.Reason.Word())
	}
	s.End()
}

// Inject answers the W3C trace context of ctx's span (traceparent, tracestate), nil where there is none.
func Inject(ctx context.Context) map[string]string {
	c := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, c)
	if len(c) == 0 {
		return nil
	}
	return c
}

// Extract answers ctx with the remote span that a header names as parent. Other entries of header are not looked at.
func Extract(ctx context.Context, header map[string]string) context.Context {
	return propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier(maps.Clone(header)))
}

// Link answers a link to the span that a header names, for spans that belong together without being nested.
func Link(ctx context.Context, header map[string]string) trace.Link {
	none := trace.ContextWithSpanContext(ctx, trace.SpanContext{})
	return trace.Link{SpanContext: trace.SpanContextFromContext(Extract(none, header))}
}

// TraceID answers the id of ctx's trace in hex, empty where there is none.
func TraceID(ctx context.Context) string {
	if sc := trace.SpanContextFromContext(ctx); sc.HasTraceID() {
		return sc.TraceID().String()
	}
	return ""
}
