package protocol

import "millrace.dev/pkg/run"

// on tells of every batch with a flag, with a state of its own and the batch in it.
func on(s *state, flag uint8, f func(t state, i int, b batch)) {
	for i, b := range s.all() {
		if b.is(flag) {
			f(*s, i, b)
		}
	}
}

// mapBatch makes the records durable; only then is the rows' message acked.
func mapBatch(w *World, s *state, to next) {
	if w.Broken == AckRowsLast {
		mapTooLate(s, to)
		return
	}
	if s.mapper.phase != empty {
		return
	}
	on(s, onRows, func(t state, i int, b batch) {
		t.batches[i].flags |= onRecords | mapped
		t.mapper = b.hand(written)
		to(t, about{batch: b.hand(0)}, "")
	})
}

// mapTooLate is mapBatch with the ack first.
func mapTooLate(s *state, to next) {
	if s.mapper.phase == taken {
		t := *s
		t.mapper = hand{}
		if b := t.find(s.mapper); b != nil {
			b.flags |= onRecords | mapped
		}
		to(t, about{batch: s.mapper}, "")
		return
	}
	on(s, onRows, func(t state, i int, b batch) {
		t.batches[i].flags &^= onRows
		t.mapper = b.hand(taken)
		to(t, about{who: "(acks first)", batch: b.hand(0)}, "")
	})
}

func ackRows(_ *World, s *state, to next) {
	if s.mapper.phase == written {
		t := *s
		t.mapper = hand{}
		if b := t.find(s.mapper); b != nil {
			b.flags &^= onRows
		}
		to(t, about{batch: s.mapper}, "")
	}
}

func takeRecord(w *World, s *state, to next) {
	if s.ingestion.phase != empty {
		return
	}
	on(s, onRecords, func(t state, i int, b batch) {
		if w.Broken == AckAfterCommit {
			t.batches[i].flags &^= onRecords
		}
		t.ingestion = b.hand(taken)
		to(t, about{batch: b.hand(0)}, "")
	})
}

// commit writes effects and batch key in one durable step, or finds the key, or the fence.
func commit(w *World, s *state, to next) {
	if s.ingestion.phase != taken && s.ingestion.phase != unkeyed {
		return
	}
	t := *s
	b := t.find(s.ingestion)
	if b == nil {
		return
	}
	fence := s.fences[b.run-1][b.part]
	switch below := b.epoch < fence; {
	case s.ingestion.phase == unkeyed:
		b.result, t.ingestion.result, t.ingestion.phase = s.ingestion.result, 0, written
		to(t, about{who: "(the batch key)", batch: s.ingestion}, "")
		return
	case b.result > 0:
		t.ingestion.phase = written
		to(t, about{batch: s.ingestion}, "")
		return
	case below && w.Broken != FenceInCommit:
		t.ingestion.phase = reported
		to(t, about{batch: s.ingestion}, "")
		return
	}
	var broken Invariant
	if b.epoch < fence || !w.open(s) || b.run != s.run.no {
		broken = NoEffectBelowFence
	}
	d := w.decide(s, b)
	t.index[versions()[b.row-1].key] = d.entry
	if w.Broken == BatchKeyWithEffects {
		t.ingestion.phase, t.ingestion.result = unkeyed, d.result
	} else {
		t.ingestion.phase, b.result = written, d.result
	}
	to(t, about{batch: s.ingestion, row: b.row}, broken)
}

// report tells the account what a batch became. An account whose epoch is over does not want to know.
func report(w *World, s *state, to next) {
	if s.ingestion.phase != written {
		return
	}
	t := *s
	t.ingestion.phase = reported
	var broken Invariant
	h := s.ingestion
	if b := t.find(h); b != nil {
		if p := w.current(&t, h.run, h.part, h.epoch); p != nil && !w.is(p, run.Complete) && b.result > 0 {
			broken = first(t.fold(p, b), w.close(&t, h.part))
		}
	}
	to(t, about{batch: h}, broken)
}

func ackRecord(_ *World, s *state, to next) {
	if s.ingestion.phase == reported {
		t := *s
		t.ingestion = hand{}
		if b := t.find(s.ingestion); b != nil {
			b.flags &^= onRecords
		}
		to(t, about{batch: s.ingestion}, "")
	}
}

func killMapper(_ *World, s *state, to next) {
	t := *s
	if s.mapper.phase != empty && t.pay() {
		t.mapper = hand{}
		to(t, about{batch: s.mapper}, "")
	}
}

func killIngestion(_ *World, s *state, to next) {
	t := *s
	if s.ingestion.phase != empty && t.pay() {
		t.ingestion = hand{}
		to(t, about{batch: s.ingestion}, "")
	}
}

func loseRows(_ *World, s *state, to next)    { lose(s, onRows, to) }
func loseRecords(_ *World, s *state, to next) { lose(s, onRecords, to) }

func lose(s *state, flag uint8, to next) {
	on(s, flag, func(t state, i int, b batch) {
		if t.pay() {
			t.batches[i].flags = t.batches[i].flags&^flag | lost
			to(t, about{batch: b.hand(0)}, "")
		}
	})
}

func wipe(_ *World, s *state, to next) {
	t := *s
	n := 0
	for i := range t.all() {
		if b := &t.batches[i]; b.flags&(onRows|onRecords) != 0 {
			b.flags = b.flags&^(onRows|onRecords) | lost
			n++
		}
	}
	if n > 1 && t.pay() { // of one message it is a loss
		to(t, about{}, "")
	}
}

// A broker that has forgotten a message's id stores it again when its publisher repeats it, though it was worked on.
func repeatRows(_ *World, s *state, to next)    { again(s, mapped, onRows, to) }
func repeatRecords(_ *World, s *state, to next) { again(s, mapped, onRecords, to) }

func again(s *state, was, flag uint8, to next) {
	on(s, was, func(t state, i int, b batch) {
		if !b.is(flag) && t.pay() {
			t.batches[i].flags |= flag
			to(t, about{batch: b.hand(0)}, "")
		}
	})
}
