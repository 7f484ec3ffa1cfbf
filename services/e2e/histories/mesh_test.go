package histories_test

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"

	configv1 "millrace.dev/gen/millrace/config/v1"
	ingestionv1 "millrace.dev/gen/millrace/ingestion/v1"
	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
	"millrace.dev/pkg/app"
	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/profile"
	"millrace.dev/pkg/store"
	"millrace.dev/pkg/testenv"
	"millrace.dev/services/config"
	"millrace.dev/services/extractor"
	"millrace.dev/services/ingestion"
	"millrace.dev/services/mapper"
	"millrace.dev/services/scheduler"
)

// mesh is every service in this process, with a stage between them.
type mesh struct {
	stage     *stage
	metrics   *prometheus.Registry // of ingestion
	config    configv1.ConfigServiceClient
	scheduler schedulerv1.SchedulerServiceClient
	ingestion ingestionv1.IngestionServiceClient
}

// startMesh starts the mesh over a nats-server and a store. What it waits for comes soon: leases, loss and retries are
// matters of tenths of seconds.
func startMesh(t *testing.T, set app.Settings, level slog.Level) *mesh {
	t.Helper()
	m := &mesh{stage: newStage(), metrics: prometheus.NewRegistry()}
	set.NATS = testenv.NATSServer(t).URL
	set.Data, set.GRPC, set.HTTP = t.TempDir(), "none", "none"
	p, err := app.Start(t.Context(), app.Options{
		Modules: m.modules(), Settings: set, FilesAnywhere: true,
		Log: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: level})),
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Stop(context.Background())) })
	m.stage.broker, err = newBroker(t.Context(), set.NATS, m.stage)
	require.NoError(t, err)
	t.Cleanup(m.stage.broker.nc.Close)
	dial := func(service string) grpc.ClientConnInterface {
		c, err := p.Dial(service)
		require.NoError(t, err)
		return c
	}
	m.config = configv1.NewConfigServiceClient(dial("config"))
	m.scheduler = schedulerv1.NewSchedulerServiceClient(dial("scheduler"))
	m.ingestion = ingestionv1.NewIngestionServiceClient(dial("ingestion"))
	return m
}

// modules lists the services: their calls go over the stage, and so do the commits of the store.
func (m *mesh) modules() []app.Module {
	sched, extr := scheduler.Module(), extractor.Module()
	*sched.Settings.(*scheduler.Settings) = scheduler.Settings{
		Tick: 50 * time.Millisecond, Lease: 2 * time.Second, LossWindow: 400 * time.Millisecond, LossLimit: 2 * time.Second,
		RetryBackoff: 20 * time.Millisecond,
	}
	*extr.Settings.(*extractor.Settings) = extractor.Settings{
		Slots: 10, BatchRows: 100, PartRows: 500, HoldPoll: 200 * time.Millisecond, DuckDBThreads: 1,
	}
	ing := ingestion.ModuleOver(func(s store.Store) store.Store { return commits{s, m.stage} })
	all := []app.Module{config.Module(), sched, extr, mapper.Module(), ing}
	for i := range all {
		all[i].New = m.around(all[i])
	}
	return all
}

// around answers the New of a module such that its calls go over the stage and it can be cut off.
func (m *mesh) around(of app.Module) func(context.Context, *app.Env) (app.Service, error) {
	return func(ctx context.Context, env *app.Env) (app.Service, error) {
		dial := env.Dial
		env.Dial = func(service string) (grpc.ClientConnInterface, error) {
			c, err := dial(service)
			return conn{c, m.stage}, err
		}
		if of.Name == ingestion.Name {
			env.Metrics = m.metrics
		}
		s, err := of.New(ctx, env)
		if err != nil {
			return nil, err
		}
		r := &restartable{Service: s, cuts: make(chan struct{}, 1)}
		switch of.Name {
		case mapper.Name:
			m.stage.mapper = r
		case ingestion.Name:
			m.stage.ingestion = r
		case extractor.Name:
			m.stage.extractor = r
			r.anew = func() (app.Service, error) {
				again := *env
				again.Metrics = prometheus.NewRegistry()
				return of.New(context.WithoutCancel(ctx), &again)
			}
		}
		return r, nil
	}
}

// restartable is a service whose work can be cut off and begun anew.
type restartable struct {
	app.Service
	anew func() (app.Service, error) // nil: the service itself works again
	cuts chan struct{}
}

// cut cuts the work off, as a crash would.
func (r *restartable) cut() {
	select {
	case r.cuts <- struct{}{}:
	default: // one is on its way
	}
}

// Run works until soft ends, beginning anew after each cut.
func (r *restartable) Run(soft, hard context.Context) error {
	for work := r.Service; ; {
		cut, err := r.once(soft, hard, work)
		if err != nil || !cut {
			return err
		}
		if r.anew != nil {
			if work, err = r.anew(); err != nil {
				return err
			}
		}
	}
}

func (r *restartable) once(soft, hard context.Context, work app.Service) (cut bool, err error) {
	soft, endSoft := context.WithCancel(soft)
	hard, endHard := context.WithCancel(hard)
	var wg sync.WaitGroup
	wg.Go(func() {
		select {
		case <-r.cuts:
			cut = true
			endHard()
			endSoft()
		case <-soft.Done():
		}
	})
	err = work.Run(soft, hard)
	endSoft()
	wg.Wait()
	endHard()
	return cut, err
}

// commits is a store whose commits fail, before or after they are durable.
type commits struct {
	store.Store
	stage *stage
}

func (c commits) Commit(ctx context.Context, e profile.Effects) (store.Outcome, error) {
	p := c.stage.of(e.Result.Batch.Run.String())
	if p == nil {
		return c.Store.Commit(ctx, e)
	}
	f, fails := p.next(onCommit)
	if fails && f.kind == commitFails {
		p.made(f.kind)
		return store.Outcome{}, errStore()
	}
	out, err := c.Store.Commit(ctx, e)
	if fails {
		p.made(f.kind)
		return store.Outcome{}, errStore()
	}
	return out, err
}

func errStore() error {
	return fault.New(fault.Unavailable, fault.ReasonStoreUnavailable, "the store does not answer")
}
