// Package quotatest holds the suite that every driver of package quota passes.
package quotatest

import (
	"context"
	"crypto/rand"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/quota"
)

// Run holds a driver to the contract. open answers a limiter on the same counters each time; run runs one case, where
// time may be another than the machine's (testing/synctest), or is t.Run.
func Run(t *testing.T, open func(t *testing.T) quota.Limiter, run func(t *testing.T, name string, f func(t *testing.T))) {
	t.Helper()
	for name, f := range map[string]func(*testing.T, quota.Limiter){
		"a limit holds":                            limitHolds,
		"keys count apart":                         keysCountApart,
		"after the wait there is one again":        waitHelps,
		"a refused take costs nothing":             refusedIsFree,
		"takes at the same time do not exceed it":  atomic,
		"a smaller limit counts what was taken":    smaller,
		"what can not be counted is refused":       invalid,
		"a context that has ended takes nothing":   ended,
		"takes leave the window one after another": sliding,
	} {
		run(t, name, func(t *testing.T) {
			l := open(t)
			defer func() { require.NoError(t, l.Close()) }()
			f(t, l)
		})
	}
}

func key() string { return "quotatest/" + rand.Text() }

func take(t *testing.T, l quota.Limiter, key string, limit int, per time.Duration) (bool, time.Duration) {
	t.Helper()
	ok, after, err := l.Take(t.Context(), key, limit, per)
	require.NoError(t, err)
	if ok {
		require.Zero(t, after)
	} else {
		require.Positive(t, after)
		require.LessOrEqual(t, after, per)
	}
	return ok, after
}

// wait waits d by the case's own time.
func wait(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	<-timer.C
}

func limitHolds(t *testing.T, l quota.Limiter) {
	k := key()
	for range 5 {
		ok, _ := take(t, l, k, 5, time.Hour)
		require.True(t, ok)
	}
	for range 3 {
		ok, _ := take(t, l, k, 5, time.Hour)
		require.False(t, ok)
	}
}

func keysCountApart(t *testing.T, l quota.Limiter) {
	for _, k := range []string{key(), key()} {
		ok, _ := take(t, l, k, 1, time.Hour)
		require.True(t, ok)
	}
}

func waitHelps(t *testing.T, l quota.Limiter) {
	k := key()
	taken := 0
	for range 3 {
		ok, after := take(t, l, k, 1, 50*time.Millisecond)
		if !ok {
			wait(after)
			ok, _ = take(t, l, k, 1, 50*time.Millisecond)
		}
		require.True(t, ok)
		taken++
	}
	require.Equal(t, 3, taken)
}

func refusedIsFree(t *testing.T, l quota.Limiter) {
	k := key()
	ok, _ := take(t, l, k, 1, time.Hour)
	require.True(t, ok)
	for range 10 {
		ok, _ = take(t, l, k, 1, time.Hour)
		require.False(t, ok)
	}
	ok, _ = take(t, l, k, 2, time.Hour)
	require.True(t, ok)
}

func atomic(t *testing.T, l quota.Limiter) {
	k := key()
	var mu sync.Mutex
	var wg sync.WaitGroup
	taken := 0
	for range 8 {
		wg.Go(func() {
			for range 10 {
				if ok, _, err := l.Take(t.Context(), k, 17, time.Hour); err == nil && ok {
					mu.Lock()
					taken++
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	require.Equal(t, 17, taken)
}

func smaller(t *testing.T, l quota.Limiter) {
	k := key()
	for range 5 {
		ok, _ := take(t, l, k, 5, time.Hour)
		require.True(t, ok)
	}
	ok, _ := take(t, l, k, 2, time.Hour)
	require.False(t, ok)
	ok, _ = take(t, l, k, 6, time.Hour)
	require.True(t, ok)
}

func invalid(t *testing.T, l quota.Limiter) {
	for _, bad := range []struct {
		limit int
		per   time.Duration
	}{{0, time.Hour}, {-1, time.Hour}, {quota.MaxLimit + 1, time.Hour}, {1, 0}} {
		_, _, err := l.Take(t.Context(), key(), bad.limit, bad.per)
		require.Equal(t, fault.Invalid, fault.ClassOf(err))
	}
}

func ended(t *testing.T, l quota.Limiter) {
	k := key()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err := l.Take(ctx, k, 1, time.Hour)
	require.ErrorIs(t, err, context.Canceled)
	ok, _ := take(t, l, k, 1, time.Hour)
	require.True(t, ok)
}

func sliding(t *testing.T, l quota.Limiter) {
	k := key()
	const per = 400 * time.Millisecond
	ok, _ := take(t, l, k, 2, per)
	require.True(t, ok)
	wait(per / 4)
	ok, _ = take(t, l, k, 2, per)
	require.True(t, ok)
	if ok, after := take(t, l, k, 2, per); !ok { // a slow machine may have left the window already
		require.LessOrEqual(t, after, per-per/4, "the first take leaves first")
		wait(after)
		ok, _ = take(t, l, k, 2, per)
		require.True(t, ok)
	}
}
