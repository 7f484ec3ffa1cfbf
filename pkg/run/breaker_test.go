package run_test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/tools/txtar"

	"millrace.dev/pkg/run"
)

// breakerOf reads a breaker as testdata/breaker.txtar writes it.
func breakerOf(t *testing.T, w []string, now time.Time) run.Breaker {
	t.Helper()
	number := func(text string) int64 {
		n, err := strconv.ParseInt(text, 10, 64)
		require.NoError(t, err)
		return n
	}
	b := run.Breaker{State: run.BreakerState(w[0]), Failures: number(w[1]), Openings: number(w[2])}
	require.Contains(t, run.BreakerStates(), b.State)
	if w[3] != "-" {
		b.Until = now.Add(time.Duration(number(w[3])) * time.Second)
	}
	return b
}

func TestBreakersFollowTheTable(t *testing.T) {
	a, err := txtar.ParseFile("testdata/breaker.txtar")
	require.NoError(t, err)
	now := time.Unix(1_800_000_000, 0)
	rule := run.BreakerRule{After: 3, CoolOff: 30 * time.Second, Most: 300 * time.Second}
	met := map[string]bool{}
	for line := range strings.Lines(string(a.Files[0].Data)) {
		w := strings.Fields(line)
		require.Len(t, w, 11, line)
		before, want := breakerOf(t, w[:4], now), breakerOf(t, w[7:], now)
		require.Contains(t, run.BreakerEvents(), run.BreakerEvent(w[5]))
		got := before.Next(run.BreakerEvent(w[5]), now, rule)
		if got.State == "" {
			got.State = run.BreakerClosed
		}
		require.Equal(t, want, got, line)
		require.Equal(t, got.State != run.BreakerClosed, got.IsOpen(), line)
		met[w[0]+" "+w[5]] = true
	}
	require.Len(t, met, len(run.BreakerStates())*len(run.BreakerEvents()), "every event in every state")
}

func TestABreakerThatIsClosedWithoutFailuresIsForgotten(t *testing.T) {
	require.True(t, run.Breaker{}.IsZero())
	require.False(t, run.Breaker{}.IsOpen())
	require.False(t, run.Breaker{Failures: 1}.IsZero())
	require.False(t, run.Breaker{State: run.BreakerHalfOpen}.IsZero())
}
