package pebble

import (
	"context"

	"millrace.dev/pkg/profile"
)

// Sweep removes events of a scope whose time is before `before`.
func (s *Store) Sweep(ctx context.Context, sc profile.Scope, before int64, limit int) (int, error) {
	scope, known := s.dict.find(wordScope, scopeName(sc))
	if !known {
		return 0, s.usable(ctx)
	}
	if err := s.usable(ctx); err != nil {
		return 0, err
	}
	b := s.db.NewBatch()
	n := 0
	err := s.each(ctx, eventPrefix(nil, scope, 0)[:5], nil, func(k, _ []byte) (bool, error) {
		e, ok := readEventKey(k)
		if !ok {
			return false, damaged("an event")
		}
		if e.Time >= before {
			return true, nil
		}
		n++
		if err := b.Delete(k, nil); err != nil {
			return false, unavailable("sweep", err)
		}
		return n < limit, nil
	})
	if err != nil || n == 0 {
		return 0, err
	}
	if err := commitSynced(s.db, b); err != nil {
		return 0, s.breakDown("sweep", err)
	}
	return n, nil
}
