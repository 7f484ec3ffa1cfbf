package scheduler

import (
	"context"
	"fmt"
	"time"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/killpoint"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/run"
	"millrace.dev/pkg/schedule"
	"millrace.dev/pkg/sqldb"
)

const keyLife = 24 * time.Hour

// trigger is a wish for a run.
type trigger struct {
	Workspace id.Workspace
	Sync      string
	Key       string // idempotency key
	Full      bool
	Resync    bool
	DryRun    bool
	Reason    reason
	Join      bool // an open run will do
	// Bounds of a backfill; either may be zero.
	From, Until time.Time
}

// isBackfill says whether t wants a range read in the history lane.
func (t trigger) isBackfill() bool { return !t.From.IsZero() || !t.Until.IsZero() }

// trigger starts a run in the live lane, or a backfill in the history lane, or answers the one that the same key started
// within a day. A dry run takes the lane of the run that it tries out. A paused or faulted sync may be triggered, a draft may not.
func (s *Service) trigger(ctx context.Context, t trigger) (runRow, error) {
	snap, err := s.peers.snapshot(ctx, t.Workspace, t.Sync)
	if err != nil {
		return runRow{}, err
	}
	if snap.Sync.State == resource.Draft {
		return runRow{}, fault.New(fault.Precondition, fault.ReasonRunState,
			"sync %s is a draft; activate it first: millrace syncs activate %s", snap.Sync.ID, snap.Sync.ID)
	}
	if err := fault.Of(fault.ReasonInvalidArgument, append(dryFaults(t), backfillFaults(t, snap)...)); err != nil {
		return runRow{}, err
	}
	r := runRow{
		ID: id.NewRun(), Workspace: t.Workspace, SyncID: snap.Sync.ID, SyncUID: snap.Sync.UID, SyncVersion: snap.Version,
		Lane: live, Reason: t.Reason, Full: t.Full, Incremental: snap.Sync.Mode == resource.Incremental,
		Connection: warehouse(t.Workspace, snap.Connection.ID), Facts: runFacts{Terms: termsOf(snap)},
	}
	if t.isBackfill() {
		r.Lane, r.Reason, r.Facts.From, r.Facts.Until = history, backfill, t.From, t.Until
	}
	r.Facts.DryRun = t.DryRun
	if r.Facts.Dry = t.DryRun || r.Facts.Terms.dry(); t.Resync {
		r.Facts.Resync, r.Facts.Dry = true, false
		r.Facts.Approved = []string{fault.ReasonGuardBreached.Word()}
	}
	if have, ok, err := s.standing(ctx, s.db, r, t); ok || err != nil {
		return have, err
	}
	if r.Lane == live && !t.DryRun { // history does not count, nor does what is only tried out
		if err := s.charge(ctx, snap.Sync); err != nil {
			return runRow{}, err
		}
	}
	r.Traceparent = s.spans.begin(ctx, r)
	var out runRow
	err = s.db.Tx(ctx, func(tx *sqldb.Tx) error {
		have, ok, err := s.standing(ctx, tx, r, t)
		if out = have; ok || err != nil {
			return err
		}
		if out, err = s.create(ctx, tx, r, time.Time{}); err != nil {
			return err
		}
		if err := s.breakerEvent(ctx, tx, out.CreateTime, out.Connection, run.ProbeAsked); err != nil {
			return err
		}
		return s.remember(ctx, tx, out, t.Key)
	})
	if err != nil || out.ID != r.ID {
		s.spans.drop(r.ID)
		return out, err
	}
	s.created(ctx, out)
	return out, nil
}

// backfillFaults answers everything for which a range can not be read.
func backfillFaults(t trigger, snap resource.Snapshot) []fault.Violation {
	if !t.isBackfill() {
		return nil
	}
	var vs []fault.Violation
	if !t.From.IsZero() && !t.Until.IsZero() && t.From.After(t.Until) {
		vs = append(vs, fault.Violation{Field: "from", Message: "is after until", Fix: "name the earlier instant first"})
	}
	if t.Full {
		vs = append(vs, fault.Violation{Field: "full", Message: "goes with neither from nor until", Fix: "leave it out to read a range, or leave from and until out to read everything"})
	}
	field := "until"
	if !t.From.IsZero() {
		field = "from"
	}
	switch it := snap.DataModel.Iterator; {
	case snap.Sync.Mode != resource.Incremental:
		vs = append(vs, fault.Violation{Field: field, Message: "bounds an iterator, and mode " + string(snap.Sync.Mode) + " reads without one", Fix: "leave from and until out: each run reads everything"})
	case it.Type != resource.IteratorTimestamp && it.Type != resource.IteratorDate:
		vs = append(vs, fault.Violation{Field: field, Message: fmt.Sprintf("bounds instants and days, and the iterator %q is of type %s", it.Column, it.Type), Fix: "use an iterator of type timestamp or date, or read everything with full"})
	}
	return vs
}

// standing answers the run that a trigger is answered with instead of a new one, or RUN_OPEN.
func (s *Service) standing(ctx context.Context, q sqldb.Querier, r runRow, t trigger) (runRow, bool, error) {
	if t.Key != "" {
		now, err := q.Now(ctx)
		if err != nil {
			return runRow{}, false, err
		}
		have, ok, err := found(scanRun(q.QueryRow(ctx, "SELECT "+runColumns+` FROM scheduler_runs WHERE id =
			(SELECT run_id FROM scheduler_triggers WHERE sync_uid = ? AND idempotency_key = ? AND create_time > ?)`,
			r.SyncUID, t.Key, sqldb.Micros(now.Add(-keyLife)))))
		if ok || err != nil {
			return have, ok, err
		}
	}
	have, ok, err := openRun(ctx, q, r.SyncUID, r.Lane)
	if !ok || t.joins(have) {
		return have, ok, err
	}
	return runRow{}, false, errOpen(have)
}

func errOpen(r runRow) error {
	if r.Facts.DryRun {
		return errDryOpen(r)
	}
	return fault.New(fault.Precondition, fault.ReasonRunOpen,
		"run %s of sync %s is open in the %s lane; wait for its end, cancel it or join it", r.ID, r.SyncID, r.Lane).With("run", r.ID.String())
}

// charge counts a trigger against the sync's limit.
func (s *Service) charge(ctx context.Context, sync resource.Sync) error {
	limit, err := schedule.ParseLimit(sync.TriggerLimit)
	if err != nil {
		return fault.New(fault.Precondition, fault.ReasonInvalidArgument, "trigger_limit of sync %s: %w", sync.ID, err)
	}
	if limit.IsZero() {
		return nil
	}
	fits, wait, err := s.limits.Take(ctx, "trigger/"+sync.UID, limit.N, limit.Per)
	if err != nil {
		return err
	}
	if !fits {
		return fault.New(fault.Throttled, fault.ReasonLimitExceeded,
			"sync %s takes %s triggers; the next one fits in %s", sync.ID, sync.TriggerLimit, wait.Round(time.Second)).WithRetry(wait)
	}
	return nil
}

// remember keeps a trigger's key for a day, and forgets those that are older.
func (s *Service) remember(ctx context.Context, tx *sqldb.Tx, r runRow, key string) error {
	if key == "" {
		return nil
	}
	if _, err := tx.Exec(ctx, "DELETE FROM scheduler_triggers WHERE create_time <= ?", sqldb.Micros(r.CreateTime.Add(-keyLife))); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, "INSERT INTO scheduler_triggers (sync_uid, idempotency_key, run_id, create_time) VALUES (?, ?, ?, ?)",
		r.SyncUID, key, r.ID.String(), sqldb.Micros(r.CreateTime))
	return err
}

// create stores a queued run with its next ordinal and its part 0. `tick` is the tick of the schedule that it takes;
// zero: none. RUN_OPEN where the lane has an open run.
func (s *Service) create(ctx context.Context, tx *sqldb.Tx, r runRow, tick time.Time) (runRow, error) {
	if have, ok, err := openRun(ctx, tx, r.SyncUID, r.Lane); err != nil {
		return runRow{}, err
	} else if ok {
		return runRow{}, errOpen(have)
	}
	now, err := tx.Now(ctx)
	if err != nil {
		return runRow{}, err
	}
	y, err := getSync(ctx, tx, r.SyncUID)
	if err != nil {
		return runRow{}, err
	}
	if err := keeps(ctx, tx, now, &y, r); err != nil {
		return runRow{}, err
	}
	y.LastRunNo++
	if r.Lane == live && !r.Facts.DryRun {
		y.RunTime = now
	}
	if !tick.IsZero() {
		y.TickTime = taken(tick)
	}
	if err := putSync(ctx, tx, y); err != nil {
		return runRow{}, err
	}
	r.RunNo, r.State, r.Open, r.CreateTime = y.LastRunNo, run.Queued, true, now
	if (r.Reason != retrying || r.Facts.DryRun) && r.Lane == live && r.Incremental && !r.Full {
		r.Checkpoint = y.Checkpoint
		if r.Checkpoint == "" {
			r.Checkpoint = y.LiveStart
		}
	}
	if err := insertRun(ctx, tx, r); err != nil {
		return runRow{}, err
	}
	err = insertPart(ctx, tx, partRow{Run: r.ID, State: run.Waiting, Slice: slice{Label: "planning"}, Progress: now})
	killpoint.Reach("scheduler.create.before")
	return r, err
}

// warehouse names the connection that runs read, across workspaces. Empty: not known.
func warehouse(w id.Workspace, connection string) string {
	if connection == "" {
		return ""
	}
	return string(w) + "/" + connection
}

// created tells of a new run.
func (s *Service) created(ctx context.Context, r runRow) {
	killpoint.Reach("scheduler.create.after")
	s.metrics.opened.WithLabelValues(string(r.Reason)).Inc()
	s.log.InfoContext(ctx, "run created", "run", r.ID.String(), "run_no", r.RunNo, "sync", r.SyncID, "workspace", string(r.Workspace),
		"lane", string(r.Lane), "reason", string(r.Reason))
	s.work.ring()
	s.changed.ring()
}

// retry starts a run that goes on where a failed or cancelled one ended. While the sync's runs do what they did then, the
// new run adopts the plan and the finished parts; else it plans anew. What the old run applied is recognised either way.
func (s *Service) retry(ctx context.Context, w id.Workspace, runID id.Run) (runRow, error) {
	old, err := s.runOf(ctx, s.db, w, runID)
	if err != nil {
		return runRow{}, err
	}
	snap, err := s.peers.snapshot(ctx, w, old.SyncUID)
	if err != nil {
		return runRow{}, err
	}
	r := runRow{
		ID: id.NewRun(), Workspace: old.Workspace, SyncID: old.SyncID, SyncUID: old.SyncUID, SyncVersion: snap.Version,
		Lane: old.Lane, Reason: retrying, Full: old.Full, Incremental: snap.Sync.Mode == resource.Incremental, Checkpoint: old.Checkpoint,
		Connection: warehouse(old.Workspace, snap.Connection.ID),
		Facts:      runFacts{From: old.Facts.From, Until: old.Facts.Until, ReplayOf: old.Facts.ReplayOf, Resync: old.Facts.Resync, DryRun: old.Facts.DryRun, Terms: termsOf(snap)},
		Retried:    append([]retriedRun{{Run: old.ID.String(), RunNo: old.RunNo}}, old.Retried...),
	}
	if r.Facts.ReplayOf != "" { // it reads no warehouse
		r.Connection = ""
	}
	same, err := s.sameWork(ctx, old, snap)
	if err != nil {
		return runRow{}, err
	}
	r.Traceparent = s.spans.begin(ctx, r)
	var out runRow
	err = s.db.Tx(ctx, func(tx *sqldb.Tx) error {
		old, err := getRun(ctx, tx, old.ID)
		if err != nil {
			return err
		}
		if err := s.mayRetry(ctx, tx, old); err != nil {
			return err
		}
		r.Facts.Dry = r.Facts.DryRun || r.Facts.Terms.dry() && !adopts(old, same)
		if r.Facts.Resync {
			r.Facts.Dry, r.Facts.Approved = false, []string{fault.ReasonGuardBreached.Word()}
		}
		if out, err = s.create(ctx, tx, r, time.Time{}); err != nil {
			return err
		}
		if err := s.breakerEvent(ctx, tx, out.CreateTime, out.Connection, run.ProbeAsked); err != nil {
			return err
		}
		if !adopts(old, same) {
			return nil
		}
		out, err = s.adopt(ctx, tx, out, old)
		return err
	})
	if err != nil {
		s.spans.drop(r.ID)
		return runRow{}, err
	}
	s.created(ctx, out)
	s.keep.ring()
	return out, nil
}

// sameWork says whether a run of a sync as it is now does what an old run was to do. Mended credentials change nothing.
func (s *Service) sameWork(ctx context.Context, old runRow, now resource.Snapshot) (bool, error) {
	if old.SyncVersion == now.Version {
		return true, nil
	}
	then, err := s.peers.snapshotAt(ctx, old.Workspace, old.SyncUID, old.SyncVersion)
	if fault.ClassOf(err) == fault.NotFound {
		return false, nil // its version is forgotten
	}
	return err == nil && then.SameWork(now), err
}

// adopts says whether a run goes on with the plan of the one that it retries and whose work it does. Of a dry pass
// nothing is adopted; a run that had passed its guard passes it for the run that retries it.
func adopts(old runRow, same bool) bool {
	return old.Plan.Text != "" && same && !old.Facts.Dry
}

// mayRetry refuses to retry a run that is open or done, or that a later success of its lane has overtaken.
func (s *Service) mayRetry(ctx context.Context, tx *sqldb.Tx, old runRow) error {
	if old.State != run.Failed && old.State != run.Cancelled {
		return fault.New(fault.Precondition, fault.ReasonRunState, "run %s is %s; only failed and cancelled runs are retried", old.ID, old.State)
	}
	if old.Facts.DryRun {
		return nil
	}
	later, err := runs(ctx, tx, "WHERE sync_uid = ? AND lane = ? AND run_no > ? AND state IN (?, ?) ORDER BY run_no LIMIT 1",
		old.SyncUID, string(old.Lane), old.RunNo, string(run.Succeeded), string(run.PartiallySucceeded))
	if err != nil {
		return err
	}
	if len(later) > 0 {
		return fault.New(fault.Precondition, fault.ReasonRunState,
			"run %s of the same lane has succeeded since; start a new run instead of retrying %s", later[0].ID, old.ID).With("run", later[0].ID.String())
	}
	return nil
}

// adopt gives a new run the plan of an old one and its parts: finished ones with their accounts, the others to be read.
func (s *Service) adopt(ctx context.Context, tx *sqldb.Tx, r, old runRow) (runRow, error) {
	have, err := partsOf(ctx, tx, old.ID)
	if err != nil {
		return r, err
	}
	for _, p := range have {
		switch {
		case p.State == run.Replaced, p.Facts.Absent: // what is lacking is listed anew
			continue
		case p.Part == 0:
			planner := partRow{Run: r.ID, State: run.Complete, Slice: p.Slice, Progress: r.CreateTime}
			if err := updatePart(ctx, tx, planner); err != nil {
				return r, err
			}
		default:
			if err := insertPart(ctx, tx, adopted(p, r)); err != nil {
				return r, err
			}
		}
	}
	if r.State, err = run.Next(r.State, run.Planned); err != nil {
		return r, err
	}
	r.Plan, r.Facts.Plan, r.PlanTime = old.Plan, old.Facts.Plan, r.CreateTime
	return r, updateRun(ctx, tx, r)
}

// adopted answers a part of an old run as the new run begins with it.
func adopted(p partRow, r runRow) partRow {
	out := partRow{Run: r.ID, Part: p.Part, State: run.Waiting, Slice: p.Slice, Progress: r.CreateTime}
	if p.State == run.Complete {
		out.State, out.Account, out.Facts = run.Complete, p.Account, p.Facts
		out.ReadBatches, out.ReadRows, out.Settled = p.ReadBatches, p.ReadRows, p.Settled
		if out.Origin = p.Origin; out.Origin == "" {
			out.Origin, out.Facts.ReadEpoch = p.Run.String(), p.ReadEpoch
		}
	}
	return out
}

// runOf answers a run of a workspace.
func (s *Service) runOf(ctx context.Context, q sqldb.Querier, w id.Workspace, runID id.Run) (runRow, error) {
	r, err := getRun(ctx, q, runID)
	if err != nil {
		return runRow{}, err
	}
	if r.Workspace != w {
		return runRow{}, fault.New(fault.NotFound, fault.ReasonNotFound, "no run %s; list the sync's runs to find its id", runID)
	}
	return r, nil
}
