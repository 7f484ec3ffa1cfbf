package scheduler

import (
	"context"
	"errors"
	"fmt"
	"time"

	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/sqldb"
	"millrace.dev/services/scheduler/alerts"
)

// dataOf answers the instant that the age of a sync's data counts from: the plan of its last run of the live lane that is
// done, and its activation at the earliest.
func dataOf(y scheduledSync, own syncRow, now time.Time) time.Time {
	return latest(believable(own.Facts.Fresh, now), believable(y.ActiveSince, now))
}

// late says whether a sync's data is older than its goal. One that is not active is not judged.
func late(y scheduledSync, own syncRow, now time.Time) bool {
	since := dataOf(y, own, now)
	return y.State == resource.Active && y.Freshness > 0 && !since.IsZero() && now.Sub(since) > y.Freshness
}

// watcher sees at each tick what changes of syncs without a run: that their data gets too old, and that their owner has
// acted on a fault. Used by one goroutine.
type watcher struct {
	// healed are syncs that config called healthy at the last tick although a run has faulted them, and since when they are.
	healed map[string]time.Time
}

// watchSyncs keeps what has changed of syncs since the last tick.
func (s *Service) watchSyncs(ctx context.Context, syncs []scheduledSync, known map[string]syncRow, now time.Time) error {
	var errs []error
	seen := map[string]time.Time{}
	for _, y := range syncs {
		own := known[y.UID]
		if _, was := own.Facts.Conditions[resource.AlertLate]; was != late(y, own, now) {
			errs = append(errs, s.tellLate(ctx, y, now))
		}
		since, faulted := own.Facts.Conditions[resource.AlertFaulted]
		if !faulted || y.Status != resource.Healthy {
			continue
		}
		told, err := s.isTold(ctx, y.UID)
		if err != nil || !told {
			errs = append(errs, err)
			continue
		}
		// What config says may be older than the fault. At the next tick it is not: by now config has been told of it.
		if at, ok := s.watcher.healed[y.UID]; ok && at.Equal(since) {
			errs = append(errs, s.tellHealed(ctx, y, since, now))
			continue
		}
		seen[y.UID] = since
	}
	s.watcher.healed = seen
	return errors.Join(errs...)
}

// isTold says whether config knows of everything that runs have made of a sync's status.
func (s *Service) isTold(ctx context.Context, uid string) (bool, error) {
	var n int64
	err := s.db.QueryRow(ctx, "SELECT COUNT(*) FROM scheduler_statuses WHERE sync_uid = ?", uid).Scan(&n)
	return n == 0, err
}

// tellLate keeps that a sync is late, or is so no more.
func (s *Service) tellLate(ctx context.Context, y scheduledSync, now time.Time) error {
	return s.tell(ctx, y, now, func(own syncRow, last runRow) (conditions, alerts.Cause) {
		was, is := own.Facts.Conditions, late(y, own, now)
		if !is {
			return was.without(resource.AlertLate), onTime(y, own)
		}
		age := now.Sub(dataOf(y, own, now)).Round(time.Second)
		why := alerts.Cause{Message: fmt.Sprintf("the newest data is %s old, and the goal is %s", age, resource.FormatDuration(y.Freshness))}
		if own.Facts.Fresh.IsZero() {
			why.Message = fmt.Sprintf("no data has come in for %s, and the goal is %s", age, resource.FormatDuration(y.Freshness))
		}
		if last.Issue.Reason != "" {
			why.Reason = last.Issue.Reason
			why.Message += fmt.Sprintf("; run %d: %s", last.RunNo, last.Issue.Message)
		}
		why.NextStep = fmt.Sprintf("look at its runs: millrace runs list %s", y.ID)
		return was.with(resource.AlertLate, now), why
	})
}

// onTime says why a sync is late no more.
func onTime(y scheduledSync, own syncRow) alerts.Cause {
	switch {
	case y.State != resource.Active:
		return alerts.Cause{Message: fmt.Sprintf("the sync is %s, and the age of its data is not judged any more", y.State)}
	case y.Freshness == 0:
		return alerts.Cause{Message: "the sync has no goal any more"}
	}
	return alerts.Cause{Message: "the data is of " + own.Facts.Fresh.UTC().Format(time.RFC3339)}
}

// tellHealed keeps that the owner of a faulted sync has acted. A fault that came meanwhile stays.
func (s *Service) tellHealed(ctx context.Context, y scheduledSync, since, now time.Time) error {
	return s.tell(ctx, y, now, func(own syncRow, _ runRow) (conditions, alerts.Cause) {
		was := own.Facts.Conditions
		if !was[resource.AlertFaulted].Equal(since) {
			return was, alerts.Cause{}
		}
		return was.without(resource.AlertFaulted), alerts.Cause{Message: "the sync was made healthy by its owner"}
	})
}

// tell keeps what f makes of what is wrong with a sync, and of its last run.
func (s *Service) tell(ctx context.Context, y scheduledSync, now time.Time, f func(own syncRow, last runRow) (conditions, alerts.Cause)) error {
	err := s.db.Tx(ctx, func(tx *sqldb.Tx) error {
		own, err := getSync(ctx, tx, y.UID)
		if err != nil {
			return err
		}
		found, err := runs(ctx, tx, "WHERE sync_uid = ? ORDER BY run_no DESC LIMIT 1", y.UID)
		if err != nil {
			return err
		}
		c := alerts.Change{Workspace: string(y.Workspace), Sync: y.ID, Time: now}
		var last runRow
		if len(found) > 0 {
			last = found[0]
			c.Run = changeBy(last, now, alerts.Cause{}).Run
		}
		after, why := f(own, last)
		c.Cause = why
		return shifted(ctx, tx, own, shift{own.Facts.Conditions, after, after}, c)
	})
	s.alerting.ring()
	return err
}
