package redis_test

import (
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/quota/quotatest"
	"millrace.dev/pkg/quota/redis"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestLimiterOnAnInProcessRedis(t *testing.T) {
	m := miniredis.RunT(t)
	now := time.Date(2026, 3, 1, 0, 0, 0, 123456000, time.UTC)
	m.SetTime(now)
	l, err := redis.Open("redis://" + m.Addr())
	require.NoError(t, err)
	quotatest.Run(t, l, func(d time.Duration) {
		now = now.Add(d)
		m.SetTime(now)
	})
	require.NoError(t, l.Close())
}

func TestAGoneRedisIsUnavailable(t *testing.T) {
	m := miniredis.RunT(t)
	l, err := redis.Open("redis://" + m.Addr() + "?max_retries=-1")
	require.NoError(t, err)
	m.Close()
	_, err = l.Take(t.Context(), "a", 1, time.Hour)
	require.Equal(t, fault.Unavailable, fault.ClassOf(err))
	require.Equal(t, fault.ReasonStoreUnavailable, fault.ReasonOf(err))
	require.NoError(t, l.Close())
}

func TestABadAddressIsRefusedWithoutItsPassword(t *testing.T) {
	_, err := redis.Open("redis://user:hunter2@:::bad")
	require.Equal(t, fault.Invalid, fault.ClassOf(err))
	require.NotContains(t, err.Error(), "hunter2")
}
