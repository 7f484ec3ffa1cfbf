package e2e_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"

	configv1 "millrace.dev/gen/millrace/config/v1"
	ingestionv1 "millrace.dev/gen/millrace/ingestion/v1"
	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
	tracev1 "millrace.dev/gen/millrace/trace/v1"
)

// patience bounds how long a scenario waits for one thing to happen.
const patience = 2 * time.Minute

// mesh is a running Millrace, in whatever shape.
type mesh struct {
	workspace string
	config    configv1.ConfigServiceClient
	scheduler schedulerv1.SchedulerServiceClient
	ingestion ingestionv1.IngestionServiceClient
	traces    tracev1.TraceServiceClient // nil where the mesh has no trace service
}

// clients answers a mesh over connections to its services.
func clients(config, scheduler, ingestion grpc.ClientConnInterface) mesh {
	return mesh{
		config:    configv1.NewConfigServiceClient(config),
		scheduler: schedulerv1.NewSchedulerServiceClient(scheduler),
		ingestion: ingestionv1.NewIngestionServiceClient(ingestion),
	}
}

// traced answers the mesh with its trace service.
func (m mesh) traced(conn grpc.ClientConnInterface) mesh {
	m.traces = tracev1.NewTraceServiceClient(conn)
	return m
}

// in answers the mesh as seen from a workspace. Each scenario has its own.
func (m mesh) in(workspace string) mesh {
	m.workspace = workspace
	return m
}

// apply applies documents; relative paths in them are relative to dir.
func (m mesh) apply(t *testing.T, dir, documents string) {
	t.Helper()
	_, err := m.config.Apply(t.Context(), &configv1.ApplyRequest{
		Workspace: m.workspace,
		Documents: []*configv1.Document{{File: t.Name() + ".yaml", Content: documents, BaseDir: dir}},
	})
	require.NoError(t, err)
}

// how changes a trigger.
type how func(*schedulerv1.TriggerRunRequest)

func full(r *schedulerv1.TriggerRunRequest) { r.Full = true }

// trigger starts a run and answers its id.
func (m mesh) trigger(t *testing.T, sync string, hows ...how) string {
	t.Helper()
	req := &schedulerv1.TriggerRunRequest{Workspace: m.workspace, Sync: sync, Reason: schedulerv1.RunReason_RUN_REASON_MANUAL}
	for _, h := range hows {
		h(req)
	}
	res, err := m.scheduler.TriggerRun(t.Context(), req)
	require.NoError(t, err)
	return res.GetRun().GetId()
}

// run starts a run, waits for its end and answers it. It must have succeeded with a balanced certificate.
func (m mesh) run(t *testing.T, sync string, hows ...how) *schedulerv1.Run {
	t.Helper()
	r := m.end(t, m.trigger(t, sync, hows...))
	requireState(t, r, schedulerv1.RunState_RUN_STATE_SUCCEEDED)
	return r
}

// end waits for the end of a run, whatever connection breaks meanwhile.
func (m mesh) end(t *testing.T, id string) *schedulerv1.Run {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	return m.until(ctx, t, id, over)
}

// over says whether a run has ended.
func over(r *schedulerv1.Run) bool {
	switch r.GetState() {
	case schedulerv1.RunState_RUN_STATE_QUEUED, schedulerv1.RunState_RUN_STATE_PLANNING, schedulerv1.RunState_RUN_STATE_RUNNING:
		return false
	default:
		return true
	}
}

// until watches a run until it is so. A broken stream is taken up again: processes die in these tests.
func (m mesh) until(ctx context.Context, t *testing.T, id string, so func(*schedulerv1.Run) bool) *schedulerv1.Run {
	t.Helper()
	var last *schedulerv1.Run
	for ctx.Err() == nil {
		stream, err := m.scheduler.WatchRun(ctx, &schedulerv1.WatchRunRequest{Workspace: m.workspace, Id: id}, grpc.WaitForReady(true))
		for err == nil {
			var res *schedulerv1.WatchRunResponse
			if res, err = stream.Recv(); err == nil {
				if last = res.GetRun(); so(last) {
					return last
				}
			}
		}
		pause(ctx, 100*time.Millisecond)
	}
	require.Fail(t, "the run did not get there in time", "last seen: %v", last)
	return nil
}

// pause waits between two looks at something that gives no event.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

func requireState(t *testing.T, r *schedulerv1.Run, want schedulerv1.RunState) {
	t.Helper()
	require.Equal(t, want, r.GetState(), "run %s: %s", r.GetId(), r.GetError().GetMessage())
	require.True(t, r.GetCertificate().GetBalanced(), "the certificate of run %s does not balance: %v", r.GetId(), r)
	require.Equal(t, r.GetCertificate().GetRowsDigest(), r.GetCertificate().GetAccountedDigest())
	c := r.GetCounts()
	require.Equal(t, c.GetRead(), c.GetFiltered()+c.GetRejected()+c.GetMapped())
	require.Equal(t, c.GetMapped()+c.GetAbsent(), c.GetCreated()+c.GetUpdated()+c.GetUnchanged()+c.GetDeleted()+c.GetProtected()+c.GetRefused())
}

// digest answers the store's digest and how many profiles and events it covers.
func (m mesh) digest(t *testing.T) *ingestionv1.GetStoreDigestResponse {
	t.Helper()
	res, err := m.ingestion.GetStoreDigest(t.Context(), digestRequest(m.workspace))
	require.NoError(t, err)
	return res
}

// profile answers the profile that an identity is bound to.
func (m mesh) profile(t *testing.T, typ string, value any) *ingestionv1.Profile {
	t.Helper()
	res, err := m.ingestion.GetProfile(t.Context(), &ingestionv1.GetProfileRequest{
		Workspace: m.workspace,
		Identity:  &ingestionv1.Identity{Type: typ, Value: fmt.Sprint(value)},
	})
	require.NoError(t, err)
	return res.GetProfile()
}

// events answers every event that a sync brought in.
func (m mesh) events(t *testing.T, sync string) []*ingestionv1.Event {
	t.Helper()
	var all []*ingestionv1.Event
	for token := ""; ; {
		res, err := m.ingestion.ListEvents(t.Context(), &ingestionv1.ListEventsRequest{Workspace: m.workspace, Sync: sync, PageSize: 1000, PageToken: token})
		require.NoError(t, err)
		all = append(all, res.GetEvents()...)
		if token = res.GetNextPageToken(); token == "" {
			return all
		}
	}
}

func digestRequest(workspace string) *ingestionv1.GetStoreDigestRequest {
	return &ingestionv1.GetStoreDigestRequest{Workspace: workspace}
}
