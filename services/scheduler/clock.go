package scheduler

import (
	"context"
	"time"

	"millrace.dev/pkg/sqldb"
)

const (
	// stepAtLeast is how far the database's clock must jump to be said to have: less is measured by leases as it is.
	stepAtLeast = time.Second
	// farAhead is how far behind what it has stamped the database's clock must be for the stamp to count as wrong. Up to
	// that a tick that was taken stays taken, so that none comes twice.
	farAhead = 24 * time.Hour
)

// clock compares the database's clock, by which instants are stored, with the process's own, which only runs on. Used by
// one goroutine.
type clock struct {
	now     func(ctx context.Context) (time.Time, error)
	db, own time.Time     // of the last look
	began   time.Time     // the database's clock at the first look
	ran     time.Duration // since then
}

// reading is one look at the database's clock.
type reading struct {
	now   time.Time
	first bool          // of this process
	step  time.Duration // by how much the clock has jumped since the last look; 0: it has not
	// steady is what the clock would say if it had not jumped since the process's first look.
	steady time.Time
}

func (c *clock) look(ctx context.Context) (reading, error) {
	before := time.Now()
	now, err := c.now(ctx)
	if err != nil {
		return reading{}, err
	}
	own := time.Now()
	r := reading{now: now, first: c.own.IsZero(), steady: now}
	if r.first {
		c.began = now
	} else {
		ran := own.Sub(c.own)
		c.ran += ran
		r.steady = c.began.Add(c.ran)
		if step := now.Sub(c.db) - ran; step.Abs() > stepAtLeast+own.Sub(before) {
			r.step = step
		}
	}
	c.db, c.own = now, own
	return r, nil
}

// follow mends what a jump of the clock has put wrong, in this round or in the next that can.
func (k *keeper) follow(ctx context.Context, r reading) error {
	r.first = r.first || k.unmended.first
	r.step += k.unmended.step
	k.unmended = r
	if err := k.mend(ctx, r); err != nil {
		return err
	}
	k.unmended = reading{}
	return nil
}

// mend makes stored instants fit the database's clock again after it has jumped: no lease ends before its worker has
// been silent for as long as one lasts, and nobody waits for an instant of the old clock. It may run more than once, and
// in several processes.
func (k *keeper) mend(ctx context.Context, r reading) error {
	if r.step == 0 && !r.first {
		return nil
	}
	if r.step != 0 {
		k.log.WarnContext(ctx, "the control database's clock has jumped; leases begin anew", "by", r.step.Round(time.Millisecond))
		k.flow.forget()
	}
	now, ends := sqldb.Micros(r.now), sqldb.Micros(r.now.Add(k.settings.Lease))
	past := now // leases that end before are those of the old clock
	if r.step <= 0 {
		past = 0
	}
	return k.db.Tx(ctx, func(tx *sqldb.Tx) error {
		for _, s := range []struct {
			text string
			args []any
		}{
			{"UPDATE scheduler_parts SET lease_time = ? WHERE state = 'leased' AND (lease_time < ? OR lease_time > ?) AND " + ofOpenRuns, []any{ends, past, ends}},
			{"UPDATE scheduler_parts SET progress_time = ? WHERE (progress_time < ? OR progress_time > ?) AND " + ofOpenRuns, []any{now, past, now}},
			{"UPDATE scheduler_parts SET not_before = not_before + ? WHERE not_before > ? AND " + ofOpenRuns, []any{min(r.step, 0).Microseconds(), now}},
			{"UPDATE scheduler_breakers SET until = until + ? WHERE until > ?", []any{min(r.step, 0).Microseconds(), now}},
			{"UPDATE scheduler_syncs SET tick_time = ? WHERE tick_time > ?", []any{now, sqldb.Micros(r.now.Add(farAhead))}},
			{"UPDATE scheduler_syncs SET run_time = ? WHERE run_time > ?", []any{now, sqldb.Micros(r.now.Add(farAhead))}},
			{"UPDATE scheduler_syncs SET success_time = ? WHERE success_time > ?", []any{now, sqldb.Micros(r.now.Add(farAhead))}},
		} {
			if _, err := tx.Exec(ctx, s.text, s.args...); err != nil {
				return err
			}
		}
		return nil
	})
}

const ofOpenRuns = "run_id IN (SELECT id FROM scheduler_runs WHERE is_open = 1)"

// believable answers t, or the zero time where t is so far ahead of the clock that a wrong clock must have stamped it.
func believable(t, now time.Time) time.Time {
	if t.After(now.Add(farAhead)) {
		return time.Time{}
	}
	return t
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
