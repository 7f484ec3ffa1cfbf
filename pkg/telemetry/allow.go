package telemetry

import (
	"context"
	"log/slog"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// allowedPrefixes are the attributes that leave the process: the ones of package telemetry, and those of gRPC's
// instrumentation. All else is dropped, so that no row value or SQL text gets out by mistake.
var allowedPrefixes = []string{"millrace.", "rpc.", "server.", "client.", "network.", "exception.type", "error.type"} //nolint:gochecknoglobals // a constant list

// allowed is an exporter that drops what is not on the allow-list.
type allowed struct {
	next sdktrace.SpanExporter
	log  *slog.Logger
}

func (a allowed) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	clean := make([]sdktrace.ReadOnlySpan, len(spans))
	for i, s := range spans {
		clean[i] = cleanSpan{s}
	}
	if err := a.next.ExportSpans(ctx, clean); err != nil {
		a.log.Warn("spans could not be delivered", "spans", len(spans), "error", err)
	}
	return nil
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
	if strings.Trim(st.Description, "abcdefghijklmnopqrstuvwxyz_") != "" {
		st.Description = ""
	}
	return st
}

func keep(in []attribute.KeyValue) []attribute.KeyValue {
	out := make([]attribute.KeyValue, 0, len(in))
	for _, kv := range in {
		if allowedKey(string(kv.Key)) {
			out = append(out, kv)
		}
	}
	return out
}

func allowedKey(key string) bool {
	for _, p := range allowedPrefixes {
		if strings.HasPrefix(key, p) {
			return true
		}
	}
	return false
}
