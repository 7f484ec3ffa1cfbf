package memory_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/quota"
	"millrace.dev/pkg/quota/memory"
	"millrace.dev/pkg/quota/quotatest"
)

func TestContract(t *testing.T) {
	quotatest.Run(t, func(*testing.T) quota.Limiter { return memory.New() }, func(t *testing.T, name string, f func(*testing.T)) {
		t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
	})
}

func TestTheWaitIsExact(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := memory.New()
		for i := range 2 {
			ok, _, err := l.Take(t.Context(), "k", 2, time.Hour)
			require.NoError(t, err)
			require.True(t, ok, i)
			<-time.After(10 * time.Minute)
		}
		_, after, err := l.Take(t.Context(), "k", 2, time.Hour)
		require.NoError(t, err)
		require.Equal(t, 40*time.Minute, after)
		<-time.After(after - 1)
		ok, _, _ := l.Take(t.Context(), "k", 2, time.Hour)
		require.False(t, ok)
		<-time.After(1)
		ok, _, _ = l.Take(t.Context(), "k", 2, time.Hour)
		require.True(t, ok)
	})
}

func BenchmarkTake(b *testing.B) {
	l := memory.New()
	for i := 0; b.Loop(); i++ {
		_, _, _ = l.Take(b.Context(), fmt.Sprint(i%1000), 100, time.Second)
	}
}
