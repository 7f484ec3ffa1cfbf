package protocol

import (
	"math/bits"

	"millrace.dev/pkg/run"
)

// current answers the part that a report is about, nil where its epoch is over.
func (w *World) current(s *state, no, i, epoch uint8) *part {
	if !w.open(s) || s.run.no != no || i >= s.run.n {
		return nil
	}
	p := s.part(i)
	if epoch == 0 || w.is(p, run.Replaced, run.PartFailed) {
		return nil
	}
	if w.Broken != RefuseOldEpochs && (p.epoch != epoch || p.fence > epoch) {
		return nil
	}
	return p
}

// holding is current for the worker that holds the lease, or has completed the part.
func (w *World) holding(s *state, x *extractor) *part {
	p := w.current(s, x.run, x.part, x.epoch)
	if p != nil && (w.is(p, run.Waiting) || s.run.closing > 0) {
		return nil
	}
	return p
}

// each tells of every extractor that has something in hand, with a state of its own.
func each(s *state, f func(t state, x *extractor)) {
	for i := range s.extractors {
		if s.extractors[i].run > 0 {
			t := *s
			f(t, &s.extractors[i])
		}
	}
}

// of answers the extractor of t that is x in the state before.
func (s *state) of(x *extractor) *extractor {
	for i := range s.extractors {
		if s.extractors[i] == *x {
			return &s.extractors[i]
		}
	}
	return &s.extractors[0]
}

func (x *extractor) about() about { return about{run: x.run, part: x.part, epoch: x.epoch} }

// count answers how many batches an extractor has to publish.
func (x *extractor) count() uint8 { return uint8(bits.OnesCount8(x.rows)) } //nolint:gosec // at most eight

// row answers the version + 1 in its batch `seq`.
func (x *extractor) row() uint8 {
	rows := x.rows
	for range x.seq {
		rows &= rows - 1
	}
	return uint8(bits.TrailingZeros8(rows)) + 1 //nolint:gosec // at most eight
}

func (x *extractor) batch() hand { return hand{run: x.run, part: x.part, epoch: x.epoch, seq: x.seq} }

func fixSnapshot(w *World, s *state, to next) {
	each(s, func(t state, x *extractor) {
		if x.part > 0 || x.phase != begun {
			return
		}
		y := t.of(x)
		y.phase, y.rows, y.known = planning, s.source, s.source
		to(t, x.about(), "")
	})
}

// storePlan keeps the plan and makes its parts in one step. It is refused from a worker whose lease is over.
func storePlan(w *World, s *state, to next) {
	each(s, func(t state, x *extractor) {
		if x.part > 0 || x.phase != planning {
			return
		}
		*t.of(x) = extractor{}
		p := w.holding(&t, x)
		if p == nil || w.is(p, run.Complete) {
			to(t, x.about(), "")
			return
		}
		known := x.known
		if w.Broken == WatermarkInSnapshot {
			known = s.source
		}
		broken := first(w.turn(p, run.PlanStored), w.become(&t.run, run.Planned))
		r := &t.run
		r.planned, r.gone, r.snapshot, r.known, r.first = 1, 0, x.rows, known, r.n
		for range w.planOf(r.from, r.snapshot, r.known).rows {
			r.parts[r.n] = part{state: place(w.parts, run.Waiting)}
			r.n++
		}
		if w.Broken == CheckpointAtClose {
			w.moveCheckpoint(&t)
		}
		to(t, x.about(), broken)
	})
}

func publish(w *World, s *state, to next) {
	each(s, func(t state, x *extractor) {
		if x.part == 0 || x.phase != begun || x.seq >= x.count() || int(t.n) == maxBatches {
			return
		}
		t.of(x).phase = publishes
		b := t.find(x.batch())
		if b == nil {
			t.batches[t.n] = batch{run: x.run, part: x.part, epoch: x.epoch, seq: x.seq, row: x.row()}
			b = &t.batches[t.n]
			t.n++
		}
		b.flags |= onRows
		to(t, about{batch: x.batch(), row: x.row()}, "")
	})
}

// reportPublished accounts for a batch that the broker has. A worker whose lease is over hears so and stops.
func reportPublished(w *World, s *state, to next) {
	each(s, func(t state, x *extractor) {
		if x.phase != publishes {
			return
		}
		p := w.holding(&t, x)
		if p == nil {
			*t.of(x) = extractor{}
			to(t, about{batch: x.batch()}, "")
			return
		}
		y := t.of(x)
		y.phase, y.seq = begun, x.seq+1
		var broken Invariant
		if !w.is(p, run.Complete) {
			p.published[x.seq] = x.row()
			broken = w.close(&t, x.part)
		}
		to(t, about{batch: x.batch()}, broken)
	})
}

func completePart(w *World, s *state, to next) {
	each(s, func(t state, x *extractor) {
		if x.part == 0 || x.phase != begun || x.seq < x.count() {
			return
		}
		*t.of(x) = extractor{}
		p := w.holding(&t, x)
		if p == nil || !w.is(p, run.Leased) {
			to(t, x.about(), "")
			return
		}
		broken := w.turn(p, run.ReadToEnd)
		p.readEpoch, p.readCount = p.epoch, x.count()
		to(t, x.about(), first(broken, w.close(&t, x.part)))
	})
}

// findGone withdraws the plan: its parts are replaced, finished and adopted ones too, and the run is planned anew. A
// World has room for two plans.
func findGone(w *World, s *state, to next) {
	each(s, func(t state, x *extractor) {
		if x.part == 0 || x.phase != begun || x.run != s.run.no || s.run.gone == 0 || x.seq >= x.count() {
			return
		}
		*t.of(x) = extractor{}
		p := w.holding(&t, x)
		if p == nil || !w.is(p, run.Leased) {
			to(t, x.about(), "")
			return
		}
		var broken Invariant
		r := &t.run
		for i := 1; i < int(r.n); i++ {
			if q := &r.parts[i]; !w.is(q, run.Replaced) {
				broken = first(broken, w.turn(q, run.Replace))
			}
		}
		broken = first(broken, w.turn(&r.parts[0], run.Replan), w.become(r, run.PlanWithdrawn))
		r.planned, r.gone = 0, 0
		to(t, x.about(), broken)
	})
}

func killExtractor(_ *World, s *state, to next) {
	each(s, func(t state, x *extractor) {
		if t.pay() {
			*t.of(x) = extractor{}
			to(t, x.about(), "")
		}
	})
}

// expire ends the snapshot of a plan, once in a run.
func expire(w *World, s *state, to next) {
	t := *s
	if w.open(s) && s.run.planned > 0 && s.run.gone == 0 && int(s.run.n) < maxParts && t.pay() {
		t.run.gone = 1
		to(t, about{run: s.run.no}, "")
	}
}
