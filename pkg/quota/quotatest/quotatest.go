// Package quotatest holds the suite that every driver of package quota passes.
package quotatest

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/quota"
)

// Run tests a limiter that has counted nothing. pass lets time go by for it.
func Run(t *testing.T, l quota.Limiter, pass func(time.Duration)) {
	ctx := t.Context()
	take := func(key string, n int, per time.Duration) time.Duration {
		t.Helper()
		wait, err := l.Take(ctx, key, n, per)
		require.NoError(t, err)
		require.GreaterOrEqual(t, wait, time.Duration(0))
		require.LessOrEqual(t, wait, per)
		return wait
	}

	// Over the limit nothing is taken, and the answer is how long to wait.
	for range 3 {
		require.Zero(t, take("a", 3, time.Hour))
	}
	for range 5 {
		require.Positive(t, take("a", 3, time.Hour))
	}

	// Keys do not know of one another.
	require.Zero(t, take("b", 1, time.Hour))
	require.Positive(t, take("b", 1, time.Hour))

	// A higher limit finds what was taken; a lower one waits until few enough are left.
	require.Zero(t, take("a", 4, time.Hour))
	require.Positive(t, take("a", 1, time.Hour))

	// What was taken is forgotten when its span is over, and not before.
	const span = 300 * time.Millisecond
	require.Zero(t, take("c", 2, span))
	pass(span / 2)
	require.Zero(t, take("c", 2, span))
	wait := take("c", 2, span)
	require.Positive(t, wait)
	pass(wait + time.Millisecond)
	require.Zero(t, take("c", 2, span), "the first has gone")
	require.Positive(t, take("c", 2, span), "the second has not")

	// Of many at once exactly as many as fit get one.
	var (
		wg  sync.WaitGroup
		got atomic.Int64
	)
	for range 40 {
		wg.Go(func() {
			if wait, err := l.Take(ctx, "d", 7, time.Hour); err == nil && wait == 0 {
				got.Add(1)
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, 7, got.Load())
}
