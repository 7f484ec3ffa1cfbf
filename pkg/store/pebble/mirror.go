package pebble

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"math"

	"github.com/cockroachdb/pebble/v2"
	"github.com/zeebo/xxh3"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/profile"
	"millrace.dev/pkg/record"
	"millrace.dev/pkg/store"
)

var _ store.Mirrors = (*Store)(nil)

// keyTail is what is kept of a row key: all but its first byte, which the key of the value has.
const keyTail = 15

// runNumber answers a run's ordinal so that bytes order as numbers do.
func runNumber(n int64) uint64 { return uint64(n) ^ 1<<63 } //nolint:gosec // two's complement, the sign turned

func sightRun(dst []byte, sync uint32, runNo int64) []byte {
	dst = binary.BigEndian.AppendUint32(append(dst, kindSight), sync)
	return binary.BigEndian.AppendUint64(dst, runNumber(runNo))
}

func sightPart(dst []byte, sync uint32, runNo int64, first byte, p, epoch uint32) []byte {
	dst = binary.BigEndian.AppendUint32(append(sightRun(dst, sync, runNo), first), p)
	return binary.BigEndian.AppendUint32(dst, epoch)
}

// sights puts the keys of a batch, those with the same first byte together.
func sights(b *pebble.Batch, sync uint32, o record.Origin, keys []id.Row) error {
	var counts [256]int
	for i := range keys {
		counts[keys[i][0]]++
	}
	var starts [257]int
	for i, n := range counts {
		starts[i+1] = starts[i] + n
	}
	flat, at := make([]byte, keyTail*len(keys)), starts
	for i := range keys {
		f := keys[i][0]
		copy(flat[keyTail*at[f]:], keys[i][1:])
		at[f]++
	}
	var key []byte
	for f := range counts {
		if counts[f] == 0 {
			continue
		}
		key = sightPart(key[:0], sync, o.RunNo, byte(f), o.Batch.Part, o.Batch.Epoch)
		key = binary.BigEndian.AppendUint32(key, o.Batch.Seq)
		key = binary.BigEndian.AppendUint32(key, o.Batch.Fragment)
		if err := b.Set(key, flat[keyTail*starts[f]:keyTail*starts[f+1]], nil); err != nil {
			return unavailable("commit", err)
		}
	}
	return nil
}

// Sight keeps keys of a batch of a dry pass.
func (s *Store) Sight(ctx context.Context, o record.Origin, keys []id.Row) error {
	if err := s.usable(ctx); err != nil {
		return err
	}
	sync, err := s.dict.number(wordSync, syncName(o.Sync))
	if err != nil {
		return err
	}
	b := s.db.NewBatch()
	if err := sights(b, sync, o, keys); err != nil {
		return errors.Join(err, b.Close())
	}
	if err := commitSynced(s.db, b); err != nil {
		return s.breakDown("commit", err)
	}
	return nil
}

// Sighted counts the keys that are kept of a reading.
func (s *Store) Sighted(ctx context.Context, r store.Reading) (n int64, err error) {
	if err := s.usable(ctx); err != nil {
		return 0, err
	}
	sync, known := s.dict.find(wordSync, syncName(r.Sync))
	if !known {
		return 0, nil
	}
	counted := map[store.ReadPart]bool{}
	for _, p := range r.Parts {
		counted[p] = true
	}
	for _, run := range r.Runs() {
		err := s.each(ctx, sightRun(nil, sync, run), nil, func(k, v []byte) (bool, error) {
			if len(k) != sightKeyLen || len(v)%keyTail != 0 {
				return false, damaged("what was kept of a batch's rows")
			}
			if counted[store.ReadPart{RunNo: run, Part: binary.BigEndian.Uint32(k[14:]), Epoch: binary.BigEndian.Uint32(k[18:])}] {
				n += int64(len(v) / keyTail)
			}
			return true, nil
		})
		if err != nil {
			return 0, err
		}
	}
	return n, nil
}

// sightKeyLen is of kind, sync, run, first byte, part, epoch, seq and fragment.
const sightKeyLen = 1 + 4 + 8 + 1 + 4*4

// Absent answers keys of the row index that a reading lacks.
func (s *Store) Absent(ctx context.Context, r store.Reading, first byte) ([]id.Row, error) {
	if err := s.usable(ctx); err != nil {
		return nil, err
	}
	sync, known := s.dict.find(wordSync, syncName(r.Sync))
	if !known {
		return nil, nil
	}
	var read store.KeySet
	key := id.Row{first}
	for _, p := range r.Parts {
		err := s.each(ctx, sightPart(nil, sync, p.RunNo, first, p.Part, p.Epoch), nil, func(_, v []byte) (bool, error) {
			for ; len(v) >= keyTail; v = v[keyTail:] {
				copy(key[1:], v)
				read.Add(key)
			}
			return true, nil
		})
		if err != nil {
			return nil, err
		}
	}
	var out, old []id.Row
	err := s.each(ctx, append(rowKey(nil, sync, id.Row{})[:5], first), nil, func(k, v []byte) (bool, error) {
		if len(k) != rowKeyLen {
			return false, damaged("an entry of the row index")
		}
		key := id.Row(k[5:])
		if read.Has(key) {
			return true, nil
		}
		e, ok := readEntry(v)
		switch {
		case !ok:
			return false, damaged("an entry of the row index")
		case e.Tombstone && !r.Owns(e.Version.RunNo):
			old = append(old, key)
		default:
			out = append(out, key)
		}
		return true, nil
	})
	if err != nil || r.Dry {
		return out, err
	}
	return out, s.bury(sync, r, old)
}

// bury removes tombstones that no open run needs, unless their rows have come again.
func (s *Store) bury(sync uint32, r store.Reading, keys []id.Row) error {
	if len(keys) == 0 {
		return nil
	}
	defer s.alone()()
	b := s.db.NewBatch()
	defer func() { _ = b.Close() }() //nolint:errcheck // frees memory only
	for _, k := range keys {
		name := rowKey(nil, sync, k)
		v, err := s.get(name)
		if err != nil {
			return err
		}
		if e, ok := readEntry(v); !ok || !e.Tombstone || r.Owns(e.Version.RunNo) {
			continue
		}
		if err := b.Delete(name, nil); err != nil {
			return unavailable("commit", err)
		}
	}
	if err := s.apply(b); err != nil {
		return err
	}
	if err := b.SyncWait(); err != nil {
		return s.breakDown("commit", err)
	}
	return nil
}

// Forget removes the keys that are kept of earlier runs of a sync.
func (s *Store) Forget(ctx context.Context, sync id.Sync, before int64) error {
	if err := s.usable(ctx); err != nil {
		return err
	}
	n, known := s.dict.find(wordSync, syncName(sync))
	if !known {
		return nil
	}
	if err := s.db.DeleteRange(sightRun(nil, n, math.MinInt64), sightRun(nil, n, before), pebble.Sync); err != nil {
		return s.breakDown("commit", err)
	}
	return nil
}

// documents looks up the documents that Decide asks for.
func (l *looking) documents() error {
	scope, known := l.dict.find(wordScope, scopeName(l.k.Scope))
	if !l.k.Origin.Mirror || !known {
		return nil
	}
	l.ord.reset()
	l.k.Documents(l.st.Entries, l.skip, func(i int, p id.Profile) { l.ord.add(uint64(p), i) })
	if len(l.ord.todo) == 0 {
		return nil
	}
	l.ord.sort()
	it, err := l.iterator(kindProfile)
	if err != nil {
		return err
	}
	l.st.Docs = make(map[id.Profile][]byte, len(l.ord.todo))
	seen := seen{seq: l.seq0, docs: make(map[id.Profile]uint64, len(l.ord.todo))}
	for n, w := range l.ord.todo {
		if n%checkEvery == 0 && l.ctx.Err() != nil {
			break
		}
		p := id.Profile(w.prefix)
		if _, done := l.st.Docs[p]; done {
			continue
		}
		l.st.Docs[p] = nil
		if l.key = profileKey(l.key[:0], scope, p); it.SeekPrefixGE(l.key) {
			v, err := it.ValueAndErr()
			if err != nil {
				return errors.Join(err, it.Close())
			}
			l.st.Docs[p] = append([]byte(nil), v...)
		}
		seen.docs[p] = xxh3.Hash(profile.Fold(l.st.Docs[p]))
	}
	l.st.Seen = seen
	return cmp.Or(it.Close(), l.ctx.Err())
}

// gone removes entries of the row index, unbinds identities and deletes profiles.
func (w *writing) gone() error {
	for i := range w.e.EntriesGone {
		if err := w.b.Delete(rowKey(nil, w.sync, w.e.EntriesGone[i]), nil); err != nil {
			return unavailable("commit", err)
		}
		w.touched.add(rowHash(w.sync, w.e.EntriesGone[i][:]))
	}
	for _, x := range w.e.Unbound {
		n, err := w.dict.number(wordType, x.Type)
		if err != nil {
			return err
		}
		if err := w.b.Delete(append(identityPrefix(w.scope, n), x.Value...), nil); err != nil {
			return unavailable("commit", err)
		}
		w.moved = append(w.moved, profileHash(profile.Derive(w.e.Keys.Scope, x.Type, x.Value, 0)))
	}
	for _, p := range w.e.ProfilesGone {
		if err := w.b.Delete(profileKey(nil, w.scope, p), nil); err != nil {
			return unavailable("commit", err)
		}
	}
	return nil
}

// takes says whether the effects take something away that others may have looked up.
func (w *writing) takes() bool { return len(w.e.Unbound)+len(w.e.ProfilesGone) > 0 }

// still says whether the documents by which w takes something away are those that Look met. Called by whoever is alone.
func (w *writing) still(saw seen) error {
	if !w.takes() || w.turns.seen.Load() == saw.seq {
		return nil
	}
	check := func(p id.Profile) error {
		doc, err := w.get(profileKey(nil, w.scope, p))
		if err != nil {
			return err
		}
		if xxh3.Hash(profile.Fold(doc)) != saw.docs[p] {
			return changed()
		}
		return nil
	}
	for _, x := range w.e.Unbound {
		if err := check(x.Profile); err != nil {
			return err
		}
	}
	for _, p := range w.e.ProfilesGone {
		if err := check(p); err != nil {
			return err
		}
	}
	return nil
}

func changed() error {
	return fault.New(fault.Conflict, fault.ReasonCommitConflict,
		"store: commit: what was looked up has changed since; look and decide again")
}
