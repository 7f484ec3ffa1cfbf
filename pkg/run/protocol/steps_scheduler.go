package protocol

import (
	"slices"

	"millrace.dev/pkg/run"
)

// open says whether a run is open.
func (w *World) open(s *state) bool { return s.run.no > 0 && !w.runStates[s.run.state].Closed() }

func (w *World) is(p *part, states ...run.PartState) bool {
	return slices.Contains(states, w.parts[p.state])
}

// turn is run.NextPart. A step that the table refuses breaks StatesFollow.
func (w *World) turn(p *part, e run.PartEvent) Invariant {
	to := w.partNext[e][p.state]
	if to == refused {
		return StatesFollow
	}
	p.state = to
	return ""
}

// become is run.Next.
func (w *World) become(r *openRun, e run.Event) Invariant {
	to := w.runNext[e][r.state]
	if to == refused {
		return StatesFollow
	}
	r.state = to
	return ""
}

func first(all ...Invariant) Invariant {
	for _, i := range all {
		if i != "" {
			return i
		}
	}
	return ""
}

// place answers where a state stands in its list.
func place[S comparable](all []S, s S) uint8 { return uint8(slices.Index(all, s)) } //nolint:gosec // few

func (w *World) newRun(s *state) openRun {
	r := openRun{no: s.run.no + 1, state: place(w.runStates, run.Queued), from: s.checkpoint, n: 1}
	r.parts[0].state = place(w.parts, run.Waiting)
	for k := range r.base {
		r.base[k] = s.index[k].row
	}
	return r
}

func createRun(w *World, s *state, to next) {
	if w.open(s) || int(s.run.no) >= w.Runs {
		return
	}
	t := *s
	t.run = w.newRun(s)
	to(t, about{run: t.run.no}, "")
}

// retryRun makes a run that goes on where a failed or cancelled one ended: with its plan, and its parts.
func retryRun(w *World, s *state, to next) {
	if s.run.no == 0 || w.open(s) || w.runStates[s.run.state].Done() || int(s.run.no) >= w.Runs {
		return
	}
	old := s.run
	t := *s
	r := w.newRun(s)
	r.from, r.base, r.retried = old.from, old.base, old.retried|1<<old.no
	var broken Invariant
	if old.planned > 0 {
		broken = w.adopt(&r, &old)
	}
	t.run = r
	to(t, about{run: t.run.no}, broken)
}

func (w *World) adopt(r, old *openRun) Invariant {
	r.planned, r.gone, r.first, r.snapshot, r.known, r.n = 1, old.gone, old.first, old.snapshot, old.known, old.n
	for i := range old.parts[:old.n] {
		p := &old.parts[i]
		switch {
		case w.is(p, run.Replaced):
			r.parts[i] = part{state: p.state} // its number is not used again
		case i == 0:
			r.parts[0] = part{state: place(w.parts, run.Complete)}
		case w.is(p, run.Complete):
			r.parts[i] = *p
			r.parts[i].epoch, r.parts[i].fence, r.parts[i].readEpoch = 0, 0, 0
			if p.origin == 0 {
				r.parts[i].origin = old.no
			}
		default:
			r.parts[i] = part{state: place(w.parts, run.Waiting)}
		}
	}
	return w.become(r, run.Planned)
}

// fenced says whether nothing of a part's last lease can have an effect any more.
func (p *part) fenced() bool { return p.epoch == 0 || p.fence > p.epoch }

func lease(w *World, s *state, to next) {
	if !w.open(s) || s.run.closing > 0 {
		return
	}
	for i := range s.run.parts[:s.run.n] {
		if w.mayLease(s, i) {
			w.leaseTo(s, uint8(i), to) //nolint:gosec // small
		}
	}
}

func (w *World) mayLease(s *state, i int) bool {
	p := s.part(uint8(i)) //nolint:gosec // small
	if !w.is(p, run.Waiting) || (!p.fenced() && w.Broken != FenceBeforeLease) {
		return false
	}
	if i > 0 || w.Broken == FenceReplaced {
		return true
	}
	for j := range s.run.parts[:s.run.n] {
		if o := &s.run.parts[j]; w.is(o, run.Replaced) && !o.fenced() {
			return false
		}
	}
	return true
}

func (w *World) leaseTo(s *state, i uint8, to next) {
	free := slices.IndexFunc(s.extractors[:], func(x extractor) bool { return x.run == 0 })
	if free < 0 {
		return
	}
	t := *s
	p := t.part(i)
	broken := w.turn(p, run.Lease)
	epoch := max(p.epoch+1, p.fence)
	if w.Broken == RaiseEpoch && p.epoch > 0 {
		epoch = p.epoch
	}
	*p = part{state: p.state, epoch: epoch, fence: p.fence, readEpoch: p.readEpoch, readCount: p.readCount}
	x := extractor{run: t.run.no, part: i, epoch: epoch}
	if i == 0 {
		broken = first(broken, w.become(&t.run, run.PlanLeased))
	} else {
		x.rows = w.rowsOf(&t.run, i)
	}
	for _, o := range t.extractors {
		if o.run == x.run && o.part == x.part && o.epoch == x.epoch {
			broken = first(broken, OneWorkerAnEpoch)
		}
	}
	t.extractors[free] = x
	to(t, about{run: x.run, part: i, epoch: epoch}, broken)
}

// rowsOf answers the rows that a part of the plan reads.
func (w *World) rowsOf(r *openRun, i uint8) uint8 {
	return w.planOf(r.from, r.snapshot, r.known).rows[i-r.first]
}

// takeBack takes a lease back: for nothing where its holder is dead, as a fault where it only was silent and goes on.
func takeBack(w *World, s *state, to next) {
	if !w.open(s) {
		return
	}
	for i := range s.run.parts[:s.run.n] {
		p := &s.run.parts[i]
		if !w.is(p, run.Leased) {
			continue
		}
		t := *s
		alive := slices.ContainsFunc(s.extractors[:], func(x extractor) bool {
			return x.run == s.run.no && int(x.part) == i && x.epoch == p.epoch
		})
		if alive && !t.pay() {
			continue
		}
		broken := w.turn(&t.run.parts[i], run.LeaseLost)
		to(t, about{run: s.run.no, part: uint8(i), epoch: p.epoch}, broken) //nolint:gosec // small
	}
}

// pay takes a fault off the budget.
func (s *state) pay() bool {
	if s.faults == 0 {
		return false
	}
	s.faults--
	return true
}

// settled answers how many batches of a part nothing more is to come for.
func (p *part) settled() (n uint8) {
	for seq := range partRows {
		if p.published[seq] > 0 && p.ingested[seq] > 0 {
			n++
		}
	}
	return n
}

// findLost puts a part back that is read to its end and lacks batches: for nothing where they are nowhere any more, as
// a fault where they only are late.
func findLost(w *World, s *state, to next) {
	if !w.open(s) || s.run.closing > 0 || w.Broken == FindLostBatches {
		return
	}
	for i := range s.run.parts[:s.run.n] {
		p := &s.run.parts[i]
		if !w.is(p, run.Extracted) {
			continue
		}
		t := *s
		if s.underWay(uint8(i), p) && !t.pay() { //nolint:gosec // small
			continue
		}
		broken := w.turn(&t.run.parts[i], run.BatchesLost)
		to(t, about{run: s.run.no, part: uint8(i), epoch: p.epoch}, broken) //nolint:gosec // small
	}
}

// underWay says whether a batch that a part lacks is on a stream or in somebody's hand.
func (s *state) underWay(i uint8, p *part) bool {
	for j := range s.all() {
		b := &s.batches[j]
		if b.run == s.run.no && b.part == i && b.epoch == p.epoch && p.ingested[b.seq] == 0 && (b.flags&(onRows|onRecords) != 0 || s.held(b)) {
			return true
		}
	}
	return false
}

// allDone says whether every part is complete or replaced.
func (w *World) allDone(s *state) bool {
	for i := range s.run.parts[:s.run.n] {
		if !w.is(&s.run.parts[i], run.Complete, run.Replaced) {
			return false
		}
	}
	return w.runStates[s.run.state] == run.Running
}

// unfenced says whether a part is to be fenced: it is to be leased again, it is replaced, or its run is to be closed.
func (w *World) unfenced(s *state, i int) bool {
	p := &s.run.parts[i]
	if p.fenced() {
		return false
	}
	return w.is(p, run.Waiting, run.Replaced) || (i > 0 && (s.run.closing > 0 || w.allDone(s)))
}

func fenceStore(w *World, s *state, to next) {
	if !w.open(s) {
		return
	}
	for i := range s.run.parts[:s.run.n] {
		p := &s.run.parts[i]
		if f := s.fences[s.run.no-1][i]; w.unfenced(s, i) && f <= p.epoch {
			t := *s
			t.fences[s.run.no-1][i] = p.epoch + 1
			to(t, about{run: s.run.no, part: uint8(i), epoch: p.epoch}, "") //nolint:gosec // small
		}
	}
}

// foldFence takes the answer of a fence: what has been applied of the part's last epoch enters the account, which may
// complete the part.
func foldFence(w *World, s *state, to next) {
	if !w.open(s) {
		return
	}
	for i := range s.run.parts[:s.run.n] {
		if !w.unfenced(s, i) || s.fences[s.run.no-1][i] <= s.run.parts[i].epoch {
			continue
		}
		t := *s
		p := &t.run.parts[i]
		var broken Invariant
		if !w.is(p, run.Complete) && w.Broken != FoldFence {
			for j := range t.all() {
				if b := &t.batches[j]; b.run == t.run.no && int(b.part) == i && b.epoch == p.epoch && b.result > 0 {
					broken = first(broken, t.fold(p, b))
				}
			}
		}
		p.fence = p.epoch + 1
		broken = first(broken, w.close(&t, uint8(i)))                       //nolint:gosec // small
		to(t, about{run: s.run.no, part: uint8(i), epoch: p.epoch}, broken) //nolint:gosec // small
	}
}

// fold adds what a batch became to the account of its part.
func (s *state) fold(p *part, b *batch) Invariant {
	if p.ingested[b.seq] == 0 {
		p.ingested[b.seq] = b.result*rowsBase + b.row
	}
	have := s.find(hand{run: b.run, part: b.part, epoch: p.epoch, seq: b.seq})
	if have == nil || have.result == 0 {
		return AccountIsTrue // it counts what the store does not hold under that name
	}
	return ""
}

// close makes a part complete that is read to its end and whose account closes.
func (w *World) close(s *state, i uint8) Invariant {
	p := s.part(i)
	if p.readEpoch != p.epoch || p.settled() < p.readCount || !w.is(p, run.Extracted, run.Waiting) || i == 0 {
		return ""
	}
	verdict := run.ClosePart(uint32(p.readCount), int64(p.readCount), w.account(p))
	switch {
	case verdict.Closes():
		return first(w.turn(p, run.AccountFull), w.trueOfPart(s, i, verdict.Account))
	case len(verdict.Missing) > 0 || w.is(p, run.Waiting):
		return ""
	}
	return AccountIsTrue
}

// closeRun closes a run in one step: state, counts and, where it is done, the checkpoint.
func closeRun(w *World, s *state, to next) {
	if !w.open(s) || (s.run.closing == 0 && !w.allDone(s)) {
		return
	}
	for i := 1; i < int(s.run.n); i++ {
		if !s.run.parts[i].fenced() && w.Broken != FenceBeforeClose {
			return
		}
	}
	t := *s
	var sum run.Account
	for i := 1; i < int(t.run.n); i++ {
		if p := &t.run.parts[i]; !w.is(p, run.Replaced) {
			for _, b := range w.account(p) {
				sum = sum.Add(b.Account())
			}
		}
	}
	event := map[uint8]run.Event{closingFailed: run.GivenUp, closingCancelled: run.CancelAsked}[t.run.closing]
	if t.run.closing == 0 {
		if event = sum.Outcome(); !sum.Balanced() {
			event = run.GivenUp
		}
	}
	broken := first(w.become(&t.run, event), w.trueOfRun(&t))
	if w.runStates[t.run.state].Done() {
		broken = first(broken, w.whole(&t, sum))
		w.moveCheckpoint(&t)
	}
	to(t, about{run: s.run.no}, broken)
}

func (w *World) moveCheckpoint(s *state) {
	p := w.planOf(s.run.from, s.run.snapshot, s.run.known)
	if p.watermark > s.checkpoint {
		s.checkpoint, s.owed = p.watermark, promisedRows(s.run.from, p.watermark, s.run.known)
	}
}

func giveUp(w *World, s *state, to next) { w.askToClose(s, closingFailed, to) }
func cancel(w *World, s *state, to next) { w.askToClose(s, closingCancelled, to) }

// askToClose asks for a run to be closed once its parts are fenced.
func (w *World) askToClose(s *state, as uint8, to next) {
	t := *s
	if w.open(s) && s.run.closing == 0 && t.pay() {
		t.run.closing = as
		to(t, about{run: s.run.no}, "")
	}
}

// failTry puts a part back for another try.
func failTry(w *World, s *state, to next) {
	if !w.open(s) {
		return
	}
	for i := 1; i < int(s.run.n); i++ {
		p := &s.run.parts[i]
		t := *s
		if !w.is(p, run.Leased, run.Extracted) || !t.pay() {
			continue
		}
		broken := w.turn(&t.run.parts[i], run.TryFailed)
		to(t, about{run: s.run.no, part: uint8(i), epoch: p.epoch}, broken) //nolint:gosec // small
	}
}
