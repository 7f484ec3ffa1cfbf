package scheduler

import (
	"context"
	"slices"
	"time"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/killpoint"
	"millrace.dev/pkg/run"
	"millrace.dev/pkg/sqldb"
)

// storePlan keeps the plan of a run and makes its parts, in one step and before a row is read. Told again by the same
// lease it changes nothing.
func (s *Service) storePlan(ctx context.Context, runID id.Run, epoch uint32, pl plan, slices []slice) error {
	name := id.Part{Run: runID}
	err := s.db.Tx(ctx, func(tx *sqldb.Tx) error {
		p, err := held(ctx, tx, name, epoch)
		if err != nil || p.State == run.Complete {
			return err
		}
		r, err := getRun(ctx, tx, runID)
		if err != nil {
			return err
		}
		if stale, err := s.resyncs(ctx, tx, r, pl.Facts.Keys); stale || err != nil {
			return err
		}
		now, err := tx.Now(ctx)
		if err != nil {
			return err
		}
		if p.State, err = run.NextPart(p.State, run.PlanStored); err != nil {
			return err
		}
		p.Progress, p.Facts.Throttled, p.Facts.Probe = now, 0, false
		if err := updatePart(ctx, tx, p.partRow); err != nil {
			return err
		}
		if err := s.breakerEvent(ctx, tx, now, r.Connection, run.Answered); err != nil {
			return err
		}
		if err := addParts(ctx, tx, runID, slices, now); err != nil {
			return err
		}
		if r.State, err = run.Next(r.State, run.Planned); err != nil {
			return err
		}
		r.Plan, r.Facts.Plan, r.Facts.Drift, r.PlanTime = pl, pl.Facts, pl.Facts.Drift, now
		first, err := firstTold(ctx, tx, name, epoch, pl.Cost)
		if err != nil {
			return err
		}
		if first {
			r.Facts.Cost = r.Facts.Cost.add(pl.Cost)
		}
		r.Facts.Approved = without(r.Facts.Approved, fault.ReasonSchemaDrift)
		if c := pl.Facts.Comparison; c != nil && c.Lost != "" {
			r.Facts.Notices = append(r.Facts.Notices, c.Lost+"; everything is read")
		}
		if c := pl.Facts.Comparison; c != nil && c.Notice != "" {
			r.Facts.Notices = append(r.Facts.Notices, c.Notice)
		}
		if err := updateRun(ctx, tx, r); err != nil {
			return err
		}
		err = accept(ctx, tx, r)
		killpoint.Reach("scheduler.plan.before")
		return err
	})
	if err != nil {
		return plain(err)
	}
	killpoint.Reach("scheduler.plan.after")
	s.log.InfoContext(ctx, "run planned", "run", runID.String(), "parts", len(slices), "estimated_rows", pl.EstimatedRows)
	s.work.ring()
	s.keep.ring()
	s.changed.ring()
	return nil
}

// without answers approvals less that of one reason: it was for one plan.
func without(approved []string, reason fault.Reason) []string {
	return slices.DeleteFunc(slices.Clone(approved), func(r string) bool { return r == reason.Word() })
}

// accept keeps the columns of a stored plan as those that drift is judged against.
func accept(ctx context.Context, tx *sqldb.Tx, r runRow) error {
	if len(r.Facts.Plan.Accepted.Columns) == 0 || r.Facts.DryRun {
		return nil
	}
	y, err := getSync(ctx, tx, r.SyncUID)
	if err != nil {
		return err
	}
	y.Facts.Accepted = r.Facts.Plan.Accepted
	return putSync(ctx, tx, y)
}

// addParts makes one part of each slice, with the next numbers that the run has not used.
func addParts(ctx context.Context, tx *sqldb.Tx, runID id.Run, slices []slice, now time.Time) error {
	var last uint32
	if err := tx.QueryRow(ctx, "SELECT MAX(part) FROM scheduler_parts WHERE run_id = ?", runID.String()).Scan(&last); err != nil {
		return err
	}
	for _, x := range slices {
		last++
		if err := insertPart(ctx, tx, partRow{Run: runID, Part: last, State: run.Waiting, Slice: x, Progress: now}); err != nil {
			return err
		}
	}
	return nil
}

// planAgain withdraws the plan of a run: its parts are replaced, finished and adopted ones too, and part 0 is leased
// anew once they are fenced. It counts as a try of part 0, so that a source that never stands still ends the run.
func (s *Service) planAgain(ctx context.Context, tx *sqldb.Tx, now time.Time, runID id.Run, why issue) error {
	r, err := getRun(ctx, tx, runID)
	if err != nil {
		return err
	}
	have, err := partsOf(ctx, tx, runID)
	if err != nil {
		return err
	}
	for _, p := range have {
		if p.Part == 0 || p.State == run.Replaced {
			continue
		}
		if p.State, err = run.NextPart(p.State, run.Replace); err != nil {
			return err
		}
		if err := updatePart(ctx, tx, p); err != nil {
			return err
		}
	}
	p := have[0]
	if p.Tries++; p.Tries >= run.MaxTries {
		return s.giveUp(ctx, tx, runID, why, false)
	}
	if p.State, err = run.NextPart(p.State, run.Replan); err != nil {
		return err
	}
	p.NotBefore, p.Issue, p.Progress = now.Add(s.backoff(p.Tries)), why, now
	if err := updatePart(ctx, tx, p); err != nil {
		return err
	}
	if r.State, err = run.Next(r.State, run.PlanWithdrawn); err != nil {
		return err
	}
	r.Plan, r.Facts.Plan, r.PlanTime = plan{}, planFacts{}, time.Time{}
	return updateRun(ctx, tx, r)
}
