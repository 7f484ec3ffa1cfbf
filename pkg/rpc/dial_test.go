package rpc_test

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/stats"

	"millrace.dev/pkg/rpc"
)

func TestAServiceThatIsDownIsTriedAgainEveryFewSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var tries []time.Time
		conn, err := grpc.NewClient("passthrough:///down", append(rpc.DialOptions(noStats{}),
			grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) {
				mu.Lock()
				defer mu.Unlock()
				tries = append(tries, time.Now())
				return nil, errors.New("down")
			}))...)
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		_, err = healthv1.NewHealthClient(conn).Check(ctx, &healthv1.HealthCheckRequest{})
		require.Error(t, err, "the call waits for the service until its time is over")
		require.NoError(t, conn.Close())

		mu.Lock()
		defer mu.Unlock()
		require.Greater(t, len(tries), 10)
		for i := range tries[1:] {
			require.LessOrEqual(t, tries[i+1].Sub(tries[i]), rpc.ReconnectMax*6/5, "jitter is a fifth")
		}
	})
}

// noStats keeps no figures of calls.
type noStats struct{}

func (noStats) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context   { return ctx }
func (noStats) HandleRPC(context.Context, stats.RPCStats)                         {}
func (noStats) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }
func (noStats) HandleConn(context.Context, stats.ConnStats)                       {}
