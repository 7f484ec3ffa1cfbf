package app

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"

	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"go.opentelemetry.io/otel/propagation"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/test/bufconn"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/rpc"
)

// memoryBuffer is the buffer of a connection within the process.
const memoryBuffer = 1 << 20

// network is the gRPC server of a process, on TCP and in memory, and the connections that its modules asked for.
type network struct {
	p      *Process
	hosted []string
	server *grpc.Server
	health *health.Server
	memory *bufconn.Listener
	tcp    net.Listener // nil where none is wanted
	work   sync.WaitGroup

	streams    context.Context //nolint:containedctx // ends to make open streams end
	endStreams context.CancelFunc

	mu    sync.Mutex
	conns map[[2]string]*grpc.ClientConn // by caller and service
}

func newNetwork(p *Process, modules []Module) *network {
	n := &network{p: p, health: health.NewServer(), memory: bufconn.Listen(memoryBuffer), conns: map[[2]string]*grpc.ClientConn{}}
	n.streams, n.endStreams = context.WithCancel(context.WithoutCancel(p.hard))
	for _, m := range modules {
		n.hosted = append(n.hosted, m.Name)
	}
	n.server = grpc.NewServer(rpc.ServerOptions(p.log, n.streams, newServerStats(p.tel, n.hosted))...)
	healthv1.RegisterHealthServer(n.server, n.health)
	return n
}

// serve opens the listeners and answers calls from now on.
func (n *network) serve(s Settings) error {
	if s.Reflection {
		reflection.Register(n.server)
	}
	for name := range n.server.GetServiceInfo() {
		n.health.SetServingStatus(name, healthv1.HealthCheckResponse_SERVING)
	}
	if s.GRPC != none {
		l, err := listen(n.p.soft, s.GRPC, "grpc")
		if err != nil {
			return err
		}
		n.tcp = l
		n.serveOn(crowded(l, 2, n.p.log))
	}
	n.serveOn(n.memory)
	return nil
}

func listen(ctx context.Context, addr, setting string) (net.Listener, error) {
	var c net.ListenConfig
	l, err := c.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fault.New(fault.Precondition, fault.ReasonInUse, "can not listen on %s; end what uses it or set %s to another address: %w", addr, setting, err)
	}
	return l, nil
}

func (n *network) serveOn(l net.Listener) {
	n.work.Go(func() {
		if err := n.server.Serve(l); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			n.p.endSoft(fault.New(fault.Internal, fault.ReasonInternal, "the gRPC server failed: %w", err))
		}
	})
}

// stop ends open streams and lets calls in hand finish until hard ends.
func (n *network) stop(hard context.Context) {
	n.endStreams()
	cut := context.AfterFunc(hard, n.server.Stop)
	n.server.GracefulStop()
	cut()
}

// close ends the server and the connections. It may follow stop.
func (n *network) close() error {
	n.endStreams()
	n.health.Shutdown()
	n.mu.Lock()
	for _, c := range n.conns {
		_ = c.Close() // closing twice is its only error
	}
	n.conns = nil
	n.mu.Unlock()
	n.server.Stop()
	if n.tcp != nil {
		_ = n.tcp.Close()
	}
	_ = n.memory.Close()
	n.work.Wait()
	return nil
}

// dialer answers Env.Dial for the module `caller`, whose spans the calls become.
func (n *network) dialer(caller string) func(string) (grpc.ClientConnInterface, error) {
	return func(service string) (grpc.ClientConnInterface, error) { return n.dial(caller, service) }
}

func (n *network) dial(caller, service string) (grpc.ClientConnInterface, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.conns == nil {
		return nil, fault.New(fault.Unavailable, fault.ReasonServiceUnavailable, "the process has stopped")
	}
	key := [2]string{caller, service}
	if c, ok := n.conns[key]; ok {
		return c, nil
	}
	stats := clientStats{otelgrpc.NewClientHandler(
		otelgrpc.WithTracerProvider(n.p.tel.Provider(caller)), otelgrpc.WithMeterProvider(n.p.tel.Meters()),
		otelgrpc.WithPropagators(propagation.TraceContext{}))}
	opts := rpc.DialOptions(stats)
	target := ""
	if slices.Contains(n.hosted, service) {
		target = "passthrough:///" + service
		opts = append(opts, grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return n.memory.DialContext(ctx) }))
	}
	for _, p := range mesh(n.p.settings) {
		if target == "" && p.name == service {
			target = p.grpc
		}
	}
	if target == "" {
		return nil, fault.New(fault.Internal, fault.ReasonInternal, "there is no service %q in the mesh", service)
	}
	c, err := grpc.NewClient(target, opts...)
	if err != nil {
		return nil, fault.New(fault.Invalid, fault.ReasonInvalidArgument, "the address of %s can not be used; mend the setting %s-addr: %w", service, service, err)
	}
	n.conns[key] = c
	return c, nil
}

// Dial answers a connection to a service of the mesh as the modules have it, in memory where it is hosted here. It is
// owned by the process.
func (p *Process) Dial(service string) (grpc.ClientConnInterface, error) {
	return p.net.dial("millrace", service)
}

// Addr answers the address that gRPC is served on, empty where there is none.
func (p *Process) Addr() string {
	if p.net.tcp == nil {
		return ""
	}
	return p.net.tcp.Addr().String()
}
