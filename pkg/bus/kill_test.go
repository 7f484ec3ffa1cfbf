package bus_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/bus"
	"millrace.dev/pkg/testenv"
)

// A broker that is killed under load, three times, loses nothing that it took and sticks nothing.
func TestTheBrokerIsKilledUnderLoad(t *testing.T) {
	s := testenv.NATSServer(t)
	b := openBus(t, bus.Settings{URL: s.URL, MaxBytes: 64 << 20})
	const n = 300
	seen := make(chan string, 4*n)
	var handled atomic.Int64
	consume(t, b, bus.Rows, bus.ConsumeOptions{Workers: 3}, handler{handle: func(_ context.Context, d bus.Delivery) error {
		handled.Add(1)
		seen <- d.ID
		return nil
	}})
	var progress sync.WaitGroup // each kill waits for a third of the messages
	p := b.Publisher(bus.Rows, 8)
	sent := make(chan error, 1)
	go func() {
		var err error
		for i := 0; i < n && err == nil; i++ {
			if i%100 == 50 {
				progress.Go(func() { s.Kill(); s.Start() })
			}
			err = p.Publish(t.Context(), bus.Message{ID: fmt.Sprint(i), Body: make([]byte, 32<<10)}, nil)
			if i%100 == 99 {
				progress.Wait()
			}
		}
		sent <- errors.Join(err, p.Flush(t.Context()))
	}()
	got := map[string]bool{}
	for len(got) < n {
		select {
		case id := <-seen:
			got[id] = true
		case <-t.Context().Done():
			require.Fail(t, "cancelled")
		}
	}
	require.NoError(t, <-sent)
	settles(t, b, bus.Rows, 0)
	t.Logf("%d messages in %d deliveries", n, handled.Load())
}
