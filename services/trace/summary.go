package trace

import (
	"slices"
	"strings"

	"millrace.dev/pkg/id"
	"millrace.dev/pkg/telemetry"
)

// The kinds of traces.
const (
	kindBatch = "batch"
	kindRun   = "run"
	kindOther = "other"
)

// The states of traces and spans.
const (
	stateOK    = "ok"
	stateError = "error"
)

// summary is what follows from the spans of a trace.
type summary struct {
	TraceID   string
	Workspace string
	Kind      string
	State     string
	Reason    string // of the first span that failed
	SyncID    string
	SyncUID   string
	Feed      string
	Run       string
	Part      int64
	Batch     string
	RunTrace  string // that a batch's trace links to
	Start     int64
	End       int64
	Stages    []stageTime // in the data's order
	Slowest   string
	Services  []string // in the order of their first spans
	Spans     int64
	Dropped   int64 // spans beyond the bound
	Bytes     int64
	Complete  bool // no further stage is awaited
	Rejects   int64
}

// stageTime is how long a trace was at one stage, in nanoseconds.
type stageTime struct {
	Name  string `json:"name"`
	Work  int64  `json:"work"`
	Queue int64  `json:"queue"`
}

// summarise answers what follows from the spans of one trace, in whatever order they are. There is at least one.
func summarise(spans []span) summary {
	spans = slices.Clone(spans)
	byStart(spans)
	out := summary{TraceID: spans[0].TraceID, Kind: kindOther, State: stateOK, Start: spans[0].Start, Spans: int64(len(spans))}
	rooted, ingested := false, false
	for i := range spans {
		s := &spans[i]
		out.End = max(out.End, s.End)
		out.Bytes += s.bytes()
		out.name(s)
		if !slices.Contains(out.Services, s.Service) {
			out.Services = append(out.Services, s.Service)
		}
		if s.Failed && out.State == stateOK {
			out.State, out.Reason = stateError, s.Reason
		}
		if s.Name == telemetry.SpanRead && len(s.Links) > 0 {
			out.RunTrace = s.Links[0].TraceID
		}
		rooted = rooted || s.ParentID == ""
		ingested = ingested || s.Name == telemetry.SpanIngest && s.Service == "ingestion"
	}
	if out.Workspace == "" {
		out.Workspace = string(id.DefaultWorkspace)
	}
	out.Complete = rooted && (out.Kind != kindBatch || ingested)
	out.Stages = stageTimes(spans)
	out.Rejects = rejectsOf(spans)
	var most int64 = -1
	for _, t := range out.Stages {
		if t.Work+t.Queue > most {
			most, out.Slowest = t.Work+t.Queue, t.Name
		}
	}
	return out
}

// name takes over what a span says about whose trace it is.
func (t *summary) name(s *span) {
	first := func(into *string, key string) {
		if *into == "" {
			*into = s.text(key)
		}
	}
	first(&t.Workspace, "millrace.workspace")
	first(&t.SyncID, "millrace.sync_id")
	first(&t.SyncUID, "millrace.sync")
	first(&t.Feed, "millrace.feed")
	first(&t.Run, "millrace.run")
	switch {
	case s.text("millrace.batch") != "":
		t.Kind, t.Part = kindBatch, s.number("millrace.part")
		first(&t.Batch, "millrace.batch")
		t.Batch = whole(t.Batch)
	case t.Kind == kindOther && (s.Name == telemetry.SpanRun && s.Service == "scheduler" || s.Name == telemetry.SpanPlan && s.Service == "extractor"):
		t.Kind = kindRun
	}
}

// rejectsOf answers the rows that became rejects: those of a mapping, which says the same at each delivery, and those that
// each commit refused.
func rejectsOf(spans []span) int64 {
	var rejected, refused int64
	for i := range spans {
		switch s := &spans[i]; s.Name {
		case telemetry.SpanMap:
			rejected = max(rejected, s.number("millrace.rejected"))
		case telemetry.SpanCommit:
			refused += s.number("millrace.refused")
		}
	}
	return rejected + refused
}

// stageTimes answers the times of each stage that there is, of spans in the order of their starts. Work is the time in
// which any span of the stage lasted; queue is the time from the end of a publish to the start of the span that took the
// message up.
func stageTimes(spans []span) []stageTime {
	byID := make(map[string]*span, len(spans))
	for i := range spans {
		byID[spans[i].SpanID] = &spans[i]
	}
	times, until := map[string]*stageTime{}, map[string]int64{}
	for i := range spans {
		s := &spans[i]
		stage := s.stage()
		if stage == "" {
			continue
		}
		t := times[stage]
		if t == nil {
			t = &stageTime{Name: stage}
			times[stage] = t
			until[stage] = s.Start
		}
		t.Work += max(0, s.End-max(s.Start, until[stage]))
		until[stage] = max(until[stage], s.End)
		if p := byID[s.ParentID]; s.Kind == consumer && p != nil && p.Kind == producer && t.Queue == 0 {
			t.Queue = max(0, s.Start-p.End)
		}
	}
	var out []stageTime
	for _, name := range stages() {
		if t := times[name]; t != nil {
			out = append(out, *t)
		}
	}
	return out
}

// whole answers the name of a batch, run/part/epoch/seq, for that of one of its fragments.
func whole(batch string) string {
	if strings.Count(batch, "/") == 4 {
		return batch[:strings.LastIndexByte(batch, '/')]
	}
	return batch
}
