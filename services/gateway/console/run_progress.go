package console

import (
	"fmt"
	"strings"

	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
	"millrace.dev/pkg/run"
)

// runProgress is how an open run gets on.
type runProgress struct {
	Stage   string
	Rows    int64   // accounted for so far
	Of      int64   // as planned; 0 where the source gives no estimate
	Share   float64 // of Of, 0 to 100
	Rate    int64   // rows per second; 0: not known, or none
	Left    string  // time that is left; empty: not known
	Steps   []step
	Waiting []string
}

// step is a stage that a run goes through: done, now or next.
type step struct{ Name, At, Note string }

func progressOf(r *schedulerv1.Run, parts []*schedulerv1.Part, pace float64) runProgress {
	p := runProgress{
		Stage: stageOf(r), Rows: r.GetIngestedRows(), Of: r.GetEstimatedRows(), Share: tenth(percent(r.GetIngestedRows(), r.GetEstimatedRows())),
		Rate: int64(pace), Steps: stepsOf(r, parts), Waiting: r.GetWaitingFor(),
	}
	if left, known := run.TimeLeft(p.Of-p.Rows, pace); known && p.Of > 0 {
		p.Left = strings.Replace(span(left), ".0 s", " s", 1) // it is known to the second
	}
	return p
}

// stageOf says in a word what a run is doing.
func stageOf(r *schedulerv1.Run) string {
	if r.GetState() != schedulerv1.RunState_RUN_STATE_RUNNING {
		return say(r.GetState())
	}
	switch estimate := r.GetEstimatedRows(); {
	case r.GetIngestedRows() == 0:
		return "extracting"
	case estimate > 0 && r.GetIngestedRows() >= estimate:
		return "closing"
	default:
		return "ingesting"
	}
}

// stepsOf says where an open run stands, by its parts as far as they are given. Part 0 is the planning.
func stepsOf(r *schedulerv1.Run, parts []*schedulerv1.Part) []step {
	var all, read, complete int
	for _, p := range parts {
		if p.GetPart() == 0 || p.GetState() == schedulerv1.PartState_PART_STATE_REPLACED {
			continue
		}
		all++
		switch p.GetState() {
		case schedulerv1.PartState_PART_STATE_COMPLETE:
			complete++
			read++
		case schedulerv1.PartState_PART_STATE_EXTRACTED:
			read++
		}
	}
	state := r.GetState()
	planned := state != schedulerv1.RunState_RUN_STATE_QUEUED && state != schedulerv1.RunState_RUN_STATE_PLANNING && all > 0
	steps := []step{
		{Name: "Wait for a worker", At: at(state == schedulerv1.RunState_RUN_STATE_QUEUED, state != schedulerv1.RunState_RUN_STATE_QUEUED)},
		{Name: "Plan", At: at(state == schedulerv1.RunState_RUN_STATE_PLANNING, planned)},
		{Name: "Extract", At: at(planned && read < all, planned && read == all), Note: ofParts(read, all)},
		{Name: "Map and ingest", At: at(planned && complete < all && r.GetIngestedRows() > 0, planned && complete == all), Note: ofParts(complete, all)},
		{Name: "Close the account", At: at(planned && complete == all, false)},
	}
	if state == schedulerv1.RunState_RUN_STATE_HELD {
		steps[len(steps)-1].Note = "once it is approved"
	}
	return steps
}

func at(now, done bool) string {
	switch {
	case done:
		return "done"
	case now:
		return "now"
	default:
		return "next"
	}
}

func ofParts(n, all int) string {
	if all == 0 {
		return ""
	}
	return fmt.Sprintf("%d of %d parts", n, all)
}
