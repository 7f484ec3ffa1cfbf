package bus

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/testenv"
)

// taker counts what it is handed.
type taker chan Delivery

func (k taker) Handle(_ context.Context, d Delivery) error {
	k <- d
	return nil
}

func (taker) Quarantined(context.Context, Delivery, error) error { return nil }

// A store that came back empty counts from 1 again. Its consumer may stay behind the stream's end: that state is made here by
// a reset of the durable to there.
func TestWhatAConsumerHasPassedByIsDelivered(t *testing.T) {
	url := testenv.NATSServer(t).URL
	open := func() *Bus {
		b, err := Open(t.Context(), Settings{URL: url, MaxBytes: 64 << 20, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, b.Close()) })
		b.looks = 200 * time.Millisecond
		return b
	}
	got := make(taker, 64)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 2)
	buses := []*Bus{open(), open()} // two processes divide the messages
	for _, b := range buses {
		go func() { ended <- b.Consume(ctx, Rows, "worker", ConsumeOptions{}, got) }()
	}
	defer func() {
		cancel()
		require.NoError(t, <-ended)
		require.NoError(t, <-ended)
	}()
	publish := func(name string) {
		p := buses[0].Publisher(Rows, 4)
		require.NoError(t, p.Publish(t.Context(), Message{ID: name, Body: []byte(name)}, nil))
		require.NoError(t, p.Flush(t.Context()))
	}
	publish("first")
	require.Equal(t, "first", (<-got).ID)

	reply, err := buses[0].nc.Request("$JS.API.CONSUMER.RESET.ROWS.worker", []byte(`{"seq":5}`), 5*time.Second)
	require.NoError(t, err)
	require.NotContains(t, string(reply.Data), "error")
	for i := range 5 { // numbers 2 to 6
		publish(fmt.Sprint(i))
	}
	left := map[string]bool{"0": true, "1": true, "2": true, "3": true, "4": true}
	for len(left) > 0 {
		select {
		case d := <-got:
			delete(left, d.ID)
		case <-time.After(time.Minute):
			require.Failf(t, "they never came", "%v", left)
		}
	}
	require.Eventually(t, func() bool {
		st, err := buses[0].Stats(t.Context(), Rows)
		return err == nil && st.Messages == 0
	}, time.Minute, 10*time.Millisecond)
}

// What others have in hand, however long, and what waits for their hands is to come: nothing is made anew.
func TestAConsumerAtWorkIsLeftAlone(t *testing.T) {
	b, err := Open(t.Context(), Settings{URL: testenv.NATSServer(t).URL, MaxBytes: 64 << 20})
	require.NoError(t, err)
	defer func() { require.NoError(t, b.Close()) }()
	p := b.Publisher(Rows, 4)
	for i := range 5 {
		require.NoError(t, p.Publish(t.Context(), Message{ID: fmt.Sprint(i), Body: []byte("m")}, nil))
	}
	require.NoError(t, p.Flush(t.Context()))
	c := &consumer{bus: b, stream: Rows, durable: "worker", maxAckPending: 2}
	require.NoError(t, c.reconcile(t.Context()))
	_, err = c.next(t.Context())
	require.NoError(t, err)
	is, ok := c.stands(t.Context())
	require.True(t, ok)
	require.Equal(t, standing{name: "worker", delivered: 1, last: 5}, is)
}
