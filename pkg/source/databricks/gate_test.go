//go:build cgo && duckdb_arrow

package databricks

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/source"
	"millrace.dev/pkg/source/databricks/databrickstest"
)

// dials notes the addresses that are dialled.
type dials struct {
	mu  sync.Mutex
	all []string
}

func (d *dials) add(address string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.all = append(d.all, address)
}

// RoundTrip is what a client that went round the gate would meet.
func (d *dials) RoundTrip(r *http.Request) (*http.Response, error) {
	d.add(r.URL.Host)
	return nil, errors.New("refused")
}

// The vendor's client would ask for feature flags and send telemetry, at port 443 whatever port was given.
func TestNothingButTheConfiguredHostIsDialled(t *testing.T) {
	outside, inside := &dials{}, &dials{}
	was := http.DefaultTransport
	http.DefaultTransport = outside
	defer func() { http.DefaultTransport = was }()
	for _, o := range []databrickstest.Options{{}, {Files: true}} {
		p := databrickstest.Start(t, o)
		opened, err := New(Settings{}).Open(t.Context(), p.Connection())
		require.NoError(t, err)
		s, ok := opened.(*Source)
		require.True(t, ok)
		dial := s.transport.DialContext
		s.transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
			inside.add(address)
			return dial(ctx, network, address)
		}
		x, err := s.session(t.Context(), "millrace")
		require.NoError(t, err)
		n, err := x.number(t.Context(), "SELECT 1 AS one")
		require.NoError(t, err)
		require.EqualValues(t, 1, n)
		require.NotZero(t, x.gate.refused, "the client tried")
		x.close()
		for _, err := range s.Read(t.Context(), source.Query{Model: resource.DataModel{SQL: "SELECT i FROM generate_series(1, 50000) AS g(i)"}}) {
			require.NoError(t, err)
		}
		for _, step := range s.Check(t.Context()) {
			require.True(t, step.OK, step.Message)
		}
		require.NoError(t, s.Close())
		require.Zero(t, p.Calls()["other"])
		for _, address := range inside.all {
			require.Equal(t, hostPort(s.address), address)
		}
		inside.all = nil
	}
	require.Empty(t, outside.all)
}
