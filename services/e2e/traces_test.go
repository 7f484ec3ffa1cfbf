package e2e_test

import (
	"context"
	"database/sql"
	"encoding/hex"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonv1 "go.opentelemetry.io/proto/otlp/common/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	_ "modernc.org/sqlite" // locks the database of traces

	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
	tracev1 "millrace.dev/gen/millrace/trace/v1"
	"millrace.dev/pkg/app"
	"millrace.dev/services/config"
	"millrace.dev/services/extractor"
	"millrace.dev/services/ingestion"
	"millrace.dev/services/mapper"
	"millrace.dev/services/scheduler"
	"millrace.dev/services/trace"
)

// tracedBatches holds that what happened to a batch can be read from its trace, soon after, and found from its run.
func tracedBatches(t *testing.T, m mesh) {
	const n = 40_000
	w := newWarehouse(t, n)
	m.apply(t, "", w.documents("customers", asIs))
	run := m.run(t, "customers")
	ended := time.Now()

	batches, err := m.scheduler.ListBatches(t.Context(), &schedulerv1.ListBatchesRequest{Workspace: m.workspace, Run: run.GetId(), PageSize: 1000})
	require.NoError(t, err)
	require.NotEmpty(t, batches.GetBatches())
	for _, b := range batches.GetBatches() {
		got := m.trace(t, b.GetTraceId(), 9)
		tr := got.GetTrace()
		require.Equal(t, tracev1.TraceKind_TRACE_KIND_BATCH, tr.GetKind())
		require.Equal(t, b.GetId(), tr.GetBatch())
		require.Equal(t, run.GetId(), tr.GetRun())
		require.Equal(t, "customers", tr.GetSync())
		require.Equal(t, run.GetTraceId(), tr.GetRunTraceId(), "it links to its run")
		require.Equal(t, tracev1.TraceState_TRACE_STATE_OK, tr.GetState())
		var stages []string
		for _, s := range tr.GetStages() {
			require.Positive(t, s.GetWork().AsDuration(), s.GetName())
			stages = append(stages, s.GetName())
		}
		require.Equal(t, []string{"extract", "map", "ingest"}, stages)
		require.Contains(t, stages, tr.GetSlowestStage())
		require.Subset(t, tr.GetServices(), []string{"extractor", "mapper", "ingestion", "scheduler"})
	}
	t.Logf("the traces of %d batches were readable %s after the run's end was seen", len(batches.GetBatches()), time.Since(ended).Round(time.Millisecond))

	whole := m.trace(t, run.GetTraceId(), 2).GetTrace()
	require.Equal(t, tracev1.TraceKind_TRACE_KIND_RUN, whole.GetKind())
	require.Equal(t, run.GetId(), whole.GetRun())
	found, err := m.traces.ListTraces(t.Context(), &tracev1.ListTracesRequest{Workspace: m.workspace, Filter: "kind=batch AND run=" + run.GetId()})
	require.NoError(t, err)
	require.Len(t, found.GetTraces(), len(batches.GetBatches()), "the run leads to its batches")
	for _, filter := range []string{"sync=customers AND kind=run", "feed=default AND kind=run AND state=ok"} {
		found, err = m.traces.ListTraces(t.Context(), &tracev1.ListTracesRequest{Workspace: m.workspace, Filter: filter})
		require.NoError(t, err)
		require.Len(t, found.GetTraces(), 1, filter)
	}
}

// trace waits until a trace has at least so many spans and its last stage, and answers it.
func (m mesh) trace(t *testing.T, id string, spans int) *tracev1.GetTraceResponse {
	t.Helper()
	var out *tracev1.GetTraceResponse
	eventually(t, "trace "+id+" is readable", func() bool {
		res, err := m.traces.GetTrace(t.Context(), &tracev1.GetTraceRequest{Workspace: m.workspace, TraceId: id})
		if err != nil || len(res.GetSpans()) < spans || res.GetTrace().GetKind() == tracev1.TraceKind_TRACE_KIND_OTHER {
			return false
		}
		out = res
		tr := res.GetTrace()
		return tr.GetKind() != tracev1.TraceKind_TRACE_KIND_BATCH ||
			len(tr.GetStages()) == 3 && slices.Contains(tr.GetServices(), "scheduler") && slices.ContainsFunc(res.GetSpans(), func(s *tracev1.Span) bool { return s.GetName() == "ingest" })
	})
	return out
}

// backend is an OTLP receiver that takes nothing but what the protocol allows, and keeps it.
type backend struct {
	collector.UnimplementedTraceServiceServer
	mu       sync.Mutex
	requests []*collector.ExportTraceServiceRequest
	spans    map[string]received // by trace and span id
	faults   []string
}

// received is a span with the service that it is of.
type received struct {
	service string
	span    *otlp.Span
}

func (b *backend) Export(_ context.Context, req *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.requests = append(b.requests, req)
	for _, rs := range req.GetResourceSpans() {
		service := ""
		for _, a := range rs.GetResource().GetAttributes() {
			if a.GetKey() == "service.name" {
				service = a.GetValue().GetStringValue()
			}
		}
		for _, ss := range rs.GetScopeSpans() {
			for _, s := range ss.GetSpans() {
				key := hex.EncodeToString(s.GetTraceId()) + " " + hex.EncodeToString(s.GetSpanId())
				_, again := b.spans[key]
				switch {
				case service == "", ss.GetScope().GetName() == "", again, len(s.GetTraceId()) != 16, len(s.GetSpanId()) != 8, s.GetName() == "",
					s.GetKind() == otlp.Span_SPAN_KIND_UNSPECIFIED, s.GetStartTimeUnixNano() == 0, s.GetEndTimeUnixNano() < s.GetStartTimeUnixNano():
					b.faults = append(b.faults, service+": "+s.String())
				}
				b.spans[key] = received{service, s}
			}
		}
	}
	return &collector.ExportTraceServiceResponse{}, nil
}

// startBackend starts a backend, which ends with the test.
func startBackend(t *testing.T) (*backend, string) {
	t.Helper()
	b := &backend{spans: map[string]received{}}
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := grpc.NewServer()
	collector.RegisterTraceServiceServer(s, b)
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Stop()
		require.NoError(t, <-ended)
	})
	return b, l.Addr().String()
}

// startTraced starts the one process with an OTLP backend beside its trace service.
func startTraced(t *testing.T, data string, s trace.Settings, otlp string) (mesh, *app.Process) {
	t.Helper()
	tracing := trace.Module()
	*tracing.Settings.(*trace.Settings) = s
	p, err := app.Start(t.Context(), app.Options{
		Modules:       []app.Module{config.Module(), scheduler.Module(), extractor.Module(), mapper.Module(), ingestion.Module(), tracing},
		Settings:      app.Settings{Data: data, GRPC: "127.0.0.1:0", HTTP: "none", OTLP: otlp},
		FilesAnywhere: true,
		LogTo:         t.Output(),
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Stop(context.WithoutCancel(t.Context()))) })
	conn := dial(t, p.Addr())
	return clients(conn, conn, conn).traced(conn).in("shop"), p
}

// TestTheSpansOfARunAreThoseOfTheTable runs a sync and compares what leaves the mesh with SPANS.md: every span is one of its
// rows, every row is a span that there was, and each has the attributes and links that the row says. A backend and the
// trace service get the same.
func TestTheSpansOfARunAreThoseOfTheTable(t *testing.T) {
	b, addr := startBackend(t)
	m, p := startTraced(t, t.TempDir(), trace.Settings{}, addr)
	w := newWarehouse(t, 20_000)
	m.apply(t, "", w.documents("customers", asIs))
	run := m.run(t, "customers")
	kept := []*tracev1.GetTraceResponse{m.trace(t, run.GetTraceId(), 2)}
	batches, err := m.scheduler.ListBatches(t.Context(), &schedulerv1.ListBatchesRequest{Workspace: "shop", Run: run.GetId()})
	require.NoError(t, err)
	for _, x := range batches.GetBatches() {
		kept = append(kept, m.trace(t, x.GetTraceId(), 9))
	}
	require.NoError(t, p.Stop(t.Context()))

	b.mu.Lock()
	defer b.mu.Unlock()
	require.Empty(t, b.faults)
	rows := readSpansTable(t)
	seen := map[string]bool{}
	for _, r := range b.spans {
		row := rows.of(t, r)
		seen[row.key()] = true
		row.check(t, r)
	}
	for _, row := range rows {
		require.True(t, seen[row.key()], "SPANS.md has a row %q that no span was of", row.key())
	}
	compared := 0
	for _, res := range kept {
		for _, s := range res.GetSpans() {
			requireSame(t, b.spans[res.GetTrace().GetTraceId()+" "+s.GetSpanId()], s)
			compared++
		}
	}
	require.Greater(t, compared, 20)
}

// spanRow is a row of the table of spans.
type spanRow struct {
	name, service, kind, stage string
	always, sometimes, linked  []string
	pattern                    *regexp.Regexp
}

func (r spanRow) key() string { return r.service + " " + r.name + " " + r.kind }

type spansTable []spanRow

var ticked = regexp.MustCompile("`[^`]+`\\??")

// readSpansTable reads the table of SPANS.md: name, service, kind, stage, attributes (a ? behind one that is not always
// there) and what the span links to.
func readSpansTable(t *testing.T) spansTable {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "trace", "SPANS.md"))
	require.NoError(t, err)
	var out spansTable
	for _, line := range strings.Split(string(text), "\n") {
		cells := strings.Split(line, "|")
		if len(cells) != 9 || !strings.HasPrefix(cells[1], " `") {
			continue
		}
		r := spanRow{name: strings.Trim(cells[1], " `"), service: strings.TrimSpace(cells[2]), kind: strings.TrimSpace(cells[3]), stage: strings.TrimSpace(cells[4])}
		for _, a := range ticked.FindAllString(cells[6], -1) {
			if name, ok := strings.CutSuffix(a, "?"); ok {
				r.sometimes = append(r.sometimes, strings.Trim(name, "`"))
			} else {
				r.always = append(r.always, strings.Trim(a, "`"))
			}
		}
		if links := strings.TrimSpace(cells[7]); links != "" {
			r.linked = []string{links}
		}
		name := regexp.QuoteMeta(r.name)
		for _, part := range []string{"SERVICE", "Service", "Method"} {
			name = strings.ReplaceAll(name, "<"+part+">", `\w+`)
		}
		r.pattern = regexp.MustCompile("^" + name + "$")
		out = append(out, r)
	}
	require.NotEmpty(t, out)
	return out
}

// of answers the row of a span.
func (rows spansTable) of(t *testing.T, r received) spanRow {
	t.Helper()
	kind := strings.ToLower(strings.TrimPrefix(r.span.GetKind().String(), "SPAN_KIND_"))
	for _, row := range rows {
		if row.pattern.MatchString(r.span.GetName()) && (row.service == r.service || row.service == "any") && row.kind == kind {
			return row
		}
	}
	require.Fail(t, "a span is in no row of SPANS.md", "%s %s: %s", r.service, kind, r.span.GetName())
	return spanRow{}
}

// check holds that a span has the attributes and links of its row.
func (row spanRow) check(t *testing.T, r received) {
	t.Helper()
	var keys []string
	for _, a := range r.span.GetAttributes() {
		keys = append(keys, a.GetKey())
	}
	require.Subset(t, keys, row.always, "%s lacks attributes", row.key())
	require.Subset(t, append(slices.Clone(row.always), row.sometimes...), keys, "%s has attributes that SPANS.md does not name", row.key())
	require.Len(t, r.span.GetLinks(), len(row.linked), row.key())
	require.Empty(t, r.span.GetEvents(), row.key())
}

// requireSame holds that the trace service keeps a span as the backend got it.
func requireSame(t *testing.T, r received, s *tracev1.Span) {
	t.Helper()
	require.NotNil(t, r.span, "the backend did not get span %s (%s)", s.GetSpanId(), s.GetName())
	require.Equal(t, r.service, s.GetService())
	require.Equal(t, r.span.GetName(), s.GetName())
	require.Equal(t, int32(r.span.GetKind()), int32(s.GetKind()))
	require.Equal(t, hex.EncodeToString(r.span.GetParentSpanId()), s.GetParentSpanId())
	require.EqualValues(t, r.span.GetStartTimeUnixNano(), s.GetStartTime().AsTime().UnixNano())
	require.EqualValues(t, r.span.GetEndTimeUnixNano()-r.span.GetStartTimeUnixNano(), s.GetDuration().AsDuration())
	require.Equal(t, r.span.GetStatus().GetCode() == otlp.Status_STATUS_CODE_ERROR, s.GetState() == tracev1.TraceState_TRACE_STATE_ERROR)
	want := map[string]any{}
	for _, a := range r.span.GetAttributes() {
		want[a.GetKey()] = valueOf(a.GetValue())
	}
	require.Equal(t, want, s.GetAttributes().AsMap(), s.GetName())
	require.Len(t, s.GetLinks(), len(r.span.GetLinks()))
	for i, l := range r.span.GetLinks() {
		require.Equal(t, hex.EncodeToString(l.GetTraceId()), s.GetLinks()[i].GetTraceId())
		require.Equal(t, hex.EncodeToString(l.GetSpanId()), s.GetLinks()[i].GetSpanId())
	}
}

// valueOf answers a value as JSON has it.
func valueOf(v *commonv1.AnyValue) any {
	switch v := v.GetValue().(type) {
	case *commonv1.AnyValue_IntValue:
		return float64(v.IntValue)
	case *commonv1.AnyValue_StringValue:
		return v.StringValue
	case *commonv1.AnyValue_BoolValue:
		return v.BoolValue
	case *commonv1.AnyValue_DoubleValue:
		return v.DoubleValue
	}
	return nil
}

// TestALockedOrFullDatabaseOfTracesChangesNothing runs syncs while traces can not be kept. What comes in is what comes in
// beside a mesh whose traces can.
func TestALockedOrFullDatabaseOfTracesChangesNothing(t *testing.T) {
	const n = 20_000
	w := newWarehouse(t, n)
	undisturbed, _ := startTraced(t, t.TempDir(), trace.Settings{}, "")
	undisturbed.apply(t, "", w.documents("customers", asIs))
	want := undisturbed.run(t, "customers")
	same := func(t *testing.T, m mesh) {
		t.Helper()
		m.apply(t, "", w.documents("customers", asIs))
		run := m.run(t, "customers")
		require.EqualValues(t, n, run.GetCounts().GetCreated())
		require.Equal(t, want.GetCertificate().GetRowsDigest(), run.GetCertificate().GetRowsDigest())
		require.Equal(t, undisturbed.digest(t).GetProfiles(), m.digest(t).GetProfiles())
	}
	t.Run("locked", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "traces.db")
		m, p := startTraced(t, t.TempDir(), trace.Settings{Database: "sqlite:" + path}, "")
		unlock := lock(t, path)
		same(t, m)
		require.NoError(t, p.Ready(), "nothing stops for it")
		unlock()
		run := m.run(t, "customers", full)
		m.trace(t, run.GetTraceId(), 2)
	})
	t.Run("full", func(t *testing.T) {
		dir := newTmpfs(t, "2m")
		m, p := startTraced(t, t.TempDir(), trace.Settings{Database: "sqlite:" + filepath.Join(dir, "traces.db")}, "")
		require.Error(t, os.WriteFile(filepath.Join(dir, "filler"), make([]byte, 4<<20), 0o600), "the disk is full")
		same(t, m)
		require.NoError(t, p.Ready())
		require.NoError(t, os.Remove(filepath.Join(dir, "filler")))
		run := m.run(t, "customers", full)
		m.trace(t, run.GetTraceId(), 2)
	})
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
	return sync.OnceFunc(func() {
		_, err := conn.ExecContext(context.WithoutCancel(t.Context()), "ROLLBACK")
		require.NoError(t, err)
		require.NoError(t, conn.Close())
		require.NoError(t, db.Close())
	})
}

// TestAKilledTraceServiceChangesNothing kills the trace service of five processes in the middle of a run.
func TestAKilledTraceServiceChangesNothing(t *testing.T) {
	const n = 60_000
	f := startFive(t)
	m := f.in("shop")
	w := newWarehouse(t, n)
	m.apply(t, "", w.documents("customers", asIs))
	id := m.trigger(t, "customers")
	f.tracer.kill(t)
	run := m.end(t, id)
	requireState(t, run, schedulerv1.RunState_RUN_STATE_SUCCEEDED)
	require.EqualValues(t, n, run.GetCounts().GetCreated())
	without := m.run(t, "customers", full)
	require.EqualValues(t, n, without.GetCounts().GetUnchanged())

	f.tracer.start(t)
	f.tracer.ready(t)
	again := m.run(t, "customers", full)
	require.EqualValues(t, n, again.GetCounts().GetUnchanged())
	m.trace(t, again.GetTraceId(), 2)
}
