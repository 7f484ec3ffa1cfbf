package console

import (
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
)

const (
	partsOnPage   = 100
	batchesOnPage = 50
	samplesShown  = 40
	reasonsShown  = 100
	changesShown  = 200
)

// runPage is the page of a run. Its parts that change while the run is open are the blocks acts, hold, now and parts.
type runPage struct {
	Acts    runActs
	Hold    runHold
	Now     runNow
	Parts   partsTable
	Batches batchesTable
	Stream  string // of what changes; empty once the run is over
}

// runActs is what a run is and what can be done with it.
type runActs struct {
	Workspace, Path, Sync, Traces, Rejects string // addresses, but for the workspace
	Run                                    *schedulerv1.Run
	Rejected                               int64 // rows that can be looked at
	CanCancel, CanRetry, CanRun, Held      bool
	Key                                    string // of the run that the form starts
}

// runHold is why a run is held, or was.
type runHold struct {
	Path    string
	Run     *schedulerv1.Run
	Held    bool
	Stamp   string // names the hold: an answer to it is none to another
	Samples []sampleGroup
	Columns []*schedulerv1.ColumnChange
	More    int // columns that are not shown
}

// runNow is what is known of a run so far.
type runNow struct {
	Workspace string
	Run       *schedulerv1.Run
	Open      bool
	Took      string
	Low, High string // what it reads; empty where there is no such edge
	Costs     []string
	Progress  runProgress
	account
	Flow      *flow
	Equations []equation
	Noted     []note
	Drift     []*schedulerv1.ColumnChange
	Samples   []sampleGroup               // of a dry run
	Reasons   []*schedulerv1.RejectReason // of a dry run
}

// partsTable is a page of a run's parts.
type partsTable struct {
	Rows []*schedulerv1.Part
	Next string // address; empty on the last page
}

// batchesTable is a page of a run's batches.
type batchesTable struct {
	Workspace   string
	Rows        []batchRow
	First, Next string // addresses; empty where there are none
}

// batchRow is a batch with what became of its rows.
type batchRow struct {
	*schedulerv1.Batch
	Name string // within the run
	Bar  []segment
	Told string
}

func (c *Console) showRun(r *request) (view, error) { return c.runPage(r, nil) }

// runPage answers the page of the path's run, and tells what failed above it.
func (c *Console) runPage(r *request, failure error) (view, error) {
	res, err := c.scheduler.GetRun(r.Context(), &schedulerv1.GetRunRequest{Workspace: r.workspace, Id: r.PathValue("run")})
	if err != nil {
		return nil, err //nolint:wrapcheck // classified
	}
	run := res.GetRun()
	parts, err := c.partsOf(r)
	if err != nil {
		return nil, err
	}
	batches, err := c.batchesOf(r)
	if err != nil {
		return nil, err
	}
	p := runPage{
		Acts: r.actsOf(run), Hold: r.holdOf(run), Now: r.nowOf(run, parts.Rows, 0), Parts: parts, Batches: batches,
	}
	if !isOver(run) {
		p.Stream = addressOf(r.path("live", "runs", run.GetId()), "parts", r.URL.Query().Get("parts"))
	}
	title := fmt.Sprintf("Run %d of %s", run.GetRunNo(), run.GetSync())
	return page{name: "run", title: title, section: "runs", data: p, failure: failure}, nil
}

func (r *request) actsOf(run *schedulerv1.Run) runActs {
	state, c := run.GetState(), run.GetCounts()
	path := r.path("runs", run.GetId())
	a := runActs{
		Workspace: r.workspace, Path: path, Sync: r.path("syncs", run.GetSync()), Run: run, Key: uuid.NewString(),
		Traces: addressOf(r.path("traces"), "run", run.GetId()),
		Held:   state == schedulerv1.RunState_RUN_STATE_HELD,
	}
	if !run.GetDryRun() && !run.GetDry() { // what is only tried out keeps none
		a.Rejects, a.Rejected = path+"/rejects", c.GetRejected()+c.GetRefused()
	}
	a.CanCancel = !isOver(run) && !a.Held
	a.CanRetry = state == schedulerv1.RunState_RUN_STATE_FAILED || state == schedulerv1.RunState_RUN_STATE_CANCELLED
	a.CanRun = isOver(run) && run.GetLane() != schedulerv1.Lane_LANE_HISTORY
	return a
}

func (r *request) holdOf(run *schedulerv1.Run) runHold {
	h := run.GetHold()
	out := runHold{Path: r.path("runs", run.GetId()), Run: run, Held: run.GetState() == schedulerv1.RunState_RUN_STATE_HELD, Stamp: stampOf(h)}
	out.Samples = sampleGroups(h.GetSamples())
	out.Columns = head(h.GetColumns(), changesShown)
	out.More = len(h.GetColumns()) - len(out.Columns)
	return out
}

// stampOf names a hold among those of its run.
func stampOf(h *schedulerv1.Hold) string {
	if h.GetCreateTime() == nil {
		return ""
	}
	return h.GetCreateTime().AsTime().Format(time.RFC3339Nano)
}

// nowOf says how a run stands, at a pace of rows per second; 0 where it is not known.
func (r *request) nowOf(run *schedulerv1.Run, parts []*schedulerv1.Part, pace float64) runNow {
	out := runNow{
		Workspace: r.workspace, Run: run, Open: !isOver(run), Took: took(run, time.Now()),
		Low: run.GetWindow().GetLow(), High: run.GetWindow().GetHigh(), Costs: costsOf(run),
		Progress: progressOf(run, parts, pace), account: accountOf(run), Flow: flowOf(run), Equations: equationsOf(run),
		Noted: noted(run.GetCounts()), Drift: head(run.GetDrift(), changesShown),
	}
	if run.GetDryRun() {
		out.Samples, out.Reasons = sampleGroups(run.GetSamples()), head(run.GetRejectReasons(), reasonsShown)
	}
	return out
}

// sampleGroup is rows that a run does the same with, by their key values.
type sampleGroup struct {
	Effect string
	Rows   [][]string
}

// sampleGroups puts rows together by what a run does with them, in the order of the first of each.
func sampleGroups(samples []*schedulerv1.EffectSample) []sampleGroup {
	var out []sampleGroup
	at := map[string]int{}
	for _, x := range head(samples, samplesShown) {
		i, known := at[x.GetEffect()]
		if !known {
			i = len(out)
			at[x.GetEffect()] = i
			out = append(out, sampleGroup{Effect: x.GetEffect()})
		}
		out[i].Rows = append(out[i].Rows, x.GetKeyValues())
	}
	return out
}

// head answers at most n of a list.
func head[T any](all []T, n int) []T { return all[:min(len(all), n)] }

// costsOf says what a run's queries cost, and what they were estimated to; nothing where the warehouse says nothing.
func costsOf(run *schedulerv1.Run) []string {
	var out []string
	add := func(n *int64, what string) {
		if n != nil {
			out = append(out, byteSize(*n)+" "+what)
		}
	}
	if c := run.GetCost(); c != nil {
		add(c.BytesScanned, "scanned")
		add(c.BytesBilled, "billed")
	}
	if c := run.GetEstimatedCost(); c != nil {
		add(c.BytesScanned, "estimated to be scanned")
	}
	return out
}

// partsOf answers the page of parts that the address names.
func (c *Console) partsOf(r *request) (partsTable, error) {
	id := r.PathValue("run")
	res, err := c.scheduler.ListParts(r.Context(), &schedulerv1.ListPartsRequest{
		Workspace: r.workspace, Run: id, PageSize: partsOnPage, PageToken: r.URL.Query().Get("parts"),
	})
	if err != nil {
		return partsTable{}, err //nolint:wrapcheck // classified
	}
	out := partsTable{Rows: res.GetParts()}
	if next := res.GetNextPageToken(); next != "" {
		out.Next = addressOf(r.path("runs", id), "parts", next)
	}
	return out, nil
}

// batchesOf answers the page of batches that the address names.
func (c *Console) batchesOf(r *request) (batchesTable, error) {
	path, token := r.path("runs", r.PathValue("run")), r.URL.Query().Get("batches")
	res, err := c.scheduler.ListBatches(r.Context(), &schedulerv1.ListBatchesRequest{
		Workspace: r.workspace, Run: r.PathValue("run"), PageSize: batchesOnPage, PageToken: token,
	})
	if err != nil {
		return batchesTable{}, err //nolint:wrapcheck // classified
	}
	out := batchesTable{Workspace: r.workspace}
	if token != "" {
		out.First = path
	}
	if next := res.GetNextPageToken(); next != "" {
		out.Next = addressOf(path, "batches", next)
	}
	for _, b := range res.GetBatches() {
		_, name, _ := strings.Cut(b.GetId(), "/")
		bar := segmentsOf(b.GetCounts())
		out.Rows = append(out.Rows, batchRow{Batch: b, Name: name, Bar: bar, Told: toldCounts(bar)})
	}
	return out, nil
}
