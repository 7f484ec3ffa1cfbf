package bus

import (
	"slices"
	"sync"
)

// triesKept bounds how many messages are remembered. The broker has at most MaxAckPending undecided ones at a time; the
// rest of the table is what other processes have settled meanwhile.
const triesKept = 1024

// tries counts by stream sequence how often messages failed by their own content. It lives as long as one Consume: a
// restart forgets, a new lease or a delivery that was lost counts nothing.
type tries struct {
	mu sync.Mutex
	n  map[uint64]int
}

func newTries() *tries { return &tries{n: map[uint64]int{}} }

func (t *tries) count(seq uint64) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.n[seq]
}

// add counts one more failure and answers how many there were.
func (t *tries) add(seq uint64) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.n[seq]++
	if len(t.n) > triesKept {
		t.dropOldest()
	}
	return t.n[seq]
}

func (t *tries) forget(seq uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.n, seq)
}

// dropOldest forgets the older half.
func (t *tries) dropOldest() {
	seqs := make([]uint64, 0, len(t.n))
	for s := range t.n {
		seqs = append(seqs, s)
	}
	slices.Sort(seqs)
	for _, s := range seqs[:len(seqs)/2] {
		delete(t.n, s)
	}
}
