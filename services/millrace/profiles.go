package millrace

import (
	"context"
	"io"
	"strings"

	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	configv1 "millrace.dev/gen/millrace/config/v1"
	ingestionv1 "millrace.dev/gen/millrace/ingestion/v1"
)

type profilesCmd struct {
	Get    profilesGetCmd    `cmd:"" help:"Show a profile: identities, attributes and where they come from."`
	Events profilesEventsCmd `cmd:"" help:"List a profile's events, newest first."`
	List   profilesListCmd   `cmd:"" help:"List profiles."`

	Merges  profilesMergesCmd  `cmd:"" help:"List what was merged into a profile, and what was not: by which row, rule and value."`
	Unmerge profilesUnmergeCmd `cmd:"" help:"Take a merge back. What came after it stays; the same value does not merge the two again."`

	Erase   profilesEraseCmd   `cmd:"" help:"Erase a person from every place, and keep out whatever names them from then on."`
	Erasure profilesErasureCmd `cmd:"" help:"Show an erasure: what was removed, place by place, and what is left to expire."`
}

// envFlag names a data set of the workspace.
type envFlag struct {
	Env string `help:"Data set: prod, or dev for what dev feeds write." default:"prod" enum:"prod,dev"`
}

func (f envFlag) environment() configv1.Environment {
	if f.Env == "dev" {
		return configv1.Environment_ENVIRONMENT_DEV
	}
	return configv1.Environment_ENVIRONMENT_PROD
}

// profileArg names a profile by an identity, or by its mpid.
type profileArg struct {
	envFlag
	Identity string `arg:"" name:"type=value" help:"An identity such as customer_id=42 or email=a@example.com; or mpid=NUMBER."`
}

// parse answers the identity, or the mpid.
func (a profileArg) parse() (*ingestionv1.Identity, string, error) {
	kind, value, ok := strings.Cut(a.Identity, "=")
	if !ok || kind == "" || value == "" {
		return nil, "", usagef("write it as TYPE=VALUE, such as customer_id=42", "%q names no profile", a.Identity)
	}
	if kind == "mpid" {
		return nil, value, nil
	}
	return &ingestionv1.Identity{Type: kind, Value: value}, "", nil
}

type profilesGetCmd struct {
	profileArg
	asOfFlag
}

// asOfFlag asks what histories say of an instant.
type asOfFlag struct {
	AsOf string `help:"Show what profile histories say of this instant: RFC 3339, or a date." placeholder:"T"`
}

func (f asOfFlag) instant() (*timestamppb.Timestamp, error) { return parseInstant("--as-of", f.AsOf) }

func (c *profilesGetCmd) Run(ctx context.Context, s *session) error {
	identity, mpid, err := c.parse()
	if err != nil {
		return err
	}
	asOf, err := c.instant()
	if err != nil {
		return err
	}
	ic, err := s.ingestion()
	if err != nil {
		return err
	}
	r, err := ic.GetProfile(ctx, &ingestionv1.GetProfileRequest{
		Workspace: s.flags.Workspace, Environment: c.environment(), Identity: identity, Mpid: mpid, AsOf: asOf,
	})
	if err != nil {
		return err //nolint:wrapcheck // classified by the service
	}
	return s.answer(r.GetProfile(), drawProfile(r.GetProfile()))
}

// drawProfile draws a profile; every attribute with where its value came from.
func drawProfile(p *ingestionv1.Profile) func(io.Writer) error {
	return func(w io.Writer) error {
		t := newTable(w)
		t.row("mpid", p.GetMpid())
		t.row("environment", word(p.GetEnvironment()))
		t.fact("first seen", instant(p.GetFirstSeen()))
		t.fact("last seen", instant(p.GetLastSeen()))
		if err := t.flush(); err != nil {
			return err
		}
		t = newTable(w, "IDENTITY", "VALUE")
		for _, i := range p.GetIdentities() {
			t.row(i.GetType(), i.GetValue())
		}
		if err := t.flush(); err != nil {
			return err
		}
		return drawAttributes(w, p.GetUserAttributes(), p.GetProvenance())
	}
}

// drawAttributes draws attributes, each with where its value came from.
func drawAttributes(w io.Writer, attributes *structpb.Struct, provenance map[string]*ingestionv1.Provenance) error {
	t := newTable(w, "ATTRIBUTE", "VALUE", "SYNC", "ROW", "ROW TIME", "RUN")
	for _, name := range sortedKeys(attributes.GetFields()) {
		from := provenance[name]
		t.row(name, cell(attributes.GetFields()[name]), from.GetSync(), strings.Join(from.GetKeyValues(), ", "), instant(from.GetRowTime()), from.GetRun())
	}
	return t.flush()
}

type profilesListCmd struct {
	envFlag
	limitFlag
}

// profileList draws profiles a line each.
func profileList() list[*ingestionv1.Profile] {
	return list[*ingestionv1.Profile]{"profiles", []column[*ingestionv1.Profile]{
		{"MPID", (*ingestionv1.Profile).GetMpid},
		{"IDENTITIES", func(p *ingestionv1.Profile) string {
			ids := make([]string, len(p.GetIdentities()))
			for i, id := range p.GetIdentities() {
				ids[i] = id.GetType() + "=" + id.GetValue()
			}
			return strings.Join(ids, ", ")
		}},
		{"LAST SEEN", func(p *ingestionv1.Profile) string { return instant(p.GetLastSeen()) }},
	}}
}

func (c *profilesListCmd) Run(ctx context.Context, s *session) error {
	ic, err := s.ingestion()
	if err != nil {
		return err
	}
	return show(ctx, s, profileList(), c.limitFlag, func(ctx context.Context, size int32, token string) ([]*ingestionv1.Profile, string, error) {
		r, err := ic.ListProfiles(ctx, &ingestionv1.ListProfilesRequest{
			Workspace: s.flags.Workspace, Environment: c.environment(), PageSize: size, PageToken: token,
		})
		return r.GetProfiles(), r.GetNextPageToken(), err
	})
}

type profilesEventsCmd struct {
	profileArg
	limitFlag
}

func (c *profilesEventsCmd) Run(ctx context.Context, s *session) error {
	identity, mpid, err := c.parse()
	if err != nil {
		return err
	}
	ic, err := s.ingestion()
	if err != nil {
		return err
	}
	return show(ctx, s, eventList(), c.limitFlag, func(ctx context.Context, size int32, token string) ([]*ingestionv1.Event, string, error) {
		r, err := ic.ListProfileEvents(ctx, &ingestionv1.ListProfileEventsRequest{
			Workspace: s.flags.Workspace, Environment: c.environment(), Identity: identity, Mpid: mpid, PageSize: size, PageToken: token,
		})
		return r.GetEvents(), r.GetNextPageToken(), err
	})
}
