package console

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	tracev1 "millrace.dev/gen/millrace/trace/v1"
	"millrace.dev/pkg/fault"
)

// spanOf answers a span between two milliseconds of a trace.
func spanOf(id, parent, service, name, stage string, kind tracev1.SpanKind, start, end int64, attributes map[string]any) *tracev1.Span {
	a, err := structpb.NewStruct(attributes)
	if err != nil {
		return nil
	}
	return &tracev1.Span{
		SpanId: id, ParentSpanId: parent, Service: service, Name: name, Kind: kind, Stage: stage, State: tracev1.TraceState_TRACE_STATE_OK, Attributes: a,
		StartTime: timestamppb.New(traceStart.Add(time.Duration(start) * time.Millisecond)), Duration: millis(end - start),
	}
}

const (
	internalSpan = tracev1.SpanKind_SPAN_KIND_INTERNAL
	producerSpan = tracev1.SpanKind_SPAN_KIND_PRODUCER
	consumerSpan = tracev1.SpanKind_SPAN_KIND_CONSUMER
)

// journey is a batch that was mapped at the second delivery, with rejects, by start.
func journey() []*tracev1.Span {
	message := map[string]any{"messaging.message.id": "r1/1/1/0"}
	first := spanOf("4", "2", "mapper", "map", "map", consumerSpan, 30, 40, message)
	first.State, first.Reason = tracev1.TraceState_TRACE_STATE_ERROR, "snapshot_unavailable"
	root := spanOf("1", "", "extractor", "read batch", "extract", internalSpan, 0, 10, map[string]any{"millrace.bytes": 2048.0, "millrace.rows": 16384.0, "db.system.name": "duckdb"})
	root.Links = []*tracev1.SpanLink{{TraceId: traceA, SpanId: "b7ad6b7169203331"}}
	return []*tracev1.Span{
		root,
		spanOf("2", "1", "extractor", "publish", "extract", producerSpan, 10, 20, nil),
		spanOf("3", "1", "extractor", "report", "extract", internalSpan, 20, 25, nil),
		first,
		spanOf("5", "2", "mapper", "map", "map", consumerSpan, 60, 80, map[string]any{"messaging.message.id": "r1/1/1/0", "millrace.attempt": 2.0, "millrace.rejected": 1200.0}),
		spanOf("6", "5", "mapper", "publish", "map", producerSpan, 70, 79, nil),
		spanOf("7", "6", "ingestion", "ingest", "ingest", consumerSpan, 75, 100, nil),
	}
}

func journeyTrace() *tracev1.Trace {
	tr := batchTrace(0, atStage("extract", 25, 0), atStage("map", 30, 10), atStage("ingest", 25, 0))
	tr.Rejects, tr.Feed = 1200, "web"
	return tr
}

func TestATraceIsAWaterfall(t *testing.T) {
	w := get(t, open(t, answers{"GetTrace": says(&tracev1.GetTraceResponse{Trace: journeyTrace(), Spans: journey()})}), "/w/shop/traces/"+traceA)
	require.Equal(t, http.StatusOK, w.Code, w.Body.String())
	body := w.Body.String()
	require.Contains(t, body, "Trace of batch 1/1/0")
	require.Contains(t, body, `href="/w/shop/syncs/customers"`)
	require.Contains(t, body, `href="/w/shop/runs/r1"`)
	require.Contains(t, body, `href="/w/shop/traces?run=r1"`, "to the other batches")
	require.Contains(t, body, `href="/w/shop/traces/`+traceA+`"`, "to the run's trace")
	require.Contains(t, body, `<span class="state bad">snapshot unavailable</span>`)
	require.Contains(t, body, `<span class="state warn">1`+"\u202f"+`200 rejects</span>`)
	require.Contains(t, body, `<span class="state idle">delivery 2</span>`)
	require.Contains(t, body, `aria-label="begins at 60.0 ms, takes 20.0 ms, after 20.0 ms in the queue"`, "since the first delivery had failed")
	require.Contains(t, body, `<rect class="s-queue" x="40.000%" y="7" width="20.000%" height="6"/><rect class="s-map" x="60.000%" y="3" width="20.000%" height="14"/>`)
	require.Contains(t, body, `<rect class="s-map failed"`)
	require.Contains(t, body, "<dt><code>millrace.bytes</code></dt><dd><bdi>2.0 KiB</bdi></dd>")
	require.Contains(t, body, "<dt><code>millrace.rows</code></dt><dd><bdi>16\u202f384</bdi></dd>")
	require.Contains(t, body, `map <small>slowest</small>`)
	require.NotContains(t, body, "data-live", "it is complete")
	require.NotContains(t, body, "style=")
}

func TestSpansStandBelowTheirParents(t *testing.T) {
	w := waterfallOf(journey())
	var drawn []string
	for _, r := range w.Rows {
		drawn = append(drawn, strings.Repeat(">", r.Depth)+r.Span.GetSpanId())
	}
	require.Equal(t, []string{"1", ">2", ">>4", ">>5", ">>>6", ">>>>7", ">3"}, drawn)
	require.Equal(t, "AccountService/ReportIngested", spanName(&tracev1.Span{Name: "millrace.scheduler.v1.AccountService/ReportIngested"}))
	require.Equal(t, "GET /v1.x/y", spanName(&tracev1.Span{Name: "GET /v1.x/y"}))
	require.Equal(t, "10.0 ms", w.Rows[2].Queue, "from the end of the publish")
	require.Empty(t, w.Rows[5].Queue, "it was taken up before the publish was confirmed")
	require.Equal(t, []axisTick{{"0.000%", "start", "0 ms"}, {"25.000%", "middle", "25.0 ms"}, {"50.000%", "middle", "50.0 ms"}, {"75.000%", "middle", "75.0 ms"}, {"100.000%", "end", "100 ms"}}, w.Ticks)
}

func TestSpansWithoutTheirParentsAreShownAndSaySo(t *testing.T) {
	spans := []*tracev1.Span{
		spanOf("1", "f", "shop", "a", "", internalSpan, 0, 5, nil),
		spanOf("2", "3", "shop", "b", "", internalSpan, 1, 5, nil),
		spanOf("3", "2", "shop", "c", "", internalSpan, 2, 5, nil),
		spanOf("4", "4", "shop", "d", "", internalSpan, 3, 5, nil),
	}
	w := waterfallOf(spans)
	require.Len(t, w.Rows, 4, "also those that are each other's parents, or their own")
	require.True(t, w.Rows[0].Orphan)
	require.Equal(t, []string{"1", "2", "3", "4"}, []string{w.Rows[0].Span.GetSpanId(), w.Rows[1].Span.GetSpanId(), w.Rows[2].Span.GetSpanId(), w.Rows[3].Span.GetSpanId()})
	require.Equal(t, 1, w.Rows[2].Depth)
	require.Empty(t, waterfallOf(nil).Rows)
	one := waterfallOf([]*tracev1.Span{spanOf("1", "", "shop", "a", "", internalSpan, 0, 0, nil)})
	require.Equal(t, "0%", one.Rows[0].Width, "a trace of no length")
}

func TestAWaterfallIsBounded(t *testing.T) {
	var spans []*tracev1.Span
	parent := ""
	for i := range 1200 {
		id := fmt.Sprintf("%016x", i+1)
		s := spanOf(id, parent, "<b>shop</b>", strings.Repeat("x<", 100), "", internalSpan, int64(i), 1200, map[string]any{"http.route": strings.Repeat("y", 5000)})
		spans, parent = append(spans, s), id
	}
	w := get(t, open(t, answers{"GetTrace": says(&tracev1.GetTraceResponse{Trace: journeyTrace(), Spans: spans})}), "/w/default/traces/"+traceA)
	require.Equal(t, http.StatusOK, w.Code)
	body := w.Body.String()
	require.Equal(t, 1000, strings.Count(body, "<details"))
	require.Contains(t, body, "200 further spans are not shown.")
	require.Contains(t, body, `class="name d12"`)
	require.NotContains(t, body, `class="name d13"`)
	require.NotContains(t, body, "<b>shop")
	require.NotContains(t, body, strings.Repeat("y", mostValue+1))
	require.Less(t, len(body), 3<<20)
}

func TestATraceThatIsNotThereIsNotFound(t *testing.T) {
	c := open(t, answers{"GetTrace": func(any) (proto.Message, error) {
		return nil, fault.New(fault.NotFound, fault.ReasonNotFound, "there is no such trace in workspace default")
	}})
	for _, path := range []string{"/w/default/traces/" + traceA, "/w/default/traces/" + traceA + "/live"} {
		w := get(t, c, path)
		require.Equal(t, http.StatusNotFound, w.Code)
		require.Contains(t, w.Body.String(), "There is no such trace")
	}
}

func TestATraceIsOpenWhileAStageIsAwaited(t *testing.T) {
	tr := journeyTrace()
	tr.Complete, tr.Stages, tr.StartTime = false, tr.GetStages()[:2], timestamppb.Now()
	body := get(t, open(t, answers{"GetTrace": says(&tracev1.GetTraceResponse{Trace: tr, Spans: journey()[:6]})}), "/w/default/traces/"+traceA).Body.String()
	require.Contains(t, body, "Nothing has been told of the stage ingest yet. The page follows by itself.")
	require.Contains(t, body, `data-live="/w/default/traces/`+tr.GetTraceId()+`/live"`)

	tr.StartTime = timestamppb.New(time.Now().Add(-2 * traceOpen))
	body = get(t, open(t, answers{"GetTrace": says(&tracev1.GetTraceResponse{Trace: tr, Spans: journey()[:6]})}), "/w/default/traces/"+traceA).Body.String()
	require.Contains(t, body, "Its end has not been told")
	require.NotContains(t, body, "data-live")
}

// TestAnOpenTraceIsSentAgainWhenMoreHasCome plays a trace that grows twice, in the time of a bubble.
func TestAnOpenTraceIsSentAgainWhenMoreHasCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked, start := 0, timestamppb.Now()
		c := open(t, answers{"GetTrace": func(any) (proto.Message, error) {
			asked++
			tr := journeyTrace()
			tr.StartTime, tr.Complete, tr.Spans = start, asked == 5, 6
			if asked >= 3 {
				tr.Spans = 7
			}
			return &tracev1.GetTraceResponse{Trace: tr, Spans: journey()[:tr.GetSpans()]}, nil
		}})
		w := get(t, c, "/w/default/traces/"+traceA+"/live")
		require.Equal(t, 5, asked)
		require.Equal(t, 3, strings.Count(w.Body.String(), "event: whole\n"), "as it is, with a span more, and complete")
		require.True(t, strings.HasSuffix(w.Body.String(), "event: end\ndata:\n\n"))
		require.Equal(t, "text/event-stream", w.Header().Get("Content-Type"))
	})
}

func TestAStreamThatIsCutIsAskedForAgain(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	c := open(t, answers{"GetTrace": func(any) (proto.Message, error) {
		defer cancel()
		tr := journeyTrace()
		tr.StartTime, tr.Complete = timestamppb.Now(), false
		return &tracev1.GetTraceResponse{Trace: tr, Spans: journey()}, nil
	}})
	w := httptest.NewRecorder()
	c.ServeHTTP(w, httptest.NewRequestWithContext(ctx, http.MethodGet, "/w/default/traces/"+traceA+"/live", nil))
	require.Contains(t, w.Body.String(), "event: whole\n")
	require.NotContains(t, w.Body.String(), "event: end", "after which the browser would not ask again")
}
