package scheduler

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/guard"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/run"
	"millrace.dev/pkg/sqldb"
)

// terms is what a run may do before it is held, as its sync says when it is created.
type terms struct {
	Guard       resource.Guard       `json:"guard,omitzero"`
	RejectLimit resource.RejectLimit `json:"reject_limit,omitzero"`
	// Mirror says that rows which a complete read lacks are deleted: by mode mirror, and where a lookup table is replaced.
	Mirror bool `json:"mirror,omitempty"`
	// Rehearse says that nothing but deletes is guarded, and that by default: they are rehearsed by themselves, in place of a
	// dry pass of the whole run.
	Rehearse bool `json:"rehearse,omitempty"`
	// Place is where its mirror keeps snapshots in the warehouse; empty: nowhere.
	Place string `json:"place,omitempty"`
}

// dry says whether a run begins with a dry pass.
func (t terms) dry() bool { return !t.Guard.IsZero() && !t.Rehearse }

func termsOf(s resource.Snapshot) terms {
	mirror := s.Sync.Mode == resource.Mirror || s.Sync.Mode == resource.Full && s.DataModel.Kind == resource.Lookup
	return terms{
		Guard: guard.Of(s.Sync.Guard, s.Sync.Mode, s.DataModel.Kind), RejectLimit: s.Sync.RejectLimit,
		Mirror: mirror, Rehearse: mirror && s.Sync.Guard.IsZero(), Place: s.StatePlace(),
	}
}

// hold is why a run is held, and what each way out of it would do.
type hold struct {
	Reason  string         `json:"reason"`
	Message string         `json:"message"`
	Approve string         `json:"approve"`
	Drop    string         `json:"drop"`
	Time    time.Time      `json:"time"`
	Samples []sample       `json:"samples,omitempty"`
	Columns []columnChange `json:"columns,omitempty"`
}

// sample is a row and what a run would do with it.
type sample struct {
	Effect    string   `json:"effect"`
	KeyValues []string `json:"key_values"`
}

// columnChange is how a column differs from the run before.
type columnChange struct {
	Column  string `json:"column"`
	Change  string `json:"change"`
	Was     string `json:"was,omitempty"`
	Is      string `json:"is,omitempty"`
	Action  string `json:"action,omitempty"`
	Choices string `json:"choices,omitempty"`
}

const dropped = "ends the run as cancelled; what it has written stands, checkpoint and schedule stay"

// hold stores that a run waits for its owner, in the transaction of what found it. A run that is about to be closed is
// left alone.
func (s *Service) hold(ctx context.Context, tx *sqldb.Tx, now time.Time, r runRow, e run.Event, h hold) error {
	if r.Closing != "" {
		return nil
	}
	var err error
	if r.State, err = run.Next(r.State, e); err != nil {
		return err
	}
	h.Time = now
	if h.Drop == "" {
		h.Drop = dropped
	}
	r.Facts.Hold = &h
	if err := updateRun(ctx, tx, r); err != nil {
		return err
	}
	if err := tellHeld(ctx, tx, r, now); err != nil {
		return err
	}
	return putStatus(ctx, tx, statusHeld(r, now))
}

// holdDrift holds a run whose plan met columns that its owner must look at. Nothing of the plan is kept. A dry run is
// planned again, with the columns as they are.
func (s *Service) holdDrift(ctx context.Context, runID id.Run, epoch uint32, changes []columnChange) error {
	dry := false
	err := s.db.Tx(ctx, func(tx *sqldb.Tx) error {
		p, err := held(ctx, tx, id.Part{Run: runID}, epoch)
		if err != nil || p.State != run.Leased {
			return err // told again
		}
		r, err := getRun(ctx, tx, runID)
		if err != nil {
			return err
		}
		now, err := tx.Now(ctx)
		if err != nil {
			return err
		}
		if p.State, err = run.NextPart(p.State, run.Released); err != nil {
			return err
		}
		if err := updatePart(ctx, tx, p.partRow); err != nil {
			return err
		}
		if r.Facts.Drift = changes; r.Facts.DryRun {
			dry = true
			return updateRun(ctx, tx, pastDrift(r, changes))
		}
		return s.hold(ctx, tx, now, r, run.Drifted, driftHold(changes))
	})
	if err != nil {
		return plain(err)
	}
	if !dry {
		s.log.WarnContext(ctx, "run held", "run", runID.String(), "reason", fault.ReasonSchemaDrift.Word())
	}
	s.work.ring()
	s.keep.ring()
	s.changed.ring()
	return nil
}

func driftHold(changes []columnChange) hold {
	return hold{
		Reason: fault.ReasonSchemaDrift.Word(), Message: "the columns of the query are no longer those of the run before: " + describe(changes),
		Approve: "plans the run with the columns as they are; what the mapping names and the query lacks fails it", Columns: changes,
	}
}

// describe says which columns hold a run.
func describe(changes []columnChange) string {
	var out []string
	for _, c := range changes {
		if c.Action == "held" {
			out = append(out, fmt.Sprintf("%q %s", c.Column, c.Change))
		}
	}
	return strings.Join(out, ", ")
}

// approve lets a held run go on.
func (s *Service) approve(ctx context.Context, w id.Workspace, runID id.Run) (runRow, error) {
	var out runRow
	err := s.db.Tx(ctx, func(tx *sqldb.Tx) error {
		r, err := s.runOf(ctx, tx, w, runID)
		if err != nil {
			return err
		}
		if out = r; r.Open && r.State != run.Held && len(r.Facts.Approved) > 0 {
			return nil // asked again
		}
		if r.State != run.Held || r.Closing != "" {
			return errNotHeld(r)
		}
		now, err := tx.Now(ctx)
		if err != nil {
			return err
		}
		event := run.Approved
		if r.Plan.Text == "" {
			event = run.PlanApproved
		}
		if r.State, err = run.Next(r.State, event); err != nil {
			return err
		}
		r.Facts.Approved = append(slices.Clone(r.Facts.Approved), r.Facts.Hold.Reason)
		if r.Facts.Dry && r.Facts.Hold.Reason == fault.ReasonGuardBreached.Word() { // the dry pass is over
			if r, err = s.write(ctx, tx, now, r); err != nil {
				return err
			}
		} else if err := updateRun(ctx, tx, r); err != nil {
			return err
		}
		out = r
		if err := tellApproved(ctx, tx, r, now); err != nil {
			return err
		}
		return putStatus(ctx, tx, statusRow{SyncUID: r.SyncUID, Workspace: r.Workspace, SyncID: r.SyncID, Time: now, Status: string(resource.Healthy)})
	})
	if err != nil {
		return runRow{}, err
	}
	s.work.ring()
	s.keep.ring()
	s.changed.ring()
	s.alerting.ring()
	return out, nil
}

// drop asks for a held run to be closed as cancelled.
func (s *Service) drop(ctx context.Context, w id.Workspace, runID id.Run) (runRow, error) {
	r, err := s.runOf(ctx, s.db, w, runID)
	if err != nil {
		return runRow{}, err
	}
	if r.State != run.Held && (r.State != run.Cancelled || r.Facts.Hold == nil) {
		return runRow{}, errNotHeld(r)
	}
	return r, nil
}

func errNotHeld(r runRow) error {
	return fault.New(fault.Precondition, fault.ReasonRunState, "run %s is %s; only held runs are approved or dropped", r.ID, r.State)
}

// approved says whether the owner has let r go on past a reason.
func (r runRow) approved(reason fault.Reason) bool {
	return slices.Contains(r.Facts.Approved, reason.Word())
}

// write ends the dry pass of a run: its parts are read again, to be written.
func (s *Service) write(ctx context.Context, tx *sqldb.Tx, now time.Time, r runRow) (runRow, error) {
	have, err := partsOf(ctx, tx, r.ID)
	if err != nil {
		return r, err
	}
	for _, p := range have {
		if p.Part == 0 || p.State == run.Replaced {
			continue
		}
		if p.Facts.Absent {
			if err := replace(ctx, tx, p); err != nil {
				return r, err
			}
			continue
		}
		if p.State, err = run.NextPart(p.State, run.Rewind); err != nil {
			return r, err
		}
		p.ReadEpoch, p.ReadBatches, p.ReadRows, p.Settled, p.Account, p.Facts = 0, 0, 0, 0, run.Account{}, partFacts{}
		p.Tries, p.Progress = 0, now
		if err := updatePart(ctx, tx, p); err != nil {
			return r, err
		}
	}
	r.Facts.Dry = false
	return r, updateRun(ctx, tx, r)
}
