package app_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	mapperv1 "millrace.dev/gen/millrace/mapper/v1"
	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
	"millrace.dev/pkg/app"
	"millrace.dev/pkg/bus"
	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/rpc"
	"millrace.dev/pkg/settings"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// events notes what happens in order.
type events struct {
	mu   sync.Mutex
	list []string
}

func (e *events) add(s string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.list = append(e.list, s)
}

func (e *events) all() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return strings.Join(e.list, " ")
}

// service is a mapper, or a scheduler that watches.
type service struct {
	mapperv1.UnimplementedMapperServiceServer
	schedulerv1.UnimplementedSchedulerServiceServer
	name     string
	env      *app.Env
	log      *events
	run      func(soft, hard context.Context) error
	validate func(context.Context) error
	ready    func() error
	watching chan struct{}
}

func (s *service) Register(r grpc.ServiceRegistrar) {
	switch s.name {
	case "mapper":
		mapperv1.RegisterMapperServiceServer(r, s)
	case "scheduler":
		schedulerv1.RegisterSchedulerServiceServer(r, s)
	}
}

func (s *service) Run(soft, hard context.Context) error {
	s.log.add("run:" + s.name)
	defer s.log.add("ran:" + s.name)
	if s.run != nil {
		return s.run(soft, hard)
	}
	<-soft.Done()
	return nil
}

func (s *service) Close() error {
	s.log.add("close:" + s.name)
	return nil
}

func (s *service) ValidateMapping(ctx context.Context, _ *mapperv1.ValidateMappingRequest) (*mapperv1.ValidateMappingResponse, error) {
	if s.validate != nil {
		return nil, s.validate(ctx)
	}
	return &mapperv1.ValidateMappingResponse{}, nil
}

func (s *service) WatchRun(_ *schedulerv1.WatchRunRequest, st grpc.ServerStreamingServer[schedulerv1.WatchRunResponse]) error {
	close(s.watching)
	<-st.Context().Done()
	return st.Context().Err()
}

func (s *service) Ready() error {
	if s.ready == nil {
		return nil
	}
	return s.ready()
}

// TestAServiceThatCanNotWorkMakesItsProcessUnready: it says why, and lives on.
func TestAServiceThatCanNotWorkMakesItsProcessUnready(t *testing.T) {
	var broken atomic.Bool
	s := &service{name: "mapper", log: &events{}, ready: func() error {
		if broken.Load() {
			return fault.New(fault.Unavailable, fault.ReasonStoreUnavailable, "store: the disk is full; free some space")
		}
		return nil
	}}
	p := start(t, app.Options{Modules: []app.Module{module(s)}})
	require.NoError(t, p.Ready())
	broken.Store(true)
	require.Equal(t, fault.ReasonStoreUnavailable, fault.ReasonOf(p.Ready()))
	resp, err := http.Get("http://" + p.HTTPAddr() + "/readyz") //nolint:noctx // at once
	require.NoError(t, err)
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusServiceUnavailable, resp.StatusCode)
	require.Equal(t, "store_unavailable: store: the disk is full; free some space\n", string(body))
}

func module(s *service) app.Module {
	return app.Module{Name: s.name, New: func(_ context.Context, env *app.Env) (app.Service, error) {
		s.env = env
		s.log.add("new:" + s.name)
		return s, nil
	}}
}

func start(t *testing.T, o app.Options) *app.Process {
	t.Helper()
	o.Settings.GRPC, o.Settings.HTTP, o.Settings.Data = "127.0.0.1:0", "127.0.0.1:0", t.TempDir()
	o.LogTo = t.Output()
	p, err := app.Start(context.Background(), o)
	require.NoError(t, err)
	t.Cleanup(func() { _ = p.Stop(context.Background()) })
	return p
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := c.Get(url) //nolint:noctx // a test
	require.NoError(t, err)
	defer func() { require.NoError(t, resp.Body.Close()) }()
	b, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(b)
}

func TestAModuleKnowsWhatIsHostedBesideItAndWhetherKeysAreNamed(t *testing.T) {
	for keys, own := range map[string]bool{"": true, "file:/elsewhere/keys.json": false} {
		log := &events{}
		a, b := &service{name: "mapper", log: log}, &service{name: "scheduler", log: log}
		start(t, app.Options{Modules: []app.Module{module(a), module(b)}, Settings: app.Settings{Keys: keys}})
		for _, s := range []*service{a, b} {
			require.Equal(t, []string{"mapper", "scheduler"}, s.env.Hosted)
			require.False(t, s.env.Alone)
			require.Equal(t, own, s.env.Shared.OwnKeys)
			require.NotEmpty(t, s.env.Shared.Keys)
		}
	}
}

func TestTheSameCallInMemoryAndOverTCP(t *testing.T) {
	log := &events{}
	refuse := fault.New(fault.Precondition, fault.ReasonRunOpen, "a run is open").With("run", "r1")
	m := &service{name: "mapper", log: log, validate: func(context.Context) error { return refuse }}
	hosting := start(t, app.Options{Modules: []app.Module{module(m)}})
	s := &service{name: "scheduler", log: log}
	remote := start(t, app.Options{Modules: []app.Module{module(s)}, Settings: app.Settings{MapperAddr: hosting.Addr()}})

	for name, p := range map[string]*app.Process{"in memory": hosting, "over TCP": remote} {
		conn, err := p.Dial("mapper")
		require.NoError(t, err)
		_, err = mapperv1.NewMapperServiceClient(conn).ValidateMapping(t.Context(), &mapperv1.ValidateMappingRequest{})
		var f *fault.Error
		require.ErrorAs(t, err, &f, name)
		require.Equal(t, fault.ReasonRunOpen, f.Reason)
		require.Equal(t, "r1", f.Metadata["run"])
	}
	_, err := hosting.Dial("nobody")
	require.Error(t, err)
}

func TestHealthReadinessAndMetrics(t *testing.T) {
	p := start(t, app.Options{Modules: []app.Module{module(&service{name: "mapper", log: &events{}})}})
	for path, want := range map[string]string{"/healthz": "ok", "/readyz": "ok", "/metrics": "go_goroutines"} {
		code, body := get(t, "http://"+p.HTTPAddr()+path)
		require.Equal(t, http.StatusOK, code)
		require.Contains(t, body, want)
	}
	code, _ := get(t, "http://"+p.HTTPAddr()+"/debug/pprof/")
	require.Equal(t, http.StatusNotFound, code)
	conn, err := p.Dial("mapper")
	require.NoError(t, err)
	for _, name := range []string{"", "millrace.mapper.v1.MapperService"} {
		r, err := healthv1.NewHealthClient(conn).Check(t.Context(), &healthv1.HealthCheckRequest{Service: name})
		require.NoError(t, err)
		require.Equal(t, healthv1.HealthCheckResponse_SERVING, r.GetStatus())
	}
	require.NoError(t, p.Ready())
	require.NoError(t, p.Stop(t.Context()))
	require.Error(t, p.Ready())
}

func TestAPanicInAMethodIsAnInternalErrorOfThatCall(t *testing.T) {
	m := &service{name: "mapper", log: &events{}, validate: func(context.Context) error { panic("boom secret") }}
	p := start(t, app.Options{Modules: []app.Module{module(m)}})
	conn, err := p.Dial("mapper")
	require.NoError(t, err)
	for range 2 {
		_, err = mapperv1.NewMapperServiceClient(conn).ValidateMapping(t.Context(), &mapperv1.ValidateMappingRequest{})
		require.Equal(t, fault.Internal, fault.ClassOf(err))
		require.NotContains(t, err.Error(), "secret")
	}
}

func TestStopFinishesWhatIsInHandAndClosesInReverse(t *testing.T) {
	log := &events{}
	started, release := make(chan struct{}), make(chan struct{})
	m := &service{name: "mapper", log: log}
	s := &service{name: "scheduler", log: log, watching: make(chan struct{}), run: func(soft, hard context.Context) error {
		close(started)
		<-soft.Done()
		<-release // in hand
		return hard.Err()
	}}
	p := start(t, app.Options{Modules: []app.Module{module(m), module(s)}})
	<-started
	conn, err := p.Dial("scheduler")
	require.NoError(t, err)
	w, err := schedulerv1.NewSchedulerServiceClient(conn).WatchRun(t.Context(), &schedulerv1.WatchRunRequest{})
	require.NoError(t, err)
	<-s.watching
	mconn, err := p.Dial("mapper")
	require.NoError(t, err)

	stopped := make(chan error)
	go func() { stopped <- p.Stop(context.Background()) }()
	require.Eventually(t, func() bool { return p.Ready() != nil }, 5*time.Second, time.Millisecond)
	_, err = mapperv1.NewMapperServiceClient(mconn).ValidateMapping(t.Context(), &mapperv1.ValidateMappingRequest{})
	require.NoError(t, err, "calls are answered while work in hand is finished")
	close(release)
	require.NoError(t, <-stopped)
	_, err = w.Recv()
	require.Equal(t, fault.Unavailable, fault.ClassOf(err), "an open stream is told to come again")
	require.Regexp(t, `^new:mapper new:scheduler .* close:scheduler close:mapper$`, log.all())
}

func TestAfterTheGraceWorkIsCut(t *testing.T) {
	s := &service{name: "mapper", log: &events{}, run: func(_, hard context.Context) error {
		<-hard.Done()
		return nil
	}}
	p := start(t, app.Options{Modules: []app.Module{module(s)}, Settings: app.Settings{Grace: time.Millisecond}})
	require.NoError(t, p.Stop(t.Context()))

	s = &service{name: "mapper", log: &events{}, run: s.run}
	p = start(t, app.Options{Modules: []app.Module{module(s)}, Settings: app.Settings{Grace: time.Hour}})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.NoError(t, p.Stop(ctx), "a Stop whose context has ended cuts at once")
}

func TestAServiceThatFailsEndsTheProcessWithItsError(t *testing.T) {
	boom := errors.New("boom")
	bad := &service{name: "mapper", log: &events{}, run: func(context.Context, context.Context) error { return boom }}
	good := &service{name: "scheduler", log: &events{}}
	p := start(t, app.Options{Modules: []app.Module{module(good), module(bad)}})
	err := p.Wait()
	require.ErrorIs(t, err, boom)
	require.ErrorContains(t, err, "mapper")
}

func TestWhatWasBuiltIsClosedWhenBuildingFails(t *testing.T) {
	log := &events{}
	boom := errors.New("boom")
	bad := app.Module{Name: "scheduler", UsesBus: true, New: func(_ context.Context, env *app.Env) (app.Service, error) {
		require.NotNil(t, env.Bus)
		return nil, boom
	}}
	_, err := app.Start(t.Context(), app.Options{
		Modules: []app.Module{module(&service{name: "mapper", log: log}), bad}, Settings: app.Settings{Data: t.TempDir(), GRPC: "none", HTTP: "none"},
	})
	require.ErrorIs(t, err, boom)
	require.Equal(t, "new:mapper close:mapper", log.all())
}

func TestTheEndOfTheContextStopsTheProcess(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	p, err := app.Start(ctx, app.Options{
		Modules: []app.Module{module(&service{name: "mapper", log: &events{}})}, Settings: app.Settings{Data: t.TempDir(), GRPC: "none", HTTP: "none"},
	})
	require.NoError(t, err)
	require.Empty(t, p.Addr())
	cancel()
	require.NoError(t, p.Wait())
}

func TestTheBusIsOpenedForThoseWhoUseIt(t *testing.T) {
	var b *bus.Bus
	m := module(&service{name: "mapper", log: &events{}})
	m.UsesBus = true
	inner := m.New
	m.New = func(ctx context.Context, env *app.Env) (app.Service, error) {
		b = env.Bus
		return inner(ctx, env)
	}
	p := start(t, app.Options{Modules: []app.Module{m}})
	require.NotNil(t, b)
	require.NoError(t, b.Ready())
	_, body := get(t, "http://"+p.HTTPAddr()+"/metrics")
	require.Contains(t, body, `millrace_bus_max_bytes{stream="ROWS"}`)
	require.NoError(t, p.Stop(t.Context()))
	require.Error(t, b.Ready())
}

func TestAnAddressInUseIsToldWithTheSetting(t *testing.T) {
	p := start(t, app.Options{Modules: []app.Module{module(&service{name: "mapper", log: &events{}})}})
	_, err := app.Start(t.Context(), app.Options{
		Modules: []app.Module{module(&service{name: "mapper", log: &events{}})}, Settings: app.Settings{GRPC: p.Addr(), HTTP: "none", Data: t.TempDir()},
	})
	require.ErrorContains(t, err, "grpc")
	require.Equal(t, fault.ReasonInUse, fault.ReasonOf(err))
}

type moduleSettings struct {
	Workers int `default:"2" help:"Workers."`
}

func TestRunLoadsSettingsAndTellsMistakesApart(t *testing.T) {
	run := func(args ...string) (string, error) {
		var out bytes.Buffer
		m := module(&service{name: "mapper", log: &events{}})
		m.Settings = &moduleSettings{}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		err := app.Run(ctx, app.Command{
			Name: "mapper", Modules: []app.Module{m}, Args: append(args, "--data", t.TempDir(), "--http", "none"), Stdout: &out, Stderr: t.Output(),
			Defaults: app.Settings{Reflection: true, GRPC: "127.0.0.1:0"},
			Started:  func(p *app.Process) { out.WriteString(p.Addr()); cancel() },
		})
		return out.String(), err
	}
	out, err := run("--print-settings", "--mapper-workers", "3")
	require.NoError(t, err)
	require.Regexp(t, `(?m)^mapper-workers: +3 +# flag$`, out)
	require.Regexp(t, `(?m)^reflection: +true +# default$`, out)
	require.Regexp(t, `(?m)^grpc: +127.0.0.1:0 +# default$`, out)

	_, err = run("--nope")
	var usage *settings.UsageError
	require.ErrorAs(t, err, &usage)
	require.Equal(t, 2, app.ExitCode(err))
	require.Equal(t, 1, app.ExitCode(errors.New("x")))

	out, err = run("--no-reflection")
	require.NoError(t, err)
	require.Contains(t, out, "127.0.0.1:")
	require.Equal(t, 0, app.ExitCode(err))
}

func TestCallsHaveADeadlineOfTheirOwn(t *testing.T) {
	left := make(chan time.Duration, 1)
	m := &service{name: "mapper", log: &events{}, validate: func(ctx context.Context) error {
		d, _ := ctx.Deadline()
		left <- time.Until(d)
		return nil
	}}
	p := start(t, app.Options{Modules: []app.Module{module(m)}})
	conn, err := p.Dial("mapper")
	require.NoError(t, err)
	_, _ = mapperv1.NewMapperServiceClient(conn).ValidateMapping(t.Context(), &mapperv1.ValidateMappingRequest{})
	require.LessOrEqual(t, <-left, rpc.CallTimeout)
}
