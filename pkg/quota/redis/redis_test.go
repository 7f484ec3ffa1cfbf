package redis_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/quota"
	"millrace.dev/pkg/quota/quotatest"
	"millrace.dev/pkg/quota/redis"
	"millrace.dev/pkg/testenv"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, testenv.Leaks()...) }

func TestContract(t *testing.T) {
	url := testenv.Redis(t)
	quotatest.Run(t, func(t *testing.T) quota.Limiter {
		l, err := redis.Open(url)
		require.NoError(t, err)
		return l
	}, func(t *testing.T, name string, f func(*testing.T)) { t.Run(name, f) })
}

func TestAnUnreachableRedisIsUnavailable(t *testing.T) {
	l, err := redis.Open("redis://:hunter2@127.0.0.1:1/0")
	require.NoError(t, err)
	defer func() { require.NoError(t, l.Close()) }()
	_, _, err = l.Take(t.Context(), "k", 1, time.Hour)
	require.Equal(t, fault.ReasonStoreUnavailable, fault.ReasonOf(err))
	require.Equal(t, fault.Unavailable, fault.ClassOf(err))
	_, err = redis.Open("http://user:hunter2@x")
	require.Equal(t, fault.Invalid, fault.ClassOf(err))
	require.NotContains(t, err.Error(), "hunter2")
}
