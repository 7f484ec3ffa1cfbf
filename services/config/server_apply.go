package config

import (
	"context"

	configv1 "millrace.dev/gen/millrace/config/v1"
	"millrace.dev/pkg/resource/document"
)

// Apply plans documents against what is stored and, unless dry_run, applies the plan as one change.
func (s *server) Apply(ctx context.Context, r *configv1.ApplyRequest) (*configv1.ApplyResponse, error) {
	w, err := workspaceOf(r)
	if err != nil {
		return nil, err
	}
	a := application{workspace: w, actor: actorOf(ctx), dry: r.GetDryRun(), prune: r.GetPrune(), set: r.GetApplySet(), expected: r.GetExpectedEtags()}
	for _, d := range r.GetDocuments() {
		a.files = append(a.files, document.File{Name: d.GetFile(), Content: d.GetContent(), Secrets: d.GetSecrets(), BaseDir: d.GetBaseDir()})
	}
	done, err := s.apply(ctx, a)
	if err != nil {
		return nil, err
	}
	out := &configv1.ApplyResponse{Applied: done.written, Warnings: done.warnings}
	for _, l := range done.lines {
		out.Changes = append(out.Changes, &configv1.PlannedChange{
			Action: toAction(l.action), Kind: string(l.key.kind), Id: l.key.id, Fields: l.fields, Notes: l.notes, Etag: l.etag,
		})
	}
	return out, nil
}

func toAction(a action) configv1.Action {
	switch a {
	case create:
		return configv1.Action_ACTION_CREATE
	case update:
		return configv1.Action_ACTION_CHANGE
	case destroy:
		return configv1.Action_ACTION_DELETE
	default:
		return configv1.Action_ACTION_UNCHANGED
	}
}

// Export answers the documents that Apply would take to get what is stored.
func (s *server) Export(ctx context.Context, r *configv1.ExportRequest) (*configv1.ExportResponse, error) {
	w, err := workspaceOf(r)
	if err != nil {
		return nil, err
	}
	files, err := s.export(ctx, w)
	if err != nil {
		return nil, err
	}
	out := &configv1.ExportResponse{}
	for _, f := range files {
		out.Documents = append(out.Documents, &configv1.Document{File: f.Name, Content: f.Content})
	}
	return out, nil
}
