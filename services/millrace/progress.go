package millrace

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
	"millrace.dev/pkg/run"
)

// progress shows how a run gets on: one line drawn over and over on a terminal, plain lines elsewhere. It is for one
// goroutine.
type progress struct {
	w     io.Writer
	width func() int // nil: plain lines
	now   func() time.Time
	pace  run.Pace
	drawn int // columns of the line that stands on the terminal

	stage string    // of the last plain line
	at    time.Time // of the last plain line
}

// plainEvery is the least time between two plain lines of one stage.
const plainEvery = 5 * time.Second

func newProgress(stdio IO) *progress {
	return &progress{w: stdio.Err, width: stdio.Width, now: stdio.Now}
}

// show takes a run as it is now.
func (p *progress) show(r *schedulerv1.Run) {
	at := p.now()
	p.pace.Observe(r.GetIngestedRows(), at)
	if p.width != nil {
		p.draw(bar(r, p.pace.Rate(), p.width()-1))
		return
	}
	stage := stageOf(r)
	if stage == p.stage && at.Sub(p.at) < plainEvery {
		return
	}
	p.stage, p.at = stage, at
	p.write(plainLine(r, p.pace.Rate()) + "\n")
}

// note says something about the run on a line of its own.
func (p *progress) note(text string) {
	p.end()
	p.write(visible(text) + "\n")
}

// end leaves the line that stands and begins a new one.
func (p *progress) end() {
	if p.drawn > 0 {
		p.write("\n")
		p.drawn = 0
	}
}

func (p *progress) draw(line string) {
	n := len([]rune(line))
	blank := ""
	if p.drawn > n {
		blank = strings.Repeat(" ", p.drawn-n)
	}
	p.write("\r" + line + blank)
	p.drawn = n
}

// write ignores errors: progress that nobody can read is no failure of the run.
func (p *progress) write(text string) { _, _ = io.WriteString(p.w, text) }

// stageOf says in a word what a run is doing.
func stageOf(r *schedulerv1.Run) string {
	if r.GetState() != schedulerv1.RunState_RUN_STATE_RUNNING {
		return strings.ReplaceAll(word(r.GetState()), "_", " ")
	}
	switch estimate := r.GetEstimatedRows(); {
	case r.GetIngestedRows() == 0:
		return "extracting"
	case estimate > 0 && r.GetIngestedRows() >= estimate:
		return "closing"
	}
	return "ingesting"
}

// share answers how much of a run is done, 0 to 1; known is false where the source gave no estimate.
func share(r *schedulerv1.Run) (done float64, known bool) {
	switch r.GetState() {
	case schedulerv1.RunState_RUN_STATE_SUCCEEDED, schedulerv1.RunState_RUN_STATE_PARTIALLY_SUCCEEDED:
		return 1, true
	}
	if r.GetEstimatedRows() <= 0 {
		return 0, false
	}
	return min(1, float64(r.GetIngestedRows())/float64(r.GetEstimatedRows())), true
}

// eta answers the time that is left at a rate, to the second; empty where nobody can know.
func eta(r *schedulerv1.Run, rate float64) string {
	left, known := run.TimeLeft(r.GetEstimatedRows()-r.GetIngestedRows(), rate)
	if !known || over(r.GetState()) || r.GetEstimatedRows() <= 0 {
		return ""
	}
	return "ETA " + left.String()
}

// amount answers the rows that are in, and of how many where that is known and the run goes on.
func amount(r *schedulerv1.Run, of string) string {
	text := number(r.GetIngestedRows())
	if r.GetEstimatedRows() > 0 && !over(r.GetState()) {
		text += of + number(r.GetEstimatedRows())
	}
	return text + " rows"
}

func speed(rate float64) string {
	if rate < 1 {
		return ""
	}
	return number(int64(rate)) + " rows/s"
}

func title(r *schedulerv1.Run) string {
	return fmt.Sprintf("%s #%d", oneLine(r.GetSync()), r.GetRunNo())
}

// plainLine is progress as a line of a log.
func plainLine(r *schedulerv1.Run, rate float64) string {
	parts := []string{stageOf(r)}
	rows := amount(r, " of ")
	if done, known := share(r); known && !over(r.GetState()) {
		rows += fmt.Sprintf(" (%d%%)", int(done*100))
	}
	for _, text := range []string{rows, speed(rate), eta(r, rate)} {
		if text != "" {
			parts = append(parts, text)
		}
	}
	return title(r) + ": " + strings.Join(parts, ", ")
}

// bar is progress as a line of at most width columns; what does not fit is left out.
func bar(r *schedulerv1.Run, rate float64, width int) string {
	parts := []string{title(r), fmt.Sprintf("%-10s", stageOf(r))}
	if done, known := share(r); known {
		cells := barCells(width)
		full := int(done * float64(cells))
		text := strings.Repeat("#", full) + strings.Repeat("-", cells-full)
		if cells > 0 {
			text = "[" + text + "] "
		}
		parts = append(parts, fmt.Sprintf("%s%3d%%", text, int(done*100)))
	}
	for _, text := range []string{amount(r, "/"), eta(r, rate), speed(rate)} {
		if text != "" && columns(parts)+2+len(text) <= width {
			parts = append(parts, text)
		}
	}
	line := []rune(strings.Join(parts, "  "))
	return string(line[:min(len(line), max(width, 0))])
}

// barCells answers how wide a bar a line of so many columns has room for.
func barCells(width int) int {
	switch {
	case width >= 110:
		return 24
	case width >= 90:
		return 12
	}
	return 0
}

// columns answers how wide parts are with their gaps.
func columns(parts []string) int { return utf8.RuneCountInString(strings.Join(parts, "  ")) }
