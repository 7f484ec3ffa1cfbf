package console

import (
	"net/url"
	"slices"
	"strings"
	"time"

	tracev1 "millrace.dev/gen/millrace/trace/v1"
	"millrace.dev/pkg/fault"
)

const (
	tracesOnPage = 100
	stripBatches = 1000 // of a run, which its heat strip shows at most
)

func (c *Console) traceRoutes() []route {
	return []route{
		{"GET /w/{workspace}/traces", c.listTraces},
		{"GET /w/{workspace}/traces/{trace}", c.showTrace},
		{"GET /w/{workspace}/traces/configs", c.listTraceConfigs},
		{"POST /w/{workspace}/traces/configs", c.createTraceConfig},
		{"POST /w/{workspace}/traces/configs/{config}/delete", c.deleteTraceConfig},
	}
}

func (c *Console) traceStreams() []streamRoute {
	return []streamRoute{{"GET /w/{workspace}/traces/{trace}/live", c.watchTrace}}
}

// tracesPage is the list of traces and, where it is of one run, how the run's batches went.
type tracesPage struct {
	Filter                       traceFilter
	Kinds, States, Stages, Order []choice
	Strip                        *heatStrip
	Rows                         []traceRow
	Slowest, Next                string // addresses; empty where there are none
}

// traceRow is a trace in the list.
type traceRow struct {
	Trace               *tracev1.Trace
	Name, Started, Took string
	Run                 string // the end of its id, which tells runs apart
	Bars                []stageBar
	Words               string // of the bars
}

func (c *Console) listTraces(r *request) (view, error) {
	f := traceFilterOf(r)
	p := tracesPage{Filter: f, Kinds: traceKinds, States: traceStates, Stages: traceStages, Order: traceOrders}
	v := page{name: "traces", title: "Traces", section: "traces"}
	res, err := c.tracesOf(r, f)
	switch {
	case fault.ClassOf(fault.FromStatus(err)) == fault.Invalid:
		v.failure = err
	case err != nil:
		return nil, err
	}
	p.Rows = traceRows(res.GetTraces())
	if f.Order == "" && len(p.Rows) > 1 {
		p.Slowest = r.path("traces") + "?" + f.with("order", orderSlowest).Encode()
	}
	if token := res.GetNextPageToken(); token != "" {
		p.Next = r.path("traces") + "?" + f.with("page", token).Encode()
	}
	if f.Run != "" && f.Kind == "batch" && r.FormValue("page") == "" && err == nil {
		if p.Strip, err = c.stripOf(r, f.Run); err != nil {
			return nil, err
		}
	}
	v.data = p
	return v, nil
}

// tracesOf answers the page of traces that a filter selects.
func (c *Console) tracesOf(r *request, f traceFilter) (*tracev1.ListTracesResponse, error) {
	req, err := f.request()
	if err != nil {
		return nil, err
	}
	req.Workspace, req.PageSize, req.PageToken = r.workspace, tracesOnPage, r.FormValue("page")
	return c.trace.ListTraces(r.Context(), req) //nolint:wrapcheck // classified
}

// stripOf answers the heat strip of a run's newest batches, nil where it has no traces.
func (c *Console) stripOf(r *request, run string) (*heatStrip, error) {
	req, err := traceFilter{Run: run, Kind: "batch"}.request()
	if err != nil {
		return nil, err
	}
	req.Workspace, req.PageSize = r.workspace, stripBatches
	res, err := c.trace.ListTraces(r.Context(), req)
	if err != nil {
		return nil, err //nolint:wrapcheck // classified
	}
	if len(res.GetTraces()) == 0 {
		return nil, nil
	}
	batches := slices.Clone(res.GetTraces())
	slices.Reverse(batches)
	s := heatStripOf(r.workspace, batches)
	s.More = res.GetNextPageToken() != ""
	return &s, nil
}

// traceRows answers rows whose bars have one scale, so that the slow ones stand out.
func traceRows(traces []*tracev1.Trace) []traceRow {
	var most time.Duration
	for _, t := range traces {
		most = max(most, atStages(t))
	}
	rows := make([]traceRow, 0, len(traces))
	for _, t := range traces {
		rows = append(rows, traceRow{
			Trace: t, Name: traceName(t), Started: clock(t.GetStartTime().AsTime()), Took: precise(t.GetDuration().AsDuration()),
			Run: tailOf(t.GetRun()), Bars: stageBars(t.GetStages(), most), Words: stageWords(t.GetStages()),
		})
	}
	return rows
}

// traceName answers what a trace is of, as short as it can be told apart.
func traceName(t *tracev1.Trace) string {
	switch t.GetKind() {
	case tracev1.TraceKind_TRACE_KIND_BATCH:
		return "batch " + batchName(t.GetBatch())
	case tracev1.TraceKind_TRACE_KIND_RUN:
		return "run " + tailOf(t.GetRun())
	default:
		return "a call of " + strings.Join(t.GetServices(), ", ")
	}
}

// batchName answers the name of a batch within its run: part/epoch/seq.
func batchName(batch string) string {
	if _, within, ok := strings.Cut(batch, "/"); ok {
		return within
	}
	return batch
}

// tailOf answers the end of an id, whose beginning is a time.
func tailOf(id string) string {
	if i := strings.LastIndexByte(id, '-'); i >= 0 && len(id) == 36 {
		return "…" + id[i+1:]
	}
	return id
}

// clock answers an instant to the millisecond, in UTC.
func clock(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05.000") }

// choice is an entry of a list to choose from.
type choice struct{ Value, Text string }

const orderSlowest = "slowest"

//nolint:gochecknoglobals // tables
var (
	traceKinds  = []choice{{"batch", "batches"}, {"run", "runs"}, {"other", "calls and other clients'"}, {"any", "of any kind"}}
	traceStates = []choice{{"", "any"}, {"ok", "ok"}, {"error", "error"}}
	traceStages = []choice{{"", "any"}, {"plan", "plan"}, {"extract", "extract"}, {"map", "map"}, {"ingest", "ingest"}, {"deliver", "deliver"}}
	traceOrders = []choice{{"", "newest first"}, {"oldest", "oldest first"}, {orderSlowest, "slowest first"}}
)

// with answers the filter as the query of an address, with a further value.
func (f traceFilter) with(name, value string) url.Values {
	q := url.Values{}
	for _, v := range f.values() {
		if v.value != "" {
			q.Set(v.name, v.value)
		}
	}
	q.Set(name, value)
	return q
}
