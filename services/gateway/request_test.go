package gateway

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/metadata"

	configv1 "millrace.dev/gen/millrace/config/v1"
	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
)

// unasked is a peer that must not be asked for anything.
func unasked(t *testing.T) *peer {
	t.Helper()
	return &peer{
		createSync: func(context.Context, *configv1.CreateSyncRequest) (*configv1.CreateSyncResponse, error) {
			t.Error("the service was asked")
			return &configv1.CreateSyncResponse{}, nil
		},
		getSync: func(context.Context, *configv1.GetSyncRequest) (*configv1.GetSyncResponse, error) {
			t.Error("the service was asked")
			return &configv1.GetSyncResponse{}, nil
		},
	}
}

func TestARequestLeadsToItsMethod(t *testing.T) {
	var got *configv1.CreateSyncRequest
	var sent metadata.MD
	w := start(t, Settings{}, &peer{createSync: func(ctx context.Context, r *configv1.CreateSyncRequest) (*configv1.CreateSyncResponse, error) {
		got = r
		sent, _ = metadata.FromIncomingContext(ctx)
		return &configv1.CreateSyncResponse{Sync: r.GetSync()}, nil
	}})
	r := w.ask("POST", "/syncs", `{"meta":{"id":"x"},"mode":"incremental","version":"9007199254740993","from":"2026-01-02T03:04:05Z"}`,
		"Grpc-Metadata-Role", "admin", "Grpc-Timeout", "1n", "Cookie", "a=b", "Authorization", "Bearer t", "X-Forwarded-For", "10.0.0.1")
	require.Equal(t, http.StatusOK, r.status, r.text)
	require.Equal(t, "application/json", r.header.Get("Content-Type"))
	require.Equal(t, "w", got.GetWorkspace())
	require.Equal(t, configv1.Mode_MODE_INCREMENTAL, got.GetSync().GetMode())
	require.EqualValues(t, 1<<53+1, got.GetSync().GetVersion())
	require.Contains(t, r.text, `"mode":"incremental"`)
	require.Contains(t, r.text, `"version":"9007199254740993"`)
	for _, name := range []string{"role", "grpcgateway-cookie", "authorization", "x-forwarded-for", "x-forwarded-host"} {
		require.Empty(t, sent.Get(name), "headers are no metadata")
	}
}

func TestQueriesAreReadByTheWordsOfTheDocumentation(t *testing.T) {
	var got *schedulerv1.ListRunsRequest
	w := start(t, Settings{}, &peer{listRuns: func(_ context.Context, r *schedulerv1.ListRunsRequest) (*schedulerv1.ListRunsResponse, error) {
		got = r
		return &schedulerv1.ListRunsResponse{}, nil
	}})
	require.JSONEq(t, `{"runs":[],"next_page_token":""}`, w.ask("GET", "/runs?sync=x&pageSize=7&filter=state%3Dfailed", "").text)
	require.Equal(t, "x", got.GetSync())
	require.EqualValues(t, 7, got.GetPageSize())
	require.Equal(t, "state=failed", got.GetFilter())

	p := w.problem(w.ask("GET", "/syncs/x/runs?sync=y&page_size=secret7&page_size=8&colour=red&colour=blue&order_by=a&orderBy=b&workspace=v", ""), http.StatusBadRequest, "invalid_argument")
	require.ElementsMatch(t, []string{"sync", "page_size", "colour", "order_by", "workspace"}, p.fields(), "all at once")
	r := w.ask("GET", "/runs?page_size=secret7", "")
	w.problem(r, http.StatusBadRequest, "invalid_argument")
	require.NotContains(t, r.text, "secret7")
	w.problem(w.ask("GET", "/runs?sync=%zz", ""), http.StatusBadRequest, "invalid_argument")
	p = w.problem(w.ask("GET", "/profiles/1?identity=x&environment=moon&as_of=noon&identity.shape=1", ""), http.StatusBadRequest, "invalid_argument")
	require.Equal(t, []string{"as_of", "environment", "identity", "identity.shape"}, p.fields())
	p = w.problem(w.ask("POST", "/syncs?sync.mode=full", `{"meta":{"id":"x"}}`), http.StatusBadRequest, "invalid_argument")
	require.Equal(t, []string{"sync.mode"}, p.fields(), "it belongs into the body")
}

func TestAnUpdateWithoutAMaskChangesWhatItsBodyHas(t *testing.T) {
	var got *configv1.UpdateSyncRequest
	w := start(t, Settings{}, &peer{updateSync: func(_ context.Context, r *configv1.UpdateSyncRequest) (*configv1.UpdateSyncResponse, error) {
		got = r
		return &configv1.UpdateSyncResponse{Sync: r.GetSync()}, nil
	}})
	for query, want := range map[string][]string{
		"":                        {"delay", "lookback", "meta.labels"},
		"?update_mask=mode,delay": {"mode", "delay"},
		"?update_mask=*":          {"*"},
		"?updateMask=meta.labels": {"meta.labels"},
	} {
		r := w.ask("PATCH", "/syncs/x"+query, `{"meta":{"etag":"v1","id":"x","labels":{}},"lookback":"10m","delay":null}`)
		require.Equal(t, http.StatusOK, r.status, r.text)
		require.Equal(t, want, got.GetUpdateMask().GetPaths())
		require.Equal(t, "x", got.GetSync().GetMeta().GetId(), "the path names the resource")
		require.Equal(t, "v1", got.GetSync().GetMeta().GetEtag())
	}
}

func TestBodiesThatCanNotBeReadReachNobody(t *testing.T) {
	w := start(t, Settings{MaxBody: 1 << 20}, unasked(t))
	deep := strings.Repeat(`{"rules":[`, 200) + strings.Repeat(`]}`, 200)
	for name, c := range map[string]struct {
		body   string
		place  [2]int
		fields int
	}{
		"no JSON":       {"{\n  \"mode\": full\n}", [2]int{2, 11}, 1},
		"cut off":       {`{"mode": "full"`, [2]int{1, 16}, 1},
		"two values":    {`{} {}`, [2]int{1, 4}, 1},
		"the same name": {`{"mode":"full","mode":"mirror"}`, [2]int{1, 16}, 1},
		"no UTF-8":      {"{\"lookback\":\"\xff\"}", [2]int{1, 14}, 1},
		"a list":        {`[]`, [2]int{1, 1}, 1},
		"null":          {`null`, [2]int{1, 1}, 1},
		"nesting":       {deep, [2]int{1, 510}, 1},
		"many values":   {`{"x":[` + strings.Repeat("1,", 200_000) + `1]}`, [2]int{1, 200_003}, 1},
		"many mistakes": {`{` + strings.TrimSuffix(manyFields(500), ",") + `}`, [2]int{1, 7}, 100},
	} {
		r := w.ask("POST", "/syncs", c.body)
		p := w.problem(r, http.StatusBadRequest, "invalid_argument")
		require.Len(t, p.Violations, c.fields, name)
		require.Equal(t, c.place[0], p.Violations[0].Line, name)
		require.Equal(t, c.place[1], p.Violations[0].Column, name)
	}
	w.problem(w.ask("POST", "/syncs", `{"mode":"full"}`, "Content-Type", "text/plain"), http.StatusUnsupportedMediaType, "invalid_argument")
	w.problem(w.ask("POST", "/syncs", `{"mode":"full"}`, "Content-Type", "application/json; charset=latin1"), http.StatusUnsupportedMediaType, "invalid_argument")
	w.problem(w.ask("POST", "/syncs", `{"mode":"full"}`, "Content-Encoding", "gzip"), http.StatusUnsupportedMediaType, "invalid_argument")
	w.problem(w.ask("GET", "/syncs/x", `{"mode":"full"}`), http.StatusBadRequest, "invalid_argument")
}

func manyFields(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `"f%d":1,`, i)
	}
	return b.String()
}

func TestBodiesAreBounded(t *testing.T) {
	w := start(t, Settings{MaxBody: 1000}, unasked(t))
	body := `{"lookback":"` + strings.Repeat("x", 1000) + `"}`
	w.problem(w.ask("POST", "/syncs", body), http.StatusRequestEntityTooLarge, "limit_exceeded")
	req := w.request("POST", "/v1/workspaces/w/syncs", body)
	req.ContentLength, req.Body = -1, io.NopCloser(strings.NewReader(body)) // of unknown length
	r, err := w.do(req)
	require.NoError(t, err)
	w.problem(r, http.StatusRequestEntityTooLarge, "limit_exceeded")
}

func TestABodyThatDoesNotArriveIsNotWaitedFor(t *testing.T) {
	w := start(t, Settings{ReadTimeout: 20 * time.Millisecond}, unasked(t))
	const head = " HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n"
	r := w.raw("POST /v1/workspaces/w/syncs" + head + "Content-Type: application/json\r\n\r\n{")
	w.problem(r, http.StatusRequestTimeout, "invalid_argument")
	require.Equal(t, "close", r.header.Get("Connection"))
	// Nor is one that is not wanted: a server reads on before it answers.
	w.problem(w.raw("POST /v1/teapots"+head+"\r\n{"), http.StatusNotFound, "not_found")
	w.problem(w.raw("POST /v1/workspaces/w/syncs"+head+"Content-Type: text/plain\r\n\r\n{"), http.StatusUnsupportedMediaType, "invalid_argument")
	w.problem(w.raw("POST /v1/workspaces/w/syncs"+head+"Origin: https://evil.example\r\n\r\n{"), http.StatusForbidden, "invalid_argument")
}

func TestTheBodiesOfAllRequestsAreBoundedTogether(t *testing.T) {
	inside, leave := make(chan struct{}, 1), make(chan struct{})
	w := start(t, Settings{MaxBody: 1000, MaxBodies: 1000}, &peer{
		createSync: func(context.Context, *configv1.CreateSyncRequest) (*configv1.CreateSyncResponse, error) {
			inside <- struct{}{}
			<-leave
			return &configv1.CreateSyncResponse{}, nil
		},
		getSync: func(context.Context, *configv1.GetSyncRequest) (*configv1.GetSyncResponse, error) {
			return &configv1.GetSyncResponse{}, nil
		},
	})
	body := `{"lookback":"` + strings.Repeat("x", 600) + `"}`
	first := w.later(w.request("POST", "/v1/workspaces/w/syncs", body))
	<-inside
	r := w.ask("POST", "/syncs", body)
	w.problem(r, http.StatusTooManyRequests, "limit_exceeded")
	require.Equal(t, "1", r.header.Get("Retry-After"))
	req := w.request("POST", "/v1/workspaces/w/syncs", body)
	req.ContentLength, req.Body = -1, io.NopCloser(strings.NewReader(body)) // of unknown length
	r, err := w.do(req)
	require.NoError(t, err)
	w.problem(r, http.StatusTooManyRequests, "limit_exceeded")
	require.Equal(t, http.StatusOK, w.ask("GET", "/syncs/x", "").status, "what has no body needs no room")
	close(leave)
	a := <-first
	require.NoError(t, a.err)
	require.Equal(t, http.StatusOK, a.reply.status)
	require.Equal(t, http.StatusOK, w.ask("POST", "/syncs", body).status, "it has given its room back")
}

func TestWhatIsNoTextReachesNobody(t *testing.T) {
	w := start(t, Settings{}, unasked(t))
	p := w.problem(w.ask("GET", "/syncs/%ff?colour=red", ""), http.StatusBadRequest, "invalid_argument")
	require.Equal(t, []string{"id", "colour"}, p.fields())
	p = w.problem(w.ask("POST", "/syncs/x:trigger", "", "Idempotency-Key", "\xff"), http.StatusBadRequest, "invalid_argument")
	require.Equal(t, []string{"Idempotency-Key"}, p.fields())
}

func TestABodyNamesWhatItsPathNames(t *testing.T) {
	w := start(t, Settings{}, unasked(t))
	p := w.problem(w.ask("PATCH", "/syncs/x?colour=red", `{"meta":{"id":"other-one","etag":"v1"}}`), http.StatusBadRequest, "invalid_argument")
	require.Equal(t, []string{"colour", "meta.id"}, p.fields())
	require.NotContains(t, p.Detail, "other-one")
	p = w.problem(w.ask("POST", "/syncs/x:trigger", `{"workspace":"w","sync":"y"}`), http.StatusBadRequest, "invalid_argument")
	require.Equal(t, []string{"sync"}, p.fields())
	p = w.problem(w.ask("POST", "/mappings:validate", `{"data_model":{"meta":{"workspace":"v"}}}`), http.StatusBadRequest, "invalid_argument")
	require.Equal(t, []string{"data_model.meta.workspace"}, p.fields())
}

func TestPathsThatLeadNowhere(t *testing.T) {
	w := start(t, Settings{}, unasked(t))
	for _, path := range []string{"/v2/workspaces/w/syncs", "/v1/workspaces/w/teapots", "/v1/workspaces/w/syncs/", "/v1/workspaces//syncs", "//v1/workspaces/w/syncs", "/v1/workspaces/w/syncs/x:boil/y"} {
		w.problem(w.send("GET", path, ""), http.StatusNotFound, "not_found")
	}
	for path, want := range map[string]string{"/v1/workspaces/w/syncs": "GET, POST", "/v1/workspaces/w/syncs/x": "DELETE, GET, PATCH", "/v1/workspaces/w/syncs/x:trigger": "POST, PUT"} {
		for _, verb := range []string{"OPTIONS", "TRACE", "BREW"} {
			r := w.send(verb, path, "")
			w.problem(r, http.StatusMethodNotAllowed, "invalid_argument")
			require.Equal(t, want, r.header.Get("Allow"))
		}
	}
	w.problem(w.send("GET", "/v1/workspaces/w/syncs/x:trigger", ""), http.StatusMethodNotAllowed, "invalid_argument")
	w.problem(w.send("POST", "/v1/workspaces/w/syncs/x", "", "X-HTTP-Method-Override", "DELETE"), http.StatusMethodNotAllowed, "invalid_argument")
}

func TestTheDocumentIsServed(t *testing.T) {
	w := start(t, Settings{}, &peer{})
	r := w.send("GET", "/v1/openapi.json", "")
	require.Equal(t, http.StatusOK, r.status)
	require.Equal(t, "application/json", r.header.Get("Content-Type"))
	require.Equal(t, string(document), r.text)
	require.Equal(t, http.StatusOK, w.send("GET", "/healthz", "").status)
	require.Equal(t, http.StatusOK, w.send("GET", "/readyz", "").status)
	require.Contains(t, w.send("GET", "/metrics", "").text, `millrace_gateway_requests_total{method="other",route="",status="200"} 1`)
}
