package profile

import "encoding/binary"

// table finds what a batch itself has brought by a 64-bit hash: open addressing, grown once to at least twice what it
// will hold. The zero table holds nothing.
type table struct {
	slots []slot
}

type slot struct {
	tag   uint32
	value int32 // one more than the value; 0: free
}

// grow makes room for n values. Called once, before the first add.
func (t *table) grow(n int) {
	size := 16
	for size < 2*n {
		size *= 2
	}
	t.slots = make([]slot, size)
}

// first answers where to look for h; next where to go on.
func (t *table) first(h uint64) int {
	if t.slots == nil {
		return 0
	}
	return int(h>>32) & (len(t.slots) - 1)
}

func (t *table) next(s int) int { return (s + 1) & (len(t.slots) - 1) }

// at answers the value in slot s where its hash may be h, else -1; more is false when the search is over.
func (t *table) at(s int, h uint64) (value int, more bool) {
	if t.slots == nil {
		return -1, false
	}
	v := t.slots[s]
	switch {
	case v.value == 0:
		return -1, false
	case v.tag != uint32(h): //nolint:gosec // the low half is meant
		return -1, true
	}
	return int(v.value) - 1, true
}

func (t *table) add(h uint64, value int) {
	s := t.first(h)
	for t.slots[s].value != 0 {
		s = t.next(s)
	}
	t.slots[s] = slot{uint32(h), int32(value) + 1} //nolint:gosec // the low half is meant; values are positions of a batch
}

// arena keeps documents in large pieces of memory.
type arena struct {
	free []byte
}

const arenaPiece = 1 << 20

// add answers a copy of b.
func (a *arena) add(b []byte) []byte {
	a.reserve(len(b))
	a.free = append(a.free, b...)
	return a.take(len(b))
}

// chunk answers a copy of b led by its length.
func (a *arena) chunk(b []byte) []byte {
	a.reserve(len(b) + binary.MaxVarintLen64)
	before := len(a.free)
	a.free = append(binary.AppendUvarint(a.free, uint64(len(b))), b...)
	return a.take(len(a.free) - before)
}

func (a *arena) reserve(n int) {
	if cap(a.free)-len(a.free) < n {
		a.free = make([]byte, 0, max(arenaPiece, n))
	}
}

// take answers the last n bytes.
func (a *arena) take(n int) []byte {
	return a.free[len(a.free)-n : len(a.free) : len(a.free)]
}
