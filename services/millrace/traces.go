package millrace

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	tracev1 "millrace.dev/gen/millrace/trace/v1"
)

type tracesCmd struct {
	List    tracesListCmd    `cmd:"" help:"List the traces of batches, newest first."`
	Get     tracesGetCmd     `cmd:"" help:"Show a trace: its stages, and its spans over time."`
	Configs tracesConfigsCmd `cmd:"" help:"Which traces are kept: list, create, delete."`
}

type tracesListCmd struct {
	limitFlag
	Sync    string `help:"Only of this sync, by id." placeholder:"ID"`
	RunID   string `name:"run" help:"Only of this run." placeholder:"RUN"`
	Errors  bool   `help:"Only with a span that failed." xor:"choice"`
	Slowest bool   `help:"Those that took longest first." xor:"choice"`
	Stage   string `help:"Only those that were at this stage for longest: plan, extract, map, ingest or deliver." placeholder:"STAGE"`
	Kind    string `help:"batch, run or other (calls, and what other clients send)." default:"batch" enum:"batch,run,other" placeholder:"KIND"`
	From    string `help:"Only traces that start at or after this instant: RFC 3339, or a date." placeholder:"T"`
	Until   string `help:"Only traces that start before this instant: RFC 3339, or a date." placeholder:"T"`
}

// filter answers the terms that the flags stand for.
func (c *tracesListCmd) filter() string {
	terms := []string{"kind=" + c.Kind}
	for _, t := range []struct{ field, value string }{{"sync", c.Sync}, {"run", c.RunID}, {"slowest_stage", c.Stage}} {
		if t.value != "" {
			terms = append(terms, t.field+"="+strconv.Quote(t.value))
		}
	}
	if c.Errors {
		terms = append(terms, "state=error")
	}
	return strings.Join(terms, " AND ")
}

func (c *tracesListCmd) Run(ctx context.Context, s *session) error {
	from, err := parseInstant("--from", c.From)
	if err != nil {
		return err
	}
	until, err := parseInstant("--until", c.Until)
	if err != nil {
		return err
	}
	tc, err := s.trace()
	if err != nil {
		return err
	}
	req := &tracev1.ListTracesRequest{Workspace: s.flags.Workspace, Filter: c.filter(), From: from, Until: until}
	if c.Slowest {
		req.OrderBy = "duration desc"
	}
	l := list[*tracev1.Trace]{"traces", []column[*tracev1.Trace]{
		{"TRACE", (*tracev1.Trace).GetTraceId},
		{"SYNC", (*tracev1.Trace).GetSync},
		{"STARTED", func(t *tracev1.Trace) string { return instant(t.GetStartTime()) }},
		{"TOOK", func(t *tracev1.Trace) string { return short(t.GetDuration()) }},
		{"STATE", traceState},
		{"SLOWEST", (*tracev1.Trace).GetSlowestStage},
		{"STAGES", stageTimes},
		{"OF", func(t *tracev1.Trace) string {
			if t.GetBatch() != "" {
				return t.GetBatch()
			}
			return t.GetRun()
		}},
	}}
	return show(ctx, s, l, c.limitFlag, func(ctx context.Context, size int32, token string) ([]*tracev1.Trace, string, error) {
		req.PageSize, req.PageToken = size, token
		r, err := tc.ListTraces(ctx, req)
		return r.GetTraces(), r.GetNextPageToken(), err
	})
}

// traceState answers how a trace went, and why not well.
func traceState(t *tracev1.Trace) string {
	if t.GetReason() != "" {
		return word(t.GetState()) + ": " + t.GetReason()
	}
	return word(t.GetState())
}

// stageTimes answers the time at each stage, and what of it was waiting.
func stageTimes(t *tracev1.Trace) string {
	parts := make([]string, 0, len(t.GetStages()))
	for _, st := range t.GetStages() {
		text := st.GetName() + " " + short(st.GetWork())
		if st.GetQueue().AsDuration() > 0 {
			text += " (queued " + short(st.GetQueue()) + ")"
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, ", ")
}

// short answers a duration with about three digits.
func short(d *durationpb.Duration) string {
	v := d.AsDuration()
	for unit := time.Second; unit >= time.Microsecond; unit /= 1000 {
		if v >= unit {
			return v.Round(unit / 100).String()
		}
	}
	return v.String()
}

type tracesGetCmd struct {
	TraceID string `arg:"" name:"trace" help:"The trace's id, as traces list or runs batches names it."`
}

func (c *tracesGetCmd) Run(ctx context.Context, s *session) error {
	tc, err := s.trace()
	if err != nil {
		return err
	}
	r, err := tc.GetTrace(ctx, &tracev1.GetTraceRequest{Workspace: s.flags.Workspace, TraceId: c.TraceID})
	if err != nil {
		return err //nolint:wrapcheck // classified by the service
	}
	return s.answer(r, drawTrace(r))
}

func drawTrace(r *tracev1.GetTraceResponse) func(io.Writer) error {
	return func(w io.Writer) error {
		t, tr := newTable(w), r.GetTrace()
		t.row("trace", tr.GetTraceId()+", "+word(tr.GetKind()))
		t.fact("sync", tr.GetSync())
		t.fact("run", tr.GetRun())
		t.fact("batch", tr.GetBatch())
		t.fact("run's trace", tr.GetRunTraceId())
		t.row("state", traceState(tr))
		t.row("started", instant(tr.GetStartTime()))
		t.row("took", short(tr.GetDuration()))
		t.fact("stages", stageTimes(tr))
		t.fact("slowest", tr.GetSlowestStage())
		if n := tr.GetDroppedSpans(); n > 0 {
			t.row("notice", fmt.Sprintf("%d further spans were not kept: the trace has too many", n))
		}
		if tr.GetKind() == tracev1.TraceKind_TRACE_KIND_RUN {
			t.row("next", "millrace traces list --run "+tr.GetRun())
		}
		if err := t.flush(); err != nil {
			return err
		}
		if _, err := io.WriteString(w, "\n"); err != nil {
			return written(err)
		}
		return drawSpans(w, tr, r.GetSpans())
	}
}

// timeline is how many characters wide the bars of a trace are.
const timeline = 40

// drawSpans draws spans below their parents, with bars over the time of the trace.
func drawSpans(w io.Writer, tr *tracev1.Trace, spans []*tracev1.Span) error {
	t := newTable(w, "AT", "TOOK", "SERVICE", "SPAN", "TIMELINE")
	start, whole := tr.GetStartTime().AsTime(), tr.GetDuration().AsDuration()
	var draw func(s *tracev1.Span, depth int)
	below := map[string][]*tracev1.Span{}
	known := map[string]bool{}
	for _, s := range spans {
		known[s.GetSpanId()] = true
	}
	drawn := map[string]bool{}
	draw = func(s *tracev1.Span, depth int) {
		if drawn[s.GetSpanId()] {
			return
		}
		drawn[s.GetSpanId()] = true
		name := s.GetName()
		if depth > 0 {
			name = strings.Repeat("│ ", depth-1) + "└ " + name
		}
		if s.GetState() == tracev1.TraceState_TRACE_STATE_ERROR {
			name += " !" + s.GetReason()
		}
		at := s.GetStartTime().AsTime().Sub(start)
		t.row(short(durationpb.New(at)), short(s.GetDuration()), s.GetService(), name, stretch(at, s.GetDuration().AsDuration(), whole))
		for _, child := range below[s.GetSpanId()] {
			draw(child, depth+1)
		}
	}
	var roots []*tracev1.Span
	for _, s := range spans {
		if known[s.GetParentSpanId()] {
			below[s.GetParentSpanId()] = append(below[s.GetParentSpanId()], s)
		} else {
			roots = append(roots, s)
		}
	}
	for _, s := range append(roots, spans...) { // the second time: spans that are each other's parents
		draw(s, 0)
	}
	return t.flush()
}

// stretch draws a span's place in the time of its trace.
func stretch(at, took, whole time.Duration) string {
	if whole <= 0 {
		return strings.Repeat("█", timeline)
	}
	from := min(int(at*timeline/whole), timeline-1)
	n := max(1, min(int((took*timeline+whole-1)/whole), timeline-from))
	return strings.Repeat("·", from) + strings.Repeat("█", n) + strings.Repeat("·", timeline-from-n)
}
