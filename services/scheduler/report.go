package scheduler

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"time"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/killpoint"
	"millrace.dev/pkg/profile"
	"millrace.dev/pkg/row"
	"millrace.dev/pkg/run"
	"millrace.dev/pkg/sqldb"
)

// published is a batch that the broker holds.
type published struct {
	Batch   id.Batch
	Rows    int64
	Bytes   int64
	Digest  row.Hash
	TraceID string
	Nulls   map[string]int64 // of columns that have any, in a dry pass
}

// completed is how a worker's attempt at a part ended.
type completed struct {
	Part      id.Part
	Epoch     uint32
	Batches   uint32
	Rows      int64
	Issue     issue // set: the attempt failed
	Permanent bool
	Released  bool
	Replan    bool
	Snapshot  string // that the part was read under
	Failure   failure
	After     time.Duration // how long the warehouse asks to wait; 0: it does not say
	Cost      cost
}

// failure says what of the warehouse made an attempt fail.
type failure int

const (
	other       failure = iota // not the warehouse, or it will not go away by itself
	throttled                  // it asks to wait
	unreachable                // it does not answer
)

func partOf(b id.Batch) id.Part { return id.Part{Run: b.Run, Part: b.Part} }

// news is what a report changed.
type news int

const (
	nothing news = iota
	progress
	turn // a part or run is in another state
)

// since answers what became of a part that was in state `before`.
func since(before run.PartState, p partRow) news {
	if p.State != before {
		return turn
	}
	return progress
}

// publish accounts for a batch that the broker holds.
func (s *Service) publish(ctx context.Context, b published) error {
	return s.report(ctx, partOf(b.Batch), func(ctx context.Context, tx *sqldb.Tx, now time.Time) (news, error) {
		p, err := held(ctx, tx, partOf(b.Batch), b.Batch.Epoch)
		if err != nil || p.State == run.Complete {
			return nothing, err
		}
		have, err := getBatch(ctx, tx, b.Batch)
		if err != nil {
			return nothing, err
		}
		after, fresh := have.Batch.Publish(b.Rows, b.Bytes, b.Digest)
		if !fresh {
			return nothing, nil
		}
		if err := s.probed(ctx, tx, now, &p.partRow); err != nil {
			return nothing, err
		}
		before := p.State
		have.TraceID = b.TraceID
		p.Facts.Nulls = addNulls(p.Facts.Nulls, b.Nulls)
		p.Account = p.Account.Add(run.Account{Batches: 1, Rows: b.Rows, Bytes: b.Bytes, Read: b.Digest})
		if err := s.settle(ctx, tx, now, &p.partRow, have, after); err != nil {
			return nothing, err
		}
		err = s.judge(ctx, tx, now, &p.partRow)
		killpoint.Reach("scheduler.extracted.before")
		return since(before, p.partRow), err
	})
}

// ingest accounts for a fragment that the store holds.
func (s *Service) ingest(ctx context.Context, res profile.Result, samples []sample, reasons []rejectReason) error {
	return s.report(ctx, partOf(res.Batch), func(ctx context.Context, tx *sqldb.Tx, now time.Time) (news, error) {
		p, err := current(ctx, tx, partOf(res.Batch), res.Batch.Epoch)
		if err != nil || p.State == run.Complete {
			return nothing, err
		}
		before := p.State
		fresh, err := s.fold(ctx, tx, now, &p.partRow, res)
		if err != nil || !fresh {
			return nothing, err
		}
		p.Facts.Reasons = addReasons(p.Facts.Reasons, reasons)
		if err := s.judge(ctx, tx, now, &p.partRow); err != nil {
			return nothing, err
		}
		held, err := s.atReport(ctx, tx, now, p.partRow, res, samples)
		killpoint.Reach("scheduler.ingested.before")
		if held || err != nil {
			return turn, err
		}
		return since(before, p.partRow), nil
	})
}

// addNulls answers the sum of both.
func addNulls(a, b map[string]int64) map[string]int64 {
	if len(b) == 0 {
		return a
	}
	out := maps.Clone(a)
	if out == nil {
		out = map[string]int64{}
	}
	for column, n := range b {
		out[column] += n
	}
	return out
}

// fold adds a fragment to the account of its part, and answers false where it is there already.
func (s *Service) fold(ctx context.Context, tx *sqldb.Tx, now time.Time, p *partRow, res profile.Result) (bool, error) {
	have, err := getBatch(ctx, tx, res.Batch)
	if err != nil {
		return false, err
	}
	after, fresh := have.Batch.Ingest(run.Fragment{
		Index: res.Batch.Fragment, FirstRow: res.FirstRow, Rows: res.Rows, Last: res.Last, Counts: res.Counts, Digest: res.Digest,
	})
	if !fresh {
		return false, nil
	}
	p.Account = p.Account.Add(run.Account{Accounted: res.Digest, Ingested: res.Rows, Counts: res.Counts})
	return true, s.settle(ctx, tx, now, p, have, after)
}

// settle stores a batch as it has become, and counts it in its part once nothing more is to come for it.
func (s *Service) settle(ctx context.Context, tx *sqldb.Tx, now time.Time, p *partRow, have batchRow, after run.Batch) error {
	if !have.Batch.Settled() && after.Settled() {
		p.Settled++
	}
	have.Batch = after
	if err := putBatch(ctx, tx, have); err != nil {
		return err
	}
	p.Progress = now
	return nil
}

// judge stores a part, and makes it complete where it is read to its end and its account closes. An account that can not
// close although every batch is settled is a failed try.
func (s *Service) judge(ctx context.Context, tx *sqldb.Tx, now time.Time, p *partRow) error {
	if p.ReadEpoch != p.Epoch || p.Settled < p.ReadBatches || (p.State != run.Extracted && p.State != run.Waiting) {
		return updatePart(ctx, tx, *p)
	}
	held, err := batches(ctx, tx, "WHERE run_id = ? AND part = ? AND epoch = ? ORDER BY seq", p.Run.String(), int64(p.Part), int64(p.Epoch))
	if err != nil {
		return err
	}
	all := make([]run.Batch, 0, len(held))
	for _, b := range held {
		all = append(all, b.Batch)
	}
	verdict := run.ClosePart(p.ReadBatches, p.ReadRows, all)
	switch {
	case verdict.Closes():
		if p.State, err = run.NextPart(p.State, run.AccountFull); err != nil {
			return err
		}
		p.Account, p.Issue = verdict.Account, issue{}
		return updatePart(ctx, tx, *p)
	case len(verdict.Missing) > 0 || p.State == run.Waiting:
		return updatePart(ctx, tx, *p)
	}
	return s.failTry(ctx, tx, now, p, issue{
		Reason:  fault.ReasonAccountUnbalanced.Word(),
		Message: fmt.Sprintf("part %d does not balance: %s", p.Part, strings.Join(verdict.Faults, "; ")),
	})
}

// failTry counts a try of a part's epoch and puts the part back, or gives the run up after the last one.
func (s *Service) failTry(ctx context.Context, tx *sqldb.Tx, now time.Time, p *partRow, why issue) error {
	var err error
	p.Tries, p.FailedEpoch, p.Issue, p.Progress, p.Facts.Throttled = p.Tries+1, p.Epoch, why, now, 0
	if p.Tries >= run.MaxTries {
		if p.State, err = run.NextPart(p.State, run.PartGivenUp); err != nil {
			return err
		}
		if err := updatePart(ctx, tx, *p); err != nil {
			return err
		}
		why.Message = fmt.Sprintf("part %d failed %d times, the last time so: %s", p.Part, p.Tries, why.Message)
		return s.giveUp(ctx, tx, p.Run, why, false)
	}
	if p.State, err = run.NextPart(p.State, run.TryFailed); err != nil {
		return err
	}
	p.NotBefore = now.Add(s.backoff(p.Tries))
	return updatePart(ctx, tx, *p)
}

const (
	minThrottle = time.Second
	maxThrottle = time.Hour
)

// wait puts a part back for as long as its warehouse asks to wait. It is no try.
func (s *Service) wait(ctx context.Context, tx *sqldb.Tx, now time.Time, p *partRow, c completed) error {
	var err error
	if p.State, err = run.NextPart(p.State, run.Throttled); err != nil {
		return err
	}
	p.Facts.Throttled++
	p.NotBefore, p.Progress = now.Add(s.throttle(c.After, p.Facts.Throttled)), now
	p.Issue = issue{
		Reason: fault.ReasonWarehouseThrottled.Word(),
		Message: fmt.Sprintf("the warehouse asks to wait: %s; part %d is read from %s on, and this is no failed try",
			c.Issue.Message, p.Part, p.NotBefore.UTC().Format(time.RFC3339)),
	}
	return updatePart(ctx, tx, *p)
}

// throttle answers how long to wait where a warehouse asks for it the n-th time in a row: `after`, within bounds, or a
// backoff where it does not say.
func (s *Service) throttle(after time.Duration, n int64) time.Duration {
	if after <= 0 {
		return s.backoff(n)
	}
	return min(max(after, minThrottle), maxThrottle)
}

const maxBackoff = time.Minute

// backoff answers how long to wait after n failed tries: doubled each time, with a jitter of half.
func (s *Service) backoff(n int64) time.Duration {
	d := s.settings.RetryBackoff
	for i := int64(1); i < n && d < maxBackoff; i++ {
		d *= 2
	}
	d = min(d, maxBackoff)
	return d/2 + rand.N(d/2+1) //nolint:gosec // jitter is no secret
}

// giveUp asks for a run to be closed as failed once its parts are fenced. The first reason stands.
func (s *Service) giveUp(ctx context.Context, tx *sqldb.Tx, runID id.Run, why issue, faultsSync bool) error {
	r, err := getRun(ctx, tx, runID)
	if err != nil || r.Closing != "" {
		return err
	}
	if _, err := run.Next(r.State, run.GivenUp); err != nil {
		return err
	}
	r.Closing, r.Issue, r.FaultsSync = run.Failed, why, faultsSync
	return updateRun(ctx, tx, r)
}

// quarantine accounts for a batch that was given up: its part is tried under the next epoch.
func (s *Service) quarantine(ctx context.Context, b id.Batch, why issue) error {
	return s.report(ctx, partOf(b), func(ctx context.Context, tx *sqldb.Tx, now time.Time) (news, error) {
		p, err := current(ctx, tx, partOf(b), b.Epoch)
		if err != nil || p.State == run.Complete {
			return nothing, err
		}
		have, err := getBatch(ctx, tx, b)
		if err != nil || have.Quarantined != "" {
			return nothing, err
		}
		have.Quarantined = why.Reason + ": " + why.Message
		if err := putBatch(ctx, tx, have); err != nil {
			return nothing, err
		}
		if p.FailedEpoch == p.Epoch || p.State == run.Waiting {
			return progress, nil
		}
		return turn, s.failTry(ctx, tx, now, &p.partRow, issue{
			Reason:  fault.ReasonBatchQuarantined.Word(),
			Message: fmt.Sprintf("batch %s was given up (%s): %s", b, why.Reason, why.Message),
		})
	})
}

// complete accounts for the end of a worker's attempt.
func (s *Service) complete(ctx context.Context, c completed) error {
	return s.report(ctx, c.Part, func(ctx context.Context, tx *sqldb.Tx, now time.Time) (news, error) {
		p, err := held(ctx, tx, c.Part, c.Epoch)
		if err != nil || p.State != run.Leased {
			return nothing, err // told again
		}
		if err := spend(ctx, tx, c.Part, c.Epoch, c.Cost); err != nil {
			return nothing, err
		}
		if err := s.heard(ctx, tx, now, &p.partRow, c); err != nil {
			return nothing, err
		}
		switch {
		case p.Facts.Absent && c.Issue.Reason == fault.ReasonGuardBreached.Word():
			return turn, rehearse(ctx, tx, now, p.partRow)
		case c.Failure == throttled:
			return turn, s.wait(ctx, tx, now, &p.partRow, c)
		case c.Replan:
			if c.Issue.Reason == "" {
				c.Issue = issue{Reason: fault.ReasonSourceChanged.Word(), Message: "the source changed while it was read"}
			}
			if p.Part > 0 {
				return turn, s.planAgain(ctx, tx, now, p.Run, c.Issue)
			}
			return turn, s.failTry(ctx, tx, now, &p.partRow, c.Issue)
		case c.Released:
			if p.State, err = run.NextPart(p.State, run.Released); err != nil {
				return nothing, err
			}
			return turn, updatePart(ctx, tx, p.partRow)
		case c.Issue.Reason != "" && c.Permanent:
			p.Issue = c.Issue
			if p.State, err = run.NextPart(p.State, run.PartGivenUp); err != nil {
				return nothing, err
			}
			if err := updatePart(ctx, tx, p.partRow); err != nil {
				return nothing, err
			}
			return turn, s.giveUp(ctx, tx, p.Run, c.Issue, true)
		case c.Issue.Reason != "":
			return turn, s.failTry(ctx, tx, now, &p.partRow, c.Issue)
		case p.Part == 0:
			return nothing, nil // the plan is what completes it
		}
		if p.State, err = run.NextPart(p.State, run.ReadToEnd); err != nil {
			return nothing, err
		}
		p.ReadEpoch, p.ReadBatches, p.ReadRows, p.Progress, p.Facts.Throttled = p.Epoch, c.Batches, c.Rows, now, 0
		p.Facts.Snapshot = c.Snapshot
		err = s.judge(ctx, tx, now, &p.partRow)
		killpoint.Reach("scheduler.complete.before")
		return turn, err
	})
}

// report runs f with the reports of others and tells of what it changed.
func (s *Service) report(ctx context.Context, name id.Part, f func(ctx context.Context, tx *sqldb.Tx, now time.Time) (news, error)) error {
	what := nothing
	err := s.reports.do(ctx, func(ctx context.Context, tx *sqldb.Tx, now time.Time) (err error) {
		what, err = f(ctx, tx, now)
		return err
	})
	if err != nil {
		if fault.ReasonOf(err) == fault.ReasonFenced {
			s.metrics.fencedReports.Inc()
			s.log.DebugContext(ctx, "report of an epoch that is over", "run", name.Run.String(), "part", name.Part)
		}
		return err
	}
	if what != nothing {
		s.changed.ring()
	}
	if what == turn {
		s.keep.ring()
	}
	return nil
}
