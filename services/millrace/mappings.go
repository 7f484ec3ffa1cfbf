package millrace

import (
	"context"
	"strconv"

	configv1 "millrace.dev/gen/millrace/config/v1"
)

type mappingsCmd struct {
	List   mappingsListCmd   `cmd:"" help:"List mappings."`
	Get    mappingsGetCmd    `cmd:"" help:"Show one mapping."`
	Delete mappingsDeleteCmd `cmd:"" help:"Delete a mapping that nothing uses."`
}

func mappings() resource[*configv1.Mapping] {
	return resource[*configv1.Mapping]{
		kind: "Mapping",
		list: list[*configv1.Mapping]{"mappings", []column[*configv1.Mapping]{
			idColumn[*configv1.Mapping](),
			{"VERSION", func(m *configv1.Mapping) string { return strconv.FormatInt(m.GetVersion(), 10) }},
			{"RULES", func(m *configv1.Mapping) string { return strconv.Itoa(rules(m.GetRules())) }},
			nameColumn[*configv1.Mapping](),
		}},
		page: func(ctx context.Context, c configv1.ConfigServiceClient, q query) ([]*configv1.Mapping, string, error) {
			r, err := c.ListMappings(ctx, &configv1.ListMappingsRequest{Workspace: q.workspace, PageSize: q.size, PageToken: q.token, Filter: q.filter, OrderBy: q.orderBy})
			return r.GetMappings(), r.GetNextPageToken(), err
		},
		get: func(ctx context.Context, c configv1.ConfigServiceClient, w, id string) (*configv1.Mapping, error) {
			r, err := c.GetMapping(ctx, &configv1.GetMappingRequest{Workspace: w, Id: id})
			return r.GetMapping(), err
		},
		del: func(ctx context.Context, c configv1.ConfigServiceClient, w, id string) error {
			_, err := c.DeleteMapping(ctx, &configv1.DeleteMappingRequest{Workspace: w, Id: id})
			return err
		},
	}
}

// rules counts rules, those under objects included and the objects themselves not.
func rules(rs []*configv1.Rule) int {
	n := 0
	for _, r := range rs {
		if r.GetObject() != "" {
			n += rules(r.GetRules())
			continue
		}
		n++
	}
	return n
}

type mappingsListCmd struct{ listFlags }

func (c *mappingsListCmd) Run(ctx context.Context, s *session) error {
	return listResources(ctx, s, mappings(), c.listFlags)
}

type mappingsGetCmd struct{ idArg }

func (c *mappingsGetCmd) Run(ctx context.Context, s *session) error {
	return getResource(ctx, s, mappings(), c.ID)
}

type mappingsDeleteCmd struct{ idArg }

func (c *mappingsDeleteCmd) Run(ctx context.Context, s *session) error {
	return deleteResource(ctx, s, mappings(), c.ID)
}
