package trace

import (
	"slices"
	"sync"
)

// inboxBytes bounds what waits to be written, whatever the spans are.
const inboxBytes = 64 << 20

// inbox holds received spans until they are written: a bounded queue that never blocks who puts. Safe for concurrent use.
type inbox struct {
	most  int
	bell  chan struct{} // has something where spans may wait
	mu    sync.Mutex
	spans []span
	bytes int64
}

func newInbox(most int) *inbox { return &inbox{most: most, bell: make(chan struct{}, 1)} }

// put takes the first spans that fit and answers how many.
func (b *inbox) put(spans []span) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	taken := 0
	for i := range spans {
		n := spans[i].bytes()
		if len(b.spans) == b.most || b.bytes+n > inboxBytes {
			break
		}
		b.spans, b.bytes = append(b.spans, spans[i]), b.bytes+n
		taken++
	}
	select {
	case b.bell <- struct{}{}:
	default:
	}
	return taken
}

// take answers the oldest spans, at most n, which are no longer in the inbox.
func (b *inbox) take(n int) []span {
	b.mu.Lock()
	defer b.mu.Unlock()
	n = min(n, len(b.spans))
	out := b.spans[:n:n]
	if b.spans = b.spans[n:]; len(b.spans) == 0 {
		b.spans = nil
	}
	for i := range out {
		b.bytes -= out[i].bytes()
	}
	return out
}

// back puts spans that were taken in front again.
func (b *inbox) back(spans []span) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.spans = append(slices.Clip(spans), b.spans...)
	for i := range spans {
		b.bytes += spans[i].bytes()
	}
}

// len answers how many spans wait.
func (b *inbox) len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.spans)
}
