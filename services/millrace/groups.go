package millrace

import (
	"context"
	"io"
	"strings"

	ingestionv1 "millrace.dev/gen/millrace/ingestion/v1"
)

type groupsCmd struct {
	Get     groupsGetCmd     `cmd:"" help:"Show a group: its attributes and where they come from."`
	List    groupsListCmd    `cmd:"" help:"List the groups of a type."`
	Members groupsMembersCmd `cmd:"" help:"List the profiles in a group: those whose attribute of the type's name holds its id."`
}

// groupArg names a group.
type groupArg struct {
	envFlag
	Group string `arg:"" name:"type=id" help:"A group's type and id, such as company=acme."`
}

func (a groupArg) parse() (groupType, groupID string, err error) {
	groupType, groupID, ok := strings.Cut(a.Group, "=")
	if !ok || groupType == "" || groupID == "" {
		return "", "", usagef("write it as TYPE=ID, such as company=acme", "%q names no group", a.Group)
	}
	return groupType, groupID, nil
}

type groupsGetCmd struct {
	groupArg
	asOfFlag
}

func (c *groupsGetCmd) Run(ctx context.Context, s *session) error {
	groupType, groupID, err := c.parse()
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
	r, err := ic.GetGroup(ctx, &ingestionv1.GetGroupRequest{
		Workspace: s.flags.Workspace, Environment: c.environment(), GroupType: groupType, GroupId: groupID, AsOf: asOf,
	})
	if err != nil {
		return err //nolint:wrapcheck // classified by the service
	}
	g := r.GetGroup()
	return s.answer(g, func(w io.Writer) error {
		t := newTable(w)
		t.row("group type", g.GetGroupType())
		t.row("group id", g.GetGroupId())
		t.row("environment", word(g.GetEnvironment()))
		t.fact("first seen", instant(g.GetFirstSeen()))
		t.fact("last seen", instant(g.GetLastSeen()))
		if err := t.flush(); err != nil {
			return err
		}
		return drawAttributes(w, g.GetAttributes(), g.GetProvenance())
	})
}

type groupsListCmd struct {
	envFlag
	limitFlag
	GroupType string `arg:"" name:"type" help:"The kind of groups, such as company."`
}

func (c *groupsListCmd) Run(ctx context.Context, s *session) error {
	ic, err := s.ingestion()
	if err != nil {
		return err
	}
	l := list[*ingestionv1.Group]{"groups", []column[*ingestionv1.Group]{
		{"ID", (*ingestionv1.Group).GetGroupId},
		{"ATTRIBUTES", func(g *ingestionv1.Group) string { return compact(g.GetAttributes()) }},
		{"LAST SEEN", func(g *ingestionv1.Group) string { return instant(g.GetLastSeen()) }},
	}}
	return show(ctx, s, l, c.limitFlag, func(ctx context.Context, size int32, token string) ([]*ingestionv1.Group, string, error) {
		r, err := ic.ListGroups(ctx, &ingestionv1.ListGroupsRequest{
			Workspace: s.flags.Workspace, Environment: c.environment(), GroupType: c.GroupType, PageSize: size, PageToken: token,
		})
		return r.GetGroups(), r.GetNextPageToken(), err
	})
}

type groupsMembersCmd struct {
	groupArg
	limitFlag
}

func (c *groupsMembersCmd) Run(ctx context.Context, s *session) error {
	groupType, groupID, err := c.parse()
	if err != nil {
		return err
	}
	ic, err := s.ingestion()
	if err != nil {
		return err
	}
	return show(ctx, s, profileList(), c.limitFlag, func(ctx context.Context, size int32, token string) ([]*ingestionv1.Profile, string, error) {
		r, err := ic.ListGroupMembers(ctx, &ingestionv1.ListGroupMembersRequest{
			Workspace: s.flags.Workspace, Environment: c.environment(), GroupType: groupType, GroupId: groupID, PageSize: size, PageToken: token,
		})
		return r.GetProfiles(), r.GetNextPageToken(), err
	})
}
