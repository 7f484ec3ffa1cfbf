package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/profile"
)

// Types answers the types of the attributes of a scope.
func (s *Store) Types(ctx context.Context, sc profile.Scope) (map[string]profile.AttributeType, error) {
	out := map[string]profile.AttributeType{}
	scope, err := s.scopes.number(ctx, s.pool, sc, false)
	if err != nil || scope < 0 {
		return out, err
	}
	rows, err := s.pool.Query(ctx, `SELECT name, type FROM millrace_store.attribute_types WHERE scope = $1`, scope)
	if err != nil {
		return nil, classify(ctx, "read types", err)
	}
	var name, typ string
	if _, err := pgx.ForEachRow(rows, []any{&name, &typ}, func() error {
		out[name] = profile.AttributeType(typ)
		return nil
	}); err != nil {
		return nil, classify(ctx, "read types", err)
	}
	return out, nil
}

// DefineTypes gives attributes their types.
func (s *Store) DefineTypes(ctx context.Context, sc profile.Scope, ws []profile.TypeWrite) error {
	scope, err := s.scopes.number(ctx, s.pool, sc, true)
	if err != nil {
		return err
	}
	names, from, to := make([]string, len(ws)), make([]string, len(ws)), make([]string, len(ws))
	for i, w := range ws {
		names[i], from[i], to[i] = w.Name, string(w.From), string(w.To)
	}
	changed := false
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `INSERT INTO millrace_store.attribute_types AS t (scope, name, type)
			SELECT $1, u.n, u.t FROM unnest($2::text[], $4::text[]) AS u(n, t) ORDER BY u.n
			ON CONFLICT (scope, name) DO UPDATE SET type = EXCLUDED.type
			WHERE t.type = (SELECT f FROM unnest($2::text[], $3::text[]) AS v(n, f) WHERE v.n = t.name)`, scope, names, from, to)
		if err == nil && tag.RowsAffected() != int64(len(ws)) {
			changed = true
			return pgx.ErrTxClosed // rolled back
		}
		return err //nolint:wrapcheck // classified below
	})
	switch {
	case changed:
		return fault.New(fault.Conflict, fault.ReasonCommitConflict, "store: an attribute has got another type meanwhile; read the types again")
	case err != nil:
		return classify(ctx, "define types", err)
	}
	return nil
}
