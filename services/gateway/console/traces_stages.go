package console

import (
	"strconv"
	"strings"
	"time"

	tracev1 "millrace.dev/gen/millrace/trace/v1"
)

// stageBar is a stretch of a bar: the time in a queue, or the work of a stage. Places are percentages of the whole.
type stageBar struct {
	Class    string
	X, Width string
	Queue    bool
}

// stageBars lays the queue and the work of stages out one behind another, of a whole.
func stageBars(stages []*tracev1.Stage, whole time.Duration) []stageBar {
	var bars []stageBar
	var at time.Duration
	for _, s := range stages {
		for _, part := range []struct {
			took  time.Duration
			queue bool
		}{{s.GetQueue().AsDuration(), true}, {s.GetWork().AsDuration(), false}} {
			if part.took <= 0 {
				continue
			}
			bars = append(bars, stageBar{Class: stageClass(s.GetName()), X: share(at, whole), Width: share(part.took, whole), Queue: part.queue})
			at += part.took
		}
	}
	return bars
}

// stageWords says the times of stages: extract 4 ms, map 12 ms after 3 ms in the queue.
func stageWords(stages []*tracev1.Stage) string {
	parts := make([]string, 0, len(stages))
	for _, s := range stages {
		text := s.GetName() + " " + precise(s.GetWork().AsDuration())
		if q := s.GetQueue().AsDuration(); q > 0 {
			text += " after " + precise(q) + " in the queue"
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, ", ")
}

// atStages answers how long a trace was at its stages, queues included.
func atStages(t *tracev1.Trace) time.Duration {
	var sum time.Duration
	for _, s := range t.GetStages() {
		sum += s.GetQueue().AsDuration() + s.GetWork().AsDuration()
	}
	return sum
}

// stageClass answers the class that gives a stage its colour; calls and what is of no stage have one of their own.
func stageClass(stage string) string {
	switch stage {
	case "plan", "extract", "map", "ingest", "deliver":
		return "s-" + stage
	default:
		return "s-other"
	}
}

// share answers a part of a whole as a length of SVG.
func share(part, whole time.Duration) string {
	if whole <= 0 {
		return "0%"
	}
	return lengthOf(float64(part) / float64(whole))
}

// lengthOf answers a fraction, 0 to 1, as a length of SVG.
func lengthOf(fraction float64) string {
	return strconv.FormatFloat(100*min(1, max(0, fraction)), 'f', 3, 64) + "%"
}

// precise answers a duration with three digits: 312 µs, 1.24 ms, 18.3 s; from a minute on as span does.
func precise(d time.Duration) string {
	switch {
	case d <= 0:
		return "0 ms"
	case d < time.Millisecond:
		return threeDigits(float64(d)/float64(time.Microsecond)) + " µs"
	case d < time.Second:
		return threeDigits(float64(d)/float64(time.Millisecond)) + " ms"
	case d < time.Minute:
		return threeDigits(d.Seconds()) + " s"
	default:
		return span(d)
	}
}

func threeDigits(v float64) string {
	digits := 2
	switch {
	case v >= 100:
		digits = 0
	case v >= 10:
		digits = 1
	}
	return strconv.FormatFloat(v, 'f', digits, 64)
}
