package gateway

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	configv1 "millrace.dev/gen/millrace/config/v1"
	"millrace.dev/pkg/app"
	"millrace.dev/pkg/fault"
)

func TestEachClassOfErrorsIsAProblemOfItsStatus(t *testing.T) {
	var next error
	w := start(t, Settings{}, &peer{getSync: func(context.Context, *configv1.GetSyncRequest) (*configv1.GetSyncResponse, error) { return nil, next }})
	cause := errors.New("pq: password of sa_secret is wrong")
	for _, c := range []struct {
		err    *fault.Error
		status int
	}{
		{fault.New(fault.Invalid, fault.ReasonQueryInvalid, "line 3 is no SQL: %w", cause), http.StatusBadRequest},
		{fault.New(fault.NotFound, fault.ReasonNotFound, "there is no such sync"), http.StatusNotFound},
		{fault.New(fault.Conflict, fault.ReasonStaleEtag, "it has changed"), http.StatusConflict},
		{fault.New(fault.Precondition, fault.ReasonRunOpen, "a run is open").With("run", "r1"), http.StatusConflict},
		{fault.New(fault.Denied, fault.ReasonWarehouseDenied, "the warehouse refused"), http.StatusForbidden},
		{fault.New(fault.Throttled, fault.ReasonLimitExceeded, "over the limit").WithRetry(1500 * time.Millisecond), http.StatusTooManyRequests},
		{fault.New(fault.Unavailable, fault.ReasonStoreUnavailable, "the store is away").WithRetry(time.Second), http.StatusServiceUnavailable},
		{fault.New(fault.Internal, fault.ReasonAccountUnbalanced, "the account does not close"), http.StatusInternalServerError},
	} {
		next = c.err
		r := w.ask("GET", "/syncs/x", "")
		p := w.problem(r, c.status, c.err.Reason.Word())
		require.Contains(t, p.Detail, strings.Split(c.err.Message, ":")[0])
		require.Equal(t, "/v1/workspaces/w/syncs/x", p.Instance)
		require.Len(t, p.TraceID, 32)
		require.Equal(t, c.err.Metadata, p.Metadata)
		switch c.err.RetryAfter {
		case 0:
			require.Empty(t, r.header.Get("Retry-After"))
		case time.Second:
			require.Equal(t, "1", r.header.Get("Retry-After"))
		default:
			require.Equal(t, "2", r.header.Get("Retry-After"), "rounded up")
		}
	}
	next = cause
	r := w.ask("GET", "/syncs/x", "")
	w.problem(r, http.StatusInternalServerError, "internal")
	require.NotContains(t, r.text, "sa_secret", "what nobody has vouched for is not said")
}

func TestViolationsArriveWithTheirPlaces(t *testing.T) {
	v := fault.Violation{File: "a.yaml", Line: 3, Column: 7, Kind: "Sync", ID: "x", Field: "mode", Message: "is missing", Fix: "set it"}
	w := start(t, Settings{}, &peer{createSync: func(context.Context, *configv1.CreateSyncRequest) (*configv1.CreateSyncResponse, error) {
		return nil, fault.Of(fault.ReasonInvalidArgument, []fault.Violation{v, {Field: "feed", Message: "there is no such feed"}})
	}})
	p := w.problem(w.ask("POST", "/syncs", `{"mode":"full"}`), http.StatusBadRequest, "invalid_argument")
	require.Equal(t, []violation{violation(v), {Field: "feed", Message: "there is no such feed"}}, p.Violations)
}

func TestARequestThatTakesTooLongIsToldSo(t *testing.T) {
	w := start(t, Settings{CallTimeout: time.Millisecond}, &peer{getSync: func(ctx context.Context, _ *configv1.GetSyncRequest) (*configv1.GetSyncResponse, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}})
	w.problem(w.ask("GET", "/syncs/x", ""), http.StatusServiceUnavailable, "service_unavailable")
}

func TestAServiceThatIsAwayIsToldAtOnceAndWithoutItsAddress(t *testing.T) {
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	away := l.Addr().String()
	require.NoError(t, l.Close())
	w := startIn(t, app.Settings{ConfigAddr: away, SchedulerAddr: away, TraceAddr: "none"}, Settings{}, nil)
	for _, path := range []string{"/syncs/x", "/runs/r:watch"} {
		r := w.ask("GET", path, "")
		p := w.problem(r, http.StatusServiceUnavailable, "service_unavailable")
		require.Contains(t, p.Detail, "service can not be reached")
		require.Equal(t, "1", r.header.Get("Retry-After"))
		require.NotContains(t, r.text, away)
	}
	require.Contains(t, w.problem(w.ask("GET", "/traces", ""), http.StatusServiceUnavailable, "service_unavailable").Detail, "without the trace service")
	require.Equal(t, http.StatusOK, w.send("GET", "/readyz", "").status, "others may be there")
}

func TestAPanicOfAServiceIsAProblemAndEndsNothing(t *testing.T) {
	w := start(t, Settings{}, &peer{}) // which has no function to call
	w.problem(w.ask("GET", "/syncs/x", ""), http.StatusInternalServerError, "internal")
	w.problem(w.ask("GET", "/syncs/x", ""), http.StatusInternalServerError, "internal")
}

func TestAPanicOfTheGatewayIsAProblemOrBreaksTheAnswerOff(t *testing.T) {
	w := start(t, Settings{}, &peer{})
	server := httptest.NewServer(w.service.enter(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/late" {
			_, _ = io.WriteString(rw, "a part")
		}
		panic("secret")
	})))
	defer server.Close()
	w.base = server.URL
	r := w.send("GET", "/v1/early", "")
	w.problem(r, http.StatusInternalServerError, "internal")
	require.NotContains(t, r.text, "secret")
	_, err := w.do(w.request("GET", "/v1/late", ""))
	require.ErrorIs(t, err, io.ErrUnexpectedEOF, "half an answer does not pass for a whole one")
	require.Contains(t, w.log.String(), "panicked")
	w.client.CloseIdleConnections()
}

func TestTheDocumentSaysWhatAProblemHas(t *testing.T) {
	schema := loadDocument(t).Components.Schemas["Problem"].Value
	var want []string
	for f := range reflect.TypeFor[problem]().Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		want = append(want, name)
	}
	var got []string
	for name := range schema.Properties {
		got = append(got, name)
	}
	require.ElementsMatch(t, want, got)
	var fields []string
	for f := range reflect.TypeFor[violation]().Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		fields = append(fields, name)
	}
	got = nil
	for name := range schema.Properties["violations"].Value.Items.Value.Properties {
		got = append(got, name)
	}
	require.ElementsMatch(t, fields, got)
}
