package console

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	tracev1 "millrace.dev/gen/millrace/trace/v1"
)

const (
	mostSpans     = 1000 // of a trace that are shown
	mostDepth     = 12   // beyond which rows are not indented further
	mostValue     = 200  // characters of an attribute's value
	waterfallTick = 4    // parts of the time axis
)

// waterfall shows spans over time, each below the span that began it.
type waterfall struct {
	Ticks  []axisTick
	Rows   []waterfallRow
	Beyond int // spans that are not shown
}

// axisTick is a mark of the time axis.
type axisTick struct{ X, Anchor, Text string }

// waterfallRow is a span. Places are lengths of SVG.
type waterfallRow struct {
	Name               string // as it is shown
	Span               *tracev1.Span
	Depth              int
	Class              string // of its stage
	X, Width           string
	At, Took           string
	Queue              string // how long its message waited for it; empty: it did not
	QueueX, QueueWidth string
	Label              string // the bars in words
	Rejects            int64
	Delivery           int64 // from 2 on: which delivery of the message it handles
	Orphan             bool  // its parent is not kept
	ParentName         string
	Attributes         []attributeRow
}

// attributeRow is an attribute of a span.
type attributeRow struct{ Key, Value string }

// waterfallOf lays out spans by start.
func waterfallOf(spans []*tracev1.Span) waterfall {
	var w waterfall
	if len(spans) > mostSpans {
		w.Beyond = len(spans) - mostSpans
		spans = spans[:mostSpans]
	}
	if len(spans) == 0 {
		return w
	}
	axis := axisOf(spans)
	w.Ticks = axis.ticks()
	byID := make(map[string]*tracev1.Span, len(spans))
	for _, s := range spans {
		byID[s.GetSpanId()] = s
	}
	waited := queuedSince(spans, byID)
	forest(spans, byID, func(s *tracev1.Span, depth int) {
		row := axis.row(s, waited[s.GetSpanId()])
		row.Depth = min(depth, mostDepth)
		row.Orphan = s.GetParentSpanId() != "" && byID[s.GetParentSpanId()] == nil
		row.ParentName = spanName(byID[s.GetParentSpanId()])
		w.Rows = append(w.Rows, row)
	})
	return w
}

// forest visits each span once, behind its parent and what began before it there. What has no parent among them stands at
// the top; so does one of those that are each other's parents.
func forest(spans []*tracev1.Span, byID map[string]*tracev1.Span, visit func(s *tracev1.Span, depth int)) {
	below := map[string][]*tracev1.Span{}
	var tops []*tracev1.Span
	for _, s := range spans {
		if byID[s.GetParentSpanId()] == nil {
			tops = append(tops, s)
		} else {
			below[s.GetParentSpanId()] = append(below[s.GetParentSpanId()], s)
		}
	}
	seen := make(map[string]bool, len(spans))
	var walk func(s *tracev1.Span, depth int)
	walk = func(s *tracev1.Span, depth int) {
		if seen[s.GetSpanId()] {
			return
		}
		seen[s.GetSpanId()] = true
		visit(s, depth)
		for _, child := range below[s.GetSpanId()] {
			walk(child, depth+1)
		}
	}
	for _, s := range slices.Concat(tops, spans) {
		walk(s, 0)
	}
}

// queuedSince answers since when the message of each span that took one up had waited: since it was published, or since
// the delivery before had ended.
func queuedSince(spans []*tracev1.Span, byID map[string]*tracev1.Span) map[string]time.Time {
	out, before := map[string]time.Time{}, map[string]time.Time{}
	for _, s := range spans {
		parent := byID[s.GetParentSpanId()]
		if s.GetKind() != tracev1.SpanKind_SPAN_KIND_CONSUMER || parent.GetKind() != tracev1.SpanKind_SPAN_KIND_PRODUCER {
			continue
		}
		since := endOf(parent)
		message := s.GetParentSpanId() + " " + textOf(s, "messaging.message.id")
		if last := before[message]; last.After(since) {
			since = last
		}
		before[message] = endOf(s)
		if since.Before(s.GetStartTime().AsTime()) {
			out[s.GetSpanId()] = since
		}
	}
	return out
}

// timeAxis is from the first start to the last end.
type timeAxis struct {
	start time.Time
	whole time.Duration
}

func axisOf(spans []*tracev1.Span) timeAxis {
	start, end := spans[0].GetStartTime().AsTime(), endOf(spans[0])
	for _, s := range spans {
		if at := s.GetStartTime().AsTime(); at.Before(start) {
			start = at
		}
		if at := endOf(s); at.After(end) {
			end = at
		}
	}
	return timeAxis{start, end.Sub(start)}
}

func (a timeAxis) ticks() []axisTick {
	out := make([]axisTick, 0, waterfallTick+1)
	for i := range waterfallTick + 1 {
		tick := axisTick{X: lengthOf(float64(i) / waterfallTick), Anchor: "middle", Text: precise(a.whole * time.Duration(i) / waterfallTick)}
		switch i {
		case 0:
			tick.Anchor = "start"
		case waterfallTick:
			tick.Anchor = "end"
		}
		out = append(out, tick)
	}
	return out
}

// row answers a span's row. since is zero where nothing waited for it.
func (a timeAxis) row(s *tracev1.Span, since time.Time) waterfallRow {
	start, took := s.GetStartTime().AsTime(), s.GetDuration().AsDuration()
	row := waterfallRow{
		Name: spanName(s), Span: s, Class: stageClass(s.GetStage()), X: share(start.Sub(a.start), a.whole), Width: share(took, a.whole),
		At: precise(start.Sub(a.start)), Took: precise(took), Attributes: attributesOf(s),
		Rejects: numberOf(s, "millrace.rejected") + numberOf(s, "millrace.refused"),
	}
	if n := numberOf(s, "millrace.attempt"); n > 1 {
		row.Delivery = n
	}
	row.Label = fmt.Sprintf("begins at %s, takes %s", row.At, row.Took)
	if !since.IsZero() {
		row.Queue = precise(start.Sub(since))
		row.QueueX, row.QueueWidth = share(since.Sub(a.start), a.whole), share(start.Sub(since), a.whole)
		row.Label += ", after " + row.Queue + " in the queue"
	}
	return row
}

// spanName answers the name of a span, of a call without the package that its service is of: its server says that.
func spanName(s *tracev1.Span) string {
	name := s.GetName()
	if service, _, ok := strings.Cut(name, "/"); ok && strings.HasPrefix(name, "millrace.") {
		return name[strings.LastIndexByte(service, '.')+1:]
	}
	return name
}

func endOf(s *tracev1.Span) time.Time {
	return s.GetStartTime().AsTime().Add(s.GetDuration().AsDuration())
}

func textOf(s *tracev1.Span, key string) string {
	return s.GetAttributes().GetFields()[key].GetStringValue()
}

func numberOf(s *tracev1.Span, key string) int64 {
	return int64(s.GetAttributes().GetFields()[key].GetNumberValue())
}

// attributesOf answers the attributes of a span by name.
func attributesOf(s *tracev1.Span) []attributeRow {
	out := make([]attributeRow, 0, len(s.GetAttributes().GetFields()))
	for key, v := range s.GetAttributes().AsMap() {
		text := fmt.Sprint(v)
		if n, ok := v.(float64); ok {
			text = attributeNumber(key, n)
		}
		out = append(out, attributeRow{short(mostValue, key), short(mostValue, text)})
	}
	slices.SortFunc(out, func(a, b attributeRow) int { return strings.Compare(a.Key, b.Key) })
	return out
}

// attributeNumber answers a number as it is, bytes with their unit.
func attributeNumber(key string, n float64) string {
	if n != math.Trunc(n) || math.Abs(n) >= 1<<53 {
		return strconv.FormatFloat(n, 'g', -1, 64)
	}
	if key == "millrace.bytes" || strings.HasSuffix(key, ".size") {
		return byteSize(int64(n))
	}
	return number(int64(n))
}
