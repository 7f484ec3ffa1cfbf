package e2e_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"

	configv1 "millrace.dev/gen/millrace/config/v1"
	ingestionv1 "millrace.dev/gen/millrace/ingestion/v1"
	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
	"millrace.dev/pkg/app"
	"millrace.dev/pkg/bus"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/testenv"
	"millrace.dev/services/config"
	"millrace.dev/services/extractor"
	"millrace.dev/services/ingestion"
	"millrace.dev/services/mapper"
	"millrace.dev/services/scheduler"
)

// poisoned is a Millrace of one process over a NATS server that the test reaches too, with what a test puts between its
// services.
type poisoned struct {
	mesh
	bus *bus.Bus
}

// between is what stands before every call that a module makes.
type between func(method string, request any)

// calls puts b before the calls of a connection.
type calls struct {
	grpc.ClientConnInterface
	before between
}

func (c calls) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	c.before(method, args)
	return c.ClientConnInterface.Invoke(ctx, method, args, reply, opts...) //nolint:wrapcheck // the connection's own
}

// before answers m with b before its calls.
func before(m app.Module, b between) app.Module {
	build := m.New
	m.New = func(ctx context.Context, env *app.Env) (app.Service, error) {
		own := *env
		own.Dial = func(name string) (grpc.ClientConnInterface, error) {
			c, err := env.Dial(name)
			return calls{c, b}, err
		}
		return build(ctx, &own)
	}
	return m
}

// startPoisoned starts the mesh. A part that failed is tried again soon.
func startPoisoned(t *testing.T, mappers mapper.Settings, readers, mapping between) poisoned {
	t.Helper()
	url := testenv.NATSServer(t).URL
	planner, turner := scheduler.Module(), mapper.Module()
	planner.New = func(ctx context.Context, env *app.Env) (app.Service, error) {
		return scheduler.New(ctx, env, scheduler.Settings{RetryBackoff: 50 * time.Millisecond})
	}
	turner.New = func(_ context.Context, env *app.Env) (app.Service, error) { return mapper.New(env, mappers) }
	p, err := app.Start(t.Context(), app.Options{
		Modules:       []app.Module{config.Module(), planner, before(extractor.Module(), readers), before(turner, mapping), ingestion.Module()},
		Settings:      app.Settings{Data: t.TempDir(), GRPC: "127.0.0.1:0", HTTP: "none", NATS: url},
		FilesAnywhere: true,
		LogTo:         t.Output(),
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Stop(context.WithoutCancel(t.Context()))) })
	b, err := bus.Open(t.Context(), bus.Settings{URL: url})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	conn := dial(t, p.Addr())
	return poisoned{clients(conn, conn, conn).in("shop"), b}
}

// mapperSettings are the usual ones.
func mapperSettings() mapper.Settings {
	return mapper.Settings{Workers: 2, Window: 8, MaxBatch: 256 << 20, Programs: 256, MaxColumns: 1000, MaxPreviewRows: 1000}
}

func nothing(string, any) {}

// requireHealthy runs another sync and finds that it succeeds: the stream moves on and every service lives.
func (p poisoned) requireHealthy(t *testing.T) {
	t.Helper()
	const n = 500
	p.apply(t, "", newWarehouse(t, n).documents("healthy", asIs))
	require.EqualValues(t, n, p.run(t, "healthy").GetCounts().GetRead())
}

// failed waits for the end of a run and finds that it failed over a batch that it names.
func (p poisoned) failed(t *testing.T, run, why string) {
	t.Helper()
	r := p.end(t, run)
	require.Equal(t, schedulerv1.RunState_RUN_STATE_FAILED, r.GetState())
	require.Equal(t, "batch_quarantined", r.GetError().GetReason())
	require.Contains(t, r.GetError().GetMessage(), "batch "+run+"/1/", "it names the batch")
	require.Contains(t, r.GetError().GetMessage(), why)
	parts, err := p.scheduler.ListParts(t.Context(), &schedulerv1.ListPartsRequest{Workspace: p.workspace, Run: run})
	require.NoError(t, err)
	for _, x := range parts.GetParts() {
		require.LessOrEqual(t, x.GetTries(), int32(5))
		if x.GetPart() == 1 {
			require.EqualValues(t, 5, x.GetTries(), "five tries, each under an epoch of its own")
			require.EqualValues(t, 5, x.GetEpoch())
		}
	}
}

// given answers what went to QUARANTINE, message by message.
type given chan bus.Delivery

func (g given) Handle(_ context.Context, d bus.Delivery) error {
	g <- d
	return nil
}

func (given) Quarantined(context.Context, bus.Delivery, error) error { return nil }

// quarantined answers the next n messages in QUARANTINE.
func (p poisoned) quarantined(t *testing.T, n int) []bus.Delivery {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	g := make(given, n+8)
	var wg sync.WaitGroup
	wg.Go(func() { _ = p.bus.Consume(ctx, bus.Quarantine, "test", bus.ConsumeOptions{Workers: 1, Hard: ctx}, g) })
	defer wg.Wait()
	defer stop()
	out := make([]bus.Delivery, 0, n)
	for len(out) < n {
		select {
		case d := <-g:
			out = append(out, d)
		case <-time.After(patience):
			require.Fail(t, "messages are missing in quarantine", "%d of %d", len(out), n)
		}
	}
	return out
}

// TestF41APoisonRowIsAReject: a row that cannot be mapped is data, and the rest of its batch goes on.
func TestF41APoisonRowIsAReject(t *testing.T) {
	t.Parallel()
	p := startPoisoned(t, mapperSettings(), nothing, nothing)
	w := newBadWarehouse(t)
	p.apply(t, "", asFirst(w))
	r := p.end(t, p.trigger(t, "customers"))
	requireState(t, r, schedulerv1.RunState_RUN_STATE_PARTIALLY_SUCCEEDED)
	list, err := p.ingestion.ListRejects(t.Context(), &ingestionv1.ListRejectsRequest{Workspace: p.workspace, Run: r.GetId()})
	require.NoError(t, err)
	require.Len(t, list.GetRejects(), 90)
	for _, x := range list.GetRejects() {
		require.NotEmpty(t, x.GetReason())
		require.NotEmpty(t, x.GetRule())
	}
	p.requireHealthy(t)
}

// TestF41APoisonBatchIsReadAgain: other bytes stand in the broker under the name of a batch. They go to quarantine, and the
// part is read again under the next epoch.
func TestF41APoisonBatchIsReadAgain(t *testing.T) {
	t.Parallel()
	planned, publish := make(chan string), make(chan struct{})
	var held sync.Map
	hold := func(_ string, request any) { // until the poison stands where the batch will be
		r, ok := request.(*schedulerv1.ReportPlanRequest)
		if !ok {
			return
		}
		if _, before := held.LoadOrStore(r.GetRun(), true); !before {
			planned <- r.GetRun()
			<-publish
		}
	}
	p := startPoisoned(t, mapperSettings(), hold, nothing)
	const n = 500
	p.apply(t, "", newWarehouse(t, n).documents("customers", asIs))
	run := func(s bus.Stream) string {
		t.Helper()
		started := p.trigger(t, "customers", full)
		require.Equal(t, started, <-planned)
		name, err := id.ParseRun(started)
		require.NoError(t, err)
		to := p.bus.Publisher(s, 1)
		b := id.Batch{Run: name, Part: 1, Epoch: 1}
		require.NoError(t, to.Publish(t.Context(), bus.Message{ID: b.String(), Body: []byte("poison")}, nil))
		require.NoError(t, to.Flush(t.Context()))
		publish <- struct{}{}
		return started
	}
	for _, s := range []bus.Stream{bus.Rows, bus.Records} {
		started := run(s)
		r := p.end(t, started)
		requireState(t, r, schedulerv1.RunState_RUN_STATE_SUCCEEDED)
		require.EqualValues(t, n, r.GetCounts().GetRead())
		parts, err := p.scheduler.ListParts(t.Context(), &schedulerv1.ListPartsRequest{Workspace: p.workspace, Run: started})
		require.NoError(t, err)
		require.EqualValues(t, 2, parts.GetParts()[len(parts.GetParts())-1].GetEpoch(), "read again under the next epoch")
	}
	for i, d := range p.quarantined(t, 2) {
		require.Equal(t, "poison", string(d.Body))
		require.Equal(t, []string{string(bus.Rows), string(bus.Records)}[i], d.Header[bus.HeaderStream])
		require.Equal(t, "batch_quarantined", d.Header[bus.HeaderReason])
		require.Equal(t, "5", d.Header[bus.HeaderAttempts])
	}

	go func() { // the next run is not held
		<-planned
		publish <- struct{}{}
	}()
	p.requireHealthy(t)
}

// TestF41AMapperThatPanicsLives: the handler of a batch panics each time. The process lives, the run fails and names the
// batch, and other runs succeed meanwhile.
func TestF41AMapperThatPanicsLives(t *testing.T) {
	t.Parallel()
	panicking := func(_ string, request any) {
		if r, ok := request.(*configv1.GetSyncSnapshotRequest); ok && r.GetWorkspace() == "panic" {
			panic("a defect of the mapper")
		}
	}
	p := startPoisoned(t, mapperSettings(), nothing, panicking)
	sick := poisoned{p.in("panic"), p.bus}
	sick.apply(t, "", newWarehouse(t, 500).documents("customers", asIs))
	run := sick.trigger(t, "customers")
	p.requireHealthy(t)
	sick.failed(t, run, "was given up")
	p.requireHealthy(t)
	for _, d := range p.quarantined(t, 5) {
		require.Equal(t, "internal", d.Header[bus.HeaderReason])
	}
}

// TestF41ABatchAboveTheBoundOfMemoryFailsItsRunAlone: decoded, a batch is larger than the mapper may hold.
func TestF41ABatchAboveTheBoundOfMemoryFailsItsRunAlone(t *testing.T) {
	t.Parallel()
	small := mapperSettings()
	small.MaxBatch = 1 << 20
	p := startPoisoned(t, small, nothing, nothing)
	w := newWarehouse(t, 3_000)
	w.exec(t, `UPDATE customers SET first_name = repeat('x', 2000)`) // a few kilobytes in the broker
	p.apply(t, "", w.documents("customers", asIs))
	run := p.trigger(t, "customers")
	p.requireHealthy(t)
	p.failed(t, run, "no readable Arrow data")
}
