package scheduler

import (
	"context"
	"slices"
	"time"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/killpoint"
	"millrace.dev/pkg/record"
	"millrace.dev/pkg/run"
	"millrace.dev/pkg/sqldb"
)

const (
	maxPoll   = 20 * time.Second
	pollEvery = time.Second // how soon a part that another process made ready is seen
)

// grant is a part given to a worker.
type grant struct {
	Run      runRow
	Part     partRow
	Retried  []record.RetriedRun
	Life     time.Duration  // without a heartbeat
	Accepted acceptedSchema // what drift is judged against; of part 0
	Base     *comparison    // what a mirror's rows may be compared with; of part 0
	Read     readRows       // what the run has read; of the part that has what it lacks
}

// ready chooses the part to lease next: fenced and not backing off, planning first, then of the run that has the fewest
// parts in work, so that a big run does not hold up a small one. Planning again waits until what the old plan left
// behind is fenced. Nothing is read from a warehouse whose breaker is open, and nothing more while a part probes it.
const ready = `SELECT p.run_id, p.part FROM scheduler_parts p JOIN scheduler_runs r ON r.id = p.run_id
	WHERE r.is_open = 1 AND r.closing = '' AND r.state <> 'held' AND p.state = 'waiting' AND p.not_before <= ? AND (p.epoch = 0 OR p.fence > p.epoch)
	AND (p.part > 0 OR NOT EXISTS (SELECT 1 FROM scheduler_parts o
		WHERE o.run_id = p.run_id AND o.state = 'replaced' AND o.epoch > 0 AND o.fence <= o.epoch))
	AND NOT EXISTS (SELECT 1 FROM scheduler_breakers b WHERE b.connection = r.connection AND (b.until > ? OR EXISTS (
		SELECT 1 FROM scheduler_parts q WHERE q.run_id = b.probe_run AND q.part = b.probe_part AND q.epoch = b.probe_epoch AND q.state = 'leased')))
	ORDER BY CASE WHEN p.part = 0 THEN 0 ELSE 1 END,
		(SELECT COUNT(*) FROM scheduler_parts l WHERE l.run_id = p.run_id AND l.state = 'leased'), p.run_id, p.part
	LIMIT 1`

// lease gives a part to a worker, or nothing after `wait`.
func (s *Service) lease(ctx context.Context, worker string, wait time.Duration) (grant, bool, error) {
	deadline := time.NewTimer(min(max(wait, 0), maxPoll))
	defer deadline.Stop()
	poll := time.NewTicker(pollEvery)
	defer poll.Stop()
	for {
		heard := s.work.heard()
		if g, ok, err := s.tryLease(ctx, worker); ok || err != nil {
			return g, ok, err
		}
		select {
		case <-heard:
		case <-poll.C:
		case <-deadline.C:
			return grant{}, false, nil
		case <-s.stopping:
			return grant{}, false, errStopping()
		case <-ctx.Done():
			return grant{}, false, fault.As(ctx.Err())
		}
	}
}

// tryLease takes the next part that is ready, if there is one. It looks before it begins a transaction, so that idle
// workers keep nobody from writing.
func (s *Service) tryLease(ctx context.Context, worker string) (grant, bool, error) {
	for {
		now, err := s.db.Now(ctx)
		if err != nil {
			return grant{}, false, err
		}
		name, ok, err := found(next(ctx, s.db, now))
		if !ok || err != nil {
			return grant{}, false, err
		}
		select {
		case <-s.stopping:
			return grant{}, false, errStopping()
		default:
		}
		var g grant
		err = s.db.Tx(ctx, func(tx *sqldb.Tx) error {
			var err error
			g, ok, err = s.take(ctx, tx, name, worker)
			return err
		})
		if err != nil {
			return grant{}, false, err
		}
		if !ok {
			continue // another worker took it first
		}
		killpoint.Reach("scheduler.lease.after")
		s.metrics.leases.Inc()
		s.log.DebugContext(ctx, "part leased", "run", g.Run.ID.String(), "part", g.Part.Part, "epoch", g.Part.Epoch, "worker", worker)
		s.changed.ring()
		return g, true, nil
	}
}

func next(ctx context.Context, q sqldb.Querier, now time.Time) (id.Part, error) {
	var (
		p    id.Part
		text string
	)
	if err := q.QueryRow(ctx, ready, sqldb.Micros(now), sqldb.Micros(now)).Scan(&text, &p.Part); err != nil {
		return p, err
	}
	var err error
	if p.Run, err = id.ParseRun(text); err != nil {
		return p, damaged("part", err)
	}
	return p, nil
}

// take leases a part under its next epoch, with a fresh account. It answers false where the part is not ready any more.
func (s *Service) take(ctx context.Context, tx *sqldb.Tx, name id.Part, worker string) (grant, bool, error) {
	r, p, err := runAndPart(ctx, tx, name)
	if err != nil || !r.Open || r.Closing != "" || r.State == run.Held || p.State != run.Waiting || !p.fenced() {
		return grant{}, false, err
	}
	now, err := tx.Now(ctx)
	if err != nil {
		return grant{}, false, err
	}
	if p.State, err = run.NextPart(p.State, run.Lease); err != nil {
		return grant{}, false, err
	}
	p.Epoch = max(p.Epoch+1, p.Fence)
	ok := false
	if p.Facts.Probe, ok, err = s.admit(ctx, tx, now, r.Connection, p); !ok || err != nil {
		return grant{}, false, err
	}
	p.Worker, p.LeaseTime, p.NotBefore, p.Progress = worker, now.Add(s.settings.Lease), time.Time{}, now
	p.Settled, p.Account, p.Issue, p.Facts.Nulls = 0, run.Account{}, issue{}, nil
	p.Facts.Reasons = nil
	if err := updatePart(ctx, tx, p); err != nil {
		return grant{}, false, err
	}
	if p.Part == 0 {
		if r.State, err = run.Next(r.State, run.PlanLeased); err != nil {
			return grant{}, false, err
		}
	}
	if r.StartTime.IsZero() {
		r.StartTime = now
	}
	if p.Part == 0 || r.StartTime.Equal(now) {
		if err := updateRun(ctx, tx, r); err != nil {
			return grant{}, false, err
		}
	}
	g := grant{Run: r, Part: p, Life: s.settings.Lease}
	if g.Retried, err = retriedBy(ctx, tx, r); err != nil {
		return grant{}, false, err
	}
	if p.Facts.Absent {
		have, err := partsOf(ctx, tx, r.ID)
		if err != nil {
			return grant{}, false, err
		}
		g.Read = readRowsOf(r, have)
	}
	y, err := getSync(ctx, tx, r.SyncUID)
	if err != nil {
		return grant{}, false, err
	}
	if g.Accepted = y.Facts.Accepted; p.Part == 0 {
		g.Base, err = baseFor(ctx, tx, r, y)
	}
	killpoint.Reach("scheduler.lease.before")
	return g, err == nil, err
}

// retriedBy answers the runs that r retries, each with the parts that r adopted of it and still holds.
func retriedBy(ctx context.Context, q sqldb.Querier, r runRow) ([]record.RetriedRun, error) {
	if len(r.recognises()) == 0 {
		return nil, nil
	}
	held, err := parts(ctx, q, "WHERE run_id = ? AND origin <> '' AND state <> 'replaced' ORDER BY part", r.ID.String())
	if err != nil {
		return nil, err
	}
	out := make([]record.RetriedRun, 0, len(r.Retried))
	for _, o := range r.Retried {
		old, err := id.ParseRun(o.Run)
		if err != nil {
			return nil, damaged("run", err)
		}
		x := record.RetriedRun{Run: old, RunNo: o.RunNo}
		for _, p := range held {
			if p.Origin == o.Run {
				x.Adopted = append(x.Adopted, p.Part)
			}
		}
		out = append(out, x)
	}
	return slices.Clip(out), nil
}

func runAndPart(ctx context.Context, q sqldb.Querier, name id.Part) (runRow, partRow, error) {
	r, err := getRun(ctx, q, name.Run)
	if err != nil {
		return runRow{}, partRow{}, err
	}
	p, err := getPart(ctx, q, name.Run, name.Part)
	return r, p, err
}

// errFenced tells a worker that what it speaks of is over.
func errFenced(name id.Part, epoch uint32) error {
	return refuse(fault.New(fault.Conflict, fault.ReasonFenced, "epoch %d of part %s is over; drop what is left of it", epoch, name))
}

// current answers the part that a report is about, or FENCED where its epoch is no longer the part's.
func current(ctx context.Context, tx *sqldb.Tx, name id.Part, epoch uint32) (openPart, error) {
	p, ok, err := found(getOpenPart(ctx, tx, name))
	switch {
	case err != nil:
		return p, err
	case !ok, !p.RunOpen, p.Epoch != epoch, epoch == 0, p.Fence > epoch, p.State == run.Replaced, p.State == run.PartFailed:
		return p, errFenced(name, epoch)
	}
	return p, nil
}

// held is current for the worker that holds the part's lease, or has completed it.
func held(ctx context.Context, tx *sqldb.Tx, name id.Part, epoch uint32) (openPart, error) {
	p, err := current(ctx, tx, name, epoch)
	if err == nil && (p.State == run.Waiting || p.RunClosing != "") {
		err = errFenced(name, epoch)
	}
	return p, err
}

// heartbeat prolongs a lease. It answers true where the worker is to stop because its run is closed or about to be.
func (s *Service) heartbeat(ctx context.Context, name id.Part, epoch uint32) (cancel bool, err error) {
	err = s.reports.do(ctx, func(ctx context.Context, tx *sqldb.Tx, now time.Time) error {
		p, ok, err := found(getOpenPart(ctx, tx, name))
		if err != nil {
			return err
		}
		if cancel = ok && (!p.RunOpen || p.RunClosing != "" || p.RunState == run.Held); cancel {
			return nil
		}
		if p, err = held(ctx, tx, name, epoch); err != nil || p.State != run.Leased {
			return err
		}
		_, err = tx.Exec(ctx, "UPDATE scheduler_parts SET lease_time = ? WHERE run_id = ? AND part = ?",
			sqldb.Micros(now.Add(s.settings.Lease)), name.Run.String(), int64(name.Part))
		return err
	})
	return cancel, err
}
