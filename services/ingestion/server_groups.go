package ingestion

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/types/known/structpb"

	ingestionv1 "millrace.dev/gen/millrace/ingestion/v1"
	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/profile"
	"millrace.dev/pkg/resource/resourcepb"
	"millrace.dev/pkg/store"
)

// GetGroup answers a group by its type and id.
func (s *server) GetGroup(ctx context.Context, r *ingestionv1.GetGroupRequest) (*ingestionv1.GetGroupResponse, error) {
	if err := namesGroup(r.GetGroupType(), r.GetGroupId()); err != nil {
		return nil, err
	}
	scope := scopeOf(r).Groups(r.GetGroupType())
	p, err := s.store.Resolve(ctx, scope, r.GetGroupType(), r.GetGroupId())
	if err != nil {
		return nil, fmt.Errorf("find a group of type %s: %w", r.GetGroupType(), err)
	}
	var f store.Family
	if p != 0 {
		if f, err = store.Whole(ctx, s.store, scope, p); err != nil {
			return nil, fmt.Errorf("read a group of type %s: %w", r.GetGroupType(), err)
		}
	}
	if f.Doc() == nil {
		return nil, fault.New(fault.NotFound, fault.ReasonNotFound, "no group of type %s has this id in the %s data of workspace %s; check type, id and environment",
			r.GetGroupType(), scope.Environment, scope.Workspace)
	}
	of, err := s.asOf(ctx, scope, f, r.GetAsOf())
	if err != nil {
		return nil, err
	}
	return &ingestionv1.GetGroupResponse{Group: toGroup(of)}, nil
}

func namesGroup(groupType, groupID string) error {
	switch {
	case groupType == "":
		return missing("group_type", "name the kind of group, such as company")
	case groupID == "":
		return missing("group_id", "name the group by its id")
	}
	return nil
}

// toGroup answers the group that a profile of its scope is.
func toGroup(p *ingestionv1.Profile) *ingestionv1.Group {
	g := &ingestionv1.Group{
		Environment: p.GetEnvironment(), Attributes: p.GetUserAttributes(), Provenance: p.GetProvenance(),
		FirstSeen: p.GetFirstSeen(), LastSeen: p.GetLastSeen(),
	}
	if ids := p.GetIdentities(); len(ids) > 0 {
		g.GroupType, g.GroupId = ids[0].GetType(), ids[0].GetValue()
	}
	return g
}

// ListGroups answers the groups of a type.
func (s *server) ListGroups(ctx context.Context, r *ingestionv1.ListGroupsRequest) (*ingestionv1.ListGroupsResponse, error) {
	if r.GetGroupType() == "" {
		return nil, namesGroup("", "")
	}
	scope := scopeOf(r).Groups(r.GetGroupType())
	page, err := newPage(r, string(scope.Workspace), string(scope.Environment), r.GetGroupType())
	if err != nil {
		return nil, err
	}
	docs, next, err := s.store.Profiles(ctx, scope, page.After, page.Size)
	if err != nil {
		return nil, fmt.Errorf("list groups of type %s: %w", r.GetGroupType(), err)
	}
	out := &ingestionv1.ListGroupsResponse{NextPageToken: page.Next(next)}
	for _, d := range docs {
		p, err := toProfile(scope, d.Profile, d.Doc)
		if err != nil {
			return nil, err
		}
		out.Groups = append(out.Groups, toGroup(p))
	}
	return out, nil
}

// ListGroupMembers answers the profiles that say that they are in a group. The index names who may be; each profile
// itself says whether it still is.
func (s *server) ListGroupMembers(ctx context.Context, r *ingestionv1.ListGroupMembersRequest) (*ingestionv1.ListGroupMembersResponse, error) {
	if err := namesGroup(r.GetGroupType(), r.GetGroupId()); err != nil {
		return nil, err
	}
	scope := scopeOf(r)
	page, err := newPage(r, string(scope.Workspace), string(scope.Environment), r.GetGroupType(), r.GetGroupId())
	if err != nil {
		return nil, err
	}
	entries, next, err := s.store.ProfileEvents(ctx, scope.Members(), profile.MembersKey(scope, r.GetGroupType(), r.GetGroupId()), page.After, page.Size)
	if err != nil {
		return nil, fmt.Errorf("list the members of a group of type %s: %w", r.GetGroupType(), err)
	}
	out := &ingestionv1.ListGroupMembersResponse{NextPageToken: page.Next(next)}
	seen := map[id.Profile]bool{}
	for _, e := range entries {
		p := profile.MemberOf(e.Key.ID)
		f, err := store.Whole(ctx, s.store, scope, p)
		if err != nil {
			return nil, fmt.Errorf("read profile %s: %w", p, err)
		}
		doc := f.Doc()
		if doc == nil || seen[f.Profile] {
			continue
		}
		seen[f.Profile] = true
		is, err := isMember(doc, r.GetGroupType(), r.GetGroupId())
		if err != nil {
			return nil, err
		}
		if !is {
			continue
		}
		m, err := toProfile(scope, f.Profile, doc)
		if err != nil {
			return nil, err
		}
		out.Profiles = append(out.Profiles, m)
	}
	return out, nil
}

// isMember says whether a profile's attribute of the group type's name holds the id.
func isMember(doc []byte, groupType, groupID string) (bool, error) {
	d, err := profile.Decode(doc)
	if err != nil {
		return false, err //nolint:wrapcheck // classified by profile
	}
	at, ok := slices.BinarySearchFunc(d.Attributes, groupType, func(a profile.Attribute, name string) int { return strings.Compare(a.Name, name) })
	return ok && slices.Contains(profile.GroupIDs(d.Attributes[at].Value), groupID), nil
}

// emptyProfile answers a profile that says who it is and nothing else.
func emptyProfile(s profile.Scope, p *ingestionv1.Profile) *ingestionv1.Profile {
	return &ingestionv1.Profile{
		Mpid: p.GetMpid(), Environment: resourcepb.ToEnvironment(s.Environment), Identities: p.GetIdentities(),
		UserAttributes: &structpb.Struct{Fields: map[string]*structpb.Value{}}, Provenance: map[string]*ingestionv1.Provenance{},
		FirstSeen: p.GetFirstSeen(), LastSeen: p.GetLastSeen(),
	}
}
