package millrace

import (
	"context"
	"errors"
	"fmt"
	"io"

	ingestionv1 "millrace.dev/gen/millrace/ingestion/v1"
)

type importsCmd struct {
	Delete importsDeleteCmd `cmd:"" help:"Delete what a sync, or one run of it, brought in."`
}

type importsDeleteCmd struct {
	Sync   string `arg:"" help:"Id of the sync."`
	RunID  string `name:"run" placeholder:"RUN" help:"Only what this run brought in."`
	DryRun bool   `help:"Say what it would take away and change nothing."`
	Yes    bool   `help:"Do not ask." short:"y"`
}

// Run says what would go, asks, and deletes it.
func (c *importsDeleteCmd) Run(ctx context.Context, s *session) error {
	if !c.DryRun && !c.Yes && !s.Asks {
		return usagef("add --yes, or --dry-run to look first", "deleting an import asks first, and nobody is here to answer")
	}
	ic, err := s.ingestion()
	if err != nil {
		return err
	}
	var out *ingestionv1.ImportEffects
	if !c.Yes {
		stream, err := ic.PreviewDeleteImport(ctx, &ingestionv1.PreviewDeleteImportRequest{Workspace: s.flags.Workspace, Sync: c.Sync, Run: c.RunID})
		if err != nil {
			return err //nolint:wrapcheck // classified by the service
		}
		if out, err = lastOf(stream.Recv); err != nil {
			return err
		}
		if c.DryRun {
			return s.writeImport(out)
		}
		if err := importTable(s.Err, out); err != nil {
			return err
		}
		if err := s.confirm(ctx, "Delete this?"); err != nil {
			return err
		}
	}
	stream, err := ic.DeleteImport(ctx, &ingestionv1.DeleteImportRequest{Workspace: s.flags.Workspace, Sync: c.Sync, Run: c.RunID})
	if err != nil {
		return err //nolint:wrapcheck // classified by the service
	}
	if out, err = lastOf(stream.Recv); err != nil {
		return err
	}
	return s.writeImport(out)
}

// lastOf answers the effects of the last message of a stream.
func lastOf[M interface {
	GetEffects() *ingestionv1.ImportEffects
}](recv func() (M, error)) (*ingestionv1.ImportEffects, error) {
	out := &ingestionv1.ImportEffects{}
	for {
		m, err := recv()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		out = m.GetEffects()
	}
}

func (s *session) writeImport(e *ingestionv1.ImportEffects) error {
	return s.answer(e, func(w io.Writer) error { return importTable(w, e) })
}

func importTable(w io.Writer, e *ingestionv1.ImportEffects) error {
	t := newTable(w, "ROWS", "EVENTS", "PROFILES", "DELETED", "MERGED", "ATTRIBUTES", "BACK", "IDENTITIES")
	t.row(number(e.GetRows()), number(e.GetEvents()), number(e.GetProfiles()), number(e.GetProfilesDeleted()), number(e.GetProfilesMerged()),
		number(e.GetAttributes()), number(e.GetAttributesBack()), number(e.GetIdentities()))
	if err := t.flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintln(w, "MERGED profiles keep their identities; BACK counts attributes that have an earlier value of another sync again.")
	return written(err)
}
