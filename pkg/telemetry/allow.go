package telemetry

import (
	"context"
	"slices"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// allowedKeys are the attributes that leave the process: ids, counts, sizes, durations and versions, by the conventions of
// OpenTelemetry where there is one. All else is dropped, so that no row value or SQL text gets out by mistake.
// services/trace/SPANS.md says what each one is.
var allowedKeys = []string{ //nolint:gochecknoglobals // a constant list
	"millrace.workspace", "millrace.sync", "millrace.sync_id", "millrace.feed", "millrace.run", "millrace.run_no", "millrace.version",
	"millrace.part", "millrace.epoch", "millrace.seq", "millrace.batch",
	"millrace.rows", "millrace.bytes", "millrace.parts", "millrace.batches", "millrace.rejected", "millrace.fragments",
	"millrace.created", "millrace.updated", "millrace.refused", "millrace.attempt",
	"millrace.error_class", "millrace.reason", "error.type",
	"messaging.system", "messaging.operation.type", "messaging.operation.name", "messaging.destination.name",
	"messaging.message.id", "messaging.message.body.size", "messaging.batch.message_count",
	"db.system.name", "db.operation.name",
	"rpc.system.name", "rpc.method", "rpc.response.status_code", "server.address", "server.port",
	"http.request.method", "http.response.status_code", "http.route",
}

// AllowedKeys answers the attributes that spans may have, in the order of SPANS.md.
func AllowedKeys() []string { return slices.Clone(allowedKeys) }

// Allowed says whether spans may have an attribute.
func Allowed(key string) bool { return slices.Contains(allowedKeys, key) }

// IsReason says whether a span's status description may leave the process: it is the word of a reason.
func IsReason(description string) bool {
	return strings.Trim(description, "abcdefghijklmnopqrstuvwxyz_") == ""
}

// allowed is an exporter that drops what is not on the allow-list.
type allowed struct{ next sdktrace.SpanExporter }

func (a allowed) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	clean := make([]sdktrace.ReadOnlySpan, len(spans))
	for i, s := range spans {
		clean[i] = cleanSpan{s}
	}
	return a.next.ExportSpans(ctx, clean) //nolint:wrapcheck // the queue says what it means
}

func (a allowed) Shutdown(ctx context.Context) error {
	return a.next.Shutdown(ctx) //nolint:wrapcheck // Telemetry.Shutdown says what it means
}

// cleanSpan is a span less what is not on the allow-list.
type cleanSpan struct{ sdktrace.ReadOnlySpan }

func (s cleanSpan) Attributes() []attribute.KeyValue { return keep(s.ReadOnlySpan.Attributes()) }

func (s cleanSpan) Events() []sdktrace.Event {
	in := s.ReadOnlySpan.Events()
	out := make([]sdktrace.Event, len(in))
	for i, e := range in {
		e.Attributes = keep(e.Attributes)
		out[i] = e
	}
	return out
}

func (s cleanSpan) Links() []sdktrace.Link {
	in := s.ReadOnlySpan.Links()
	out := make([]sdktrace.Link, len(in))
	for i, l := range in {
		l.Attributes = keep(l.Attributes)
		out[i] = l
	}
	return out
}

// Status keeps a description only where it is a reason's word.
func (s cleanSpan) Status() sdktrace.Status {
	st := s.ReadOnlySpan.Status()
	if !IsReason(st.Description) {
		st.Description = ""
	}
	return st
}

func keep(in []attribute.KeyValue) []attribute.KeyValue {
	out := make([]attribute.KeyValue, 0, len(in))
	for _, kv := range in {
		if Allowed(string(kv.Key)) {
			out = append(out, kv)
		}
	}
	return out
}
