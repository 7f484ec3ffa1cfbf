package millrace_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/rpc"
)

// script is a gRPC server that answers from the files of a case and keeps what it was asked.
//
// The n-th call of a method is answered by METHOD.n.json or METHOD.json in the JSON form of the documentation (for a
// stream a list of messages), or fails with METHOD.n.error or METHOD.error.
type script struct {
	files map[string]string

	mu    sync.Mutex
	calls map[string]int
	asked map[string]proto.Message // by METHOD.n
}

// serve answers the address of a script's server, which ends with the test.
func serve(t *testing.T, files map[string]string) (*script, string) {
	t.Helper()
	s := &script{files: files, calls: map[string]int{}, asked: map[string]proto.Message{}}
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	options := append(rpc.ServerOptions(slog.New(slog.DiscardHandler), t.Context(), otelgrpc.NewServerHandler()),
		grpc.UnknownServiceHandler(s.handle))
	server := grpc.NewServer(options...)
	done := make(chan error, 1)
	go func() { done <- server.Serve(lis) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-done; !errors.Is(err, grpc.ErrServerStopped) { // stopped before it served
			require.NoError(t, err)
		}
	})
	return s, lis.Addr().String()
}

func (s *script) handle(_ any, stream grpc.ServerStream) error {
	full, _ := grpc.Method(stream.Context())
	service, name, _ := strings.Cut(strings.TrimPrefix(full, "/"), "/")
	d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(service + "." + name))
	if err != nil {
		return fmt.Errorf("method %s: %w", full, err)
	}
	method := d.(protoreflect.MethodDescriptor) //nolint:forcetypeassert // it is named as one
	in, err := blank(method.Input())
	if err != nil {
		return err
	}
	if err := stream.RecvMsg(in); err != nil {
		return err //nolint:wrapcheck // the test's own server
	}
	call := s.note(name, in)
	if text, ok := s.file(call, name, "error"); ok {
		return scriptedError(text)
	}
	text, ok := s.file(call, name, "json")
	if !ok {
		return fault.New(fault.Internal, fault.ReasonAccountUnbalanced, "the case has no answer for call %s", call)
	}
	answers := []json.RawMessage{json.RawMessage(text)}
	if method.IsStreamingServer() {
		if err := json.Unmarshal([]byte(text), &answers); err != nil {
			return fmt.Errorf("answer of %s: %w", call, err)
		}
	}
	for _, a := range answers {
		out, err := blank(method.Output())
		if err != nil {
			return err
		}
		if err := rpc.UnmarshalJSON(a, out); err != nil {
			return fmt.Errorf("answer of %s: %w", call, err)
		}
		if err := stream.SendMsg(out); err != nil {
			return err //nolint:wrapcheck // the test's own server
		}
	}
	return nil
}

// note keeps a request and answers the call's name: METHOD.n.
func (s *script) note(method string, in proto.Message) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls[method]++
	call := fmt.Sprintf("%s.%d", method, s.calls[method])
	s.asked[call] = in
	return call
}

func (s *script) file(call, method, ext string) (string, bool) {
	for _, name := range []string{call, method} {
		if text, ok := s.files[name+"."+ext]; ok {
			return text, true
		}
	}
	return "", false
}

func blank(d protoreflect.MessageDescriptor) (proto.Message, error) {
	t, err := protoregistry.GlobalTypes.FindMessageByName(d.FullName())
	if err != nil {
		return nil, fmt.Errorf("message %s: %w", d.FullName(), err)
	}
	return t.New().Interface(), nil
}

// scriptedError reads `{"class": "precondition", "reason": "run_open", "message": "…", …}`.
func scriptedError(text string) error {
	var in struct {
		Class, Reason, Message, Field string
		Metadata                      map[string]string
		Violations                    []fault.Violation
	}
	if err := json.Unmarshal([]byte(text), &in); err != nil {
		return fmt.Errorf("scripted error: %w", err)
	}
	e := &fault.Error{Reason: fault.ParseReason(in.Reason), Message: in.Message, Field: in.Field, Metadata: in.Metadata, Violations: in.Violations}
	for c := fault.Internal; c <= fault.Cancelled; c++ {
		if c.String() == in.Class {
			e.Class = c
		}
	}
	return e
}
