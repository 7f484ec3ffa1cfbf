package gateway

import (
	"cmp"
	"context"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc"

	configv1 "millrace.dev/gen/millrace/config/v1"
	ingestionv1 "millrace.dev/gen/millrace/ingestion/v1"
	mapperv1 "millrace.dev/gen/millrace/mapper/v1"
	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
	tracev1 "millrace.dev/gen/millrace/trace/v1"
	configrest "millrace.dev/gen/rest/millrace/config/v1"
	ingestionrest "millrace.dev/gen/rest/millrace/ingestion/v1"
	mapperrest "millrace.dev/gen/rest/millrace/mapper/v1"
	schedulerrest "millrace.dev/gen/rest/millrace/scheduler/v1"
	tracerest "millrace.dev/gen/rest/millrace/trace/v1"
	"millrace.dev/services/gateway/console"
)

// dialer answers a connection to a service of the mesh.
type dialer = func(service string) (grpc.ClientConnInterface, error)

// optional is the service that a mesh may go without (--trace-addr none).
const optional = "trace"

// connect answers the connections to the services. It waits for none of them.
func connect(dial dialer) (console.Conns, error) {
	var c console.Conns
	for service, conn := range map[string]*grpc.ClientConnInterface{
		"config": &c.Config, "scheduler": &c.Scheduler, "mapper": &c.Mapper, "ingestion": &c.Ingestion, optional: &c.Trace,
	} {
		to, err := dial(service)
		switch {
		case err != nil && service == optional:
			*conn = absent{service}
		case err != nil:
			return c, err
		default:
			*conn = peerConn{to, service}
		}
	}
	return c, nil
}

// register leads every route of REST to its service.
func register(ctx context.Context, mux *runtime.ServeMux, c console.Conns) error {
	return cmp.Or(
		configrest.RegisterConfigServiceHandlerClient(ctx, mux, configv1.NewConfigServiceClient(c.Config)),
		schedulerrest.RegisterSchedulerServiceHandlerClient(ctx, mux, triggers{schedulerv1.NewSchedulerServiceClient(c.Scheduler)}),
		mapperrest.RegisterMapperServiceHandlerClient(ctx, mux, mapperv1.NewMapperServiceClient(c.Mapper)),
		ingestionrest.RegisterIngestionServiceHandlerClient(ctx, mux, ingestionv1.NewIngestionServiceClient(c.Ingestion)),
		tracerest.RegisterTraceServiceHandlerClient(ctx, mux, tracev1.NewTraceServiceClient(c.Trace)),
	) //nolint:wrapcheck // the generated code never fails here
}

// triggers is the scheduler as programs call it by REST: a run's reason is api unless they say otherwise, and the header
// Idempotency-Key stands for the field.
type triggers struct {
	schedulerv1.SchedulerServiceClient
}

func (t triggers) TriggerRun(ctx context.Context, r *schedulerv1.TriggerRunRequest, opts ...grpc.CallOption) (*schedulerv1.TriggerRunResponse, error) {
	if r.GetReason() == schedulerv1.RunReason_RUN_REASON_UNSPECIFIED {
		r.Reason = schedulerv1.RunReason_RUN_REASON_API
	}
	if r.GetIdempotencyKey() == "" {
		r.IdempotencyKey = keyOf(ctx)
	}
	return t.SchedulerServiceClient.TriggerRun(ctx, r, opts...) //nolint:wrapcheck // classified by the interceptors
}
