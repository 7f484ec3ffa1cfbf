package bus

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// full answers a bus whose stream ROWS has its backlog.
func full(t *testing.T, standstill time.Duration) *Bus {
	t.Helper()
	b, err := Open(t.Context(), Settings{Dir: t.TempDir(), MaxBytes: 64 << 20, Backlog: 1 << 20})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	b.standstill = standstill
	p := b.Publisher(Rows, 1)
	for i := range 4 {
		require.NoError(t, b.Room(t.Context(), Rows), "there is room for message %d", i)
		require.NoError(t, p.Publish(t.Context(), Message{ID: fmt.Sprint(i), Body: make([]byte, 256<<10)}, nil))
		require.NoError(t, p.Flush(t.Context()))
	}
	return b
}

// asked answers what Room says, once it does.
func asked(ctx context.Context, b *Bus) <-chan error {
	out := make(chan error, 1)
	go func() { out <- b.Room(ctx, Rows) }()
	return out
}

func TestWhoAddsToABacklogWaitsUntilItsConsumerHasCaughtUp(t *testing.T) {
	b := full(t, time.Hour)
	room := asked(t.Context(), b)
	require.NoError(t, b.Room(t.Context(), Records), "another stream has room")
	select {
	case err := <-room:
		t.Fatal("there is no room yet:", err)
	default:
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- b.Consume(ctx, Rows, "slow", ConsumeOptions{Workers: 1}, swallow{}) }()
	require.NoError(t, <-room)
	cancel()
	require.NoError(t, <-ended)
}

// TestNobodyWaitsForAStreamThatStandsStill: what is in it may never be taken, and what is sent again must get by.
func TestNobodyWaitsForAStreamThatStandsStill(t *testing.T) {
	b := full(t, time.Nanosecond)
	require.NoError(t, b.Room(t.Context(), Rows))
}

// TestNobodyWaitsForWhatTheBrokerDoesNotDeliver: all messages of a stream are in hands that are gone, and another worker
// asks in vain.
func TestNobodyWaitsForWhatTheBrokerDoesNotDeliver(t *testing.T) {
	b := full(t, time.Nanosecond)
	c, err := b.js.CreateOrUpdateConsumer(t.Context(), string(Rows), consumerConfig("slow", 16))
	require.NoError(t, err)
	got, err := c.Fetch(4)
	require.NoError(t, err)
	for range got.Messages() { //nolint:revive // taken, and never acked
	}
	ctx, cancel := context.WithCancel(t.Context())
	asking := make(chan error, 1)
	go func() { asking <- b.Consume(ctx, Rows, "slow", ConsumeOptions{Workers: 1}, swallow{}) }()
	for {
		st, err := b.Stats(t.Context(), Rows)
		require.NoError(t, err)
		if st.Asking > 0 {
			break
		}
	}
	require.NoError(t, b.Room(t.Context(), Rows))
	b.standstill = time.Hour
	p := b.Publisher(Rows, 1)
	require.NoError(t, p.Publish(t.Context(), Message{ID: "more", Body: make([]byte, 512<<10)}, nil))
	require.NoError(t, p.Flush(t.Context()))
	require.NoError(t, b.Room(t.Context(), Rows), "it stands where it stood")
	cancel()
	require.NoError(t, <-asking)
}

func TestTheWaitForRoomEndsWithItsContext(t *testing.T) {
	b := full(t, time.Hour)
	ctx, cancel := context.WithCancelCause(t.Context())
	room := asked(ctx, b)
	why := errors.New("the run was cancelled")
	cancel(why)
	require.ErrorIs(t, <-room, why)
}

// TestNothingIsPulledThatHasNoRoomToGo: a worker leaves messages where they are while the stream that it publishes to is
// full.
func TestNothingIsPulledThatHasNoRoomToGo(t *testing.T) {
	b := full(t, time.Hour)
	p := b.Publisher(Records, 1)
	require.NoError(t, p.Publish(t.Context(), Message{ID: "r", Body: []byte("r")}, nil))
	require.NoError(t, p.Flush(t.Context()))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	h := &sealed{open: make(chan struct{}), seen: make(chan struct{})}
	go func() {
		ended <- b.Consume(ctx, Records, "mapper", ConsumeOptions{Workers: 1, Into: Rows}, h)
	}()
	require.NoError(t, b.retry(t.Context(), "wait for the consumer", func(ctx context.Context) error {
		_, err := b.js.Consumer(ctx, string(Records), "mapper")
		return err //nolint:wrapcheck // a test's
	}))
	close(h.open) // from now on a message may come
	emptied := make(chan error, 1)
	rows, stop := context.WithCancel(t.Context())
	defer stop()
	go func() { emptied <- b.Consume(rows, Rows, "slow", ConsumeOptions{Workers: 1}, swallow{}) }()
	<-h.seen
	require.False(t, h.early)
	cancel()
	require.NoError(t, <-ended)
	stop()
	require.NoError(t, <-emptied)
}

// swallow is done with whatever comes.
type swallow struct{}

func (swallow) Handle(context.Context, Delivery) error             { return nil }
func (swallow) Quarantined(context.Context, Delivery, error) error { return nil }

// sealed notes whether a message came before it was opened.
type sealed struct {
	swallow
	open, seen chan struct{}
	early      bool
}

func (s *sealed) Handle(context.Context, Delivery) error {
	select {
	case <-s.open:
	default:
		s.early = true
	}
	close(s.seen)
	return nil
}
