package browser_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	configv1 "millrace.dev/gen/millrace/config/v1"
	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
	tracev1 "millrace.dev/gen/millrace/trace/v1"
	"millrace.dev/pkg/app"
	"millrace.dev/services/config"
	"millrace.dev/services/extractor"
	"millrace.dev/services/gateway"
	"millrace.dev/services/ingestion"
	"millrace.dev/services/mapper"
	"millrace.dev/services/millrace/sample"
	"millrace.dev/services/scheduler"
	"millrace.dev/services/trace"
)

// The rows of the demo's warehouse.
const customers, orders = 6_000, 3_000

// console is a running Millrace with a console, and the warehouse of the demo beside it, as seen from one workspace.
type console struct {
	base      string // http://127.0.0.1:PORT
	workspace string
	shop      string // the folder of the demo's warehouse and documents
	config    configv1.ConfigServiceClient
	scheduler schedulerv1.SchedulerServiceClient
	traces    tracev1.TraceServiceClient
}

// start starts every service in this process, as `millrace up` does, but with batches of so many rows: small ones let a run
// take as long as one who looks at it.
func start(t *testing.T, batchRows int) console {
	t.Helper()
	scheduling, extracting := scheduler.Module(), extractor.Module()
	scheduling.Settings, extracting.Settings = nil, nil
	scheduling.New = func(ctx context.Context, env *app.Env) (app.Service, error) {
		return scheduler.New(ctx, env, scheduler.Settings{Tick: 100 * time.Millisecond, RetryBackoff: 200 * time.Millisecond})
	}
	extracting.New = func(ctx context.Context, env *app.Env) (app.Service, error) {
		return extractor.New(ctx, env, extractor.Settings{Slots: 1, BatchRows: batchRows, PartRows: 20 * int64(batchRows)})
	}
	shop := filepath.Join(t.TempDir(), "shop")
	_, err := sample.Write(t.Context(), shop, sample.Options{Customers: customers, Orders: orders, Seed: 1})
	require.NoError(t, err)
	p, err := app.Start(context.WithoutCancel(t.Context()), app.Options{
		Modules: []app.Module{
			config.Module(), scheduling, extracting, mapper.Module(), ingestion.Module(), trace.Module(), gateway.Module(),
		},
		Settings:      app.Settings{Data: t.TempDir(), GRPC: "127.0.0.1:0", HTTP: "127.0.0.1:0", LogLevel: "warn"},
		FilesAnywhere: true,
		LogTo:         t.Output(),
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Stop(context.WithoutCancel(t.Context()))) })
	conn, err := grpc.NewClient(p.Addr(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	return console{
		base: "http://" + p.HTTPAddr(), shop: shop,
		config: configv1.NewConfigServiceClient(conn), scheduler: schedulerv1.NewSchedulerServiceClient(conn), traces: tracev1.NewTraceServiceClient(conn),
	}
}

// in answers the console as seen from a workspace.
func (c console) in(workspace string) console {
	c.workspace = workspace
	return c
}

// path answers the path of a page of the workspace.
func (c console) path(rest string) string { return "/w/" + c.workspace + rest }

// applyShop applies the demo's documents.
func (c console) applyShop(t *testing.T) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(c.shop, "*.yaml"))
	require.NoError(t, err)
	require.Len(t, files, 3)
	var documents []*configv1.Document
	for _, f := range files {
		text, err := os.ReadFile(f)
		require.NoError(t, err)
		documents = append(documents, &configv1.Document{File: filepath.Base(f), Content: string(text), BaseDir: c.shop})
	}
	c.applyAll(t, documents...)
}

// apply applies a document whose paths are the shop's.
func (c console) apply(t *testing.T, text string) {
	t.Helper()
	c.applyAll(t, &configv1.Document{File: "test.yaml", Content: text, BaseDir: c.shop})
}

func (c console) applyAll(t *testing.T, documents ...*configv1.Document) {
	t.Helper()
	res, err := c.config.Apply(t.Context(), &configv1.ApplyRequest{Workspace: c.workspace, Documents: documents})
	require.NoError(t, err)
	require.True(t, res.GetApplied())
}

// run runs a sync to its end and answers the run; full reads everything anew.
func (c console) run(t *testing.T, sync string) *schedulerv1.Run {
	t.Helper()
	return c.trigger(t, &schedulerv1.TriggerRunRequest{Sync: sync})
}

func (c console) full(t *testing.T, sync string) *schedulerv1.Run {
	t.Helper()
	return c.trigger(t, &schedulerv1.TriggerRunRequest{Sync: sync, Full: true})
}

func (c console) trigger(t *testing.T, r *schedulerv1.TriggerRunRequest) *schedulerv1.Run {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r.Workspace, r.Reason = c.workspace, schedulerv1.RunReason_RUN_REASON_MANUAL
	res, err := c.scheduler.TriggerRun(ctx, r)
	require.NoError(t, err)
	stream, err := c.scheduler.WatchRun(ctx, &schedulerv1.WatchRunRequest{Workspace: c.workspace, Id: res.GetRun().GetId()})
	require.NoError(t, err)
	for {
		m, err := stream.Recv()
		require.NoError(t, err)
		if m.GetRun().GetEndTime() != nil {
			return m.GetRun()
		}
	}
}

// traced waits until the traces of all batches of a run are complete, and answers one. The trace service tells of no change.
func (c console) traced(t *testing.T, run string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		batches, err := c.scheduler.ListBatches(ctx, &schedulerv1.ListBatchesRequest{Workspace: c.workspace, Run: run, PageSize: 1000})
		require.NoError(t, err)
		found, err := c.traces.ListTraces(ctx, &tracev1.ListTracesRequest{Workspace: c.workspace, Filter: "kind=batch AND run=" + run, PageSize: 1000})
		require.NoError(t, err)
		open := slices.ContainsFunc(found.GetTraces(), func(x *tracev1.Trace) bool { return !x.GetComplete() })
		if len(found.GetTraces()) == len(batches.GetBatches()) && !open {
			return found.GetTraces()[0].GetTraceId()
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			require.Fail(t, "the traces of run "+run+" do not come")
		}
	}
}
