package pebble

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"

	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/cockroachdb/pebble/v2"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/identity"
	"millrace.dev/pkg/profile"
)

// seen is profile.State.Seen: the number of the last commit that a Look is sure to have met.
type seen struct {
	seq  uint64
	docs map[id.Profile]uint64 // hashes of the documents that it met
}

// Look answers the state that the keys of a batch meet.
func (s *Store) Look(ctx context.Context, k profile.Keys) (profile.State, error) {
	if err := s.usable(ctx); err != nil {
		return profile.State{}, err
	}
	seq := s.turns.seen.Load()
	st := profile.State{Seen: seen{seq: seq}}
	applied, err := s.result(k.Origin.Batch)
	if err != nil {
		return profile.State{}, err
	}
	if applied != nil {
		// It is met before it is durable; whoever acts on it must not.
		if err := s.synced(); err != nil {
			return profile.State{}, err
		}
		st.Applied = applied
		return st, nil
	}
	fence, err := s.fenceOf(id.Part{Run: k.Origin.Batch.Run, Part: k.Origin.Batch.Part})
	if err != nil {
		return profile.State{}, err
	}
	if k.Origin.Batch.Epoch < fence {
		st.Fenced = true
		return st, nil
	}
	if st.Fences, err = s.fencesOf(ctx, k); err != nil {
		return profile.State{}, err
	}
	if st.Blocked, err = s.blockedOf(k.Scope); err != nil {
		return profile.State{}, err
	}
	n := k.Len()
	st.Entries = make([]profile.Entry, n)
	st.Fresh = make([]id.Profile, n)
	st.Profiles = make([][]id.Profile, len(k.Identities))
	all := make([]id.Profile, n*len(k.Identities))
	for c := range st.Profiles {
		st.Profiles[c] = all[c*n : (c+1)*n : (c+1)*n]
	}
	l := looking{Store: s, ctx: ctx, k: k, st: &st, hs: make([]uint64, n), seq0: seq}
	for _, step := range []func() error{l.rows, l.identities, l.fresh, l.documents} {
		if err := step(); err != nil {
			return profile.State{}, unavailableOr(ctx, "look", err)
		}
	}
	return st, nil
}

// unavailableOr classifies an error of a step, that of an ended ctx as such.
func unavailableOr(ctx context.Context, what string, err error) error {
	if ctx.Err() != nil {
		return fault.As(context.Cause(ctx))
	}
	return unavailable(what, err)
}

// looking is a Look under way.
type looking struct {
	*Store
	ctx  context.Context //nolint:containedctx // lives as long as one call of Look
	k    profile.Keys
	st   *profile.State
	skip profile.Settled // positions for which no profile is asked
	hs   []uint64        // by position; 0: not to be looked up
	ord  order
	key  []byte
	seq0 uint64 // of the last commit before it began
}

const checkEvery = 4096

// rows looks up the row index.
func (l *looking) rows() error {
	sync, ok := l.dict.find(wordSync, syncName(l.k.Origin.Sync))
	if !ok || l.k.Len() == 0 {
		return nil
	}
	keys := values16(l.k.Rows)
	for i := range l.hs {
		l.hs[i] = rowHash(sync, keys[16*i:16*i+16])
	}
	l.ord.reset()
	l.filter.present(l.hs, func(i int) { l.ord.add(binary.BigEndian.Uint64(keys[16*i:]), i) })
	if len(l.ord.todo) == 0 {
		return nil
	}
	l.ord.sort()
	it, err := l.iterator(kindRow)
	if err != nil {
		return err
	}
	for n, w := range l.ord.todo {
		if n%checkEvery == 0 && l.ctx.Err() != nil {
			break
		}
		i := int(w.at)
		l.key = rowKey(l.key[:0], sync, id.Row(keys[16*i:16*i+16]))
		if !it.SeekPrefixGE(l.key) {
			continue
		}
		v, err := it.ValueAndErr()
		if err != nil {
			return errors.Join(err, it.Close())
		}
		if l.st.Entries[i], ok = readEntry(v); !ok {
			return errors.Join(damaged("an entry of the row index"), it.Close())
		}
	}
	l.skip = l.k.Settled(l.st.Entries)
	return cmp.Or(it.Close(), l.ctx.Err())
}

func (l *looking) iterator(kind byte) (*pebble.Iterator, error) {
	it, err := l.db.NewIterWithContext(l.ctx, &pebble.IterOptions{
		LowerBound: []byte{kind}, UpperBound: []byte{kind + 1}, UseL6Filters: !l.filter.whole.Load(),
	})
	if err != nil {
		return nil, unavailable("look", err)
	}
	return it, nil
}

func values16(a *array.FixedSizeBinary) []byte {
	d := a.Data()
	return d.Buffers()[1].Bytes()[16*d.Offset() : 16*(d.Offset()+d.Len())]
}

// identities looks up what the identities are bound to. A position whose row has not changed is left out.
func (l *looking) identities() error {
	scope, known := l.dict.find(wordScope, scopeName(l.k.Scope))
	if !known {
		return nil // nor has it profiles; fresh derives what it needs
	}
	for c, col := range l.k.Identities {
		if col.Type == identity.MPID {
			if err := l.mpids(c, col.Values, scope); err != nil {
				return err
			}
			continue
		}
		typ, known := l.dict.find(wordType, col.Type)
		if !known {
			continue
		}
		if err := l.column(c, col, scope, typ); err != nil {
			return err
		}
	}
	return nil
}

func (l *looking) column(c int, col profile.IdentityColumn, scope, typ uint32) error {
	values := col.Values
	for i := range l.hs {
		l.hs[i] = 0
		if l.skip.At(i) || values.IsNull(i) {
			continue
		}
		first := profile.Derive(l.k.Scope, col.Type, values.Value(i), 0)
		if l.st.Fresh[i] == 0 {
			l.st.Fresh[i] = first // to be looked at again in fresh
		}
		l.hs[i] = profileHash(first)
	}
	l.ord.reset()
	of, found := owner(scope, typ), l.st.Profiles[c]
	before := l.known(of, values, found, func(i int) { l.ord.add(prefixOf(values.Value(i)), i) })
	if len(l.ord.todo) == 0 {
		return nil
	}
	l.ord.sortText(func(at int32) string { return values.Value(int(at)) })
	it, err := l.iterator(kindIdentity)
	if err != nil {
		return err
	}
	prefix := identityPrefix(scope, typ)
	for n, w := range l.ord.todo {
		if n%checkEvery == 0 && l.ctx.Err() != nil {
			break
		}
		v := values.Value(int(w.at))
		if n > 0 {
			if before := l.ord.todo[n-1]; before.prefix == w.prefix && values.Value(int(before.at)) == v {
				found[w.at] = found[before.at]
				continue
			}
		}
		l.key = append(append(l.key[:0], prefix...), v...)
		if !it.SeekPrefixGE(l.key) {
			continue
		}
		b, err := it.ValueAndErr()
		if err != nil {
			return errors.Join(err, it.Close())
		}
		if len(b) != 8 {
			return errors.Join(damaged("an identity"), it.Close())
		}
		found[w.at] = id.Profile(binary.BigEndian.Uint64(b))
	}
	if err := cmp.Or(it.Close(), l.ctx.Err()); err != nil {
		return err
	}
	l.learn(of, values, found, before)
	return nil
}

// mpids finds the profiles that are named by their ids, or what they were merged into.
func (l *looking) mpids(c int, values *array.String, scope uint32) error {
	it, err := l.iterator(kindProfile)
	if err != nil {
		return err
	}
	for i := range l.k.Len() {
		if l.skip.At(i) || values.IsNull(i) {
			continue
		}
		p, err := id.ParseProfile(values.Value(i))
		if err != nil {
			continue // a value that names nobody
		}
		if l.key = profileKey(l.key[:0], scope, p); !it.SeekPrefixGE(l.key) {
			continue
		}
		doc, err := it.ValueAndErr()
		if err == nil {
			l.st.Profiles[c][i], err = l.survivor(scope, p, doc)
		}
		if err != nil {
			return errors.Join(err, it.Close())
		}
	}
	return it.Close()
}

// fresh finds ids for the profiles that rows of unknown people would get. identities has left the first choices.
func (l *looking) fresh() error {
	scope, known := l.dict.find(wordScope, scopeName(l.k.Scope))
	for i := range l.hs {
		l.hs[i] = 0
		switch {
		case l.skip.At(i):
			continue
		case l.isBound(i):
			l.st.Fresh[i] = 0
			continue
		case l.st.Fresh[i] == 0:
			l.st.Fresh[i] = l.choice(i, 0)
		}
		if known && l.st.Fresh[i] != 0 {
			l.hs[i] = profileHash(l.st.Fresh[i])
		}
	}
	l.ord.reset()
	l.filter.present(l.hs, func(i int) { l.ord.add(uint64(l.st.Fresh[i]), i) })
	if len(l.ord.todo) == 0 {
		return l.ctx.Err()
	}
	l.ord.sort()
	it, err := l.iterator(kindProfile)
	if err != nil {
		return err
	}
	for _, w := range l.ord.todo {
		for n := 1; ; n++ {
			if l.key = profileKey(l.key[:0], scope, l.st.Fresh[w.at]); !it.SeekPrefixGE(l.key) {
				break
			}
			l.st.Fresh[w.at] = l.choice(int(w.at), n)
		}
	}
	return cmp.Or(it.Close(), l.ctx.Err())
}

// choice answers the n-th choice of an id for a new profile of position i, 0 where it has no identity that ids are
// derived from.
func (l *looking) choice(i, n int) id.Profile {
	for _, col := range l.k.Identities {
		if col.Type != identity.MPID && !col.Values.IsNull(i) {
			return profile.Derive(l.k.Scope, col.Type, col.Values.Value(i), n)
		}
	}
	return 0
}

func (l *looking) isBound(i int) bool {
	for _, found := range l.st.Profiles {
		if found[i] != 0 {
			return true
		}
	}
	return false
}
