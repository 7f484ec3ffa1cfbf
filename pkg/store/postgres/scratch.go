package postgres

import (
	"bytes"
	"context"
	"slices"

	"github.com/jackc/pgx/v5/pgconn"

	"millrace.dev/pkg/id"
	"millrace.dev/pkg/profile"
	"millrace.dev/pkg/store"
)

var _ store.Scratch = (*Store)(nil)

// Noted answers notes of a dry run. The turn is read in the same snapshot.
func (s *Store) Noted(ctx context.Context, run id.Run, keys [][]byte) ([][]byte, int64, error) {
	out, turn := make([][]byte, len(keys)), int64(0)
	asked := newElements(len(keys), 24)
	for _, k := range keys {
		asked.bytes(k)
	}
	err := s.with(ctx, "look", func(c *pgconn.PgConn) error {
		_, err := exec(ctx, c, `SELECT 0::bigint, turn, NULL::bytea FROM millrace_store.scratch_runs WHERE run = $1
			UNION ALL SELECT u.i, NULL, r.value FROM unnest($2::bytea[]) WITH ORDINALITY AS u(k, i), LATERAL (
				SELECT value FROM millrace_store.scratch WHERE run = $1 AND key = u.k LIMIT 1) AS r`,
			func(v [][]byte) {
				if i := getInt8(v[0]); i == 0 {
					turn = getInt8(v[1])
				} else {
					out[i-1] = bytes.Clone(v[2])
				}
			}, uuid(run), asked.byteas())
		return err
	})
	if err != nil {
		return nil, 0, err
	}
	return out, turn, nil
}

// Note puts notes of a dry run.
func (s *Store) Note(ctx context.Context, run id.Run, turn int64, notes []store.Note) error {
	sorted := slices.Clone(notes)
	slices.SortFunc(sorted, func(a, b store.Note) int { return bytes.Compare(a.Key, b.Key) })
	keys, values := newElements(len(sorted), 24), newElements(len(sorted), 128)
	for _, n := range sorted {
		keys.bytes(n.Key)
		values.bytes(n.Value)
	}
	return s.tx(ctx, "note", func(c *pgconn.PgConn) error {
		mine := false
		_, err := exec(ctx, c, `INSERT INTO millrace_store.scratch_runs AS r (run, turn) SELECT $1, 1 WHERE $2 = 0::bigint
				OR EXISTS (SELECT 1 FROM millrace_store.scratch_runs WHERE run = $1)
			ON CONFLICT (run) DO UPDATE SET turn = r.turn + 1 WHERE r.turn = $2 RETURNING turn`,
			func(v [][]byte) { mine = getInt8(v[0]) == turn+1 }, uuid(run), int8of(turn))
		if err != nil {
			return err
		}
		if !mine {
			return changed("note", nil)
		}
		_, err = exec(ctx, c, `INSERT INTO millrace_store.scratch (run, key, value)
			SELECT $1, u.k, u.v FROM unnest($2::bytea[], $3::bytea[]) AS u(k, v)
			ON CONFLICT (run, key) DO UPDATE SET value = EXCLUDED.value`, nil, uuid(run), keys.byteas(), values.byteas())
		return err
	})
}

// Scratched answers the runs that have notes.
func (s *Store) Scratched(ctx context.Context) ([]id.Run, error) {
	var out []id.Run
	err := s.with(ctx, "read", func(c *pgconn.PgConn) error {
		_, err := exec(ctx, c, `SELECT run FROM millrace_store.scratch_runs ORDER BY run`, func(v [][]byte) { out = append(out, id.Run(v[0])) })
		return err
	})
	return out, err
}

// Drop removes all notes of a run.
func (s *Store) Drop(ctx context.Context, run id.Run) error {
	return s.tx(ctx, "drop", func(c *pgconn.PgConn) error {
		if _, err := exec(ctx, c, `DELETE FROM millrace_store.scratch_runs WHERE run = $1`, nil, uuid(run)); err != nil {
			return err
		}
		_, err := exec(ctx, c, `DELETE FROM millrace_store.scratch WHERE run = $1`, nil, uuid(run))
		return err
	})
}

// Unsight removes the keys that are kept of one run.
func (s *Store) Unsight(ctx context.Context, sync id.Sync, runNo int64) error {
	n, err := s.syncs.number(ctx, s.pool, sync, false)
	if err != nil || n < 0 {
		return err
	}
	return s.with(ctx, "drop", func(c *pgconn.PgConn) error {
		_, err := exec(ctx, c, `DELETE FROM millrace_store.sights WHERE sync = $1 AND run_no = $2`, nil, int4(n), int8of(runNo))
		return err
	})
}

// Event answers the document of an event.
func (s *Store) Event(ctx context.Context, sc profile.Scope, k profile.EventKey) (doc []byte, err error) {
	scope, err := s.scopes.number(ctx, s.pool, sc, false)
	if err != nil || scope < 0 {
		return nil, err
	}
	err = s.with(ctx, "read", func(c *pgconn.PgConn) error {
		_, err := exec(ctx, c, `SELECT doc FROM millrace_store.events WHERE scope = $1 AND profile = $2 AND time = $3 AND id = $4`,
			func(v [][]byte) { doc = bytes.Clone(v[0]) }, int4(scope), int8of(int64(k.Profile)), int8of(k.Time), uuid(k.ID))
		return err
	})
	return doc, err
}
