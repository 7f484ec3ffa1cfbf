package console

import (
	"fmt"
	"time"

	tracev1 "millrace.dev/gen/millrace/trace/v1"
)

const (
	traceEvery = time.Second // how often a trace that is open is looked at
	traceOpen  = time.Hour   // after whose start a trace is no longer waited for, as the trace service does
)

// tracePage is a trace over time.
type tracePage struct {
	Workspace     string
	Trace         *tracev1.Trace
	Title         string
	Started, Took string
	Open          bool
	Awaited       string // the stage that an open trace waits for; empty: its root
	Live          string // address of the stream that keeps it current
	Bars          []stageBar
	Stages        []stageTimes
	Waterfall     waterfall
}

// stageTimes are how long a trace was at a stage.
type stageTimes struct {
	Name, Class, Work, Queue string
	Share                    string // of all stages
	Slowest                  bool
}

func (c *Console) showTrace(r *request) (view, error) {
	p, err := c.traceOf(r)
	if err != nil {
		return nil, err
	}
	return page{name: "trace", title: p.Title, section: "traces", data: p}, nil
}

// watchTrace sends a trace whenever more of it has come, until it is complete or no longer waited for.
func (c *Console) watchTrace(r *request, send sender) error {
	open := true
	return c.follow(r, traceEvery, send, func() ([]livePart, error) {
		if !open {
			return nil, nil
		}
		p, err := c.traceOf(r)
		open = p.Open
		return []livePart{{"whole", "trace", "whole", p}}, err
	})
}

// traceOf answers what is shown of the trace of a request's path.
func (c *Console) traceOf(r *request) (tracePage, error) {
	res, err := c.trace.GetTrace(r.Context(), &tracev1.GetTraceRequest{Workspace: r.workspace, TraceId: r.PathValue("trace")})
	if err != nil {
		return tracePage{}, err //nolint:wrapcheck // classified
	}
	t := res.GetTrace()
	p := tracePage{
		Workspace: r.workspace, Trace: t, Title: "Trace of " + traceName(t), Started: clock(t.GetStartTime().AsTime()),
		Took: precise(t.GetDuration().AsDuration()), Bars: stageBars(t.GetStages(), atStages(t)), Stages: stageTimesOf(t),
		Waterfall: waterfallOf(res.GetSpans()),
	}
	if !t.GetComplete() && time.Since(t.GetStartTime().AsTime()) < traceOpen {
		p.Open, p.Awaited = true, awaited(t)
		p.Live = r.path("traces", t.GetTraceId(), "live")
	}
	return p, nil
}

// awaited answers the stage that a batch has not been told to be through: the one behind the last that it was at.
func awaited(t *tracev1.Trace) string {
	if t.GetKind() != tracev1.TraceKind_TRACE_KIND_BATCH {
		return ""
	}
	next := map[string]string{"": "extract", "extract": "map", "map": "ingest"}
	last := ""
	for _, s := range t.GetStages() {
		last = s.GetName()
	}
	return next[last]
}

func stageTimesOf(t *tracev1.Trace) []stageTimes {
	all := atStages(t)
	out := make([]stageTimes, 0, len(t.GetStages()))
	for _, s := range t.GetStages() {
		work, queue := s.GetWork().AsDuration(), s.GetQueue().AsDuration()
		row := stageTimes{
			Name: s.GetName(), Class: stageClass(s.GetName()), Work: precise(work), Slowest: s.GetName() == t.GetSlowestStage(),
			Share: fmt.Sprintf("%.0f %%", percent(int64(work+queue), int64(all))),
		}
		if queue > 0 {
			row.Queue = precise(queue)
		}
		out = append(out, row)
	}
	return out
}
