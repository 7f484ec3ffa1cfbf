package console

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	tracev1 "millrace.dev/gen/millrace/trace/v1"
)

// Heights of a heat strip's lanes, in pixels.
const (
	markHeight  = 8
	queueHeight = 10
	workHeight  = 22
	laneGap     = 4
)

// widestBatch is the most that a batch takes of a strip's width, so that three batches are no three walls.
const widestBatch = 1.0 / 40

// heatStrip shows batches by start as columns, and stages as lanes: the darker a cell, the longer the batch was there.
type heatStrip struct {
	Lanes   []heatLane
	Columns []heatColumn
	Height  int
	Most    string // what the darkest cell stands for
	From    string // start of the first batch
	Until   string // start of the last batch
	More    bool   // there are older batches, which it does not show
	Figures []stageFigures
}

// heatLane is a row of the strip.
type heatLane struct {
	Name   string
	Y      int
	Height int
	Middle int // where its name stands
	Queue  bool

	stage string // empty: marks of errors and rejects
}

// heatColumn is a batch.
type heatColumn struct {
	Href, Title string
	X, Width    string
	Cells       []heatCell
}

// heatCell is a batch at a stage or in its queue, or a mark.
type heatCell struct {
	Class     string
	Y, Height int
	Opacity   string
}

// stageFigures are the times that batches took at a stage.
type stageFigures struct {
	Name    string
	Batches int
	Work    quantiles
	Queue   *quantiles // nil: nothing waits for the stage
}

// quantiles are those of durations, by the nearest rank.
type quantiles struct{ P50, P95, Most string }

// heatStripOf makes the strip of batches by start. There is at least one.
func heatStripOf(workspace string, batches []*tracev1.Trace) heatStrip {
	s := heatStrip{From: clock(batches[0].GetStartTime().AsTime()), Until: clock(batches[len(batches)-1].GetStartTime().AsTime())}
	s.Figures = figuresOf(batches)
	s.addLanes()
	var most time.Duration
	for _, b := range batches {
		for _, st := range b.GetStages() {
			most = max(most, st.GetWork().AsDuration(), st.GetQueue().AsDuration())
		}
	}
	s.Most = precise(most)
	width := min(widestBatch, 1/float64(len(batches)))
	for i, b := range batches {
		s.Columns = append(s.Columns, heatColumn{
			Href: pathIn(workspace, "traces", b.GetTraceId()), Title: columnTitle(b), X: lengthOf(float64(i) * width), Width: lengthOf(width * 0.96),
			Cells: s.cells(b, most),
		})
	}
	return s
}

// addLanes adds a lane of marks, and for each stage that of its queue and that of its work.
func (s *heatStrip) addLanes() {
	add := func(l heatLane) {
		l.Y = s.Height
		l.Middle = l.Y + l.Height/2
		s.Height += l.Height + laneGap
		s.Lanes = append(s.Lanes, l)
	}
	add(heatLane{Name: "error, rejects", Height: markHeight})
	for _, f := range s.Figures {
		if f.Queue != nil {
			add(heatLane{Name: "queue of " + f.Name, Height: queueHeight, Queue: true, stage: f.Name})
		}
		add(heatLane{Name: f.Name, Height: workHeight, stage: f.Name})
	}
}

// cells answers a batch's cells; what took no time has none.
func (s *heatStrip) cells(b *tracev1.Trace, most time.Duration) []heatCell {
	times := map[string]*tracev1.Stage{}
	for _, st := range b.GetStages() {
		times[st.GetName()] = st
	}
	var out []heatCell
	for _, l := range s.Lanes {
		if l.stage == "" {
			if class := markOf(b); class != "" {
				out = append(out, heatCell{Class: class, Y: l.Y, Height: l.Height, Opacity: "1"})
			}
			continue
		}
		took, class := times[l.stage].GetWork().AsDuration(), stageClass(l.stage)
		if l.Queue {
			took, class = times[l.stage].GetQueue().AsDuration(), "s-queue"
		}
		if took > 0 {
			out = append(out, heatCell{Class: class, Y: l.Y, Height: l.Height, Opacity: intensity(took, most)})
		}
	}
	return out
}

// markOf answers the class of a batch's mark: it failed somewhere, or has rejects.
func markOf(b *tracev1.Trace) string {
	switch {
	case b.GetState() == tracev1.TraceState_TRACE_STATE_ERROR:
		return "bad"
	case b.GetRejects() > 0:
		return "warn"
	default:
		return ""
	}
}

// intensity answers how dark a time is beside the most: the square root, so that a tenth can still be seen.
func intensity(took, most time.Duration) string {
	if most <= 0 {
		return "0"
	}
	return strconv.FormatFloat(max(0.06, math.Sqrt(float64(took)/float64(most))), 'f', 2, 64)
}

func columnTitle(b *tracev1.Trace) string {
	text := fmt.Sprintf("%s, %s: %s", traceName(b), clock(b.GetStartTime().AsTime()), stageWords(b.GetStages()))
	if b.GetState() == tracev1.TraceState_TRACE_STATE_ERROR {
		text += "; failed: " + say(b.GetReason())
	}
	if n := b.GetRejects(); n > 0 {
		text += "; " + number(n) + " rejects"
	}
	return text
}

// figuresOf answers the times at each stage that batches were at, in the data's order.
func figuresOf(batches []*tracev1.Trace) []stageFigures {
	work, queue := map[string][]time.Duration{}, map[string][]time.Duration{}
	for _, b := range batches {
		for _, st := range b.GetStages() {
			work[st.GetName()] = append(work[st.GetName()], st.GetWork().AsDuration())
			queue[st.GetName()] = append(queue[st.GetName()], st.GetQueue().AsDuration())
		}
	}
	var out []stageFigures
	for _, stage := range traceStages[1:] {
		w := work[stage.Value]
		if len(w) == 0 {
			continue
		}
		f := stageFigures{Name: stage.Value, Batches: len(w), Work: quantilesOf(w)}
		if q := queue[stage.Value]; slices.Max(q) > 0 {
			all := quantilesOf(q)
			f.Queue = &all
		}
		out = append(out, f)
	}
	return out
}

// quantilesOf answers the quantiles of durations, of which there is at least one.
func quantilesOf(all []time.Duration) quantiles {
	all = slices.Sorted(slices.Values(all))
	rank := func(q float64) string { return precise(all[max(0, int(math.Ceil(q*float64(len(all))))-1)]) }
	return quantiles{P50: rank(0.5), P95: rank(0.95), Most: rank(1)}
}
