package bus_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/bus"
	"millrace.dev/pkg/testenv"
)

// A cluster of three loses no message that it took when it loses a server, and none when it loses all of them at once.
func TestAClusterIsKilledUnderLoad(t *testing.T) {
	servers := testenv.NATSCluster(t, 3, nil)
	b := openBus(t, bus.Settings{URL: servers[0].URL + "," + servers[1].URL + "," + servers[2].URL, Replicas: 3, MaxBytes: 64 << 20})
	seen := make(chan string, 4096)
	consume(t, b, bus.Rows, bus.ConsumeOptions{Workers: 2}, handler{handle: func(_ context.Context, d bus.Delivery) error {
		seen <- d.ID
		return nil
	}})
	p := b.Publisher(bus.Rows, 4)
	const n = 60
	pass := func(name string, meanwhile func()) {
		got := map[string]bool{}
		for i := range n {
			if i == n/2 {
				meanwhile()
			}
			require.NoError(t, p.Publish(t.Context(), bus.Message{ID: fmt.Sprint(name, i), Body: make([]byte, 4<<10)}, nil))
		}
		require.NoError(t, p.Flush(t.Context()))
		for len(got) < n {
			select {
			case id := <-seen:
				got[id] = true
			case <-t.Context().Done():
				require.Fail(t, "cancelled")
			}
		}
	}
	pass("one", func() { servers[0].Kill() })
	servers[0].Start()
	pass("all", func() {
		for _, s := range servers {
			s.Kill()
		}
		for _, s := range servers {
			s.Launch()
		}
		for _, s := range servers {
			s.Wait()
		}
	})
	settles(t, b, bus.Rows, 0)
}
