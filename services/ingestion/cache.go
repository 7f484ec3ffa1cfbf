package ingestion

import (
	"container/list"
	"sync"
)

// cache remembers at most so many values, those used last. Safe for concurrent use.
type cache[K comparable, V any] struct {
	most int

	mu    sync.Mutex
	order *list.List // of entry, the last used first
	byKey map[K]*list.Element
}

type cached[K comparable, V any] struct {
	key   K
	value V
}

func newCache[K comparable, V any](most int) *cache[K, V] {
	return &cache[K, V]{most: max(1, most), order: list.New(), byKey: map[K]*list.Element{}}
}

func (c *cache[K, V]) get(k K) (v V, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.byKey[k]
	if !ok {
		return v, false
	}
	c.order.MoveToFront(e)
	x, ok := e.Value.(cached[K, V])
	return x.value, ok
}

func (c *cache[K, V]) put(k K, v V) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.byKey[k]; ok {
		c.order.Remove(e)
	}
	c.byKey[k] = c.order.PushFront(cached[K, V]{k, v})
	for c.order.Len() > c.most {
		last := c.order.Back()
		if x, ok := c.order.Remove(last).(cached[K, V]); ok {
			delete(c.byKey, x.key)
		}
	}
}
