package gateway

import (
	"context"
	"net/http"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/telemetry"
)

// isPage says whether a request is for the console: its paths, and whatever else a browser asks for that is not REST.
func isPage(r *http.Request) bool {
	path := r.URL.Path
	if path == "/" || strings.HasPrefix(path, "/w/") || strings.HasPrefix(path, "/assets/") {
		return true
	}
	return !strings.HasPrefix(path, "/v1/") && strings.Contains(r.Header.Get("Accept"), "text/html")
}

// pages answers a request of the console: it takes its place, its span and its time as a call does.
func (s *Service) pages(v *visit, r *http.Request) {
	pattern, stream := s.console.Route(r)
	v.method, v.route, v.stream = verbOf(r.Method), pattern, stream
	kind := requests
	if stream {
		kind = streams
	}
	in, err := s.gate.enter(kind)
	if err != nil {
		s.turnAway(v, r, err)
		return
	}
	defer in.leave()
	if err := s.takeForm(v, r, in); err != nil {
		s.turnAway(v, r, err)
		return
	}
	ctx, span := s.tracer.Start(r.Context(), "page "+pattern, trace.WithSpanKind(trace.SpanKindServer),
		trace.WithAttributes(attribute.String("http.request.method", v.method), attribute.String("http.route", pattern)))
	ctx, cancel := s.timeOf(ctx, stream)
	defer cancel()
	defer func() {
		span.SetAttributes(attribute.Int("http.response.status_code", v.status))
		telemetry.End(span, nil)
	}()
	s.console.ServeHTTP(v, r.WithContext(ctx))
}

// turnAway tells by a page why a request of the console is not heard, where somebody is to read it.
func (s *Service) turnAway(v *visit, r *http.Request, err error) {
	if _, known := statusOf(err); known || !strings.Contains(r.Header.Get("Accept"), "text/html") {
		s.problem(v, r, err)
		return
	}
	s.console.Refuse(v, r, err)
}

// timeOf gives a request its time or, to a stream, that of the process.
func (s *Service) timeOf(ctx context.Context, stream bool) (context.Context, context.CancelFunc) {
	if !stream {
		return context.WithTimeout(ctx, s.settings.CallTimeout)
	}
	ctx, stop := context.WithCancelCause(ctx)
	unhook := context.AfterFunc(s.streams, func() { stop(context.Cause(s.streams)) })
	return ctx, func() { unhook(); stop(nil) }
}

// takeForm holds room for the body of a request, and bounds it.
func (s *Service) takeForm(v *visit, r *http.Request, in *place) error {
	if r.ContentLength == 0 {
		return nil
	}
	if r.ContentLength > s.settings.MaxBody {
		return refusal{http.StatusRequestEntityTooLarge, fault.New(fault.Invalid, fault.ReasonInvalidArgument, "the form is larger than %d bytes; send less", s.settings.MaxBody)}
	}
	size := r.ContentLength
	if size < 0 {
		size = s.settings.MaxBody
	}
	if err := in.hold(size); err != nil {
		return err
	}
	r.Body = http.MaxBytesReader(v, r.Body, s.settings.MaxBody)
	return nil
}

// verbOf answers a method of a bounded set, for figures.
func verbOf(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost:
		return method
	default:
		return "other"
	}
}
