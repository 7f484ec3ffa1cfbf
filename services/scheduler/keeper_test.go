package scheduler

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/bus"
	"millrace.dev/pkg/id"
)

// still is streams as a test wants them.
type still struct {
	held map[bus.Stream]bus.Stats
	err  error
}

func (s still) Stats(_ context.Context, name bus.Stream) (bus.Stats, error) {
	return s.held[name], s.err
}

func TestStreamsAreIdleOnceNothingWasUnderWayForTheWindow(t *testing.T) {
	at := func(second int) time.Time { return time.Unix(int64(second), 0) }
	k := newKeeper(&Service{settings: Settings{LossWindow: 30 * time.Second}})
	look := func(second int, s streams) bool {
		k.streams = s
		return k.idle(t.Context(), at(second))
	}
	empty := still{held: map[bus.Stream]bus.Stats{bus.Rows: {}, bus.Records: {}}}
	require.False(t, look(0, nil), "nobody knows")
	require.False(t, look(10, empty), "not for long enough")
	require.False(t, look(39, empty))
	require.True(t, look(40, empty))
	require.False(t, look(41, still{held: map[bus.Stream]bus.Stats{bus.Records: {Pending: 1}}}), "a record waits")
	require.False(t, look(42, empty), "the window begins anew")
	require.False(t, look(60, still{held: map[bus.Stream]bus.Stats{bus.Rows: {AckPending: 1}}}), "rows are in hand")
	require.False(t, look(80, empty))
	require.False(t, look(100, still{err: errors.New("no broker")}), "an outage is no idleness")
	require.False(t, look(111, empty))
	require.True(t, look(141, still{held: map[bus.Stream]bus.Stats{bus.Rows: {Messages: 3}}}), "messages that nobody will get are not under way")
}

func TestRunIDsOrderByTheirCreation(t *testing.T) {
	before := firstRunAt(time.Now().Add(-time.Second))
	r := id.NewRun().String()
	require.Less(t, before, r)
	require.Greater(t, firstRunAt(time.Now().Add(time.Second)), r)
}

func TestBackoffDoublesUpToAMinute(t *testing.T) {
	s := &Service{settings: Settings{RetryBackoff: 2 * time.Second}}
	for n, most := range map[int64]time.Duration{1: 2 * time.Second, 2: 4 * time.Second, 4: 16 * time.Second, 9: time.Minute, 100: time.Minute} {
		for range 50 {
			d := s.backoff(n)
			require.GreaterOrEqual(t, d, most/2)
			require.LessOrEqual(t, d, most)
		}
	}
}

func TestAWarehouseIsWaitedForAsLongAsItAsksWithinBounds(t *testing.T) {
	s := &Service{settings: Settings{RetryBackoff: 2 * time.Second}}
	for asked, want := range map[time.Duration]time.Duration{
		time.Millisecond: time.Second, 7 * time.Second: 7 * time.Second, 48 * time.Hour: time.Hour,
	} {
		require.Equal(t, want, s.throttle(asked, 1))
	}
	for n, most := range map[int64]time.Duration{1: 2 * time.Second, 3: 8 * time.Second, 40: time.Minute} {
		d := s.throttle(0, n)
		require.LessOrEqual(t, d, most)
		require.GreaterOrEqual(t, d, most/2)
	}
}
