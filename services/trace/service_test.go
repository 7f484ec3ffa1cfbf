package trace

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	commonv1 "go.opentelemetry.io/proto/otlp/common/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	tracev1 "millrace.dev/gen/millrace/trace/v1"
	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/testenv"
)

// TestOnBothDatabases plays what both databases do alike.
func TestOnBothDatabases(t *testing.T) {
	for name, url := range map[string]func(*testing.T) string{"sqlite": sqlite, "postgres": func(t *testing.T) string { t.Helper(); return testenv.Postgres(t) }} {
		t.Run(name, func(t *testing.T) {
			t.Run("spans come back as a trace", func(t *testing.T) { spansComeBack(t, url(t)) })
			t.Run("lists filter, order and page", func(t *testing.T) { lists(t, url(t)) })
			t.Run("configurations are kept and judge", func(t *testing.T) { configurations(t, url(t)) })
			t.Run("old traces and too many go", func(t *testing.T) { bounds(t, url(t)) })
		})
	}
}

func spansComeBack(t *testing.T, url string) {
	w := start(t, Settings{Database: url})
	id := newTrace()
	root := of(id, "read batch", time.Second, 20*time.Millisecond, text("millrace.batch", "r/1/1/0/0"), text("millrace.run", "r"),
		text("millrace.sync_id", "customers"), integer("millrace.rows", 16384), integer("millrace.bytes", math.MaxInt32+7), text("db.query.text", "SELECT secret"),
		text("millrace.feed", "ann@example.com"), &commonv1.KeyValue{Key: "millrace.epoch", Value: &commonv1.AnyValue{Value: &commonv1.AnyValue_DoubleValue{DoubleValue: math.NaN()}}})
	root.Links = []*otlp.Span_Link{{TraceId: root.TraceId, SpanId: newSpan()}, {TraceId: []byte{1}}}
	root.Events = []*otlp.Span_Event{{Name: "row ann@example.com"}}
	child := failed(of(id, "map", 900*time.Millisecond, 10*time.Millisecond), "value ann@example.com is bad")
	child.ParentSpanId, child.Kind, child.Attributes = root.SpanId, otlp.Span_SPAN_KIND_CONSUMER, []*commonv1.KeyValue{text("error.type", "mapping_invalid"), integer("millrace.rejected", 7)}
	require.Nil(t, w.export("extractor", root))
	require.Nil(t, w.export("mapper", child))
	require.Nil(t, w.export("extractor", root), "sent again")
	w.written(3)

	res, err := w.api.GetTrace(t.Context(), &tracev1.GetTraceRequest{TraceId: strings.ToUpper(id)})
	require.NoError(t, err)
	tr := res.GetTrace()
	require.Equal(t, tracev1.TraceKind_TRACE_KIND_BATCH, tr.GetKind())
	require.Equal(t, tracev1.TraceState_TRACE_STATE_ERROR, tr.GetState())
	require.Equal(t, "mapping_invalid", tr.GetReason())
	require.Equal(t, "customers", tr.GetSync())
	require.Empty(t, tr.GetFeed())
	require.EqualValues(t, 2, tr.GetSpans())
	require.EqualValues(t, 7, tr.GetRejects())
	require.False(t, tr.GetComplete(), "it is not ingested")
	require.Equal(t, []string{"extractor", "mapper"}, tr.GetServices())
	require.Len(t, res.GetSpans(), 2)
	first, second := res.GetSpans()[0], res.GetSpans()[1]
	require.Equal(t, first.GetSpanId(), second.GetParentSpanId())
	require.Equal(t, "extract", first.GetStage())
	require.Equal(t, tracev1.SpanKind_SPAN_KIND_CONSUMER, second.GetKind())
	require.Equal(t, time.Unix(0, int64(root.StartTimeUnixNano)).UTC(), first.GetStartTime().AsTime())
	require.Equal(t, 20*time.Millisecond, first.GetDuration().AsDuration())
	require.Len(t, first.GetLinks(), 1)
	require.Equal(t, map[string]any{
		"millrace.batch": "r/1/1/0/0", "millrace.run": "r", "millrace.sync_id": "customers", "millrace.rows": 16384.0, "millrace.bytes": float64(math.MaxInt32 + 7),
	}, first.GetAttributes().AsMap())
	require.NotContains(t, res.String(), "ann@", "what is no identifier is not kept")
	require.NotContains(t, res.String(), "secret")

	_, err = w.api.GetTrace(t.Context(), &tracev1.GetTraceRequest{Workspace: "other", TraceId: id})
	require.Equal(t, fault.NotFound, fault.ClassOf(err), "another workspace's")
}

func lists(t *testing.T, url string) {
	w := start(t, Settings{Database: url})
	var ids []string
	for i := range 5 {
		id := newTrace()
		ids = append(ids, id)
		s := of(id, "map", time.Duration(10-i)*time.Minute, time.Duration(1+i%3)*time.Second,
			text("millrace.batch", fmt.Sprintf("r/1/1/%d/0", i)), text("millrace.run", "r"), text("millrace.sync_id", fmt.Sprintf("sync%d", i%2)))
		if i == 3 {
			failed(s, "store_unavailable")
		}
		w.export("mapper", s)
	}
	run := newTrace()
	w.export("scheduler", of(run, "run", time.Hour, time.Minute, text("millrace.run", "r")))
	w.written(6)

	require.Equal(t, []string{ids[4], ids[3], ids[2], ids[1], ids[0], run}, w.list(&tracev1.ListTracesRequest{}), "newest first")
	require.Equal(t, []string{ids[4], ids[2], ids[0]}, w.list(&tracev1.ListTracesRequest{Filter: `kind=batch AND sync="sync0"`}))
	require.Equal(t, []string{run}, w.list(&tracev1.ListTracesRequest{Filter: "run=r AND kind=run"}))
	require.Equal(t, []string{ids[3]}, w.list(&tracev1.ListTracesRequest{Filter: "state=error"}))
	require.Equal(t, ids[1:2], w.list(&tracev1.ListTracesRequest{Filter: "batch=r/1/1/1 AND slowest_stage=map"}))
	require.Equal(t, ids[:2], w.list(&tracev1.ListTracesRequest{
		From: timestamppb.New(time.Now().Add(-11 * time.Minute)), Until: timestamppb.New(time.Now().Add(-8*time.Minute - 30*time.Second)), OrderBy: "start_time",
	}))
	require.Empty(t, w.list(&tracev1.ListTracesRequest{Workspace: "other"}))
	slowest := w.list(&tracev1.ListTracesRequest{Filter: "kind=batch", OrderBy: "duration desc"})
	require.Equal(t, ids[2], slowest[0])
	require.ElementsMatch(t, []string{ids[1], ids[4]}, slowest[1:3])

	for _, order := range []string{"", "start_time", "duration", "duration desc"} {
		var paged []string
		for token := ""; ; {
			res, err := w.api.ListTraces(t.Context(), &tracev1.ListTracesRequest{PageSize: 2, PageToken: token, OrderBy: order})
			require.NoError(t, err)
			for _, tr := range res.GetTraces() {
				paged = append(paged, tr.GetTraceId())
			}
			if token = res.GetNextPageToken(); token == "" {
				break
			}
		}
		require.Equal(t, w.list(&tracev1.ListTracesRequest{OrderBy: order}), paged, "pages of two by %q", order)
	}

	_, err := w.api.ListTraces(t.Context(), &tracev1.ListTracesRequest{
		Filter: "state=broken AND kind=tree", From: timestamppb.Now(), Until: timestamppb.New(time.Now().Add(-time.Hour)), OrderBy: "duration, start_time",
	})
	require.Len(t, fault.As(err).Violations, 4)
	_, err = w.api.ListTraces(t.Context(), &tracev1.ListTracesRequest{Filter: "color=red"})
	require.Equal(t, fault.Invalid, fault.ClassOf(err))
	_, err = w.api.ListTraces(t.Context(), &tracev1.ListTracesRequest{PageToken: "nonsense"})
	require.Equal(t, fault.Invalid, fault.ClassOf(err))
}

func configurations(t *testing.T, url string) {
	w := start(t, Settings{Database: url, MaxConfigs: 2})
	create := func(c *tracev1.TraceConfig) error {
		_, err := w.api.CreateTraceConfig(t.Context(), &tracev1.CreateTraceConfigRequest{Config: c})
		return err
	}
	require.NoError(t, create(&tracev1.TraceConfig{Id: "bad", Sampling: tracev1.Sampling_SAMPLING_ERRORS}))
	require.NoError(t, create(&tracev1.TraceConfig{Id: "mine", Syncs: []string{"mine"}, Stages: []string{"map"}}))
	require.Equal(t, fault.ReasonAlreadyExists, fault.ReasonOf(create(&tracev1.TraceConfig{Id: "mine"})))
	require.Equal(t, fault.ReasonLimitExceeded, fault.ReasonOf(create(&tracev1.TraceConfig{Id: "third"})))
	require.Equal(t, fault.Invalid, fault.ClassOf(create(nil)))

	ok, bad, mine, early := newTrace(), newTrace(), newTrace(), newTrace()
	w.export("shop", of(ok, "checkout", time.Second, time.Millisecond))
	w.export("shop", failed(of(bad, "checkout", time.Second, time.Millisecond), ""))
	read := of(mine, "read batch", time.Second, time.Millisecond, text("millrace.batch", "r/1/1/0/0"), text("millrace.sync_id", "mine"))
	w.export("extractor", read)
	w.export("mapper", of(mine, "map", time.Second, time.Millisecond))
	w.export("ingestion", of(mine, "ingest", time.Second, time.Millisecond))
	w.export("extractor", of(early, "read batch", time.Second, time.Millisecond, text("millrace.batch", "r/1/1/1/0"), text("millrace.sync_id", "other")))
	w.written(6)
	require.Len(t, w.list(&tracev1.ListTracesRequest{}), 4, "readable before they are judged")

	settle := func(after time.Duration) int {
		n, err := w.service.settle(t.Context(), w.db(), time.Now().Add(after))
		require.NoError(t, err)
		return n
	}
	require.Zero(t, settle(0), "none has been quiet for long enough")
	require.Equal(t, 3, settle(time.Minute))
	require.ElementsMatch(t, []string{bad, mine, early}, w.list(&tracev1.ListTracesRequest{}), "a batch that is under way is not judged")
	require.Equal(t, 1, settle(2*time.Hour), "after an hour it is")
	require.ElementsMatch(t, []string{bad, mine}, w.list(&tracev1.ListTracesRequest{}))
	require.Zero(t, settle(3*time.Hour), "judged once")
	require.Equal(t, 2, w.count("millrace_trace_deleted_total", "unwanted"))

	res, err := w.api.GetTrace(t.Context(), &tracev1.GetTraceRequest{TraceId: mine})
	require.NoError(t, err)
	require.Len(t, res.GetSpans(), 1, "of the stage map alone")
	require.EqualValues(t, 1, res.GetTrace().GetSpans())
	require.Len(t, res.GetTrace().GetStages(), 3, "the times of the others stay")
	w.export("mapper", of(mine, "publish", time.Second, time.Millisecond))
	w.written(7)
	res, err = w.api.GetTrace(t.Context(), &tracev1.GetTraceRequest{TraceId: mine})
	require.NoError(t, err)
	require.Equal(t, "mine", res.GetTrace().GetSync(), "known from spans that are no longer there")
	require.Equal(t, "r/1/1/0", res.GetTrace().GetBatch())

	page, err := w.api.ListTraceConfigs(t.Context(), &tracev1.ListTraceConfigsRequest{PageSize: 1})
	require.NoError(t, err)
	require.Equal(t, "bad", page.GetConfigs()[0].GetId())
	page, err = w.api.ListTraceConfigs(t.Context(), &tracev1.ListTraceConfigsRequest{PageSize: 1, PageToken: page.GetNextPageToken()})
	require.NoError(t, err)
	require.Equal(t, []string{"mine"}, page.GetConfigs()[0].GetSyncs())
	require.Equal(t, tracev1.Sampling_SAMPLING_ALL, page.GetConfigs()[0].GetSampling())
	require.NotNil(t, page.GetConfigs()[0].GetCreateTime())
	require.Empty(t, page.GetNextPageToken())
	_, err = w.api.DeleteTraceConfig(t.Context(), &tracev1.DeleteTraceConfigRequest{Id: "bad"})
	require.NoError(t, err)
	_, err = w.api.DeleteTraceConfig(t.Context(), &tracev1.DeleteTraceConfigRequest{Id: "bad"})
	require.Equal(t, fault.NotFound, fault.ClassOf(err))
}

func bounds(t *testing.T, url string) {
	w := start(t, Settings{Database: url, MaxBytes: 100_000, MaxSpans: 3})
	big := newTrace()
	for range 5 {
		w.export("shop", of(big, "checkout", 3*time.Hour, time.Millisecond))
	}
	w.written(5)
	res, err := w.api.GetTrace(t.Context(), &tracev1.GetTraceRequest{TraceId: big})
	require.NoError(t, err)
	require.Len(t, res.GetSpans(), 3)
	require.EqualValues(t, 2, res.GetTrace().GetDroppedSpans())
	require.Equal(t, 2, w.count("millrace_trace_spans_total", "beyond"))

	for i := range 500 {
		w.export("shop", of(newTrace(), "checkout", 2*time.Hour-time.Duration(i)*time.Second, time.Millisecond))
	}
	last := newTrace()
	w.export("shop", of(last, "checkout", time.Second, time.Millisecond))
	w.written(506)
	w.until("the oldest are deleted", func() bool { return w.service.total.Load() <= 100_000 })
	left := w.list(&tracev1.ListTracesRequest{PageSize: 1000})
	require.Greater(t, len(left), 100)
	require.Less(t, len(left), 400)
	require.Equal(t, last, left[0])
	require.NotContains(t, left, big)
	var kept, spans int64
	require.NoError(t, w.db().QueryRow(t.Context(), "SELECT CAST(SUM(bytes) AS BIGINT), (SELECT COUNT(*) FROM trace_spans) FROM trace_traces").Scan(&kept, &spans))
	require.Equal(t, w.service.total.Load(), kept)
	require.EqualValues(t, len(left), spans)

	for w.service.deleteExpired(t.Context(), w.db(), time.Now().Add(24*time.Hour-time.Minute)) {
	}
	require.Equal(t, []string{last}, w.list(&tracev1.ListTracesRequest{}))
	require.Positive(t, w.count("millrace_trace_deleted_total", "age"))
}

func TestSpansThatCanNotBeKeptAreRefusedOneByOneAndWhyIsTold(t *testing.T) {
	w := start(t, Settings{Database: sqlite(t)})
	bad := func(change func(*otlp.Span)) *otlp.Span {
		s := of(newTrace(), "x", time.Second, time.Millisecond)
		change(s)
		return s
	}
	told := w.export("shop",
		of(newTrace(), "checkout", time.Second, time.Millisecond),
		bad(func(s *otlp.Span) { s.TraceId = nil }),
		bad(func(s *otlp.Span) { s.TraceId = make([]byte, 16) }),
		bad(func(s *otlp.Span) { s.SpanId = []byte{1, 2} }),
		bad(func(s *otlp.Span) { s.ParentSpanId = []byte{1} }),
		bad(func(s *otlp.Span) { s.Name = "" }),
		bad(func(s *otlp.Span) { s.EndTimeUnixNano = s.StartTimeUnixNano - 1 }),
		bad(func(s *otlp.Span) { s.EndTimeUnixNano = math.MaxUint64 }),
		bad(func(s *otlp.Span) { s.StartTimeUnixNano, s.EndTimeUnixNano = 1, 2 }),
	)
	require.EqualValues(t, 8, told.GetRejectedSpans())
	require.Contains(t, told.GetErrorMessage(), "trace_id is not 16 bytes, or all zero (2)")
	require.Contains(t, told.GetErrorMessage(), "end_time_unix_nano lies in the future")
	w.written(1)
	require.Len(t, w.list(&tracev1.ListTracesRequest{}), 1)
	require.Equal(t, 9, w.count("millrace_trace_spans_total", "received"))
	require.Equal(t, 8, w.count("millrace_trace_spans_total", "refused"))
}

func TestARequestThatIsTooLargeIsRefusedWithItsSize(t *testing.T) {
	w := start(t, Settings{Database: sqlite(t), MaxRequest: 10_000})
	_, err := w.otlp.Export(t.Context(), request("shop", of(newTrace(), strings.Repeat("x", 10_000), time.Second, time.Millisecond)))
	require.Equal(t, fault.Invalid, fault.ClassOf(err))
	require.Contains(t, err.Error(), "more than the 10000 that are taken at once")
	require.Zero(t, w.count("millrace_trace_spans_total", "received"))
}

func TestBytesThatAreNoRequestAreRefused(t *testing.T) {
	w := start(t, Settings{Database: sqlite(t)})
	conn, err := w.process.Dial(Name)
	require.NoError(t, err)
	in := &emptypb.Empty{}
	in.ProtoReflect().SetUnknown([]byte{0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f}) // a field that claims 4 GiB
	err = conn.Invoke(t.Context(), "/opentelemetry.proto.collector.trace.v1.TraceService/Export", in, &emptypb.Empty{})
	require.Error(t, err)
	require.NotEqual(t, codes.OK, status.Code(fault.ToStatus(err)))
	require.Nil(t, w.export("shop", of(newTrace(), "checkout", time.Second, time.Millisecond)), "and the service goes on")
}

func TestWhatIsNoNameIsWithheld(t *testing.T) {
	for in, want := range map[string]string{
		"GET /users/{id}":                    "GET /users/{id}",
		"millrace.config.v1.ConfigService/X": "millrace.config.v1.ConfigService/X",
		"GET /users/ann@example.com":         withheld,
		"SELECT 'x'":                         withheld,
		strings.Repeat("x", maxName+1):       withheld,
		"Jürgen":                             withheld,
	} {
		require.Equal(t, want, plain(in, maxName))
	}
}

func TestAFullQueueRefusesAndNobodyWaits(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "traces.db")
	w := start(t, Settings{Database: "sqlite:" + path, QueueSpans: 100})
	unlock := lock(t, path)
	first := newTrace()
	w.export("shop", of(first, "checkout", time.Second, time.Millisecond))
	w.until("the writer waits for the database", func() bool { return w.service.inbox.len() == 0 })
	var refused int64
	for range 30 {
		spans := make([]*otlp.Span, 10)
		for i := range spans {
			spans[i] = of(newTrace(), "checkout", time.Second, time.Millisecond)
		}
		if told := w.export("shop", spans...); told != nil {
			require.Contains(t, told.GetErrorMessage(), "the queue is full")
			refused += told.GetRejectedSpans()
		}
	}
	require.EqualValues(t, 200, refused)
	require.Equal(t, 200, w.count("millrace_trace_spans_total", "dropped"))
	require.Empty(t, w.list(&tracev1.ListTracesRequest{}), "reading goes on meanwhile")
	unlock()
	w.written(101)
	require.Len(t, w.list(&tracev1.ListTracesRequest{PageSize: 1000}), 101)
}

// lock takes the write lock of a SQLite file until the function it answers is called.
func lock(t *testing.T, path string) func() {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	require.NoError(t, err)
	conn, err := db.Conn(t.Context())
	require.NoError(t, err)
	_, err = conn.ExecContext(t.Context(), "BEGIN IMMEDIATE")
	require.NoError(t, err)
	return func() {
		_, err := conn.ExecContext(context.WithoutCancel(t.Context()), "ROLLBACK")
		require.NoError(t, err)
		require.NoError(t, conn.Close())
		require.NoError(t, db.Close())
	}
}

func TestAProcessGoesOnWithoutTheDatabaseOfTraces(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "traces.db")
	require.NoError(t, os.WriteFile(path, []byte(strings.Repeat("this is no database ", 100)), 0o600))
	w := start(t, Settings{Database: "sqlite:" + path})
	require.Nil(t, w.export("shop", of(newTrace(), "checkout", time.Second, time.Millisecond)))
	_, err := w.api.ListTraces(t.Context(), &tracev1.ListTracesRequest{})
	require.Equal(t, fault.Unavailable, fault.ClassOf(err))
	require.Error(t, w.process.Ready(), "alone, it says so")
	w.service.alone = false
	require.NoError(t, w.process.Ready(), "with others, it stops none of them")
	require.NoError(t, os.Remove(path))
	w.written(1)
	w.service.alone = true
	require.NoError(t, w.process.Ready())
	require.Len(t, w.list(&tracev1.ListTracesRequest{}), 1)
}

func TestWhatWasReceivedIsWrittenBeforeTheEnd(t *testing.T) {
	url := sqlite(t)
	w := start(t, Settings{Database: url})
	for range 2000 {
		w.service.inbox.put([]span{{TraceID: newTrace(), SpanID: "1", Name: "x", Start: time.Now().UnixNano(), End: time.Now().UnixNano()}})
	}
	require.NoError(t, w.process.Stop(t.Context()))
	w = start(t, Settings{Database: url})
	var n int
	require.NoError(t, w.db().QueryRow(t.Context(), "SELECT COUNT(*) FROM trace_spans").Scan(&n))
	require.Equal(t, 2000, n)
	require.Positive(t, w.service.total.Load(), "the bound holds after a restart too")
}

func TestAddressesThatAreNoneAreRefusedAtOnce(t *testing.T) {
	require.Equal(t, fault.Invalid, fault.ClassOf(Settings{Database: "mysql://x"}.check()))
	require.NoError(t, Settings{}.complete("data").check())
}
