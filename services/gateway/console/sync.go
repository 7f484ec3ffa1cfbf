package console

import (
	"context"
	"math"
	"net/url"
	"time"

	"github.com/google/uuid"

	configv1 "millrace.dev/gen/millrace/config/v1"
	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/resource/resourcepb"
)

const (
	shownRuns  = 10
	chartRuns  = 58
	shownRules = 500
	syncEvery  = 2 * time.Second
)

// syncPage is a sync with what it is made of and what became of it.
type syncPage struct {
	Workspace string
	Sync      *configv1.Sync
	Model     *configv1.DataModel
	Provider  string            // of its connection
	Mapping   *configv1.Mapping // nil: by name
	Rules     []ruleRow
	MoreRules int
	Settings  []syncSetting
	Now       syncNow
	Usage     usage
	// Key makes a form that is sent twice start one run.
	Key string
	// Live is where the page is kept current.
	Live string
}

// syncNow is what of a sync changes by itself.
type syncNow struct {
	Workspace string
	Sync      *configv1.Sync
	Fresh     freshness
	Next      nextRun
	Open      *schedulerv1.Run // nil while none is open
	Runs      []shownRun
	Chart     []runBar
	Most      int64 // rows of the highest bar
	More      bool  // there are older runs
}

// shownRun is a run in a table.
type shownRun struct {
	*schedulerv1.Run
	Rejected int64 // rows, refused ones included
}

// runBar is a run in the chart of a sync's runs: how high its rows stand, and how it ended.
type runBar struct {
	Run       *schedulerv1.Run
	X, Y      float64
	W, Height float64
}

func (c *Console) showSync(r *request) (view, error) { return c.syncView(r, nil) }

// syncView answers the page of a sync, under what went wrong when something was to be done to it.
func (c *Console) syncView(r *request, failure error) (view, error) {
	p, err := c.syncPageOf(r)
	if err != nil {
		if failure != nil {
			return nil, failure
		}
		return nil, err
	}
	return page{name: "sync", title: p.Sync.GetMeta().GetDisplayName(), section: "syncs", data: p, failure: failure}, nil
}

func (c *Console) syncPageOf(r *request) (syncPage, error) {
	ctx := r.Context()
	s, err := c.sync(ctx, r.workspace, r.PathValue("id"))
	if err != nil {
		return syncPage{}, err
	}
	p := syncPage{Workspace: r.workspace, Sync: s, Key: uuid.NewString()}
	p.Live = r.path("live", "syncs", s.GetMeta().GetId()) + "?" + url.Values{"etag": {s.GetMeta().GetEtag()}}.Encode()
	if err := c.readModel(ctx, &p); err != nil {
		return p, err
	}
	runs, more, err := c.recentRunsOf(ctx, r.workspace, s.GetMeta().GetId(), recentRuns)
	if err != nil {
		return p, err
	}
	p.Rules, p.MoreRules = rulesOf(p.Mapping, shownRules)
	p.Settings = settingsOf(s, p.Model)
	p.Now = syncNowOf(r.workspace, s, runs, more, time.Now())
	p.Usage = usageOf(runs, more)
	return p, nil
}

// readModel reads what a sync is made of.
func (c *Console) readModel(ctx context.Context, p *syncPage) error {
	model, err := c.config.GetDataModel(ctx, &configv1.GetDataModelRequest{Workspace: p.Workspace, Id: p.Sync.GetDataModel()})
	if err != nil {
		return err //nolint:wrapcheck // classified
	}
	p.Model = model.GetDataModel()
	connection, err := c.config.GetConnection(ctx, &configv1.GetConnectionRequest{Workspace: p.Workspace, Id: p.Model.GetConnection()})
	switch {
	case err == nil:
		p.Provider = resourcepb.OfConnection(connection.GetConnection()).Provider()
	case fault.ClassOf(fault.FromStatus(err)) != fault.NotFound:
		return err //nolint:wrapcheck // classified
	}
	if p.Sync.GetMapping() == "" {
		return nil
	}
	mapping, err := c.config.GetMapping(ctx, &configv1.GetMappingRequest{Workspace: p.Workspace, Id: p.Sync.GetMapping()})
	if err != nil {
		return err //nolint:wrapcheck // classified
	}
	p.Mapping = mapping.GetMapping()
	return nil
}

// recentRunsOf answers the last runs of a sync, newest first, and whether there are older ones.
func (c *Console) recentRunsOf(ctx context.Context, workspace, sync string, n int32) ([]*schedulerv1.Run, bool, error) {
	res, err := c.scheduler.ListRuns(ctx, &schedulerv1.ListRunsRequest{Workspace: workspace, Sync: sync, PageSize: n})
	if err != nil {
		return nil, false, err //nolint:wrapcheck // classified
	}
	return res.GetRuns(), res.GetNextPageToken() != "", nil
}

// syncNowOf makes the live parts of a sync's page of its runs, newest first.
func syncNowOf(workspace string, s *configv1.Sync, runs []*schedulerv1.Run, more bool, now time.Time) syncNow {
	n := syncNow{
		Workspace: workspace, Sync: s, Fresh: freshOf(s, runs, now), Next: nextRunOf(s, runs, now), More: more || len(runs) > shownRuns,
	}
	n.Chart, n.Most = chartOf(runs)
	for _, run := range runs[:min(len(runs), shownRuns)] {
		if n.Open == nil && isOpen(run.GetState()) {
			n.Open = run
		}
		n.Runs = append(n.Runs, shownRun{run, run.GetCounts().GetRejected() + run.GetCounts().GetRefused()})
	}
	return n
}

// The chart of runs is 1160 by 90; bars stand on the line at 80.
const (
	chartWidth = 1160.0
	chartFloor = 80.0
	chartTop   = 6.0
)

// chartOf answers bars of runs, oldest first, the newest at the right edge, and how many rows the highest has.
func chartOf(runs []*schedulerv1.Run) ([]runBar, int64) {
	runs = runs[:min(len(runs), chartRuns)]
	var most int64
	for _, r := range runs {
		most = max(most, r.GetCounts().GetRead())
	}
	const step = chartWidth / chartRuns
	out := make([]runBar, len(runs))
	for i, r := range runs {
		h := 2 + math.Round((chartFloor-chartTop-2)*float64(r.GetCounts().GetRead())/float64(max(most, 1)))
		out[len(runs)-1-i] = runBar{Run: r, X: chartWidth - float64(i+1)*step, Y: chartFloor - h, W: step - 4, Height: h}
	}
	return out, most
}

// watchSync keeps the page of a sync current. It ends when the sync itself has been changed: then the page is loaded anew.
func (c *Console) watchSync(r *request, send sender) error {
	first := r.FormValue("etag")
	return c.follow(r, syncEvery, send, func() ([]livePart, error) {
		s, err := c.sync(r.Context(), r.workspace, r.PathValue("id"))
		if err != nil {
			return nil, err
		}
		etag := s.GetMeta().GetEtag()
		if first == "" {
			first = etag
		}
		if etag != first {
			return nil, nil
		}
		runs, more, err := c.recentRunsOf(r.Context(), r.workspace, s.GetMeta().GetId(), chartRuns)
		if err != nil {
			return nil, err
		}
		n := syncNowOf(r.workspace, s, runs, more, time.Now())
		return []livePart{{"state", "sync", "now", n}, {"runs", "sync", "runs", n}}, nil
	})
}
