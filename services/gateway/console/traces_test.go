package console

import (
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	tracev1 "millrace.dev/gen/millrace/trace/v1"
	"millrace.dev/pkg/fault"
)

const traceA = "4bf92f3577b34da6a3ce929d0e0e4736"

var traceStart = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func millis(n int64) *durationpb.Duration {
	return durationpb.New(time.Duration(n) * time.Millisecond)
}

// atStage answers a stage with its work and queue in milliseconds.
func atStage(name string, work, queue int64) *tracev1.Stage {
	return &tracev1.Stage{Name: name, Work: millis(work), Queue: millis(queue)}
}

// batchTrace answers the trace of the n-th batch of a run, a second after the one before.
func batchTrace(n int, stages ...*tracev1.Stage) *tracev1.Trace {
	return &tracev1.Trace{
		TraceId: fmt.Sprintf("%032x", n+1), Kind: tracev1.TraceKind_TRACE_KIND_BATCH, State: tracev1.TraceState_TRACE_STATE_OK, Sync: "customers", Run: "r1",
		Batch: fmt.Sprintf("r1/1/1/%d", n), RunTraceId: traceA, StartTime: timestamppb.New(traceStart.Add(time.Duration(n) * time.Second)),
		Duration: millis(120), Stages: stages, SlowestStage: "map", Services: []string{"extractor", "mapper"}, Spans: 9, Complete: true,
	}
}

// postTo sends a form, and answers status, where it leads and the page.
func postTo(t *testing.T, c *Console, path string, form url.Values) (status int, to, body string) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	c.ServeHTTP(w, r)
	return w.Code, w.Header().Get("Location"), w.Body.String()
}

func TestTracesAreListedByWhatIsAskedFor(t *testing.T) {
	var asked *tracev1.ListTracesRequest
	failed := batchTrace(0, atStage("extract", 40, 0), atStage("map", 10, 30))
	failed.State, failed.Reason, failed.Rejects, failed.Complete = tracev1.TraceState_TRACE_STATE_ERROR, "store_unavailable", 12000, false
	failed.Sync = "<script>alert(1)</script>"
	c := open(t, answers{"ListTraces": func(in any) (proto.Message, error) {
		asked = in.(*tracev1.ListTracesRequest)
		return &tracev1.ListTracesResponse{Traces: []*tracev1.Trace{failed}, NextPageToken: "next page"}, nil
	}})
	w := get(t, c, "/w/shop/traces?sync=customers&kind=any&state=error&stage=map&from=2026-03-01T10:00&until=2026-03-01T14:00:30%2B02:00&order=slowest&page=p2")
	require.Equal(t, http.StatusOK, w.Code, w.Body.String())
	require.Equal(t, `sync="customers" AND state="error" AND slowest_stage="map"`, asked.GetFilter())
	require.Equal(t, "duration desc", asked.GetOrderBy())
	require.Equal(t, "shop", asked.GetWorkspace())
	require.Equal(t, "p2", asked.GetPageToken())
	require.Equal(t, traceStart.Add(-2*time.Hour), asked.GetFrom().AsTime())
	require.Equal(t, traceStart.Add(30*time.Second), asked.GetUntil().AsTime())

	body := w.Body.String()
	require.Contains(t, body, `href="/w/shop/traces/`+failed.GetTraceId()+`"`)
	require.Contains(t, body, "batch 1/1/0")
	require.Contains(t, body, `<span class="state bad">error</span> <small>store unavailable</small>`)
	require.Contains(t, body, `<span class="state busy">open</span>`)
	require.Contains(t, body, "2026-03-01 12:00:00.000")
	require.Contains(t, body, `href="/w/shop/runs/r1/rejects">12`+"\u202f"+`000</a>`)
	require.Contains(t, body, "extract 40.0 ms, map 10.0 ms after 30.0 ms in the queue")
	require.Contains(t, body, `<option value="slowest" selected>`)
	require.Contains(t, body, `value="2026-03-01T10:00"`, "what was typed stays")
	require.NotContains(t, body, "<script>alert")
	next := body[strings.Index(body, `rel="next" href="`)+len(`rel="next" href="`):]
	u, err := url.Parse(html.UnescapeString(next[:strings.Index(next, `"`)]))
	require.NoError(t, err)
	require.Equal(t, "next page", u.Query().Get("page"))
	require.Equal(t, "slowest", u.Query().Get("order"), "further pages are of the same list")
	require.Equal(t, "any", u.Query().Get("kind"))
}

func TestTracesThatCanNotBeAskedForLeaveTheFormAsItWas(t *testing.T) {
	c := open(t, answers{"ListTraces": func(any) (proto.Message, error) {
		return nil, fault.Of(fault.ReasonInvalidArgument, []fault.Violation{{Field: "filter", Message: `state can not be "x"`, Fix: "it is one of ok, error"}})
	}})
	w := get(t, c, "/w/default/traces?from=yesterday&until=now&sync=mine")
	require.Equal(t, http.StatusBadRequest, w.Code)
	require.Equal(t, 2, strings.Count(w.Body.String(), "is no instant</td>"), "both are told at once")
	require.Contains(t, w.Body.String(), `value="mine"`)
	w = get(t, c, "/w/default/traces?state=x")
	require.Equal(t, http.StatusBadRequest, w.Code)
	require.Contains(t, w.Body.String(), "it is one of ok, error")
}

func TestWithoutTracesThePageSaysWhy(t *testing.T) {
	w := get(t, open(t, answers{"ListTraces": says(&tracev1.ListTracesResponse{})}), "/w/default/traces?run=r1")
	require.Equal(t, http.StatusOK, w.Code)
	require.Contains(t, w.Body.String(), "There is no such trace.")
	require.NotContains(t, w.Body.String(), `class="heat"`)
}

func TestTheBatchesOfARunAreAHeatStrip(t *testing.T) {
	var sizes []int32
	slow := batchTrace(1, atStage("extract", 10, 0), atStage("map", 400, 100), atStage("ingest", 20, 5))
	slow.Rejects = 3
	broken := batchTrace(2, atStage("extract", 10, 0), atStage("map", 4, 1))
	broken.State, broken.Reason = tracev1.TraceState_TRACE_STATE_ERROR, "mapping_invalid"
	newest := []*tracev1.Trace{broken, slow, batchTrace(0, atStage("extract", 30, 0), atStage("map", 8, 2), atStage("ingest", 10, 1))}
	c := open(t, answers{"ListTraces": func(in any) (proto.Message, error) {
		sizes = append(sizes, in.(*tracev1.ListTracesRequest).GetPageSize())
		require.Equal(t, `run="r1" AND kind="batch"`, in.(*tracev1.ListTracesRequest).GetFilter())
		return &tracev1.ListTracesResponse{Traces: newest, NextPageToken: "more"}, nil
	}})
	w := get(t, c, "/w/default/traces?run=r1")
	require.Equal(t, http.StatusOK, w.Code, w.Body.String())
	require.Equal(t, []int32{tracesOnPage, stripBatches}, sizes)
	body := w.Body.String()
	require.Contains(t, body, "3 batches by start, from 2026-03-01 12:00:00.000 to 2026-03-01 12:00:02.000 UTC: the newest of the run, which has more")
	require.Contains(t, body, "the darkest took 400 ms")
	require.Contains(t, body, `<a href="/w/default/traces/`+slow.GetTraceId()+`" tabindex="-1"><title>batch 1/1/1, 2026-03-01 12:00:01.000: extract 10.0 ms, map 400 ms after 100 ms in the queue, ingest 20.0 ms after 5.00 ms in the queue; 3 rejects</title>`)
	require.Contains(t, body, "failed: mapping invalid")
	require.Contains(t, body, "queue of ingest")
	require.NotContains(t, body, "queue of extract", "nothing waits for it")
	require.NotContains(t, get(t, c, "/w/default/traces?run=r1&page=2").Body.String(), `class="heat"`, "it is on the first page")
}

func TestAStripIsBoundedAndTellsFiguresByTheNearestRank(t *testing.T) {
	var batches []*tracev1.Trace
	for n := range stripBatches {
		batches = append(batches, batchTrace(n, atStage("extract", int64(n+1), 0), atStage("ingest", 5, int64(n%2))))
	}
	s := heatStripOf("default", batches)
	require.Len(t, s.Columns, stripBatches)
	require.Equal(t, "99.900%", s.Columns[stripBatches-1].X)
	require.Equal(t, []stageFigures{
		{Name: "extract", Batches: stripBatches, Work: quantiles{"500 ms", "950 ms", "1.00 s"}},
		{Name: "ingest", Batches: stripBatches, Work: quantiles{"5.00 ms", "5.00 ms", "5.00 ms"}, Queue: &quantiles{"0 ms", "1.00 ms", "1.00 ms"}},
	}, s.Figures)
	page := get(t, open(t, answers{"ListTraces": says(&tracev1.ListTracesResponse{Traces: batches})}), "/w/default/traces?run=r1").Body.String()
	require.Equal(t, stripBatches, strings.Count(page, `class="hit"`))
	require.Less(t, len(page), 3<<20, "with as many rows in the list")
	require.Equal(t, "2.500%", heatStripOf("default", batches[:2]).Columns[1].X, "two batches are no two walls")
	require.Equal(t, quantiles{"2.00 ms", "3.00 ms", "3.00 ms"}, quantilesOf([]time.Duration{3 * time.Millisecond, time.Millisecond, 2 * time.Millisecond}))
}

func TestLongerIsDarker(t *testing.T) {
	require.Equal(t, "1.00", intensity(time.Second, time.Second))
	require.Equal(t, "0.50", intensity(250*time.Millisecond, time.Second))
	require.Equal(t, "0.06", intensity(time.Microsecond, time.Second), "it was there")
}

func TestDurationsHaveThreeDigits(t *testing.T) {
	for want, d := range map[string]time.Duration{
		"0 ms": -1, "0.50 µs": 500, "312 µs": 312 * time.Microsecond, "1.24 ms": 1240 * time.Microsecond, "18.3 s": 18300 * time.Millisecond, "1 min 5 s": 65 * time.Second,
	} {
		require.Equal(t, want, precise(d))
	}
}

func TestConfigurationsAreListedMadeAndDeleted(t *testing.T) {
	var made *tracev1.TraceConfig
	var gone string
	many := make([]string, 13)
	for i := range many {
		many[i] = fmt.Sprintf("sync%d", i)
	}
	c := open(t, answers{
		"ListTraceConfigs": says(&tracev1.ListTraceConfigsResponse{Configs: []*tracev1.TraceConfig{
			{Id: "errors", Sampling: tracev1.Sampling_SAMPLING_ERRORS, Syncs: many, Feeds: []string{"web"}},
			{Id: "some", Sampling: tracev1.Sampling_SAMPLING_ONE_IN, OneIn: 1000, Stages: []string{"map", "ingest"}},
		}}),
		"CreateTraceConfig": func(in any) (proto.Message, error) {
			made = in.(*tracev1.CreateTraceConfigRequest).GetConfig()
			switch {
			case made.GetId() == "errors":
				return nil, fault.New(fault.Conflict, fault.ReasonAlreadyExists, "there is a trace configuration errors already")
			case made.GetSampling() == tracev1.Sampling_SAMPLING_ONE_IN && made.GetOneIn() == 0:
				return nil, fault.Of(fault.ReasonInvalidArgument, []fault.Violation{{Field: "config.one_in", Message: "is not from 2 to 1,000,000"}})
			}
			return &tracev1.CreateTraceConfigResponse{}, nil
		},
		"DeleteTraceConfig": func(in any) (proto.Message, error) {
			gone = in.(*tracev1.DeleteTraceConfigRequest).GetId()
			return &tracev1.DeleteTraceConfigResponse{}, nil
		},
	})
	body := get(t, c, "/w/default/traces/configs").Body.String()
	require.Contains(t, body, "of the syncs sync0, sync1, sync2, sync3, sync4, sync5, sync6, sync7, sync8, sync9 and 3 more, or of the feeds web")
	require.Contains(t, body, "one in 1\u202f000")
	require.Contains(t, body, `action="/w/default/traces/configs/errors/delete"`)

	status, to, _ := postTo(t, c, "/w/default/traces/configs", url.Values{
		"id": {"mine"}, "syncs": {"a, b"}, "feeds": {""}, "from": {"2026-03-01T12:00"}, "stage": {"ingest", "map", "nonsense"}, "sampling": {"one_in"}, "one_in": {"10"},
	})
	require.Equal(t, http.StatusSeeOther, status)
	require.Equal(t, "/w/default/traces/configs?done=created", to)
	require.True(t, proto.Equal(&tracev1.TraceConfig{
		Id: "mine", Syncs: []string{"a", "b"}, From: timestamppb.New(traceStart), Stages: []string{"map", "ingest"}, Sampling: tracev1.Sampling_SAMPLING_ONE_IN, OneIn: 10,
	}, made), made.String())

	status, _, body = postTo(t, c, "/w/default/traces/configs", url.Values{"id": {"x"}, "from": {"then"}, "sampling": {"all"}})
	require.Equal(t, http.StatusBadRequest, status)
	require.Contains(t, body, "is no instant")
	require.Contains(t, body, `value="then"`)

	status, _, body = postTo(t, c, "/w/default/traces/configs", url.Values{"id": {"<b>"}, "sampling": {"one_in"}, "one_in": {"few"}, "stage": {"map"}})
	require.Equal(t, http.StatusBadRequest, status)
	require.Contains(t, body, "is not from 2 to 1,000,000")
	require.Contains(t, body, `value="few"`)
	require.Contains(t, body, `value="&lt;b&gt;"`, "what was typed stays")
	require.Contains(t, body, `value="map" checked`)

	status, _, body = postTo(t, c, "/w/default/traces/configs", url.Values{"id": {"errors"}, "sampling": {"all"}})
	require.Equal(t, http.StatusConflict, status)
	require.Contains(t, body, "There is one already")
	require.NotContains(t, body, "Load it anew", "nobody has changed anything")

	status, to, _ = postTo(t, c, "/w/default/traces/configs/some/delete", nil)
	require.Equal(t, http.StatusSeeOther, status)
	require.Equal(t, "/w/default/traces/configs?done=deleted", to)
	require.Equal(t, "some", gone)
}
