package mapper

import (
	"container/list"
	"sync"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/zeebo/xxh3"

	"millrace.dev/pkg/id"
	"millrace.dev/pkg/mapping"
)

// programKey names a program for ever: a version of a sync never changes, and rows of one version may still come with
// another schema.
type programKey struct {
	sync    id.Sync
	version int64
	schema  xxh3.Uint128
}

// programs remembers at most so many compiled mappings, those used last. Safe for concurrent use.
type programs struct {
	most int

	mu    sync.Mutex
	order *list.List // of remembered, the last used first
	byKey map[programKey]*list.Element
}

type remembered struct {
	key     programKey
	program *mapping.Program
}

func newPrograms(most int) *programs {
	return &programs{most: max(1, most), order: list.New(), byKey: map[programKey]*list.Element{}}
}

func (p *programs) get(k programKey) (*mapping.Program, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e, ok := p.byKey[k]
	if !ok {
		return nil, false
	}
	p.order.MoveToFront(e)
	return e.Value.(remembered).program, true //nolint:forcetypeassert // the list has nothing else
}

func (p *programs) put(k programKey, program *mapping.Program) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e, ok := p.byKey[k]; ok {
		p.order.Remove(e)
	}
	p.byKey[k] = p.order.PushFront(remembered{k, program})
	for p.order.Len() > p.most {
		last := p.order.Remove(p.order.Back()).(remembered) //nolint:forcetypeassert // the list has nothing else
		delete(p.byKey, last.key)
	}
}

// fingerprint answers a hash over names, types and metadata of a schema.
func fingerprint(s *arrow.Schema) xxh3.Uint128 { return xxh3.HashString128(s.String()) }
