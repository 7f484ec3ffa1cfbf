package gateway

import (
	"context"
	"errors"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"millrace.dev/pkg/fault"
)

// peerConn is a connection to a service whose absence is told at once: who calls by HTTP can come again, and must not hold
// a place meanwhile. What the transport says of it, such as addresses, is not for him. Nothing of HTTP's headers goes on as
// metadata.
type peerConn struct {
	grpc.ClientConnInterface
	service string
}

// Invoke makes a call.
func (p peerConn) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	ctx = metadata.NewOutgoingContext(ctx, nil)
	return p.told(p.ClientConnInterface.Invoke(ctx, method, args, reply, append(opts, grpc.WaitForReady(false))...))
}

// NewStream begins a stream.
func (p peerConn) NewStream(ctx context.Context, d *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	s, err := p.ClientConnInterface.NewStream(metadata.NewOutgoingContext(ctx, nil), d, method, append(opts, grpc.WaitForReady(false))...)
	if err != nil {
		return nil, p.told(err)
	}
	return peerStream{s, p}, nil
}

// peerStream is a stream of a peerConn.
type peerStream struct {
	grpc.ClientStream
	peer peerConn
}

// RecvMsg receives a message; io.EOF stays what it is.
func (s peerStream) RecvMsg(m any) error {
	err := s.ClientStream.RecvMsg(m)
	if errors.Is(err, io.EOF) {
		return err //nolint:wrapcheck // grpc's own way
	}
	return s.peer.told(err)
}

// told answers an error of the transport in words for clients. Those of the service itself have details, and stay.
func (p peerConn) told(err error) error {
	if err == nil || fault.ClassOf(err) != fault.Unavailable {
		return err
	}
	if st, ok := status.FromError(fault.As(err).Err); ok && len(st.Details()) > 0 {
		return err
	}
	f := fault.New(fault.Unavailable, fault.ReasonServiceUnavailable, "the %s service can not be reached, or did not answer in time; send the request again", p.service).WithRetry(retrySoon)
	f.Err = err
	return f
}

// absent stands for a service that the mesh goes without.
type absent struct{ service string }

// Invoke answers that there is none.
func (a absent) Invoke(context.Context, string, any, any, ...grpc.CallOption) error { return a.told() }

// NewStream answers that there is none.
func (a absent) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	return nil, a.told()
}

func (a absent) told() error {
	return fault.New(fault.Unavailable, fault.ReasonServiceUnavailable, "this mesh runs without the %s service; start it, or name it with --%[1]s-addr", a.service)
}
