package console

import (
	"errors"
	"io"
	"time"

	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/run"
)

// partsEvery is how often the parts of an open run are asked for at most.
const partsEvery = 2 * time.Second

// watched is what a stream has shown of a run.
type watched struct {
	r     *request
	send  sender
	pace  run.Pace
	parts partsTable
	asked time.Time // when the parts were
	acts  string    // what the acts that are shown go by
}

// watchRun sends a run's page part by part as it changes, until the run is over. What carries buttons is sent only when
// they are others: a question that is open stays.
func (c *Console) watchRun(r *request, send sender) error {
	stream, err := c.scheduler.WatchRun(r.Context(), &schedulerv1.WatchRunRequest{Workspace: r.workspace, Id: r.PathValue("run")})
	if err != nil {
		return err //nolint:wrapcheck // classified
	}
	w := &watched{r: r, send: send}
	for {
		res, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return fault.New(fault.Unavailable, fault.ReasonServiceUnavailable, "the watch of the run ended before the run did")
		}
		if err != nil {
			return err //nolint:wrapcheck // classified
		}
		if err := c.showChange(w, res.GetRun(), time.Now()); err != nil {
			return err
		}
		if isOver(res.GetRun()) {
			return nil
		}
	}
}

// showChange sends what a run is at an instant.
func (c *Console) showChange(w *watched, r *schedulerv1.Run, now time.Time) error {
	w.pace.Observe(r.GetIngestedRows(), now)
	if now.Sub(w.asked) >= partsEvery {
		parts, err := c.partsOf(w.r)
		if err != nil {
			return err
		}
		w.parts, w.asked = parts, now
		if err := w.send("parts", "run", "parts", parts); err != nil {
			return err
		}
	}
	if acts := word(r.GetState()) + stampOf(r.GetHold()); acts != w.acts {
		w.acts = acts
		if err := w.send("acts", "run", "acts", w.r.actsOf(r)); err != nil {
			return err
		}
		if err := w.send("hold", "run", "hold", w.r.holdOf(r)); err != nil {
			return err
		}
	}
	return w.send("now", "run", "now", w.r.nowOf(r, w.parts.Rows, w.pace.Rate()))
}
