package scheduler

import (
	"context"
	"fmt"
	"time"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/run"
	"millrace.dev/pkg/sqldb"
)

// breakerRow is a warehouse's breaker with the lease that probes it.
type breakerRow struct {
	run.Breaker
	ProbeRun   string
	ProbePart  uint32
	ProbeEpoch uint32
}

// getBreaker answers the breaker of a connection, a closed one where nothing is known against it.
func getBreaker(ctx context.Context, q sqldb.Querier, connection string) (breakerRow, error) {
	var (
		b     breakerRow
		until int64
	)
	_, _, err := found(connection, q.QueryRow(ctx, `SELECT state, failures, openings, until, probe_run, probe_part, probe_epoch
		FROM scheduler_breakers WHERE connection = ?`, connection).
		Scan(&b.State, &b.Failures, &b.Openings, &until, &b.ProbeRun, &b.ProbePart, &b.ProbeEpoch))
	b.Until = sqldb.Time(until)
	return b, err
}

func putBreaker(ctx context.Context, q sqldb.Querier, connection string, b breakerRow) error {
	if b.IsZero() {
		_, err := q.Exec(ctx, "DELETE FROM scheduler_breakers WHERE connection = ?", connection)
		return err
	}
	_, err := q.Exec(ctx, `INSERT INTO scheduler_breakers (connection, state, failures, openings, until, probe_run, probe_part, probe_epoch)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (connection) DO UPDATE SET state = excluded.state, failures = excluded.failures,
		openings = excluded.openings, until = excluded.until, probe_run = excluded.probe_run, probe_part = excluded.probe_part,
		probe_epoch = excluded.probe_epoch`,
		connection, string(b.State), b.Failures, b.Openings, sqldb.Micros(b.Until), b.ProbeRun, int64(b.ProbePart), int64(b.ProbeEpoch))
	return err
}

// breakerEvent moves the breaker of a connection. Of an unknown connection there is none.
func (s *Service) breakerEvent(ctx context.Context, tx *sqldb.Tx, now time.Time, connection string, e run.BreakerEvent) error {
	if connection == "" {
		return nil
	}
	was, err := getBreaker(ctx, tx, connection)
	if err != nil {
		return err
	}
	is := was
	if is.Breaker = was.Next(e, now, s.settings.breaker()); is == was {
		return nil
	}
	if is.State != run.BreakerHalfOpen {
		is.ProbeRun, is.ProbePart, is.ProbeEpoch = "", 0, 0
	}
	return putBreaker(ctx, tx, connection, is)
}

// admit says whether a part may be leased under its new epoch, and whether it is the probe of its warehouse then.
func (s *Service) admit(ctx context.Context, tx *sqldb.Tx, now time.Time, connection string, p partRow) (probe, ok bool, err error) {
	if connection == "" {
		return false, true, nil
	}
	b, err := getBreaker(ctx, tx, connection)
	switch {
	case err != nil:
		return false, false, err
	case !b.IsOpen():
		return false, true, nil
	case b.Until.After(now):
		return false, false, nil
	}
	probes, err := parts(ctx, tx, "WHERE run_id = ? AND part = ? AND epoch = ? AND state = 'leased'", b.ProbeRun, int64(b.ProbePart), int64(b.ProbeEpoch))
	if err != nil || len(probes) > 0 {
		return false, false, err
	}
	b.Breaker = b.Next(run.ProbeLeased, now, s.settings.breaker())
	b.ProbeRun, b.ProbePart, b.ProbeEpoch = p.Run.String(), p.Part, p.Epoch
	return true, true, putBreaker(ctx, tx, connection, b)
}

// probed tells the breaker that rows of a probe have come.
func (s *Service) probed(ctx context.Context, tx *sqldb.Tx, now time.Time, p *partRow) error {
	if !p.Facts.Probe {
		return nil
	}
	p.Facts.Probe = false
	r, err := getRun(ctx, tx, p.Run)
	if err != nil {
		return err
	}
	return s.breakerEvent(ctx, tx, now, r.Connection, run.Answered)
}

// heard tells the breaker what the end of an attempt says of the warehouse.
func (s *Service) heard(ctx context.Context, tx *sqldb.Tx, now time.Time, p *partRow, c completed) error {
	e, ok := said(*p, c)
	p.Facts.Probe = false
	if !ok {
		return nil
	}
	r, err := getRun(ctx, tx, p.Run)
	if err != nil {
		return err
	}
	return s.breakerEvent(ctx, tx, now, r.Connection, e)
}

// said answers what the end of an attempt says of the warehouse, false where it says nothing.
func said(p partRow, c completed) (run.BreakerEvent, bool) {
	switch {
	case c.Failure == unreachable && p.Facts.Probe:
		return run.ProbeUnreached, true
	case c.Failure == unreachable:
		return run.Unreached, true
	case c.Failure == throttled:
		return run.Answered, true
	case c.Released:
		return "", false
	case c.Issue.Reason != "":
		return run.Answered, answers(fault.ParseReason(c.Issue.Reason))
	}
	return run.Answered, p.Part > 0 // a plan is told by itself
}

// answers says whether only a warehouse that answers can be the cause of a failure.
func answers(r fault.Reason) bool {
	switch r {
	case fault.ReasonWarehouseDenied, fault.ReasonWarehouseThrottled, fault.ReasonQueryInvalid, fault.ReasonIteratorInvalid,
		fault.ReasonKeyInvalid, fault.ReasonMappingInvalid, fault.ReasonSourceChanged, fault.ReasonFileNotFound,
		fault.ReasonQueryInterrupted:
		return true
	}
	return false
}

// letAlone says what a run waits for whose warehouse is let alone because it does not answer; empty: for nothing of the
// kind.
func letAlone(ctx context.Context, q sqldb.Querier, r runRow) (string, error) {
	if !r.Open || r.Connection == "" {
		return "", nil
	}
	b, err := getBreaker(ctx, q, r.Connection)
	switch {
	case err != nil || !b.IsOpen():
		return "", err
	case b.State == run.BreakerHalfOpen:
		return fmt.Sprintf("the warehouse of connection %s did not answer; part %d of run %s probes it, and the others wait for that",
			r.Connection, b.ProbePart, b.ProbeRun), nil
	}
	return fmt.Sprintf("the warehouse of connection %s does not answer; it is let alone until %s, then one part probes it; test the connection, or start a run by hand to probe it at once",
		r.Connection, b.Until.UTC().Format(time.RFC3339)), nil
}

// maxWaits bounds what a run is said to wait for.
const maxWaits = 5

// waitsFor says what an open run waits for at its warehouse: that it answers, or that it takes more.
func waitsFor(ctx context.Context, q sqldb.Querier, r runRow, have []partRow) ([]string, error) {
	var out []string
	alone, err := letAlone(ctx, q, r)
	if alone != "" {
		out = append(out, alone)
	}
	for _, p := range have {
		if len(out) < maxWaits && p.State == run.Waiting && p.Issue.Reason == fault.ReasonWarehouseThrottled.Word() {
			out = append(out, p.Issue.Message)
		}
	}
	return out, err
}

// waitingFor answers a part that says so where it waits for its warehouse.
func (p partRow) waitingFor(alone string) partRow {
	switch {
	case alone == "" || p.State != run.Waiting:
	case p.Issue == (issue{}):
		p.Issue = issue{Reason: fault.ReasonWarehouseUnavailable.Word(), Message: alone}
	default:
		p.Issue.Message += "; " + alone
	}
	return p
}

// countBreakers shows how many warehouses are let alone.
func (k *keeper) countBreakers(ctx context.Context) error {
	var n int64
	if err := k.db.QueryRow(ctx, "SELECT COUNT(*) FROM scheduler_breakers WHERE state <> 'closed'").Scan(&n); err != nil {
		return err
	}
	k.metrics.openBreakers.Set(float64(n))
	return nil
}
