package ingestion

import (
	"context"
	"fmt"
	"time"

	ingestionv1 "millrace.dev/gen/millrace/ingestion/v1"
	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/profile"
	"millrace.dev/pkg/store"
)

// ListMerges answers the log of merges of a profile and of all that is merged into it.
func (s *server) ListMerges(ctx context.Context, r *ingestionv1.ListMergesRequest) (*ingestionv1.ListMergesResponse, error) {
	scope := scopeOf(r)
	page, err := newPage(r, string(scope.Workspace), string(scope.Environment), r.GetIdentity().GetType(), r.GetIdentity().GetValue(), r.GetMpid())
	if err != nil {
		return nil, err
	}
	f, err := s.find(ctx, scope, r)
	if err != nil {
		return nil, err
	}
	merges, next, err := f.Merges(ctx, s.store, scope, page.After, page.Size)
	if err != nil {
		return nil, fmt.Errorf("list the merges of profile %s: %w", f.Profile, err)
	}
	out := &ingestionv1.ListMergesResponse{NextPageToken: page.Next(next)}
	for _, m := range merges {
		out.Merges = append(out.Merges, toMerge(m))
	}
	return out, nil
}

// UndoMerge takes a merge back, looking again while others change what it goes by.
func (s *server) UndoMerge(ctx context.Context, r *ingestionv1.UndoMergeRequest) (*ingestionv1.UndoMergeResponse, error) {
	if r.GetMerge() == "" {
		return nil, missing("merge", "name the merge by the id that profiles merges shows")
	}
	at, err := profile.ParseMergeID(r.GetMerge())
	if err != nil {
		return nil, fault.Of(fault.ReasonInvalidArgument, []fault.Violation{{Field: "merge", Message: err.Error()}})
	}
	scope := scopeOf(r)
	for range Tries {
		m, err := s.undo(ctx, scope, at)
		if err == nil {
			return &ingestionv1.UndoMergeResponse{Merge: toMerge(m)}, nil
		}
		if fault.ClassOf(err) != fault.Conflict {
			return nil, err
		}
	}
	return nil, fault.New(fault.Unavailable, fault.ReasonCommitConflict, "merge %s met commits %d times in a row; try again", at, Tries)
}

func (s *server) undo(ctx context.Context, scope profile.Scope, at profile.MergeID) (profile.Merge, error) {
	m, err := s.store.Merge(ctx, scope, at)
	switch {
	case err != nil:
		return m, fmt.Errorf("read merge %s: %w", at, err)
	case m.Kind == 0:
		return m, fault.New(fault.NotFound, fault.ReasonNotFound,
			"there is no merge %s in the %s data of workspace %s; profiles merges shows the ids", at, scope.Environment, scope.Workspace)
	case m.Kind != profile.Merged:
		return m, fault.New(fault.Precondition, fault.ReasonInvalidArgument, "entry %s of the log merged nothing; there is nothing to undo", at)
	case m.Erased:
		return m, fault.New(fault.Precondition, fault.ReasonInvalidArgument, "somebody in merge %s was erased; it can not be undone", at)
	case !m.Undone.IsZero():
		return m, nil
	}
	x, err := store.StandingOf(ctx, s.store, scope, m)
	if err != nil {
		return m, fmt.Errorf("look merge %s up: %w", at, err)
	}
	u := profile.Undo(scope, x, time.Now())
	if err := s.store.Undo(ctx, u); err != nil {
		return m, fmt.Errorf("undo merge %s: %w", at, err)
	}
	return u.Merges[0], nil
}

func toMerge(m profile.Merge) *ingestionv1.Merge {
	out := &ingestionv1.Merge{
		Id: m.ID.String(), Kind: mergeWord(m.Kind), Mpid: m.Profile.String(), Rule: m.Rule, Limit: m.Limit,
		Glue: toIdentity(m.Glue), Sync: m.SyncID, Run: m.Batch.Run.String(), Batch: m.Batch.String(), KeyValues: keyValues(m.KeyValues),
		CreateTime: toTime(m.Time), UndoTime: toTime(m.Undone), Erased: m.Erased,
	}
	for _, p := range m.Others {
		out.Others = append(out.Others, p.String())
	}
	for _, i := range m.Moved {
		out.Moved = append(out.Moved, toIdentity(i))
	}
	return out
}

func toIdentity(i profile.Identity) *ingestionv1.Identity {
	return &ingestionv1.Identity{Type: i.Type, Value: i.Value}
}

func mergeWord(k profile.MergeKind) string {
	switch k {
	case profile.Merged:
		return "merged"
	case profile.Stopped:
		return "stopped"
	case profile.Linked:
		return "linked"
	}
	return ""
}
