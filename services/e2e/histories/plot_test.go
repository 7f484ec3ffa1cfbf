package histories_test

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
)

// mishap is a fault: something that is to go wrong at the nth event of its sort.
type mishap struct {
	kind string
	on   string
	nth  int
}

// The faults.
const (
	callLost       = "a call is lost before it took effect"
	answerLost     = "a call is lost after it took effect"
	leaseLost      = "the answer of a lease is lost"
	zombieStarts   = "a worker begins after its lease was lost"
	zombieReports  = "a worker goes on in mid-part after its lease was lost"
	rowsDeleted    = "a message of ROWS is deleted"
	recordsDeleted = "a message of RECORDS is deleted"
	rowsPurged     = "ROWS is purged"
	recordsPurged  = "RECORDS is purged"
	rowsLate       = "a message of ROWS comes after its part was leased again"
	recordsLate    = "a message of RECORDS comes after its part was leased again"
	rowsTwice      = "a message of ROWS comes twice"
	recordsTwice   = "a message of RECORDS comes twice"
	rowsAfter      = "a message of ROWS comes again after its run"
	recordsAfter   = "a message of RECORDS comes again after its run"
	mapperCut      = "the mapper is cut off and started again"
	ingestionCut   = "ingestion is cut off and started again"
	extractorCut   = "the extractor is cut off and started again"
	commitFails    = "a commit fails"
	commitUnknown  = "a commit is durable and answers an error"
	sourceCut      = "the warehouse ends the connections of a run"
	sourceTouched  = "the source's file is touched while it is read"
	ownerWrites    = "the source is written while it is read"
	onCall         = "call:"
	onLease        = "lease"
	onReport       = "report"
	onPlan         = "plan"
	onRows         = "ROWS"
	onRecords      = "RECORDS"
	onCommit       = "commit"
)

// chance is a fault as it may be drawn: at one of the first `most` events of one of these sorts.
type chance struct {
	name string
	on   []string
	most int
}

// kinds answers the faults that a run may have. A steady run's snapshot must live.
func kinds(warehouse string, steady bool) []chance {
	lease, rows, records := []string{onLease}, []string{onRows}, []string{onRecords}
	var calls []string
	for _, method := range []string{"ReportPlan", "ReportExtracted", "ReportIngested", "CompletePart", "Fence", "GetSyncSnapshot"} {
		calls = append(calls, onCall+method)
	}
	out := []chance{
		{callLost, calls, 3}, {answerLost, calls, 3}, {leaseLost, lease, 3}, {zombieStarts, lease, 3}, {zombieReports, []string{onReport}, 3},
		{rowsDeleted, lease, 3}, {recordsDeleted, lease, 3}, {rowsPurged, lease, 3}, {recordsPurged, lease, 3},
		{rowsLate, lease, 3}, {recordsLate, lease, 3}, {rowsTwice, rows, 4}, {recordsTwice, records, 4},
		{rowsAfter, rows, 4}, {recordsAfter, records, 4}, {mapperCut, rows, 4}, {ingestionCut, records, 4},
		{commitFails, []string{onCommit}, 4}, {commitUnknown, []string{onCommit}, 4},
	}
	switch {
	case steady:
	case warehouse == "postgres":
		out = append(out, chance{sourceCut, []string{onReport}, 3}, chance{extractorCut, rows, 4})
	default:
		out = append(out, chance{sourceTouched, []string{onPlan}, 1}, chance{extractorCut, rows, 4})
	}
	return out
}

// plot is what goes wrong for one seed: faults to come, and what became of those that were made.
type plot struct {
	source source
	stage  *stage

	mu       sync.Mutex
	pending  []mishap
	during   []string // statements of the owner, to run once the plan is stored
	steady   bool
	epochs   map[part]uint32 // by part with epoch 0: its newest lease
	changed  chan struct{}   // closed when a part is leased
	mute     map[part]bool
	ambush   *ambush            // the one that waits for a message
	late     map[part]*nats.Msg // taken from a stream, by the lease that they belong to
	copies   []copied           // to be sent when the run is over
	kinds    map[string]int
	open     []time.Time // of faults that no progress has followed yet
	recovery []time.Duration
	runs     int64
	batches  map[string]bool // that the broker has acked
	rows     int64           // in them
	lost     int64
	doubled  int64
	err      error // of the test's own hands
}

func newPlot(s *stage, src source) *plot {
	return &plot{source: src, stage: s, epochs: map[part]uint32{}, changed: make(chan struct{}), mute: map[part]bool{}, batches: map[string]bool{}, late: map[part]*nats.Msg{}, kinds: map[string]int{}}
}

// begin arms the faults of a run. Those of earlier runs that did not come about stay.
func (p *plot) begin(faults []mishap, during []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.steady = len(during) > 0
	p.during = during
	p.pending = append(p.pending, faults...)
}

// next counts an event and answers the fault that it brings, if any.
func (p *plot) next(on string) (mishap, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.nextOf(func(f mishap) bool { return f.on == on })
}

// take counts an event for faults of one kind, and says whether it brings one.
func (p *plot) take(on, kind string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, ok := p.nextOf(func(f mishap) bool { return f.on == on && f.kind == kind })
	return ok
}

func (p *plot) nextOf(fits func(mishap) bool) (mishap, bool) {
	for i := range p.pending {
		f := &p.pending[i]
		if !fits(*f) || p.steady && (f.kind == sourceCut || f.kind == extractorCut) {
			continue
		}
		if f.nth--; f.nth > 0 {
			return mishap{}, false
		}
		out := *f
		p.pending = slices.Delete(p.pending, i, i+1)
		return out, true
	}
	return mishap{}, false
}

// again puts a fault back that could not be made.
func (p *plot) again(f mishap) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f.nth = 1
	p.pending = append(p.pending, f)
}

// made notes that a fault was made.
func (p *plot) made(kind string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.kinds[kind]++
	p.open = append(p.open, time.Now())
}

// progress notes that the run has moved.
func (p *plot) progress() {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	for _, t := range p.open {
		p.recovery = append(p.recovery, now.Sub(t))
	}
	p.open = p.open[:0]
}

// over notes that a run has ended.
func (p *plot) over() {
	p.progress()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.runs++
}

// acked notes a batch that the broker has acked: the extractor says so, more than once where it is not heard.
func (p *plot) acked(b *schedulerv1.BatchRef, rows int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if name := b.String(); !p.batches[name] {
		p.batches[name] = true
		p.rows += rows
	}
}

// judged notes what the comparison with the fold found.
func (p *plot) judged(lost, doubled int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lost, p.doubled = lost, doubled
}

// injected answers how many faults were made.
func (p *plot) injected() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, k := range p.kinds {
		n += k
	}
	return n
}

// planned does what is to happen between plan and reading. Whoever writes the warehouse does not stop with the worker that
// plans.
func (p *plot) planned(ctx context.Context) {
	p.mu.Lock()
	during := p.during
	p.during = nil
	p.mu.Unlock()
	if len(during) > 0 {
		p.failed(p.source.exec(context.WithoutCancel(ctx), during))
		p.made(ownerWrites)
	}
	if p.take(onPlan, sourceTouched) {
		p.disturb(ctx, sourceTouched)
	}
}

// disturb disturbs the source of the run that reads.
func (p *plot) disturb(ctx context.Context, kind string) {
	p.failed(p.source.cut(ctx))
	p.made(kind)
}

// failed notes that the test's own hands failed.
func (p *plot) failed(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		p.err = err
	}
}

// leased notes a lease, and sends what waits for it.
func (p *plot) leased(at part) {
	p.mu.Lock()
	of := part{at.run, at.part, 0}
	p.epochs[of] = max(p.epochs[of], at.epoch)
	close(p.changed)
	p.changed = make(chan struct{})
	var late []*nats.Msg
	for of, m := range p.late {
		if of.run == at.run && of.part == at.part && of.epoch < at.epoch {
			late = append(late, m)
			delete(p.late, of)
		}
	}
	p.mu.Unlock()
	for _, m := range late {
		_, err := p.stage.broker.send(m, "late")
		p.failed(err)
	}
}

// outlive holds the worker of a lease, which is heard no more, until its part is leased again.
func (p *plot) outlive(ctx context.Context, at part, kind string) {
	p.mu.Lock()
	p.mute[at] = true
	p.mu.Unlock()
	p.made(kind)
	limit := time.NewTimer(holdLimit)
	defer limit.Stop()
	for {
		p.mu.Lock()
		over, changed := p.epochs[part{at.run, at.part, 0}] > at.epoch, p.changed
		p.mu.Unlock()
		if over {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		case <-limit.C:
			return
		}
	}
}

func (p *plot) muted(at part) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mute[at]
}
