package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc/status"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/telemetry"
)

// problem is an error as RFC 9457 wants it, with the fault's reason and every violation.
type problem struct {
	// Type and Title belong to the reason.
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	// Instance is the path that was asked for.
	Instance string `json:"instance,omitempty"`
	// Reason is one of millrace.fault.v1 in lower case, for programs to branch on.
	Reason string `json:"reason"`
	// Field is the field at fault, where the error is about one and is no violation.
	Field string `json:"field,omitempty"`
	// Violations are all of them at once.
	Violations []violation `json:"violations,omitempty"`
	// Metadata are further facts for programs, such as the open run of run_open.
	Metadata map[string]string `json:"metadata,omitempty"`
	// TraceID is the trace of the request, for `millrace traces get`.
	TraceID string `json:"trace_id,omitempty"`
}

// violation is one rule that a request or a document breaks.
type violation struct {
	File    string `json:"file,omitempty"`
	Line    int    `json:"line,omitempty"`
	Column  int    `json:"column,omitempty"`
	Kind    string `json:"kind,omitempty"`
	ID      string `json:"id,omitempty"`
	Field   string `json:"field"`
	Message string `json:"message"`
	Fix     string `json:"fix,omitempty"`
}

// httpStatus is the one table between classes and HTTP.
func httpStatus(c fault.Class) int {
	switch c {
	case fault.Invalid:
		return http.StatusBadRequest
	case fault.NotFound:
		return http.StatusNotFound
	case fault.Conflict, fault.Precondition:
		return http.StatusConflict
	case fault.Denied:
		return http.StatusForbidden
	case fault.Throttled:
		return http.StatusTooManyRequests
	case fault.Unavailable:
		return http.StatusServiceUnavailable
	case fault.Cancelled:
		return statusClientClosed
	default:
		return http.StatusInternalServerError
	}
}

// statusClientClosed is what logs call a request whose client has left; nobody reads it.
const statusClientClosed = 499

// problemOf answers an error as a problem, less what only the request knows. What nobody has vouched for is not said.
func problemOf(err error) problem {
	f := fault.As(fault.FromStatus(err))
	p := problem{
		Type: "urn:millrace:problem:" + f.Reason.Word(), Title: title(f.Reason), Status: httpStatus(f.Class), Detail: f.Message,
		Reason: f.Reason.Word(), Field: f.Field, Metadata: f.Metadata,
	}
	if s, ok := statusOf(err); ok {
		p.Status = s
	}
	if f.Class == fault.Internal && f.Reason == fault.ReasonInternal {
		p.Detail = "internal error; the service's log has the cause"
	}
	for _, v := range f.Violations {
		p.Violations = append(p.Violations, violation(v))
	}
	return p
}

// title answers a reason in words: Run open.
func title(r fault.Reason) string {
	words := strings.ReplaceAll(r.Word(), "_", " ")
	return strings.ToUpper(words[:1]) + words[1:]
}

// problem answers a request with what went wrong.
func (s *Service) problem(w http.ResponseWriter, r *http.Request, err error) {
	f := fault.As(fault.FromStatus(err))
	if errors.Is(context.Cause(r.Context()), errStopping) {
		err = stopping()
		f = fault.As(err)
	}
	p := problemOf(err)
	p.Instance, p.TraceID = r.URL.EscapedPath(), telemetry.TraceID(r.Context())
	switch {
	case f.Class == fault.Internal:
		s.log.ErrorContext(r.Context(), "a request failed", "error", err)
	case p.Status >= http.StatusInternalServerError:
		s.log.DebugContext(r.Context(), "a request failed", "error", f)
	}
	if v, ok := r.Context().Value(visitKey{}).(*visit); ok && p.Status >= http.StatusInternalServerError {
		v.failed = f
	}
	body, err := encode(p)
	if err != nil {
		s.log.ErrorContext(r.Context(), "a problem can not be written", "error", err)
	}
	h := w.Header()
	h.Del("Trailer")
	h.Del("Transfer-Encoding")
	h.Set("Content-Type", "application/problem+json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	if f.RetryAfter > 0 {
		h.Set("Retry-After", retryAfter(f.RetryAfter))
	}
	if p.Status == http.StatusRequestTimeout || s.gate.closing() {
		h.Set("Connection", "close")
	}
	w.WriteHeader(p.Status)
	_, _ = w.Write(body) // a client that left needs no answer
}

// refuse answers what the generated code and the services say.
func (s *Service) refuse(ctx context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, r *http.Request, err error) {
	var unreadable *runtime.HTTPStatusError
	if errors.As(err, &unreadable) {
		err = refusal{unreadable.HTTPStatus, fault.New(fault.Invalid, fault.ReasonInvalidArgument, "the path can not be read; escape what is not letters and digits with %%XX")}
	}
	s.problem(w, r.WithContext(ctx), err)
}

// refuseRoute answers requests that lead nowhere.
func (s *Service) refuseRoute(_ context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, r *http.Request, _ int) {
	s.refuseAddress(w, r, s.routes.allowed(r.URL.Path))
}

// refuseAddress answers a request for a path that takes the allowed methods only, or that is none.
func (s *Service) refuseAddress(w http.ResponseWriter, r *http.Request, allowed []string) {
	if len(allowed) == 0 || slices.Contains(allowed, r.Method) {
		s.problem(w, r, fault.New(fault.NotFound, fault.ReasonNotFound, "there is no such path; see %s", documentPath))
		return
	}
	w.Header().Set("Allow", strings.Join(allowed, ", "))
	s.problem(w, r, refusal{http.StatusMethodNotAllowed, fault.New(fault.Invalid, fault.ReasonInvalidArgument, "the method is not one of this path; use %s", strings.Join(allowed, " or "))})
}

// endOfStream answers the last line of a stream that fails. Where nothing is said yet, the answer is a problem instead.
func (s *Service) endOfStream(ctx context.Context, err error) *status.Status {
	if errors.Is(context.Cause(ctx), errStopping) {
		err = stopping()
	}
	if v, ok := ctx.Value(visitKey{}).(*visit); ok && v.status == 0 {
		s.problem(v, v.request.WithContext(ctx), err)
		v.over = true
	}
	return status.Convert(fault.ToStatus(fault.FromStatus(err)))
}

// encode writes JSON on one line, leaving <, > and & as they are.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, fault.New(fault.Internal, fault.ReasonInternal, "write JSON: %w", err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
