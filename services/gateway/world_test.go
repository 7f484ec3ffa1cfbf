package gateway

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/grpc"

	configv1 "millrace.dev/gen/millrace/config/v1"
	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
	"millrace.dev/pkg/app"
	"millrace.dev/pkg/testenv"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, testenv.Leaks()...) }

// peer is the services behind the gateway: what a test does not say, it does not know.
type peer struct {
	configv1.UnimplementedConfigServiceServer
	schedulerv1.UnimplementedSchedulerServiceServer
	getSync    func(context.Context, *configv1.GetSyncRequest) (*configv1.GetSyncResponse, error)
	createSync func(context.Context, *configv1.CreateSyncRequest) (*configv1.CreateSyncResponse, error)
	updateSync func(context.Context, *configv1.UpdateSyncRequest) (*configv1.UpdateSyncResponse, error)
	listRuns   func(context.Context, *schedulerv1.ListRunsRequest) (*schedulerv1.ListRunsResponse, error)
	trigger    func(context.Context, *schedulerv1.TriggerRunRequest) (*schedulerv1.TriggerRunResponse, error)
	watch      func(*schedulerv1.WatchRunRequest, grpc.ServerStreamingServer[schedulerv1.WatchRunResponse]) error
}

func (p *peer) GetSync(ctx context.Context, r *configv1.GetSyncRequest) (*configv1.GetSyncResponse, error) {
	return p.getSync(ctx, r)
}

func (p *peer) CreateSync(ctx context.Context, r *configv1.CreateSyncRequest) (*configv1.CreateSyncResponse, error) {
	return p.createSync(ctx, r)
}

func (p *peer) UpdateSync(ctx context.Context, r *configv1.UpdateSyncRequest) (*configv1.UpdateSyncResponse, error) {
	return p.updateSync(ctx, r)
}

func (p *peer) ListRuns(ctx context.Context, r *schedulerv1.ListRunsRequest) (*schedulerv1.ListRunsResponse, error) {
	return p.listRuns(ctx, r)
}

func (p *peer) TriggerRun(ctx context.Context, r *schedulerv1.TriggerRunRequest) (*schedulerv1.TriggerRunResponse, error) {
	return p.trigger(ctx, r)
}

func (p *peer) WatchRun(r *schedulerv1.WatchRunRequest, s grpc.ServerStreamingServer[schedulerv1.WatchRunResponse]) error {
	return p.watch(r, s)
}

// Register adds the services that the peer speaks for.
func (p *peer) Register(r grpc.ServiceRegistrar) {
	configv1.RegisterConfigServiceServer(r, p)
	schedulerv1.RegisterSchedulerServiceServer(r, p)
}

// Run has nothing to do.
func (p *peer) Run(context.Context, context.Context) error { return nil }

// Close has nothing to free.
func (p *peer) Close() error { return nil }

// world is a gateway in a process with the services behind it.
type world struct {
	t       *testing.T
	process *app.Process
	service *Service
	base    string
	log     *journal
	client  *http.Client
}

// journal is a log that a test may read while it is written.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(b)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// start starts the gateway with a peer in its process, which ends with the test.
func start(t *testing.T, s Settings, p *peer) *world {
	t.Helper()
	return startIn(t, app.Settings{}, s, others(p))
}

// others are the services behind the gateway, for all of which one speaks.
func others(speaks app.Service) []app.Module {
	hosted := func(name string) app.Module {
		svc := app.Service(&silent{})
		if name == "config" {
			svc = speaks
		}
		return app.Module{Name: name, New: func(context.Context, *app.Env) (app.Service, error) { return svc, nil }}
	}
	return []app.Module{hosted("config"), hosted("scheduler"), hosted("mapper"), hosted("ingestion"), hosted("trace")}
}

// startIn starts the gateway beside others.
func startIn(t *testing.T, process app.Settings, s Settings, others []app.Module) *world {
	t.Helper()
	w := &world{t: t, log: &journal{}, client: &http.Client{Transport: &http.Transport{}}}
	process.Data, process.GRPC, process.HTTP = t.TempDir(), "none", "127.0.0.1:0"
	own := app.Module{Name: Name, New: func(ctx context.Context, env *app.Env) (app.Service, error) {
		var err error
		w.service, err = New(ctx, env, s)
		return w.service, err
	}}
	var err error
	w.process, err = app.Start(t.Context(), app.Options{Modules: append(others, own), Settings: process, LogTo: w.log})
	require.NoError(t, err)
	t.Cleanup(func() {
		w.client.CloseIdleConnections()
		require.NoError(t, w.process.Stop(context.WithoutCancel(t.Context())))
	})
	w.base = "http://" + w.process.HTTPAddr()
	return w
}

// silent is a service that does nothing.
type silent struct{ peer }

func (*silent) Register(grpc.ServiceRegistrar) {}

// reply is what the gateway said.
type reply struct {
	status int
	header http.Header
	text   string
}

// ask sends a request to a path below the workspace w.
func (w *world) ask(verb, path, body string, headers ...string) reply {
	w.t.Helper()
	return w.send(verb, "/v1/workspaces/w"+path, body, headers...)
}

func (w *world) send(verb, path, body string, headers ...string) reply {
	w.t.Helper()
	r, err := w.do(w.request(verb, path, body, headers...))
	require.NoError(w.t, err)
	return r
}

func (w *world) request(verb, path, body string, headers ...string) *http.Request {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), verb, w.base+path, strings.NewReader(body))
	require.NoError(w.t, err)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	req.Host = req.Header.Get("Host") // empty: that of the address
	req.Header.Del("Host")
	return req
}

// raw sends bytes, which need be no whole request, and answers the reply to them. The connection stays open meanwhile.
func (w *world) raw(text string) reply {
	w.t.Helper()
	conn, err := (&net.Dialer{}).DialContext(w.t.Context(), "tcp", w.process.HTTPAddr())
	require.NoError(w.t, err)
	defer func() { require.NoError(w.t, conn.Close()) }()
	_, err = io.WriteString(conn, text)
	require.NoError(w.t, err)
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(w.t, err)
	body, err := io.ReadAll(res.Body)
	require.NoError(w.t, err)
	require.NoError(w.t, res.Body.Close())
	if res.Close {
		res.Header.Set("Connection", "close")
	}
	return reply{res.StatusCode, res.Header, string(body)}
}

// do sends a request and reads all of the answer. Any goroutine may call it.
func (w *world) do(req *http.Request) (reply, error) {
	res, err := w.client.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	return reply{res.StatusCode, res.Header, string(text)}, err
}

// problem answers the problem of a reply, which must be one.
func (w *world) problem(r reply, status int, reason string) problem {
	w.t.Helper()
	require.Equal(w.t, status, r.status, r.text)
	require.Equal(w.t, "application/problem+json", r.header.Get("Content-Type"))
	require.Equal(w.t, "no-store", r.header.Get("Cache-Control"))
	var p problem
	d := json.NewDecoder(strings.NewReader(r.text))
	d.DisallowUnknownFields()
	require.NoError(w.t, d.Decode(&p), r.text)
	require.Equal(w.t, status, p.Status)
	require.Equal(w.t, reason, p.Reason, r.text)
	require.Equal(w.t, "urn:millrace:problem:"+reason, p.Type)
	require.NotEmpty(w.t, p.Title)
	require.NotEmpty(w.t, p.Detail)
	return p
}

// fields answers the fields of a problem's violations, in order.
func (p problem) fields() []string {
	var out []string
	for _, v := range p.Violations {
		out = append(out, v.Field)
	}
	return out
}
