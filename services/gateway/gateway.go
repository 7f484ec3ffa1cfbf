// Package gateway is the service that answers HTTP: REST with JSON for the public methods of all other services, below /v1/,
// and the console's pages (package console). It takes a request apart, asks the service that knows by gRPC, and answers
// what it says. It holds no data, and it decides nothing but whether a request can be read.
//
// The routes are rest.yaml; gen/rest is generated from them, and so is the OpenAPI document. A request passes, in this
// order: who calls (by which name, and whether for a page of another site), the route, the gate (how many at once, end of the
// process), its path, query and body (refused with all that is wrong at once), the call.
package gateway

import (
	"context"
	"errors"
	"log/slog"
	"net/http"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"

	"millrace.dev/pkg/app"
	"millrace.dev/pkg/fault"
	"millrace.dev/services/gateway/console"
)

// Service answers REST. Safe for concurrent use; any number of processes may stand side by side.
type Service struct {
	log      *slog.Logger
	tracer   trace.Tracer
	settings Settings
	metrics  *metrics
	routes   routes
	hosts    hosts
	gate     *gate
	streams  context.Context //nolint:containedctx // ends to make open streams end
	end      context.CancelCauseFunc
	console  *console.Console
	handler  http.Handler
}

var (
	_ app.Webber = (*Service)(nil)
	_ app.Guard  = (*Service)(nil)
)

// New prepares the routes. It does not wait for the services behind them: a request for one that is away is told so. It
// refuses an HTTP address that other machines reach, unless the settings say what it is called there.
func New(ctx context.Context, env *app.Env, s Settings) (*Service, error) {
	s = s.complete()
	names, err := newHosts(s.Hosts)
	if err != nil {
		return nil, err
	}
	if err := refuseExposure(env.HTTP, s.Hosts); err != nil {
		return nil, err
	}
	if env.HTTP == "" && env.Alone {
		return nil, fault.New(fault.Invalid, fault.ReasonInvalidArgument, "the gateway answers on the HTTP address of its process, and http is none; set it to an address")
	}
	m, err := newMetrics(env.Metrics)
	if err != nil {
		return nil, err
	}
	table, err := readRoutes()
	if err != nil {
		return nil, err
	}
	v := &Service{log: env.Log, tracer: env.Tracer, settings: s, metrics: m, routes: table, hosts: names, gate: newGate(s.MaxRequests, s.MaxStreams, s.MaxBodies)}
	v.streams, v.end = context.WithCancelCause(context.WithoutCancel(ctx))
	mux := runtime.NewServeMux(
		runtime.WithMarshalerOption(runtime.MIMEWildcard, jsonForm{}),
		runtime.WithErrorHandler(v.refuse), runtime.WithRoutingErrorHandler(v.refuseRoute), runtime.WithStreamErrorHandler(v.endOfStream),
		runtime.WithIncomingHeaderMatcher(noHeader), runtime.WithOutgoingHeaderMatcher(noHeader), runtime.WithOutgoingTrailerMatcher(noHeader),
		runtime.WithDisablePathLengthFallback(), runtime.WithDisableHTTPMethodOverride(), runtime.WithWriteContentLength(),
		runtime.WithMiddlewares(v.call),
	)
	peers, err := connect(env.Dial)
	if err != nil {
		return nil, err
	}
	if err := register(ctx, mux, peers); err != nil {
		return nil, err
	}
	if v.console, err = console.New(v.streams, env.Log, peers); err != nil { //nolint:contextcheck // it outlives ctx
		return nil, err //nolint:wrapcheck // classified
	}
	v.handler = v.enter(mux)
	return v, nil
}

// noHeader keeps HTTP's headers and gRPC's metadata apart.
func noHeader(string) (string, bool) { return "", false }

// Handler answers the REST API, its OpenAPI document and the console.
func (s *Service) Handler() http.Handler { return s.handler }

// Guard hears who asks for the process's own paths as it hears who asks for the gateway's. Whether the process lives and is
// ready is for everybody: probes call by whatever name they have, and learn no more.
func (s *Service) Guard(own http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if health := r.URL.Path == "/healthz" || r.URL.Path == "/readyz"; !health {
			if err := s.hosts.stranger(r); err != nil {
				w.Header().Set("Cache-Control", "no-store")
				s.problem(w, r, err)
				return
			}
		}
		own.ServeHTTP(w, r)
	})
}

// Register adds nothing: the gateway is no gRPC service.
func (s *Service) Register(grpc.ServiceRegistrar) {}

// Run waits for soft's end, then ends the streams, refuses further requests and lets those in hand finish, or until hard
// ends.
func (s *Service) Run(soft, hard context.Context) error {
	<-soft.Done()
	s.end(errStopping)
	s.gate.shut()
	return s.gate.wait(hard)
}

var errStopping = errors.New("the process stops")

// Close frees nothing: the connections are the process's.
func (s *Service) Close() error {
	s.end(errStopping)
	return nil
}

func stopping() error {
	return fault.New(fault.Unavailable, fault.ReasonServiceUnavailable, "the gateway is stopping; send the request again").WithRetry(retrySoon)
}
