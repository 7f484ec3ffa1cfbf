package scheduler

import (
	"context"
	"errors"
	"time"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/run"
	"millrace.dev/pkg/schedule"
	"millrace.dev/pkg/sqldb"
)

// scheduledSync is what config says of a sync.
type scheduledSync struct {
	Workspace   id.Workspace
	ID          string
	UID         string
	Version     int64
	Incremental bool
	Schedule    resource.Schedule
	State       resource.SyncState
	Status      resource.SyncStatus
	ActiveSince time.Time     // ticks up to then are not missed
	Connection  string        // its id
	Freshness   time.Duration // the age of its data beyond which it is late; 0: no goal
}

// takesTicks says whether ticks of y start runs.
func (y scheduledSync) takesTicks() bool {
	return y.State == resource.Active && (y.Status == resource.Healthy || y.Status == "")
}

// tick starts the runs that are due. A tick that meets an open run waits for its end; those that fall due meanwhile
// collapse into one. Ticks of a sync that takes none are gone.
func (s *Service) tick(ctx context.Context) {
	err := s.tickAll(ctx)
	if err != nil && ctx.Err() == nil && fault.ClassOf(err) != fault.Unavailable {
		s.log.ErrorContext(ctx, "cannot look for syncs that are due", "error", err)
	}
	s.metrics.ticks.WithLabelValues(outcome(err)).Inc()
}

func outcome(err error) string {
	if err != nil {
		return "failed"
	}
	return "ok"
}

func (s *Service) tickAll(ctx context.Context) error {
	known, err := knownSyncs(ctx, s.db)
	if err != nil {
		return err
	}
	syncs, err := s.peers.schedules(ctx)
	if err != nil {
		return err
	}
	now, err := s.db.Now(ctx)
	if err != nil {
		return err
	}
	uids := map[[2]string]string{}
	for _, y := range syncs {
		uids[[2]string{string(y.Workspace), y.ID}] = y.UID
	}
	errs := []error{s.countOpen(ctx, now), s.findLeft(ctx, known, syncs)}
	var active []syncGauge
	for _, y := range syncs {
		due, ok, err := dueAt(y, known, uids, now)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if !ok {
			due = time.Time{}
		}
		if y.State == resource.Active {
			active = append(active, gaugeOf(y, known[y.UID], due, now))
		}
		if ok {
			errs = append(errs, s.takeTick(ctx, y, due))
		}
	}
	s.metrics.syncs.show(active)
	return errors.Join(append(errs, s.watchSyncs(ctx, syncs, known, now))...)
}

// dueAt answers the tick that a sync is to take at `now`.
func dueAt(y scheduledSync, known map[string]syncRow, uids map[[2]string]string, now time.Time) (time.Time, bool, error) {
	plan, err := parseSchedule(y.Schedule)
	if err != nil {
		return time.Time{}, false, fault.New(fault.Precondition, fault.ReasonInvalidArgument, "schedule of sync %s: %w", y.ID, err)
	}
	own := known[y.UID]
	if y.ActiveSince.IsZero() || y.State != resource.Active {
		return time.Time{}, false, nil
	}
	after := latest(believable(y.ActiveSince, now), believable(own.TickTime, now))
	if plan.Syncs() == nil {
		due, ok := plan.Due(after, now)
		return due, ok, nil
	}
	successes := make([]time.Time, 0, len(plan.Syncs()))
	for _, name := range plan.Syncs() {
		successes = append(successes, known[uids[[2]string{string(y.Workspace), name}]].SuccessTime)
	}
	due, ok := schedule.DueAfter(latest(after, believable(own.RunTime, now)), successes...)
	return due, ok, nil
}

// taken answers how a tick is remembered: in stored precision and not before it, so that it is not due again.
func taken(tick time.Time) time.Time {
	return tick.Add(time.Microsecond - 1).Truncate(time.Microsecond)
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

func parseSchedule(s resource.Schedule) (schedule.Schedule, error) {
	switch {
	case s.Every != "":
		return schedule.Every(s.Every, s.Start)
	case s.Cron != "":
		return schedule.Cron(s.Cron, s.TimeZone)
	case !s.Once.IsZero():
		return schedule.Once(s.Once), nil
	case len(s.After) > 0:
		return schedule.After(s.After...), nil
	}
	return schedule.Schedule{}, nil
}

// knownSyncs answers what goes on from run to run, by sync uid.
func knownSyncs(ctx context.Context, q sqldb.Querier) (map[string]syncRow, error) {
	out := map[string]syncRow{}
	err := q.Query(ctx, func(row sqldb.Row) error {
		y, err := scanSync(row)
		out[y.UID] = y
		return err
	}, "SELECT "+syncColumns+" FROM scheduler_syncs")
	return out, err
}

// takeTick starts the run of a tick, unless the lane is taken; then the tick waits.
func (s *Service) takeTick(ctx context.Context, y scheduledSync, due time.Time) error {
	r := runRow{
		ID: id.NewRun(), Workspace: y.Workspace, SyncID: y.ID, SyncUID: y.UID, SyncVersion: y.Version,
		Lane: live, Reason: scheduled, Incremental: y.Incremental, Connection: warehouse(y.Workspace, y.Connection),
	}
	if _, ok, err := openRun(ctx, s.db, y.UID, live); err != nil {
		return err
	} else if ok && y.takesTicks() {
		if moves, err := s.mayMove(ctx, s.db, y.UID); err != nil || !moves {
			return err
		}
	}
	if y.takesTicks() {
		snap, err := s.peers.snapshot(ctx, y.Workspace, y.UID)
		if err != nil {
			return err
		}
		r.SyncVersion, r.Facts.Terms = snap.Version, termsOf(snap)
		r.Facts.Dry = r.Facts.Terms.dry()
	}
	r.Traceparent = s.spans.begin(ctx, r)
	var out runRow
	err := s.db.Tx(ctx, func(tx *sqldb.Tx) error {
		out = runRow{}
		known, err := getSync(ctx, tx, y.UID)
		if err != nil || !due.After(known.TickTime) {
			return err // another process took it
		}
		if stopped, err := pendingStop(ctx, tx, y.UID); err != nil {
			return err
		} else if stopped || !y.takesTicks() {
			known.TickTime = taken(due)
			if err := putSync(ctx, tx, known); err != nil {
				return err
			}
			return skip(ctx, tx, y.UID)
		}
		if err := s.makeWay(ctx, tx, known); err != nil {
			return err
		}
		out, err = s.create(ctx, tx, r, due)
		return err
	})
	if err != nil || out.ID != r.ID {
		s.spans.drop(r.ID)
		if fault.ReasonOf(err) == fault.ReasonRunOpen {
			return nil
		}
		return err
	}
	s.created(ctx, out)
	return nil
}

// skip counts a tick that fell due while a run of the live lane was held.
func skip(ctx context.Context, tx *sqldb.Tx, uid string) error {
	r, ok, err := openRun(ctx, tx, uid, live)
	if err != nil || !ok || r.State != run.Held {
		return err
	}
	r.Facts.Skipped++
	return updateRun(ctx, tx, r)
}

// pendingStop says whether config is still to be told that the sync takes no ticks.
func pendingStop(ctx context.Context, q sqldb.Querier, uid string) (bool, error) {
	var status string
	_, ok, err := found(status, q.QueryRow(ctx, "SELECT status FROM scheduler_statuses WHERE sync_uid = ?", uid).Scan(&status))
	return ok && status != string(resource.Healthy), err
}

// first answers the open run of the live lane if it is the sync's first one and may go on in the history lane: it is
// planned, so that the live lane can start at its watermark.
func (s *Service) first(ctx context.Context, q sqldb.Querier, known syncRow) (runRow, bool, error) {
	r, ok, err := openRun(ctx, q, known.UID, live)
	if !ok || err != nil {
		return runRow{}, false, err
	}
	if known.Checkpoint != "" || known.LiveStart != "" || !r.Incremental || r.Facts.DryRun || r.State != run.Running || r.Closing != "" || r.Plan.Watermark == "" {
		return runRow{}, false, nil
	}
	_, taken, err := openRun(ctx, q, known.UID, history)
	return r, !taken && err == nil, err
}

func (s *Service) mayMove(ctx context.Context, q sqldb.Querier, uid string) (bool, error) {
	known, err := getSync(ctx, q, uid)
	if err != nil {
		return false, err
	}
	_, ok, err := s.first(ctx, q, known)
	return ok, err
}

// makeWay moves the sync's first run to the history lane, where it is still open when a later one falls due.
func (s *Service) makeWay(ctx context.Context, tx *sqldb.Tx, known syncRow) error {
	r, ok, err := s.first(ctx, tx, known)
	if !ok || err != nil {
		return err
	}
	r.Lane, known.LiveStart = history, r.Plan.Watermark
	if err := putSync(ctx, tx, known); err != nil {
		return err
	}
	return updateRun(ctx, tx, r)
}
