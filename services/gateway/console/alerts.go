package console

import (
	"net/url"

	configv1 "millrace.dev/gen/millrace/config/v1"
	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
)

const alertsOnPage = 100

// firstAlert is what a new alert's document begins as.
const firstAlert = `kind: Alert
id: on-call
# What is told: failed, partially_succeeded, held, faulted, late. Everything, when left out.
on: [failed, held, faulted, late]
# Of which syncs. All of them, when left out.
# syncs: [customers]
email: {to: [ops@example.com]}
# webhook: {url: https://hooks.example.com/millrace, secret: a text of 24 characters or more}
`

func (c *Console) alertRoutes() []route {
	return []route{
		{"GET /w/{workspace}/alerts", c.listAlerts},
		{"POST /w/{workspace}/alerts/{id}/test", c.testAlert},
		{"POST /w/{workspace}/alerts/{id}/delete", c.deleteAlert},
	}
}

type alertsPage struct {
	Workspace string
	Rows      []alertRow
	Next      string
	Tested    string // the alert that a test was sent of
	Results   []*schedulerv1.AlertResult
	OK        bool
}

// alertRow is an alert in the list.
type alertRow struct {
	Alert *configv1.Alert
	Host  string // of its webhook; empty: it has none
}

func (c *Console) listAlerts(r *request) (view, error) { return c.alertsView(r, nil, nil) }

// alertsView answers the list, with what became of a test, under what went wrong.
func (c *Console) alertsView(r *request, tested *schedulerv1.TestAlertResponse, failure error) (view, error) {
	res, err := c.config.ListAlerts(r.Context(), &configv1.ListAlertsRequest{Workspace: r.workspace, PageSize: alertsOnPage, PageToken: r.URL.Query().Get("page")})
	if err != nil {
		return nil, err //nolint:wrapcheck // classified
	}
	p := alertsPage{Workspace: r.workspace, Next: pageAt(res.GetNextPageToken(), r.path("alerts"))}
	for _, a := range res.GetAlerts() {
		p.Rows = append(p.Rows, alertRow{Alert: a, Host: hostOf(a.GetWebhook().GetUrl())})
	}
	if tested != nil {
		p.Tested, p.Results, p.OK = r.PathValue("id"), tested.GetResults(), tested.GetOk()
	}
	return page{name: "alerts", title: "Alerts", section: "alerts", data: p, failure: failure}, nil
}

// hostOf answers an address without its path and query, which may be a secret.
func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return ""
	}
	return u.Scheme + "://" + u.Host
}

// testAlert sends a test of an alert to all its targets, and shows what became of each.
func (c *Console) testAlert(r *request) (view, error) {
	res, err := c.scheduler.TestAlert(r.Context(), &schedulerv1.TestAlertRequest{Workspace: r.workspace, Id: r.PathValue("id")})
	return c.alertsView(r, res, err)
}

func (c *Console) deleteAlert(r *request) (view, error) {
	if err := r.form(); err != nil {
		return nil, err
	}
	_, err := c.config.DeleteAlert(r.Context(), &configv1.DeleteAlertRequest{Workspace: r.workspace, Id: r.PathValue("id"), Etag: r.PostFormValue("etag")})
	if err != nil {
		return c.alertsView(r, nil, err)
	}
	return after(r.path("alerts"), "deleted"), nil
}
