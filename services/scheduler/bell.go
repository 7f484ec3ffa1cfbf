package scheduler

import "sync"

// bell wakes everybody who waits. Safe for concurrent use; the zero value is ready.
type bell struct {
	mu sync.Mutex
	ch chan struct{}
}

// heard answers a channel that is closed by the next ring. Take it before looking at what the bell tells of, so that
// no ring is missed.
func (b *bell) heard() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ch == nil {
		b.ch = make(chan struct{})
	}
	return b.ch
}

func (b *bell) ring() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ch != nil {
		close(b.ch)
		b.ch = nil
	}
}
