package console

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	ingestionv1 "millrace.dev/gen/millrace/ingestion/v1"
	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
	"millrace.dev/pkg/fault"
)

func reject(key, column, reason string) *ingestionv1.Reject {
	return &ingestionv1.Reject{Run: "run-7", Batch: "run-7/1/1/0", KeyValues: []string{key}, Column: column, Stage: "map", Rule: "rules[1]", Reason: reason}
}

// ofRejects answers what a page of rejects asks for; the list is of the pages that follow one another.
func ofRejects(pages ...[]*ingestionv1.Reject) answers {
	return answers{
		"GetRun": says(&schedulerv1.GetRunResponse{Run: doneRun()}),
		"ListRejects": func(in any) (proto.Message, error) {
			req := in.(*ingestionv1.ListRejectsRequest)
			out := &ingestionv1.ListRejectsResponse{}
			if req.GetPageToken() == "" {
				out.ByReason = []*ingestionv1.RejectCount{
					{Stage: "map", Column: "age", Rule: "rules[1]", Reason: "is no number", Rejects: 1400},
					{Stage: "ingest", Reason: "other", Rejects: 2},
					{Reason: "other reasons", Rejects: 7},
				}
			}
			at := 0
			_, _ = fmt.Sscanf(req.GetPageToken(), "page-%d", &at) // 0 without a token
			if at < len(pages) {
				out.Rejects = pages[at]
			}
			if at+1 < len(pages) {
				out.NextPageToken = fmt.Sprintf("page-%d", at+1)
			}
			return out, nil
		},
	}
}

func exported(pairs ...any) map[string]messages {
	out := &ingestionv1.ExportRejectsResponse{}
	for i := 0; i < len(pairs); i += 2 {
		out.Rejects = append(out.Rejects, &ingestionv1.ExportedReject{Reject: pairs[i].(*ingestionv1.Reject), Row: []byte(pairs[i+1].(string))})
	}
	return map[string]messages{"ExportRejects": {all: []proto.Message{out}}}
}

func TestRejectsAreShownByReasonWithTheColumnAtFaultMarked(t *testing.T) {
	bad := reject("u1", "age", "is no number")
	c := openStreaming(t, streaming{
		ofRejects([]*ingestionv1.Reject{bad, reject("u2", "", "lost")}, nil),
		exported(bad, `{"id":"u1","age":"<b>old</b>","note":null,"tags":["a",1]}`, reject("u2", "", "lost"), ""),
	})
	w := get(t, c, "/w/default/runs/run-7/rejects")
	require.Equal(t, http.StatusOK, w.Code, w.Body.String())
	text := w.Body.String()
	require.Contains(t, text, "1\u202f409 rows by reason")
	require.Contains(t, text, `href="/w/default/runs/run-7/rejects?column=age&amp;reason=is&#43;no&#43;number&amp;rule=rules%5B1%5D&amp;stage=map">is no number</a>`)
	require.Contains(t, text, "other reasons")
	require.Contains(t, text, `<mark>&lt;b&gt;old&lt;/b&gt;</mark>`)
	require.NotContains(t, text, "<b>old</b>")
	require.Contains(t, text, `<dd dir="auto">[&#34;a&#34;,1]</dd>`)
	require.Contains(t, text, "The row is not kept.")
	require.Contains(t, text, `href="/w/default/runs/run-7/rejects/export"`)
	require.Contains(t, text, `value="replay"`)
	require.Contains(t, text, `<a rel="next" href="/w/default/runs/run-7/rejects?page=page-1">More</a>`)
	require.Contains(t, text, `<a href="/w/default/runs/run-7">run 7 of <bdi>customers</bdi></a>`)
}

func TestRejectsAreNarrowedOverManyPages(t *testing.T) {
	other := make([]*ingestionv1.Reject, 500)
	for i := range other {
		other[i] = reject("x", "name", "is empty")
	}
	wanted := reject("u9", "age", "is no number")
	c := openStreaming(t, streaming{ofRejects(other, append(other[:0:0], wanted), nil), exported(other[0], `{}`, wanted, `{"age":"nine"}`)})
	text := get(t, c, "/w/default/runs/run-7/rejects?column=age&reason=NO+number").Body.String()
	require.Contains(t, text, "<mark>nine</mark>")
	require.Contains(t, text, `<code dir="auto">u9</code>`)
	require.NotContains(t, text, "is empty")
	text = get(t, c, "/w/default/runs/run-7/rejects?column=nothing").Body.String()
	require.Contains(t, text, "None of the 501 rejects that were looked through matches.")
	require.Contains(t, text, "Show all rejects")
}

func TestTheSearchForRejectsIsBounded(t *testing.T) {
	pages := make([][]*ingestionv1.Reject, 40)
	for i := range pages {
		pages[i] = make([]*ingestionv1.Reject, 500)
		for k := range pages[i] {
			pages[i][k] = reject("x", "name", "is empty")
		}
	}
	text := get(t, openStreaming(t, streaming{ofRejects(pages...), nil}), "/w/default/runs/run-7/rejects?column=age").Body.String()
	require.Contains(t, text, "None of the 10\u202f000 rejects that were looked through matches.")
	require.Contains(t, text, `href="/w/default/runs/run-7/rejects?column=age&amp;page=page-20">More</a>`)
}

func TestAWideRowAndALongValueAreCut(t *testing.T) {
	var row strings.Builder
	row.WriteString(`{"big":"` + strings.Repeat("é", 5<<20) + `"`)
	for i := range 1000 {
		fmt.Fprintf(&row, `,"c%d":%d`, i, i)
	}
	row.WriteString("}")
	bad := reject("u1", "c999", "is too much")
	w := get(t, openStreaming(t, streaming{ofRejects([]*ingestionv1.Reject{bad}), exported(bad, row.String())}), "/w/default/runs/run-7/rejects")
	text := w.Body.String()
	require.Less(t, len(text), 64<<10)
	require.Contains(t, text, "cut; the value has 10.0 MiB")
	require.Contains(t, text, "<mark>999</mark>", "the column at fault is shown wherever it stands")
	require.Contains(t, text, "And 960 more columns.")
}

func TestTheListStandsWhereRowsCanNotBeOpened(t *testing.T) {
	s := streaming{ofRejects([]*ingestionv1.Reject{reject("u1", "age", "is no number")}), map[string]messages{
		"ExportRejects": {err: fault.New(fault.Precondition, fault.ReasonSecretUnreadable, "the key set is gone")},
	}}
	w := get(t, openStreaming(t, s), "/w/default/runs/run-7/rejects")
	require.Equal(t, http.StatusOK, w.Code)
	require.Contains(t, w.Body.String(), "Rows can not be shown: The key set is gone")
	require.Contains(t, w.Body.String(), `<code dir="auto">u1</code>`)
}

func TestAReplayLeadsToItsRun(t *testing.T) {
	a := ofRejects([]*ingestionv1.Reject{reject("u1", "age", "is no number")})
	a["ReplayRejects"] = says(&ingestionv1.ReplayRejectsResponse{Run: &schedulerv1.Run{Id: "run-9"}})
	w := sendForm(t, open(t, a), "/w/default/runs/run-7/rejects", "act", "replay")
	require.Equal(t, http.StatusSeeOther, w.Code)
	require.Equal(t, "/w/default/runs/run-9?done=replayed", w.Header().Get("Location"))
	a["ReplayRejects"] = func(any) (proto.Message, error) {
		return nil, fault.New(fault.Precondition, fault.ReasonRunState, "no row is kept of the rejects")
	}
	w = sendForm(t, open(t, a), "/w/default/runs/run-7/rejects", "act", "replay")
	require.Equal(t, http.StatusConflict, w.Code)
	require.Contains(t, w.Body.String(), "No row is kept of the rejects")
	require.Contains(t, w.Body.String(), "rows by reason")
}

func TestNoRejectsAreToldByWhatTheRunIs(t *testing.T) {
	a := answers{"ListRejects": says(&ingestionv1.ListRejectsResponse{})}
	dry := doneRun()
	dry.DryRun = true
	a["GetRun"] = says(&schedulerv1.GetRunResponse{Run: dry})
	require.Contains(t, get(t, open(t, a), "/w/default/runs/run-7/rejects").Body.String(), "A dry run keeps no rejects")
	a["GetRun"] = says(&schedulerv1.GetRunResponse{Run: doneRun()})
	require.Contains(t, get(t, open(t, a), "/w/default/runs/run-7/rejects").Body.String(), "There are no rejects")
}
