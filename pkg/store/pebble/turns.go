package pebble

import (
	"sync"
	"sync/atomic"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/profile"
)

// turns number what enters the database. Commits that are let in one after the other may enter side by side: they touch
// different things. All else enters alone.
type turns struct {
	// entering is held for reading by commits on their way into the database. Who takes it for writing holds Store.mu, so
	// that none follows.
	entering sync.RWMutex

	mu     sync.Mutex
	last   uint64           // the last number that was given
	flying []profile.Result // of commits on their way, by their numbers, ascending
	number []uint64
	seen   atomic.Uint64 // whoever loads it meets all that entered up to it
}

// take gives a commit the next number. Called with Store.mu held.
func (t *turns) take(r profile.Result) uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last++
	t.flying, t.number = append(t.flying, r), append(t.number, t.last)
	return t.last
}

// land says that what has that number is in the database.
func (t *turns) land(n uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range t.number {
		if t.number[i] == n {
			t.flying, t.number = append(t.flying[:i:i], t.flying[i+1:]...), append(t.number[:i:i], t.number[i+1:]...)
			break
		}
	}
	if len(t.number) > 0 {
		t.seen.Store(t.number[0] - 1)
	} else {
		t.seen.Store(t.last)
	}
}

// meets answers what a fragment that asks to be let in has to do with those on their way: Conflict where it is one of
// them, Invalid where it covers rows of one of its batch.
func (t *turns) meets(r profile.Result) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, o := range t.flying {
		if o.Batch == r.Batch {
			return changed()
		}
		if o.Batch.Whole() == r.Batch.Whole() && covers(o, r) {
			return overlapping(r)
		}
	}
	return nil
}

// alone takes the right to enter the database with nothing on its way; its answer gives it back. The number is of what
// then enters.
func (s *Store) alone() (done func()) {
	s.mu.Lock()
	s.turns.entering.Lock()
	return func() {
		s.turns.entering.Unlock()
		s.mu.Unlock()
	}
}

// next answers the number of what has entered alone, and lets it be seen. Called by whoever is alone.
func (t *turns) next() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last++
	t.seen.Store(t.last)
	return t.last
}

func covers(a, b profile.Result) bool {
	return a.FirstRow < b.FirstRow+b.Rows && b.FirstRow < a.FirstRow+a.Rows
}

func overlapping(r profile.Result) error {
	return fault.New(fault.Invalid, fault.ReasonInvalidArgument,
		"store: batch %s covers rows that another fragment of the batch has applied", r.Batch)
}
