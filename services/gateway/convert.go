package gateway

import (
	"encoding/json"
	"errors"
	"io"
	"reflect"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/rpc"
)

// jsonForm is the JSON of the documentation, the same that the commands print: snake_case, 64-bit integers as texts, the
// words of enums in lower case. A stream is a line for each message, {"result": …}, and where it fails a last line
// {"error": problem}.
type jsonForm struct{}

var (
	_ runtime.Marshaler         = jsonForm{}
	_ runtime.StreamContentType = jsonForm{}
)

// ContentType answers the type of an answer.
func (jsonForm) ContentType(any) string { return "application/json" }

// StreamContentType answers the type of a streamed answer.
func (jsonForm) StreamContentType(any) string { return "application/x-ndjson" }

// Marshal writes a message, or a line of a stream.
func (f jsonForm) Marshal(v any) ([]byte, error) {
	switch v := v.(type) {
	case *statuspb.Status:
		return encode(problemOf(fault.FromStatus(status.ErrorProto(v))))
	case proto.Message:
		return rpc.MarshalJSON(v) //nolint:wrapcheck // it says of what
	case map[string]any:
		return line(f, v)
	case map[string]proto.Message:
		return line(f, v)
	default:
		return nil, fault.New(fault.Internal, fault.ReasonInternal, "an answer is a %T", v)
	}
}

// line writes the one entry of a line.
func line[T any](f jsonForm, v map[string]T) ([]byte, error) {
	out := map[string]json.RawMessage{}
	for k, e := range v {
		b, err := f.Marshal(e)
		if err != nil {
			return nil, err
		}
		out[k] = b
	}
	return encode(out)
}

// Unmarshal reads a message whose form Service.read has checked.
func (jsonForm) Unmarshal(data []byte, v any) error {
	m, ok := v.(proto.Message)
	if !ok { // a pointer to a field that holds a message
		field := reflect.ValueOf(v).Elem()
		field.Set(reflect.New(field.Type().Elem()))
		if m, ok = field.Interface().(proto.Message); !ok {
			return fault.New(fault.Internal, fault.ReasonInternal, "a body is read into a %T", v)
		}
	}
	if err := protojson.Unmarshal(data, m); err != nil {
		return fault.New(fault.Invalid, fault.ReasonInvalidArgument, "the body is no %s", m.ProtoReflect().Descriptor().Name())
	}
	return nil
}

// NewDecoder reads one message; io.EOF where there is no body.
func (f jsonForm) NewDecoder(r io.Reader) runtime.Decoder {
	return runtime.DecoderFunc(func(v any) error {
		data, err := io.ReadAll(r) // bounded by Service.body
		if err != nil {
			return err //nolint:wrapcheck // the request broke off
		}
		if len(data) == 0 {
			return io.EOF
		}
		return f.Unmarshal(data, v)
	})
}

// NewEncoder writes messages one behind the other.
func (f jsonForm) NewEncoder(w io.Writer) runtime.Encoder {
	return runtime.EncoderFunc(func(v any) error {
		b, err := f.Marshal(v)
		if err != nil {
			return err
		}
		_, err = w.Write(b)
		return err //nolint:wrapcheck // the caller knows it
	})
}

// refusal is an error with an HTTP status of its own.
type refusal struct {
	status int
	err    *fault.Error
}

func (r refusal) Error() string { return r.err.Error() }

// Unwrap answers the classified error.
func (r refusal) Unwrap() error { return r.err }

// statusOf answers the status of a refusal.
func statusOf(err error) (int, bool) {
	var r refusal
	ok := errors.As(err, &r)
	return r.status, ok
}
