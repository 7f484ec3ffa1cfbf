package trace

import (
	"slices"
	"strings"

	"millrace.dev/pkg/telemetry"
)

// span is one span as it is kept.
type span struct {
	TraceID, SpanID string // hex digits
	ParentID        string // empty: a root
	Service, Name   string
	Kind            kind
	Start, End      int64 // nanoseconds since the Unix epoch
	Failed          bool
	Reason          string
	Attributes      map[string]any // text, int64, float64 and bool, of the allow-list
	Links           []link
}

// link is another span that a span belongs to.
type link struct {
	TraceID string `json:"trace_id"`
	SpanID  string `json:"span_id"`
}

// kind is a span's kind, numbered as in OTLP.
type kind int

const (
	server   kind = 2
	producer kind = 4
	consumer kind = 5
)

// The stages of a batch and of a run's planning, in the data's order.
const (
	stagePlan    = "plan"
	stageExtract = "extract"
	stageMap     = "map"
	stageIngest  = "ingest"
	stageDeliver = "deliver"
)

// stages answers all stages in the data's order.
func stages() []string { return []string{stagePlan, stageExtract, stageMap, stageIngest, stageDeliver} }

// stageOf answers the stage that a span is work of: empty for calls, for a run's own span, and for spans that are not of
// the mesh.
func stageOf(service, name string) string {
	switch name {
	case telemetry.SpanPlan:
		return map[string]string{"extractor": stagePlan}[service]
	case telemetry.SpanRead, telemetry.SpanPublish, telemetry.SpanMap, telemetry.SpanIngest, telemetry.SpanCommit, telemetry.SpanReport, telemetry.SpanDeliver:
		return map[string]string{"extractor": stageExtract, "mapper": stageMap, "ingestion": stageIngest, "forwarder": stageDeliver}[service]
	}
	return ""
}

func (s *span) stage() string { return stageOf(s.Service, s.Name) }

// text answers an attribute that is text, empty where there is none.
func (s *span) text(key string) string {
	v, _ := s.Attributes[key].(string)
	return v
}

// number answers an attribute that is a whole number, 0 where there is none.
func (s *span) number(key string) int64 {
	v, _ := s.Attributes[key].(int64)
	return v
}

// rowBytes is what a span takes in the database beside its texts, its share of the indexes included.
const rowBytes = 300

// bytes estimates what the span takes in the database.
func (s *span) bytes() int64 {
	n := rowBytes + len(s.Service) + len(s.Name) + len(s.Reason) + 64*len(s.Links)
	for k, v := range s.Attributes {
		n += len(k) + 16
		if t, ok := v.(string); ok {
			n += len(t)
		}
	}
	return int64(n)
}

// byStart orders spans by start, parents before what they began at the same instant.
func byStart(spans []span) {
	slices.SortStableFunc(spans, func(a, b span) int {
		switch {
		case a.Start != b.Start:
			return cmpInt(a.Start, b.Start)
		case a.End != b.End:
			return cmpInt(b.End, a.End)
		}
		return strings.Compare(a.SpanID, b.SpanID)
	})
}

func cmpInt(a, b int64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}
