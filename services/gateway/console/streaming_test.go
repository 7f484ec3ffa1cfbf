package console

import (
	"context"
	"io"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"millrace.dev/pkg/fault"
)

// streaming is answers of which some are streams, by the last part of the method. A stream ends after its messages, with
// its error if it has one.
type streaming struct {
	answers
	streams map[string]messages
}

type messages struct {
	all []proto.Message
	err error
}

func (s streaming) NewStream(ctx context.Context, _ *grpc.StreamDesc, method string, _ ...grpc.CallOption) (grpc.ClientStream, error) {
	m, ok := s.streams[method[strings.LastIndex(method, "/")+1:]]
	if !ok {
		return nil, fault.New(fault.Unavailable, fault.ReasonServiceUnavailable, "the service can not be reached")
	}
	return &stream{ctx: ctx, messages: m}, nil
}

type stream struct {
	messages
	ctx context.Context
}

func (s *stream) RecvMsg(m any) error {
	if err := s.ctx.Err(); err != nil {
		return err
	}
	if len(s.all) == 0 {
		if s.err != nil {
			return s.err
		}
		return io.EOF
	}
	proto.Merge(m.(proto.Message), s.all[0])
	s.all = s.all[1:]
	return nil
}

func (s *stream) SendMsg(any) error            { return nil }
func (s *stream) CloseSend() error             { return nil }
func (s *stream) Context() context.Context     { return s.ctx }
func (s *stream) Header() (metadata.MD, error) { return nil, nil }
func (s *stream) Trailer() metadata.MD         { return nil }

func openStreaming(t *testing.T, s streaming) *Console {
	t.Helper()
	c, err := New(t.Context(), slog.New(slog.NewTextHandler(t.Output(), nil)), Conns{s, s, s, s, s})
	require.NoError(t, err)
	return c
}
