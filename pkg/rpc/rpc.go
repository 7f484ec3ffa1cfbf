// Package rpc is what every gRPC server and client of Millrace has in common: errors that keep their class over the
// wire, deadlines, logs, the JSON form of messages, pages, filters, field masks and etags.
package rpc

import (
	"context"
	"errors"
	"log/slog"
	"runtime/debug"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/stats"

	"millrace.dev/pkg/fault"
)

const (
	// MaxMessage bounds a message in either direction.
	MaxMessage = 32 << 20
	// CallTimeout bounds a unary call whose context has no deadline of its own.
	CallTimeout = 30 * time.Second
	// ReconnectMax bounds the wait between two tries to reach a service that is down.
	ReconnectMax = 2 * time.Second
)

// ServerOptions answers the options of a server: errors become statuses (servers return *fault.Error as it is), a panic
// in a method becomes an Internal error, each call is logged at debug, and a stream's context ends when stop does, so
// that open streams do not hold up the end of a process.
func ServerOptions(log *slog.Logger, stop context.Context, h stats.Handler) []grpc.ServerOption { //nolint:revive // stop is not the context of the call
	s := server{log: log, stop: stop}
	return []grpc.ServerOption{
		grpc.ChainUnaryInterceptor(s.unary),
		grpc.ChainStreamInterceptor(s.stream),
		grpc.StatsHandler(h),
		grpc.MaxRecvMsgSize(MaxMessage), grpc.MaxSendMsgSize(MaxMessage),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
	}
}

// DialOptions answers the options of a client: statuses become *fault.Error again, calls wait for the service, and a
// unary call without a deadline gets CallTimeout; when it passes the error is Unavailable. A service that is down is tried
// again within ReconnectMax, however long it has been.
func DialOptions(h stats.Handler) []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithStatsHandler(h),
		grpc.WithChainUnaryInterceptor(clientUnary),
		grpc.WithChainStreamInterceptor(clientStream),
		grpc.WithDefaultCallOptions(grpc.WaitForReady(true), grpc.MaxCallRecvMsgSize(MaxMessage), grpc.MaxCallSendMsgSize(MaxMessage)),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: ReconnectMax},
			MinConnectTimeout: 5 * time.Second,
		}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 20 * time.Second, Timeout: 10 * time.Second}),
	}
}

type server struct {
	log  *slog.Logger
	stop context.Context //nolint:containedctx // the life of the server's streams
}

func (s server) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (resp any, err error) {
	start := time.Now()
	defer func() {
		if r := recover(); r != nil {
			resp, err = nil, s.panicked(ctx, info.FullMethod, r)
		}
		err = s.finish(ctx, info.FullMethod, start, err)
	}()
	return next(ctx, req)
}

func (s server) stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) (err error) {
	start := time.Now()
	ctx, cancel := context.WithCancelCause(ss.Context())
	defer cancel(nil)
	defer context.AfterFunc(s.stop, func() { cancel(errStopping) })()
	defer func() {
		if r := recover(); r != nil {
			err = s.panicked(ctx, info.FullMethod, r)
		}
		if err != nil && errors.Is(context.Cause(ctx), errStopping) {
			err = errStopping
		}
		err = s.finish(ctx, info.FullMethod, start, err)
	}()
	return next(srv, &stoppableStream{ServerStream: ss, ctx: ctx})
}

var errStopping = fault.New(fault.Unavailable, fault.ReasonServiceUnavailable, "the service is stopping; connect again") //nolint:gochecknoglobals // a constant error

type stoppableStream struct {
	grpc.ServerStream
	ctx context.Context //nolint:containedctx // grpc's own way
}

func (s *stoppableStream) Context() context.Context { return s.ctx }

func (s server) panicked(ctx context.Context, method string, r any) error {
	s.log.ErrorContext(ctx, "a method panicked", "method", method, "panic", r, "stack", string(debug.Stack()))
	return fault.New(fault.Internal, fault.ReasonInternal, "%s panicked", method)
}

// finish logs a call and answers its error as a status. An Internal error is logged with its chain: nobody else sees it.
func (s server) finish(ctx context.Context, method string, start time.Time, err error) error {
	took := time.Since(start)
	switch {
	case err == nil:
		s.log.DebugContext(ctx, "call", "method", method, "took", took)
		return nil
	case fault.ClassOf(fault.FromStatus(err)) == fault.Internal:
		s.log.ErrorContext(ctx, "call failed", "method", method, "took", took, "error", err)
	default:
		f := fault.As(fault.FromStatus(err))
		s.log.DebugContext(ctx, "call refused", "method", method, "took", took, "class", f.Class.String(), "reason", f.Reason.String(), "error", err)
	}
	return fault.ToStatus(err)
}

func clientUnary(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, next grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, CallTimeout)
		defer cancel()
	}
	return fault.FromStatus(next(ctx, method, req, reply, cc, opts...))
}

func clientStream(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, next grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	s, err := next(ctx, desc, cc, method, opts...)
	if err != nil {
		return nil, fault.FromStatus(err)
	}
	return faultStream{s}, nil
}

// faultStream answers classified errors; io.EOF stays what it is.
type faultStream struct{ grpc.ClientStream }

func (s faultStream) SendMsg(m any) error { return fromStream(s.ClientStream.SendMsg(m)) }
func (s faultStream) RecvMsg(m any) error { return fromStream(s.ClientStream.RecvMsg(m)) }
func (s faultStream) CloseSend() error    { return fromStream(s.ClientStream.CloseSend()) }
