package pebble

import (
	"context"
	"encoding/binary"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/profile"
)

// kindType is of keys: scope, attribute → its type.
const kindType = 't'

func typePrefix(scope uint32) []byte { return binary.BigEndian.AppendUint32([]byte{kindType}, scope) }

// Types answers the types of the attributes of a scope.
func (s *Store) Types(ctx context.Context, sc profile.Scope) (map[string]profile.AttributeType, error) {
	out := map[string]profile.AttributeType{}
	scope, known := s.dict.find(wordScope, scopeName(sc))
	if !known {
		return out, s.usable(ctx)
	}
	if err := s.usable(ctx); err != nil {
		return nil, err
	}
	prefix := typePrefix(scope)
	err := s.each(ctx, prefix, nil, func(k, v []byte) (bool, error) {
		out[string(k[len(prefix):])] = profile.AttributeType(v)
		return true, nil
	})
	return out, err
}

// DefineTypes gives attributes their types.
func (s *Store) DefineTypes(ctx context.Context, sc profile.Scope, ws []profile.TypeWrite) error {
	if err := s.usable(ctx); err != nil {
		return err
	}
	scope, err := s.dict.number(wordScope, scopeName(sc))
	if err != nil {
		return err
	}
	s.types.Lock()
	defer s.types.Unlock()
	b := s.db.NewBatch()
	for _, w := range ws {
		k := append(typePrefix(scope), w.Name...)
		has, err := s.get(k)
		if err != nil {
			return err
		}
		if string(has) != string(w.From) {
			return fault.New(fault.Conflict, fault.ReasonCommitConflict, "store: an attribute has got another type meanwhile; read the types again")
		}
		if err := b.Set(k, []byte(w.To), nil); err != nil {
			return unavailable("define types", err)
		}
	}
	if err := commitSynced(s.db, b); err != nil {
		return s.breakDown("define types", err)
	}
	return nil
}
