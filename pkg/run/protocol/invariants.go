package protocol

import (
	"millrace.dev/pkg/profile"
	"millrace.dev/pkg/record"
	"millrace.dev/pkg/row"
	"millrace.dev/pkg/run"
)

// Invariant is what must hold, in words.
type Invariant string

// The invariants.
const (
	NothingLost        Invariant = "nothing is lost: what a succeeded run's window holds is in the store when it closes"
	NothingTwice       Invariant = "nothing counts twice: a run's counts are those of an undisturbed run"
	AccountIsTrue      Invariant = "an account that closes is true: it counts what was read and what the store holds, no more and no less"
	CheckpointFollows  Invariant = "the checkpoint never passes what is accounted for"
	NoEffectBelowFence Invariant = "a batch below its part's fence, or of a closed run, has no effect"
	OneWorkerAnEpoch   Invariant = "two workers never share an epoch"
	AckMeansDurable    Invariant = "an ack means durable: a message goes only when its effect is kept"
	StatesFollow       Invariant = "every step is one that the state tables of package run know"
	EveryRunEnds       Invariant = "no deadlock: from every state the open run can still end"
)

// Invariants lists what Explore checks.
func Invariants() []Invariant {
	return []Invariant{NothingLost, NothingTwice, AccountIsTrue, CheckpointFollows, NoEffectBelowFence, OneWorkerAnEpoch, AckMeansDurable, StatesFollow, EveryRunEnds}
}

// always answers what does not hold in a state, whatever step led to it.
func (w *World) always(s *state) Invariant {
	for r, v := range versions() {
		if s.owed&(1<<r) != 0 && int(s.index[v.key].row) <= r {
			return CheckpointFollows
		}
	}
	for i := range s.all() {
		b := &s.batches[i]
		if b.flags&(onRows|onRecords|lost) == 0 && b.result == 0 && b.epoch >= s.fences[b.run-1][b.part] {
			return AckMeansDurable
		}
	}
	return ""
}

// digest answers the sum over the hashes of rows.
func (w *World) digest(rows uint8) (sum row.Hash, n int64) {
	for r, h := range w.source.hashes {
		if rows&(1<<r) != 0 {
			sum, n = sum.Add(h), n+1
		}
	}
	return sum, n
}

// trueOfPart holds the account of a part that has become complete against the rows that the part is to read.
func (w *World) trueOfPart(s *state, i uint8, a run.Account) Invariant {
	want, n := w.digest(w.rowsOf(&s.run, i))
	if a.Accounted != want || a.Read != want || a.Rows != n || a.Counts.Read != n {
		return AccountIsTrue
	}
	return ""
}

// trueOfRun holds what a run that has closed, however, counts of its parts' last epochs against the store.
func (w *World) trueOfRun(s *state) Invariant {
	for i := range s.all() {
		b := &s.batches[i]
		if b.run != s.run.no || b.result == 0 {
			continue
		}
		if p := s.part(b.part); p.epoch == b.epoch && !w.is(p, run.Replaced) && p.ingested[b.seq] == 0 {
			return AccountIsTrue
		}
	}
	return ""
}

// whole holds a run that has just succeeded against the rows of its window and against an undisturbed run.
func (w *World) whole(s *state, sum run.Account) Invariant {
	p := w.planOf(s.run.from, s.run.snapshot, s.run.known)
	for r, v := range versions() {
		if p.truth&(1<<r) != 0 && int(s.index[v.key].row) <= r {
			return NothingLost
		}
	}
	want, n := w.digest(p.truth)
	if sum.Read != want || sum.Accounted != want || sum.Rows != n {
		return AccountIsTrue
	}
	if sum.Counts != undisturbed(&s.run, p.truth) {
		return NothingTwice
	}
	return ""
}

// undisturbed answers the counts of a run to which nothing happens, over the row index that it began with.
func undisturbed(r *openRun, rows uint8) record.Counts {
	var c record.Counts
	for i, v := range versions() {
		if rows&(1<<i) == 0 {
			continue
		}
		effect := profile.Updated
		switch int(r.base[v.key]) {
		case 0:
			effect = profile.Created
		case i + 1:
			effect = profile.Unchanged
		}
		c = c.Add(countsOf(1 + uint8(effect)))
	}
	return c
}
