package console

import (
	"context"
	"io"
	"log/slog"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	configv1 "millrace.dev/gen/millrace/config/v1"
	ingestionv1 "millrace.dev/gen/millrace/ingestion/v1"
	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
	"millrace.dev/pkg/fault"
)

// sendForm posts a form as a browser does.
func sendForm(t *testing.T, c *Console, path string, pairs ...string) *httptest.ResponseRecorder {
	t.Helper()
	q := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		q.Add(pairs[i], pairs[i+1])
	}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, strings.NewReader(q.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	c.ServeHTTP(w, r)
	return w
}

// streamed are answers of which some are streams: each of the messages, then the end.
type streamed struct {
	answers
	streams map[string][]proto.Message
	asked   *[]string
}

func (s streamed) NewStream(_ context.Context, _ *grpc.StreamDesc, method string, _ ...grpc.CallOption) (grpc.ClientStream, error) {
	name := method[strings.LastIndex(method, "/")+1:]
	*s.asked = append(*s.asked, name)
	return &sentMessages{left: s.streams[name]}, nil
}

type sentMessages struct {
	grpc.ClientStream
	left []proto.Message
}

func (m *sentMessages) SendMsg(any) error { return nil }
func (m *sentMessages) CloseSend() error  { return nil }

func (m *sentMessages) RecvMsg(out any) error {
	if len(m.left) == 0 {
		return io.EOF
	}
	proto.Merge(out.(proto.Message), m.left[0])
	m.left = m.left[1:]
	return nil
}

func customers() *configv1.Sync {
	return &configv1.Sync{
		Meta:      &configv1.Meta{Id: "customers", DisplayName: "Customers <b>", Etag: "e1", Labels: map[string]string{"team": "growth"}},
		DataModel: "customers", Mapping: "customers", Mode: configv1.Mode_MODE_MIRROR, Version: 3,
		State: configv1.SyncState_SYNC_STATE_ACTIVE, Status: configv1.SyncStatus_SYNC_STATUS_HEALTHY,
		Schedule: &configv1.Schedule{When: &configv1.Schedule_Every{Every: &configv1.Every{Every: "hourly"}}},
	}
}

// shop answers for the sync of customers and what it is made of.
func shop(s *configv1.Sync, runs ...*schedulerv1.Run) answers {
	return answers{
		"GetSync": says(&configv1.GetSyncResponse{Sync: s}),
		"GetDataModel": says(&configv1.GetDataModelResponse{DataModel: &configv1.DataModel{
			Meta: &configv1.Meta{Id: "customers", DisplayName: "customers", Etag: "m1"}, Connection: "shop", RecordKind: configv1.RecordKind_RECORD_KIND_USERS,
			Query: &configv1.DataModel_Sql{Sql: "SELECT id, '</pre><script>' AS x FROM customers"}, KeyColumns: []string{"id"},
		}}),
		"GetConnection": says(&configv1.GetConnectionResponse{Connection: &configv1.Connection{
			Meta: &configv1.Meta{Id: "shop"}, Provider: &configv1.Connection_Duckdb{Duckdb: &configv1.DuckDB{Path: "/data/shop.duckdb"}},
		}}),
		"GetMapping": says(&configv1.GetMappingResponse{Mapping: &configv1.Mapping{
			Meta: &configv1.Meta{Id: "customers", DisplayName: "customers", Etag: "p1"}, Version: 2, Rules: []*configv1.Rule{
				{Object: "user_identities", Rules: []*configv1.Rule{{Column: "id", To: "customer_id", Type: "string", Transform: []string{"trim", "lower"}}}},
				{Static: structpb.NewStringValue("<i>"), To: "user_attributes.source"},
				{Ignore: "etl_batch"},
			},
		}}),
		"ListRuns": says(&schedulerv1.ListRunsResponse{Runs: runs}),
	}
}

func runNo(no int64, state schedulerv1.RunState, created time.Time, n *schedulerv1.Counts) *schedulerv1.Run {
	return &schedulerv1.Run{
		Id: "r" + number(no), RunNo: no, Sync: "customers", State: state, Lane: schedulerv1.Lane_LANE_LIVE, Reason: schedulerv1.RunReason_RUN_REASON_SCHEDULED,
		CreateTime: timestamppb.New(created), PlanTime: timestamppb.New(created), Counts: n,
	}
}

var november = time.Date(2026, 11, 5, 8, 0, 0, 0, time.UTC)

func TestASyncIsShownWithWhatItIsMadeOfAndItsRuns(t *testing.T) {
	w := get(t, open(t, shop(customers(),
		runNo(2, schedulerv1.RunState_RUN_STATE_FAILED, november.Add(time.Hour), nil),
		runNo(1, schedulerv1.RunState_RUN_STATE_SUCCEEDED, november, &schedulerv1.Counts{Read: 12000, Created: 11000, Updated: 900, Rejected: 70, Refused: 30}),
	)), "/w/default/syncs/customers")
	body := w.Body.String()
	require.Equal(t, http.StatusOK, w.Code, body)
	for _, text := range []string{
		"Customers &lt;b&gt;", "hourly", "mirror: everything, and rows that are gone are deleted",
		"SELECT id, &#39;&lt;/pre&gt;&lt;script&gt;&#39; AS x FROM customers", "(duckdb)", `href="/w/default/connections/shop"`,
		"customer_id", "as string", "trim, lower", "&lt;i&gt;", "ignored column", "etl_batch",
		"holds the run at deletes: more than 20 % and more than 100 rows", "Label team", "growth",
		`href="/w/default/runs/r1"`, "12\u202f000", `<td class="n">100</td>`, `<span class="state bad">failed</span>`,
		`href="/w/default/runs?sync=customers"`, `href="/w/default/apply?sync=customers"`, `href="/w/default/apply?sync=customers&amp;copy=1"`,
		"<button>Pause</button>", "This warehouse does not say what queries cost",
	} {
		require.Contains(t, body, text)
	}
	require.NotContains(t, body, "<script>'")
	require.NotContains(t, body, "style=", "the policy allows no style in a page")
	require.NotContains(t, body, "Activate</button>")
}

func TestASyncThatIsNotHealthySaysWhyAndWhatToDo(t *testing.T) {
	s := customers()
	s.Status, s.StatusReason, s.StatusNextStep = configv1.SyncStatus_SYNC_STATUS_FAULTED, "the table customers is gone", "create it, then resume the sync"
	body := get(t, open(t, shop(s)), "/w/default/syncs/customers").Body.String()
	require.Contains(t, body, "the table customers is gone")
	require.Contains(t, body, "create it, then resume the sync")
	require.Contains(t, body, "once it is resumed")
	require.Contains(t, body, "Resume</button>")
	require.Contains(t, body, "There is no run yet.")

	s = customers()
	s.State = configv1.SyncState_SYNC_STATE_DRAFT
	body = get(t, open(t, shop(s)), "/w/default/syncs/customers").Body.String()
	require.Contains(t, body, "Activate</button>")
	require.Contains(t, body, `disabled title="Activate the sync first"`)
}

func TestNextRun(t *testing.T) {
	now := november
	at := func(change func(*configv1.Sync), runs ...*schedulerv1.Run) nextRun {
		s := customers()
		change(s)
		return nextRunOf(s, runs, now)
	}
	require.Equal(t, "2026-11-05 09:00:00 UTC", at(func(*configv1.Sync) {}).At.UTC)
	require.Equal(t, "it runs now", at(func(*configv1.Sync) {}, runNo(1, schedulerv1.RunState_RUN_STATE_RUNNING, now, nil)).Text)
	require.Equal(t, "once it is resumed", at(func(s *configv1.Sync) { s.State = configv1.SyncState_SYNC_STATE_PAUSED }).Text)
	require.Equal(t, "after orders", at(func(s *configv1.Sync) {
		s.Schedule = &configv1.Schedule{When: &configv1.Schedule_After{After: &configv1.After{Syncs: []string{"orders"}}}}
	}).Text)
	require.Equal(t, "never: its instant is over", at(func(s *configv1.Sync) {
		s.Schedule = &configv1.Schedule{When: &configv1.Schedule_Once{Once: timestamppb.New(now.Add(-time.Hour))}}
	}).Text)
	require.Equal(t, "when it is started", at(func(s *configv1.Sync) { s.Schedule = nil }).Text)
}

func TestDataThatIsOlderThanItsGoalIsLate(t *testing.T) {
	s := customers()
	s.Freshness = "1h"
	runs := []*schedulerv1.Run{
		runNo(3, schedulerv1.RunState_RUN_STATE_FAILED, november.Add(time.Hour), nil),
		runNo(2, schedulerv1.RunState_RUN_STATE_SUCCEEDED, november, nil),
	}
	require.Equal(t, freshness{Of: instant(timestamppb.New(november)), Goal: "1h"}, freshOf(s, runs, november.Add(time.Hour)))
	require.Equal(t, "1 h 30 min", freshOf(s, runs, november.Add(150*time.Minute)).Late)
	require.Equal(t, "13 min", freshOf(s, runs, november.Add(73*time.Minute+5*time.Second)).Late)
	require.Equal(t, "less than a minute", freshOf(s, runs, november.Add(time.Hour+time.Second)).Late)
	s.State = configv1.SyncState_SYNC_STATE_PAUSED
	require.Empty(t, freshOf(s, runs, november.Add(150*time.Minute)).Late, "nobody waits for a paused sync")
	require.Nil(t, freshOf(s, nil, november).Of)
}

func TestUsageSumsMonthsAndCountsARetriedRunOnce(t *testing.T) {
	failed := runNo(1, schedulerv1.RunState_RUN_STATE_FAILED, november, &schedulerv1.Counts{Read: 50, Created: 50})
	failed.Cost = &schedulerv1.Cost{BytesScanned: new(int64(1000))}
	retry := runNo(2, schedulerv1.RunState_RUN_STATE_SUCCEEDED, november.Add(time.Hour), &schedulerv1.Counts{Read: 80, Created: 70, Rejected: 10})
	retry.RetryOf, retry.BytesRead, retry.Cost = failed.GetId(), 4096, &schedulerv1.Cost{BytesScanned: new(int64(500)), BytesBilled: new(int64(10))}
	dry := runNo(3, schedulerv1.RunState_RUN_STATE_REHEARSED, november.Add(2*time.Hour), &schedulerv1.Counts{Read: 99, Updated: 99})
	dry.DryRun = true
	december := runNo(4, schedulerv1.RunState_RUN_STATE_SUCCEEDED, november.AddDate(0, 1, 0), &schedulerv1.Counts{Read: 5, Deleted: 5})

	u := usageOf([]*schedulerv1.Run{december, dry, retry, failed}, false)
	require.Equal(t, []usageMonth{
		{Month: "2026-12", Runs: 1, Read: 5, Deleted: 5},
		{Month: "2026-11", Runs: 3, Failed: 1, Read: 80, Created: 70, Rejected: 10, Bytes: 4096, Scanned: 1500, Billed: 10},
	}, u.Months)
	require.True(t, u.Costs)
	require.Nil(t, u.Since)
	require.Equal(t, "Nov 26", u.Chart.Bars[0].Label)
	require.EqualValues(t, 100, u.Chart.Lines[2].Rows)
	require.InDelta(t, 80, u.Chart.Bars[0].Pieces[0].Height, 0, "70 of 100 rows")

	require.Equal(t, "2026-11-05 08:00:00 UTC", usageOf([]*schedulerv1.Run{failed}, true).Since.UTC)
}

func TestScalesEndAtARoundNumberThatHasAHalf(t *testing.T) {
	for n, want := range map[int64]int64{0: 2, 2: 2, 3: 4, 5: 10, 70: 100, 3001: 4000, 1_000_000: 1_000_000, 1_000_001: 2_000_000} {
		require.Equal(t, want, scaleOf(n), n)
	}
	require.Positive(t, scaleOf(math.MaxInt64))
}

func TestTheUsageOfAYearReadsPageByPage(t *testing.T) {
	a := shop(customers())
	a["ListRuns"] = func(in any) (proto.Message, error) {
		if in.(*schedulerv1.ListRunsRequest).GetPageToken() == "" {
			return &schedulerv1.ListRunsResponse{NextPageToken: "2", Runs: []*schedulerv1.Run{runNo(2, schedulerv1.RunState_RUN_STATE_SUCCEEDED, time.Now(), &schedulerv1.Counts{Read: 7})}}, nil
		}
		return &schedulerv1.ListRunsResponse{Runs: []*schedulerv1.Run{runNo(1, schedulerv1.RunState_RUN_STATE_SUCCEEDED, time.Now(), &schedulerv1.Counts{Read: 4})}}, nil
	}
	body := get(t, open(t, a), "/w/default/syncs/customers/usage").Body.String()
	require.Contains(t, body, `<td class="n">11</td>`)
	require.NotContains(t, body, "are not counted here")
}

func TestActsOnASyncAreDoneAndTold(t *testing.T) {
	var triggered *schedulerv1.TriggerRunRequest
	a := shop(customers())
	a["PauseSync"], a["ResumeSync"], a["ActivateSync"] = says(&configv1.PauseSyncResponse{}), says(&configv1.ResumeSyncResponse{}), says(&configv1.ActivateSyncResponse{})
	a["TriggerRun"] = func(in any) (proto.Message, error) {
		triggered = in.(*schedulerv1.TriggerRunRequest)
		return &schedulerv1.TriggerRunResponse{Run: &schedulerv1.Run{Id: "r9"}}, nil
	}
	c := open(t, a)
	for act, to := range map[string]string{
		"pause": "/w/default/syncs/customers?done=paused", "resume": "/w/default/syncs/customers?done=resumed", "activate": "/w/default/syncs/customers?done=activated",
		"run": "/w/default/runs/r9?done=started",
	} {
		w := sendForm(t, c, "/w/default/syncs/customers/"+act, "key", "k1", "read", "everything", "dry", "yes")
		require.Equal(t, http.StatusSeeOther, w.Code, w.Body.String())
		require.Equal(t, to, w.Header().Get("Location"))
	}
	require.Contains(t, get(t, c, "/w/default/syncs/customers?done=paused").Body.String(), "The sync is paused.")
	require.True(t, triggered.GetFull() && triggered.GetDryRun() && !triggered.GetResync())
	require.Equal(t, "k1", triggered.GetIdempotencyKey())

	sendForm(t, c, "/w/default/syncs/customers/resync", "key", "k2")
	require.True(t, triggered.GetResync() && !triggered.GetDryRun())

	a["TriggerRun"] = func(any) (proto.Message, error) {
		return nil, fault.New(fault.Precondition, fault.ReasonRunOpen, "run r7 of sync customers is open; wait for its end")
	}
	w := sendForm(t, c, "/w/default/syncs/customers/run")
	require.Equal(t, http.StatusConflict, w.Code)
	require.Contains(t, w.Body.String(), "Run r7 of sync customers is open")
	require.Contains(t, w.Body.String(), "SELECT id", "the page is still that of the sync")
}

func TestDeletingASyncAsksWhatBecomesOfWhatItBrought(t *testing.T) {
	a := maps.Clone(shop(customers()))
	a["DeleteSync"] = says(&configv1.DeleteSyncResponse{})
	var asked []string
	s := streamed{a, map[string][]proto.Message{
		"PreviewDeleteImport": {
			&ingestionv1.PreviewDeleteImportResponse{Effects: &ingestionv1.ImportEffects{Rows: 1}},
			&ingestionv1.PreviewDeleteImportResponse{Effects: &ingestionv1.ImportEffects{Rows: 12345, Profiles: 7}},
		},
		"DeleteImport": {&ingestionv1.DeleteImportResponse{Effects: &ingestionv1.ImportEffects{Rows: 12345}}},
	}, &asked}
	c, err := New(t.Context(), slog.New(slog.NewTextHandler(t.Output(), nil)), Conns{s, s, s, s, s})
	require.NoError(t, err)

	body := get(t, c, "/w/default/syncs/customers/delete").Body.String()
	require.Contains(t, body, `value="keep" checked`)
	require.Empty(t, asked)
	require.Contains(t, get(t, c, "/w/default/syncs/customers/delete?preview=1").Body.String(), "12\u202f345")

	w := sendForm(t, c, "/w/default/syncs/customers/delete", "etag", "e0", "data", "remove")
	require.Equal(t, http.StatusConflict, w.Code)
	require.Contains(t, w.Body.String(), "It has changed meanwhile")
	require.NotContains(t, asked, "DeleteImport", "a stale page removes nothing")

	w = sendForm(t, c, "/w/default/syncs/customers/delete", "etag", "e1", "data", "keep")
	require.Equal(t, "/w/default/syncs?done=deleted", w.Header().Get("Location"))
	require.NotContains(t, asked, "DeleteImport")
	w = sendForm(t, c, "/w/default/syncs/customers/delete", "etag", "e1", "data", "remove")
	require.Equal(t, "/w/default/syncs?done=deleted", w.Header().Get("Location"))
	require.Contains(t, asked, "DeleteImport")
}

// An open page follows the runs of its sync, and is loaded anew once the sync itself has changed.
func TestASyncsPageIsKeptCurrent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := customers()
		asked := 0
		a := shop(s)
		a["ListRuns"] = func(any) (proto.Message, error) {
			asked++
			state := schedulerv1.RunState_RUN_STATE_RUNNING
			if asked > 2 {
				state = schedulerv1.RunState_RUN_STATE_SUCCEEDED
			}
			if asked > 3 {
				s.Meta.Etag = "e2"
			}
			return &schedulerv1.ListRunsResponse{Runs: []*schedulerv1.Run{runNo(1, state, november, nil)}}, nil
		}
		events := get(t, open(t, a), "/w/default/live/syncs/customers?etag=e1").Body.String()
		require.Equal(t, 2, strings.Count(events, "event: runs\n"), events)
		require.Contains(t, events, "running")
		require.Contains(t, events, "succeeded")
		require.Contains(t, events, "event: end\n")
	})
}

func TestTheListShowsOldRunsNextRunsAndItsFilter(t *testing.T) {
	a := answers{
		"ListSyncs": func(in any) (proto.Message, error) {
			if strings.Contains(in.(*configv1.ListSyncsRequest).GetFilter(), "color") {
				return nil, fault.New(fault.Invalid, fault.ReasonInvalidArgument, "there is no field color")
			}
			return &configv1.ListSyncsResponse{Syncs: []*configv1.Sync{customers()}, NextPageToken: "n&x"}, nil
		},
		"ListRuns": func(in any) (proto.Message, error) {
			if in.(*schedulerv1.ListRunsRequest).GetSync() == "customers" {
				return &schedulerv1.ListRunsResponse{Runs: []*schedulerv1.Run{runNo(1, schedulerv1.RunState_RUN_STATE_SUCCEEDED, november, nil)}}, nil
			}
			return &schedulerv1.ListRunsResponse{NextPageToken: "more", Runs: []*schedulerv1.Run{{Id: "x", Sync: "busy"}}}, nil
		},
	}
	c := open(t, a)
	body := get(t, c, "/w/default/syncs?filter="+url.QueryEscape("labels.team=growth & co")).Body.String()
	require.Contains(t, body, `href="/w/default/runs/r1"`, "a run that is not among the last of the workspace is found")
	require.Contains(t, body, `href="/w/default/syncs?filter=labels.team%3Dgrowth&#43;%26&#43;co&amp;page=n%26x"`)
	require.Contains(t, body, "/w/default/live/syncs?filter=labels.team%3Dgrowth&#43;%26&#43;co")
	require.Contains(t, body, "2026-11-05 08:00:00 UTC")

	w := get(t, c, "/w/default/syncs?filter=color=red")
	require.Equal(t, http.StatusBadRequest, w.Code)
	require.Contains(t, w.Body.String(), `value="color=red"`)
	require.Contains(t, w.Body.String(), "There is no field color")
}

func TestLongMappingsAreCutAndCounted(t *testing.T) {
	m := &configv1.Mapping{}
	for range 1000 {
		m.Rules = append(m.Rules, &configv1.Rule{Column: "c", To: "x"})
	}
	rows, more := rulesOf(m, shownRules)
	require.Len(t, rows, shownRules)
	require.Equal(t, 500, more)
}
