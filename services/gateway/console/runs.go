package console

import (
	"net/url"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"

	configv1 "millrace.dev/gen/millrace/config/v1"
	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
	"millrace.dev/pkg/fault"
)

const (
	runsOnPage   = 50
	syncsOffered = 200 // ids that the filter offers; others can be typed
)

func (c *Console) runRoutes() []route {
	return []route{
		{"GET /w/{workspace}/runs", c.listRuns},
		{"GET /w/{workspace}/runs/{run}", c.showRun},
		{"POST /w/{workspace}/runs/{run}", c.actOnRun},
	}
}

func (c *Console) runStreams() []streamRoute {
	return []streamRoute{{"GET /w/{workspace}/live/runs/{run}", c.watchRun}}
}

// runsPage is the table of runs, newest first.
type runsPage struct {
	Filter                 runFilter
	States, Lanes, Reasons []option
	Syncs                  []string
	Rows                   []runRow
	Legend                 []string // names of what bars show
	Later                  bool     // it is not the first page
	First, Next            string   // addresses; Next is empty on the last page
}

// runRow is a run in the table.
type runRow struct {
	Run  *schedulerv1.Run
	Took string
	Bar  []segment
	account
}

func (c *Console) listRuns(r *request) (view, error) {
	query := r.URL.Query()
	p := runsPage{Filter: runFilterOf(query), Later: query.Get("page") != "", Syncs: c.syncIDs(r), Legend: barNames()}
	p.States = options(p.Filter.State, wordsOf(schedulerv1.RunState(0))...)
	p.Lanes = options(p.Filter.Lane, wordsOf(schedulerv1.Lane(0))...)
	p.Reasons = options(p.Filter.Reason, wordsOf(schedulerv1.RunReason(0))...)
	list := r.path("runs")
	p.First = p.Filter.address(list, "")
	runs, next, err := c.runsOn(r, p.Filter, query.Get("page"))
	if err != nil {
		if fault.ClassOf(err) != fault.Invalid {
			return nil, err
		}
		return page{name: "runs", title: "Runs", section: "runs", data: p, failure: err}, nil
	}
	if next != "" {
		p.Next = p.Filter.address(list, next)
	}
	now := time.Now()
	for _, run := range runs {
		p.Rows = append(p.Rows, runRow{Run: run, Took: took(run, now), Bar: segmentsOf(run.GetCounts()), account: accountOf(run)})
	}
	return page{name: "runs", title: "Runs", section: "runs", data: p}, nil
}

// runsOn answers a page of the runs that a filter leaves, and the token of the next.
func (c *Console) runsOn(r *request, f runFilter, token string) ([]*schedulerv1.Run, string, error) {
	if err := f.check(); err != nil {
		return nil, "", err
	}
	res, err := c.scheduler.ListRuns(r.Context(), &schedulerv1.ListRunsRequest{
		Workspace: r.workspace, Sync: f.Sync, Filter: f.terms(), PageSize: runsOnPage, PageToken: token,
	})
	return res.GetRuns(), res.GetNextPageToken(), err //nolint:wrapcheck // classified
}

// syncIDs answers the ids of syncs that the filter offers; none where they can not be asked for, since any can be typed.
func (c *Console) syncIDs(r *request) []string {
	res, err := c.config.ListSyncs(r.Context(), &configv1.ListSyncsRequest{Workspace: r.workspace, PageSize: syncsOffered})
	if err != nil {
		return nil
	}
	out := make([]string, 0, len(res.GetSyncs()))
	for _, s := range res.GetSyncs() {
		out = append(out, s.GetMeta().GetId())
	}
	return out
}

// runFilter is what the table of runs is narrowed to; an empty field narrows nothing.
type runFilter struct{ Sync, State, Lane, Reason string }

func runFilterOf(q url.Values) runFilter {
	return runFilter{strings.TrimSpace(q.Get("sync")), q.Get("state"), q.Get("lane"), q.Get("reason")}
}

// check refuses words that no run has.
func (f runFilter) check() error {
	var vs []fault.Violation
	for _, t := range []struct {
		field, value string
		of           protoreflect.Enum
	}{
		{"state", f.State, schedulerv1.RunState(0)}, {"lane", f.Lane, schedulerv1.Lane(0)}, {"reason", f.Reason, schedulerv1.RunReason(0)},
	} {
		if all := wordsOf(t.of); t.value != "" && !slices.Contains(all, t.value) {
			vs = append(vs, fault.Violation{Field: t.field, Message: "no run has this " + t.field, Fix: "choose one of " + strings.Join(all, ", ")})
		}
	}
	return fault.Of(fault.ReasonInvalidArgument, vs) //nolint:wrapcheck // born here
}

// terms answers the filter as the scheduler reads it, the sync left out.
func (f runFilter) terms() string {
	var out []string
	for _, t := range [][2]string{{"state", f.State}, {"lane", f.Lane}, {"reason", f.Reason}} {
		if t[1] != "" {
			out = append(out, t[0]+"="+t[1])
		}
	}
	return strings.Join(out, " AND ")
}

// Empty says whether nothing is narrowed.
func (f runFilter) Empty() bool { return f == runFilter{} }

// address answers the address of a page of the filtered list; the empty token is the first.
func (f runFilter) address(list, token string) string {
	return addressOf(list, "sync", f.Sync, "state", f.State, "lane", f.Lane, "reason", f.Reason, "page", token)
}

// addressOf answers a path with a query of names and values; empty values are left out.
func addressOf(path string, pairs ...string) string {
	q := url.Values{}
	for pair := range slices.Chunk(pairs, 2) {
		if pair[1] != "" {
			q.Set(pair[0], pair[1])
		}
	}
	if len(q) == 0 {
		return path
	}
	return path + "?" + q.Encode()
}

// wordsOf answers the words of an enum's values in their order.
func wordsOf(e protoreflect.Enum) []string {
	var out []string
	values := e.Descriptor().Values()
	for i := range values.Len() {
		if w := word(e.Type().New(values.Get(i).Number())); w != "" {
			out = append(out, w)
		}
	}
	return out
}

// took says how long a run took, or is taking; empty before it starts.
func took(run *schedulerv1.Run, now time.Time) string {
	start, end := run.GetStartTime(), run.GetEndTime()
	switch {
	case start == nil:
		return ""
	case end == nil:
		return span(now.Sub(start.AsTime())) + " so far"
	default:
		return span(end.AsTime().Sub(start.AsTime()))
	}
}

// isOver says whether a run has reached its last state.
func isOver(run *schedulerv1.Run) bool {
	switch run.GetState() {
	case schedulerv1.RunState_RUN_STATE_QUEUED, schedulerv1.RunState_RUN_STATE_PLANNING, schedulerv1.RunState_RUN_STATE_RUNNING,
		schedulerv1.RunState_RUN_STATE_HELD:
		return false
	default:
		return true
	}
}
