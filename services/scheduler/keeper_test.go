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
		k.flow.see(k.look(t.Context()), at(second), nil, 0)
		return k.flow.idle(at(second), k.settings.LossWindow)
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

// A part whose batches were published at second 100 is looked at for its queue.
func TestBatchesWaitAsLongAsTheQueuesHoldWhatIsOlder(t *testing.T) {
	at := func(second int) time.Time { return time.Unix(int64(second), 0) }
	p := partRow{Part: 1, Epoch: 1, Progress: at(100)}
	holds := func(oldest int) bus.Stats {
		if oldest == 0 {
			return bus.Stats{}
		}
		return bus.Stats{Messages: 5, Pending: 5, Oldest: at(oldest)}
	}
	var f flow
	look := func(second, rows, records int) bool {
		f.see(content{known: true, rows: holds(rows), records: holds(records)}, at(second), []partRow{p}, time.Second)
		return f.waits(p)
	}
	require.True(t, look(1000, 40, 990), "rows from before the part's are still queued")
	require.True(t, look(1010, 101, 1000), "the part's own may be among them")
	require.True(t, look(1020, 110, 1019), "the mapper has passed them; they may be queued as records")
	require.True(t, look(1030, 120, 1021))
	require.False(t, look(1040, 130, 1030), "those are past as well")
	require.False(t, look(1050, 0, 0), "nothing is queued")
	p.Progress = at(1050)
	require.True(t, look(1060, 140, 1050), "the part has moved: it all begins anew")
	f.see(content{}, at(1070), []partRow{p}, time.Second)
	require.False(t, f.waits(p), "nobody knows; only time tells")
}

func TestStreamsStandStillWhereNothingMovesAlthoughWorkersAsk(t *testing.T) {
	at := func(second int) time.Time { return time.Unix(int64(second), 0) }
	stuck := bus.Stats{Messages: 2, AckPending: 2, Asking: 3, Oldest: at(90)}
	var f flow
	stands := func(second int, rows, records bus.Stats) bool {
		f.see(content{known: true, rows: rows, records: records}, at(second), nil, 0)
		return f.stands(at(second), 30*time.Second)
	}
	require.False(t, stands(100, stuck, bus.Stats{}), "seen once")
	require.False(t, stands(110, stuck, bus.Stats{}))
	require.True(t, stands(140, stuck, bus.Stats{}), "half a minute since it was seen to stand still")
	more := stuck
	more.Messages, more.Pending = 3, 1
	require.False(t, stands(150, more, bus.Stats{}), "a message came")
	require.False(t, stands(160, stuck, bus.Stats{}), "and went")
	require.False(t, stands(170, stuck, bus.Stats{}))
	require.True(t, stands(200, stuck, bus.Stats{}))
	alone := stuck
	alone.Asking = 0
	require.False(t, stands(210, alone, bus.Stats{}), "no worker has a free hand: it is busy, or not there")
	require.False(t, stands(220, stuck, bus.Stats{Pending: 1}), "the records' worker is not there")
	require.False(t, stands(300, bus.Stats{}, bus.Stats{}), "nothing is under way")
	f.see(content{}, at(310), nil, 0)
	require.False(t, f.stands(at(400), 0), "nobody knows")
}

func TestStandingStillIsBelievedLaterWithEachEpoch(t *testing.T) {
	s := Settings{LossWindow: 30 * time.Second, LossLimit: 15 * time.Minute}
	for epoch, want := range map[uint32]time.Duration{1: time.Minute, 2: 2 * time.Minute, 4: 8 * time.Minute, 5: 15 * time.Minute, 1000: 15 * time.Minute} {
		require.Equal(t, want, s.stillFor(epoch), epoch)
	}
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
