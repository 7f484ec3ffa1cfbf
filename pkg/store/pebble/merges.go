package pebble

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"slices"

	"millrace.dev/pkg/id"
	"millrace.dev/pkg/profile"
)

func mergeKey(scope uint32, m profile.MergeID) []byte {
	return append(scopedKey(kindMerge, scope), m[:]...)
}

func mergesOf(dst []byte, scope uint32, p id.Profile) []byte {
	dst = binary.BigEndian.AppendUint32(append(dst, kindMergeOf), scope)
	return binary.BigEndian.AppendUint64(dst, uint64(p))
}

const mergesOfLen = 1 + 4 + 8

func shapedKey(dst []byte, scope uint32, p id.Profile) []byte {
	dst = binary.BigEndian.AppendUint32(append(dst, kindShaped), scope)
	return binary.BigEndian.AppendUint64(dst, uint64(p))
}

// reshaping puts the log of merges, notes which profiles are merged, and those that may be left without an identity.
func (w *writing) reshaping() error {
	r := &w.e.Reshaping
	for _, l := range r.Links {
		if l.Survivor != 0 {
			w.touched.merged = append(w.touched.merged, profileHash(l.Profile))
		}
		if err := w.b.Set(shapedKey(nil, w.scope, l.Profile), nil, nil); err != nil {
			return unavailable("commit", err)
		}
	}
	for _, g := range r.Guards {
		if err := w.b.Set(shapedKey(nil, w.scope, g.Profile), nil, nil); err != nil {
			return unavailable("commit", err)
		}
	}
	for _, m := range r.Merges {
		if err := w.b.Set(mergeKey(w.scope, m.ID), profile.AppendMerge(nil, m), nil); err != nil {
			return unavailable("commit", err)
		}
		for _, p := range append([]id.Profile{m.Profile}, m.Others...) {
			if err := w.b.Set(append(mergesOf(nil, w.scope, p), m.ID[:]...), nil, nil); err != nil {
				return unavailable("commit", err)
			}
		}
	}
	return nil
}

// guarded holds that what a reshaping goes by is as it was looked up. Under Store.mu.
func (w *writing) guarded() error {
	for _, g := range w.e.Guards {
		doc, err := w.get(profileKey(nil, w.scope, g.Profile))
		if err != nil {
			return err
		}
		if profile.Shape(doc) != g.Shape {
			return changed()
		}
	}
	return nil
}

// goesTo says whether a profile, given by its hash, gets contributions or identities.
func (w *writing) goesTo(hash uint64) bool {
	return slices.ContainsFunc(w.e.Contributions, func(c profile.ContributionWrite) bool { return profileHash(c.Profile) == hash })
}

// Undo takes a merge back as one synced batch.
func (s *Store) Undo(ctx context.Context, u profile.Undoing) error {
	if err := cmp.Or(s.usable(ctx), s.roomy("undo a merge")); err != nil {
		return err
	}
	b := s.db.NewBatch()
	defer func() { _ = b.Close() }() //nolint:errcheck // frees memory only
	e := profile.Effects{Keys: profile.Keys{Scope: u.Scope}, Identities: u.Identities, Contributions: u.Contributions, Reshaping: u.Reshaping}
	w := writing{Store: s, b: b, e: &e, touched: newTouched(2 * len(u.Identities))}
	var err error
	if w.scope, err = s.dict.number(wordScope, scopeName(u.Scope)); err != nil {
		return err
	}
	for _, step := range []func() error{w.identities, w.contributions, w.reshaping, w.enterUndo} {
		if err := step(); err != nil {
			return err
		}
	}
	if err := b.SyncWait(); err != nil {
		return s.breakDown("undo a merge", err)
	}
	return nil
}

// enterUndo lets an undoing into the database, unless it is overtaken.
func (w *writing) enterUndo() error {
	defer w.alone()()
	if b := w.broken.Load(); b != nil {
		return b
	}
	if err := w.guarded(); err != nil {
		return err
	}
	w.filter.addAll(w.touched.slots)
	if err := w.apply(w.b); err != nil {
		return err
	}
	w.bindings.drop(w.moved)
	w.touched.seq = w.turns.next()
	w.recent.add(w.touched)
	return nil
}

// Docs answers the documents of some profiles.
func (s *Store) Docs(ctx context.Context, sc profile.Scope, ps []id.Profile) ([][]byte, error) {
	if err := s.usable(ctx); err != nil {
		return nil, err
	}
	out := make([][]byte, len(ps))
	scope, known := s.dict.find(wordScope, scopeName(sc))
	if !known || len(ps) == 0 {
		return out, nil
	}
	l := looking{Store: s, ctx: ctx}
	for i, p := range ps {
		l.ord.add(uint64(p), i)
	}
	l.ord.sort()
	it, err := l.iterator(kindProfile)
	if err != nil {
		return nil, err
	}
	for _, w := range l.ord.todo {
		if l.key = profileKey(l.key[:0], scope, ps[w.at]); !it.SeekPrefixGE(l.key) {
			continue
		}
		v, err := it.ValueAndErr()
		if err != nil {
			return nil, unavailableOr(ctx, "read", errors.Join(err, it.Close()))
		}
		out[w.at] = append([]byte{}, v...)
	}
	if err := it.Close(); err != nil {
		return nil, unavailableOr(ctx, "read", err)
	}
	return out, nil
}

// Merge answers an entry of the log of merges.
func (s *Store) Merge(ctx context.Context, sc profile.Scope, at profile.MergeID) (profile.Merge, error) {
	scope, known := s.dict.find(wordScope, scopeName(sc))
	if err := s.usable(ctx); err != nil || !known {
		return profile.Merge{}, err
	}
	v, err := s.get(mergeKey(scope, at))
	if err != nil || v == nil {
		return profile.Merge{}, err
	}
	return profile.DecodeMerge(at, v) //nolint:wrapcheck // classified by profile
}

// Merges answers the entries of the log that a profile is in.
func (s *Store) Merges(ctx context.Context, sc profile.Scope, p id.Profile, after string, limit int) ([]profile.Merge, string, error) {
	scope, known := s.dict.find(wordScope, scopeName(sc))
	if !known {
		return nil, "", s.usable(ctx)
	}
	return page(ctx, s, mergesOf(nil, scope, p), after, limit, func(k, _ []byte) (m profile.Merge, ok bool, err error) {
		if len(k) != mergesOfLen+len(m.ID) {
			return m, false, damaged("a merge")
		}
		m, err = s.Merge(ctx, sc, profile.MergeID(bytes.Clone(k[mergesOfLen:])))
		return m, m.Kind != 0, err
	})
}

// survivor answers what a profile of a document is by now.
func (s *Store) survivor(scope uint32, p id.Profile, doc []byte) (id.Profile, error) {
	for to := profile.SurvivorOf(doc); to != 0; to = profile.SurvivorOf(doc) {
		var err error
		if doc, err = s.get(profileKey(nil, scope, to)); err != nil {
			return 0, err
		}
		p = to
	}
	return p, nil
}
