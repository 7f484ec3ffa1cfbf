package trace

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	commonv1 "go.opentelemetry.io/proto/otlp/common/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"

	"millrace.dev/pkg/telemetry"
)

// What is kept of one span at most.
const (
	maxText  = 256
	maxName  = 128
	maxLinks = 32
)

// withheld stands for a name or a text that may hold more than an identifier.
const withheld = "(withheld)"

// refusals counts spans that are not kept, by why.
type refusals map[string]int64

func (r refusals) count() int64 {
	var n int64
	for _, c := range r {
		n += c
	}
	return n
}

// String answers what a client is told.
func (r refusals) String() string {
	parts := make([]string, 0, len(r))
	for why, n := range r {
		parts = append(parts, fmt.Sprintf("%s (%d)", why, n))
	}
	slices.Sort(parts)
	return strings.Join(parts, "; ")
}

// horizon is the time in which spans are taken.
type horizon struct{ oldest, newest time.Time }

// spansOf answers the spans of a request that can be kept, less what is not on the allow-list, and counts the others.
func spansOf(in []*otlp.ResourceSpans, h horizon) ([]span, refusals) {
	var out []span
	refused := refusals{}
	for _, rs := range in {
		service := "unknown_service"
		for _, a := range rs.GetResource().GetAttributes() {
			if a.GetKey() == "service.name" {
				service = plain(a.GetValue().GetStringValue(), maxName)
			}
		}
		for _, ss := range rs.GetScopeSpans() {
			for _, s := range ss.GetSpans() {
				if why := h.refuses(s); why != "" {
					refused[why]++
					continue
				}
				out = append(out, spanOf(service, s))
			}
		}
	}
	return out, refused
}

// refuses says why a span can not be kept, empty where it can.
func (h horizon) refuses(s *otlp.Span) string {
	start, end := s.GetStartTimeUnixNano(), s.GetEndTimeUnixNano()
	switch {
	case len(s.GetTraceId()) != 16 || empty(s.GetTraceId()):
		return "trace_id is not 16 bytes, or all zero"
	case len(s.GetSpanId()) != 8 || empty(s.GetSpanId()):
		return "span_id is not 8 bytes, or all zero"
	case len(s.GetParentSpanId()) != 0 && len(s.GetParentSpanId()) != 8:
		return "parent_span_id is neither empty nor 8 bytes"
	case s.GetName() == "":
		return "name is empty"
	case start == 0 || end < start:
		return "end_time_unix_nano is before start_time_unix_nano, or there is no start"
	case end > uint64(h.newest.UnixNano()):
		return "end_time_unix_nano lies in the future; set the sender's clock"
	case end < uint64(h.oldest.UnixNano()):
		return "end_time_unix_nano is older than traces are kept"
	}
	return ""
}

func empty(b []byte) bool { return !slices.ContainsFunc(b, func(x byte) bool { return x != 0 }) }

// spanOf answers what is kept of a span. Events, the trace's state and texts of a status are not.
func spanOf(service string, s *otlp.Span) span {
	out := span{
		TraceID: hex.EncodeToString(s.GetTraceId()), SpanID: hex.EncodeToString(s.GetSpanId()),
		Service: service, Name: plain(s.GetName(), maxName), Kind: kind(s.GetKind()),
		Start: int64(s.GetStartTimeUnixNano()), End: int64(s.GetEndTimeUnixNano()),
		Failed: s.GetStatus().GetCode() == otlp.Status_STATUS_CODE_ERROR, Attributes: map[string]any{},
	}
	if !empty(s.GetParentSpanId()) {
		out.ParentID = hex.EncodeToString(s.GetParentSpanId())
	}
	for _, a := range s.GetAttributes() {
		if v, ok := valueOf(a.GetValue()); ok && telemetry.Allowed(a.GetKey()) {
			out.Attributes[a.GetKey()] = v
		}
	}
	if out.Failed {
		if out.Reason = out.text("error.type"); out.Reason == "" && telemetry.IsReason(s.GetStatus().GetMessage()) && len(s.GetStatus().GetMessage()) <= maxText {
			out.Reason = s.GetStatus().GetMessage()
		}
	}
	for _, l := range s.GetLinks() {
		if len(out.Links) < maxLinks && len(l.GetTraceId()) == 16 && len(l.GetSpanId()) == 8 {
			out.Links = append(out.Links, link{hex.EncodeToString(l.GetTraceId()), hex.EncodeToString(l.GetSpanId())})
		}
	}
	return out
}

// valueOf answers an attribute's value where it is a number, a truth or an identifier.
func valueOf(v *commonv1.AnyValue) (any, bool) {
	switch v := v.GetValue().(type) {
	case *commonv1.AnyValue_StringValue:
		text := plain(v.StringValue, maxText)
		return text, text != withheld
	case *commonv1.AnyValue_IntValue:
		return v.IntValue, true
	case *commonv1.AnyValue_DoubleValue:
		return v.DoubleValue, v.DoubleValue-v.DoubleValue == 0 // neither NaN nor infinite, which JSON has not
	case *commonv1.AnyValue_BoolValue:
		return v.BoolValue, true
	}
	return nil, false
}

// nameRunes are what names and identifiers are made of.
const nameRunes = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 ._/:$*{}[]()-"

// plain answers text that is made of what names and identifiers are made of, and withheld for all other, so that no
// address of a person, query or free text is kept.
func plain(text string, longest int) string {
	if len(text) > longest || strings.ContainsFunc(text, func(r rune) bool { return !strings.ContainsRune(nameRunes, r) }) {
		return withheld
	}
	return text
}
