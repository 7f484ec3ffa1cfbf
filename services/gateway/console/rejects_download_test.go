package console

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	ingestionv1 "millrace.dev/gen/millrace/ingestion/v1"
	"millrace.dev/pkg/fault"
)

const exportPath = "/w/default/runs/run-7/rejects/export"

func TestRejectsAreKeptAsAFileThatPeopleCanRead(t *testing.T) {
	c := openStreaming(t, streaming{answers{}, exported(reject("u1", "age", "is no number"), `{"id":"u1","age":"old"}`)})
	w := get(t, c, exportPath)
	require.Equal(t, http.StatusOK, w.Code)
	require.Equal(t, "application/x-ndjson", w.Header().Get("Content-Type"))
	require.Equal(t, `attachment; filename="rejects.jsonl"`, w.Header().Get("Content-Disposition"))
	require.True(t, strings.HasSuffix(w.Body.String(), `,"row":{"id":"u1","age":"old"}}`+"\n"), w.Body.String())
	w = get(t, c, exportPath+"?format=csv")
	require.Equal(t, `attachment; filename="rejects.csv"`, w.Header().Get("Content-Disposition"))
	require.Contains(t, w.Body.String(), ",reject_time,id,age\n")
	require.Contains(t, w.Body.String(), ",u1,old\n")
	_, stream := c.Route(httptest.NewRequestWithContext(t.Context(), http.MethodGet, exportPath, nil))
	require.True(t, stream, "it has the time that it takes")
	w = get(t, openStreaming(t, streaming{answers{}, map[string]messages{"ExportRejects": {}}}), exportPath)
	require.Equal(t, `attachment; filename="rejects.jsonl"`, w.Header().Get("Content-Disposition"), "a file without lines")
}

func TestAnExportThatBreaksOffIsNoWholeFile(t *testing.T) {
	away := fault.New(fault.Unavailable, fault.ReasonServiceUnavailable, "away")
	w := get(t, openStreaming(t, streaming{answers{}, map[string]messages{"ExportRejects": {err: away}}}), exportPath)
	require.Equal(t, http.StatusServiceUnavailable, w.Code)
	require.Contains(t, w.Header().Get("Content-Type"), "text/html")
	require.Empty(t, w.Header().Get("Content-Disposition"))
	long := &ingestionv1.ExportRejectsResponse{Rejects: []*ingestionv1.ExportedReject{
		{Reject: reject("u1", "", "lost"), Row: []byte(`{"a":"` + strings.Repeat("x", 2*downloadBuffer) + `"}`)},
	}}
	c := openStreaming(t, streaming{answers{}, map[string]messages{"ExportRejects": {all: []proto.Message{long}, err: away}}})
	require.PanicsWithValue(t, http.ErrAbortHandler, func() { get(t, c, exportPath) })
}
