// Package memory keeps the counters of package quota in the process.
package memory

import (
	"context"
	"sync"
	"time"

	"millrace.dev/pkg/quota"
)

// Limiter counts within this process.
type Limiter struct {
	mu    sync.Mutex
	taken map[string]*log
	swept time.Time
}

// log is when something was taken, oldest first, and when the last of it is forgotten.
type log struct {
	at   []time.Time
	ends time.Time
}

var _ quota.Limiter = (*Limiter)(nil)

// New answers a limiter that has counted nothing.
func New() *Limiter { return &Limiter{taken: map[string]*log{}} }

const sweepEvery = time.Minute

// Take implements quota.Limiter.
func (l *Limiter) Take(_ context.Context, key string, n int, per time.Duration) (time.Duration, error) {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sweep(now)
	k := l.taken[key]
	if k == nil {
		k = &log{}
		l.taken[key] = k
	}
	for len(k.at) > 0 && !k.at[0].Add(per).After(now) {
		k.at = k.at[1:]
	}
	if over := len(k.at) - n; over >= 0 {
		return k.at[over].Add(per).Sub(now), nil
	}
	k.at, k.ends = append(k.at, now), now.Add(per)
	return 0, nil
}

// sweep forgets keys of which nothing counts any more.
func (l *Limiter) sweep(now time.Time) {
	if now.Sub(l.swept) < sweepEvery {
		return
	}
	l.swept = now
	for key, k := range l.taken {
		if !k.ends.After(now) {
			delete(l.taken, key)
		}
	}
}

// Close implements quota.Limiter; there is nothing to free.
func (l *Limiter) Close() error { return nil }
