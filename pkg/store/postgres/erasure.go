package postgres

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/profile"
	"millrace.dev/pkg/store"
)

var _ store.Erasures = (*Store)(nil)

// Salt answers what is kept of a workspace's key.
func (s *Store) Salt(ctx context.Context, w id.Workspace, first []byte) (salt []byte, err error) {
	if len(first) > 0 {
		_, err = s.pool.Exec(ctx, `INSERT INTO millrace_store.salts (workspace, salt) VALUES ($1, $2) ON CONFLICT DO NOTHING`, string(w), first)
		if err != nil {
			return nil, classify(ctx, "keep a key", err)
		}
	}
	err = s.pool.QueryRow(ctx, `SELECT salt FROM millrace_store.salts WHERE workspace = $1`, string(w)).Scan(&salt)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return nil, classify(ctx, "read a key", err)
	}
	return salt, nil
}

// Erasure answers an erasure.
func (s *Store) Erasure(ctx context.Context, at profile.ErasureID) (profile.Erasure, bool, error) {
	rows, err := s.pool.Query(ctx, `SELECT body FROM millrace_store.erasures WHERE id = $1`, [16]byte(at))
	out, err := collect(ctx, rows, err, scanErasure)
	if err != nil || len(out) == 0 {
		return profile.Erasure{}, false, err
	}
	return out[0], true, nil
}

// Unfinished answers erasures that are not done.
func (s *Store) Unfinished(ctx context.Context, limit int) ([]profile.Erasure, error) {
	rows, err := s.pool.Query(ctx, `SELECT body FROM millrace_store.erasures WHERE NOT done ORDER BY id LIMIT $1`, limit)
	return collect(ctx, rows, err, scanErasure)
}

func scanErasure(r pgx.CollectableRow) (profile.Erasure, error) {
	var body []byte
	if err := r.Scan(&body); err != nil {
		return profile.Erasure{}, err //nolint:wrapcheck // classified by collect
	}
	return profile.DecodeErasure(body) //nolint:wrapcheck // classified by profile
}

// Blocked says which hashes are in the hash list of a scope.
func (s *Store) Blocked(ctx context.Context, sc profile.Scope, hashes []profile.Hash) ([]bool, error) {
	out := make([]bool, len(hashes))
	scope, err := s.scopes.number(ctx, s.pool, sc, false)
	if err != nil || scope < 0 || len(hashes) == 0 {
		return out, err
	}
	keys := newElements(len(hashes), 16)
	for _, h := range hashes {
		keys.bytes(h[:])
	}
	err = s.with(ctx, "read a hash list", func(c *pgconn.PgConn) error {
		_, err := exec(ctx, c, `SELECT u.i FROM unnest($2::uuid[]) WITH ORDINALITY AS u(h, i), LATERAL (
			SELECT FROM millrace_store.blocked WHERE scope = $1 AND hash = u.h LIMIT 1) AS r`,
			func(v [][]byte) { out[getInt8(v[0])-1] = true }, int4(scope), keys.uuids())
		return err
	})
	return out, err
}

// Tags answers tags of the hash list of a scope.
func (s *Store) Tags(ctx context.Context, sc profile.Scope, after int64, limit int) (out []uint32, err error) {
	scope, err := s.scopes.number(ctx, s.pool, sc, false)
	if err != nil || scope < 0 {
		return nil, err
	}
	err = s.with(ctx, "read a hash list", func(c *pgconn.PgConn) error {
		_, err := exec(ctx, c, `SELECT tag FROM millrace_store.blocked WHERE scope = $1 AND n >= $2 ORDER BY n LIMIT $3`,
			func(v [][]byte) { out = append(out, binary.BigEndian.Uint32(v[0])) }, int4(scope), int8of(after), int8of(int64(limit)))
		return err
	})
	return out, err
}

// RowsOf answers rows that went to some profiles.
func (s *Store) RowsOf(ctx context.Context, sync id.Sync, ps []id.Profile, after string, limit int) (out []id.Row, next string, err error) {
	n, err := s.syncs.number(ctx, s.pool, sync, false)
	if err != nil || n < 0 {
		return nil, "", err
	}
	from, compare := [16]byte{}, ">="
	if after != "" {
		b, err := hex.DecodeString(after)
		if err != nil || len(b) != len(from) {
			return nil, "", badToken()
		}
		from, compare = [16]byte(b), ">"
	}
	looked, bad := 0, false
	err = s.with(ctx, "read", func(c *pgconn.PgConn) error {
		_, err := exec(ctx, c, `SELECT key, entry FROM millrace_store.row_index
			WHERE sync = $1 AND key `+compare+` $2 ORDER BY key LIMIT $3`, func(v [][]byte) {
			looked++
			e, ok := readEntry(v[1])
			bad = bad || !ok
			if slices.Contains(ps, e.Profile) {
				out = append(out, id.Row(v[0]))
			}
			copy(from[:], v[0])
		}, int4(n), uuid(from), int8of(int64(limit)))
		return err
	})
	switch {
	case err != nil:
		return nil, "", err
	case bad:
		return nil, "", damagedEntry()
	case looked < limit:
		return out, "", nil
	}
	return out, hex.EncodeToString(from[:]), nil
}

func damagedEntry() error {
	return fault.New(fault.Internal, fault.ReasonInternal, "store: read: an entry of the row index can not be read")
}

// EventsWith answers events with some ids.
func (s *Store) EventsWith(ctx context.Context, sc profile.Scope, ids []profile.EventID, after string, limit int) (out []profile.EventKey, next string, err error) {
	scope, err := s.scopes.number(ctx, s.pool, sc, false)
	if err != nil || scope < 0 {
		return nil, "", err
	}
	where := ""
	params := []param{int4(scope), int8of(int64(limit))}
	if after != "" {
		var p, at int64
		var key []byte
		if err := scanf(after, "%d %d %x", &p, &at, &key); err != nil || len(key) != len(profile.EventID{}) {
			return nil, "", badToken()
		}
		where = ` AND (profile, time, id) > ($3, $4, $5)`
		params = append(params, int8of(p), int8of(at), uuid([16]byte(key)))
	}
	looked := 0
	var last profile.EventKey
	err = s.with(ctx, "read", func(c *pgconn.PgConn) error {
		_, err := exec(ctx, c, `SELECT profile, time, id FROM millrace_store.events WHERE scope = $1`+where+`
			ORDER BY profile, time, id LIMIT $2`, func(v [][]byte) {
			looked++
			last = profile.EventKey{Profile: id.Profile(getInt8(v[0])), Time: getInt8(v[1]), ID: profile.EventID(v[2])}
			if slices.Contains(ids, last.ID) {
				out = append(out, last)
			}
		}, params...)
		return err
	})
	if err != nil || looked < limit {
		return out, "", err
	}
	return out, fmt.Sprintf("%d %d %x", last.Profile, last.Time, last.ID[:]), nil
}

// AllRejects answers the rejects of all runs.
func (s *Store) AllRejects(ctx context.Context, after string, limit int) ([]store.StoredReject, string, error) {
	var run []byte
	at := [6]int64{-1, -1, -1, -1, -1, -1}
	first := id.Run{}
	if after != "" {
		if err := scanf(after, "%x %d %d %d %d %d %d", &run, &at[0], &at[1], &at[2], &at[3], &at[4], &at[5]); err != nil || len(run) != len(first) {
			return nil, "", badToken()
		}
		first = id.Run(run)
	}
	rows, err := s.pool.Query(ctx, `SELECT part, epoch, seq, fragment, row, key, hash, key_values, column_name, stage, rule, reason,
			workspace, sync, sync_id, create_time, n, run
		FROM millrace_store.rejects WHERE (run, part, epoch, seq, fragment, row, n) > ($1, $2, $3, $4, $5, $6, $7)
		ORDER BY run, part, epoch, seq, fragment, row, n LIMIT $8`, [16]byte(first), at[0], at[1], at[2], at[3], at[4], at[5], limit)
	var n int64 // of the last one
	out, err := collect(ctx, rows, err, func(r pgx.CollectableRow) (store.StoredReject, error) {
		var of [16]byte
		x, err := scanReject(id.Run{}, r, &n, &of)
		x.Batch.Run = of
		return x, err
	})
	if err != nil || len(out) < limit {
		return out, "", err
	}
	x := out[len(out)-1]
	return out, fmt.Sprintf("%x %d %d %d %d %d %d", x.Batch.Run[:], x.Batch.Part, x.Batch.Epoch, x.Batch.Seq, x.Batch.Fragment, x.Reject.Row, n), nil
}
