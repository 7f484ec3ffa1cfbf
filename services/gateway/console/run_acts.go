package console

import (
	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
	"millrace.dev/pkg/fault"
)

// actOnRun does what the pressed button of a run's page says, and leads to the run that goes on. What is refused is told
// above the run as it is now.
func (c *Console) actOnRun(r *request) (view, error) {
	if err := r.form(); err != nil {
		return nil, err
	}
	run, said, err := c.act(r, r.PostFormValue("act"))
	if err != nil {
		return c.runPage(r, err)
	}
	return after(r.path("runs", run.GetId()), said), nil
}

// act answers the run that an act leads to, and the word for what was done.
func (c *Console) act(r *request, name string) (*schedulerv1.Run, string, error) {
	ctx, w, id := r.Context(), r.workspace, r.PathValue("run")
	switch name {
	case "cancel":
		res, err := c.scheduler.CancelRun(ctx, &schedulerv1.CancelRunRequest{Workspace: w, Id: id})
		if isOver(res.GetRun()) {
			return res.GetRun(), "cancelled", err //nolint:wrapcheck // classified
		}
		return res.GetRun(), "stopping", err //nolint:wrapcheck // classified
	case "retry":
		res, err := c.scheduler.RetryRun(ctx, &schedulerv1.RetryRunRequest{Workspace: w, Id: id})
		return res.GetRun(), "retried", err //nolint:wrapcheck // classified
	case "approve":
		if err := c.sameHold(r); err != nil {
			return nil, "", err
		}
		res, err := c.scheduler.ApproveRun(ctx, &schedulerv1.ApproveRunRequest{Workspace: w, Id: id})
		return res.GetRun(), "approved", err //nolint:wrapcheck // classified
	case "drop":
		if err := c.sameHold(r); err != nil {
			return nil, "", err
		}
		res, err := c.scheduler.DropRun(ctx, &schedulerv1.DropRunRequest{Workspace: w, Id: id})
		return res.GetRun(), "dropped", err //nolint:wrapcheck // classified
	case "run":
		res, err := c.scheduler.TriggerRun(ctx, &schedulerv1.TriggerRunRequest{
			Workspace: w, Sync: r.PostFormValue("sync"), IdempotencyKey: r.PostFormValue("key"), Reason: schedulerv1.RunReason_RUN_REASON_MANUAL,
		})
		return res.GetRun(), "started", err //nolint:wrapcheck // classified
	default:
		return nil, "", fault.New(fault.Invalid, fault.ReasonInvalidArgument, "nothing is done by this button; use those of the page")
	}
}

// sameHold refuses an answer to another hold than the one that the run is under.
func (c *Console) sameHold(r *request) error {
	res, err := c.scheduler.GetRun(r.Context(), &schedulerv1.GetRunRequest{Workspace: r.workspace, Id: r.PathValue("run")})
	if err != nil {
		return err //nolint:wrapcheck // classified
	}
	if now := stampOf(res.GetRun().GetHold()); now != r.PostFormValue("hold") {
		return fault.New(fault.Conflict, fault.ReasonStaleEtag, "the run is held for something else than this page showed; look at it and choose again")
	}
	return nil
}
