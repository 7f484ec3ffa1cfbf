package pebble

import "slices"

// recent holds what the last commits have touched, to tell whether a batch that looked before them may still commit.
// Guarded by Store.mu.
type recent struct {
	commits []touched // by seq, ascending
	total   int       // hashes in all of them
	gone    uint64    // the last commit that was forgotten
}

// maxRecent bounds the hashes that are held: sixteen bytes each.
const maxRecent = 1 << 20

// touched is the hashes of what one commit touched, in open addressing.
type touched struct {
	seq   uint64
	slots []uint64
	n     int

	merged []uint64 // profiles that were merged into others: nothing may go to them any more
}

func newTouched(n int) touched {
	size := 16
	for size < 2*n {
		size *= 2
	}
	return touched{slots: make([]uint64, size)}
}

func (t *touched) add(h uint64) {
	s := h >> 32 & uint64(len(t.slots)-1)
	for t.slots[s] != 0 {
		if t.slots[s] == h {
			return
		}
		s = (s + 1) & uint64(len(t.slots)-1)
	}
	t.slots[s] = h
	t.n++
}

func (t *touched) has(h uint64) bool {
	s := h >> 32 & uint64(len(t.slots)-1)
	for t.slots[s] != 0 {
		if t.slots[s] == h {
			return true
		}
		s = (s + 1) & uint64(len(t.slots)-1)
	}
	return false
}

// clashes says whether a commit behind `since` has touched something of t, has merged a profile that something goes to, or
// is forgotten.
func (r *recent) clashes(since uint64, t *touched, goesTo func(profile uint64) bool) bool {
	if since < r.gone {
		return true
	}
	for i := len(r.commits) - 1; i >= 0 && r.commits[i].seq > since; i-- {
		a, b := t, &r.commits[i]
		if slices.ContainsFunc(b.merged, goesTo) {
			return true
		}
		if a.n > b.n {
			a, b = b, a
		}
		for _, h := range a.slots {
			if h != 0 && b.has(h) {
				return true
			}
		}
	}
	return false
}

// add remembers a commit and forgets the oldest ones where they are too many.
func (r *recent) add(t touched) {
	r.commits = append(r.commits, t)
	r.total += t.n
	drop := 0
	for r.total > maxRecent && drop < len(r.commits)-1 {
		r.total -= r.commits[drop].n
		r.gone = r.commits[drop].seq
		r.commits[drop] = touched{}
		drop++
	}
	r.commits = r.commits[drop:]
}
