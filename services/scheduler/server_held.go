package scheduler

import (
	"context"

	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
	"millrace.dev/pkg/id"
)

func (s *server) ApproveRun(ctx context.Context, req *schedulerv1.ApproveRunRequest) (*schedulerv1.ApproveRunResponse, error) {
	runID, err := ofRunID("id", req.GetId())
	if err != nil {
		return nil, err
	}
	r, err := s.approve(ctx, id.Workspace(req.GetWorkspace()).Or(), runID)
	if err != nil {
		return nil, err
	}
	s.log.InfoContext(ctx, "held run approved", "run", r.ID.String(), "sync", r.SyncID)
	out, err := s.toRun(ctx, r)
	return &schedulerv1.ApproveRunResponse{Run: out}, err
}

func (s *server) DropRun(ctx context.Context, req *schedulerv1.DropRunRequest) (*schedulerv1.DropRunResponse, error) {
	runID, err := ofRunID("id", req.GetId())
	if err != nil {
		return nil, err
	}
	r, err := s.drop(ctx, id.Workspace(req.GetWorkspace()).Or(), runID)
	if err != nil {
		return nil, err
	}
	done, err := s.CancelRun(ctx, &schedulerv1.CancelRunRequest{Workspace: string(r.Workspace), Id: r.ID.String()})
	return &schedulerv1.DropRunResponse{Run: done.GetRun()}, err
}

func toHold(h *hold) *schedulerv1.Hold {
	if h == nil {
		return nil
	}
	out := &schedulerv1.Hold{
		Reason: h.Reason, Message: h.Message, Approve: h.Approve, Drop: h.Drop, CreateTime: toTime(h.Time), Columns: toChanges(h.Columns),
	}
	out.Samples = toSamples(h.Samples)
	return out
}

func toSamples(in []sample) (out []*schedulerv1.EffectSample) {
	for _, x := range in {
		out = append(out, &schedulerv1.EffectSample{Effect: x.Effect, KeyValues: x.KeyValues})
	}
	return out
}

func toReasons(in []rejectReason) (out []*schedulerv1.RejectReason) {
	for _, x := range in {
		out = append(out, &schedulerv1.RejectReason{Stage: x.Stage, Column: x.Column, Rule: x.Rule, Reason: x.Reason, Rejects: x.Rejects})
	}
	return out
}

func ofReasons(in []*schedulerv1.RejectReason) (out []rejectReason) {
	for _, x := range in {
		out = append(out, rejectReason{Stage: x.GetStage(), Column: x.GetColumn(), Rule: x.GetRule(), Reason: x.GetReason(), Rejects: x.GetRejects()})
	}
	return out
}

func toChanges(in []columnChange) []*schedulerv1.ColumnChange {
	out := make([]*schedulerv1.ColumnChange, 0, len(in))
	for _, c := range in {
		out = append(out, &schedulerv1.ColumnChange{Column: c.Column, Change: c.Change, Was: c.Was, Is: c.Is, Action: c.Action, Choices: c.Choices})
	}
	return out
}

func ofChanges(in []*schedulerv1.ColumnChange) []columnChange {
	out := make([]columnChange, 0, len(in))
	for _, c := range in {
		out = append(out, columnChange{Column: c.GetColumn(), Change: c.GetChange(), Was: c.GetWas(), Is: c.GetIs(), Action: c.GetAction(), Choices: c.GetChoices()})
	}
	return out
}

func ofSamples(in []*schedulerv1.EffectSample) []sample {
	out := make([]sample, 0, len(in))
	for _, x := range in {
		out = append(out, sample{Effect: x.GetEffect(), KeyValues: x.GetKeyValues()})
	}
	return out
}

func toAccepted(a acceptedSchema) *schedulerv1.AcceptedSchema {
	if len(a.Columns) == 0 {
		return nil
	}
	out := &schedulerv1.AcceptedSchema{ModelFingerprint: a.Model}
	for _, c := range a.Columns {
		out.Columns = append(out.Columns, &schedulerv1.PlanColumn{Name: c.Name, Type: c.Type, ArrowType: c.Arrow})
	}
	return out
}

func ofAccepted(p *schedulerv1.RunPlan) acceptedSchema {
	out := acceptedSchema{Model: p.GetModelFingerprint()}
	for _, c := range p.GetColumns() {
		out.Columns = append(out.Columns, planColumn{Name: c.GetName(), Type: c.GetType(), Arrow: c.GetArrowType()})
	}
	return out
}
