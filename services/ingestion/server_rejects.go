package ingestion

import (
	"context"
	"fmt"

	"google.golang.org/grpc"

	ingestionv1 "millrace.dev/gen/millrace/ingestion/v1"
	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/store"
)

// ListRejects answers the rejects of a run, in the order of batches and rows, and on the first page how many there are of
// each reason.
func (s *server) ListRejects(ctx context.Context, r *ingestionv1.ListRejectsRequest) (*ingestionv1.ListRejectsResponse, error) {
	workspace, run, err := ofRejects(r)
	if err != nil {
		return nil, err
	}
	page, err := newPage(r, string(workspace), run.String())
	if err != nil {
		return nil, err
	}
	rejects, next, err := s.store.Rejects(ctx, run, page.After, page.Size)
	if err != nil {
		return nil, fmt.Errorf("list the rejects of run %s: %w", run, err)
	}
	out := &ingestionv1.ListRejectsResponse{NextPageToken: page.Next(next)}
	for _, x := range rejects {
		if x.Origin.Workspace.Or() == workspace {
			out.Rejects = append(out.Rejects, toReject(x))
		}
	}
	if page.After != "" || len(out.GetRejects()) == 0 {
		return out, nil
	}
	counts, err := s.store.CountRejects(ctx, run, maxGroups)
	if err != nil {
		return nil, fmt.Errorf("count the rejects of run %s: %w", run, err)
	}
	for _, c := range counts {
		out.ByReason = append(out.ByReason, toRejectCount(c))
	}
	return out, nil
}

const (
	// exportRejects and exportBytes bound a message of an export; one row may be above.
	exportRejects = 500
	exportBytes   = 1 << 20
)

// ExportRejects sends the rejects of a run with their rows.
func (s *server) ExportRejects(r *ingestionv1.ExportRejectsRequest, stream grpc.ServerStreamingServer[ingestionv1.ExportRejectsResponse]) error {
	workspace, run, err := ofRejects(r)
	if err != nil {
		return err
	}
	var (
		ctx   = stream.Context()
		out   = &ingestionv1.ExportRejectsResponse{}
		size  int
		batch id.Batch
		kept  keptRows
	)
	send := func() error {
		full := out
		out, size = &ingestionv1.ExportRejectsResponse{}, 0
		return stream.Send(full)
	}
	err = s.eachReject(ctx, workspace, run, func(x store.StoredReject) (bool, error) {
		if x.Batch != batch {
			batch = x.Batch
			if kept, err = s.opened(ctx, batch); err != nil {
				return false, err
			}
		}
		row := kept.json(x.Reject)
		if len(out.GetRejects()) >= exportRejects || size > 0 && size+len(row) > exportBytes {
			if err := send(); err != nil {
				return false, err
			}
		}
		out.Rejects = append(out.Rejects, &ingestionv1.ExportedReject{Reject: toReject(x), Row: row})
		size += len(row)
		return true, nil
	})
	if err != nil || len(out.GetRejects()) == 0 {
		return err
	}
	return send()
}

// ReadRejectedRows sends the rows of a run's rejects as they were read.
func (s *server) ReadRejectedRows(r *ingestionv1.ReadRejectedRowsRequest, stream grpc.ServerStreamingServer[ingestionv1.ReadRejectedRowsResponse]) error {
	workspace, run, err := ofRejects(r)
	if err != nil {
		return err
	}
	return s.eachKept(stream.Context(), workspace, run, func(envelope []byte) (bool, error) {
		err := stream.Send(&ingestionv1.ReadRejectedRowsResponse{Rows: envelope})
		return err == nil, err
	})
}

// ReplayRejects starts the run that takes the rejected rows of another through the sync's mapping as it is now.
func (s *server) ReplayRejects(ctx context.Context, r *ingestionv1.ReplayRejectsRequest) (*ingestionv1.ReplayRejectsResponse, error) {
	workspace, run, err := ofRejects(r)
	if err != nil {
		return nil, err
	}
	old, err := s.peers.run(ctx, workspace, run)
	if err != nil {
		return nil, err
	}
	if old.GetEndTime() == nil {
		return nil, fault.New(fault.Precondition, fault.ReasonRunState,
			"run %s is still open; replay its rejects when it is over", run).With("run", run.String())
	}
	if err := s.replayable(ctx, workspace, run); err != nil {
		return nil, err
	}
	started, err := s.peers.replay(ctx, workspace, old.GetSync(), run)
	if err != nil {
		return nil, err
	}
	return &ingestionv1.ReplayRejectsResponse{Run: started}, nil
}

// replayable refuses a run of whose rejects no row is kept.
func (s *server) replayable(ctx context.Context, w id.Workspace, run id.Run) error {
	some, kept := false, false
	err := s.eachReject(ctx, w, run, func(store.StoredReject) (bool, error) { some = true; return false, nil })
	if err == nil && some {
		err = s.eachKept(ctx, w, run, func([]byte) (bool, error) { kept = true; return false, nil })
	}
	switch {
	case err != nil:
		return err
	case !some:
		return fault.New(fault.Precondition, fault.ReasonRunState,
			"run %s has no rejects, or they have expired; there is nothing to replay", run)
	case !kept:
		return fault.New(fault.Precondition, fault.ReasonRunState,
			"no row is kept of the rejects of run %s; read them from the warehouse again: millrace run SYNC --full", run)
	}
	return nil
}

// ofRun is a request about the rejects of a run.
type ofRun interface {
	GetWorkspace() string
	GetRun() string
}

func ofRejects(r ofRun) (id.Workspace, id.Run, error) {
	run, err := runOf(r.GetRun())
	return id.Workspace(r.GetWorkspace()).Or(), run, err
}
