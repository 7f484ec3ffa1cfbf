// Package memory counts in the memory of one process.
package memory

import (
	"context"
	"sync"
	"time"

	"millrace.dev/pkg/quota"
)

// sweepEvery is how often keys whose window has passed are forgotten.
const sweepEvery = time.Minute

// Limiter is a quota.Limiter of one process.
type Limiter struct {
	mu    sync.Mutex
	keys  map[string]*window
	sweep time.Time
}

var _ quota.Limiter = (*Limiter)(nil)

// window is the takes of a key, oldest first, and the length of the window last asked for.
type window struct {
	takes []time.Time
	per   time.Duration
}

// New answers a limiter that nothing was taken from.
func New() *Limiter { return &Limiter{keys: map[string]*window{}, sweep: time.Now().Add(sweepEvery)} }

// Take is quota.Limiter's.
func (l *Limiter) Take(ctx context.Context, key string, limit int, per time.Duration) (bool, time.Duration, error) {
	if err := quota.Check(limit, per); err != nil {
		return false, 0, err //nolint:wrapcheck // classified
	}
	if err := ctx.Err(); err != nil {
		return false, 0, err //nolint:wrapcheck // the caller's own
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	l.forget(now)
	w := l.keys[key]
	if w == nil {
		w = &window{}
		l.keys[key] = w
	}
	w.per = per
	w.trim(now)
	if n := len(w.takes); n >= limit {
		return false, w.takes[n-limit].Add(per).Sub(now), nil
	}
	w.takes = append(w.takes, now)
	return true, 0, nil
}

// trim forgets takes that the window has left behind.
func (w *window) trim(now time.Time) {
	i := 0
	for i < len(w.takes) && !w.takes[i].Add(w.per).After(now) {
		i++
	}
	w.takes = append(w.takes[:0], w.takes[i:]...)
}

// forget drops keys without takes, now and then.
func (l *Limiter) forget(now time.Time) {
	if now.Before(l.sweep) {
		return
	}
	l.sweep = now.Add(sweepEvery)
	for k, w := range l.keys {
		if w.trim(now); len(w.takes) == 0 {
			delete(l.keys, k)
		}
	}
}

// Close is quota.Limiter's.
func (l *Limiter) Close() error { return nil }
