package console

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	configv1 "millrace.dev/gen/millrace/config/v1"
	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
	"millrace.dev/pkg/fault"
)

// doneRun is a run that is over, with an account that closes.
func doneRun() *schedulerv1.Run {
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	return &schedulerv1.Run{
		Id: "run-7", RunNo: 7, Sync: "customers", Lane: schedulerv1.Lane_LANE_LIVE, Reason: schedulerv1.RunReason_RUN_REASON_SCHEDULED,
		State:      schedulerv1.RunState_RUN_STATE_PARTIALLY_SUCCEEDED,
		CreateTime: timestamppb.New(start), StartTime: timestamppb.New(start), PlanTime: timestamppb.New(start), EndTime: timestamppb.New(start.Add(90 * time.Second)),
		Counts:      &schedulerv1.Counts{Read: 1200, Filtered: 50, Rejected: 150, Mapped: 1000, Absent: 20, Created: 600, Updated: 300, Unchanged: 90, Refused: 10, Deleted: 20},
		Certificate: &schedulerv1.Certificate{Balanced: true, RowsDigest: "aa11", AccountedDigest: "aa11", Snapshots: []string{"snap-1"}, SourceRows: proto.Int64(1200)},
		Window:      &schedulerv1.Window{Low: "2026-02-28", High: "2026-03-01"}, Parts: 2, Batches: 3, BytesRead: 2048, TraceId: "0af7651916cd43dd8448eb211c80319c",
		IngestedRows: 1200, EstimatedRows: 1200,
	}
}

func TestRunsAreShownWithWhatBecameOfTheirRows(t *testing.T) {
	open := &schedulerv1.Run{Id: "run-8", RunNo: 8, Sync: "<script>alert(1)</script>", State: schedulerv1.RunState_RUN_STATE_HELD, Reason: schedulerv1.RunReason_RUN_REASON_BACKFILL, Lane: schedulerv1.Lane_LANE_HISTORY, Hold: &schedulerv1.Hold{Message: "too many deletes"}}
	w := get(t, openRuns(t, open, doneRun()), "/w/default/runs")
	require.Equal(t, http.StatusOK, w.Code, w.Body.String())
	text := w.Body.String()
	require.Contains(t, text, `<a href="/w/default/runs/run-7"><bdi>customers</bdi> #7</a>`)
	require.Contains(t, text, `<span class="state warn">partially succeeded</span>`)
	require.Contains(t, text, "1 min 30 s")
	require.Contains(t, text, `aria-label="created 600, updated 300, unchanged 90, refused 10, deleted 20, rejected 150, filtered 50"`)
	require.Contains(t, text, `<span class="state good">balanced</span>`)
	require.Contains(t, text, "too many deletes")
	require.Contains(t, text, "backfill, history lane")
	require.Contains(t, text, `<span class="state busy">open</span>`)
	require.NotContains(t, text, "<script>alert")
	require.Contains(t, text, `<option value="customers">`, "syncs are offered")
}

// openRuns answers a console whose list of runs is these.
func openRuns(t *testing.T, runs ...*schedulerv1.Run) *Console {
	return open(t, answers{
		"ListRuns":  says(&schedulerv1.ListRunsResponse{Runs: runs}),
		"ListSyncs": says(&configv1.ListSyncsResponse{Syncs: []*configv1.Sync{{Meta: &configv1.Meta{Id: "customers"}}}}),
	})
}

func TestTheFilterOfRunsStaysInTheAddress(t *testing.T) {
	var asked *schedulerv1.ListRunsRequest
	c := open(t, answers{"ListRuns": func(in any) (proto.Message, error) {
		asked = in.(*schedulerv1.ListRunsRequest)
		return &schedulerv1.ListRunsResponse{Runs: []*schedulerv1.Run{doneRun()}, NextPageToken: "next&more"}, nil
	}})
	w := get(t, c, "/w/default/runs?sync=customers&state=failed&lane=live&reason=scheduled&page=here")
	require.Equal(t, http.StatusOK, w.Code, "the table stands where syncs can not be asked for")
	require.Equal(t, "customers", asked.GetSync())
	require.Equal(t, "state=failed AND lane=live AND reason=scheduled", asked.GetFilter())
	require.Equal(t, "here", asked.GetPageToken())
	require.EqualValues(t, runsOnPage, asked.GetPageSize())
	require.Contains(t, w.Body.String(), `<a rel="next" href="/w/default/runs?lane=live&amp;page=next%26more&amp;reason=scheduled&amp;state=failed&amp;sync=customers">Older</a>`)
	require.Contains(t, w.Body.String(), `<a href="/w/default/runs?lane=live&amp;reason=scheduled&amp;state=failed&amp;sync=customers">Newest</a>`)
	require.Contains(t, w.Body.String(), `<option value="failed" selected>failed</option>`)
	require.Contains(t, w.Body.String(), `name="sync" list="sync-ids" value="customers"`)
}

func TestAFilterThatNoRunCanMatchIsToldAllAtOnce(t *testing.T) {
	w := get(t, openRuns(t), "/w/default/runs?state=fine&lane=fast&sync=customers")
	require.Equal(t, http.StatusBadRequest, w.Code)
	require.Contains(t, w.Body.String(), "no run has this state")
	require.Contains(t, w.Body.String(), "choose one of live, history")
	require.Contains(t, w.Body.String(), `value="customers"`, "what was typed stays")
}

func TestNoRunsAreToldApartFromNoMatch(t *testing.T) {
	require.Contains(t, get(t, openRuns(t), "/w/default/runs").Body.String(), "There is no run yet")
	require.Contains(t, get(t, openRuns(t), "/w/default/runs?state=failed").Body.String(), "No run matches")
}

func TestTheSchedulerBeingAwayIsTold(t *testing.T) {
	w := get(t, open(t, answers{}), "/w/default/runs?state=failed")
	require.Equal(t, http.StatusServiceUnavailable, w.Code)
	require.Equal(t, "3", w.Header().Get("Refresh"))
}

func TestAnAccountIsAPictureThatAddsUp(t *testing.T) {
	f := flowOf(doneRun())
	require.NotNil(t, f)
	rows := map[string]int64{}
	for _, n := range f.Nodes {
		rows[n.Name] = n.Rows
		require.GreaterOrEqual(t, n.Y, 0.0, n.Name)
		require.LessOrEqual(t, n.Y+n.H, float64(f.Height), n.Name)
	}
	require.Equal(t, map[string]int64{
		"read": 1200, "mapped": 1000, "absent": 20, "rejected": 150, "filtered": 50,
		"created": 600, "updated": 300, "unchanged": 90, "refused": 10, "deleted": 20,
	}, rows)
	var told []string
	for _, b := range f.Bands {
		told = append(told, b.Told)
	}
	require.Equal(t, []string{
		"read to mapped: 1\u202f000 rows", "read to rejected: 150 rows", "read to filtered: 50 rows",
		"mapped to created: 600 rows", "mapped to updated: 300 rows", "mapped to unchanged: 90 rows", "mapped to refused: 10 rows", "absent to deleted: 20 rows",
	}, told)
	require.Nil(t, flowOf(&schedulerv1.Run{}), "nothing is drawn of no rows")
}

func TestAnAccountThatDoesNotAddUpIsMarked(t *testing.T) {
	run := doneRun()
	run.Counts.Mapped, run.Counts.Unchanged = 997, 80
	require.EqualValues(t, 3, equationsOf(run)[0].Short)
	require.EqualValues(t, 7, equationsOf(run)[1].Short)
	last := flowOf(run).Nodes
	require.Equal(t, "unaccounted", last[len(last)-1].Name)
	run.State = schedulerv1.RunState_RUN_STATE_RUNNING
	last = flowOf(run).Nodes
	require.Equal(t, "on the way", last[len(last)-1].Name)
}

func TestSegmentsFillTheBar(t *testing.T) {
	bar := segmentsOf(doneRun().GetCounts())
	last := bar[len(bar)-1]
	require.InDelta(t, 160, last.X+last.Width, 0.2)
	require.Nil(t, segmentsOf(nil))
}

func TestAPageOfLongTextsIsSmall(t *testing.T) {
	runs := make([]*schedulerv1.Run, runsOnPage)
	for i := range runs {
		runs[i] = doneRun()
		runs[i].Id, runs[i].Error = fmt.Sprint("run-", i), &schedulerv1.RunError{Message: strings.Repeat("x", 1<<20)}
	}
	require.Less(t, get(t, openRuns(t, runs...), "/w/default/runs").Body.Len(), 200<<10)
}

func TestAPageTokenThatIsNoneIsToldBesideTheFilter(t *testing.T) {
	c := open(t, answers{"ListRuns": func(any) (proto.Message, error) {
		return nil, fault.New(fault.Invalid, fault.ReasonInvalidArgument, "page_token is none that this service gave")
	}})
	w := get(t, c, "/w/default/runs?page=x")
	require.Equal(t, http.StatusBadRequest, w.Code)
	require.Contains(t, w.Body.String(), "Page_token is none that this service gave")
	require.Contains(t, w.Body.String(), `aria-label="Runs"`)
}
