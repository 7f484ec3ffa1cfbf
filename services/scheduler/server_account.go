package scheduler

import (
	"context"

	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/killpoint"
	"millrace.dev/pkg/record/recordpb"
)

// account is the AccountService.
type account struct {
	schedulerv1.UnimplementedAccountServiceServer
	*Service
}

func (a *account) LeasePart(ctx context.Context, req *schedulerv1.LeasePartRequest) (*schedulerv1.LeasePartResponse, error) {
	if req.GetWorker() == "" {
		return nil, fault.Of(fault.ReasonInvalidArgument, []fault.Violation{{Field: "worker", Message: "is empty", Fix: "name the worker's process"}})
	}
	g, ok, err := a.lease(ctx, req.GetWorker(), req.GetWait().AsDuration())
	if err != nil || !ok {
		return &schedulerv1.LeasePartResponse{}, err
	}
	l, err := toLease(g)
	return &schedulerv1.LeasePartResponse{Lease: l}, err
}

func (a *account) HeartbeatPart(ctx context.Context, req *schedulerv1.HeartbeatPartRequest) (*schedulerv1.HeartbeatPartResponse, error) {
	runID, err := ofRunID("run", req.GetRun())
	if err != nil {
		return nil, err
	}
	cancel, err := a.heartbeat(ctx, id.Part{Run: runID, Part: req.GetPart()}, req.GetEpoch())
	return &schedulerv1.HeartbeatPartResponse{Cancel: cancel}, err
}

func (a *account) ReportPlan(ctx context.Context, req *schedulerv1.ReportPlanRequest) (*schedulerv1.ReportPlanResponse, error) {
	runID, err := ofRunID("run", req.GetRun())
	if err != nil {
		return nil, err
	}
	if req.GetPlan().GetHold() {
		return &schedulerv1.ReportPlanResponse{}, a.holdDrift(ctx, runID, req.GetEpoch(), ofChanges(req.GetPlan().GetDrift()))
	}
	pl, slices, err := ofPlan(req.GetPlan())
	if err != nil {
		return nil, err
	}
	return &schedulerv1.ReportPlanResponse{}, a.storePlan(ctx, runID, req.GetEpoch(), pl, slices)
}

func (a *account) ReportExtracted(ctx context.Context, req *schedulerv1.ReportExtractedRequest) (*schedulerv1.ReportExtractedResponse, error) {
	b, err := ofBatch(req.GetBatch())
	if err != nil {
		return nil, err
	}
	digest, err := recordpb.OfDigest(req.GetDigest())
	if err != nil {
		return nil, err
	}
	if req.GetRows() < 0 || req.GetBytes() < 0 {
		return nil, fault.Of(fault.ReasonInvalidArgument, []fault.Violation{{Field: "rows", Message: "is negative", Fix: "report what the batch has"}})
	}
	err = a.publish(ctx, published{
		Batch: b, Rows: req.GetRows(), Bytes: req.GetBytes(), Digest: digest, TraceID: req.GetTraceId(), Nulls: req.GetNulls(),
	})
	killpoint.Reach("scheduler.extracted.after")
	return &schedulerv1.ReportExtractedResponse{}, err
}

func (a *account) ReportIngested(ctx context.Context, req *schedulerv1.ReportIngestedRequest) (*schedulerv1.ReportIngestedResponse, error) {
	r, err := recordpb.OfResult(req.GetResult())
	if err != nil {
		return nil, err
	}
	err = a.ingest(ctx, r, ofSamples(req.GetResult().GetSamples()), ofReasons(req.GetResult().GetRejectReasons()))
	killpoint.Reach("scheduler.ingested.after")
	return &schedulerv1.ReportIngestedResponse{}, err
}

func (a *account) ReportQuarantined(ctx context.Context, req *schedulerv1.ReportQuarantinedRequest) (*schedulerv1.ReportQuarantinedResponse, error) {
	b, err := ofBatch(req.GetBatch())
	if err != nil {
		return nil, err
	}
	return &schedulerv1.ReportQuarantinedResponse{}, a.quarantine(ctx, b, ofIssue(req.GetError()))
}

func (a *account) CompletePart(ctx context.Context, req *schedulerv1.CompletePartRequest) (*schedulerv1.CompletePartResponse, error) {
	runID, err := ofRunID("run", req.GetRun())
	if err != nil {
		return nil, err
	}
	spending, err := ofCost("cost", req.GetCost())
	if err != nil {
		return nil, err
	}
	err = a.complete(ctx, completed{
		Part: id.Part{Run: runID, Part: req.GetPart()}, Epoch: req.GetEpoch(), Batches: req.GetBatches(), Rows: req.GetRows(),
		Issue: ofIssue(req.GetError()), Permanent: req.GetPermanent(), Released: req.GetReleased(), Replan: req.GetReplan(), Snapshot: req.GetSnapshot(),
		Failure: ofFailure(req.GetFailure()), After: req.GetRetryAfter().AsDuration(), Cost: spending,
	})
	killpoint.Reach("scheduler.complete.after")
	return &schedulerv1.CompletePartResponse{}, err
}

func (a *account) ReportCost(ctx context.Context, req *schedulerv1.ReportCostRequest) (*schedulerv1.ReportCostResponse, error) {
	runID, err := ofRunID("run", req.GetRun())
	if err != nil {
		return nil, err
	}
	c, err := ofCost("cost", req.GetCost())
	if err != nil {
		return nil, err
	}
	return &schedulerv1.ReportCostResponse{}, a.spentLate(ctx, id.Part{Run: runID, Part: req.GetPart()}, req.GetEpoch(), c)
}

func (a *account) ForgetBase(ctx context.Context, req *schedulerv1.ForgetBaseRequest) (*schedulerv1.ForgetBaseResponse, error) {
	return &schedulerv1.ForgetBaseResponse{}, a.forgetBase(ctx, req.GetSyncUid())
}

func (a *account) LeaseLeftover(ctx context.Context, req *schedulerv1.LeaseLeftoverRequest) (*schedulerv1.LeaseLeftoverResponse, error) {
	if req.GetWorker() == "" {
		return nil, fault.Of(fault.ReasonInvalidArgument, []fault.Violation{{Field: "worker", Message: "is empty", Fix: "name the worker's process"}})
	}
	l, ok, err := a.leaseLeftover(ctx)
	if err != nil || !ok {
		return &schedulerv1.LeaseLeftoverResponse{}, err
	}
	return &schedulerv1.LeaseLeftoverResponse{Leftover: &schedulerv1.Leftover{
		Workspace: string(l.Workspace), Sync: l.SyncID, SyncUid: l.SyncUID, SyncVersion: l.Version, LastRunNo: l.LastRunNo, Try: l.Tries,
	}}, nil
}

func (a *account) ReportLeftover(ctx context.Context, req *schedulerv1.ReportLeftoverRequest) (*schedulerv1.ReportLeftoverResponse, error) {
	return &schedulerv1.ReportLeftoverResponse{}, a.reportLeftover(ctx, req.GetSyncUid(), req.GetSyncVersion(), req.GetTry(), ofIssue(req.GetError()), req.GetByHand())
}

func ofBatch(b *schedulerv1.BatchRef) (id.Batch, error) {
	out, err := recordpb.OfBatch(b)
	return out, err
}
