package postgres

import (
	"bytes"
	"context"
	"slices"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/zeebo/xxh3"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/profile"
	"millrace.dev/pkg/record"
	"millrace.dev/pkg/store"
)

var _ store.Mirrors = (*Store)(nil)

// keyTail is what is kept of a row key: all but its first byte, which has a column of its own.
const keyTail = 15

// sights keeps the keys of a batch, those with the same first byte together.
func sights(ctx context.Context, c *pgconn.PgConn, sync int32, o record.Origin, keys []id.Row) error {
	if len(keys) == 0 {
		return nil
	}
	sorted := slices.Clone(keys)
	slices.SortFunc(sorted, func(a, b id.Row) int { return bytes.Compare(a[:], b[:]) })
	firsts, docs := newElements(256, 4), newElements(256, keyTail*(1+len(keys)/256))
	var tails []byte
	for i := 0; i < len(sorted); {
		first := sorted[i][0]
		tails = tails[:0]
		for ; i < len(sorted) && sorted[i][0] == first; i++ {
			tails = append(tails, sorted[i][1:]...)
		}
		firsts.int4(int32(first))
		docs.bytes(tails)
	}
	_, err := exec(ctx, c, `INSERT INTO millrace_store.sights (sync, run_no, first, part, epoch, seq, fragment, keys)
		SELECT $1, $2, u.f, $3, $4, $5, $6, u.k FROM unnest($7::integer[], $8::bytea[]) AS u(f, k) ON CONFLICT DO NOTHING`,
		nil, int4(sync), int8of(o.RunNo), int8of(int64(o.Batch.Part)), int8of(int64(o.Batch.Epoch)), int8of(int64(o.Batch.Seq)),
		int8of(int64(o.Batch.Fragment)), firsts.int4s(), docs.byteas())
	return err
}

// Sight keeps keys of a batch of a dry pass.
func (s *Store) Sight(ctx context.Context, o record.Origin, keys []id.Row) error {
	sync, err := s.syncs.number(ctx, s.pool, o.Sync, true)
	if err != nil {
		return err
	}
	return s.tx(ctx, "commit", func(c *pgconn.PgConn) error { return sights(ctx, c, sync, o, keys) })
}

// readParts is the parameters $2 to $4 that name the parts of a reading.
func readParts(r store.Reading) []param {
	runs, parts, epochs := newElements(len(r.Parts), 8), newElements(len(r.Parts), 8), newElements(len(r.Parts), 8)
	for _, p := range r.Parts {
		runs.int8(p.RunNo)
		parts.int8(int64(p.Part))
		epochs.int8(int64(p.Epoch))
	}
	return []param{runs.int8s(), parts.int8s(), epochs.int8s()}
}

const ofReading = ` FROM unnest($2::bigint[], $3::bigint[], $4::bigint[]) AS u(r, p, e)
	JOIN millrace_store.sights s ON s.sync = $1 AND s.run_no = u.r AND s.part = u.p AND s.epoch = u.e`

// Sighted counts the keys that are kept of a reading.
func (s *Store) Sighted(ctx context.Context, r store.Reading) (n int64, err error) {
	sync, err := s.syncs.number(ctx, s.pool, r.Sync, false)
	if err != nil {
		return 0, err
	}
	err = s.with(ctx, "read", func(c *pgconn.PgConn) error {
		_, err := exec(ctx, c, `SELECT coalesce(sum(octet_length(s.keys)), 0)::bigint`+ofReading,
			func(v [][]byte) { n = getInt8(v[0]) / keyTail }, append([]param{int4(sync)}, readParts(r)...)...)
		return err
	})
	return n, err
}

// Absent answers keys of the row index that a reading lacks.
func (s *Store) Absent(ctx context.Context, r store.Reading, first byte) ([]id.Row, error) {
	sync, err := s.syncs.number(ctx, s.pool, r.Sync, false)
	if err != nil {
		return nil, err
	}
	var (
		read store.KeySet
		out  []id.Row
		bad  bool
		key  = id.Row{first}
	)
	old, revs := newElements(0, 16), newElements(0, 4)
	err = s.with(ctx, "read", func(c *pgconn.PgConn) error {
		_, err := exec(ctx, c, `SELECT s.keys`+ofReading+` AND s.first = $5`, func(v [][]byte) {
			for tails := v[0]; len(tails) >= keyTail; tails = tails[keyTail:] {
				copy(key[1:], tails)
				read.Add(key)
			}
		}, append(append([]param{int4(sync)}, readParts(r)...), int4(int32(first)))...)
		if err != nil {
			return err
		}
		low, high := [16]byte{first}, [16]byte(bytes.Repeat([]byte{0xFF}, 16))
		high[0] = first
		_, err = exec(ctx, c, `SELECT key, rev, entry FROM millrace_store.row_index WHERE sync = $1 AND key >= $2 AND key <= $3 ORDER BY key`,
			func(v [][]byte) {
				k := id.Row(v[0])
				if read.Has(k) {
					return
				}
				e, ok := readEntry(v[2])
				bad = bad || !ok
				if e.Tombstone && !r.Owns(e.Version.RunNo) {
					old.bytes(k[:])
					revs.int4(getInt4(v[1]))
					return
				}
				out = append(out, k)
			}, int4(sync), uuid(low), uuid(high))
		if err != nil || old.n == 0 || r.Dry {
			return err
		}
		_, err = exec(ctx, c, `DELETE FROM millrace_store.row_index r USING unnest($2::uuid[], $3::integer[]) AS u(k, v)
			WHERE r.sync = $1 AND r.key = u.k AND r.rev = u.v`, nil, int4(sync), old.uuids(), revs.int4s())
		return err
	})
	if bad {
		return nil, fault.New(fault.Internal, fault.ReasonInternal, "store: read: an entry of the row index can not be read")
	}
	return out, err
}

// Forget removes the keys that are kept of earlier runs of a sync.
func (s *Store) Forget(ctx context.Context, sync id.Sync, before int64) error {
	n, err := s.syncs.number(ctx, s.pool, sync, false)
	if err != nil {
		return err
	}
	return s.with(ctx, "commit", func(c *pgconn.PgConn) error {
		_, err := exec(ctx, c, `DELETE FROM millrace_store.sights WHERE sync = $1 AND run_no < $2`, nil, int4(n), int8of(before))
		return err
	})
}

// taken asks how often something was taken away from a scope, and how many identities its hash list has.
func taken(scope int32, into, blocked *int64) query {
	return query{
		sql:    `SELECT taken, blocked FROM millrace_store.scopes WHERE id = $1`,
		params: []param{int4(scope)},
		each:   func(v [][]byte) { *into, *blocked = getInt8(v[0]), getInt8(v[1]) },
	}
}

// findDocuments looks up the documents that Decide asks for.
func (l *looking) findDocuments(ctx context.Context, c *pgconn.PgConn, scope int32) error {
	if !l.k.Origin.Mirror {
		return nil
	}
	ids := newElements(0, 8)
	l.state.Docs, l.seen.docs = map[id.Profile][]byte{}, map[id.Profile]uint64{}
	l.k.Documents(l.state.Entries, l.settled, func(_ int, p id.Profile) {
		if _, asked := l.state.Docs[p]; asked {
			return
		}
		l.state.Docs[p], l.seen.docs[p] = nil, xxh3.Hash(nil)
		ids.int8(int64(p))
	})
	if ids.n == 0 {
		return nil
	}
	return round(ctx, c, documents(scope, ids, func(p id.Profile, doc []byte) {
		l.state.Docs[p], l.seen.docs[p] = bytes.Clone(doc), xxh3.Hash(doc)
	}))
}

func documents(scope int32, ids *elements, each func(p id.Profile, doc []byte)) query {
	return query{
		sql: `SELECT r.profile, r.doc FROM unnest($2::bigint[]) AS u(p), LATERAL (
			SELECT profile, doc FROM millrace_store.profiles WHERE scope = $1 AND profile = u.p LIMIT 1) AS r`,
		params: []param{int4(scope), ids.int8s()},
		each:   func(v [][]byte) { each(id.Profile(getInt8(v[0])), v[1]) },
	}
}

// takes says whether effects take something away that others may have looked up.
func takes(e profile.Effects) bool { return len(e.Unbound)+len(e.ProfilesGone) > 0 }

// pass lets a commit in beside others, or alone where it takes something away: then whoever has looked before must look
// again, and this commit too where a document by which it takes is not what it met.
func (w writing) pass() error {
	now := int64(-1)
	if !takes(w.e) {
		var blocked int64
		q := taken(w.scope, &now, &blocked)
		q.sql += ` FOR SHARE`
		if err := round(w.ctx, w.c, q); err != nil {
			return err
		}
		if now != max(w.saw.taken, 0) { // a scope begins with 0
			return changed("commit", nil)
		}
		return nil
	}
	_, err := exec(w.ctx, w.c, `UPDATE millrace_store.scopes SET taken = taken + 1 WHERE id = $1 RETURNING taken`,
		func(v [][]byte) { now = getInt8(v[0]) - 1 }, int4(w.scope))
	if err != nil {
		return err
	}
	if now != w.saw.taken {
		return changed("commit", nil)
	}
	ids, asked := newElements(0, 8), map[id.Profile]uint64{}
	ask := func(p id.Profile) {
		if _, done := asked[p]; !done {
			asked[p] = xxh3.Hash(nil)
			ids.int8(int64(p))
		}
	}
	for _, x := range w.e.Unbound {
		ask(x.Profile)
	}
	for _, p := range w.e.ProfilesGone {
		ask(p)
	}
	if err := round(w.ctx, w.c, documents(w.scope, ids, func(p id.Profile, doc []byte) { asked[p] = xxh3.Hash(doc) })); err != nil {
		return err
	}
	for p, hash := range asked {
		if hash != w.saw.docs[p] {
			return changed("commit", nil)
		}
	}
	return nil
}

// gone unbinds identities and deletes profiles.
func (w writing) gone() error {
	if !takes(w.e) {
		return nil
	}
	keys, of, gone := newElements(0, 16), newElements(0, 8), newElements(0, 8)
	var key [16]byte
	var buf []byte
	for _, x := range w.e.Unbound {
		key, buf = identityKey(buf, w.e.Keys.Scope, x.Type, x.Value)
		keys.bytes(key[:])
		of.int8(int64(x.Profile))
	}
	for _, p := range w.e.ProfilesGone {
		gone.int8(int64(p))
	}
	return round(w.ctx, w.c,
		query{
			sql: `DELETE FROM millrace_store.identities i USING unnest($1::uuid[], $2::bigint[]) AS u(k, p)
				WHERE i.key = u.k AND i.profile = u.p`,
			params: []param{keys.uuids(), of.int8s()},
		},
		query{
			sql: `DELETE FROM millrace_store.profiles p USING unnest($2::bigint[]) AS u(p)
				WHERE p.scope = $1 AND p.profile = u.p`,
			params: []param{int4(w.scope), gone.int8s()},
		})
}

// sighted keeps the keys of the batch's rows.
func (w writing) sighted() error { return sights(w.ctx, w.c, w.sync, w.e.Keys.Origin, w.e.Sighted) }

// folded answers a whole document in its short form.
func folded(doc []byte) []byte {
	if out := profile.Settle(doc); out != nil {
		return out
	}
	return profile.Fold(doc)
}
