package telemetry

import (
	"context"
	"sync/atomic"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"

	"millrace.dev/pkg/fault"
)

// SendTo sends the spans that end from now on to an OTLP receiver over a connection that stays the caller's, beside where
// they go already. name stands in figures and log. Spans that the receiver does not take are counted as rejected.
func (t *Telemetry) SendTo(ctx context.Context, name string, conn grpc.ClientConnInterface) error {
	c := &meshClient{to: collector.NewTraceServiceClient(conn), rejected: func(n int64) {
		t.figures.WithLabelValues(name, "rejected").Add(float64(n))
	}}
	exp, err := otlptrace.New(ctx, c)
	if err != nil {
		return fault.New(fault.Internal, fault.ReasonInternal, "set up the export of spans: %w", err)
	}
	t.add(ctx, name, exp)
	return nil
}

// meshClient exports over a connection of the mesh. A receiver that is away is waited for as long as the call may take.
type meshClient struct {
	to       collector.TraceServiceClient
	rejected func(int64)
	stopped  atomic.Bool
}

var _ otlptrace.Client = (*meshClient)(nil)

func (*meshClient) Start(context.Context) error { return nil }

func (c *meshClient) Stop(context.Context) error {
	c.stopped.Store(true)
	return nil
}

func (c *meshClient) UploadTraces(ctx context.Context, spans []*tracev1.ResourceSpans) error {
	if c.stopped.Load() {
		return fault.New(fault.Unavailable, fault.ReasonServiceUnavailable, "the export of spans has stopped")
	}
	res, err := c.to.Export(ctx, &collector.ExportTraceServiceRequest{ResourceSpans: spans})
	if err != nil {
		return err //nolint:wrapcheck // classified by the connection
	}
	if n := res.GetPartialSuccess().GetRejectedSpans(); n > 0 {
		c.rejected(n)
	}
	return nil
}
