package protocol

import (
	"bytes"
	"cmp"
	"slices"
)

// state is all that processes, stores and streams hold at one moment.
type state struct {
	faults     uint8 // that may still happen
	source     uint8 // versions that are committed
	checkpoint uint8 // seconds; 0: none
	owed       uint8 // rows that the source had at or below the checkpoint when its watermark was fixed
	run        openRun
	extractors [extractors]extractor
	mapper     hand
	ingestion  hand
	fences     [maxRuns][maxParts]uint8 // of ingestion's store
	index      [maxKeys]entry
	n          uint8
	batches    [maxBatches]batch // the first n, by name
}

// openRun is the run that is open, or was last; the scheduler's rows.
type openRun struct {
	no, state uint8
	closing   uint8 // 0; else what it will be closed as
	from      uint8 // the checkpoint that it begins at
	retried   uint8 // runs that it retries, a bit each
	base      [maxKeys]uint8
	planned   uint8
	gone      uint8 // the plan's snapshot has expired
	first     uint8 // part of the plan
	snapshot  uint8
	known     uint8 // what the source had when the watermark was fixed
	n         uint8
	parts     [maxParts]part
}

// What a run is closed as.
const (
	closingFailed = 1 + iota
	closingCancelled
)

type part struct {
	state, epoch, fence  uint8
	readEpoch, readCount uint8
	origin               uint8 // run + 1 that a finished part was adopted of
	published            [partRows]uint8
	ingested             [partRows]uint8
}

// extractor is what one process has in memory. run 0: nothing.
type extractor struct {
	run, part, epoch uint8
	phase, seq       uint8
	rows             uint8 // planning: the snapshot's; else those to read
	known            uint8 // planning: what the source had when the watermark was fixed
}

// The phases of an extractor.
const (
	begun     = iota
	planning  // the snapshot is fixed
	publishes // the broker has the batch, the account does not know
)

// hand is a message that a mapper or ingestion has in hand.
type hand struct{ run, part, epoch, seq, phase, result uint8 }

// The phases of a hand.
const (
	empty = iota
	taken
	written  // mapper: the record is on RECORDS; ingestion: effects and batch key are durable
	unkeyed  // effects without the batch key
	reported // or fenced
)

// entry is one of the row index. row 0: none.
type entry struct{ row, run, part, epoch, effect uint8 }

// batch is one batch of one row, by its name, wherever it is.
type batch struct {
	run, part, epoch, seq uint8
	row                   uint8 // the version + 1
	flags                 uint8
	result                uint8 // what it became, as its batch key says; 0: not applied
}

// Where a batch is.
const (
	onRows = 1 << iota
	onRecords
	mapped // has been on RECORDS
	lost   // the broker lost it
)

func (b *batch) is(flag uint8) bool { return b.flags&flag != 0 }

func (b *batch) named(h hand) bool {
	return b.run == h.run && b.part == h.part && b.epoch == h.epoch && b.seq == h.seq
}

func (b *batch) hand(phase uint8) hand {
	return hand{run: b.run, part: b.part, epoch: b.epoch, seq: b.seq, phase: phase}
}

func (s *state) all() []batch { return s.batches[:s.n] }

// find answers the batch of a name, nil where there is none.
func (s *state) find(h hand) *batch {
	for i := range s.all() {
		if s.batches[i].named(h) {
			return &s.batches[i]
		}
	}
	return nil
}

func (s *state) part(p uint8) *part { return &s.run.parts[p] }

// settle brings a state into its one form: batches in order, without those that nothing can speak of any more, and
// extractors in order, for they are alike.
func (s *state) settle(w *World) {
	if a, b := s.extractors[0].bytes(), s.extractors[1].bytes(); bytes.Compare(a[:], b[:]) > 0 {
		s.extractors[0], s.extractors[1] = s.extractors[1], s.extractors[0]
	}
	n := 0
	for _, b := range s.all() {
		if s.spoken(w, &b) {
			s.batches[n] = b
			n++
		}
	}
	clear(s.batches[n:])
	s.n = uint8(n) //nolint:gosec // few batches
	slices.SortFunc(s.all(), func(a, b batch) int {
		return cmp.Or(cmp.Compare(a.run, b.run), cmp.Compare(a.part, b.part), cmp.Compare(a.epoch, b.epoch), cmp.Compare(a.seq, b.seq))
	})
}

// spoken says whether something may still speak of a batch.
func (s *state) spoken(w *World, b *batch) bool {
	if b.flags&(onRows|onRecords) != 0 || s.held(b) {
		return true
	}
	for _, x := range s.extractors {
		if x.run == b.run && x.part == b.part && x.epoch == b.epoch {
			return true
		}
	}
	return w.open(s) && b.run == s.run.no && b.epoch == s.run.parts[b.part].epoch
}

// held says whether a process has the batch's message in hand.
func (s *state) held(b *batch) bool {
	return (s.mapper.phase != empty && b.named(s.mapper)) || (s.ingestion.phase != empty && b.named(s.ingestion))
}

func (x *extractor) bytes() [7]byte {
	return [7]byte{x.run, x.part, x.epoch, x.phase, x.seq, x.rows, x.known}
}

func (h *hand) append(b []byte) []byte {
	return append(b, h.run, h.part, h.epoch, h.seq, h.phase, h.result)
}

// append writes a state down; equal states in the same bytes.
func (s *state) append(b []byte) []byte {
	b = append(b, s.faults, s.source, s.checkpoint, s.owed)
	r := &s.run
	b = append(b, r.no, r.state, r.closing, r.from, r.retried, r.planned, r.gone, r.first, r.snapshot, r.known, r.n)
	b = append(b, r.base[:]...)
	for i := range r.parts[:r.n] {
		p := &r.parts[i]
		b = append(b, p.state, p.epoch, p.fence, p.readEpoch, p.readCount, p.origin)
		b = append(append(b, p.published[:]...), p.ingested[:]...)
	}
	for i := range s.extractors {
		x := s.extractors[i].bytes()
		b = append(b, x[:]...)
	}
	b = s.ingestion.append(s.mapper.append(b))
	for i := range s.fences {
		b = append(b, s.fences[i][:]...)
	}
	for _, e := range s.index {
		b = append(b, e.row, e.run, e.part, e.epoch, e.effect)
	}
	for i := range s.all() {
		x := &s.batches[i]
		b = append(b, x.run, x.part, x.epoch, x.seq, x.row, x.flags, x.result)
	}
	return b
}
