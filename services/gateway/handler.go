package gateway

import (
	"context"
	"errors"
	"net/http"
	"regexp"
	"runtime/debug"
	"slices"
	"strconv"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/telemetry"
)

// enter is what every request passes first, also one that leads nowhere. What a client has for its request and its answer
// is time, from here on.
func (s *Service) enter(mux http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		v := &visit{ResponseWriter: w, request: r, control: http.NewResponseController(w), patience: s.settings.SendTimeout, method: "other"}
		if r.ContentLength != 0 { // also before an answer that does not want the body: the server reads on before it answers
			_ = v.control.SetReadDeadline(start.Add(s.settings.ReadTimeout)) // a reader without deadlines has none to miss
		}
		r = r.WithContext(context.WithValue(r.Context(), visitKey{}, v))
		defer v.finish()
		defer func() {
			whole := s.recovered(v, r, recover())
			s.metrics.answered(v.method, v.route, v.status, time.Since(start), v.stream)
			if !whole {
				panic(http.ErrAbortHandler) //nolint:forbidigo // net/http's way to end a connection, by which the client knows
			}
		}()
		v.Header().Set("X-Content-Type-Options", "nosniff")
		v.Header().Set("Cache-Control", "no-store")
		s.lead(v, r, mux)
	})
}

// recovered answers whether the answer is whole after a request that may have panicked.
func (s *Service) recovered(v *visit, r *http.Request, p any) bool {
	switch err, _ := p.(error); {
	case p == nil:
		return true
	case errors.Is(err, http.ErrAbortHandler): // meant so, and told of where it was
		return false
	}
	s.log.ErrorContext(r.Context(), "a request panicked", "route", v.route, "panic", p, "stack", string(debug.Stack()))
	if v.status != 0 {
		return false
	}
	s.problem(v, r, fault.New(fault.Internal, fault.ReasonInternal, "the request panicked"))
	return true
}

// lead leads a request to what it asks for, unless it is made by those who are not heard.
func (s *Service) lead(w *visit, r *http.Request, mux http.Handler) {
	switch err := s.hosts.stranger(r); {
	case err != nil:
		s.problem(w, r, err)
	case isPage(r):
		s.pages(w, r)
	case r.URL.Path == documentPath && (r.Method == http.MethodGet || r.Method == http.MethodHead):
		serveDocument(w, r)
	default:
		mux.ServeHTTP(w, r)
	}
}

// call is what a request passes that has a route: it takes its place, its span and its time, and goes on once it is
// known that all of it can be read.
func (s *Service) call(next runtime.HandlerFunc) runtime.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request, vars map[string]string) {
		pattern, _ := runtime.HTTPPattern(r.Context())
		rt, err := s.routes.of(r.Method, pattern)
		if err != nil {
			s.problem(w, r, err)
			return
		}
		if allowed := s.routes.allowed(r.URL.Path); !slices.Contains(allowed, rt.verb) {
			s.refuseAddress(w, r, allowed) // the generated code takes an empty id, and a verb as a part of one
			return
		}
		kind := requests
		if rt.streams() {
			kind = streams
		}
		if v, ok := r.Context().Value(visitKey{}).(*visit); ok {
			v.method, v.route, v.stream = rt.verb, rt.path, rt.streams()
		}
		in, err := s.gate.enter(kind)
		if err != nil {
			s.problem(w, r, err)
			return
		}
		defer in.leave()
		ctx, end := s.begin(r, rt, vars["workspace"])
		defer end()
		if r, err = s.read(w, r.WithContext(ctx), rt, vars, in); err != nil { //nolint:contextcheck // it is derived from the request's
			s.problem(w, r, err)
			return
		}
		next(w, r, vars)
	}
}

// name is what a span may have as the name of a workspace: a request can say anything.
var name = regexp.MustCompile(`^[a-z0-9_-]{1,64}$`)

// begin answers the context of a call: with its span, and with the end of its time or, of a stream, that of the process.
func (s *Service) begin(r *http.Request, rt route, workspace string) (ctx context.Context, end func()) {
	ctx = propagation.TraceContext{}.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
	ctx, span := s.tracer.Start(ctx, rt.verb+" "+rt.path, trace.WithSpanKind(trace.SpanKindServer),
		trace.WithAttributes(attribute.String("http.request.method", rt.verb), attribute.String("http.route", rt.path)))
	if name.MatchString(workspace) {
		span.SetAttributes(telemetry.Workspace(id.Workspace(workspace)))
	}
	ctx, cancel := s.timeOf(ctx, rt.streams())
	ctx = context.WithValue(ctx, idempotencyKey{}, r.Header.Get(idempotencyHeader))
	return ctx, func() {
		cancel()
		var failed error
		if v, ok := r.Context().Value(visitKey{}).(*visit); ok {
			span.SetAttributes(attribute.Int("http.response.status_code", v.status))
			failed = v.failed
		}
		telemetry.End(span, failed)
	}
}

// idempotencyHeader stands for the field idempotency_key of a trigger.
const idempotencyHeader = "Idempotency-Key"

// idempotencyKey is where a call's context has the header Idempotency-Key.
type idempotencyKey struct{}

func keyOf(ctx context.Context) string {
	key, _ := ctx.Value(idempotencyKey{}).(string)
	return key
}

func retryAfter(d time.Duration) string {
	return strconv.FormatInt(int64((d+time.Second-1)/time.Second), 10)
}
