package extractor

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"millrace.dev/pkg/drift"
	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/killpoint"
	"millrace.dev/pkg/record"
	"millrace.dev/pkg/source"
)

// lease is one part to work on.
type lease struct {
	workspace   id.Workspace
	run         id.Run
	runNo       int64
	sync        string // its id
	uid         id.Sync
	syncVersion int64
	part        uint32 // 0: plan
	epoch       uint32
	checkpoint  string
	full        bool      // everything from the sync's `from` on
	from, until time.Time // bounds of a backfill; zero: unbounded
	replayOf    id.Run    // whose rejects are read in place of the warehouse; zero: none
	plan        plan      // of parts above 0
	rows        source.Range
	retried     []record.RetriedRun
	traceparent string
	life        time.Duration // without a heartbeat
	dry         bool          // the store answers without writing
	base        *comparison   // of the last done run, where what the platform has is what that found; of part 0
	absent      *absentKeys   // the part is the rows that the run lacks; nil: it is rows of the source

	accepted      accepted
	driftApproved bool // the columns as they are now
}

// isBackfill says whether the run reads a range in place of what its sync would read next.
func (l *lease) isBackfill() bool { return !l.from.IsZero() || !l.until.IsZero() }

func (l *lease) name() id.Part { return id.Part{Run: l.run, Part: l.part} }

// plan is a run's plan as it is stored.
type plan struct {
	source.Plan
	fingerprint string // of the schema
	lowEdge     string // rows below it are late
	payloadCap  int64
	keys        []string
	program     string
	complete    bool           // the parts are everything that the query selects
	model       string         // fingerprint of connection and query
	columns     []drift.Column // that the run reads
	ignored     []string       // columns of the query that it does not
	verdicts    []drift.Verdict
	comparison  *comparison // nil: the parts are read from the source itself
	estimated   source.Cost // of the plan's queries
	cost        source.Cost
	hold        bool // the columns hold the run; the rest is empty
}

// ending is how an attempt at a part ended.
type ending struct {
	batches  uint32
	rows     int64
	err      error
	released bool
	replan   bool
	snapshot string // that the part was read under
	cost     source.Cost
}

// leaseLife is how long a part stays ours after a heartbeat where the scheduler does not say.
const leaseLife = 10 * time.Second

// beatEvery answers how often the lease is prolonged.
func (l *lease) beatEvery() time.Duration { return l.life / 5 }

// Why work on a part ends early.
var (
	errStopping = errors.New("the extractor is stopping")
	errLost     = errors.New("the lease is lost")
	errOver     = errors.New("the run is over")
)

// progress is how far a part has come.
type progress struct{ rows, bytes atomic.Int64 }

// work plans or reads one part and tells how that ended. When soft ends, what is in hand is finished and the part given
// back.
func (s *Service) work(soft, hard context.Context, l *lease) {
	s.metrics.leased.Inc()
	defer s.metrics.leased.Dec()
	ctx, lose := context.WithCancelCause(hard)
	defer lose(nil)
	var far progress
	var beating sync.WaitGroup
	alive, done := context.WithCancel(ctx)
	beating.Go(func() { s.beat(alive, l, &far, lose) })

	var e ending
	if l.part == 0 {
		e = s.plan(ctx, l)
	} else {
		e = s.extract(soft, ctx, l, &far)
	}
	cause := context.Cause(ctx)
	done()
	beating.Wait()
	s.conclude(hard, l, e, cause)
}

// beat keeps the lease until ctx ends, and calls lose when it is gone or the run is over.
func (s *Service) beat(ctx context.Context, l *lease, far *progress, lose context.CancelCauseFunc) {
	every := time.NewTicker(l.beatEvery())
	defer every.Stop()
	last := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-every.C:
		}
		stop, err := s.peers.heartbeat(ctx, l, far.rows.Load(), far.bytes.Load())
		switch {
		case ctx.Err() != nil:
			return
		case stop:
			lose(errOver)
			return
		case err == nil:
			last = time.Now()
		case fault.ReasonOf(err) == fault.ReasonFenced, time.Since(last) > l.life:
			lose(errLost)
			return
		}
	}
}

// conclude tells the scheduler how an attempt ended, unless the part is no longer ours.
func (s *Service) conclude(hard context.Context, l *lease, e ending, cause error) {
	log := s.log.With("run", l.run.String(), "part", l.part, "epoch", l.epoch)
	outcome := "read"
	switch {
	case errors.Is(cause, errLost):
		log.WarnContext(hard, "the lease was lost; another worker reads the part")
		s.metrics.parts.WithLabelValues("lost").Inc()
		s.tellCost(hard, l, e.cost)
		return
	case errors.Is(cause, errOver):
		e, outcome = ending{released: true, cost: e.cost}, "released"
	case hard.Err() != nil:
		return // the grace is over; the lease ends by itself
	case e.released:
		outcome = "released"
	case e.err != nil:
		outcome = "failed"
		if f := fault.As(e.err); f.Class == fault.Internal {
			log.ErrorContext(hard, "a part failed", "error", e.err)
		} else {
			log.WarnContext(hard, "a part failed", "reason", f.Reason.Word(), "error", e.err)
		}
	case l.part == 0:
		outcome = "planned"
	}
	s.metrics.parts.WithLabelValues(outcome).Inc()
	ctx, cancel := context.WithTimeout(hard, max(l.life, leaseLife))
	defer cancel()
	killpoint.Reach("extractor.complete.before")
	err := s.peers.complete(ctx, l, e)
	killpoint.Reach("extractor.complete.after")
	switch {
	case err == nil:
	case fault.ReasonOf(err) == fault.ReasonFenced:
		s.tellCost(hard, l, e.cost)
	default:
		log.WarnContext(hard, "the end of a part could not be told; its lease ends by itself", "error", err)
	}
}

// tellCost tells what an attempt cost whose end nobody wants to know any more: its queries were paid for.
func (s *Service) tellCost(ctx context.Context, l *lease, c source.Cost) {
	if c.IsZero() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, max(l.life, leaseLife))
	defer cancel()
	if err := s.peers.spent(ctx, l, c); err != nil {
		s.log.WarnContext(ctx, "what a lost lease has cost could not be told; the run's cost lacks it", "run", l.run.String(), "part", l.part, "epoch", l.epoch, "error", err)
	}
}
