package millrace

import (
	"context"
	"fmt"
	"io"
	"time"

	ingestionv1 "millrace.dev/gen/millrace/ingestion/v1"
	"millrace.dev/pkg/fault"
)

type profilesEraseCmd struct {
	profileArg
	DryRun bool `help:"Say what it would remove and change nothing."`
	Yes    bool `help:"Do not ask." short:"y"`
}

// Run says what would go, asks, erases it and shows the report. Of somebody who was erased already it shows the report.
func (c *profilesEraseCmd) Run(ctx context.Context, s *session) error {
	identity, mpid, err := c.parse()
	if err != nil {
		return err
	}
	if !c.DryRun && !c.Yes && !s.Asks {
		return usagef("add --yes, or --dry-run to look first", "erasing a person asks first, and nobody is here to answer")
	}
	ic, err := s.ingestion()
	if err != nil {
		return err
	}
	before, err := ic.GetErasure(ctx, &ingestionv1.GetErasureRequest{Workspace: s.flags.Workspace, Environment: c.environment(), Identity: identity, Mpid: mpid})
	if err == nil {
		return s.writeErasure(before.GetErasure())
	}
	if fault.ClassOf(err) != fault.NotFound {
		return err //nolint:wrapcheck // classified by the service
	}
	if !c.Yes {
		p, err := ic.PreviewEraseProfile(ctx, &ingestionv1.PreviewEraseProfileRequest{
			Workspace: s.flags.Workspace, Environment: c.environment(), Identity: identity, Mpid: mpid,
		})
		if err != nil {
			return err //nolint:wrapcheck // classified by the service
		}
		if c.DryRun {
			return s.answer(p, func(w io.Writer) error { return eraseTable(w, p) })
		}
		if err := eraseTable(s.Err, p); err != nil {
			return err
		}
		if err := s.confirm(ctx, "Erase this person for good?"); err != nil {
			return err
		}
	}
	r, err := ic.EraseProfile(ctx, &ingestionv1.EraseProfileRequest{
		Workspace: s.flags.Workspace, Environment: c.environment(), Identity: identity, Mpid: mpid,
	})
	if err != nil {
		return err //nolint:wrapcheck // classified by the service
	}
	e, err := s.removed(ctx, ic, r.GetErasure())
	if err != nil {
		return err
	}
	return s.writeErasure(e)
}

// eraseTable draws what an erasure would remove.
func eraseTable(w io.Writer, p *ingestionv1.PreviewEraseProfileResponse) error {
	t := newTable(w, "PROFILES", "IDENTITIES", "ATTRIBUTES", "EVENTS", "HISTORY", "MERGES")
	t.row(number(p.GetProfiles()), number(p.GetIdentities()), number(p.GetAttributes()), number(p.GetEvents()), number(p.GetHistoryVersions()), number(p.GetMerges()))
	if err := t.flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintln(w, "Rejects and rows on their way go as well. The IDENTITIES are blocked: no row that names one comes in again, and that can not be lifted.")
	return written(err)
}

// erasureEvery is how often an erasure under way is looked at.
const erasureEvery = 200 * time.Millisecond

// removed waits until all is removed from the store. What is on its way is not waited for.
func (s *session) removed(ctx context.Context, ic ingestionv1.IngestionServiceClient, e *ingestionv1.Erasure) (*ingestionv1.Erasure, error) {
	every := time.NewTicker(erasureEvery)
	defer every.Stop()
	for e.GetState() == "removing" {
		select {
		case <-ctx.Done():
			s.notef("the erasure goes on; see `millrace profiles erasure %s`", e.GetId())
			return nil, fault.As(context.Cause(ctx))
		case <-every.C:
		}
		r, err := ic.GetErasure(ctx, &ingestionv1.GetErasureRequest{Workspace: s.flags.Workspace, Id: e.GetId()})
		if err != nil {
			return nil, err //nolint:wrapcheck // classified by the service
		}
		e = r.GetErasure()
	}
	return e, nil
}

type profilesErasureCmd struct {
	ID string `arg:"" name:"erasure" help:"The erasure's id, as profiles erase shows it."`
}

func (c *profilesErasureCmd) Run(ctx context.Context, s *session) error {
	ic, err := s.ingestion()
	if err != nil {
		return err
	}
	r, err := ic.GetErasure(ctx, &ingestionv1.GetErasureRequest{Workspace: s.flags.Workspace, Id: c.ID})
	if err != nil {
		return err //nolint:wrapcheck // classified by the service
	}
	return s.writeErasure(r.GetErasure())
}

// writeErasure draws an erasure, a line for each place.
func (s *session) writeErasure(e *ingestionv1.Erasure) error {
	return s.answer(e, func(w io.Writer) error {
		t := newTable(w)
		t.row("erasure", e.GetId())
		t.row("environment", word(e.GetEnvironment()))
		t.row("asked for by", e.GetIdentityType())
		t.row("state", e.GetState())
		t.row("blocked", number(e.GetBlocked())+" identities")
		t.row("asked", instant(e.GetCreateTime()))
		t.fact("removed", instant(e.GetRemoveTime()))
		t.fact("done", instant(e.GetDoneTime()))
		if err := t.flush(); err != nil {
			return err
		}
		t = newTable(w, "PLACE", "STATE", "REMOVED", "SINCE", "UNTIL", "NOTE")
		for _, p := range e.GetPlaces() {
			t.row(p.GetPlace(), p.GetState(), number(p.GetRemoved()), instant(p.GetTime()), instant(p.GetUntil()), p.GetNote())
		}
		return t.flush()
	})
}
