package fault

import (
	"context"
	"errors"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	faultv1 "millrace.dev/gen/millrace/fault/v1"
)

// Domain is the domain of every ErrorInfo.
const Domain = "millrace"

// codeOf is the one table between classes and gRPC codes.
func codeOf(c Class) codes.Code {
	switch c {
	case Invalid:
		return codes.InvalidArgument
	case NotFound:
		return codes.NotFound
	case Conflict:
		return codes.Aborted
	case Precondition:
		return codes.FailedPrecondition
	case Denied:
		return codes.PermissionDenied
	case Throttled:
		return codes.ResourceExhausted
	case Unavailable:
		return codes.Unavailable
	case Cancelled:
		return codes.Canceled
	default:
		return codes.Internal
	}
}

func classOf(c codes.Code) Class {
	switch c {
	case codes.InvalidArgument, codes.OutOfRange:
		return Invalid
	case codes.NotFound:
		return NotFound
	case codes.Aborted, codes.AlreadyExists:
		return Conflict
	case codes.FailedPrecondition:
		return Precondition
	case codes.PermissionDenied, codes.Unauthenticated:
		return Denied
	case codes.ResourceExhausted:
		return Throttled
	case codes.Unavailable, codes.DeadlineExceeded:
		return Unavailable
	case codes.Canceled:
		return Cancelled
	default:
		return Internal
	}
}

const metaField = "field"

// ToStatus answers err as a gRPC status error. The cause stays here; an Internal error's text is replaced, because
// nobody has vouched for it.
func ToStatus(err error) error {
	if err == nil {
		return nil
	}
	var e *Error
	if _, ok := status.FromError(err); ok && !errors.As(err, &e) {
		return err
	}
	e = As(err)
	msg := e.Message
	if e.Class == Internal && e.Reason == ReasonInternal {
		msg = "internal error; the service's log has the cause"
	}
	reason := e.Reason
	if reason == ReasonUnspecified {
		reason = ReasonInternal
	}
	info := &errdetails.ErrorInfo{Reason: reason.String(), Domain: Domain, Metadata: map[string]string{}}
	for k, v := range e.Metadata {
		info.Metadata[k] = v
	}
	if e.Field != "" {
		info.Metadata[metaField] = e.Field
	}
	details := []protoadapt.MessageV1{info}
	if len(e.Violations) > 0 {
		details = append(details, badRequest(e.Violations), protoadapt.MessageV1Of(places(e.Violations)))
	}
	if e.RetryAfter > 0 {
		details = append(details, &errdetails.RetryInfo{RetryDelay: durationpb.New(e.RetryAfter)})
	}
	st, derr := status.New(codeOf(e.Class), msg).WithDetails(details...)
	if derr != nil {
		return status.Error(codeOf(e.Class), msg)
	}
	return st.Err()
}

func badRequest(vs []Violation) *errdetails.BadRequest {
	br := &errdetails.BadRequest{}
	for _, v := range vs {
		br.FieldViolations = append(br.FieldViolations, &errdetails.BadRequest_FieldViolation{Field: v.Field, Description: v.String()})
	}
	return br
}

func places(vs []Violation) *faultv1.Violations {
	out := &faultv1.Violations{}
	for _, v := range vs {
		out.Violations = append(out.Violations, &faultv1.Violation{
			File: v.File, Line: int32(v.Line), Column: int32(v.Column),
			Kind: v.Kind, Id: v.ID, Field: v.Field, Message: v.Message, Fix: v.Fix,
		})
	}
	return out
}

func fromPlaces(vs []*faultv1.Violation) []Violation {
	out := make([]Violation, 0, len(vs))
	for _, v := range vs {
		out = append(out, Violation{
			File: v.GetFile(), Line: int(v.GetLine()), Column: int(v.GetColumn()),
			Kind: v.GetKind(), ID: v.GetId(), Field: v.GetField(), Message: v.GetMessage(), Fix: v.GetFix(),
		})
	}
	return out
}

// FromStatus answers the classified error that a gRPC call failed with, nil for nil.
func FromStatus(err error) error {
	if err == nil {
		return nil
	}
	var own *Error
	if errors.As(err, &own) {
		return err
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return As(err)
	}
	st, ok := status.FromError(err)
	if !ok {
		return As(err)
	}
	e := &Error{Class: classOf(st.Code()), Reason: defaultReason(classOf(st.Code())), Message: st.Message(), Err: err}
	for _, d := range st.Details() {
		switch d := d.(type) {
		case *errdetails.ErrorInfo:
			if d.GetDomain() != Domain {
				continue
			}
			e.Reason = ParseReason(d.GetReason())
			for k, v := range d.GetMetadata() {
				if k == metaField {
					e.Field = v
					continue
				}
				if e.Metadata == nil {
					e.Metadata = map[string]string{}
				}
				e.Metadata[k] = v
			}
		case *errdetails.RetryInfo:
			e.RetryAfter = d.GetRetryDelay().AsDuration()
		case *faultv1.Violations:
			e.Violations = fromPlaces(d.GetViolations())
		}
	}
	return e
}

// defaultReason is the reason of a status that carries none, such as one that gRPC itself made.
func defaultReason(c Class) Reason {
	switch c {
	case Invalid:
		return ReasonInvalidArgument
	case NotFound:
		return ReasonNotFound
	case Conflict:
		return ReasonStaleEtag
	case Throttled:
		return ReasonLimitExceeded
	case Unavailable:
		return ReasonServiceUnavailable
	case Cancelled:
		return ReasonCancelled
	default:
		return ReasonInternal
	}
}
