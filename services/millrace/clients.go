package millrace

import (
	"context"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"

	configv1 "millrace.dev/gen/millrace/config/v1"
	ingestionv1 "millrace.dev/gen/millrace/ingestion/v1"
	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
	tracev1 "millrace.dev/gen/millrace/trace/v1"
	"millrace.dev/pkg/rpc"
)

// callTime bounds one unary call; previews and connection tests wait for warehouses.
const callTime = 2 * time.Minute

// connection leads to the services, by address or within this process. Its zero value leads nowhere.
type connection struct {
	services grpc.ClientConnInterface
	dialled  *grpc.ClientConn // nil within the process
}

// reached says whether anything answers.
func (c connection) reached() bool {
	if c.dialled == nil {
		return c.services != nil
	}
	return c.dialled.GetState() == connectivity.Ready
}

// dial answers the services, connecting at the first use.
func (s *session) dial() (grpc.ClientConnInterface, error) {
	if s.conn.services != nil {
		return s.conn.services, nil
	}
	options := append(rpc.DialOptions(otelgrpc.NewClientHandler()), grpc.WithDefaultCallOptions(grpc.WaitForReady(false)))
	cc, err := grpc.NewClient(s.flags.Server, options...)
	if err != nil {
		return nil, usagef("give it as HOST:PORT", "--server %s is no address", s.flags.Server)
	}
	s.conn = connection{services: bounded{cc}, dialled: cc}
	return s.conn.services, nil
}

func (s *session) close() {
	if s.conn.dialled != nil {
		_ = s.conn.dialled.Close() // nothing is left to lose
	}
}

// bounded gives every unary call a deadline, unless its caller has set one.
type bounded struct{ grpc.ClientConnInterface }

func (b bounded) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	if _, set := ctx.Deadline(); !set {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, callTime)
		defer cancel()
	}
	return b.ClientConnInterface.Invoke(ctx, method, args, reply, opts...) //nolint:wrapcheck // classified by the interceptors
}

func (s *session) config() (configv1.ConfigServiceClient, error) {
	cc, err := s.dial()
	if err != nil {
		return nil, err
	}
	return configv1.NewConfigServiceClient(cc), nil
}

func (s *session) scheduler() (schedulerv1.SchedulerServiceClient, error) {
	cc, err := s.dial()
	if err != nil {
		return nil, err
	}
	return schedulerv1.NewSchedulerServiceClient(cc), nil
}

func (s *session) ingestion() (ingestionv1.IngestionServiceClient, error) {
	cc, err := s.dial()
	if err != nil {
		return nil, err
	}
	return ingestionv1.NewIngestionServiceClient(cc), nil
}

func (s *session) trace() (tracev1.TraceServiceClient, error) {
	cc, err := s.dial()
	if err != nil {
		return nil, err
	}
	return tracev1.NewTraceServiceClient(cc), nil
}
