package ingestion

import (
	"context"
	"fmt"

	"google.golang.org/grpc"

	configv1 "millrace.dev/gen/millrace/config/v1"
	ingestionv1 "millrace.dev/gen/millrace/ingestion/v1"
	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/profile"
	"millrace.dev/pkg/record/recordpb"
	"millrace.dev/pkg/store"
)

// server answers for what is stored.
type server struct {
	ingestionv1.UnimplementedIngestionServiceServer
	*Service
}

// Register adds the gRPC server.
func (s *Service) Register(r grpc.ServiceRegistrar) {
	ingestionv1.RegisterIngestionServiceServer(r, &server{Service: s})
}

// Fence raises the fence of a part and answers what of it is applied.
func (s *server) Fence(ctx context.Context, r *ingestionv1.FenceRequest) (*ingestionv1.FenceResponse, error) {
	run, err := runOf(r.GetRun())
	if err != nil {
		return nil, err
	}
	applied, err := s.store.Fence(ctx, id.Part{Run: run, Part: r.GetPart()}, r.GetEpoch())
	if err != nil {
		return nil, fmt.Errorf("fence part %d of run %s: %w", r.GetPart(), run, err)
	}
	out := &ingestionv1.FenceResponse{Applied: make([]*schedulerv1.IngestResult, len(applied))}
	for i, a := range applied {
		out.Applied[i] = recordpb.ToResult(a)
	}
	return out, nil
}

// GetStoreDigest answers the digest of what is stored of one workspace, or of all.
func (s *server) GetStoreDigest(ctx context.Context, r *ingestionv1.GetStoreDigestRequest) (*ingestionv1.GetStoreDigestResponse, error) {
	sum, n, err := store.Digest(ctx, s.store, id.Workspace(r.GetWorkspace()))
	if err != nil {
		return nil, fmt.Errorf("sum the store up: %w", err)
	}
	return &ingestionv1.GetStoreDigestResponse{
		Digest: sum.String(), Profiles: n.Profiles, Identities: n.Identities, Events: n.Events,
	}, nil
}

// ListEvents answers the events that a sync, or one run of it, brought in.
func (s *server) ListEvents(ctx context.Context, r *ingestionv1.ListEventsRequest) (*ingestionv1.ListEventsResponse, error) {
	if r.GetSync() == "" {
		return nil, missing("sync", "name the sync by its id")
	}
	scope := scopeOf(r)
	from, until := ofTime(r.GetFrom()), ofTime(r.GetUntil())
	page, err := newPage(r, string(scope.Workspace), string(scope.Environment), r.GetSync(), r.GetRun(), from.String(), until.String())
	if err != nil {
		return nil, err
	}
	f := store.EventFilter{From: from, Until: until}
	if f.Sync, err = s.peers.syncUID(ctx, scope.Workspace, r.GetSync()); err != nil {
		return nil, err
	}
	if r.GetRun() != "" {
		run, err := runOf(r.GetRun())
		if err != nil {
			return nil, err
		}
		if f.RunNo, err = s.peers.runNo(ctx, scope.Workspace, run); err != nil {
			return nil, err
		}
	}
	events, next, err := s.store.SyncEvents(ctx, scope, f, page.After, page.Size)
	if err != nil {
		return nil, fmt.Errorf("list the events of sync %s: %w", r.GetSync(), err)
	}
	out := &ingestionv1.ListEventsResponse{NextPageToken: page.Next(next)}
	if out.Events, err = toEvents(events); err != nil {
		return nil, err
	}
	return out, s.enrich(ctx, scope, out.Events)
}

// workspaced is a request for data of one data set of a workspace.
type workspaced interface {
	GetWorkspace() string
	GetEnvironment() configv1.Environment
}

func scopeOf(r workspaced) profile.Scope {
	return profile.Scope{Workspace: id.Workspace(r.GetWorkspace()).Or(), Environment: ofEnvironment(r.GetEnvironment())}
}

func runOf(text string) (id.Run, error) {
	if text == "" {
		return id.Run{}, missing("run", "name the run by its id")
	}
	run, err := id.ParseRun(text)
	if err != nil {
		return id.Run{}, fault.Of(fault.ReasonInvalidArgument, []fault.Violation{{Field: "run", Message: err.Error(), Fix: "use the id that runs list shows"}})
	}
	return run, nil
}

func missing(field, fix string) error {
	return fault.Of(fault.ReasonInvalidArgument, []fault.Violation{{Field: field, Message: "is missing", Fix: fix}})
}
