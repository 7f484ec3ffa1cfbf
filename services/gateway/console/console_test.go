package console

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	configv1 "millrace.dev/gen/millrace/config/v1"
	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
	"millrace.dev/pkg/fault"
)

// answers are what the services behind a console under test say, by the last part of the method. What is not in it can not
// be reached.
type answers map[string]func(in any) (proto.Message, error)

// says answers always the same.
func says(m proto.Message) func(any) (proto.Message, error) {
	return func(any) (proto.Message, error) { return m, nil }
}

func (a answers) Invoke(_ context.Context, method string, in, out any, _ ...grpc.CallOption) error {
	answer, ok := a[method[strings.LastIndex(method, "/")+1:]]
	if !ok {
		return fault.New(fault.Unavailable, fault.ReasonServiceUnavailable, "the service can not be reached")
	}
	m, err := answer(in)
	if err != nil {
		return err
	}
	proto.Merge(out.(proto.Message), m)
	return nil
}

func (a answers) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	return nil, fault.New(fault.Unavailable, fault.ReasonServiceUnavailable, "the service can not be reached")
}

func open(t *testing.T, a answers) *Console {
	t.Helper()
	c, err := New(t.Context(), slog.New(slog.NewTextHandler(t.Output(), nil)), Conns{a, a, a, a, a})
	require.NoError(t, err)
	return c
}

// get asks for a page.
func get(t *testing.T, c *Console, path string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	c.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
	return w
}

func TestSyncsAreShownWithTheirRuns(t *testing.T) {
	c := open(t, answers{
		"ListSyncs": says(&configv1.ListSyncsResponse{Syncs: []*configv1.Sync{
			{Meta: &configv1.Meta{Id: "customers", DisplayName: "<script>alert(1)</script>"}, State: configv1.SyncState_SYNC_STATE_ACTIVE, Status: configv1.SyncStatus_SYNC_STATUS_FAULTED, Schedule: &configv1.Schedule{When: &configv1.Schedule_Every{Every: &configv1.Every{Every: "15m"}}}},
		}}),
		"ListRuns": says(&schedulerv1.ListRunsResponse{Runs: []*schedulerv1.Run{
			{Id: "r2", Sync: "customers", State: schedulerv1.RunState_RUN_STATE_FAILED, Lane: schedulerv1.Lane_LANE_LIVE, CreateTime: timestamppb.Now()},
			{Id: "r1", Sync: "customers", State: schedulerv1.RunState_RUN_STATE_SUCCEEDED, Lane: schedulerv1.Lane_LANE_LIVE, PlanTime: timestamppb.Now(), Counts: &schedulerv1.Counts{Read: 1200}},
		}}),
	})
	w := get(t, c, "/w/default/syncs")
	require.Equal(t, http.StatusOK, w.Code, w.Body.String())
	require.Contains(t, w.Body.String(), "every 15m")
	require.Contains(t, w.Body.String(), `<span class="state bad">faulted</span>`)
	require.Contains(t, w.Body.String(), `href="/w/default/runs/r2"`)
	require.NotContains(t, w.Body.String(), "<script>alert")
	require.Contains(t, w.Header().Get("Content-Security-Policy"), "default-src 'none'")
}

func TestAServiceThatIsAwayIsToldAndAskedAgain(t *testing.T) {
	w := get(t, open(t, answers{}), "/w/default/syncs")
	require.Equal(t, http.StatusServiceUnavailable, w.Code)
	require.Equal(t, "3", w.Header().Get("Refresh"))
	require.Contains(t, w.Body.String(), "Not reachable now")
}

func TestAssetsAreKeptByTheirVersion(t *testing.T) {
	c := open(t, answers{})
	w := get(t, c, c.assets.path("console.css"))
	require.Equal(t, http.StatusOK, w.Code)
	require.Contains(t, w.Header().Get("Content-Type"), "text/css")
	require.Contains(t, w.Header().Get("Cache-Control"), "immutable")
	w = get(t, c, "/assets/older/console.js")
	require.Equal(t, http.StatusOK, w.Code)
	require.Empty(t, w.Header().Get("Cache-Control"))
	require.Equal(t, http.StatusNotFound, get(t, c, "/assets/older/none.js").Code)
}

func TestWhatIsNoPageIsToldByAPage(t *testing.T) {
	w := get(t, open(t, answers{}), "/nothing/here")
	require.Equal(t, http.StatusNotFound, w.Code)
	require.Contains(t, w.Body.String(), "There is no such page")
}
