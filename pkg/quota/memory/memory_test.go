package memory_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/quota/memory"
	"millrace.dev/pkg/quota/quotatest"
)

func TestLimiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := memory.New()
		quotatest.Run(t, l, func(d time.Duration) { <-time.After(d) })
		require.NoError(t, l.Close())
	})
}

func TestWhatIsOverIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := memory.New()
		for i := range 100 {
			_, err := l.Take(t.Context(), string(rune('a'+i)), 1, time.Second)
			require.NoError(t, err)
		}
		<-time.After(2 * time.Minute)
		wait, err := l.Take(t.Context(), "a", 1, time.Second)
		require.NoError(t, err)
		require.Zero(t, wait)
		require.Equal(t, 1, l.Keys())
	})
}
