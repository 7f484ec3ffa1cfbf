package millrace

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/google/uuid"

	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
	"millrace.dev/pkg/fault"
)

type runCmd struct {
	Sync   string `arg:"" help:"The sync's id."`
	Wait   bool   `help:"Follow the run to its end and answer it then."`
	Join   bool   `help:"Answer the run that is open already, if there is one."`
	Full   bool   `help:"Read everything from the sync's start again; the checkpoint still moves."`
	DryRun bool   `help:"Read and judge everything, write nothing, and say at the end what the run would do."`
	From   string `help:"Backfill: read rows whose iterator is at or after this instant, in the history lane; the checkpoint stays. RFC 3339, or a date." placeholder:"T"`
	// Until is inclusive, as a window's high end is.
	Until string `help:"Backfill: read rows up to this instant, itself included." placeholder:"T"`
	Key   string `help:"The same key within 24 hours answers the same run." placeholder:"TEXT"`
}

// Run starts the run and answers it at once, or with --wait at its end. A dry run is worth nothing before its end, so that
// it is always waited for.
func (c *runCmd) Run(ctx context.Context, s *session) error {
	key := c.Key
	if key == "" {
		key = uuid.NewString() // a repeated call starts no second run
	}
	from, err := parseInstant("--from", c.From)
	if err != nil {
		return err
	}
	until, err := parseInstant("--until", c.Until)
	if err != nil {
		return err
	}
	trigger := func(ctx context.Context, sc schedulerv1.SchedulerServiceClient) (*schedulerv1.Run, error) {
		r, err := sc.TriggerRun(ctx, &schedulerv1.TriggerRunRequest{
			Workspace: s.flags.Workspace, Sync: c.Sync, IdempotencyKey: key,
			Full: c.Full, Join: c.Join, Reason: schedulerv1.RunReason_RUN_REASON_MANUAL,
			From: from, Until: until, DryRun: c.DryRun,
		})
		return r.GetRun(), err
	}
	if c.Wait || c.DryRun {
		return startAndFollow(ctx, s, trigger)
	}
	return answerRun(ctx, s, trigger)
}

func startAndFollow(ctx context.Context, s *session, start callRun) error {
	sc, err := s.scheduler()
	if err != nil {
		return err
	}
	run, err := start(ctx, sc)
	if err != nil {
		return err
	}
	return s.followRun(ctx, run.GetId())
}

// followRun shows a run's progress on stderr, answers the run at its end or when it is held, and ends with the exit
// code of what became of it.
func (s *session) followRun(ctx context.Context, id string) error {
	run, err := s.watch(ctx, id)
	if err != nil {
		if ctx.Err() != nil {
			s.notef("millrace: no longer watching; the run goes on: millrace runs watch %s", id)
			return exitError(exitFailed)
		}
		return err
	}
	if err := s.answer(run, drawRun(run)); err != nil {
		return err
	}
	if code := outcome(run); code != exitDone {
		return exitError(code)
	}
	return nil
}

// patience is how long a watch waits for services that went away to come back.
const patience = time.Minute

// watch shows a run's progress until it is over or held and answers it as it is then. It outlives a restart of the
// services.
func (s *session) watch(ctx context.Context, id string) (*schedulerv1.Run, error) {
	sc, err := s.scheduler()
	if err != nil {
		return nil, err
	}
	p := newProgress(s.IO)
	defer p.end()
	for {
		run, seen, err := s.watchOnce(ctx, sc, id, p)
		if err == nil || !seen || fault.ReasonOf(err) != fault.ReasonServiceUnavailable || ctx.Err() != nil {
			return run, err
		}
		p.note("the services went away; waiting for them")
		if err := s.await(ctx, sc, id); err != nil {
			return nil, err
		}
	}
}

// watchOnce follows one stream; seen says whether it ever answered.
func (s *session) watchOnce(ctx context.Context, sc schedulerv1.SchedulerServiceClient, id string, p *progress) (run *schedulerv1.Run, seen bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := sc.WatchRun(ctx, &schedulerv1.WatchRunRequest{Workspace: s.flags.Workspace, Id: id})
	if err != nil {
		return nil, false, err //nolint:wrapcheck // classified by the interceptors
	}
	for {
		r, err := stream.Recv()
		if errors.Is(err, io.EOF) && run != nil && (over(run.GetState()) || run.GetState() == schedulerv1.RunState_RUN_STATE_HELD) {
			return run, true, nil
		}
		if errors.Is(err, io.EOF) {
			return nil, seen, fault.New(fault.Unavailable, fault.ReasonServiceUnavailable, "the watch of run %s ended before the run did; watch it again", id)
		}
		if err != nil {
			return nil, seen, err //nolint:wrapcheck // classified by the interceptors
		}
		run, seen = r.GetRun(), true
		complete(run)
		p.show(run)
		if over(run.GetState()) || run.GetState() == schedulerv1.RunState_RUN_STATE_HELD {
			return run, true, nil
		}
	}
}

// await returns once the scheduler answers again.
func (s *session) await(ctx context.Context, sc schedulerv1.SchedulerServiceClient, id string) error {
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		_, err := sc.GetRun(ctx, &schedulerv1.GetRunRequest{Workspace: s.flags.Workspace, Id: id})
		if err != nil && fault.ReasonOf(err) != fault.ReasonServiceUnavailable {
			err = backoff.Permanent(err)
		}
		return struct{}{}, err
	}, backoff.WithMaxElapsedTime(patience))
	return err //nolint:wrapcheck // classified by the interceptors
}

// over says whether a run has reached its last state.
func over(s schedulerv1.RunState) bool {
	switch s {
	case schedulerv1.RunState_RUN_STATE_SUCCEEDED, schedulerv1.RunState_RUN_STATE_PARTIALLY_SUCCEEDED,
		schedulerv1.RunState_RUN_STATE_FAILED, schedulerv1.RunState_RUN_STATE_CANCELLED, schedulerv1.RunState_RUN_STATE_SKIPPED,
		schedulerv1.RunState_RUN_STATE_REHEARSED:
		return true
	}
	return false
}

// outcome answers the exit code for what became of a run.
func outcome(r *schedulerv1.Run) int {
	switch r.GetState() {
	case schedulerv1.RunState_RUN_STATE_REHEARSED:
		if r.GetCounts().GetRejected()+r.GetCounts().GetRefused() > 0 {
			return exitPartial
		}
		return exitDone
	case schedulerv1.RunState_RUN_STATE_SUCCEEDED, schedulerv1.RunState_RUN_STATE_SKIPPED:
		return exitDone
	case schedulerv1.RunState_RUN_STATE_PARTIALLY_SUCCEEDED:
		return exitPartial
	case schedulerv1.RunState_RUN_STATE_HELD:
		return exitHeld
	}
	return exitFailed
}
