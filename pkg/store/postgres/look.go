package postgres

import (
	"cmp"
	"context"
	"slices"

	"github.com/jackc/pgx/v5/pgconn"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/identity"
	"millrace.dev/pkg/profile"
)

// seen is what Commit checks against: which revision of each entry Look met, which ids it gave to new profiles, and which
// fences it saw.
type seen struct {
	keys  profile.Keys
	order []ranked     // positions in the order of their row keys
	revs  []int32      // by position; 0: no entry
	fresh []id.Profile // ascending

	fences map[profile.RunPart]uint32
	taken  int64                 // of the scope; -1: there was no scope
	docs   map[id.Profile]uint64 // hashes of the documents that Look met
}

// Look answers the state that the keys of a batch meet, in three rounds of set-wise queries: row index and fences;
// identities of the rows that the index does not settle; ids for new profiles.
func (s *Store) Look(ctx context.Context, k profile.Keys) (profile.State, error) {
	ctx, cancel := bounded(ctx, "look")
	defer cancel()
	sync, err := s.syncs.number(ctx, s.pool, k.Origin.Sync, false)
	if err != nil {
		return profile.State{}, err
	}
	scope, err := s.scopes.number(ctx, s.pool, k.Scope, false)
	if err != nil {
		return profile.State{}, err
	}
	l := newLooking(k)
	err = s.with(ctx, "look", func(c *pgconn.PgConn) error {
		if err := round(ctx, c, taken(scope, &l.seen.taken, &l.state.Blocked), l.batch(), fencesOf(k.Origin, l.state.Fences), l.entries(sync)); err != nil {
			return err
		}
		if l.bad {
			return fault.New(fault.Internal, fault.ReasonInternal, "store: look: an entry of the row index can not be read")
		}
		own := profile.RunPart{RunNo: k.Origin.RunNo, Part: k.Origin.Batch.Part}
		l.state.Fenced = k.Origin.Batch.Epoch < l.state.Fences[own]
		if l.state.Applied != nil || l.state.Fenced {
			return nil
		}
		l.settled = k.Settled(l.state.Entries)
		if err := l.findBound(ctx, c, scope); err != nil {
			return err
		}
		if err := l.findFresh(ctx, c, scope); err != nil {
			return err
		}
		return l.findDocuments(ctx, c, scope)
	})
	if err != nil {
		return profile.State{}, err
	}
	return l.answer(), nil
}

// looking is a Look under way.
type looking struct {
	k      profile.Keys
	n      int
	state  profile.State
	seen   *seen
	places []place  // where identities stand
	order  []ranked // places in the order of their keys
	bad    bool

	settled profile.Settled
}

// place is where an identity stands.
type place struct {
	key    [16]byte
	column int32
	row    int32
}

func newLooking(k profile.Keys) *looking {
	n := k.Len()
	l := &looking{k: k, n: n, seen: &seen{keys: k, revs: make([]int32, n), taken: -1}}
	l.state.Entries = make([]profile.Entry, n)
	l.state.Fresh = make([]id.Profile, n)
	l.state.Fences = map[profile.RunPart]uint32{}
	l.state.Profiles = make([][]id.Profile, len(k.Identities))
	for i := range l.state.Profiles {
		l.state.Profiles[i] = make([]id.Profile, n)
	}
	l.seen.order = rank(n, func(i int) uint64 { return leading(k.Rows.Value(i)) })
	return l
}

// findBound finds the profiles that the identities of unsettled positions are bound to.
func (l *looking) findBound(ctx context.Context, c *pgconn.PgConn, scope int32) error {
	var mpids []candidate
	var buf []byte
	l.places = make([]place, 0, l.n*len(l.k.Identities))
	for col, x := range l.k.Identities {
		for i := range l.n {
			if x.Values.IsNull(i) || l.settled.At(i) {
				continue
			}
			if x.Type == identity.MPID {
				if p, err := id.ParseProfile(x.Values.Value(i)); err == nil {
					mpids = append(mpids, candidate{profile: p, row: int32(i)}) //nolint:gosec // as many as rows of a batch
				}
				continue
			}
			k := place{column: int32(col), row: int32(i)} //nolint:gosec // as many as rows of a batch
			k.key, buf = identityKey(buf, l.k.Scope, x.Type, x.Values.Value(i))
			l.places = append(l.places, k)
		}
	}
	l.order = rank(len(l.places), func(i int) uint64 { return leading(l.places[i].key[:]) })
	slices.SortFunc(mpids, byProfile) // few batches have any
	there := map[id.Profile]bool{}
	if err := round(ctx, c, l.bound(), probe(scope, mpids, there)); err != nil {
		return err
	}
	now := make(map[id.Profile]id.Profile, len(there))
	for p := range there {
		now[p] = p
	}
	if err := survivors(ctx, c, scope, now); err != nil {
		return err
	}
	col := slices.IndexFunc(l.k.Identities, func(x profile.IdentityColumn) bool { return x.Type == identity.MPID })
	for _, x := range mpids {
		if there[x.profile] {
			l.state.Profiles[col][x.row] = now[x.profile]
		}
	}
	return nil
}

// batch asks whether the batch was applied, and what was applied of its whole.
func (l *looking) batch() query {
	return query{
		sql: selectResults + ` WHERE run = $1 AND part = $2 AND epoch = $3 AND seq = $4 AND fragment = $5`,
		each: func(v [][]byte) {
			r := readResult(l.k.Origin.Batch.Run, v)
			l.state.Applied = &r
		},
		params: batchKey(l.k.Origin.Batch),
	}
}

// entries asks for the row-index entries. The lateral form makes every planner take the index, in the order of keys.
func (l *looking) entries(sync int32) query {
	keys := newElements(l.n, 16)
	for _, x := range l.seen.order {
		keys.bytes(l.k.Rows.Value(int(x.at)))
	}
	return query{
		sql: `SELECT u.i, r.rev, r.entry FROM unnest($2::uuid[]) WITH ORDINALITY AS u(k, i), LATERAL (
			SELECT rev, entry FROM millrace_store.row_index WHERE sync = $1 AND key = u.k LIMIT 1) AS r`,
		each: func(v [][]byte) {
			i := l.seen.order[getInt8(v[0])-1].at
			e, ok := readEntry(v[2])
			l.bad = l.bad || !ok
			l.seen.revs[i], l.state.Entries[i] = getInt4(v[1]), e
		},
		params: []param{int4(sync), keys.uuids()},
	}
}

// bound asks for the profiles that the identities are bound to, each identity once.
func (l *looking) bound() query {
	keys := newElements(len(l.places), 16)
	var first []int // index in order of each distinct key
	for i, x := range l.order {
		if i == 0 || l.places[x.at].key != l.places[l.order[i-1].at].key {
			keys.bytes(l.places[x.at].key[:])
			first = append(first, i)
		}
	}
	return query{
		sql: `SELECT u.i, r.profile FROM unnest($1::uuid[]) WITH ORDINALITY AS u(k, i), LATERAL (
			SELECT profile FROM millrace_store.identities WHERE key = u.k LIMIT 1) AS r`,
		each: func(v [][]byte) {
			p := id.Profile(getInt8(v[1]))
			at := first[getInt8(v[0])-1]
			key := l.places[l.order[at].at].key
			for ; at < len(l.order) && l.places[l.order[at].at].key == key; at++ {
				x := l.places[l.order[at].at]
				l.state.Profiles[x.column][x.row] = p
			}
		},
		params: []param{keys.uuids()},
	}
}

// candidate is an id that a position's profile may have: the one that it names, or the one that it would get at a try.
type candidate struct {
	profile id.Profile
	row     int32
	try     int
}

// findFresh probes ids for positions of which no identity is bound, until each has one that no profile has.
func (l *looking) findFresh(ctx context.Context, c *pgconn.PgConn, scope int32) error {
	var open []candidate
	for i := range l.n {
		if !l.settled.At(i) && l.unbound(i) >= 0 {
			open = append(open, candidate{row: int32(i)}) //nolint:gosec // as many as rows of a batch
		}
	}
	for len(open) > 0 {
		for j := range open {
			open[j].profile = l.derive(open[j])
		}
		open = sorted(open)
		taken := map[id.Profile]bool{}
		if err := round(ctx, c, probe(scope, open, taken)); err != nil {
			return err
		}
		var again []candidate
		for _, x := range open {
			if taken[x.profile] {
				x.try++
				again = append(again, x)
				continue
			}
			l.state.Fresh[x.row] = x.profile
			l.seen.fresh = append(l.seen.fresh, x.profile)
		}
		open = again
	}
	if !slices.IsSorted(l.seen.fresh) {
		slices.Sort(l.seen.fresh)
	}
	return nil
}

// sorted answers candidates in the order of their ids.
func sorted(open []candidate) []candidate {
	out := make([]candidate, len(open))
	for i, r := range rank(len(open), func(i int) uint64 { return uint64(open[i].profile) }) {
		out[i] = open[r.at]
	}
	return out
}

func byProfile(a, b candidate) int { return cmp.Compare(a.profile, b.profile) }

// unbound answers the first identity column of position i that can give it an id, or -1 where an identity is bound
// or none is there.
func (l *looking) unbound(i int) int {
	first := -1
	for c := len(l.k.Identities) - 1; c >= 0; c-- {
		if l.state.Profiles[c][i] != 0 {
			return -1
		}
		if x := l.k.Identities[c]; x.Type != identity.MPID && !x.Values.IsNull(i) {
			first = c
		}
	}
	return first
}

func (l *looking) derive(x candidate) id.Profile {
	col := l.k.Identities[l.unbound(int(x.row))]
	return profile.Derive(l.k.Scope, col.Type, col.Values.Value(int(x.row)), x.try)
}

// probe asks which of the candidates' ids belong to a profile.
func probe(scope int32, open []candidate, taken map[id.Profile]bool) query {
	ids := newElements(len(open), 8)
	for j, x := range open {
		if j == 0 || x.profile != open[j-1].profile {
			ids.int8(int64(x.profile))
		}
	}
	return query{
		sql: `SELECT r.profile FROM unnest($2::bigint[]) AS u(p), LATERAL (
			SELECT profile FROM millrace_store.profiles WHERE scope = $1 AND profile = u.p LIMIT 1) AS r`,
		each:   func(v [][]byte) { taken[id.Profile(getInt8(v[0]))] = true },
		params: []param{int4(scope), ids.int8s()},
	}
}

// answer is the state, less what does not matter once the batch was applied or is fenced.
func (l *looking) answer() profile.State {
	switch {
	case l.state.Applied != nil:
		return profile.State{Applied: l.state.Applied}
	case l.state.Fenced:
		return profile.State{Fenced: true}
	}
	l.seen.fences = l.state.Fences
	l.state.Seen = l.seen
	return l.state
}

// batchKey is the parameters $1 to $5 that name a batch.
func batchKey(b id.Batch) []param {
	return []param{uuid(b.Run), int8of(int64(b.Part)), int8of(int64(b.Epoch)), int8of(int64(b.Seq)), int8of(int64(b.Fragment))}
}
