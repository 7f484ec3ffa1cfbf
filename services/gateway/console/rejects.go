package console

import (
	"fmt"
	"net/url"
	"strings"

	ingestionv1 "millrace.dev/gen/millrace/ingestion/v1"
	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
	"millrace.dev/pkg/fault"
)

const (
	rejectsOnPage = 50
	rejectsLooked = 10_000 // how many a page looks through for those that match
	groupsShown   = 100
)

func (c *Console) rejectRoutes() []route {
	return []route{
		{"GET /w/{workspace}/runs/{run}/rejects", c.listRejects},
		{"POST /w/{workspace}/runs/{run}/rejects", c.replayRejects},
	}
}

// rejectsPage is what a run rejected or refused: how many of each reason, some with their rows, and a list.
type rejectsPage struct {
	Path, Back        string // addresses of the page and the run
	Export, ExportCSV string // and of all rejects with their rows
	Run               *schedulerv1.Run
	Filter            rejectFilter
	Groups            []rejectGroup
	MoreGroups        int
	Total             int64
	Open              bool
	Samples           rejectSamples
	Rejects           []*ingestionv1.Reject
	Later             bool   // it is not the first page
	Next              string // address; empty on the last page
	Looked            int    // of how many rejects the list has those that match; 0 without a filter
}

// rejectGroup is how many rejects share a reason.
type rejectGroup struct {
	*ingestionv1.RejectCount
	Share  float64 // of the largest group's, in the width of a bar
	Link   string  // to these alone; empty where they can not be told apart
	Chosen bool
}

func (c *Console) listRejects(r *request) (view, error) { return c.rejectsPage(r, nil) }

// rejectsPage answers the rejects of the path's run, and tells what failed above them.
func (c *Console) rejectsPage(r *request, failure error) (view, error) {
	id := r.PathValue("run")
	res, err := c.scheduler.GetRun(r.Context(), &schedulerv1.GetRunRequest{Workspace: r.workspace, Id: id})
	if err != nil {
		return nil, err //nolint:wrapcheck // classified
	}
	run, path, query := res.GetRun(), r.path("runs", id, "rejects"), r.URL.Query()
	p := rejectsPage{
		Path: path, Back: r.path("runs", id), Run: run, Filter: rejectFilterOf(query), Open: !isOver(run), Later: query.Get("page") != "",
		Export: path + "/export", ExportCSV: path + "/export?format=csv",
	}
	if err := c.countRejects(r, &p); err != nil {
		return nil, err
	}
	next, err := c.findRejects(r, &p, query.Get("page"))
	if err != nil {
		return nil, err
	}
	if next != "" {
		p.Next = p.Filter.address(path, next)
	}
	if !p.Later && len(p.Rejects) > 0 {
		p.Samples = c.sampleRejects(r, p.Filter)
	}
	title := fmt.Sprintf("Rejects of run %d of %s", run.GetRunNo(), run.GetSync())
	return page{name: "rejects", title: title, section: "runs", data: p, failure: failure}, nil
}

// countRejects asks how many rejects there are of each reason.
func (c *Console) countRejects(r *request, p *rejectsPage) error {
	res, err := c.ingestion.ListRejects(r.Context(), &ingestionv1.ListRejectsRequest{Workspace: r.workspace, Run: r.PathValue("run"), PageSize: 1})
	if err != nil {
		return err //nolint:wrapcheck // classified
	}
	all := res.GetByReason()
	var most int64 = 1
	for _, g := range all {
		p.Total += g.GetRejects()
		most = max(most, g.GetRejects())
	}
	p.MoreGroups = max(0, len(all)-groupsShown)
	for _, g := range head(all, groupsShown) {
		f := rejectFilter{Stage: g.GetStage(), Column: g.GetColumn(), Rule: g.GetRule(), Reason: g.GetReason()}
		row := rejectGroup{RejectCount: g, Share: tenth(max(2, barWidth*float64(g.GetRejects())/float64(most))), Chosen: f == p.Filter}
		if g.GetStage() != "" { // the rest, as "other reasons"
			row.Link = f.address(p.Path, "")
		}
		p.Groups = append(p.Groups, row)
	}
	return nil
}

// findRejects fills the list from a token on, and answers the token to go on with.
func (c *Console) findRejects(r *request, p *rejectsPage, token string) (string, error) {
	size := int32(rejectsOnPage)
	if !p.Filter.Empty() {
		size = 500
	}
	for {
		res, err := c.ingestion.ListRejects(r.Context(), &ingestionv1.ListRejectsRequest{
			Workspace: r.workspace, Run: r.PathValue("run"), PageSize: size, PageToken: token,
		})
		if err != nil {
			return "", err //nolint:wrapcheck // classified
		}
		token = res.GetNextPageToken()
		for _, x := range res.GetRejects() {
			if p.Filter.takes(x) {
				p.Rejects = append(p.Rejects, x)
			}
		}
		if p.Filter.Empty() {
			return token, nil
		}
		p.Looked += len(res.GetRejects())
		if token == "" || len(p.Rejects) >= rejectsOnPage || p.Looked >= rejectsLooked {
			return token, nil
		}
	}
}

// replayRejects starts the run that takes the rejects through the mapping as it is now, and leads to it.
func (c *Console) replayRejects(r *request) (view, error) {
	if err := r.form(); err != nil {
		return nil, err
	}
	if r.PostFormValue("act") != "replay" {
		return c.rejectsPage(r, fault.New(fault.Invalid, fault.ReasonInvalidArgument, "nothing is done by this button; use those of the page"))
	}
	res, err := c.ingestion.ReplayRejects(r.Context(), &ingestionv1.ReplayRejectsRequest{Workspace: r.workspace, Run: r.PathValue("run")})
	if err != nil {
		return c.rejectsPage(r, err)
	}
	return after(r.path("runs", res.GetRun().GetId()), "replayed"), nil
}

// rejectFilter is what the rejects are narrowed to; an empty field narrows nothing. The reason may be a part of it.
type rejectFilter struct{ Stage, Column, Rule, Reason string }

func rejectFilterOf(q url.Values) rejectFilter {
	return rejectFilter{q.Get("stage"), q.Get("column"), q.Get("rule"), q.Get("reason")}
}

// Empty says whether nothing is narrowed.
func (f rejectFilter) Empty() bool { return f == rejectFilter{} }

func (f rejectFilter) takes(x *ingestionv1.Reject) bool {
	return (f.Stage == "" || f.Stage == x.GetStage()) && (f.Column == "" || f.Column == x.GetColumn()) &&
		(f.Rule == "" || f.Rule == x.GetRule()) && strings.Contains(strings.ToLower(x.GetReason()), strings.ToLower(f.Reason))
}

// address answers the address of a page of the filtered rejects; the empty token is the first.
func (f rejectFilter) address(path, token string) string {
	return addressOf(path, "stage", f.Stage, "column", f.Column, "rule", f.Rule, "reason", f.Reason, "page", token)
}
