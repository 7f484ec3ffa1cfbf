package millrace

import (
	"context"

	configv1 "millrace.dev/gen/millrace/config/v1"
)

type feedsCmd struct {
	List   feedsListCmd   `cmd:"" help:"List feeds."`
	Get    feedsGetCmd    `cmd:"" help:"Show one feed."`
	Delete feedsDeleteCmd `cmd:"" help:"Delete a feed that nothing uses."`
}

func feeds() resource[*configv1.Feed] {
	return resource[*configv1.Feed]{
		kind: "Feed",
		list: list[*configv1.Feed]{"feeds", []column[*configv1.Feed]{
			idColumn[*configv1.Feed](),
			{"ENVIRONMENT", func(f *configv1.Feed) string { return word(f.GetEnvironment()) }},
			{"INPUT PROTECTION", func(f *configv1.Feed) string { return word(f.GetInputProtection()) }},
			nameColumn[*configv1.Feed](),
		}},
		page: func(ctx context.Context, c configv1.ConfigServiceClient, q query) ([]*configv1.Feed, string, error) {
			r, err := c.ListFeeds(ctx, &configv1.ListFeedsRequest{Workspace: q.workspace, PageSize: q.size, PageToken: q.token, Filter: q.filter, OrderBy: q.orderBy})
			return r.GetFeeds(), r.GetNextPageToken(), err
		},
		get: func(ctx context.Context, c configv1.ConfigServiceClient, w, id string) (*configv1.Feed, error) {
			r, err := c.GetFeed(ctx, &configv1.GetFeedRequest{Workspace: w, Id: id})
			return r.GetFeed(), err
		},
		del: func(ctx context.Context, c configv1.ConfigServiceClient, w, id string) error {
			_, err := c.DeleteFeed(ctx, &configv1.DeleteFeedRequest{Workspace: w, Id: id})
			return err
		},
	}
}

type feedsListCmd struct{ listFlags }

func (c *feedsListCmd) Run(ctx context.Context, s *session) error {
	return listResources(ctx, s, feeds(), c.listFlags)
}

type feedsGetCmd struct{ idArg }

func (c *feedsGetCmd) Run(ctx context.Context, s *session) error {
	return getResource(ctx, s, feeds(), c.ID)
}

type feedsDeleteCmd struct{ idArg }

func (c *feedsDeleteCmd) Run(ctx context.Context, s *session) error {
	return deleteResource(ctx, s, feeds(), c.ID)
}
