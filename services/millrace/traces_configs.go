package millrace

import (
	"context"
	"strconv"
	"strings"

	tracev1 "millrace.dev/gen/millrace/trace/v1"
)

type tracesConfigsCmd struct {
	List   tracesConfigsListCmd   `cmd:"" help:"List the trace configurations; without any, every trace is kept."`
	Create tracesConfigsCreateCmd `cmd:"" help:"Keep the traces that fit, and of the others those that another configuration wants."`
	Delete tracesConfigsDeleteCmd `cmd:"" help:"Delete a trace configuration; what it has kept stays until it expires."`
}

type tracesConfigsListCmd struct{ limitFlag }

func (c *tracesConfigsListCmd) Run(ctx context.Context, s *session) error {
	tc, err := s.trace()
	if err != nil {
		return err
	}
	l := list[*tracev1.TraceConfig]{"configs", []column[*tracev1.TraceConfig]{
		{"ID", (*tracev1.TraceConfig).GetId},
		{"SYNCS", func(c *tracev1.TraceConfig) string { return strings.Join(c.GetSyncs(), ", ") }},
		{"FEEDS", func(c *tracev1.TraceConfig) string { return strings.Join(c.GetFeeds(), ", ") }},
		{"FROM", func(c *tracev1.TraceConfig) string { return instant(c.GetFrom()) }},
		{"UNTIL", func(c *tracev1.TraceConfig) string { return instant(c.GetUntil()) }},
		{"STAGES", func(c *tracev1.TraceConfig) string { return strings.Join(c.GetStages(), ", ") }},
		{"KEEPS", keeps},
	}}
	return show(ctx, s, l, c.limitFlag, func(ctx context.Context, size int32, token string) ([]*tracev1.TraceConfig, string, error) {
		r, err := tc.ListTraceConfigs(ctx, &tracev1.ListTraceConfigsRequest{Workspace: s.flags.Workspace, PageSize: size, PageToken: token})
		return r.GetConfigs(), r.GetNextPageToken(), err
	})
}

// keeps says what a configuration keeps of what fits.
func keeps(c *tracev1.TraceConfig) string {
	if c.GetSampling() == tracev1.Sampling_SAMPLING_ONE_IN {
		return "1 in " + number(int64(c.GetOneIn()))
	}
	return word(c.GetSampling())
}

type tracesConfigsCreateCmd struct {
	ID     string   `arg:"" help:"Its id."`
	Sync   []string `help:"Traces of this sync; can be repeated." placeholder:"ID"`
	Feed   []string `help:"Traces of syncs that write as this feed; can be repeated." placeholder:"ID"`
	From   string   `help:"Traces that start at or after this instant: RFC 3339, or a date." placeholder:"T"`
	Until  string   `help:"Traces that start before this instant: RFC 3339, or a date." placeholder:"T"`
	Stage  []string `help:"Only spans of this stage: plan, extract, map, ingest or deliver; can be repeated." placeholder:"STAGE"`
	Errors bool     `help:"Only traces with a span that failed." xor:"sampling"`
	OneIn  int32    `help:"Only one of so many traces, 2 to 1,000,000." xor:"sampling" placeholder:"N"`
}

// config answers the configuration that the flags stand for.
func (c *tracesConfigsCreateCmd) config() (*tracev1.TraceConfig, error) {
	from, err := parseInstant("--from", c.From)
	if err != nil {
		return nil, err
	}
	until, err := parseInstant("--until", c.Until)
	if err != nil {
		return nil, err
	}
	out := &tracev1.TraceConfig{
		Id: c.ID, Syncs: c.Sync, Feeds: c.Feed, From: from, Until: until, Stages: c.Stage, Sampling: tracev1.Sampling_SAMPLING_ALL, OneIn: c.OneIn,
	}
	switch {
	case c.Errors:
		out.Sampling = tracev1.Sampling_SAMPLING_ERRORS
	case c.OneIn != 0:
		out.Sampling = tracev1.Sampling_SAMPLING_ONE_IN
	}
	return out, nil
}

func (c *tracesConfigsCreateCmd) Run(ctx context.Context, s *session) error {
	config, err := c.config()
	if err != nil {
		return err
	}
	tc, err := s.trace()
	if err != nil {
		return err
	}
	r, err := tc.CreateTraceConfig(ctx, &tracev1.CreateTraceConfigRequest{Workspace: s.flags.Workspace, Config: config})
	if err != nil {
		return err //nolint:wrapcheck // classified by the service
	}
	return s.answer(r.GetConfig(), facts(r.GetConfig()))
}

type tracesConfigsDeleteCmd struct{ idArg }

func (c *tracesConfigsDeleteCmd) Run(ctx context.Context, s *session) error {
	tc, err := s.trace()
	if err != nil {
		return err
	}
	if _, err := tc.DeleteTraceConfig(ctx, &tracev1.DeleteTraceConfigRequest{Workspace: s.flags.Workspace, Id: c.ID}); err != nil {
		return err //nolint:wrapcheck // classified by the service
	}
	return s.say(deletion{Kind: "TraceConfig", ID: c.ID, Deleted: true}, line("trace configuration "+strconv.Quote(c.ID)+" deleted"))
}
