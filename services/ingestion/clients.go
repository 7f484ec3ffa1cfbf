package ingestion

import (
	"context"

	"google.golang.org/grpc"

	configv1 "millrace.dev/gen/millrace/config/v1"
	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/profile"
	"millrace.dev/pkg/record"
	"millrace.dev/pkg/record/recordpb"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/resource/resourcepb"
)

// peers are the services that ingestion calls. Safe for concurrent use.
type peers struct {
	config    configv1.ConfigServiceClient
	account   schedulerv1.AccountServiceClient
	scheduler schedulerv1.SchedulerServiceClient
	snapshots *cache[snapshotKey, resource.Snapshot]

	declarations declarations
	tables       *cache[id.Run, profile.Table] // of runs that fill lookup tables
	swept        *cache[id.Run, bool]          // runs that have swept their table
}

// snapshotKey names a snapshot for ever; its content never changes.
type snapshotKey struct {
	sync    id.Sync
	version int64
}

func newPeers(dial func(string) (grpc.ClientConnInterface, error), snapshots int) (*peers, error) {
	config, err := dial("config")
	if err != nil {
		return nil, err
	}
	scheduler, err := dial("scheduler")
	if err != nil {
		return nil, err
	}
	return &peers{
		config:    configv1.NewConfigServiceClient(config),
		account:   schedulerv1.NewAccountServiceClient(scheduler),
		scheduler: schedulerv1.NewSchedulerServiceClient(scheduler),
		snapshots: newCache[snapshotKey, resource.Snapshot](snapshots),
		tables:    newCache[id.Run, profile.Table](snapshots),
		swept:     newCache[id.Run, bool](snapshots),
	}, nil
}

// snapshot answers the sync as it was at the version that a batch was made by.
func (p *peers) snapshot(ctx context.Context, o record.Origin) (resource.Snapshot, error) {
	key := snapshotKey{o.Sync, o.SyncVersion}
	if s, ok := p.snapshots.get(key); ok {
		return s, nil
	}
	resp, err := p.config.GetSyncSnapshot(ctx, &configv1.GetSyncSnapshotRequest{
		Workspace: string(o.Workspace.Or()), Sync: o.Sync.String(), Version: o.SyncVersion,
	})
	if err != nil {
		return resource.Snapshot{}, fault.FromStatus(err) //nolint:wrapcheck // classified by the service
	}
	s := resourcepb.OfSnapshot(resp.GetSnapshot())
	p.snapshots.put(key, s)
	return s, nil
}

// syncUID answers the uid of a sync by its id.
func (p *peers) syncUID(ctx context.Context, w id.Workspace, sync string) (id.Sync, error) {
	resp, err := p.config.GetSync(ctx, &configv1.GetSyncRequest{Workspace: string(w), Id: sync})
	if err != nil {
		return id.Sync{}, fault.FromStatus(err) //nolint:wrapcheck // classified by the service
	}
	uid, err := id.ParseSync(resp.GetSync().GetMeta().GetUid())
	if err != nil {
		return id.Sync{}, fault.New(fault.Internal, fault.ReasonInternal, "sync %s: %w", sync, err)
	}
	return uid, nil
}

// run answers a run.
func (p *peers) run(ctx context.Context, w id.Workspace, run id.Run) (*schedulerv1.Run, error) {
	resp, err := p.scheduler.GetRun(ctx, &schedulerv1.GetRunRequest{Workspace: string(w), Id: run.String()})
	if err != nil {
		return nil, fault.FromStatus(err) //nolint:wrapcheck // classified by the service
	}
	return resp.GetRun(), nil
}

// runNo answers the ordinal of a run.
func (p *peers) runNo(ctx context.Context, w id.Workspace, run id.Run) (int64, error) {
	r, err := p.run(ctx, w, run)
	return r.GetRunNo(), err
}

// current answers a sync as it is.
func (p *peers) current(ctx context.Context, w id.Workspace, sync string) (resource.Snapshot, error) {
	resp, err := p.config.GetSyncSnapshot(ctx, &configv1.GetSyncSnapshotRequest{Workspace: string(w), Sync: sync})
	if err != nil {
		return resource.Snapshot{}, fault.FromStatus(err) //nolint:wrapcheck // classified by the service
	}
	return resourcepb.OfSnapshot(resp.GetSnapshot()), nil
}

// lastRunNo answers the ordinal of the newest run of a sync, 0 where there is none.
func (p *peers) lastRunNo(ctx context.Context, w id.Workspace, sync string) (int64, error) {
	resp, err := p.scheduler.ListRuns(ctx, &schedulerv1.ListRunsRequest{Workspace: string(w), Sync: sync, PageSize: newestRuns})
	if err != nil {
		return 0, fault.FromStatus(err) //nolint:wrapcheck // classified by the service
	}
	last := int64(0)
	for _, r := range resp.GetRuns() {
		last = max(last, r.GetRunNo())
	}
	return last, nil
}

// newestRuns is how many runs are looked at for the newest one; clocks may have put it behind others.
const newestRuns = 50

// atRest refuses a sync with an open run.
func (p *peers) atRest(ctx context.Context, w id.Workspace, sync string) error {
	for _, state := range []string{"queued", "planning", "running", "held"} {
		resp, err := p.scheduler.ListRuns(ctx, &schedulerv1.ListRunsRequest{Workspace: string(w), Sync: sync, Filter: "state=" + state, PageSize: 1})
		if err != nil {
			return fault.FromStatus(err) //nolint:wrapcheck // classified by the service
		}
		for _, r := range resp.GetRuns() {
			return fault.New(fault.Precondition, fault.ReasonRunOpen,
				"run %s of sync %s is open; wait for its end, or cancel it, and delete then", r.GetId(), sync).With("run", r.GetId())
		}
	}
	return nil
}

// forgetBase makes the next run of a mirror read everything: what the platform has is about to be something else.
func (p *peers) forgetBase(ctx context.Context, sync id.Sync) error {
	_, err := p.account.ForgetBase(ctx, &schedulerv1.ForgetBaseRequest{SyncUid: sync.String()})
	return fault.FromStatus(err) //nolint:wrapcheck // classified by the service
}

// replay starts the run that replays the rejects of another, or answers the one that does already.
func (p *peers) replay(ctx context.Context, w id.Workspace, sync string, run id.Run) (*schedulerv1.Run, error) {
	resp, err := p.scheduler.TriggerRun(ctx, &schedulerv1.TriggerRunRequest{
		Workspace: string(w), Sync: sync, Reason: schedulerv1.RunReason_RUN_REASON_REPLAY, ReplayOf: run.String(),
	})
	if err != nil {
		return nil, fault.FromStatus(err) //nolint:wrapcheck // classified by the service
	}
	return resp.GetRun(), nil
}

// report tells the account what a fragment became. A run that has moved on does not want to know, which is fine.
func (p *peers) report(ctx context.Context, r profile.Result, said remarks) error {
	result := recordpb.ToResult(r)
	for _, x := range said.Samples {
		result.Samples = append(result.Samples, &schedulerv1.EffectSample{Effect: x.Effect, KeyValues: x.KeyValues})
	}
	for _, x := range said.Reasons {
		result.RejectReasons = append(result.RejectReasons, &schedulerv1.RejectReason{
			Stage: x.Stage, Column: x.Column, Rule: x.Rule, Reason: x.Reason, Rejects: x.Rejects,
		})
	}
	_, err := p.account.ReportIngested(ctx, &schedulerv1.ReportIngestedRequest{Result: result})
	return unlessFenced(err)
}

// quarantined tells the account that a batch was given up.
func (p *peers) quarantined(ctx context.Context, b id.Batch, cause error) error {
	f := fault.As(cause)
	message := f.Message
	if f.Class == fault.Internal && f.Reason == fault.ReasonInternal {
		message = "ingestion failed on the batch; the service's log has the cause"
	}
	_, err := p.account.ReportQuarantined(ctx, &schedulerv1.ReportQuarantinedRequest{
		Batch: recordpb.ToBatch(b), Error: &schedulerv1.RunError{Reason: f.Reason.Word(), Message: message},
	})
	return unlessFenced(err)
}

func unlessFenced(err error) error {
	if err = fault.FromStatus(err); err != nil && fault.ReasonOf(err) == fault.ReasonFenced {
		return nil
	}
	return err
}
