package postgres

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5/pgconn"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/killpoint"
	"millrace.dev/pkg/profile"
	"millrace.dev/pkg/store"
)

// foldAbove is how long a profile's document gets before it is folded, in bytes; and again when it is as much longer
// than three times what was left of it.
const foldAbove = 1536

// errSettled ends a transaction in which nothing is to be written.
var errSettled = errors.New("nothing to write")

// Commit writes all effects in one transaction: fence, batch key, row index, identities, profiles, events, rejects, each in the
// order of its keys, so that commits wait for one another and do not deadlock.
func (s *Store) Commit(ctx context.Context, e profile.Effects) (store.Outcome, error) {
	saw, ok := e.Seen.(*seen)
	if !ok {
		return store.Outcome{}, fault.New(fault.Internal, fault.ReasonInternal, "store: commit: the effects were decided on no state of this store")
	}
	ctx, cancel := bounded(ctx, "commit")
	defer cancel()
	sync, err := s.syncs.number(ctx, s.pool, e.Keys.Origin.Sync, true)
	if err != nil {
		return store.Outcome{}, err
	}
	scope, err := s.scopes.number(ctx, s.pool, e.Keys.Scope, true)
	if err != nil {
		return store.Outcome{}, err
	}
	events := scope
	if len(e.Events)+len(e.EventsGone) > 0 && e.EventScope != e.Keys.Scope {
		if events, err = s.scopes.number(ctx, s.pool, e.EventScope, true); err != nil {
			return store.Outcome{}, err
		}
	}
	out := store.Outcome{Result: e.Result}
	err = s.tx(ctx, "commit", func(c *pgconn.PgConn) error {
		if err := settle(ctx, c, e, saw, &out); err != nil {
			return err
		}
		w := writing{ctx: ctx, c: c, e: e, saw: saw, sync: sync, scope: scope, eventScope: events}
		for _, step := range []func() error{w.pass, w.entries, w.entriesGone, w.gone, w.identities, w.profiles, w.merges, w.events, w.rejects, w.sighted} {
			if err := step(); err != nil {
				return err
			}
		}
		killpoint.Reach("postgres.commit.before")
		return nil
	})
	killpoint.Reach("postgres.commit.after")
	if err != nil && !errors.Is(err, errSettled) {
		return store.Outcome{}, err
	}
	return out, nil
}

// settle finds out whether the batch may have effects, and writes its key. errSettled says that it may not, and out why.
func settle(ctx context.Context, c *pgconn.PgConn, e profile.Effects, saw *seen, out *store.Outcome) error {
	g, err := passGate(ctx, c, e.Keys.Origin, e.Result)
	switch {
	case err != nil:
		return err
	case !g.first:
		out.Repeated = true
		if out.Result, err = getBatch(ctx, c, e.Result.Batch); err != nil {
			return err
		}
		return errSettled
	case int64(e.Result.Batch.Epoch) < g.fence:
		*out = store.Outcome{Fenced: true}
		return errSettled
	case g.overlaps:
		return fault.New(fault.Invalid, fault.ReasonInvalidArgument,
			"batch %s covers rows that another fragment of the batch has applied", e.Result.Batch)
	case !maps.Equal(g.fences, saw.fences):
		return changed("commit", nil)
	}
	return nil
}

// writing is a Commit under way.
type writing struct {
	ctx         context.Context //nolint:containedctx // lives as long as one call of Commit
	c           *pgconn.PgConn
	e           profile.Effects
	saw         *seen
	sync, scope int32
	eventScope  int32
}

// entries puts the row-index entries: new ones by COPY, which fails where one has come meanwhile; others only over the
// revision that was seen.
func (w writing) entries() error {
	put := w.e.Entries
	fresh := newCopied(4, len(put), 130)
	keys, revs, docs := newElements(0, 0), newElements(0, 0), newElements(0, 0)
	var buf []byte
	at := 0
	for _, r := range rank(len(put), func(i int) uint64 { return leading(put[i].Row[:]) }) {
		x := &put[r.at]
		buf = appendEntry(buf[:0], &x.Entry)
		var rev int32
		if rev, at = w.saw.rev(x.Row, at); rev == 0 {
			fresh.row()
			fresh.int4(w.sync)
			fresh.bytes(x.Row[:])
			fresh.int4(1)
			fresh.bytes(buf)
			continue
		}
		keys.bytes(x.Row[:])
		revs.int4(rev + 1)
		docs.bytes(buf)
	}
	if err := fresh.send(w.ctx, w.c, "millrace_store.row_index (sync, key, rev, entry)"); err != nil {
		return err
	}
	if keys.n == 0 {
		return nil
	}
	n, err := exec(w.ctx, w.c, `INSERT INTO millrace_store.row_index AS r (sync, key, rev, entry)
		SELECT $1, u.k, u.v, u.e FROM unnest($2::uuid[], $3::integer[], $4::bytea[]) AS u(k, v, e)
		ON CONFLICT (sync, key) DO UPDATE SET rev = EXCLUDED.rev, entry = EXCLUDED.entry WHERE r.rev = EXCLUDED.rev - 1`,
		nil, int4(w.sync), keys.uuids(), revs.int4s(), docs.byteas())
	if err == nil && n != int64(keys.n) {
		return changed("commit", nil)
	}
	return err
}

// rev answers the revision that Look met of a row's entry, 0 where there was none. Rows are asked for in ascending
// order; at goes from call to call.
func (s *seen) rev(r id.Row, at int) (rev int32, next int) {
	want := leading(r[:])
	for at < len(s.order) && s.order[at].key < want {
		at++
	}
	for i := at; i < len(s.order) && s.order[i].key == want; i++ {
		if p := s.order[i].at; id.Row(s.keys.Rows.Value(int(p))) == r {
			return s.revs[p], at
		}
	}
	return 0, at
}

// identities binds identities; one that is bound meanwhile makes COPY fail on its key.
func (w writing) identities() error {
	put, bound := w.e.Identities, []profile.IdentityWrite(nil)
	if i := slices.IndexFunc(put, isBound); i >= 0 {
		put = slices.DeleteFunc(slices.Clone(put), isBound)
		bound = slices.DeleteFunc(slices.Clone(w.e.Identities[i:]), func(x profile.IdentityWrite) bool { return !isBound(x) })
	}
	keys := make([][16]byte, len(put))
	var buf []byte
	for i, x := range put {
		keys[i], buf = identityKey(buf, w.e.Keys.Scope, x.Type, x.Value)
	}
	rows := newCopied(5, len(put), 100)
	for _, r := range rank(len(put), func(i int) uint64 { return leading(keys[i][:]) }) {
		x := &put[r.at]
		rows.row()
		rows.bytes(keys[r.at][:])
		rows.int8(int64(x.Profile))
		rows.int4(w.scope)
		rows.text(x.Type)
		rows.text(x.Value)
	}
	if err := rows.send(w.ctx, w.c, "millrace_store.identities (key, profile, scope, type, value)"); err != nil {
		return err
	}
	return w.rebinds(bound)
}

func isBound(x profile.IdentityWrite) bool { return x.From != 0 }

// profiles merges contributions: profiles that Look gave an id to are new, others get theirs behind what they have.
func (w writing) profiles() error {
	if err := w.guards(); err != nil {
		return err
	}
	if err := w.link(false); err != nil {
		return err
	}
	put := w.e.Contributions
	order := rank(len(put), func(i int) uint64 { return uint64(put[i].Profile) })
	fresh := newCopied(3, len(put), 400)
	keys, docs := newElements(0, 0), newElements(0, 0)
	var joined []byte
	for i := 0; i < len(order); {
		p, from := put[order[i].at].Profile, i
		for i < len(order) && put[order[i].at].Profile == p {
			i++
		}
		doc := put[order[from].at].Doc
		if i > from+1 {
			joined = joined[:0]
			for _, r := range order[from:i] {
				joined = append(joined, put[r.at].Doc...)
			}
			doc = joined
			if len(doc) > foldAbove {
				doc = profile.Fold(doc)
			}
		}
		if _, isNew := slices.BinarySearch(w.saw.fresh, p); isNew {
			fresh.row()
			fresh.int4(w.scope)
			fresh.int8(int64(p))
			fresh.bytes(doc)
			continue
		}
		keys.int8(int64(p))
		docs.bytes(doc)
	}
	if err := fresh.send(w.ctx, w.c, "millrace_store.profiles (scope, profile, doc)"); err != nil {
		return err
	}
	if err := w.merge(keys, docs); err != nil {
		return err
	}
	return w.link(true)
}

// merge appends docs to profiles and folds those that have grown long. A profile that is merged into another takes none.
func (w writing) merge(keys, docs *elements) error {
	if keys.n == 0 {
		return nil
	}
	inside := newElements(len(w.e.Inside), 8)
	for _, p := range w.e.Inside {
		inside.int8(int64(p))
	}
	var long []store.ProfileDoc
	taken := int64(0)
	_, err := exec(w.ctx, w.c, `WITH merged AS (
			INSERT INTO millrace_store.profiles AS p (scope, profile, doc)
			SELECT $1, u.p, u.d FROM unnest($2::bigint[], $3::bytea[]) AS u(p, d)
			ON CONFLICT (scope, profile) DO UPDATE SET doc = p.doc || EXCLUDED.doc WHERE p.survivor IS NULL OR p.profile = ANY($5::bigint[])
			RETURNING p.profile, p.folded, p.doc)
		SELECT profile, doc FROM merged WHERE octet_length(doc) > $4 + 3 * folded
		UNION ALL SELECT count(*), NULL FROM merged`,
		func(v [][]byte) {
			if v[1] == nil {
				taken = getInt8(v[0])
				return
			}
			long = append(long, store.ProfileDoc{Profile: id.Profile(getInt8(v[0])), Doc: bytes.Clone(v[1])})
		},
		int4(w.scope), keys.int8s(), docs.byteas(), int4(foldAbove), inside.int8s())
	if err == nil && taken != int64(keys.n) {
		return changed("commit", nil)
	}
	if err != nil || len(long) == 0 {
		return err
	}
	keys, docs = newElements(len(long), 8), newElements(len(long), foldAbove)
	for _, x := range long {
		keys.int8(int64(x.Profile))
		docs.bytes(folded(x.Doc))
	}
	// The rows are locked by the statement before; their order does not matter any more.
	_, err = exec(w.ctx, w.c, `INSERT INTO millrace_store.profiles AS p (scope, profile, doc)
		SELECT $1, u.p, u.d FROM unnest($2::bigint[], $3::bytea[]) AS u(p, d)
		ON CONFLICT (scope, profile) DO UPDATE SET doc = EXCLUDED.doc, folded = octet_length(EXCLUDED.doc)`,
		nil, int4(w.scope), keys.int8s(), docs.byteas())
	return err
}

// events removes events whose row moved elsewhere and puts the others.
func (w writing) events() error {
	if err := w.eventsGone(); err != nil {
		return err
	}
	if len(w.e.Events) == 0 {
		return nil
	}
	put := slices.Clone(w.e.Events)
	slices.SortFunc(put, func(a, b profile.EventWrite) int { return compareEvents(a.Key, b.Key) })
	n := len(put)
	profiles, times, ids, docs := newElements(n, 8), newElements(n, 8), newElements(n, 16), newElements(n, 256)
	for _, x := range put {
		profiles.int8(int64(x.Key.Profile))
		times.int8(x.Key.Time)
		ids.bytes(x.Key.ID[:])
		docs.bytes(x.Doc)
	}
	_, err := exec(w.ctx, w.c, `INSERT INTO millrace_store.events (scope, sync, profile, time, id, run_no, doc)
		SELECT $1, $2, u.p, u.t, u.i, $3, u.d FROM unnest($4::bigint[], $5::bigint[], $6::uuid[], $7::bytea[]) AS u(p, t, i, d)
		ON CONFLICT (scope, profile, time, id) DO UPDATE SET sync = EXCLUDED.sync, run_no = EXCLUDED.run_no, doc = EXCLUDED.doc`,
		nil, int4(w.eventScope), int4(w.sync), int8of(w.e.Keys.Origin.RunNo), profiles.int8s(), times.int8s(), ids.uuids(), docs.byteas())
	return err
}

// eventsGone removes events by key, some at a time; few batches have any.
func (w writing) eventsGone() error {
	gone := slices.Clone(w.e.EventsGone)
	slices.SortFunc(gone, compareEvents)
	for some := range slices.Chunk(gone, 512) {
		qs := make([]query, len(some))
		for i, k := range some {
			qs[i] = query{
				sql:    `DELETE FROM millrace_store.events WHERE scope = $1 AND profile = $2 AND time = $3 AND id = $4`,
				params: []param{int4(w.eventScope), int8of(int64(k.Profile)), int8of(k.Time), uuid(k.ID)},
			}
		}
		if err := round(w.ctx, w.c, qs...); err != nil {
			return err
		}
	}
	return nil
}

func compareEvents(a, b profile.EventKey) int {
	return cmp.Or(cmp.Compare(a.Profile, b.Profile), cmp.Compare(a.Time, b.Time), bytes.Compare(a.ID[:], b.ID[:]))
}
