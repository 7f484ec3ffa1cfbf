package postgres

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"millrace.dev/pkg/id"
	"millrace.dev/pkg/profile"
)

// rebinds binds identities anew that are bound as Decide was told.
func (w writing) rebinds(put []profile.IdentityWrite) error {
	if len(put) == 0 {
		return nil
	}
	at := make([][16]byte, len(put))
	var buf []byte
	for i, x := range put {
		at[i], buf = identityKey(buf, w.e.Keys.Scope, x.Type, x.Value)
	}
	keys, to, from := newElements(len(put), 16), newElements(len(put), 8), newElements(len(put), 8)
	for _, r := range rank(len(put), func(i int) uint64 { return leading(at[i][:]) }) {
		keys.bytes(at[r.at][:])
		to.int8(int64(put[r.at].Profile))
		from.int8(int64(put[r.at].From))
	}
	n, err := exec(w.ctx, w.c, `WITH held AS (
			SELECT key FROM millrace_store.identities WHERE key = ANY($1::uuid[]) ORDER BY key FOR UPDATE)
		UPDATE millrace_store.identities AS i SET profile = u.t
		FROM unnest($1::uuid[], $2::bigint[], $3::bigint[]) AS u(k, t, f), held
		WHERE i.key = u.k AND held.key = u.k AND i.profile = u.f`,
		nil, keys.uuids(), to.int8s(), from.int8s())
	if err == nil && n != int64(len(put)) {
		return changed("commit", nil)
	}
	return err
}

// guards holds that what a reshaping goes by is as it was looked up. Every profile that is written is locked at once, so
// that commits keep waiting for one another in order.
func (w writing) guards() error {
	r := &w.e.Reshaping
	if len(r.Guards) == 0 && len(r.Links) == 0 {
		return nil
	}
	var all []id.Profile
	for _, c := range w.e.Contributions {
		all = append(all, c.Profile)
	}
	shapes := map[id.Profile]uint64{}
	for _, g := range r.Guards {
		all = append(all, g.Profile)
		shapes[g.Profile] = g.Shape
	}
	slices.Sort(all)
	all = slices.Compact(all)
	keys := newElements(len(all), 8)
	for _, p := range all {
		keys.int8(int64(p))
	}
	same := 0
	_, err := exec(w.ctx, w.c, `SELECT profile, doc FROM millrace_store.profiles
		WHERE scope = $1 AND profile = ANY($2::bigint[]) ORDER BY profile FOR UPDATE`,
		func(v [][]byte) {
			if shape, guarded := shapes[id.Profile(getInt8(v[0]))]; guarded && profile.Shape(v[1]) == shape {
				same++
			}
		}, int4(w.scope), keys.int8s())
	if err == nil && same != len(shapes) {
		return changed("commit", nil)
	}
	return err
}

// link writes which profiles are merged into which; with `merged` false, which are on their own again.
func (w writing) link(merged bool) error {
	for _, l := range w.e.Links {
		if (l.Survivor != 0) != merged {
			continue
		}
		to := int8of(int64(l.Survivor))
		if l.Survivor == 0 {
			to.value = nil
		}
		_, err := exec(w.ctx, w.c, `UPDATE millrace_store.profiles SET survivor = $3 WHERE scope = $1 AND profile = $2`,
			nil, int4(w.scope), int8of(int64(l.Profile)), to)
		if err != nil {
			return err
		}
	}
	return nil
}

// merges puts the log of merges.
func (w writing) merges() error {
	if len(w.e.Merges) == 0 {
		return nil
	}
	put := slices.Clone(w.e.Merges)
	slices.SortFunc(put, func(a, b profile.Merge) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	ids, entries := newElements(len(put), 16), newElements(len(put), 256)
	profiles, of := newElements(2*len(put), 8), newElements(2*len(put), 16)
	for _, m := range put {
		ids.bytes(m.ID[:])
		entries.bytes(profile.AppendMerge(nil, m))
		for _, p := range append([]id.Profile{m.Profile}, m.Others...) {
			profiles.int8(int64(p))
			of.bytes(m.ID[:])
		}
	}
	return round(w.ctx, w.c,
		query{
			sql: `INSERT INTO millrace_store.merges (scope, id, entry) SELECT $1, u.i, u.e FROM unnest($2::uuid[], $3::bytea[]) AS u(i, e)
				ON CONFLICT (scope, id) DO UPDATE SET entry = EXCLUDED.entry`,
			params: []param{int4(w.scope), ids.uuids(), entries.byteas()},
		},
		query{
			sql: `INSERT INTO millrace_store.merges_of (scope, profile, merge) SELECT $1, u.p, u.m FROM unnest($2::bigint[], $3::uuid[]) AS u(p, m)
				ON CONFLICT DO NOTHING`,
			params: []param{int4(w.scope), profiles.int8s(), of.uuids()},
		})
}

// Undo takes a merge back in one transaction.
func (s *Store) Undo(ctx context.Context, u profile.Undoing) error {
	scope, err := s.scopes.number(ctx, s.pool, u.Scope, true)
	if err != nil {
		return err
	}
	e := profile.Effects{Keys: profile.Keys{Scope: u.Scope}, Identities: u.Identities, Contributions: u.Contributions, Reshaping: u.Reshaping}
	return s.tx(ctx, "undo a merge", func(c *pgconn.PgConn) error {
		w := writing{ctx: ctx, c: c, e: e, saw: &seen{}, scope: scope}
		for _, step := range []func() error{w.identities, w.profiles, w.merges} {
			if err := step(); err != nil {
				return err
			}
		}
		return nil
	})
}

// Docs answers the documents of some profiles.
func (s *Store) Docs(ctx context.Context, sc profile.Scope, ps []id.Profile) ([][]byte, error) {
	out := make([][]byte, len(ps))
	scope, err := s.scopes.number(ctx, s.pool, sc, false)
	if err != nil || scope < 0 || len(ps) == 0 {
		return out, err
	}
	keys := newElements(len(ps), 8)
	for _, p := range ps {
		keys.int8(int64(p))
	}
	err = s.with(ctx, "read profiles", func(c *pgconn.PgConn) error {
		_, err := exec(ctx, c, `SELECT u.i, r.doc FROM unnest($2::bigint[]) WITH ORDINALITY AS u(p, i), LATERAL (
			SELECT doc FROM millrace_store.profiles WHERE scope = $1 AND profile = u.p LIMIT 1) AS r`,
			func(v [][]byte) { out[getInt8(v[0])-1] = append([]byte{}, v[1]...) }, int4(scope), keys.int8s())
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

const selectMerges = `SELECT m.id, m.entry FROM millrace_store.merges m`

// Merge answers an entry of the log of merges.
func (s *Store) Merge(ctx context.Context, sc profile.Scope, at profile.MergeID) (profile.Merge, error) {
	scope, err := s.scopes.number(ctx, s.pool, sc, false)
	if err != nil || scope < 0 {
		return profile.Merge{}, err
	}
	rows, err := s.pool.Query(ctx, selectMerges+` WHERE m.scope = $1 AND m.id = $2`, scope, [16]byte(at))
	out, err := collect(ctx, rows, err, scanMerge)
	if err != nil || len(out) == 0 {
		return profile.Merge{}, err
	}
	return out[0], nil
}

// Merges answers the entries of the log that a profile is in.
func (s *Store) Merges(ctx context.Context, sc profile.Scope, p id.Profile, after string, limit int) ([]profile.Merge, string, error) {
	scope, err := s.scopes.number(ctx, s.pool, sc, false)
	if err != nil || scope < 0 {
		return nil, "", err
	}
	var from []byte
	if after != "" {
		if err := scanf(after, "%x", &from); err != nil || len(from) != len(profile.MergeID{}) {
			return nil, "", badToken()
		}
	}
	args := []any{scope, int64(p), limit}
	sql := selectMerges + ` JOIN millrace_store.merges_of o ON o.scope = m.scope AND o.merge = m.id WHERE o.scope = $1 AND o.profile = $2`
	if from != nil {
		sql += ` AND o.merge > $4`
		args = append(args, [16]byte(from))
	}
	rows, err := s.pool.Query(ctx, sql+` ORDER BY o.merge LIMIT $3`, args...)
	out, err := collect(ctx, rows, err, scanMerge)
	if err != nil || len(out) < limit {
		return out, "", err
	}
	return out, fmt.Sprintf("%x", out[len(out)-1].ID[:]), nil
}

func scanMerge(r pgx.CollectableRow) (profile.Merge, error) {
	var at [16]byte
	var entry []byte
	if err := r.Scan(&at, &entry); err != nil {
		return profile.Merge{}, err //nolint:wrapcheck // classified by collect
	}
	return profile.DecodeMerge(at, entry) //nolint:wrapcheck // classified by profile
}

// survivors answers, by the profiles of merged, what they are by now.
func survivors(ctx context.Context, c *pgconn.PgConn, scope int32, merged map[id.Profile]id.Profile) error {
	if len(merged) == 0 {
		return nil
	}
	starts := newElements(len(merged), 8)
	for p := range merged {
		starts.int8(int64(p))
	}
	_, err := exec(ctx, c, `WITH RECURSIVE path AS (
			SELECT u.p AS start, u.p AS at FROM unnest($2::bigint[]) AS u(p)
			UNION SELECT path.start, p.survivor FROM path
				JOIN millrace_store.profiles p ON p.scope = $1 AND p.profile = path.at AND p.survivor IS NOT NULL)
		SELECT path.start, path.at FROM path JOIN millrace_store.profiles p
			ON p.scope = $1 AND p.profile = path.at AND p.survivor IS NULL`,
		func(v [][]byte) { merged[id.Profile(getInt8(v[0]))] = id.Profile(getInt8(v[1])) }, int4(scope), starts.int8s())
	return err
}
