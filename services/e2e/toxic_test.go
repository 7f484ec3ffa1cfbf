package e2e_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
	"millrace.dev/pkg/testenv"
)

// proxy stands between processes and makes the connections through it bad.
type proxy struct{ *toxiproxy.Proxy }

// newProxy starts a proxy in front of an address; it ends with t.
func newProxy(t *testing.T, listen, upstream string) proxy {
	t.Helper()
	zerolog.SetGlobalLevel(zerolog.Disabled)
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	p := toxiproxy.NewProxy(server, t.Name(), listen, upstream)
	require.NoError(t, p.Start())
	t.Cleanup(p.Stop)
	return proxy{p}
}

// poison makes both directions of every connection bad, until cure.
func (p proxy) poison(t *testing.T, kind, attributes string) {
	t.Helper()
	for _, stream := range []string{"upstream", "downstream"} {
		_, err := p.Toxics.AddToxicJson(strings.NewReader(fmt.Sprintf(`{"type":%q,"stream":%q,"attributes":%s}`, kind, stream, attributes)))
		require.NoError(t, err)
	}
}

// cure makes the connections good again.
func (p proxy) cure(ctx context.Context) { p.Toxics.ResetToxics(ctx) }

// TestF25ASlowNetworkOnlyMakesARunSlow puts 200 ms and jitter, and then 1 Mbit/s, between the processes and the broker, and
// the same delay in front of the scheduler.
func TestF25ASlowNetworkOnlyMakesARunSlow(t *testing.T) {
	t.Parallel()
	for name, bad := range map[string]struct {
		rows, batch      int
		kind, attributes string
	}{
		"200 ms and jitter": {faultRows, 2000, "latency", `{"latency":200,"jitter":60}`},
		"1 Mbit/s":          {faultRows / 4, 1000, "bandwidth", `{"rate":125}`},
	} {
		t.Run(name, func(t *testing.T) {
			n := testenv.NATSServer(t)
			broker := newProxy(t, "127.0.0.1:0", n.Addr())
			var front proxy
			p := newPlant(t, site{nats: "nats://" + broker.Listen, batch: bad.batch, more: slowLease("20s"), via: map[string]func(string) string{
				"scheduler": func(addr string) string {
					front = newProxy(t, "127.0.0.1:0", addr)
					return front.Listen
				},
			}})
			for _, x := range []proxy{broker, front} {
				x.poison(t, bad.kind, bad.attributes)
			}
			id := p.begin(t, newWarehouse(t, bad.rows))
			p.whole(t, id, bad.rows)
			require.NotContains(t, p.byName["scheduler"].text(t), "lease lost")
			require.Equal(t, []string{"1"}, keysOf(epochs(t, p, id)), "nothing is read twice")
			_, js := look(t, n.URL)
			for _, stream := range []string{"ROWS", "RECORDS"} {
				delivered, messages := deliveries(t, js, stream)
				require.Equal(t, messages, delivered, "a message of %s in a slow worker's hand stays there", stream)
			}
		})
	}
}

func keysOf(m map[string]int) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	return out
}

// deliveries answers how many deliveries the consumers of a stream have made, and of how many messages.
func deliveries(t *testing.T, js jetstream.JetStream, stream string) (delivered, messages uint64) {
	t.Helper()
	s, err := js.Stream(t.Context(), stream)
	require.NoError(t, err)
	consumers := s.ListConsumers(t.Context())
	for c := range consumers.Info() {
		delivered += c.Delivered.Consumer
		messages += c.Delivered.Stream
	}
	return delivered, messages
}

// TestF26BrokenConnectionsLoseNothing breaks the connections to the broker in the middle of frames, in four ways.
func TestF26BrokenConnectionsLoseNothing(t *testing.T) {
	t.Parallel()
	n := testenv.NATSServer(t)
	broker := newProxy(t, "127.0.0.1:0", n.Addr())
	p := newPlant(t, site{nats: "nats://" + broker.Listen})
	p.apply(t, "", newWarehouse(t, faultRows).documents("customers", asIs))
	want := calmRun(t, faultRows)
	for i, bad := range []struct {
		name, kind, attributes string
		lasts                  time.Duration
	}{
		{"reset in a frame", "reset_peer", `{"timeout":20}`, 2 * time.Second},
		{"slices of one byte", "slicer", `{"average_size":1,"size_variation":0,"delay":0}`, 3 * time.Second},
		{"slow close", "slow_close", `{"delay":1000}`, time.Second},
		{"half-open", "timeout", `{"timeout":0}`, 4 * time.Second},
	} {
		t.Run(bad.name, func(t *testing.T) {
			id := p.midway(t, n.URL, full)
			broker.poison(t, bad.kind, bad.attributes)
			if bad.kind == "slow_close" { // it needs a close
				n.Kill()
				n.Start()
			}
			last(t, bad.lasts)
			broker.cure(t.Context())
			r := p.end(t, id)
			if i == 0 {
				want.requireSame(t, p.mesh, r)
				return
			}
			requireState(t, r, schedulerv1.RunState_RUN_STATE_SUCCEEDED)
			require.EqualValues(t, faultRows, r.GetCounts().GetUnchanged())
			require.Equal(t, want.run.GetCertificate().GetRowsDigest(), r.GetCertificate().GetRowsDigest())
			require.Equal(t, want.digest, p.digest(t).GetDigest())
		})
	}
	_, js := look(t, n.URL)
	require.Zero(t, inStream(t, js, "QUARANTINE"), "no part of a batch is taken for a batch")
}
