package postgres

import (
	"context"

	"millrace.dev/pkg/profile"
)

// Sweep removes events of a scope whose time is before `before`.
func (s *Store) Sweep(ctx context.Context, sc profile.Scope, before int64, limit int) (int, error) {
	scope, err := s.scopes.number(ctx, s.pool, sc, false)
	if err != nil || scope < 0 {
		return 0, err
	}
	tag, err := s.pool.Exec(ctx, `DELETE FROM millrace_store.events AS e USING (
			SELECT profile, time, id FROM millrace_store.events WHERE scope = $1 AND time < $2 LIMIT $3) AS x
		WHERE e.scope = $1 AND e.profile = x.profile AND e.time = x.time AND e.id = x.id`, scope, before, limit)
	if err != nil {
		return 0, classify(ctx, "sweep", err)
	}
	return int(tag.RowsAffected()), nil
}
