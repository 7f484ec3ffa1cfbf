package pebble

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"millrace.dev/pkg/id"
	"millrace.dev/pkg/profile"
	"millrace.dev/pkg/store"
)

var _ store.Erasures = (*Store)(nil)

// Keys of erasures.
const (
	kindErasure = 'a' // erasure → how it stands
	kindUndone  = 'c' // erasure → nothing: it is not done
	kindBlocked = 'v' // scope, hash → nothing; scope alone → how many there are
	kindTag     = 'w' // scope, number → tag
)

func erasureKey(kind byte, e profile.ErasureID) []byte { return append([]byte{kind}, e[:]...) }

func scopedKey(kind byte, scope uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte{kind}, scope)
}

func blockedKey(scope uint32, h profile.Hash) []byte {
	return append(scopedKey(kindBlocked, scope), h[:]...)
}

func tagKey(scope uint32, n int64) []byte {
	return binary.BigEndian.AppendUint64(scopedKey(kindTag, scope), uint64(n)) //nolint:gosec // not negative
}

// Salt answers what is kept of a workspace's key.
func (s *Store) Salt(ctx context.Context, w id.Workspace, first []byte) ([]byte, error) {
	if err := s.usable(ctx); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	k := append([]byte{kindMeta}, "salt/"+string(w)...)
	kept, err := s.get(k)
	if err != nil || kept != nil || len(first) == 0 {
		return kept, err
	}
	b := s.db.NewBatch()
	if err := b.Set(k, first, nil); err != nil {
		return nil, unavailable("commit", err)
	}
	if err := commitSynced(s.db, b); err != nil {
		return nil, s.breakDown("commit", err)
	}
	return first, nil
}

// Erasure answers an erasure.
func (s *Store) Erasure(ctx context.Context, at profile.ErasureID) (profile.Erasure, bool, error) {
	if err := s.usable(ctx); err != nil {
		return profile.Erasure{}, false, err
	}
	b, err := s.get(erasureKey(kindErasure, at))
	if err != nil || b == nil {
		return profile.Erasure{}, false, err
	}
	e, err := profile.DecodeErasure(b)
	return e, err == nil, err //nolint:wrapcheck // classified by profile
}

// Unfinished answers erasures that are not done.
func (s *Store) Unfinished(ctx context.Context, limit int) (out []profile.Erasure, err error) {
	if err := s.usable(ctx); err != nil {
		return nil, err
	}
	err = s.each(ctx, []byte{kindUndone}, nil, func(k, _ []byte) (bool, error) {
		e, ok, err := s.Erasure(ctx, profile.ErasureID(bytes.Clone(k[1:])))
		if ok {
			out = append(out, e)
		}
		return len(out) < limit, err
	})
	return out, err
}

// Blocked says which hashes are in the hash list of a scope.
func (s *Store) Blocked(ctx context.Context, sc profile.Scope, hashes []profile.Hash) ([]bool, error) {
	out := make([]bool, len(hashes))
	scope, known := s.dict.find(wordScope, scopeName(sc))
	if err := s.usable(ctx); err != nil || !known {
		return out, err
	}
	for i, h := range hashes {
		v, err := s.get(blockedKey(scope, h))
		if err != nil {
			return nil, err
		}
		out[i] = v != nil
	}
	return out, nil
}

// blockedOf answers how many hashes the list of a scope has.
func (s *Store) blockedOf(sc profile.Scope) (int64, error) {
	scope, known := s.dict.find(wordScope, scopeName(sc))
	if !known {
		return 0, nil
	}
	if !s.filter.may(blockedHash(scope)) {
		return 0, nil
	}
	v, err := s.get(scopedKey(kindBlocked, scope))
	if err != nil || len(v) != 8 {
		return 0, err
	}
	return int64(binary.BigEndian.Uint64(v)), nil //nolint:gosec // written from an int64
}

// Tags answers tags of the hash list of a scope.
func (s *Store) Tags(ctx context.Context, sc profile.Scope, after int64, limit int) (out []uint32, err error) {
	scope, known := s.dict.find(wordScope, scopeName(sc))
	if err := s.usable(ctx); err != nil || !known {
		return nil, err
	}
	err = s.each(ctx, scopedKey(kindTag, scope), tagKey(scope, after), func(_, v []byte) (bool, error) {
		if len(v) != 4 {
			return false, damaged("a hash list")
		}
		out = append(out, binary.BigEndian.Uint32(v))
		return len(out) < limit, nil
	})
	return out, err
}

// RowsOf answers rows that went to some profiles.
func (s *Store) RowsOf(ctx context.Context, sync id.Sync, ps []id.Profile, after string, limit int) (out []id.Row, next string, err error) {
	n, known := s.dict.find(wordSync, syncName(sync))
	if !known {
		return nil, "", s.usable(ctx)
	}
	return visited(ctx, s, rowKey(nil, n, id.Row{})[:5], after, limit, func(k, v []byte) (id.Row, bool, error) {
		e, ok := readEntry(v)
		if !ok || len(k) != rowKeyLen {
			return id.Row{}, false, damaged("an entry of the row index")
		}
		return id.Row(k[5:]), slices.Contains(ps, e.Profile), nil
	})
}

// EventsWith answers events with some ids.
func (s *Store) EventsWith(ctx context.Context, sc profile.Scope, ids []profile.EventID, after string, limit int) ([]profile.EventKey, string, error) {
	scope, known := s.dict.find(wordScope, scopeName(sc))
	if !known {
		return nil, "", s.usable(ctx)
	}
	return visited(ctx, s, eventPrefix(nil, scope, 0)[:5], after, limit, func(k, _ []byte) (profile.EventKey, bool, error) {
		e, ok := readEventKey(k)
		if !ok {
			return e, false, damaged("an event")
		}
		return e, slices.Contains(ids, e.ID), nil
	})
}

// visited is page for few things among many: its pages have up to limit keys, most of which may be left out.
func visited[T any](ctx context.Context, s *Store, prefix []byte, token string, limit int, f func(k, v []byte) (T, bool, error)) ([]T, string, error) {
	type visit struct {
		thing  T
		wanted bool
	}
	all, next, err := page(ctx, s, prefix, token, limit, func(k, v []byte) (visit, bool, error) {
		x, wanted, err := f(k, v)
		return visit{x, wanted}, err == nil, err
	})
	var out []T
	for _, x := range all {
		if x.wanted {
			out = append(out, x.thing)
		}
	}
	return out, next, err
}

// AllRejects answers the rejects of all runs.
func (s *Store) AllRejects(ctx context.Context, after string, limit int) ([]store.StoredReject, string, error) {
	return page(ctx, s, []byte{kindReject}, after, limit, func(k, v []byte) (store.StoredReject, bool, error) {
		r, err := decodeReject(k, v)
		return r, err == nil, err
	})
}

// Erase makes a step of an erasure as one synced batch.
func (s *Store) Erase(ctx context.Context, e profile.Erasing) error {
	if err := s.usable(ctx); err != nil {
		return err
	}
	scope, err := s.dict.number(wordScope, scopeName(e.Erasure.Scope))
	if err != nil {
		return err
	}
	b := s.db.NewBatch()
	defer func() { _ = b.Close() }() //nolint:errcheck // frees memory only
	s.keeping.Lock()
	defer s.keeping.Unlock()
	w := erasing{Store: s, b: b, e: &e, scope: scope}
	if err := w.enter(); err != nil {
		return err
	}
	if err := b.SyncWait(); err != nil {
		return s.breakDown("erase", err)
	}
	return nil
}

// erasing fills a Pebble batch with a step of an erasure.
type erasing struct {
	*Store
	b     *pebble.Batch
	e     *profile.Erasing
	scope uint32
	moved []uint64 // as of writing
}

// enter lets the step into the database, unless it is overtaken.
func (w *erasing) enter() error {
	defer w.alone()()
	if b := w.broken.Load(); b != nil {
		return b
	}
	for _, step := range []func() error{w.stands, w.read, w.block, w.profiles, w.merges, w.events, w.rows, w.rejects} {
		if err := step(); err != nil {
			return err
		}
	}
	if err := w.apply(w.b); err != nil {
		return err
	}
	w.bindings.drop(w.moved)
	if seq := w.turns.next(); w.e.Takes() { // whoever has looked before must look again
		w.fenceSeq = seq
	}
	return nil
}

// stands holds that the erasure is as the step was told, and puts it.
func (w *erasing) stands() error {
	x := &w.e.Erasure
	k := erasureKey(kindErasure, x.ID)
	b, err := w.get(k)
	if err != nil {
		return err
	}
	kept := profile.Erasure{}
	if b != nil {
		if kept, err = profile.DecodeErasure(b); err != nil {
			return err //nolint:wrapcheck // classified by profile
		}
	}
	if kept.Revision != x.Revision-1 {
		return changed()
	}
	body, err := profile.AppendErasure(nil, *x)
	if err != nil {
		return err //nolint:wrapcheck // classified by profile
	}
	mark := w.b.Set
	if !x.Done.IsZero() {
		mark = func(k, _ []byte, o *pebble.WriteOptions) error { return w.b.Delete(k, o) }
	}
	return stored(w.b.Set(k, body, nil), mark(erasureKey(kindUndone, x.ID), nil, nil))
}

// stored classifies what became of writes to a batch.
func stored(errs ...error) error {
	if err := cmp.Or(errs...); err != nil {
		return unavailable("erase", err)
	}
	return nil
}

// read holds that documents are as they were read.
func (w *erasing) read() error {
	for _, r := range w.e.Read {
		doc, err := w.get(profileKey(nil, w.scope, r.Profile))
		if err != nil {
			return err
		}
		if !bytes.Equal(profile.Fold(doc), profile.Fold(r.Doc)) {
			return changed()
		}
	}
	return nil
}

// block adds to the hash list.
func (w *erasing) block() error {
	if len(w.e.Block) == 0 {
		return nil
	}
	n, err := w.blockedOf(w.e.Erasure.Scope)
	if err != nil {
		return err
	}
	seen := map[profile.Hash]bool{}
	for _, x := range w.e.Block {
		k := blockedKey(w.scope, x.Hash)
		there, err := w.get(k)
		if err != nil {
			return err
		}
		if there != nil || seen[x.Hash] {
			continue
		}
		seen[x.Hash] = true
		if err := stored(w.b.Set(k, []byte{1}, nil), w.b.Set(tagKey(w.scope, n), binary.BigEndian.AppendUint32(nil, x.Tag), nil)); err != nil {
			return err
		}
		n++
	}
	w.filter.add(blockedHash(w.scope))
	return stored(w.b.Set(scopedKey(kindBlocked, w.scope), binary.BigEndian.AppendUint64(nil, uint64(n)), nil)) //nolint:gosec // not negative
}

// profiles deletes profiles and what is bound to them, and puts documents that were written anew.
func (w *erasing) profiles() error {
	for _, p := range w.e.Profiles {
		if err := stored(w.b.Delete(profileKey(nil, w.scope, p), nil), w.b.Delete(shapedKey(nil, w.scope, p), nil)); err != nil {
			return err
		}
	}
	for _, r := range w.e.Rewritten {
		if err := stored(w.b.Set(profileKey(nil, w.scope, r.Profile), r.Doc, nil)); err != nil {
			return err
		}
	}
	for _, x := range w.e.Unbound {
		typ, known := w.dict.find(wordType, x.Type)
		if !known {
			continue
		}
		k := append(identityPrefix(w.scope, typ), x.Value...)
		v, err := w.get(k)
		if err != nil {
			return err
		}
		if len(v) == 8 && id.Profile(binary.BigEndian.Uint64(v)) == x.Profile {
			if err := stored(w.b.Delete(k, nil)); err != nil {
				return err
			}
			w.moved = append(w.moved, profileHash(profile.Derive(w.e.Erasure.Scope, x.Type, x.Value, 0)))
		}
	}
	return nil
}

func (w *erasing) merges() error {
	for _, m := range w.e.Merges {
		if err := stored(w.b.Set(mergeKey(w.scope, m.ID), profile.AppendMerge(nil, m), nil)); err != nil {
			return err
		}
	}
	for _, m := range w.e.MergesGone {
		if err := stored(w.b.Delete(mergeKey(w.scope, m.ID), nil)); err != nil {
			return err
		}
		for _, p := range append([]id.Profile{m.Profile}, m.Others...) {
			if err := stored(w.b.Delete(append(mergesOf(nil, w.scope, p), m.ID[:]...), nil)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *erasing) events() error {
	scope, known := w.dict.find(wordScope, scopeName(w.e.EventScope))
	if !known {
		return nil
	}
	for _, k := range w.e.Events {
		if err := stored(w.b.Delete(eventKey(nil, scope, k), nil)); err != nil {
			return err
		}
	}
	return nil
}

// rows removes entries of the row index.
func (w *erasing) rows() error {
	sync, known := w.dict.find(wordSync, syncName(w.e.Sync))
	if !known {
		return nil
	}
	for _, r := range w.e.Rows {
		k := rowKey(nil, sync, r)
		v, err := w.get(k)
		if err != nil {
			return err
		}
		if v == nil {
			continue
		}
		if x, ok := readEntry(v); !ok || !slices.Contains(w.e.Erasure.Profiles, x.Profile) {
			return changed()
		}
		if err := stored(w.b.Delete(k, nil)); err != nil {
			return err
		}
	}
	return nil
}

// rejects removes rejects, and puts what stays of the rows of their batches where such are still kept.
func (w *erasing) rejects() error {
	for _, r := range w.e.Rejects {
		if err := stored(w.b.Delete(rejectKey(nil, r.Batch, r.Row), nil)); err != nil {
			return err
		}
	}
	for _, x := range w.e.Kept {
		k := batchKey(nil, kindKept, x.Batch)
		if len(x.Sealed) == 0 {
			if err := stored(w.b.Delete(k, nil)); err != nil {
				return err
			}
			continue
		}
		there, err := w.get(k)
		if err != nil {
			return err
		}
		if there != nil {
			if err := stored(w.b.Set(k, x.Sealed, nil)); err != nil {
				return err
			}
		}
	}
	return nil
}
