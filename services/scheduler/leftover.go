package scheduler

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/sqldb"
)

// A mirror by diff keeps its rows in the customer's warehouse, and each of its runs drops what those before have left there.
// After the last one nobody would: where a sync was deleted, or keeps its snapshots elsewhere now or none at all, what it left
// is written down, and workers drop it. It is tried a number of times, and then its owner is told what to drop.

// leftoverMost bounds the wait between two tries.
const leftoverMost = time.Hour

// How it goes with what is left over.
const (
	leftoverWaiting = "waiting"
	leftoverGivenUp = "given_up"
)

// leftForGood is the line of the log for what is given up.
const leftForGood = "the snapshots that a mirror has left in its warehouse are to be dropped by hand"

// keptAt is where the runs of a sync keep snapshots in a warehouse.
type keptAt struct {
	Workspace id.Workspace `json:"workspace"`
	SyncID    string       `json:"sync"`
	Place     string       `json:"place"`
	Version   int64        `json:"version"`        // the newest of the sync that a run kept some there by
	Seen      int64        `json:"seen,omitempty"` // the newest that was looked at and keeps them there
}

// leftover is what runs of a sync up to one left in a warehouse.
type leftover struct {
	SyncUID   string
	Version   int64
	Workspace id.Workspace
	SyncID    string
	LastRunNo int64
	State     string
	Tries     int64
	Issue     issue
	ByHand    string // what to drop by hand, and where
}

// told says what is to be done where nobody can drop it.
func (l leftover) told() string {
	return fmt.Sprintf("the snapshots that runs of sync %s kept in the warehouse for mirror_engine diff could not be dropped, and are not tried again: %s; drop by hand %s",
		l.SyncID, l.Issue.Message, cmp.Or(l.ByHand, "what the connection's state schema has of the sync with the uid "+l.SyncUID))
}

// keeps notes where r, which is about to be created, keeps its snapshots. Where that is another place than so far, what is
// in the old one is left over.
func keeps(ctx context.Context, tx *sqldb.Tx, now time.Time, y *syncRow, r runRow) error {
	place, was := r.Facts.Terms.Place, y.Facts.Kept
	switch {
	case r.Facts.ReplayOf != "": // it asks no warehouse
		return nil
	case was != nil && was.Place == place:
		was.Version = max(was.Version, r.SyncVersion)
		return nil
	}
	if err := leave(ctx, tx, now, y); err != nil {
		return err
	}
	if place != "" {
		y.Facts.Kept = &keptAt{Workspace: r.Workspace, SyncID: r.SyncID, Place: place, Version: r.SyncVersion}
	}
	return nil
}

// leave writes down what y has kept so far, to be dropped: nothing is compared with it any more.
func leave(ctx context.Context, tx *sqldb.Tx, now time.Time, y *syncRow) error {
	k := y.Facts.Kept
	if k == nil {
		return nil
	}
	y.Facts.Kept, y.Facts.Base, y.Facts.BaseFrom = nil, nil, y.LastRunNo
	_, err := tx.Exec(ctx, `INSERT INTO scheduler_leftovers (sync_uid, sync_version, workspace, sync_id, last_run_no, state, tries, not_before,
			error_reason, error_message, by_hand, create_time) VALUES (?, ?, ?, ?, ?, ?, 0, 0, '', '', '', ?)
		ON CONFLICT (sync_uid, sync_version) DO UPDATE SET last_run_no = excluded.last_run_no, state = excluded.state, tries = 0, not_before = 0,
			create_time = excluded.create_time`,
		y.UID, k.Version, string(k.Workspace), k.SyncID, y.LastRunNo, leftoverWaiting, sqldb.Micros(now))
	return err
}

// findLeft looks for syncs that are gone, or keep their snapshots elsewhere or nowhere since they were changed. `known` was
// read before `syncs` were listed, so that what is known and not listed is deleted.
func (s *Service) findLeft(ctx context.Context, known map[string]syncRow, syncs []scheduledSync) error {
	listed := make(map[string]scheduledSync, len(syncs))
	for _, y := range syncs {
		listed[y.UID] = y
	}
	var errs []error
	for uid, y := range known {
		k := y.Facts.Kept
		is, there := listed[uid]
		if k == nil || there && is.Version <= max(k.Version, k.Seen) {
			continue
		}
		place, version := "", int64(0)
		if there {
			snap, err := s.peers.snapshot(ctx, is.Workspace, uid)
			if err != nil { // deleted meanwhile, or config does not answer
				if fault.ClassOf(err) != fault.NotFound {
					errs = append(errs, err)
				}
				continue
			}
			place, version = snap.StatePlace(), snap.Version
		}
		errs = append(errs, s.keepsNow(ctx, uid, place, version))
	}
	return errors.Join(errs...)
}

// keepsNow notes where a sync keeps its snapshots at a version; 0: it is deleted.
func (s *Service) keepsNow(ctx context.Context, uid, place string, version int64) error {
	return s.db.Tx(ctx, func(tx *sqldb.Tx) error {
		y, err := getSync(ctx, tx, uid)
		k := y.Facts.Kept
		if err != nil || k == nil || version > 0 && version <= k.Version {
			return err
		}
		if k.Place == place {
			k.Seen = max(k.Seen, version)
			return putSync(ctx, tx, y)
		}
		now, err := tx.Now(ctx)
		if err != nil {
			return err
		}
		if err := leave(ctx, tx, now, &y); err != nil {
			return err
		}
		return putSync(ctx, tx, y)
	})
}

const leftoverColumns = "sync_uid, sync_version, workspace, sync_id, last_run_no, state, tries, error_reason, error_message, by_hand"

func scanLeftover(row sqldb.Row) (l leftover, err error) {
	err = row.Scan(&l.SyncUID, &l.Version, &l.Workspace, &l.SyncID, &l.LastRunNo, &l.State, &l.Tries, &l.Issue.Reason, &l.Issue.Message, &l.ByHand)
	return l, err
}

// nextLeftover answers what may be dropped now: none of the runs that kept it is open.
func nextLeftover(ctx context.Context, q sqldb.Querier, now time.Time) (leftover, bool, error) {
	return found(scanLeftover(q.QueryRow(ctx, "SELECT "+leftoverColumns+` FROM scheduler_leftovers WHERE state = ? AND not_before <= ?
		AND NOT EXISTS (SELECT 1 FROM scheduler_runs r WHERE r.sync_uid = scheduler_leftovers.sync_uid AND r.is_open = 1
			AND r.run_no <= scheduler_leftovers.last_run_no)
		ORDER BY not_before, sync_uid, sync_version LIMIT 1`, leftoverWaiting, sqldb.Micros(now))))
}

// putLeftover writes what changes of a leftover.
func putLeftover(ctx context.Context, tx *sqldb.Tx, l leftover) error {
	_, err := tx.Exec(ctx, "UPDATE scheduler_leftovers SET state = ?, tries = ?, error_reason = ?, error_message = ?, by_hand = ? WHERE sync_uid = ? AND sync_version = ?",
		l.State, l.Tries, l.Issue.Reason, l.Issue.Message, l.ByHand, l.SyncUID, l.Version)
	return err
}

// leaseLeftover gives a worker what is to be dropped, if there is anything. It counts as a try, whatever becomes of it; the
// next one is later, so that a worker that dies costs a try and no more.
func (s *Service) leaseLeftover(ctx context.Context) (leftover, bool, error) {
	for {
		now, err := s.db.Now(ctx)
		if err != nil {
			return leftover{}, false, err
		}
		if _, ok, err := nextLeftover(ctx, s.db, now); !ok || err != nil {
			return leftover{}, false, err
		}
		var l leftover
		ok, over := false, false
		err = s.db.Tx(ctx, func(tx *sqldb.Tx) error {
			var err error
			over = false
			if l, ok, err = nextLeftover(ctx, tx, now); !ok || err != nil {
				return err
			}
			if over = l.Tries >= int64(s.settings.LeftoverTries); over {
				l.Issue = issue{Reason: fault.ReasonInternal.Word(), Message: "no worker has told how the last try ended"}
				return giveUpLeftover(ctx, tx, &l)
			}
			l.Tries++
			if err := putLeftover(ctx, tx, l); err != nil {
				return err
			}
			_, err = tx.Exec(ctx, "UPDATE scheduler_leftovers SET not_before = ? WHERE sync_uid = ? AND sync_version = ?",
				sqldb.Micros(now.Add(s.leftoverWait(l.Tries))), l.SyncUID, l.Version)
			return err
		})
		if err != nil || !over {
			return l, ok && err == nil, err
		}
		s.log.ErrorContext(ctx, leftForGood, "sync", l.SyncID, "workspace", string(l.Workspace), "what", l.told())
	}
}

// leftoverWait answers how long after a try the next one is.
func (s *Service) leftoverWait(tries int64) time.Duration {
	wait := 15 * s.settings.RetryBackoff
	for range tries - 1 {
		if wait *= 2; wait >= leftoverMost {
			return leftoverMost
		}
	}
	return min(wait, leftoverMost)
}

// reportLeftover notes how a try ended. Told again, or of a try that another has followed, it changes nothing.
func (s *Service) reportLeftover(ctx context.Context, uid string, version, try int64, why issue, byHand string) error {
	var l leftover
	current := false
	err := s.db.Tx(ctx, func(tx *sqldb.Tx) error {
		var err error
		l, current, err = found(scanLeftover(tx.QueryRow(ctx, "SELECT "+leftoverColumns+" FROM scheduler_leftovers WHERE sync_uid = ? AND sync_version = ?", uid, version)))
		if current = current && l.State == leftoverWaiting && l.Tries == try; !current || err != nil {
			return err
		}
		if l.Issue, l.ByHand = why, byHand; why == (issue{}) {
			_, err := tx.Exec(ctx, "DELETE FROM scheduler_leftovers WHERE sync_uid = ? AND sync_version = ?", uid, version)
			return err
		}
		if l.Tries >= int64(s.settings.LeftoverTries) {
			return giveUpLeftover(ctx, tx, &l)
		}
		return putLeftover(ctx, tx, l)
	})
	if err != nil || !current {
		return err
	}
	log := s.log.With("sync", l.SyncID, "workspace", string(l.Workspace), "try", l.Tries)
	switch {
	case why == (issue{}):
		log.InfoContext(ctx, "the snapshots that a mirror has left in its warehouse are dropped")
	case l.State == leftoverGivenUp:
		log.ErrorContext(ctx, leftForGood, "what", l.told())
	default:
		log.WarnContext(ctx, "the snapshots that a mirror has left in its warehouse could not be dropped; it is tried again", "reason", why.Reason, "error", why.Message)
	}
	return nil
}

// giveUpLeftover ends the tries, and has the last run that left something say so.
func giveUpLeftover(ctx context.Context, tx *sqldb.Tx, l *leftover) error {
	l.State = leftoverGivenUp
	if err := putLeftover(ctx, tx, *l); err != nil {
		return err
	}
	last, err := runs(ctx, tx, "WHERE sync_uid = ? AND run_no = ?", l.SyncUID, l.LastRunNo)
	if err != nil {
		return err
	}
	for _, r := range last {
		r.Facts.Notices = append(r.Facts.Notices, l.told())
		if err := updateRun(ctx, tx, r); err != nil {
			return err
		}
	}
	return nil
}

// countLeftovers shows how much is left over.
func (k *keeper) countLeftovers(ctx context.Context) error {
	n := map[string]int64{leftoverWaiting: 0, leftoverGivenUp: 0}
	err := k.db.Query(ctx, func(row sqldb.Row) error {
		var state string
		var count int64
		err := row.Scan(&state, &count)
		n[state] = count
		return err
	}, "SELECT state, COUNT(*) FROM scheduler_leftovers GROUP BY state")
	if err != nil {
		return err
	}
	for state, count := range n {
		k.metrics.leftovers.WithLabelValues(state).Set(float64(count))
	}
	return nil
}
