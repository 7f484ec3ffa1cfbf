package postgres

import (
	"bytes"
	"context"
	"slices"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"millrace.dev/pkg/id"
	"millrace.dev/pkg/profile"
)

func bytea(v []byte) param { return param{pgtype.ByteaOID, append([]byte{}, v...)} }

// Erase makes a step of an erasure in one transaction, in which no commit of the scope goes on.
func (s *Store) Erase(ctx context.Context, e profile.Erasing) error {
	scope, err := s.scopes.number(ctx, s.pool, e.Erasure.Scope, true)
	if err != nil {
		return err
	}
	w := erasing{ctx: ctx, e: e, scope: scope}
	if len(e.Events) > 0 {
		if w.events, err = s.scopes.number(ctx, s.pool, e.EventScope, true); err != nil {
			return err
		}
	}
	if len(e.Rows) > 0 {
		if w.sync, err = s.syncs.number(ctx, s.pool, e.Sync, true); err != nil {
			return err
		}
	}
	return s.tx(ctx, "erase", func(c *pgconn.PgConn) error {
		w.c = c
		for _, step := range []func() error{w.alone, w.stands, w.read, w.block, w.rows, w.unbind, w.profiles, w.merges, w.eventsGone, w.rejects} {
			if err := step(); err != nil {
				return err
			}
		}
		return nil
	})
}

// erasing is an Erase under way.
type erasing struct {
	ctx                 context.Context //nolint:containedctx // lives as long as one call of Erase
	c                   *pgconn.PgConn
	e                   profile.Erasing
	scope, events, sync int32
	blocked             int64 // how many the hash list has
}

// alone waits for the commits of the scope that are under way. Whoever has looked before must look again.
func (w *erasing) alone() error {
	more := int64(0)
	if w.e.Takes() {
		more = 1
	}
	_, err := exec(w.ctx, w.c, `UPDATE millrace_store.scopes SET taken = taken + $2 WHERE id = $1 RETURNING blocked`,
		func(v [][]byte) { w.blocked = getInt8(v[0]) }, int4(w.scope), int8of(more))
	return err
}

// stands holds that the erasure is as the step was told, and puts it.
func (w *erasing) stands() error {
	x := &w.e.Erasure
	body, err := profile.AppendErasure(nil, *x)
	if err != nil {
		return err //nolint:wrapcheck // classified by profile
	}
	sql := `INSERT INTO millrace_store.erasures (id, revision, done, body) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING`
	if x.Revision > 1 {
		sql = `UPDATE millrace_store.erasures SET revision = $2, done = $3, body = $4 WHERE id = $1 AND revision = $2 - 1`
	}
	n, err := exec(w.ctx, w.c, sql, nil, uuid(x.ID), int8of(x.Revision), boolean(!x.Done.IsZero()), bytea(body))
	if err == nil && n != 1 {
		return changed("erase", nil)
	}
	return err
}

// read holds that documents are as they were read.
func (w *erasing) read() error {
	if len(w.e.Read) == 0 {
		return nil
	}
	keys := newElements(len(w.e.Read), 8)
	for _, r := range w.e.Read {
		keys.int8(int64(r.Profile))
	}
	docs := map[id.Profile][]byte{}
	_, err := exec(w.ctx, w.c, `SELECT profile, doc FROM millrace_store.profiles
		WHERE scope = $1 AND profile = ANY($2::bigint[]) ORDER BY profile FOR UPDATE`,
		func(v [][]byte) { docs[id.Profile(getInt8(v[0]))] = bytes.Clone(v[1]) }, int4(w.scope), keys.int8s())
	if err != nil {
		return err
	}
	for _, r := range w.e.Read {
		if !bytes.Equal(docs[r.Profile], r.Doc) {
			return changed("erase", nil)
		}
	}
	return nil
}

// block adds to the hash list.
func (w *erasing) block() error {
	if len(w.e.Block) == 0 {
		return nil
	}
	hashes, tags := newElements(len(w.e.Block), 16), newElements(len(w.e.Block), 4)
	seen := map[profile.Hash]bool{}
	for _, x := range w.e.Block {
		if !seen[x.Hash] {
			seen[x.Hash] = true
			hashes.bytes(x.Hash[:])
			tags.int4(int32(x.Tag)) //nolint:gosec // read back as a uint32
		}
	}
	n, err := exec(w.ctx, w.c, `INSERT INTO millrace_store.blocked (scope, n, hash, tag)
		SELECT $1, $2 + row_number() OVER (ORDER BY u.i) - 1, u.h, u.t
		FROM unnest($3::uuid[], $4::integer[]) WITH ORDINALITY AS u(h, t, i)
		WHERE NOT EXISTS (SELECT FROM millrace_store.blocked b WHERE b.scope = $1 AND b.hash = u.h)`,
		nil, int4(w.scope), int8of(w.blocked), hashes.uuids(), tags.int4s())
	if err != nil {
		return err
	}
	_, err = exec(w.ctx, w.c, `UPDATE millrace_store.scopes SET blocked = blocked + $2 WHERE id = $1`, nil, int4(w.scope), int8of(n))
	return err
}

// rows removes entries of the row index.
func (w *erasing) rows() error {
	if len(w.e.Rows) == 0 {
		return nil
	}
	keys := newElements(len(w.e.Rows), 16)
	for _, r := range w.e.Rows {
		keys.bytes(r[:])
	}
	moved := false
	_, err := exec(w.ctx, w.c, `SELECT entry FROM millrace_store.row_index WHERE sync = $1 AND key = ANY($2::uuid[]) ORDER BY key FOR UPDATE`,
		func(v [][]byte) {
			x, ok := readEntry(v[0])
			moved = moved || !ok || !slices.Contains(w.e.Erasure.Profiles, x.Profile)
		}, int4(w.sync), keys.uuids())
	switch {
	case err != nil:
		return err
	case moved:
		return changed("erase", nil)
	}
	_, err = exec(w.ctx, w.c, `DELETE FROM millrace_store.row_index WHERE sync = $1 AND key = ANY($2::uuid[])`, nil, int4(w.sync), keys.uuids())
	return err
}

func (w *erasing) unbind() error {
	if len(w.e.Unbound) == 0 {
		return nil
	}
	keys, of := newElements(len(w.e.Unbound), 16), newElements(len(w.e.Unbound), 8)
	var key [16]byte
	var buf []byte
	for _, x := range w.e.Unbound {
		key, buf = identityKey(buf, w.e.Erasure.Scope, x.Type, x.Value)
		keys.bytes(key[:])
		of.int8(int64(x.Profile))
	}
	_, err := exec(w.ctx, w.c, `DELETE FROM millrace_store.identities i USING unnest($1::uuid[], $2::bigint[]) AS u(k, p)
		WHERE i.key = u.k AND i.profile = u.p`, nil, keys.uuids(), of.int8s())
	return err
}

// profiles deletes profiles, and puts documents that were written anew.
func (w *erasing) profiles() error {
	gone := newElements(len(w.e.Profiles), 8)
	for _, p := range w.e.Profiles {
		gone.int8(int64(p))
	}
	if gone.n > 0 {
		_, err := exec(w.ctx, w.c, `DELETE FROM millrace_store.profiles WHERE scope = $1 AND profile = ANY($2::bigint[])`,
			nil, int4(w.scope), gone.int8s())
		if err != nil {
			return err
		}
	}
	for _, r := range w.e.Rewritten {
		_, err := exec(w.ctx, w.c, `UPDATE millrace_store.profiles SET doc = $3, folded = octet_length($3) WHERE scope = $1 AND profile = $2`,
			nil, int4(w.scope), int8of(int64(r.Profile)), bytea(r.Doc))
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *erasing) merges() error {
	for _, m := range w.e.Merges {
		_, err := exec(w.ctx, w.c, `UPDATE millrace_store.merges SET entry = $3 WHERE scope = $1 AND id = $2`,
			nil, int4(w.scope), uuid(m.ID), bytea(profile.AppendMerge(nil, m)))
		if err != nil {
			return err
		}
	}
	if len(w.e.MergesGone) == 0 {
		return nil
	}
	gone := newElements(len(w.e.MergesGone), 16)
	profiles := newElements(0, 8)
	for _, m := range w.e.MergesGone {
		gone.bytes(m.ID[:])
		for _, p := range append([]id.Profile{m.Profile}, m.Others...) {
			profiles.int8(int64(p))
		}
	}
	return round(w.ctx, w.c,
		query{
			sql:    `DELETE FROM millrace_store.merges WHERE scope = $1 AND id = ANY($2::uuid[])`,
			params: []param{int4(w.scope), gone.uuids()},
		},
		query{
			sql:    `DELETE FROM millrace_store.merges_of WHERE scope = $1 AND profile = ANY($3::bigint[]) AND merge = ANY($2::uuid[])`,
			params: []param{int4(w.scope), gone.uuids(), profiles.int8s()},
		})
}

func (w *erasing) eventsGone() error {
	return writing{ctx: w.ctx, c: w.c, e: profile.Effects{EventsGone: w.e.Events}, eventScope: w.events}.eventsGone()
}

// rejects removes rejects, and puts what stays of the rows of their batches where such are still kept.
func (w *erasing) rejects() error {
	var qs []query
	for _, r := range w.e.Rejects {
		qs = append(qs, query{
			sql: `DELETE FROM millrace_store.rejects
				WHERE run = $1 AND part = $2 AND epoch = $3 AND seq = $4 AND fragment = $5 AND row = $6`,
			params: append(batchKey(r.Batch), int8of(int64(r.Row))),
		})
	}
	for _, x := range w.e.Kept {
		q := query{
			sql:    `DELETE FROM millrace_store.kept_rows WHERE run = $1 AND part = $2 AND epoch = $3 AND seq = $4 AND fragment = $5`,
			params: batchKey(x.Batch),
		}
		if len(x.Sealed) > 0 {
			q.sql = `UPDATE millrace_store.kept_rows SET sealed = $6 WHERE run = $1 AND part = $2 AND epoch = $3 AND seq = $4 AND fragment = $5`
			q.params = append(q.params, bytea(x.Sealed))
		}
		qs = append(qs, q)
	}
	for some := range slices.Chunk(qs, 512) {
		if err := round(w.ctx, w.c, some...); err != nil {
			return err
		}
	}
	return nil
}
