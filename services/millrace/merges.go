package millrace

import (
	"context"
	"fmt"
	"io"
	"strings"

	ingestionv1 "millrace.dev/gen/millrace/ingestion/v1"
)

type profilesMergesCmd struct {
	profileArg
	limitFlag
}

func (c *profilesMergesCmd) Run(ctx context.Context, s *session) error {
	identity, mpid, err := c.parse()
	if err != nil {
		return err
	}
	ic, err := s.ingestion()
	if err != nil {
		return err
	}
	l := list[*ingestionv1.Merge]{"merges", []column[*ingestionv1.Merge]{
		{"MERGE", (*ingestionv1.Merge).GetId},
		{"WHAT", explained},
		{"SYNC", (*ingestionv1.Merge).GetSync},
		{"ROW", func(m *ingestionv1.Merge) string { return strings.Join(m.GetKeyValues(), ", ") }},
		{"TIME", func(m *ingestionv1.Merge) string { return instant(m.GetCreateTime()) }},
		{"UNDONE", func(m *ingestionv1.Merge) string { return instant(m.GetUndoTime()) }},
	}}
	return show(ctx, s, l, c.limitFlag, func(ctx context.Context, size int32, token string) ([]*ingestionv1.Merge, string, error) {
		r, err := ic.ListMerges(ctx, &ingestionv1.ListMergesRequest{
			Workspace: s.flags.Workspace, Environment: c.environment(), Identity: identity, Mpid: mpid, PageSize: size, PageToken: token,
		})
		return r.GetMerges(), r.GetNextPageToken(), err
	})
}

// explained says in words what an entry of the log is.
func explained(m *ingestionv1.Merge) string {
	others := strings.Join(m.GetOthers(), ", ")
	if m.GetErased() {
		return fmt.Sprintf("%s: %s and %s, by %s; somebody in it was erased, and its values with them", m.GetKind(), m.GetMpid(), others, m.GetRule())
	}
	switch m.GetKind() {
	case "merged":
		moved := make([]string, len(m.GetMoved()))
		for i, x := range m.GetMoved() {
			moved[i] = pair(x)
		}
		return fmt.Sprintf("%s was merged into %s by strategy %s: %s glues them; moved %s",
			others, m.GetMpid(), m.GetRule(), pair(m.GetGlue()), strings.Join(moved, ", "))
	case "stopped":
		by := m.GetRule()
		if m.GetLimit() != "" {
			by += " (" + m.GetLimit() + ")"
		}
		return fmt.Sprintf("%s were not merged by rule %s: %s was left out, the row went to %s", others, by, pair(m.GetGlue()), m.GetMpid())
	}
	return fmt.Sprintf("%s goes on from %s by strategy %s: %s links them", m.GetMpid(), others, m.GetRule(), pair(m.GetGlue()))
}

type profilesUnmergeCmd struct {
	envFlag
	Merge string `arg:"" help:"The merge's id, as profiles merges shows it."`
}

func (c *profilesUnmergeCmd) Run(ctx context.Context, s *session) error {
	ic, err := s.ingestion()
	if err != nil {
		return err
	}
	r, err := ic.UndoMerge(ctx, &ingestionv1.UndoMergeRequest{Workspace: s.flags.Workspace, Environment: c.environment(), Merge: c.Merge})
	if err != nil {
		return err //nolint:wrapcheck // classified by the service
	}
	return s.answer(r.GetMerge(), func(w io.Writer) error {
		m := r.GetMerge()
		_, err := fmt.Fprintf(w, "%s is on its own again; %s does not merge it with %s any more\n", strings.Join(m.GetOthers(), ", "), pair(m.GetGlue()), m.GetMpid())
		return err //nolint:wrapcheck // the session's own writer
	})
}
