package run_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/run"
)

func TestTheRateFollowsWhatIsNew(t *testing.T) {
	var p run.Pace
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	p.Observe(0, at)
	require.Zero(t, p.Rate(), "one observation gives no rate")
	p.Observe(1000, at.Add(time.Second))
	require.InDelta(t, 1000, p.Rate(), 0.1)
	p.Observe(1500, at.Add(time.Second+time.Millisecond))
	require.InDelta(t, 1000, p.Rate(), 0.1, "a step too short to measure is put to the next")
	p.Observe(5000, at.Add(2*time.Second))
	require.InDelta(t, 1543, p.Rate(), 1, "a new second at 4000 rows weighs a fifth")
	for i := range 60 {
		p.Observe(5000, at.Add(time.Duration(3+i)*time.Second))
	}
	require.Less(t, p.Rate(), 1.0, "a run that stands still has no rate")
}

func TestTheTimeLeftIsOnlySaidWhereItIsKnown(t *testing.T) {
	left, known := run.TimeLeft(3000, 1000)
	require.True(t, known)
	require.Equal(t, 3*time.Second, left)
	_, known = run.TimeLeft(3000, 0.5)
	require.False(t, known, "a run that stands still never ends")
	_, known = run.TimeLeft(0, 1000)
	require.False(t, known)
}
