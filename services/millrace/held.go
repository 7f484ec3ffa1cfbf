package millrace

import (
	"strings"

	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
)

// stateOf answers a run's state, and that what it counts is of a dry pass.
func stateOf(r *schedulerv1.Run) string {
	if r.GetDry() {
		return word(r.GetState()) + ", dry pass: counts are what the run would do"
	}
	if r.GetDryRun() {
		return word(r.GetState()) + ", dry run: nothing is written"
	}
	return word(r.GetState())
}

// drawHold draws why a run is held, or was, and what its owner can do; and what else it noticed.
func drawHold(t *table, r *schedulerv1.Run) {
	held := r.GetState() == schedulerv1.RunState_RUN_STATE_HELD
	if h := r.GetHold(); h != nil {
		name := "was held"
		if held {
			name = "held"
		}
		t.row(name, h.GetMessage()+" (reason: "+h.GetReason()+")")
		for _, x := range h.GetSamples() {
			t.row("", "would be "+x.GetEffect()+": "+strings.Join(x.GetKeyValues(), ", "))
		}
		if held {
			t.row("approve", h.GetApprove()+": millrace runs approve "+r.GetId())
			t.row("drop", h.GetDrop()+": millrace runs drop "+r.GetId())
		}
	}
	if n := r.GetSkippedTicks(); n > 0 {
		t.row("skipped", number(n)+" ticks of the schedule while it was held")
	}
	for _, text := range r.GetNotices() {
		t.row("notice", text)
	}
	for _, text := range r.GetWaitingFor() {
		t.row("waits for", text)
	}
}
