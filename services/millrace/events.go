package millrace

import (
	"context"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	ingestionv1 "millrace.dev/gen/millrace/ingestion/v1"
)

type eventsCmd struct {
	List eventsListCmd `cmd:"" help:"List the events that a sync, or one run of it, brought in."`
}

type eventsListCmd struct {
	envFlag
	limitFlag
	Sync  string `help:"The sync's id." required:"" placeholder:"ID"`
	RunID string `name:"run" help:"Only what this run brought in." placeholder:"RUN"`
	From  string `help:"Only events at or after this instant: RFC 3339, or a date." placeholder:"T"`
	Until string `help:"Only events before this instant: RFC 3339, or a date." placeholder:"T"`
}

func (c *eventsListCmd) Run(ctx context.Context, s *session) error {
	from, err := parseInstant("--from", c.From)
	if err != nil {
		return err
	}
	until, err := parseInstant("--until", c.Until)
	if err != nil {
		return err
	}
	ic, err := s.ingestion()
	if err != nil {
		return err
	}
	return show(ctx, s, eventList(), c.limitFlag, func(ctx context.Context, size int32, token string) ([]*ingestionv1.Event, string, error) {
		r, err := ic.ListEvents(ctx, &ingestionv1.ListEventsRequest{
			Workspace: s.flags.Workspace, Environment: c.environment(), Sync: c.Sync, Run: c.RunID,
			From: from, Until: until, PageSize: size, PageToken: token,
		})
		return r.GetEvents(), r.GetNextPageToken(), err
	})
}

// parseInstant reads RFC 3339 or a bare date, which is midnight UTC; nil for empty text.
func parseInstant(flag, text string) (*timestamppb.Timestamp, error) {
	if text == "" {
		return nil, nil //nolint:nilnil // no text, no bound
	}
	for _, layout := range []string{time.RFC3339Nano, time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return timestamppb.New(t), nil
		}
	}
	return nil, usagef("write it as 2026-01-31T12:00:00Z or 2026-01-31", "%s %q is no instant", flag, text)
}

// eventList shows events.
func eventList() list[*ingestionv1.Event] {
	return list[*ingestionv1.Event]{"events", []column[*ingestionv1.Event]{
		{"TIME", eventTime},
		{"TYPE", (*ingestionv1.Event).GetEventType},
		{"NAME", func(e *ingestionv1.Event) string { return dataField(e, "event_name").GetStringValue() }},
		{"ATTRIBUTES", func(e *ingestionv1.Event) string {
			var shown []string
			if v := dataField(e, "custom_attributes"); v != nil {
				shown = append(shown, compact(v))
			}
			for _, model := range sortedKeys(e.GetLookups()) {
				shown = append(shown, model+": "+compact(e.GetLookups()[model]))
			}
			return strings.Join(shown, " ")
		}},
		{"MPID", (*ingestionv1.Event).GetMpid},
		{"ID", (*ingestionv1.Event).GetId},
	}}
}

func dataField(e *ingestionv1.Event, name string) *structpb.Value {
	return e.GetData().GetFields()[name]
}

// eventTime answers an event's instant, which travels in milliseconds as a number, or as text where it is large.
func eventTime(e *ingestionv1.Event) string {
	v := dataField(e, "timestamp_unixtime_ms")
	ms := int64(v.GetNumberValue())
	if text := v.GetStringValue(); text != "" {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return text
		}
		ms = n
	}
	return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z")
}
