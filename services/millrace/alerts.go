package millrace

import (
	"context"
	"io"
	"net/url"
	"strings"

	configv1 "millrace.dev/gen/millrace/config/v1"
	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
)

type alertsCmd struct {
	List   alertsListCmd   `cmd:"" help:"List alerts."`
	Get    alertsGetCmd    `cmd:"" help:"Show one alert."`
	Delete alertsDeleteCmd `cmd:"" help:"Delete an alert."`
	Test   alertsTestCmd   `cmd:"" help:"Send a test to everybody whom an alert names, and say what became of it."`
}

func alerts() resource[*configv1.Alert] {
	return resource[*configv1.Alert]{
		kind: "Alert",
		list: list[*configv1.Alert]{"alerts", []column[*configv1.Alert]{
			idColumn[*configv1.Alert](),
			{"ON", alertEvents},
			{"SYNCS", func(a *configv1.Alert) string { return orAll(a.GetSyncs()) }},
			{"TO", recipients},
			nameColumn[*configv1.Alert](),
		}},
		page: func(ctx context.Context, c configv1.ConfigServiceClient, q query) ([]*configv1.Alert, string, error) {
			r, err := c.ListAlerts(ctx, &configv1.ListAlertsRequest{Workspace: q.workspace, PageSize: q.size, PageToken: q.token, Filter: q.filter, OrderBy: q.orderBy})
			return r.GetAlerts(), r.GetNextPageToken(), err
		},
		get: func(ctx context.Context, c configv1.ConfigServiceClient, w, id string) (*configv1.Alert, error) {
			r, err := c.GetAlert(ctx, &configv1.GetAlertRequest{Workspace: w, Id: id})
			return r.GetAlert(), err
		},
		del: func(ctx context.Context, c configv1.ConfigServiceClient, w, id string) error {
			_, err := c.DeleteAlert(ctx, &configv1.DeleteAlertRequest{Workspace: w, Id: id})
			return err
		},
	}
}

// alertEvents answers what an alert tells of.
func alertEvents(a *configv1.Alert) string {
	var out []string
	for _, e := range a.GetOn() {
		out = append(out, word(e))
	}
	return orAll(out)
}

func orAll(names []string) string {
	if len(names) == 0 {
		return "all"
	}
	return strings.Join(names, ", ")
}

// recipients answers who is told: of a webhook its host, since the rest of its address may be a secret.
func recipients(a *configv1.Alert) string {
	out := append([]string(nil), a.GetEmail().GetTo()...)
	if w := a.GetWebhook(); w != nil {
		host := "webhook"
		if u, err := url.Parse(w.GetUrl()); err == nil && u.Host != "" {
			host = u.Host
		}
		out = append([]string{host}, out...)
	}
	return strings.Join(out, ", ")
}

type alertsListCmd struct{ listFlags }

func (c *alertsListCmd) Run(ctx context.Context, s *session) error {
	return listResources(ctx, s, alerts(), c.listFlags)
}

type alertsGetCmd struct{ idArg }

func (c *alertsGetCmd) Run(ctx context.Context, s *session) error {
	return getResource(ctx, s, alerts(), c.ID)
}

type alertsDeleteCmd struct{ idArg }

func (c *alertsDeleteCmd) Run(ctx context.Context, s *session) error {
	return deleteResource(ctx, s, alerts(), c.ID)
}

type alertsTestCmd struct{ idArg }

// Run answers what became of the test at each target; one that did not take it makes the command fail.
func (c *alertsTestCmd) Run(ctx context.Context, s *session) error {
	sc, err := s.scheduler()
	if err != nil {
		return err
	}
	r, err := sc.TestAlert(ctx, &schedulerv1.TestAlertRequest{Workspace: s.flags.Workspace, Id: c.ID})
	if err != nil {
		return err
	}
	err = s.answer(r, func(w io.Writer) error {
		t := newTable(w, "TARGET", "ADDRESS", "RESULT", "")
		for _, x := range r.GetResults() {
			result := "ok"
			if !x.GetOk() {
				result = "failed"
			}
			t.row(x.GetTarget(), x.GetAddress(), result, x.GetMessage())
		}
		return t.flush()
	})
	if err == nil && !r.GetOk() {
		return exitError(exitFailed)
	}
	return err
}
