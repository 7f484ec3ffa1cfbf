package pebble

import (
	"bytes"
	"context"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// A load leaves many sorted runs in the first level, which is the cheapest way to write it, and every look-up has to go
// through all of them. They are moved down once little is written: between runs, and while a run finds that nearly
// everything is what it was.
const (
	settleEvery = time.Second
	// calm is how many bytes batches may put into the database in that time while it is settled: the marks of a run that
	// changes nothing are a fraction of it, a load many times as much.
	calm = 8 << 20
	// settleAbove is how many sorted runs a look-up may have to go through, settleLate how many where settling would write
	// a lot anew for the little that they have: moving them down rewrites what lies below.
	settleAbove, settleLate = 4, 16
	// settleShare is how large a part of what lies below they have to be to be moved before that.
	settleShare = 8
	// settleStep is about how many bytes of the first level are moved at once. It bounds how long Close waits.
	settleStep = 128 << 20
)

// settling settles the database whenever it is calm, until ctx ends.
func (s *Store) settling(ctx context.Context) {
	ticker := time.NewTicker(settleEvery)
	defer ticker.Stop()
	for before := s.written.Load(); ; {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		now := s.written.Load()
		if now-before < calm && s.broken.Load() == nil {
			s.settle(ctx)
			now = s.written.Load()
		}
		before = now
	}
}

// settle moves what lies in the first level into the last, step by step, where there is room for it. What fails is left
// to the database's own compactions, and to the next time.
func (s *Store) settle(ctx context.Context) {
	m := s.db.Metrics()
	if upper := m.Levels[0]; upper.Sublevels <= settleAbove || upper.Sublevels <= settleLate && upper.TablesSize*settleShare < m.Levels[len(m.Levels)-1].TablesSize {
		return
	}
	steps, err := s.steps()
	if err != nil {
		return
	}
	for i := 1; i < len(steps); i++ {
		if ctx.Err() != nil || s.broken.Load() != nil || s.roomy("settle") != nil {
			return
		}
		if err := s.db.Compact(ctx, steps[i-1], steps[i], true); err != nil {
			return
		}
	}
}

// steps answers keys between which lie about settleStep bytes of the first level each.
func (s *Store) steps() ([][]byte, error) {
	levels, err := s.db.SSTables()
	if err != nil {
		return nil, unavailable("settle", err)
	}
	upper := levels[0]
	if len(upper) == 0 {
		return nil, nil
	}
	slices.SortFunc(upper, func(a, b pebble.SSTableInfo) int { return bytes.Compare(a.Smallest.UserKey, b.Smallest.UserKey) })
	out, size := [][]byte{upper[0].Smallest.UserKey}, uint64(0)
	last := upper[0].Largest.UserKey
	for _, t := range upper {
		if size >= settleStep && !bytes.Equal(t.Smallest.UserKey, out[len(out)-1]) {
			out, size = append(out, t.Smallest.UserKey), 0
		}
		size += t.Size
		if bytes.Compare(t.Largest.UserKey, last) > 0 {
			last = t.Largest.UserKey
		}
	}
	if !bytes.Equal(last, out[len(out)-1]) {
		out = append(out, last)
	}
	return out, nil
}
