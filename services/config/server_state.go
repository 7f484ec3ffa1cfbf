package config

import (
	"context"

	"google.golang.org/protobuf/types/known/timestamppb"

	configv1 "millrace.dev/gen/millrace/config/v1"
	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/resource/resourcepb"
	"millrace.dev/pkg/rpc"
)

// named is a request that names a resource.
type named interface {
	GetWorkspace() string
	GetId() string
}

// turn changes a sync's state or status, as `to` says, after the checks that c asks for.
func (s *server) turn(ctx context.Context, r named, c checks, to func(s *resource.Sync) error) (*configv1.Sync, []string, error) {
	w, err := workspaceOf(r)
	if err != nil {
		return nil, nil, err
	}
	var made *resource.Sync
	warnings, err := s.must(ctx, change{workspace: w, actor: actorOf(ctx), checks: c, plan: func(ctx context.Context, v *view) ([]fault.Violation, error) {
		old, err := v.must(ctx, key{resource.KindSync, r.GetId()})
		if err != nil {
			return nil, err
		}
		made, _ = clone(old).(*resource.Sync)
		if err := to(made); err != nil {
			return nil, err
		}
		return nil, v.putState(ctx, made)
	}})
	if err != nil {
		return nil, nil, err
	}
	return syncKind().out(made), warnings, nil
}

// ActivateSync checks a sync against its warehouse and makes it active and healthy. All faults are answered at once.
func (s *server) ActivateSync(ctx context.Context, r *configv1.ActivateSyncRequest) (*configv1.ActivateSyncResponse, error) {
	m, warnings, err := s.turn(ctx, r, checkAll, func(s *resource.Sync) error {
		s.State = resource.Active
		s.Status, s.Reason, s.NextStep = resource.Healthy, "", ""
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &configv1.ActivateSyncResponse{Sync: m, Warnings: warnings}, nil
}

// PauseSync ends an active sync's schedule; an open run goes on.
func (s *server) PauseSync(ctx context.Context, r *configv1.PauseSyncRequest) (*configv1.PauseSyncResponse, error) {
	m, _, err := s.turn(ctx, r, checkNone, func(s *resource.Sync) error {
		if s.State == resource.Draft {
			return isDraft(s)
		}
		s.State = resource.Paused
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &configv1.PauseSyncResponse{Sync: m}, nil
}

// ResumeSync makes a paused sync active again, and healthy where it was faulted.
func (s *server) ResumeSync(ctx context.Context, r *configv1.ResumeSyncRequest) (*configv1.ResumeSyncResponse, error) {
	m, _, err := s.turn(ctx, r, checkNone, func(s *resource.Sync) error {
		if s.State == resource.Draft {
			return isDraft(s)
		}
		s.State = resource.Active
		if s.Status == resource.Faulted {
			s.Status, s.Reason, s.NextStep = resource.Healthy, "", ""
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &configv1.ResumeSyncResponse{Sync: m}, nil
}

func isDraft(s *resource.Sync) error {
	return fault.New(fault.Precondition, fault.ReasonRunState, "sync %s is a draft; activate it first", s.ID)
}

// GetSyncSnapshot answers everything that a run of a sync needs, secrets sealed.
func (s *server) GetSyncSnapshot(ctx context.Context, r *configv1.GetSyncSnapshotRequest) (*configv1.GetSyncSnapshotResponse, error) {
	if _, err := workspaceOf(r); err != nil {
		return nil, err
	}
	snap, err := s.snapshotOf(ctx, id.Workspace(r.GetWorkspace()), r.GetSync(), r.GetVersion())
	if err != nil {
		return nil, err
	}
	return &configv1.GetSyncSnapshotResponse{Snapshot: resourcepb.ToSnapshot(snap)}, nil
}

// ListSchedules answers the syncs of all workspaces, drafts and paused ones included.
func (s *server) ListSchedules(ctx context.Context, r *configv1.ListSchedulesRequest) (*configv1.ListSchedulesResponse, error) {
	page, err := rpc.NewPage(r.GetPageSize(), r.GetPageToken(), "schedules")
	if err != nil {
		return nil, err //nolint:wrapcheck // classified by rpc
	}
	rows, err := s.schedules(ctx, page.After, page.Size+1)
	if err != nil {
		return nil, err
	}
	out := &configv1.ListSchedulesResponse{}
	if len(rows) > page.Size {
		rows = rows[:page.Size]
		out.NextPageToken = page.Next(rows[page.Size-1].sync.UID)
	}
	for _, row := range rows {
		out.Syncs = append(out.Syncs, toScheduled(row))
	}
	return out, nil
}

func toScheduled(row scheduled) *configv1.ScheduledSync {
	s := row.sync
	out := &configv1.ScheduledSync{
		Workspace: string(s.Workspace), Id: s.ID, Uid: s.UID, Version: s.Version, Mode: resourcepb.ToMode(s.Mode),
		Schedule: resourcepb.ToSchedule(s.Schedule), State: resourcepb.ToState(s.State), Status: resourcepb.ToStatus(s.Status), TriggerLimit: s.TriggerLimit,
		Connection: row.connection, Freshness: resource.FormatDuration(s.Freshness),
	}
	if !row.activeSince.IsZero() {
		out.ActiveSince = timestamppb.New(row.activeSince)
	}
	return out
}

const maxStatusText = 4096

// SetSyncStatus writes what the scheduler sees of a sync.
func (s *server) SetSyncStatus(ctx context.Context, r *configv1.SetSyncStatusRequest) (*configv1.SetSyncStatusResponse, error) {
	w, err := workspaceOf(r)
	if err != nil {
		return nil, err
	}
	status := resourcepb.OfStatus(r.GetStatus())
	switch status {
	case resource.Healthy, resource.Faulted, resource.Held, resource.ResyncRequired:
	default:
		return nil, invalid("status", "use healthy, faulted, held or resync_required", "is missing or unknown")
	}
	if len(r.GetReason()) > maxStatusText || len(r.GetNextStep()) > maxStatusText {
		return nil, invalid("reason", "shorten reason and next_step to 4096 bytes", "is too long")
	}
	if err := s.setStatus(ctx, w, r.GetId(), status, r.GetReason(), r.GetNextStep()); err != nil {
		return nil, err
	}
	return &configv1.SetSyncStatusResponse{}, nil
}
