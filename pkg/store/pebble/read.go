package pebble

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"iter"

	"github.com/cockroachdb/pebble/v2"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/profile"
	"millrace.dev/pkg/store"
)

// format is the layout of keys, values and the filter that Close leaves. Another layout is another number: a version that
// does not know of the filter of another would leave it behind what it commits. Layout 1 had another filter and was else
// the same.
const (
	format         = "2"
	formatOfBefore = "1"
)

// checkFormat refuses a folder of another layout, and signs an empty one and one of the layout before, whose filter is gone.
func (s *Store) checkFormat() error {
	k := append([]byte{kindMeta}, "format"...)
	v, err := s.get(k)
	if err != nil {
		return err
	}
	if v == nil || string(v) == formatOfBefore {
		if err := s.dropOtherFilters(); err != nil {
			return err
		}
		b := s.db.NewBatch()
		if err := b.Set(k, []byte(format), nil); err != nil {
			return unavailable("open", err)
		}
		if err := commitSynced(s.db, b); err != nil {
			return unavailable("open", err)
		}
		return nil
	}
	if string(v) != format {
		return fault.New(fault.Precondition, fault.ReasonStoreUnavailable,
			"store: %s has layout %q, this version reads %q; use the version that wrote it", s.dir, v, format)
	}
	return nil
}

// get answers a copy of a value, nil where there is none.
func (s *Store) get(k []byte) ([]byte, error) {
	v, closer, err := s.db.Get(k)
	switch {
	case errors.Is(err, pebble.ErrNotFound):
		return nil, nil
	case err != nil:
		return nil, unavailable("read", err)
	}
	v = bytes.Clone(v)
	if err := closer.Close(); err != nil {
		return nil, unavailable("read", err)
	}
	return v, nil
}

// Resolve answers the profile that an identity is bound to, 0 where it is bound to none.
func (s *Store) Resolve(ctx context.Context, sc profile.Scope, typ, value string) (id.Profile, error) {
	if err := s.usable(ctx); err != nil {
		return 0, err
	}
	scope, known := s.dict.find(wordScope, scopeName(sc))
	n, typed := s.dict.find(wordType, typ)
	if !known || !typed {
		return 0, nil
	}
	v, err := s.get(append(identityPrefix(scope, n), value...))
	if err != nil || v == nil {
		return 0, err
	}
	if len(v) != 8 {
		return 0, damaged("an identity")
	}
	return id.Profile(binary.BigEndian.Uint64(v)), nil
}

// Profile answers the document of a profile, nil where there is none.
func (s *Store) Profile(ctx context.Context, sc profile.Scope, p id.Profile) ([]byte, error) {
	if err := s.usable(ctx); err != nil {
		return nil, err
	}
	scope, known := s.dict.find(wordScope, scopeName(sc))
	if !known {
		return nil, nil
	}
	return s.get(profileKey(nil, scope, p))
}

// Profiles answers profiles in the order of their ids.
func (s *Store) Profiles(ctx context.Context, sc profile.Scope, after string, limit int) ([]store.ProfileDoc, string, error) {
	scope, known := s.dict.find(wordScope, scopeName(sc))
	if !known {
		return nil, "", s.usable(ctx)
	}
	return page(ctx, s, profileKey(nil, scope, 0)[:5], after, limit, func(k, v []byte) (store.ProfileDoc, bool, error) {
		if len(k) != profileKeyLen {
			return store.ProfileDoc{}, false, damaged("a profile")
		}
		return store.ProfileDoc{Profile: id.Profile(binary.BigEndian.Uint64(k[5:])), Doc: bytes.Clone(v)}, profile.SurvivorOf(v) == 0, nil
	})
}

// ProfileEvents answers the events of a profile, newest first.
func (s *Store) ProfileEvents(ctx context.Context, sc profile.Scope, p id.Profile, after string, limit int) ([]store.EventDoc, string, error) {
	scope, known := s.dict.find(wordScope, scopeName(sc))
	if !known {
		return nil, "", s.usable(ctx)
	}
	return page(ctx, s, eventPrefix(nil, scope, p), after, limit, func(k, v []byte) (store.EventDoc, bool, error) {
		e, ok := readEventKey(k)
		if !ok {
			return store.EventDoc{}, false, damaged("an event")
		}
		return store.EventDoc{Key: e, Doc: bytes.Clone(v)}, true, nil
	})
}

// SyncEvents answers the events that a sync brought in, in the order of their row keys.
func (s *Store) SyncEvents(ctx context.Context, sc profile.Scope, f store.EventFilter, after string, limit int) ([]store.EventDoc, string, error) {
	scope, known := s.dict.find(wordScope, scopeName(sc))
	sync, synced := s.dict.find(wordSync, syncName(f.Sync))
	if !known || !synced {
		return nil, "", s.usable(ctx)
	}
	return page(ctx, s, rowKey(nil, sync, id.Row{})[:5], after, limit, func(k, v []byte) (d store.EventDoc, ok bool, err error) {
		e, ok := readEntry(v)
		if !ok || len(k) != rowKeyLen {
			return d, false, damaged("an entry of the row index")
		}
		// A later run may have moved the entry, but none writes an event without it.
		if e.Tombstone || e.Version.RunNo < f.RunNo || !f.From.IsZero() && e.EventTime < f.From.UnixMilli() ||
			!f.Until.IsZero() && e.EventTime >= f.Until.UnixMilli() {
			return d, false, nil
		}
		d.Key = profile.EventKey{Profile: e.Profile, Time: e.EventTime, ID: profile.EventIDOf(f.Sync, id.Row(k[5:]))}
		d.Doc, err = s.get(eventKey(nil, scope, d.Key))
		if err != nil || d.Doc == nil {
			return d, false, err
		}
		return d, f.RunNo == 0 || profile.EventRun(d.Doc) == f.RunNo, nil
	})
}

// page answers up to limit things of the keys that begin with prefix, and the token of the next page: the last key in
// base64. What f answers false for is left out.
func page[T any](ctx context.Context, s *Store, prefix []byte, token string, limit int, f func(k, v []byte) (T, bool, error)) ([]T, string, error) {
	if err := s.usable(ctx); err != nil {
		return nil, "", err
	}
	from, err := behind(prefix, token)
	if err != nil {
		return nil, "", err
	}
	var out []T
	next := ""
	err = s.each(ctx, prefix, from, func(k, v []byte) (bool, error) {
		x, ok, err := f(k, v)
		if err != nil || !ok {
			return true, err
		}
		if len(out) == limit {
			next = "more"
			return false, nil
		}
		out = append(out, x)
		if len(out) == limit {
			token = base64.RawURLEncoding.EncodeToString(k[len(prefix):])
		}
		return true, nil
	})
	if err != nil {
		return nil, "", err
	}
	if next != "" {
		next = token
	}
	return out, next, nil
}

// behind answers the first key behind the one that a token names.
func behind(prefix []byte, token string) ([]byte, error) {
	if token == "" {
		return nil, nil
	}
	rest, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		return nil, fault.New(fault.Invalid, fault.ReasonInvalidArgument, "page_token is not one that was answered; begin with an empty one")
	}
	return append(append(bytes.Clone(prefix), rest...), 0), nil
}

// Everything walks all identities, profiles and events.
func (s *Store) Everything(ctx context.Context) iter.Seq2[store.Item, error] {
	return func(yield func(store.Item, error) bool) {
		if err := s.usable(ctx); err != nil {
			yield(store.Item{}, err)
			return
		}
		for _, kind := range []byte{kindIdentity, kindProfile, kindEvent} {
			stopped := false
			err := s.each(ctx, []byte{kind}, nil, func(k, v []byte) (bool, error) {
				i, err := s.item(kind, k, v)
				if err != nil {
					return false, err
				}
				stopped = !yield(i, nil)
				return !stopped, nil
			})
			if err != nil {
				yield(store.Item{}, err)
			}
			if err != nil || stopped {
				return
			}
		}
	}
}

func (s *Store) item(kind byte, k, v []byte) (i store.Item, err error) {
	if kind == kindIdentity {
		i, ok := s.dict.readIdentity(k, v)
		if !ok {
			return i, damaged("an identity")
		}
		return i, nil
	}
	if len(k) < profileKeyLen {
		return i, damaged("a key")
	}
	ok := false
	if i.Scope, ok = s.dict.scope(binary.BigEndian.Uint32(k[1:])); !ok {
		return i, damaged("a scope")
	}
	if kind == kindProfile {
		i.Profile = &store.ProfileDoc{Profile: id.Profile(binary.BigEndian.Uint64(k[5:])), Doc: bytes.Clone(v)}
		return i, nil
	}
	e, ok := readEventKey(k)
	if !ok {
		return i, damaged("an event")
	}
	i.Event = &store.EventDoc{Key: e, Doc: bytes.Clone(v)}
	return i, nil
}
