package bus

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestTheStreamsStayUnderSeventyPercentOfTheSpace(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.Int64Range(1, 1<<45).Draw(t, "want")
		space := rapid.Int64Range(0, 1<<50).Draw(t, "space")
		got := fitBytes(want, space)
		require.LessOrEqual(t, got, want)
		require.LessOrEqual(t, float64(reserved(got)), 0.7*float64(space)+1)
	})
}

func TestTriesAreBounded(t *testing.T) {
	tr := newTries()
	for i := range uint64(10 * triesKept) {
		tr.add(i)
	}
	require.LessOrEqual(t, len(tr.n), triesKept)
	require.Equal(t, 1, tr.count(10*triesKept-1), "the newest are remembered")
	require.Equal(t, 2, tr.add(10*triesKept-1))
	tr.forget(10*triesKept - 1)
	require.Zero(t, tr.count(10*triesKept-1))
}
