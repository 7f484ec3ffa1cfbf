package ingestion

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"time"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/profile"
	"millrace.dev/pkg/record"
)

// dictionaries remembers the types of attributes by scope. Safe for concurrent use.
type dictionaries struct {
	mu sync.Mutex
	by map[profile.Scope]dictionary
}

type dictionary struct {
	types map[string]profile.AttributeType // never changed
	until time.Time
}

func (d *dictionaries) get(s profile.Scope) (map[string]profile.AttributeType, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	x, ok := d.by[s]
	return x.types, ok && time.Now().Before(x.until)
}

func (d *dictionaries) put(s profile.Scope, types map[string]profile.AttributeType) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.by == nil {
		d.by = map[profile.Scope]dictionary{}
	}
	d.by[s] = dictionary{types, time.Now().Add(declaredFor)}
}

// typing answers what the types of attributes and those of a batch do to each other. Unless the pass is dry, types that
// attributes get are durable by then.
func (s *Service) typing(ctx context.Context, b record.Batch, scope profile.Scope, dry bool) (profile.Typing, error) {
	if b.Absent != nil || b.Kind.Single() {
		return profile.Typing{}, nil
	}
	for range Tries {
		types, ok := s.types.get(scope)
		if !ok {
			var err error
			if types, err = s.store.Types(ctx, scope); err != nil {
				return profile.Typing{}, fmt.Errorf("read the types of attributes: %w", err)
			}
			s.types.put(scope, types)
		}
		t := profile.TypingOf(b, types, profile.OnConflict(s.settings.AttributeConflict))
		if dry || len(t.Writes) == 0 {
			return t, nil
		}
		err := s.store.DefineTypes(ctx, scope, t.Writes)
		switch {
		case err == nil:
			types = maps.Clone(types)
			for _, w := range t.Writes {
				types[w.Name] = w.To
			}
			s.types.put(scope, types)
			return t, nil
		case fault.ClassOf(err) != fault.Conflict:
			return t, fmt.Errorf("define the types of attributes: %w", err)
		}
		if types, err = s.store.Types(ctx, scope); err != nil {
			return t, fmt.Errorf("read the types of attributes: %w", err)
		}
		s.types.put(scope, types)
	}
	return profile.Typing{}, fault.New(fault.Unavailable, fault.ReasonCommitConflict, "the types of attributes changed %d times in a row; the batch is tried again", Tries)
}
