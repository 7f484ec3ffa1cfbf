package postgres

import "encoding/binary"

// ranked is the place of a thing and the first eight bytes of its key, by which things are put in order. Keys are hashes:
// what ties in eight bytes is the same key but for odds that do not matter to an order of locks.
type ranked struct {
	key uint64
	at  int32
}

// rank puts n things in the order of their keys, ties in the order of their places.
func rank(n int, key func(at int) uint64) []ranked {
	x, y := make([]ranked, n), make([]ranked, n)
	for i := range x {
		x[i] = ranked{key(i), int32(i)} //nolint:gosec // as many as rows and identities of a batch
	}
	// Four stable passes over the upper half of the key leave next to nothing in disorder.
	for shift := 32; shift < 64; shift += 8 {
		var start [257]int
		for _, r := range x {
			start[int(byte(r.key>>shift))+1]++ //nolint:gosec // one byte is meant
		}
		for b := range 256 {
			start[b+1] += start[b]
		}
		for _, r := range x {
			b := byte(r.key >> shift) //nolint:gosec // one byte is meant
			y[start[b]] = r
			start[b]++
		}
		x, y = y, x
	}
	for i := 1; i < len(x); i++ {
		for j := i; j > 0 && x[j].key < x[j-1].key; j-- {
			x[j], x[j-1] = x[j-1], x[j]
		}
	}
	return x
}

// leading answers the first eight bytes of a key, so that their order is the keys'.
func leading(key []byte) uint64 { return binary.BigEndian.Uint64(key) }
