package console

import (
	"context"
	"net/url"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	configv1 "millrace.dev/gen/millrace/config/v1"
	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
)

const (
	syncsOnPage   = 100
	listedRuns    = 400  // of the workspace, of which the list of syncs shows the last of each
	recentRuns    = 1000 // of one sync, at once
	sparklineRuns = 20
	askedAtOnce   = 8
	listEvery     = 10 * time.Second // how soon an open list shows a change
)

func (c *Console) syncRoutes() []route {
	return []route{
		{"GET /w/{workspace}/syncs", c.listSyncs},
		{"GET /w/{workspace}/syncs/{id}", c.showSync},
		{"GET /w/{workspace}/syncs/{id}/usage", c.showUsage},
		{"POST /w/{workspace}/syncs/{id}/run", c.runSync},
		{"POST /w/{workspace}/syncs/{id}/resync", c.resyncSync},
		{"POST /w/{workspace}/syncs/{id}/activate", c.activateSync},
		{"POST /w/{workspace}/syncs/{id}/pause", c.pauseSync},
		{"POST /w/{workspace}/syncs/{id}/resume", c.resumeSync},
		{"GET /w/{workspace}/syncs/{id}/delete", c.askDeleteSync},
		{"POST /w/{workspace}/syncs/{id}/delete", c.deleteSync},
	}
}

func (c *Console) syncStreams() []streamRoute {
	return []streamRoute{
		{"GET /w/{workspace}/live/syncs", c.watchSyncs},
		{"GET /w/{workspace}/live/syncs/{id}", c.watchSync},
	}
}

// syncRow is a sync in the list.
type syncRow struct {
	Sync   *configv1.Sync
	Last   *schedulerv1.Run // nil before the first run
	Fresh  freshness
	Next   nextRun
	Recent []bar // oldest first
}

// bar is a run in a sparkline: its rows as a share of the most, and how it ended.
type bar struct {
	Run, State string
	Rows       int64
	Height     float64 // 2 to 20
	X          int
}

type syncsPage struct {
	Workspace string
	Rows      []syncRow
	NoRuns    string // why nothing of runs is known; empty: it is
	Filter    string
	Next      string // address; empty on the last page
	Live      string // where the list is kept current
}

func (c *Console) listSyncs(r *request) (view, error) {
	p, err := c.syncsOf(r)
	shown := page{name: "syncs", title: "Syncs", section: "syncs", data: p}
	if err != nil {
		if p.Filter == "" {
			return nil, err
		}
		shown.failure = err // the filter is shown to be mended
	}
	return shown, nil
}

// syncsOf answers what the list shows; with an error, what it was asked for.
func (c *Console) syncsOf(r *request) (syncsPage, error) {
	ctx := r.Context()
	token := r.FormValue("page")
	p := syncsPage{Workspace: r.workspace, Filter: strings.TrimSpace(r.FormValue("filter"))}
	p.Live = r.path("live", "syncs") + "?" + url.Values{"filter": {p.Filter}, "page": {token}}.Encode()
	res, err := c.config.ListSyncs(ctx, &configv1.ListSyncsRequest{Workspace: r.workspace, PageSize: syncsOnPage, PageToken: token, Filter: p.Filter})
	if err != nil {
		return p, err //nolint:wrapcheck // classified
	}
	runs, err := c.runsOf(ctx, r.workspace, res.GetSyncs())
	switch {
	case isAway(err) && ctx.Err() == nil:
		p.NoRuns = failureOf(err).Message
	case err != nil:
		return p, err
	}
	p.Next = pageAt(res.GetNextPageToken(), r.path("syncs"), "filter", p.Filter)
	now := time.Now()
	for _, s := range res.GetSyncs() {
		p.Rows = append(p.Rows, syncRowOf(s, runs[s.GetMeta().GetId()], now))
	}
	return p, nil
}

// runsOf answers the last runs of syncs, newest first: those among the last of the workspace, and of a sync that has none
// there those that it is asked for by itself.
func (c *Console) runsOf(ctx context.Context, workspace string, syncs []*configv1.Sync) (map[string][]*schedulerv1.Run, error) {
	out := map[string][]*schedulerv1.Run{}
	if len(syncs) == 0 {
		return out, nil
	}
	res, err := c.scheduler.ListRuns(ctx, &schedulerv1.ListRunsRequest{Workspace: workspace, PageSize: int32(min(listedRuns, 2*sparklineRuns*len(syncs)))})
	if err != nil {
		return nil, err //nolint:wrapcheck // classified
	}
	for _, run := range res.GetRuns() {
		out[run.GetSync()] = append(out[run.GetSync()], run)
	}
	if res.GetNextPageToken() == "" {
		return out, nil
	}
	older := make([][]*schedulerv1.Run, len(syncs))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(askedAtOnce)
	for i, s := range syncs {
		if len(out[s.GetMeta().GetId()]) > 0 {
			continue
		}
		g.Go(func() error {
			res, err := c.scheduler.ListRuns(ctx, &schedulerv1.ListRunsRequest{Workspace: workspace, Sync: s.GetMeta().GetId(), PageSize: sparklineRuns})
			older[i] = res.GetRuns()
			return err //nolint:wrapcheck // classified
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err //nolint:wrapcheck // classified
	}
	for i, s := range syncs {
		if older[i] != nil {
			out[s.GetMeta().GetId()] = older[i]
		}
	}
	return out, nil
}

// syncRowOf makes the row of a sync of its recent runs, newest first.
func syncRowOf(s *configv1.Sync, runs []*schedulerv1.Run, now time.Time) syncRow {
	row := syncRow{Sync: s, Recent: sparkline(runs), Fresh: freshOf(s, runs, now), Next: nextRunOf(s, runs, now)}
	if len(runs) > 0 {
		row.Last = runs[0]
	}
	return row
}

func sparkline(runs []*schedulerv1.Run) []bar {
	runs = runs[:min(len(runs), sparklineRuns)]
	var most int64 = 1
	for _, r := range runs {
		most = max(most, r.GetCounts().GetRead())
	}
	out := make([]bar, len(runs))
	for i, r := range runs {
		at := len(runs) - 1 - i
		out[at] = bar{Run: r.GetId(), State: word(r.GetState()), Rows: r.GetCounts().GetRead(), Height: 2 + 18*float64(r.GetCounts().GetRead())/float64(most), X: at * 5}
	}
	return out
}

// watchSyncs keeps an open list current.
func (c *Console) watchSyncs(r *request, send sender) error {
	return c.follow(r, listEvery, send, func() ([]livePart, error) {
		p, err := c.syncsOf(r)
		return []livePart{{"whole", "syncs", "list", p}}, err
	})
}

// sync answers a sync by the id of the path.
func (c *Console) sync(ctx context.Context, workspace, id string) (*configv1.Sync, error) {
	res, err := c.config.GetSync(ctx, &configv1.GetSyncRequest{Workspace: workspace, Id: id})
	if err != nil {
		return nil, err //nolint:wrapcheck // classified
	}
	return res.GetSync(), nil
}
