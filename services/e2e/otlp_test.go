package e2e_test

import (
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonv1 "go.opentelemetry.io/proto/otlp/common/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
	"millrace.dev/services/trace"
)

// TestWhatIsExportedConforms runs syncs that go well, that reject rows and that fail, and holds what leaves the mesh
// against OTLP, against OpenTelemetry's conventions, and against what viewers of traces such as Jaeger build on: whole
// trees, one root each, links that lead somewhere.
func TestWhatIsExportedConforms(t *testing.T) {
	b, addr := startBackend(t)
	m, p := startTraced(t, t.TempDir(), trace.Settings{}, addr)
	runs := threeRuns(t, m)
	require.NoError(t, p.Stop(t.Context()))

	b.mu.Lock()
	defer b.mu.Unlock()
	require.Empty(t, b.faults)
	all := exported(b.requests)
	require.Empty(t, all.faults())

	var rejected, refused int64
	failed := 0
	services := map[string]bool{}
	for _, x := range all {
		services[x.service] = true
		if x.span.GetStatus().GetCode() == otlp.Status_STATUS_CODE_ERROR {
			failed++
		}
		rejected += x.attribute("millrace.rejected").GetIntValue()
		refused += x.attribute("millrace.refused").GetIntValue()
	}
	require.Subset(t, services, map[string]bool{"scheduler": true, "extractor": true, "mapper": true, "ingestion": true})
	require.Positive(t, failed, "the third run failed")
	for _, r := range runs {
		rejected -= r.GetCounts().GetRejected()
		refused -= r.GetCounts().GetRefused()
	}
	require.Zero(t, rejected, "spans tell of as many as the runs")
	require.Zero(t, refused)
	require.EqualValues(t, 60, runs[0].GetCounts().GetRejected())
}

// threeRuns plays a run that brings customers in and rejects some, one that changes nothing, and one whose table is gone.
func threeRuns(t *testing.T, m mesh) []*schedulerv1.Run {
	t.Helper()
	w := newBadWarehouse(t)
	m.apply(t, "", asFirst(w))
	first := m.end(t, m.trigger(t, "customers"))
	requireState(t, first, schedulerv1.RunState_RUN_STATE_PARTIALLY_SUCCEEDED)
	second := m.end(t, m.trigger(t, "customers"))
	eventually(t, "the warehouse is let go", func() bool { return w.writable(t) })
	w.exec(t, "ALTER TABLE customers RENAME TO gone")
	third := m.end(t, m.trigger(t, "customers"))
	require.Equal(t, schedulerv1.RunState_RUN_STATE_FAILED, third.GetState())
	return []*schedulerv1.Run{first, second, third}
}

// exportedSpan is a span with what stands around it in a request.
type exportedSpan struct {
	service  string
	resource []*commonv1.KeyValue
	scope    string
	span     *otlp.Span
}

func (x exportedSpan) id() string     { return hex.EncodeToString(x.span.GetSpanId()) }
func (x exportedSpan) trace() string  { return hex.EncodeToString(x.span.GetTraceId()) }
func (x exportedSpan) parent() string { return hex.EncodeToString(x.span.GetParentSpanId()) }

func (x exportedSpan) attribute(key string) *commonv1.AnyValue {
	return valueIn(x.span.GetAttributes(), key)
}

func valueIn(attributes []*commonv1.KeyValue, key string) *commonv1.AnyValue {
	for _, a := range attributes {
		if a.GetKey() == key {
			return a.GetValue()
		}
	}
	return nil
}

// exports are all spans that a backend got.
type exports []exportedSpan

func exported(requests []*collector.ExportTraceServiceRequest) exports {
	var out exports
	for _, r := range requests {
		for _, rs := range r.GetResourceSpans() {
			resource := rs.GetResource().GetAttributes()
			for _, ss := range rs.GetScopeSpans() {
				for _, s := range ss.GetSpans() {
					out = append(out, exportedSpan{valueIn(resource, "service.name").GetStringValue(), resource, ss.GetScope().GetName(), s})
				}
			}
		}
	}
	return out
}

// faults answers every rule that a span breaks.
func (all exports) faults() []string {
	byID := make(map[string]exportedSpan, len(all))
	roots := map[string]int{}
	for _, x := range all {
		byID[x.trace()+x.id()] = x
		if x.parent() == "" {
			roots[x.trace()]++
		}
	}
	var out []string
	for _, x := range all {
		for _, why := range slices.Concat(x.malformed(), x.unconventional(), x.misplaced(byID)) {
			out = append(out, fmt.Sprintf("%s: %s (%s): %s", x.service, x.span.GetName(), x.id(), why))
		}
		if n := roots[x.trace()]; n != 1 && x.parent() == "" {
			out = append(out, fmt.Sprintf("%s: %s: its trace has %d roots", x.service, x.span.GetName(), n))
		}
	}
	if len(byID) != len(all) {
		out = append(out, fmt.Sprintf("%d spans were sent more than once", len(all)-len(byID)))
	}
	return out
}

// broken lists what does not hold.
type broken []string

func (b *broken) unless(holds bool, why string, args ...any) {
	if !holds {
		*b = append(*b, fmt.Sprintf(why, args...))
	}
}

// malformed answers what OTLP does not allow.
func (x exportedSpan) malformed() []string {
	var b broken
	s := x.span
	b.unless(len(s.GetTraceId()) == 16 && strings.Trim(x.trace(), "0") != "", "trace_id is not 16 bytes with one that is not zero")
	b.unless(len(s.GetSpanId()) == 8 && strings.Trim(x.id(), "0") != "", "span_id is not 8 bytes with one that is not zero")
	b.unless(len(s.GetParentSpanId()) == 0 || len(s.GetParentSpanId()) == 8 && x.parent() != x.id(), "parent_span_id is neither empty nor another span's")
	b.unless(s.GetName() != "", "it has no name")
	b.unless(s.GetKind() != otlp.Span_SPAN_KIND_UNSPECIFIED, "it has no kind")
	b.unless(s.GetStartTimeUnixNano() > 1e18 && s.GetEndTimeUnixNano() >= s.GetStartTimeUnixNano(), "its times are no nanoseconds of our days in order")
	b.unless(s.GetDroppedAttributesCount()+s.GetDroppedEventsCount()+s.GetDroppedLinksCount() == 0, "something of it was dropped")
	b.unless(s.GetStatus().GetMessage() == "" || s.GetStatus().GetCode() == otlp.Status_STATUS_CODE_ERROR, "its status has a message without an error")
	for _, l := range s.GetLinks() {
		b.unless(len(l.GetTraceId()) == 16 && len(l.GetSpanId()) == 8, "a link's ids are not 16 and 8 bytes")
	}
	for where, attributes := range map[string][]*commonv1.KeyValue{"span": s.GetAttributes(), "resource": x.resource} {
		seen := map[string]bool{}
		for _, a := range attributes {
			b.unless(attributeKey.MatchString(a.GetKey()), "the %s's attribute %q is not named as attributes are", where, a.GetKey())
			b.unless(a.GetValue().GetValue() != nil, "the %s's attribute %s has no value", where, a.GetKey())
			b.unless(!seen[a.GetKey()], "the %s has the attribute %s twice", where, a.GetKey())
			seen[a.GetKey()] = true
		}
	}
	return b
}

var attributeKey = regexp.MustCompile(`^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+$`)

// unconventional answers what OpenTelemetry's conventions ask for and the span has not.
func (x exportedSpan) unconventional() []string {
	var b broken
	b.unless(x.service != "" && valueIn(x.resource, "service.namespace").GetStringValue() == "millrace", "its resource names no service of millrace")
	b.unless(x.scope != "", "its scope has no name")
	has := func(keys ...string) {
		for _, key := range keys {
			b.unless(x.attribute(key) != nil, "it lacks %s", key)
		}
	}
	switch x.span.GetKind() {
	case otlp.Span_SPAN_KIND_PRODUCER, otlp.Span_SPAN_KIND_CONSUMER:
		has("messaging.system", "messaging.operation.type", "messaging.operation.name", "messaging.destination.name")
		want := map[otlp.Span_SpanKind]string{otlp.Span_SPAN_KIND_PRODUCER: "send", otlp.Span_SPAN_KIND_CONSUMER: "process"}[x.span.GetKind()]
		b.unless(x.attribute("messaging.operation.type").GetStringValue() == want, "its operation is not %s", want)
	case otlp.Span_SPAN_KIND_CLIENT, otlp.Span_SPAN_KIND_SERVER:
		has("rpc.system.name", "rpc.method")
		b.unless(x.span.GetName() == x.attribute("rpc.method").GetStringValue(), "it is not named by its method")
	}
	if x.attribute("db.system.name") != nil || x.attribute("db.operation.name") != nil {
		has("db.system.name", "db.operation.name")
	}
	if x.span.GetStatus().GetCode() == otlp.Status_STATUS_CODE_ERROR {
		has("error.type")
	}
	return b
}

// misplaced answers what is wrong with a span's place among the others.
func (x exportedSpan) misplaced(byID map[string]exportedSpan) []string {
	var b broken
	for _, l := range x.span.GetLinks() {
		_, there := byID[hex.EncodeToString(l.GetTraceId())+hex.EncodeToString(l.GetSpanId())]
		b.unless(there && hex.EncodeToString(l.GetTraceId()) != x.trace(), "a link leads to no span of another trace")
	}
	if x.parent() == "" {
		return b
	}
	parent, there := byID[x.trace()+x.parent()]
	if !there {
		return append(b, "its parent was not sent")
	}
	b.unless(parent.span.GetStartTimeUnixNano() <= x.span.GetStartTimeUnixNano(), "it begins before its parent")
	pairs := map[otlp.Span_SpanKind]otlp.Span_SpanKind{
		otlp.Span_SPAN_KIND_CONSUMER: otlp.Span_SPAN_KIND_PRODUCER, otlp.Span_SPAN_KIND_SERVER: otlp.Span_SPAN_KIND_CLIENT,
	}
	want, paired := pairs[x.span.GetKind()]
	b.unless(!paired || parent.span.GetKind() == want, "its parent is no %s", want)
	b.unless(!paired || parent.service != x.service, "its parent is of the same service")
	up, steps := parent, 0
	for up.parent() != "" && steps <= len(byID) {
		up, steps = byID[x.trace()+up.parent()], steps+1
	}
	b.unless(steps <= len(byID), "its parents go round in a circle")
	return b
}

// TestTheRulesOfConformanceFindWhatBreaksThem breaks a conforming pair of spans in one way after the other.
func TestTheRulesOfConformanceFindWhatBreaksThem(t *testing.T) {
	text := func(key, value string) *commonv1.KeyValue {
		return &commonv1.KeyValue{Key: key, Value: &commonv1.AnyValue{Value: &commonv1.AnyValue_StringValue{StringValue: value}}}
	}
	messaging := func(operation string) []*commonv1.KeyValue {
		return []*commonv1.KeyValue{text("messaging.system", "nats"), text("messaging.operation.type", operation), text("messaging.operation.name", "x"), text("messaging.destination.name", "ROWS")}
	}
	id := func(n byte, size int) []byte { return slices.Repeat([]byte{n}, size) }
	span := func(n byte, kind otlp.Span_SpanKind, operation string) *otlp.Span {
		return &otlp.Span{TraceId: id(1, 16), SpanId: id(n, 8), Name: "x", Kind: kind, StartTimeUnixNano: 17e17 + uint64(n), EndTimeUnixNano: 18e17, Attributes: messaging(operation)}
	}
	resource := func(service string) []*commonv1.KeyValue {
		return []*commonv1.KeyValue{text("service.name", service), text("service.namespace", "millrace")}
	}
	pair := func() exports {
		sent, taken := span(1, otlp.Span_SPAN_KIND_PRODUCER, "send"), span(2, otlp.Span_SPAN_KIND_CONSUMER, "process")
		taken.ParentSpanId = sent.GetSpanId()
		return exports{{"extractor", resource("extractor"), "millrace.dev", sent}, {"mapper", resource("mapper"), "millrace.dev", taken}}
	}
	require.Empty(t, pair().faults())
	for why, breaks := range map[string]func(exports) exports{
		"trace_id is not":           func(e exports) exports { e[0].span.TraceId = id(0, 16); return e },
		"span_id is not":            func(e exports) exports { e[1].span.SpanId = id(2, 7); return e },
		"parent_span_id is neither": func(e exports) exports { e[1].span.ParentSpanId = e[1].span.GetSpanId(); return e },
		"it has no name":            func(e exports) exports { e[0].span.Name = ""; return e },
		"it has no kind":            func(e exports) exports { e[0].span.Kind = 0; return e },
		"no nanoseconds":            func(e exports) exports { e[0].span.StartTimeUnixNano = 1_700_000_000_000; return e },
		"was dropped":               func(e exports) exports { e[0].span.DroppedLinksCount = 1; return e },
		"a message without":         func(e exports) exports { e[0].span.Status = &otlp.Status{Message: "x"}; return e },
		"a link's ids":              func(e exports) exports { e[0].span.Links = []*otlp.Span_Link{{TraceId: id(1, 3)}}; return e },
		"a link leads to no": func(e exports) exports {
			e[0].span.Links = []*otlp.Span_Link{{TraceId: id(7, 16), SpanId: id(7, 8)}}
			return e
		},
		"not named as attributes": func(e exports) exports { e[0].span.Attributes[0].Key = "Rows"; return e },
		"has no value":            func(e exports) exports { e[0].span.Attributes[0].Value = nil; return e },
		"twice":                   func(e exports) exports { e[0].span.Attributes[1].Key = "messaging.system"; return e },
		"names no service":        func(e exports) exports { e[0].resource = resource("x")[:1]; return e },
		"its scope":               func(e exports) exports { e[0].scope = ""; return e },
		"it lacks messaging":      func(e exports) exports { e[0].span.Attributes = nil; return e },
		"is not send":             func(e exports) exports { e[0].span.Attributes = messaging("process"); return e },
		"it lacks rpc.method":     func(e exports) exports { e[0].span.Kind = otlp.Span_SPAN_KIND_CLIENT; return e },
		"by its method": func(e exports) exports {
			e[0].span.Kind, e[0].span.Attributes = otlp.Span_SPAN_KIND_CLIENT, []*commonv1.KeyValue{text("rpc.system.name", "grpc"), text("rpc.method", "y")}
			return e
		},
		"it lacks db.operation.name": func(e exports) exports {
			e[0].span.Attributes = append(e[0].span.Attributes, text("db.system.name", "duckdb"))
			return e
		},
		"it lacks error.type": func(e exports) exports {
			e[0].span.Status = &otlp.Status{Code: otlp.Status_STATUS_CODE_ERROR}
			return e
		},
		"was not sent":        func(e exports) exports { return e[1:] },
		"begins before":       func(e exports) exports { e[1].span.StartTimeUnixNano = 16e17; return e },
		"its parent is no":    func(e exports) exports { e[0].span.Kind = otlp.Span_SPAN_KIND_INTERNAL; return e },
		"of the same service": func(e exports) exports { e[1].service = "extractor"; return e },
		"in a circle":         func(e exports) exports { e[0].span.ParentSpanId = e[1].span.GetSpanId(); return e },
		"has 2 roots": func(e exports) exports {
			e[1].span.ParentSpanId = nil
			return e
		},
		"more than once": func(e exports) exports {
			return append(e, exportedSpan{e[0].service, e[0].resource, e[0].scope, proto.Clone(e[0].span).(*otlp.Span)})
		},
	} {
		require.Contains(t, strings.Join(breaks(pair()).faults(), "\n"), why)
	}
}
