package e2e_test

import (
	"cmp"
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	configv1 "millrace.dev/gen/millrace/config/v1"
	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
	"millrace.dev/pkg/app"
	"millrace.dev/services/config"
	"millrace.dev/services/extractor"
	"millrace.dev/services/ingestion"
	"millrace.dev/services/mapper"
	"millrace.dev/services/scheduler"
	"millrace.dev/services/trace"
)

// databases are where a mesh keeps what it knows; empty: embedded.
type databases struct {
	sql, store, quota string
	states            string        // where mirrors by diff over DuckDB keep their snapshots
	lease             time.Duration // of a part; 0: 5 s
}

// startOne starts every service in this process, with small batches and parts and short waits, so that faults have
// something to meet.
func startOne(t *testing.T, d databases) mesh {
	t.Helper()
	scheduling, extracting := scheduler.Module(), extractor.Module()
	scheduling.Settings, extracting.Settings = nil, nil
	scheduling.New = func(ctx context.Context, env *app.Env) (app.Service, error) {
		return scheduler.New(ctx, env, scheduler.Settings{
			Tick: 100 * time.Millisecond, Lease: cmp.Or(d.lease, 5*time.Second), LossWindow: 3 * time.Second, RetryBackoff: 200 * time.Millisecond,
			BreakerAfter: 3, BreakerCoolOff: time.Second, BreakerMost: 2 * time.Second,
		})
	}
	extracting.New = func(ctx context.Context, env *app.Env) (app.Service, error) {
		return extractor.New(ctx, env, extractor.Settings{Slots: 1, BatchRows: 100, PartRows: 2000, DuckDBState: d.states})
	}
	p, err := app.Start(t.Context(), app.Options{
		Modules:       []app.Module{config.Module(), scheduling, extracting, mapper.Module(), ingestion.Module(), trace.Module()},
		Settings:      app.Settings{Data: t.TempDir(), GRPC: "127.0.0.1:0", HTTP: "none", SQL: d.sql, Store: d.store, Quota: d.quota, LogLevel: "warn"},
		FilesAnywhere: true,
		LogTo:         t.Output(),
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Stop(t.Context())) })
	conn := dial(t, p.Addr())
	return clients(conn, conn, conn).traced(conn)
}

// allParts answers the parts of a run, the planning first.
func (m mesh) allParts(t *testing.T, id string) []*schedulerv1.Part {
	t.Helper()
	res, err := m.scheduler.ListParts(t.Context(), &schedulerv1.ListPartsRequest{Workspace: m.workspace, Run: id, PageSize: 100})
	require.NoError(t, err)
	return res.GetParts()
}

// part waits until a part of a run is so.
func (m mesh) part(t *testing.T, id string, so func(*schedulerv1.Part) bool) *schedulerv1.Part {
	t.Helper()
	var found *schedulerv1.Part
	eventually(t, "a part is so", func() bool {
		for _, p := range m.allParts(t, id) {
			if so(p) {
				found = p
				return true
			}
		}
		return false
	})
	return found
}

// sync answers a sync as config has it.
func (m mesh) sync(t *testing.T, id string) *configv1.Sync {
	t.Helper()
	res, err := m.config.GetSync(t.Context(), &configv1.GetSyncRequest{Workspace: m.workspace, Id: id})
	require.NoError(t, err)
	return res.GetSync()
}

// halfway waits until a run has brought in rows, and says that it has not ended.
func (m mesh) halfway(t *testing.T, id string, rows int64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	m.until(ctx, t, id, func(r *schedulerv1.Run) bool {
		require.False(t, over(r), "the run ended before anything could happen to it: %v", r.GetError())
		return r.GetIngestedRows() >= rows
	})
}

// eventually asks for something that gives no event until the answer is yes.
func eventually(t *testing.T, what string, yes func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for !yes() {
		require.NoError(t, ctx.Err(), "it never happened: %s", what)
		pause(ctx, 20*time.Millisecond)
	}
}
