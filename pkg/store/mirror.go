package store

import (
	"context"

	"millrace.dev/pkg/id"
	"millrace.dev/pkg/record"
)

// Mirrors is what the last part of a mirror run asks of a store: which rows of the row index no part of the run has read.
type Mirrors interface {
	// Sight keeps keys of a batch as Commit keeps Effects.Sighted, for a dry pass, in which nothing is committed. It is
	// idempotent by batch.
	Sight(ctx context.Context, o record.Origin, keys []id.Row) error
	// Sighted answers how many keys are kept of the rows that the parts of a reading read, repeats included.
	Sighted(ctx context.Context, r Reading) (int64, error)
	// Absent answers the keys of the sync's row index that begin with a byte and that no part of the reading read, in
	// ascending order: of rows that are there, and of those that the run itself, or one that it retries, has deleted.
	// Tombstones of other runs that it meets it removes, unless the reading is dry; no such run may be open. Its memory is that of the keys which
	// begin with the byte.
	Absent(ctx context.Context, r Reading, first byte) ([]id.Row, error)
	// Forget removes the keys that are kept of runs of a sync before a run.
	Forget(ctx context.Context, s id.Sync, before int64) error
}

// Reading is what a run read: the attempts that count, of the run itself or of those that it retries.
type Reading struct {
	Sync    id.Sync
	RunNo   int64
	Retried []int64
	Parts   []ReadPart
	Dry     bool // nothing is removed
}

// ReadPart is an attempt that read a part to its end.
type ReadPart struct {
	RunNo int64
	Part  uint32
	Epoch uint32
}

// Owns says whether a run is that of the reading, or one that it retries.
func (r Reading) Owns(runNo int64) bool {
	if runNo == r.RunNo {
		return true
	}
	for _, n := range r.Retried {
		if n == runNo {
			return true
		}
	}
	return false
}

// Runs answers the ordinals of the runs of which parts count, each once.
func (r Reading) Runs() []int64 {
	var out []int64
	seen := map[int64]bool{}
	for _, p := range r.Parts {
		if !seen[p.RunNo] {
			seen[p.RunNo] = true
			out = append(out, p.RunNo)
		}
	}
	return out
}

// Oldest answers the first run whose keys a reading, or a retry of its run, may still ask for.
func (r Reading) Oldest() int64 {
	out := r.RunNo
	for _, n := range r.Retried {
		out = min(out, n)
	}
	return out
}

// KeySet is row keys, each once. The zero set is empty; it is not safe for concurrent use.
type KeySet struct {
	slots []id.Row
	used  []bool
	n     int
}

// Add puts a key in.
func (s *KeySet) Add(k id.Row) {
	if 2*s.n >= len(s.slots) {
		s.grow()
	}
	at := s.find(k)
	if !s.used[at] {
		s.slots[at], s.used[at] = k, true
		s.n++
	}
}

// Has says whether a key is in.
func (s *KeySet) Has(k id.Row) bool { return s.n > 0 && s.used[s.find(k)] }

// Reset takes all keys out and keeps the room.
func (s *KeySet) Reset() {
	clear(s.used)
	s.n = 0
}

// find answers the place of a key: where it is, or would be. Row keys are hashes: their bytes are as good as those of
// another hash, but for the first, which keys of one set may share.
func (s *KeySet) find(k id.Row) int {
	at := int(uint32(k[8])|uint32(k[9])<<8|uint32(k[10])<<16|uint32(k[11])<<24) & (len(s.slots) - 1)
	for s.used[at] && s.slots[at] != k {
		at = (at + 1) & (len(s.slots) - 1)
	}
	return at
}

func (s *KeySet) grow() {
	old, used := s.slots, s.used
	size := max(1024, 2*len(old))
	s.slots, s.used = make([]id.Row, size), make([]bool, size)
	for i, k := range old {
		if used[i] {
			at := s.find(k)
			s.slots[at], s.used[at] = k, true
		}
	}
}
