package ingestion

import (
	"context"
	"fmt"

	"google.golang.org/grpc"

	ingestionv1 "millrace.dev/gen/millrace/ingestion/v1"
	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/mapping"
	"millrace.dev/pkg/profile"
	"millrace.dev/pkg/record"
	"millrace.dev/pkg/store"
)

const (
	// importRows is how many rows of an import are deleted in one step.
	importRows = 2000
	// importTries bounds how often a step is decided again because what it met has changed.
	importTries = 10
)

// PreviewDeleteImport sends what DeleteImport would take away.
func (s *server) PreviewDeleteImport(r *ingestionv1.PreviewDeleteImportRequest, stream grpc.ServerStreamingServer[ingestionv1.PreviewDeleteImportResponse]) error {
	d, err := s.deletionOf(stream.Context(), r)
	if err != nil {
		return err
	}
	return d.each(stream.Context(), d.look, func(e *ingestionv1.ImportEffects) error {
		return stream.Send(&ingestionv1.PreviewDeleteImportResponse{Effects: e})
	})
}

// DeleteImport deletes what a sync, or one run of it, brought in.
func (s *server) DeleteImport(r *ingestionv1.DeleteImportRequest, stream grpc.ServerStreamingServer[ingestionv1.DeleteImportResponse]) error {
	ctx := stream.Context()
	d, err := s.deletionOf(ctx, r)
	if err != nil {
		return err
	}
	if err := s.peers.atRest(ctx, d.scope.Workspace, r.GetSync()); err != nil {
		return err
	}
	if err := s.peers.forgetBase(ctx, d.of.Sync); err != nil {
		return err
	}
	return d.each(ctx, d.take, func(e *ingestionv1.ImportEffects) error {
		return stream.Send(&ingestionv1.DeleteImportResponse{Effects: e})
	})
}

// ofImport is a request about what a sync, or a run of it, brought in.
type ofImport interface {
	GetWorkspace() string
	GetSync() string
	GetRun() string
}

// deletion is a DeleteImport under way, or its preview.
type deletion struct {
	*server
	scope profile.Scope
	kind  record.Kind
	of    profile.Import
	name  id.Run // of the batches that the store knows it by
	steps uint32
}

func (s *server) deletionOf(ctx context.Context, r ofImport) (*deletion, error) {
	w := id.Workspace(r.GetWorkspace()).Or()
	if r.GetSync() == "" {
		return nil, missing("sync", "name the sync")
	}
	snapshot, err := s.peers.current(ctx, w, r.GetSync())
	if err != nil {
		return nil, err
	}
	o := record.Origin{Workspace: w}
	if err := asNextRun(&o, snapshot); err != nil {
		return nil, err
	}
	d := &deletion{server: s, kind: mapping.KindOf(snapshot.DataModel.Kind), of: profile.Import{Sync: o.Sync}, name: id.NewRun()}
	if d.scope, _, err = s.termsOf(ctx, o, snapshot); err != nil {
		return nil, err
	}
	if r.GetRun() == "" {
		d.of.First = 1
		d.of.Last, err = s.peers.lastRunNo(ctx, w, r.GetSync())
		return d, err
	}
	run, err := runOf(r.GetRun())
	if err != nil {
		return nil, err
	}
	of, err := s.peers.run(ctx, w, run)
	if err != nil {
		return nil, err
	}
	if of.GetSync() != r.GetSync() {
		return nil, fault.Of(fault.ReasonInvalidArgument, []fault.Violation{{
			Field: "run", Message: fmt.Sprintf("run %s is of sync %s", run, of.GetSync()), Fix: "name that sync, or a run of " + r.GetSync(),
		}})
	}
	d.of.First, d.of.Last = of.GetRunNo(), of.GetRunNo()
	return d, nil
}

// each goes over the rows of the import step by step, and tells the totals after each and at the end.
func (d *deletion) each(ctx context.Context, step func(ctx context.Context, rows []id.Row) (profile.Removed, error), tell func(*ingestionv1.ImportEffects) error) error {
	var total profile.Removed
	for after := ""; ; {
		rows, next, err := d.store.Imported(ctx, d.of, after, importRows)
		if err != nil {
			return fmt.Errorf("list the rows of the import: %w", err)
		}
		if len(rows) > 0 {
			removed, err := step(ctx, rows)
			if err != nil {
				return err
			}
			total = total.Add(removed)
		}
		if err := tell(toImportEffects(total)); err != nil {
			return err //nolint:wrapcheck // the caller is gone
		}
		if after = next; after == "" {
			return nil
		}
	}
}

// look answers what deleting some rows would take away.
func (d *deletion) look(ctx context.Context, rows []id.Row) (profile.Removed, error) {
	_, out, err := d.decide(ctx, rows)
	return out, err
}

// take deletes some rows.
func (d *deletion) take(ctx context.Context, rows []id.Row) (profile.Removed, error) {
	d.steps++
	for try := 1; ; try++ {
		e, out, err := d.decide(ctx, rows)
		if err != nil {
			return profile.Removed{}, err
		}
		switch _, err = d.store.Commit(ctx, e); {
		case err == nil:
			return out, nil
		case fault.ReasonOf(err) != fault.ReasonCommitConflict || try == importTries:
			return profile.Removed{}, fmt.Errorf("delete rows of the import: %w", err)
		}
	}
}

func (d *deletion) decide(ctx context.Context, rows []id.Row) (profile.Effects, profile.Removed, error) {
	k := profile.KeysOfImport(d.scope, d.of, id.Batch{Run: d.name, Epoch: 1, Seq: d.steps}, rows)
	st, err := d.store.Look(ctx, k)
	if err != nil {
		return profile.Effects{}, profile.Removed{}, fmt.Errorf("look up rows of the import: %w", err)
	}
	if err := store.ConsultImport(ctx, d.store, d.of, k, &st); err != nil {
		return profile.Effects{}, profile.Removed{}, fmt.Errorf("look up events of people in the import: %w", err)
	}
	e, out := profile.Remove(d.of, d.kind, k, st)
	return e, out, nil
}

func toImportEffects(r profile.Removed) *ingestionv1.ImportEffects {
	return &ingestionv1.ImportEffects{
		Rows: r.Rows, Events: r.Events, Profiles: r.Profiles, ProfilesDeleted: r.ProfilesDeleted, ProfilesMerged: r.ProfilesMerged,
		Attributes: r.Attributes, AttributesBack: r.AttributesBack, Identities: r.Identities,
	}
}
