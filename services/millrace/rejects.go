package millrace

import (
	"context"
	"strings"

	ingestionv1 "millrace.dev/gen/millrace/ingestion/v1"
)

type rejectsCmd struct {
	List rejectsListCmd `cmd:"" help:"List a run's rejects: key values, column, stage, rule and reason."`
}

type rejectsListCmd struct {
	runArg
	limitFlag
}

func (c *rejectsListCmd) Run(ctx context.Context, s *session) error {
	ic, err := s.ingestion()
	if err != nil {
		return err
	}
	l := list[*ingestionv1.Reject]{"rejects", []column[*ingestionv1.Reject]{
		{"KEY", func(r *ingestionv1.Reject) string { return strings.Join(r.GetKeyValues(), ", ") }},
		{"STAGE", (*ingestionv1.Reject).GetStage},
		{"COLUMN", (*ingestionv1.Reject).GetColumn},
		{"RULE", (*ingestionv1.Reject).GetRule},
		{"REASON", (*ingestionv1.Reject).GetReason},
		{"BATCH", (*ingestionv1.Reject).GetBatch},
	}}
	return show(ctx, s, l, c.limitFlag, func(ctx context.Context, size int32, token string) ([]*ingestionv1.Reject, string, error) {
		r, err := ic.ListRejects(ctx, &ingestionv1.ListRejectsRequest{Workspace: s.flags.Workspace, Run: c.RunID, PageSize: size, PageToken: token})
		return r.GetRejects(), r.GetNextPageToken(), err
	})
}
