package scheduler

import (
	"context"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"millrace.dev/pkg/bus"
	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/killpoint"
	"millrace.dev/pkg/profile"
	"millrace.dev/pkg/run"
	"millrace.dev/pkg/sqldb"
)

const (
	fenceTimeout = 5 * time.Second
	maxFences    = 8   // under way at once
	fenceRound   = 256 // in one round
	statsTimeout = 5 * time.Second
	pruneEvery   = 10 * time.Minute
)

// streams is what the keeper asks of the broker: whether messages are under way.
type streams interface {
	Stats(ctx context.Context, s bus.Stream) (bus.Stats, error)
}

// keeper keeps open runs going: it takes lost leases back, fences what is to be leased again or closed, closes runs,
// finds lost batches and tells config of sync statuses. It is used by one goroutine.
type keeper struct {
	*Service
	flow     flow
	pruned   time.Time       // by the steady clock
	troubled map[string]bool // steps that failed in the last round, so that an outage is told once
	clock    clock
	unmended reading // a jump of the clock that stored instants do not fit yet
}

func newKeeper(s *Service) *keeper {
	return &keeper{Service: s, troubled: map[string]bool{}, clock: clock{now: func(ctx context.Context) (time.Time, error) { return s.db.Now(ctx) }}}
}

// round does once what there is to do. What fails is tried in the next round.
func (k *keeper) round(ctx context.Context) {
	at, err := k.clock.look(ctx)
	if k.failed(ctx, "read the database's clock", err) {
		return
	}
	now := at.now
	if k.failed(ctx, "follow the database's clock", k.follow(ctx, at)) {
		return
	}
	k.failed(ctx, "take lost leases back", k.reap(ctx, now))
	k.failed(ctx, "find lost batches", k.findLost(ctx, now))
	for {
		more, err := k.fenceAll(ctx)
		k.failed(ctx, "fence parts", err)
		closed, cerr := k.closeAll(ctx)
		k.failed(ctx, "close runs", cerr)
		if err != nil || cerr != nil || (!more && closed == 0) {
			break
		}
	}
	k.failed(ctx, "count open breakers", k.countBreakers(ctx))
	k.failed(ctx, "count what mirrors have left", k.countLeftovers(ctx))
	k.failed(ctx, "tell config of sync statuses", k.tellStatuses(ctx))
	k.failed(ctx, "forget old batches", k.prune(ctx, earlier(now, at.steady)))
}

// failed tells of an outage once, and of its end.
func (k *keeper) failed(ctx context.Context, doing string, err error) bool {
	if ctx.Err() != nil {
		return err != nil
	}
	switch was := k.troubled[doing]; {
	case err != nil && !was:
		k.log.WarnContext(ctx, "a step fails; it is tried again", "step", doing, "error", err)
	case err == nil && was:
		k.log.InfoContext(ctx, "a step works again", "step", doing)
	}
	k.troubled[doing] = err != nil
	return err != nil
}

// reap takes leases back whose worker has been silent for too long.
func (k *keeper) reap(ctx context.Context, now time.Time) error {
	lost, err := parts(ctx, k.db, "WHERE state = 'leased' AND lease_time < ? AND run_id IN (SELECT id FROM scheduler_runs WHERE is_open = 1) LIMIT 1000",
		sqldb.Micros(now))
	if err != nil || len(lost) == 0 {
		return err
	}
	for _, l := range lost {
		gone := false
		err := k.reports.do(ctx, func(ctx context.Context, tx *sqldb.Tx, _ time.Time) error {
			gone = false
			p, err := getPart(ctx, tx, l.Run, l.Part)
			if err != nil || p.State != run.Leased || !p.LeaseTime.Before(now) {
				return err
			}
			if p.State, err = run.NextPart(p.State, run.LeaseLost); err != nil {
				return err
			}
			gone = true
			err = updatePart(ctx, tx, p)
			killpoint.Reach("scheduler.reap.before")
			return err
		})
		if err != nil {
			return err
		}
		if gone {
			killpoint.Reach("scheduler.reap.after")
			k.metrics.lost.WithLabelValues("lease").Inc()
			k.log.WarnContext(ctx, "lease lost", "run", l.Run.String(), "part", l.Part, "epoch", l.Epoch, "worker", l.Worker)
		}
	}
	k.changed.ring()
	return nil
}

// unfenced chooses the parts whose last lease may still have an effect and must not: those to be leased again, those of
// a plan that was replaced, and those of a run that is about to be closed. Part 0 publishes nothing, so that a run can be
// closed without its fence.
const unfenced = `WHERE epoch > 0 AND fence <= epoch AND run_id IN (SELECT id FROM scheduler_runs WHERE is_open = 1) AND (
	state IN ('waiting', 'replaced') OR (part > 0 AND run_id IN (SELECT r.id FROM scheduler_runs r WHERE r.is_open = 1 AND (r.closing <> ''
		OR (r.state = 'running' AND NOT EXISTS (SELECT 1 FROM scheduler_parts o
			WHERE o.run_id = r.id AND o.state NOT IN ('complete', 'replaced')))))))`

// fenceAll fences what is to be fenced. It answers whether something was.
func (k *keeper) fenceAll(ctx context.Context) (bool, error) {
	open, err := parts(ctx, k.db, unfenced+" ORDER BY run_id, part LIMIT ?", fenceRound)
	if err != nil || len(open) == 0 {
		return false, err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var g errgroup.Group
	g.SetLimit(maxFences)
	for _, p := range open {
		g.Go(func() error {
			err := k.fence(ctx, p)
			killpoint.Reach("scheduler.fence.after")
			if fault.ClassOf(err) == fault.Unavailable {
				stop() // nobody answers: do not ask for every part
			}
			return err
		})
	}
	err = g.Wait()
	k.work.ring()
	k.changed.ring()
	return true, err
}

// fence asks ingestion to let nothing of p's last lease have an effect any more, and folds what has had one into the
// account. That may complete the part. It also shows where one of the two databases was restored from an older copy: what
// a complete part has lost is read again, and epochs that this database does not know of are not used again.
func (k *keeper) fence(ctx context.Context, p partRow) error {
	killpoint.Reach("scheduler.fence.before")
	above := p.Epoch + 1
	applied, err := k.fenceAt(ctx, p, above)
	if newest := newestOf(applied); err == nil && newest >= above {
		above = newest + 1
		applied, err = k.fenceAt(ctx, p, above)
	}
	if err != nil {
		return err
	}
	killpoint.Reach("scheduler.fence.answered")
	k.metrics.fences.Inc()
	gone := false
	err = k.reports.do(ctx, func(ctx context.Context, tx *sqldb.Tx, now time.Time) error {
		gone = false
		r, have, err := runAndPart(ctx, tx, id.Part{Run: p.Run, Part: p.Part})
		if err != nil || have.Epoch != p.Epoch || have.Fence > p.Epoch {
			return err
		}
		switch {
		case r.Facts.Dry, have.Facts.Rehearsal: // nothing of it is in the store
		case have.State != run.Complete:
			err = k.foldAll(ctx, tx, now, &have, applied)
		case have.Part > 0 && rowsOf(applied, have.Epoch) != have.Account.Ingested:
			gone = true
			have.ReadEpoch, have.Issue = 0, issue{
				Reason:  fault.ReasonStoreUnavailable.Word(),
				Message: fmt.Sprintf("the store no longer has what it reported of part %d; it was restored from an older copy, and the part is read again", have.Part),
			}
			have.State, err = run.NextPart(have.State, run.BatchesLost)
		}
		if err != nil {
			return err
		}
		have.Fence = above
		return k.judge(ctx, tx, now, &have)
	})
	if err == nil && gone {
		k.metrics.lost.WithLabelValues("store").Inc()
		k.log.ErrorContext(ctx, "the store has lost rows that it had reported; the part is read again", "run", p.Run.String(), "part", p.Part, "epoch", p.Epoch)
	}
	return err
}

// fenceAt raises the fence of a part and answers what is applied of it.
func (k *keeper) fenceAt(ctx context.Context, p partRow, epoch uint32) ([]profile.Result, error) {
	call, cancel := context.WithTimeout(ctx, fenceTimeout)
	defer cancel()
	applied, err := k.peers.fence(call, id.Part{Run: p.Run, Part: p.Part}, epoch)
	if err != nil {
		return nil, fmt.Errorf("part %d of run %s: %w", p.Part, p.Run, err)
	}
	return applied, nil
}

// newestOf answers the highest epoch of what is applied.
func newestOf(applied []profile.Result) uint32 {
	newest := uint32(0)
	for _, a := range applied {
		newest = max(newest, a.Batch.Epoch)
	}
	return newest
}

// rowsOf answers how many rows of an epoch are applied.
func rowsOf(applied []profile.Result, epoch uint32) int64 {
	n := int64(0)
	for _, a := range applied {
		if a.Batch.Epoch == epoch {
			n += a.Rows
		}
	}
	return n
}

// foldAll adds what a fence found to the account of the part's epoch.
func (k *keeper) foldAll(ctx context.Context, tx *sqldb.Tx, now time.Time, p *partRow, applied []profile.Result) error {
	for _, a := range applied {
		if a.Batch.Epoch != p.Epoch {
			continue
		}
		if _, err := k.fold(ctx, tx, now, p, a); err != nil {
			return err
		}
	}
	return nil
}

// closable chooses the runs that are to be closed and whose parts are all fenced.
const closable = `WHERE is_open = 1 AND (closing <> '' OR (state = 'running' AND NOT EXISTS (SELECT 1 FROM scheduler_parts o
		WHERE o.run_id = scheduler_runs.id AND o.state NOT IN ('complete', 'replaced'))))
	AND NOT EXISTS (SELECT 1 FROM scheduler_parts f WHERE f.run_id = scheduler_runs.id AND f.part > 0 AND f.epoch > 0 AND f.fence <= f.epoch)
	ORDER BY id LIMIT 100`

// closeAll closes the runs that can be. It answers how many were.
func (k *keeper) closeAll(ctx context.Context) (int, error) {
	ready, err := runs(ctx, k.db, closable)
	if err != nil {
		return 0, err
	}
	n := 0
	for _, r := range ready {
		done := false
		err := k.db.Tx(ctx, func(tx *sqldb.Tx) error {
			var err error
			r, done, err = k.close(ctx, tx, r.ID)
			return err
		})
		if err != nil {
			return n, fmt.Errorf("run %s: %w", r.ID, err)
		}
		k.work.ring() // where it goes on with other parts
		if done {
			killpoint.Reach("scheduler.close.after")
			n++
			k.closed(ctx, r)
		}
	}
	return n, nil
}

// close closes a run in one step: state, counts, certificate and, where it is done in the live lane, the checkpoint.
func (k *keeper) close(ctx context.Context, tx *sqldb.Tx, runID id.Run) (runRow, bool, error) {
	ready, err := runs(ctx, tx, "WHERE id = ? AND id IN (SELECT id FROM scheduler_runs "+closable+")", runID.String())
	if err != nil || len(ready) == 0 {
		return runRow{ID: runID}, false, err
	}
	r := ready[0]
	have, err := partsOf(ctx, tx, r.ID)
	if err != nil {
		return r, false, err
	}
	now, err := tx.Now(ctx)
	if err != nil {
		return r, false, err
	}
	ripe := true
	switch {
	case r.Closing != "":
	case r.Facts.DryRun:
		r, ripe, err = k.ends(ctx, tx, now, r, have)
	default:
		ripe, err = k.atEnd(ctx, tx, now, r, have)
	}
	if err != nil || !ripe {
		return r, false, err
	}
	r.Totals = total(r, have)
	switch {
	case r.Facts.DryRun:
		r.Facts.Reasons = reasonsOf(have)
	case r.Facts.Dry:
		r.Totals.Account = run.Account{} // nothing was written
	}
	event := map[run.State]run.Event{run.Failed: run.GivenUp, run.Cancelled: run.CancelAsked}[r.Closing]
	if r.Closing == "" {
		if gaps := append(r.Totals.Gaps(), r.Totals.Source.Gaps(r.Totals.Counts.Read)...); len(gaps) > 0 {
			event, r.Issue = run.GivenUp, issue{Reason: fault.ReasonAccountUnbalanced.Word(), Message: "the run does not balance: " + strings.Join(gaps, "; ")}
		} else if event = r.Totals.Outcome(); r.Facts.DryRun {
			event = run.TriedOut
		}
	}
	if r.State, err = run.Next(r.State, event); err != nil {
		return r, false, err
	}
	r.Open, r.EndTime = false, now
	if err := updateRun(ctx, tx, r); err != nil {
		return r, false, err
	}
	if _, err := tx.Exec(ctx, "UPDATE scheduler_parts SET state = 'failed' WHERE run_id = ? AND state IN ('waiting', 'leased', 'extracted')", r.ID.String()); err != nil {
		return r, false, err
	}
	if err := k.settleSync(ctx, tx, r); err != nil {
		return r, false, err
	}
	if err := settleBase(ctx, tx, r, have); err != nil {
		return r, false, err
	}
	killpoint.Reach("scheduler.close.before")
	return r, true, nil
}

// settleSync writes what a closed run means for its sync: checkpoint, status, and what alerts tell. A dry run means nothing.
func (k *keeper) settleSync(ctx context.Context, tx *sqldb.Tx, r runRow) error {
	if r.Facts.DryRun {
		return nil
	}
	if r.State.Done() && r.Lane == live {
		y, err := getSync(ctx, tx, r.SyncUID)
		if err != nil {
			return err
		}
		y.SuccessTime, y.Facts.Keys = r.EndTime, r.Facts.Plan.Keys
		if r.Facts.ReplayOf == "" { // which asks no warehouse
			y.Facts.Fresh = r.PlanTime
		}
		if r.Plan.Watermark != "" {
			y.Checkpoint = r.Plan.Watermark
		}
		if err := putSync(ctx, tx, y); err != nil {
			return err
		}
	}
	if err := countIndex(ctx, tx, r); err != nil {
		return err
	}
	if err := tellClosed(ctx, tx, r); err != nil {
		return err
	}
	if st, ok := statusAfter(r); ok {
		return putStatus(ctx, tx, st)
	}
	return nil
}

// countIndex adds what a closed run did to how many rows of its sync are known.
func countIndex(ctx context.Context, tx *sqldb.Tx, r runRow) error {
	n := r.Totals.Counts.Created - r.Totals.Counts.Deleted
	if len(r.Retried) > 0 {
		old, err := id.ParseRun(r.Retried[0].Run)
		if err != nil {
			return damaged("run", err)
		}
		before, err := getRun(ctx, tx, old)
		if err != nil {
			return err
		}
		n -= before.Totals.Counts.Created - before.Totals.Counts.Deleted
	}
	if n == 0 {
		return nil
	}
	y, err := getSync(ctx, tx, r.SyncUID)
	if err != nil {
		return err
	}
	y.Facts.IndexRows = max(0, y.Facts.IndexRows+n)
	return putSync(ctx, tx, y)
}

// closed tells of a run's end.
func (k *keeper) closed(ctx context.Context, r runRow) {
	k.metrics.closed.WithLabelValues(string(r.State)).Inc()
	k.metrics.duration.Observe(r.EndTime.Sub(r.CreateTime).Seconds())
	k.spans.close(ctx, r)
	k.log.InfoContext(ctx, "run closed", "run", r.ID.String(), "run_no", r.RunNo, "sync", r.SyncID, "state", string(r.State),
		"rows", r.Totals.Rows, "batches", r.Totals.Batches, "reason", r.Issue.Reason)
	k.changed.ring()
	k.alerting.ring()
}

// prune forgets the batches of runs that were created long ago. Run ids order by their time of creation.
func (k *keeper) prune(ctx context.Context, now time.Time) error {
	if now.Sub(k.pruned) < pruneEvery {
		return nil
	}
	k.pruned = now
	old := now.Add(-k.settings.KeepBatches)
	if _, err := k.db.Exec(ctx, "DELETE FROM scheduler_leftovers WHERE state = ? AND create_time < ?", leftoverGivenUp, sqldb.Micros(old)); err != nil {
		return err
	}
	for _, table := range []string{"scheduler_batches", "scheduler_costs"} {
		_, err := k.db.Exec(ctx, "DELETE FROM "+table+" WHERE run_id < ? AND run_id NOT IN (SELECT id FROM scheduler_runs WHERE is_open = 1)", firstRunAt(old))
		if err != nil {
			return err
		}
	}
	return nil
}

// firstRunAt answers the text that orders before the ids of all runs created at t or later: a UUIDv7 begins with
// milliseconds.
func firstRunAt(t time.Time) string {
	ms := fmt.Sprintf("%012x", max(t.UnixMilli(), 0))
	return ms[:8] + "-" + ms[8:]
}
