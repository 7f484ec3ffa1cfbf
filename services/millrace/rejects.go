package millrace

import (
	"context"
	"io"
	"strings"

	"google.golang.org/protobuf/proto"

	ingestionv1 "millrace.dev/gen/millrace/ingestion/v1"
	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
)

type rejectsCmd struct {
	List   rejectsListCmd   `cmd:"" help:"Count a run's rejects by reason and list them: key values, column, stage, rule and reason."`
	Export rejectsExportCmd `cmd:"" help:"Write a run's rejects with their rows."`
	Replay rejectsReplayCmd `cmd:"" help:"Start a run that takes a run's rejected rows through the mapping as it is now."`
}

type rejectsListCmd struct {
	runArg
	limitFlag
}

// Run shows how many rejects there are of each reason, then the rejects.
func (c *rejectsListCmd) Run(ctx context.Context, s *session) error {
	ic, err := s.ingestion()
	if err != nil {
		return err
	}
	limit, err := c.of(s)
	if err != nil {
		return err
	}
	page := func(ctx context.Context, size int32, token string) (*ingestionv1.ListRejectsResponse, error) {
		return ic.ListRejects(ctx, &ingestionv1.ListRejectsRequest{Workspace: s.flags.Workspace, Run: c.RunID, PageSize: size, PageToken: token})
	}
	first, err := page(ctx, firstPage(limit), "")
	if err != nil {
		return err //nolint:wrapcheck // classified by the service
	}
	l := list[*ingestionv1.Reject]{"rejects", []column[*ingestionv1.Reject]{
		{"KEY", func(r *ingestionv1.Reject) string { return strings.Join(r.GetKeyValues(), ", ") }},
		{"STAGE", (*ingestionv1.Reject).GetStage},
		{"COLUMN", (*ingestionv1.Reject).GetColumn},
		{"RULE", (*ingestionv1.Reject).GetRule},
		{"REASON", (*ingestionv1.Reject).GetReason},
		{"BATCH", (*ingestionv1.Reject).GetBatch},
	}}
	return l.writeBehind(s, byReason(first.GetByReason()), pages(ctx, s, limit, func(ctx context.Context, size int32, token string) ([]*ingestionv1.Reject, string, error) {
		if token == "" {
			return first.GetRejects(), first.GetNextPageToken(), nil
		}
		r, err := page(ctx, size, token)
		return r.GetRejects(), r.GetNextPageToken(), err
	}))
}

// byReason puts how many rejects there are of each reason before their list.
func byReason(counts []*ingestionv1.RejectCount) *preface {
	p := &preface{plural: "by_reason"}
	for _, c := range counts {
		p.items = append(p.items, proto.Message(c))
	}
	p.table = func(w io.Writer) error {
		t := newTable(w, "REJECTS", "STAGE", "COLUMN", "RULE", "REASON")
		for _, c := range counts {
			t.row(number(c.GetRejects()), c.GetStage(), c.GetColumn(), c.GetRule(), c.GetReason())
		}
		if err := t.flush(); err != nil {
			return err
		}
		_, err := io.WriteString(w, "\n")
		return written(err)
	}
	return p
}

type rejectsReplayCmd struct {
	runArg
	Wait bool `help:"Follow the new run to its end."`
}

func (c *rejectsReplayCmd) Run(ctx context.Context, s *session) error {
	ic, err := s.ingestion()
	if err != nil {
		return err
	}
	replay := func(ctx context.Context, _ schedulerv1.SchedulerServiceClient) (*schedulerv1.Run, error) {
		r, err := ic.ReplayRejects(ctx, &ingestionv1.ReplayRejectsRequest{Workspace: s.flags.Workspace, Run: c.RunID})
		return r.GetRun(), err //nolint:wrapcheck // classified by the service
	}
	if c.Wait {
		return startAndFollow(ctx, s, replay)
	}
	return answerRun(ctx, s, replay)
}
