//go:build jaeger

package e2e_test

import (
	"context"
	"debug/buildinfo"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
	tracev1 "millrace.dev/gen/millrace/trace/v1"
	"millrace.dev/services/trace"
)

// TestJaegerShowsTheSameTraces runs syncs with Jaeger as the OTLP backend, and compares what Jaeger answers for each trace
// with what the trace service keeps: every span, with its service, parent, links, times, kind, state and attributes.
func TestJaegerShowsTheSameTraces(t *testing.T) {
	j := startJaeger(t)
	m, _ := startTraced(t, t.TempDir(), trace.Settings{}, j.otlp)
	traces, spans := 0, 0
	for _, r := range threeRuns(t, m) {
		batches, err := m.scheduler.ListBatches(t.Context(), &schedulerv1.ListBatchesRequest{Workspace: m.workspace, Run: r.GetId(), PageSize: 1000})
		require.NoError(t, err)
		spans += j.compare(t, m, r.GetTraceId(), 2)
		for _, b := range batches.GetBatches() {
			spans += j.compare(t, m, b.GetTraceId(), 9)
		}
		traces += 1 + len(batches.GetBatches())
	}
	require.Greater(t, spans, 20)
	t.Logf("Jaeger %s shows %d traces with %d spans as the trace service does", j.version, traces, spans)
}

// compare waits until both have as many spans of a trace, at least so many, and holds that they are the same. It answers
// how many there are.
func (j jaeger) compare(t *testing.T, m mesh, id string, atLeast int) int {
	t.Helper()
	var shown jaegerTrace
	var kept []*tracev1.Span
	eventually(t, "both have as many spans of "+id, func() bool {
		res, err := m.traces.GetTrace(t.Context(), &tracev1.GetTraceRequest{Workspace: m.workspace, TraceId: id})
		var answer struct {
			Data []jaegerTrace `json:"data"`
		}
		if err != nil || !res.GetTrace().GetComplete() || j.ask(t, "/api/traces/"+id, &answer) != nil || len(answer.Data) != 1 {
			return false
		}
		shown, kept = answer.Data[0], res.GetSpans()
		return len(kept) >= atLeast && len(shown.Spans) == len(kept)
	})
	requireShown(t, id, shown, kept)
	return len(kept)
}

// jaeger is a running Jaeger.
type jaeger struct{ otlp, query, version string }

// startJaeger starts the Jaeger of MILLRACE_JAEGER, or else .bin/jaeger, all in one and in memory.
func startJaeger(t *testing.T) jaeger {
	t.Helper()
	program := os.Getenv("MILLRACE_JAEGER")
	if program == "" {
		program = filepath.Join("..", "..", ".bin", "jaeger")
	}
	built, err := buildinfo.ReadFile(program)
	require.NoError(t, err, "make jaeger builds it")
	j := jaeger{otlp: freeAddress(t), query: freeAddress(t), version: built.Main.Version}
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), program,
		"--collector.otlp.grpc.host-port="+j.otlp, "--query.http-server.host-port="+j.query,
		"--query.grpc-server.host-port="+freeAddress(t), "--collector.otlp.http.host-port="+freeAddress(t), "--collector.http-server.host-port="+freeAddress(t),
		"--collector.grpc-server.host-port="+freeAddress(t), "--admin.http.host-port="+freeAddress(t), "--log-level=error")
	cmd.Env = append(os.Environ(), "SPAN_STORAGE_TYPE=memory")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		require.NoError(t, cmd.Process.Kill())
		require.Error(t, cmd.Wait(), "it was killed")
	})
	eventually(t, "Jaeger answers", func() bool {
		var services struct{}
		return j.ask(t, "/api/services", &services) == nil
	})
	return j
}

func (j jaeger) ask(t *testing.T, path string, into any) error {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+j.query+path, nil)
	require.NoError(t, err)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { require.NoError(t, res.Body.Close()) }()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", path, res.Status)
	}
	return json.NewDecoder(res.Body).Decode(into)
}

// jaegerTrace is a trace as Jaeger's page asks for it.
type jaegerTrace struct {
	Spans []struct {
		TraceID       string            `json:"traceID"`
		SpanID        string            `json:"spanID"`
		OperationName string            `json:"operationName"`
		References    []jaegerReference `json:"references"`
		StartTime     int64             `json:"startTime"` // microseconds
		Duration      int64             `json:"duration"`
		Tags          []jaegerTag       `json:"tags"`
		ProcessID     string            `json:"processID"`
		Warnings      []string          `json:"warnings"`
	} `json:"spans"`
	Processes map[string]struct {
		ServiceName string      `json:"serviceName"`
		Tags        []jaegerTag `json:"tags"`
	} `json:"processes"`
}

type jaegerReference struct {
	RefType string `json:"refType"`
	TraceID string `json:"traceID"`
	SpanID  string `json:"spanID"`
}

type jaegerTag struct {
	Key   string `json:"key"`
	Value any    `json:"value"`
}

func tagsOf(tags []jaegerTag) map[string]any {
	out := map[string]any{}
	for _, t := range tags {
		out[t.Key] = t.Value
	}
	return out
}

// requireShown holds that Jaeger shows a trace's spans as they are kept.
func requireShown(t *testing.T, id string, shown jaegerTrace, spans []*tracev1.Span) {
	t.Helper()
	kept := map[string]*tracev1.Span{}
	for _, s := range spans {
		kept[s.GetSpanId()] = s
	}
	for _, x := range shown.Spans {
		s := kept[x.SpanID]
		require.NotNil(t, s, "%s of %s", x.SpanID, id)
		require.Equal(t, id, x.TraceID)
		for _, w := range x.Warnings {
			require.Contains(t, w, "clock skew adjustment disabled", "what Jaeger says of spans that outlast their parents, as those behind a queue do")
		}
		require.Equal(t, s.GetName(), x.OperationName)
		require.Equal(t, s.GetService(), shown.Processes[x.ProcessID].ServiceName)
		require.Equal(t, "millrace", tagsOf(shown.Processes[x.ProcessID].Tags)["service.namespace"])
		require.Equal(t, s.GetStartTime().AsTime().UnixMicro(), x.StartTime)
		require.Equal(t, s.GetDuration().AsDuration().Microseconds(), x.Duration)
		var references []jaegerReference
		if s.GetParentSpanId() != "" {
			references = append(references, jaegerReference{"CHILD_OF", id, s.GetParentSpanId()})
		}
		for _, l := range s.GetLinks() {
			references = append(references, jaegerReference{"FOLLOWS_FROM", l.GetTraceId(), l.GetSpanId()})
		}
		require.ElementsMatch(t, references, x.References, s.GetName())
		tags := tagsOf(x.Tags)
		require.Equal(t, strings.ToLower(strings.TrimPrefix(s.GetKind().String(), "SPAN_KIND_")), tags["span.kind"])
		require.Equal(t, s.GetState() == tracev1.TraceState_TRACE_STATE_ERROR, tags["error"] == true, s.GetName())
		for key, value := range s.GetAttributes().AsMap() {
			require.Equal(t, value, tags[key], "%s of %s", key, s.GetName())
		}
	}
}
