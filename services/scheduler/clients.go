package scheduler

import (
	"context"
	"fmt"

	"google.golang.org/grpc"

	configv1 "millrace.dev/gen/millrace/config/v1"
	ingestionv1 "millrace.dev/gen/millrace/ingestion/v1"
	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/profile"
	"millrace.dev/pkg/record/recordpb"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/resource/resourcepb"
)

const schedulePage = 1000

// peers are the services that the scheduler calls. Safe for concurrent use.
type peers struct {
	config    configv1.ConfigServiceClient
	ingestion ingestionv1.IngestionServiceClient
}

func newPeers(dial func(string) (grpc.ClientConnInterface, error)) (*peers, error) {
	config, err := dial("config")
	if err != nil {
		return nil, err
	}
	ingestion, err := dial("ingestion")
	if err != nil {
		return nil, err
	}
	return &peers{config: configv1.NewConfigServiceClient(config), ingestion: ingestionv1.NewIngestionServiceClient(ingestion)}, nil
}

// snapshot answers a sync, by id or uid, as it is now.
func (p *peers) snapshot(ctx context.Context, w id.Workspace, sync string) (resource.Snapshot, error) {
	return p.snapshotAt(ctx, w, sync, 0)
}

// snapshotAt answers a sync as it was at a version; 0: as it is now.
func (p *peers) snapshotAt(ctx context.Context, w id.Workspace, sync string, version int64) (resource.Snapshot, error) {
	resp, err := p.config.GetSyncSnapshot(ctx, &configv1.GetSyncSnapshotRequest{Workspace: string(w), Sync: sync, Version: version})
	if err != nil {
		return resource.Snapshot{}, fault.FromStatus(err)
	}
	return resourcepb.OfSnapshot(resp.GetSnapshot()), nil
}

// schedules answers what config says of the syncs of all workspaces.
func (p *peers) schedules(ctx context.Context) ([]scheduledSync, error) {
	var (
		out   []scheduledSync
		token string
	)
	for {
		resp, err := p.config.ListSchedules(ctx, &configv1.ListSchedulesRequest{PageSize: schedulePage, PageToken: token})
		if err != nil {
			return nil, fault.FromStatus(err)
		}
		for _, y := range resp.GetSyncs() {
			out = append(out, ofScheduled(y))
		}
		if token = resp.GetNextPageToken(); token == "" {
			return out, nil
		}
	}
}

// alerts answers the alerts of all workspaces, or of one where it is named. Secrets are sealed.
func (p *peers) alerts(ctx context.Context, w id.Workspace) (map[id.Workspace][]resource.Alert, error) {
	var token string
	out := map[id.Workspace][]resource.Alert{}
	for {
		resp, err := p.config.ListSealedAlerts(ctx, &configv1.ListSealedAlertsRequest{PageSize: schedulePage, PageToken: token, Workspace: string(w)})
		if err != nil {
			return nil, fault.FromStatus(err)
		}
		for _, m := range resp.GetAlerts() {
			a := resourcepb.OfAlert(m)
			out[a.Workspace.Or()] = append(out[a.Workspace.Or()], a)
		}
		if token = resp.GetNextPageToken(); token == "" {
			return out, nil
		}
	}
}

// firstReject answers the most frequent reason of a run's rejects, with its column; empty where there is none.
func (p *peers) firstReject(ctx context.Context, w id.Workspace, runID string) (string, error) {
	resp, err := p.ingestion.ListRejects(ctx, &ingestionv1.ListRejectsRequest{Workspace: string(w), Run: runID, PageSize: 1})
	if err != nil || len(resp.GetByReason()) == 0 {
		return "", fault.FromStatus(err)
	}
	top := resp.GetByReason()[0]
	if top.GetColumn() == "" {
		return top.GetReason(), nil
	}
	return fmt.Sprintf("%s %s", top.GetColumn(), top.GetReason()), nil
}

// setStatus tells config how a sync is.
func (p *peers) setStatus(ctx context.Context, st statusRow) error {
	_, err := p.config.SetSyncStatus(ctx, &configv1.SetSyncStatusRequest{
		Workspace: string(st.Workspace), Id: st.SyncID, Status: resourcepb.ToStatus(resource.SyncStatus(st.Status)),
		Reason: st.Reason, NextStep: st.NextStep,
	})
	return fault.FromStatus(err)
}

// fence lets batches of a part below epoch have no effect from now on, and answers the fragments of it that had one.
func (p *peers) fence(ctx context.Context, name id.Part, epoch uint32) ([]profile.Result, error) {
	resp, err := p.ingestion.Fence(ctx, &ingestionv1.FenceRequest{Run: name.Run.String(), Part: name.Part, Epoch: epoch})
	if err != nil {
		return nil, fault.FromStatus(err)
	}
	out := make([]profile.Result, 0, len(resp.GetApplied()))
	for _, a := range resp.GetApplied() {
		r, err := recordpb.OfResult(a)
		if err != nil {
			return nil, fault.New(fault.Internal, fault.ReasonInternal, "ingestion answered a fence with a result that cannot be read: %w", err)
		}
		out = append(out, r)
	}
	return out, nil
}
