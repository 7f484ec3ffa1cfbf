package ingestion

import (
	"context"
	"fmt"

	ingestionv1 "millrace.dev/gen/millrace/ingestion/v1"
	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/identity"
	"millrace.dev/pkg/profile"
	"millrace.dev/pkg/rpc"
	"millrace.dev/pkg/store"
)

// GetProfile answers the profile of an identity or an mpid.
func (s *server) GetProfile(ctx context.Context, r *ingestionv1.GetProfileRequest) (*ingestionv1.GetProfileResponse, error) {
	scope := scopeOf(r)
	f, err := s.find(ctx, scope, r)
	if err != nil {
		return nil, err
	}
	out, err := s.asOf(ctx, scope, f, r.GetAsOf())
	if err != nil {
		return nil, err
	}
	return &ingestionv1.GetProfileResponse{Profile: out}, nil
}

// ListProfiles answers profiles in the order of their ids.
func (s *server) ListProfiles(ctx context.Context, r *ingestionv1.ListProfilesRequest) (*ingestionv1.ListProfilesResponse, error) {
	scope := scopeOf(r)
	page, err := newPage(r, string(scope.Workspace), string(scope.Environment))
	if err != nil {
		return nil, err
	}
	docs, next, err := s.store.Profiles(ctx, scope, page.After, page.Size)
	if err != nil {
		return nil, fmt.Errorf("list profiles: %w", err)
	}
	out := &ingestionv1.ListProfilesResponse{NextPageToken: page.Next(next)}
	ids := make([]id.Profile, len(docs))
	for i, d := range docs {
		ids[i] = d.Profile
	}
	families, err := store.Families(ctx, s.store, scope, ids)
	if err != nil {
		return nil, fmt.Errorf("list profiles: %w", err)
	}
	for _, d := range docs {
		p, err := toProfile(scope, d.Profile, families[d.Profile].Doc())
		if err != nil {
			return nil, err
		}
		out.Profiles = append(out.Profiles, p)
	}
	return out, nil
}

// ListProfileEvents answers a profile's events, newest first.
func (s *server) ListProfileEvents(ctx context.Context, r *ingestionv1.ListProfileEventsRequest) (*ingestionv1.ListProfileEventsResponse, error) {
	scope := scopeOf(r)
	page, err := newPage(r, string(scope.Workspace), string(scope.Environment), r.GetIdentity().GetType(), r.GetIdentity().GetValue(), r.GetMpid())
	if err != nil {
		return nil, err
	}
	f, err := s.find(ctx, scope, r)
	if err != nil {
		return nil, err
	}
	events, next, err := f.Events(ctx, s.store, scope, page.After, page.Size)
	if err != nil {
		return nil, fmt.Errorf("list the events of profile %s: %w", f.Profile, err)
	}
	out := &ingestionv1.ListProfileEventsResponse{NextPageToken: page.Next(next)}
	if out.Events, err = toEvents(events); err != nil {
		return nil, err
	}
	for _, e := range out.Events { // also of what was merged into it
		e.Mpid = f.Profile.String()
	}
	return out, s.enrich(ctx, scope, out.Events)
}

// named is a request that names a profile.
type named interface {
	GetIdentity() *ingestionv1.Identity
	GetMpid() string
}

// find answers the profile that a request names, with all that is merged into it; of a merged one the survivor. NotFound says whom nobody is known by; the value
// asked for is not repeated.
func (s *server) find(ctx context.Context, scope profile.Scope, r named) (store.Family, error) {
	p, by, err := s.resolve(ctx, scope, r)
	if err != nil {
		return store.Family{}, err
	}
	if p != 0 {
		f, err := store.Whole(ctx, s.store, scope, p)
		if err != nil {
			return store.Family{}, fmt.Errorf("read profile %s: %w", p, err)
		}
		if f.Doc() != nil {
			return f, nil
		}
	}
	return store.Family{}, fault.New(fault.NotFound, fault.ReasonNotFound,
		"no profile has this %s in the %s data of workspace %s; check the value and the environment", by, scope.Environment, scope.Workspace)
}

// resolve answers the id of the profile that a request names, 0 where there is none, and what it is named by.
func (s *server) resolve(ctx context.Context, scope profile.Scope, r named) (p id.Profile, by string, err error) {
	i, mpid := r.GetIdentity(), r.GetMpid()
	if i.GetType() == identity.MPID && mpid == "" {
		i, mpid = nil, i.GetValue()
	}
	switch {
	case mpid != "" && i != nil:
		return 0, "", fault.Of(fault.ReasonInvalidArgument, []fault.Violation{
			{Field: "mpid", Message: "is given beside an identity", Fix: "name the profile by one of them"},
		})
	case mpid != "":
		if p, err = id.ParseProfile(mpid); err != nil {
			return 0, "", fault.Of(fault.ReasonInvalidArgument, []fault.Violation{
				{Field: "mpid", Message: "is no profile id", Fix: "write the decimal number that a profile shows as its mpid"},
			})
		}
		return p, identity.MPID, nil
	case i.GetType() == "" || i.GetValue() == "":
		return 0, "", missing("identity", "name the profile by type and value of an identity, or by mpid")
	}
	if p, err = s.store.Resolve(ctx, scope, i.GetType(), i.GetValue()); err != nil {
		return 0, "", fmt.Errorf("resolve an identity of type %s: %w", i.GetType(), err)
	}
	return p, i.GetType(), nil
}

// paged is a request for a page of a list.
type paged interface {
	GetPageSize() int32
	GetPageToken() string
}

func newPage(r paged, request ...string) (rpc.Page, error) {
	return rpc.NewPage(r.GetPageSize(), r.GetPageToken(), request...) //nolint:wrapcheck // classified by rpc
}
