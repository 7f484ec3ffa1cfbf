package telemetry_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"millrace.dev/pkg/telemetry"
)

// connect answers a connection to a receiver.
func connect(t *testing.T, addr string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	return conn
}

// outcomes answers the figures of a destination.
func outcomes(t *testing.T, tel *telemetry.Telemetry, to string) map[string]int {
	t.Helper()
	out := map[string]int{}
	all, err := tel.Registry().Gather()
	require.NoError(t, err)
	for _, f := range all {
		if f.GetName() != "millrace_telemetry_spans_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			if m.GetLabel()[0].GetValue() == to {
				out[m.GetLabel()[1].GetValue()] = int(m.GetCounter().GetValue())
			}
		}
	}
	return out
}

func TestTheTraceServiceAndABackendGetTheSameSpans(t *testing.T) {
	backend, addr := receive(t)
	mesh, meshAddr := receive(t)
	tel, err := telemetry.New(t.Context(), telemetry.Settings{OTLP: addr})
	require.NoError(t, err)
	require.NoError(t, tel.SendTo(t.Context(), "trace", connect(t, meshAddr)))
	for i := range 1000 {
		_, span := tel.Tracer("mapper").Start(t.Context(), telemetry.SpanMap)
		span.SetAttributes(telemetry.Rows(int64(i)))
		span.End()
	}
	require.NoError(t, tel.Shutdown(t.Context()))
	require.Len(t, backend.spans["mapper"], 1000)
	require.Len(t, mesh.spans["mapper"], 1000)
	for i, s := range backend.spans["mapper"] {
		require.Equal(t, s.String(), mesh.spans["mapper"][i].String())
	}
	require.Equal(t, map[string]int{"sent": 1000}, outcomes(t, tel, "trace"))
	require.Equal(t, map[string]int{"sent": 1000}, outcomes(t, tel, "otlp"))
}

// TestSpansAreOnTheirWayWithoutAnyFlush holds that a span leaves by itself, long before the process ends.
func TestSpansAreOnTheirWayWithoutAnyFlush(t *testing.T) {
	r, addr := receive(t)
	tel, err := telemetry.New(t.Context(), telemetry.Settings{})
	require.NoError(t, err)
	require.NoError(t, tel.SendTo(t.Context(), "trace", connect(t, addr)))
	_, span := tel.Tracer("mapper").Start(t.Context(), telemetry.SpanMap)
	span.End()
	await(t, "it arrives", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.spans["mapper"]) == 1
	})
	require.NoError(t, tel.Shutdown(t.Context()))
}

// stuck is a receiver that answers when it is let go.
type stuck struct {
	collector.UnimplementedTraceServiceServer
	called chan struct{}
	letGo  chan struct{}
}

func (s *stuck) Export(ctx context.Context, _ *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	select {
	case s.called <- struct{}{}:
	default:
	}
	select {
	case <-s.letGo:
	case <-ctx.Done():
	}
	return &collector.ExportTraceServiceResponse{PartialSuccess: &collector.ExportTracePartialSuccess{RejectedSpans: 1, ErrorMessage: "x"}}, nil
}

func TestAReceiverThatDoesNotAnswerCostsCountedSpansAndNobodysTime(t *testing.T) {
	s := &stuck{called: make(chan struct{}, 1), letGo: make(chan struct{})}
	addr := serveOTLP(t, s)
	other, otherAddr := receive(t)
	tel, err := telemetry.New(t.Context(), telemetry.Settings{OTLP: otherAddr})
	require.NoError(t, err)
	require.NoError(t, tel.SendTo(t.Context(), "trace", connect(t, addr)))
	tracer := tel.Tracer("mapper")
	end := func(n int) {
		for i := range n {
			_, span := tracer.Start(t.Context(), fmt.Sprintf("span %d", i))
			span.End()
		}
	}
	end(1)
	<-s.called
	end(4096 + 100)
	require.Equal(t, 100, outcomes(t, tel, "trace")["dropped"], "the queue has room for 4,096")
	close(s.letGo)
	require.NoError(t, tel.Shutdown(t.Context()))
	got := outcomes(t, tel, "trace")
	require.Equal(t, 4097, got["sent"])
	require.Positive(t, got["rejected"], "what the receiver said")
	require.NotEmpty(t, other.spans["mapper"], "the other destination does not wait for it")
}

func TestAReceiverThatIsAwayCostsCountedSpans(t *testing.T) {
	tel, err := telemetry.New(t.Context(), telemetry.Settings{})
	require.NoError(t, err)
	require.NoError(t, tel.SendTo(t.Context(), "trace", connect(t, "127.0.0.1:1")))
	_, span := tel.Tracer("mapper").Start(t.Context(), telemetry.SpanMap)
	span.End()
	await(t, "it is counted", func() bool { return outcomes(t, tel, "trace")["failed"] == 1 })
	require.NoError(t, tel.Shutdown(t.Context()))
}

// await waits for an event: it asks until the answer is yes.
func await(t *testing.T, what string, yes func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for !yes() {
		select {
		case <-again.C:
		case <-ctx.Done():
			require.Fail(t, "it never happened", what)
		}
	}
}
