package scheduler

import (
	"context"
	"time"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/sqldb"
)

// replay starts a run in the history lane that takes the rejects of another run through its sync as the sync is now, or
// answers the one that is open already. It reads no warehouse, so that it counts toward no limit and says nothing of the
// sync's status.
func (s *Service) replay(ctx context.Context, w id.Workspace, runID id.Run) (runRow, error) {
	old, err := s.runOf(ctx, s.db, w, runID)
	if err != nil {
		return runRow{}, err
	}
	if old.Open {
		return runRow{}, fault.New(fault.Precondition, fault.ReasonRunState,
			"run %s is %s; replay its rejects when it is over", old.ID, old.State).With("run", old.ID.String())
	}
	if old.Facts.DryRun {
		return runRow{}, errNothingKept(old)
	}
	snap, err := s.peers.snapshot(ctx, w, old.SyncUID)
	switch {
	case fault.ClassOf(err) == fault.NotFound:
		return runRow{}, fault.New(fault.Precondition, fault.ReasonRunState,
			"sync %s of run %s is deleted; export the rejects and bring them in through another sync: millrace rejects export %s", old.SyncID, old.ID, old.ID)
	case err != nil:
		return runRow{}, err
	case snap.Sync.State == resource.Draft:
		return runRow{}, fault.New(fault.Precondition, fault.ReasonRunState,
			"sync %s is a draft; activate it first: millrace syncs activate %s", snap.Sync.ID, snap.Sync.ID)
	}
	r := runRow{
		ID: id.NewRun(), Workspace: old.Workspace, SyncID: snap.Sync.ID, SyncUID: old.SyncUID, SyncVersion: snap.Version,
		Lane: history, Reason: replaying, Incremental: snap.Sync.Mode == resource.Incremental, Facts: runFacts{ReplayOf: old.ID.String()},
	}
	r.Traceparent = s.spans.begin(ctx, r)
	var out runRow
	err = s.db.Tx(ctx, func(tx *sqldb.Tx) error {
		have, ok, err := openRun(ctx, tx, r.SyncUID, history)
		if ok && have.Facts.ReplayOf == r.Facts.ReplayOf {
			out = have
			return nil
		}
		if err == nil {
			out, err = s.create(ctx, tx, r, time.Time{})
		}
		return err
	})
	if err != nil || out.ID != r.ID {
		s.spans.drop(r.ID)
		return out, err
	}
	s.created(ctx, out)
	return out, nil
}
