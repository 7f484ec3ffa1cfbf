package scheduler_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	configv1 "millrace.dev/gen/millrace/config/v1"
	ingestionv1 "millrace.dev/gen/millrace/ingestion/v1"
	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
	"millrace.dev/pkg/app"
	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/rpc"
	"millrace.dev/pkg/testenv"
	"millrace.dev/services/scheduler"
)

func TestMain(m *testing.M) {
	replaceSQLiteClock()
	goleak.VerifyTestMain(m, testenv.Leaks()...)
}

// soon is how long a test waits for an event; it is reached only where a test fails.
const soon = 20 * time.Second

// noStats records nothing of calls.
type noStats struct{}

func (noStats) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context   { return ctx }
func (noStats) HandleRPC(context.Context, stats.RPCStats)                         {}
func (noStats) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }
func (noStats) HandleConn(context.Context, stats.ConnStats)                       {}

// onBoth runs a test on SQLite and on PostgreSQL.
func onBoth(t *testing.T, f func(t *testing.T, sql string)) {
	t.Run("sqlite", func(t *testing.T) { f(t, "sqlite:"+filepath.Join(t.TempDir(), "control.db")) })
	t.Run("postgres", func(t *testing.T) { f(t, testenv.Postgres(t)) })
}

// mesh is a scheduler among a config service and an ingestion service that the test plays.
type mesh struct {
	t      testing.TB
	sql    string
	keys   string // of credentials
	own    bool   // nobody has named keys
	hosted []string
	config *configService
	store  *ingestionService
	runs   schedulerv1.SchedulerServiceClient
	work   schedulerv1.AccountServiceClient
	meters *prometheus.Registry
	logs   *lines
	stop   func()
}

// lines is what a process has logged. Safe for concurrent use.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p) //nolint:wrapcheck // never fails
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// quick makes what a test waits for come soon, and nothing happen by silence.
func quick() scheduler.Settings {
	return scheduler.Settings{Tick: 20 * time.Millisecond, RetryBackoff: time.Millisecond, Lease: time.Minute}
}

func start(t testing.TB, sql string, set scheduler.Settings) *mesh {
	t.Helper()
	m := &mesh{t: t, sql: sql, keys: "file:" + filepath.Join(t.TempDir(), "keys.json"), config: &configService{}, store: &ingestionService{fences: map[id.Part]uint32{}, applied: map[id.Part][]*schedulerv1.IngestResult{}}}
	m.config.put(sync1("orders"))
	m.up(set)
	return m
}

// another answers a second scheduler process on the same database, among the same services.
func (m *mesh) another(set scheduler.Settings) *mesh {
	o := &mesh{t: m.t, sql: m.sql, keys: m.keys, config: m.config, store: m.store}
	o.up(set)
	return o
}

func (m *mesh) up(set scheduler.Settings) {
	t := m.t
	t.Helper()
	listener := bufconn.Listen(1 << 20)
	conn, err := grpc.NewClient("passthrough:mesh", append(rpc.DialOptions(noStats{}),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))...)
	require.NoError(t, err)
	m.logs = &lines{}
	log := slog.New(slog.NewTextHandler(io.MultiWriter(t.Output(), m.logs), &slog.HandlerOptions{Level: slog.LevelInfo}))
	m.meters = prometheus.NewRegistry()
	s, err := scheduler.New(t.Context(), &app.Env{
		Name: scheduler.Name, Log: log, Tracer: trace.NewTracerProvider().Tracer("test"), Metrics: m.meters,
		Shared: app.Shared{SQL: m.sql, Quota: "memory", Keys: m.keys, OwnKeys: m.own}, Hosted: m.hosted,
		Dial: func(string) (grpc.ClientConnInterface, error) { return conn, nil },
	}, set)
	require.NoError(t, err)
	soft, stopSoft := context.WithCancel(context.WithoutCancel(t.Context()))
	hard, stopHard := context.WithCancel(context.WithoutCancel(t.Context()))
	server := grpc.NewServer(rpc.ServerOptions(log, soft, noStats{})...)
	s.Register(server)
	configv1.RegisterConfigServiceServer(server, m.config)
	ingestionv1.RegisterIngestionServiceServer(server, m.store)
	var wg sync.WaitGroup
	wg.Go(func() { _ = server.Serve(listener) })
	ended := make(chan error, 1)
	go func() { ended <- s.Run(soft, hard) }()
	m.runs, m.work = schedulerv1.NewSchedulerServiceClient(conn), schedulerv1.NewAccountServiceClient(conn)
	m.stop = sync.OnceFunc(func() {
		stopSoft()
		require.NoError(t, <-ended)
		server.GracefulStop()
		wg.Wait()
		stopHard()
		require.NoError(t, conn.Close())
		require.NoError(t, s.Close())
	})
	t.Cleanup(m.stop)
}

// until waits for an event: it asks until the answer is yes.
func (m *mesh) until(what string, yes func() bool) {
	m.t.Helper()
	deadline, again := time.NewTimer(soon), time.NewTicker(5*time.Millisecond)
	defer deadline.Stop()
	defer again.Stop()
	for !yes() {
		select {
		case <-again.C:
		case <-deadline.C:
			require.Fail(m.t, "it never happened", what)
		}
	}
}

// never holds for some rounds of the ticker.
func (m *mesh) never(what string, yes func() bool) {
	m.t.Helper()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for range 15 {
		require.False(m.t, yes(), what)
		<-again.C
	}
}

func (m *mesh) trigger(req *schedulerv1.TriggerRunRequest) *schedulerv1.Run {
	m.t.Helper()
	if req.GetSync() == "" {
		req.Sync = "orders"
	}
	resp, err := m.runs.TriggerRun(m.t.Context(), req)
	require.NoError(m.t, err)
	return resp.GetRun()
}

func (m *mesh) run(runID string) *schedulerv1.Run {
	m.t.Helper()
	resp, err := m.runs.GetRun(m.t.Context(), &schedulerv1.GetRunRequest{Id: runID})
	require.NoError(m.t, err)
	return resp.GetRun()
}

// reaches waits until a run is in a state.
func (m *mesh) reaches(runID string, s schedulerv1.RunState) *schedulerv1.Run {
	m.t.Helper()
	var r *schedulerv1.Run
	m.until("run is "+s.String(), func() bool { r = m.run(runID); return r.GetState() == s })
	return r
}

func (m *mesh) part(runID string, part uint32) *schedulerv1.Part {
	m.t.Helper()
	resp, err := m.runs.ListParts(m.t.Context(), &schedulerv1.ListPartsRequest{Run: runID})
	require.NoError(m.t, err)
	for _, p := range resp.GetParts() {
		if p.GetPart() == part {
			return p
		}
	}
	require.Fail(m.t, "no such part")
	return nil
}

// lease waits for a part.
func (m *mesh) lease() *schedulerv1.PartLease {
	m.t.Helper()
	var l *schedulerv1.PartLease
	m.until("a part is leased", func() bool {
		resp, err := m.work.LeasePart(m.t.Context(), &schedulerv1.LeasePartRequest{Worker: "w1", Wait: durationpb.New(2 * time.Second)})
		require.NoError(m.t, err)
		l = resp.GetLease()
		return l != nil
	})
	return l
}

// noLease asserts that there is nothing to work on now.
func (m *mesh) noLease() {
	m.t.Helper()
	resp, err := m.work.LeasePart(m.t.Context(), &schedulerv1.LeasePartRequest{Worker: "w1"})
	require.NoError(m.t, err)
	require.Nil(m.t, resp.GetLease())
}

// plan plays part 0: a plan of as many parts as there are highs.
func (m *mesh) plan(watermark string, highs ...string) *schedulerv1.PartLease {
	m.t.Helper()
	l := m.lease()
	require.Zero(m.t, l.GetPart(), "planning comes first")
	require.NoError(m.t, m.reportPlan(l, watermark, highs...))
	return l
}

func (m *mesh) reportPlan(l *schedulerv1.PartLease, watermark string, highs ...string) error {
	p := &schedulerv1.RunPlan{
		Snapshot: "s1", SnapshotTime: timestamppb.New(time.Unix(1_800_000_000, 0)), Watermark: watermark, LowEdge: l.GetCheckpoint(),
		EstimatedRows: 100, PayloadCap: 1 << 20, KeyColumns: []string{"id"},
	}
	low := ""
	for i, h := range highs {
		p.Parts = append(p.Parts, &schedulerv1.PartRange{Low: low, High: h, HighClosed: i == len(highs)-1})
		low = h
	}
	_, err := m.work.ReportPlan(m.t.Context(), &schedulerv1.ReportPlanRequest{Run: l.GetRun(), Epoch: l.GetEpoch(), Plan: p})
	return err
}

func ref(l *schedulerv1.PartLease, seq uint32) *schedulerv1.BatchRef {
	return &schedulerv1.BatchRef{Run: l.GetRun(), Part: l.GetPart(), Epoch: l.GetEpoch(), Seq: seq}
}

// digest is the sum of the hashes of n rows of a part's batch: row i hashes to part*1000 + seq*100 + i.
func digest(part, seq uint32, first, n int64) []byte {
	var sum uint64
	for i := first; i < first+n; i++ {
		sum += uint64(part)*1000 + uint64(seq)*100 + uint64(i)
	}
	return binary.BigEndian.AppendUint64(make([]byte, 8), sum)
}

func (m *mesh) published(l *schedulerv1.PartLease, seq uint32, rows int64) error {
	_, err := m.work.ReportExtracted(m.t.Context(), &schedulerv1.ReportExtractedRequest{
		Batch: ref(l, seq), Rows: rows, Bytes: rows * 10, Digest: digest(l.GetPart(), seq, 0, rows), TraceId: "t",
	})
	return err
}

// result is what ingestion says of rows first to first+n of a batch, all created but for the rejected ones.
func result(l *schedulerv1.PartLease, seq, fragment uint32, first, n, rejected int64, last bool) *schedulerv1.IngestResult {
	b := ref(l, seq)
	b.Fragment = fragment
	return &schedulerv1.IngestResult{
		Batch: b, FirstRow: first, Rows: n, Last: last, Digest: digest(l.GetPart(), seq, first, n),
		Counts: &schedulerv1.Counts{Read: n, Rejected: rejected, Mapped: n - rejected, Created: n - rejected},
	}
}

// ingested plays ingestion: it applies a fragment, unless it is fenced, and reports it.
func (m *mesh) ingested(r *schedulerv1.IngestResult) error {
	if !m.store.commit(r) {
		return nil
	}
	_, err := m.work.ReportIngested(m.t.Context(), &schedulerv1.ReportIngestedRequest{Result: r})
	return err
}

func (m *mesh) complete(l *schedulerv1.PartLease, batches uint32, rows int64) error {
	return m.ends(&schedulerv1.CompletePartRequest{Run: l.GetRun(), Part: l.GetPart(), Epoch: l.GetEpoch(), Batches: batches, Rows: rows, Snapshot: l.GetPlan().GetSnapshot()})
}

func (m *mesh) ends(req *schedulerv1.CompletePartRequest) error {
	_, err := m.work.CompletePart(m.t.Context(), req)
	return err
}

// whole plays a part from its lease on: batches of three rows each.
func (m *mesh) whole(l *schedulerv1.PartLease, batches uint32) {
	m.t.Helper()
	for seq := range batches {
		require.NoError(m.t, m.published(l, seq, 3))
		require.NoError(m.t, m.ingested(result(l, seq, 0, 0, 3, 0, true)))
	}
	require.NoError(m.t, m.complete(l, batches, 3*int64(batches)))
}

// succeeds plays a whole run of one part with one batch.
func (m *mesh) succeeds(runID, watermark string) *schedulerv1.Run {
	m.t.Helper()
	l := m.plan(watermark, watermark)
	require.Equal(m.t, runID, l.GetRun())
	m.whole(m.lease(), 1)
	return m.reaches(runID, schedulerv1.RunState_RUN_STATE_SUCCEEDED)
}

func reasonOf(err error) fault.Reason { return fault.ReasonOf(fault.FromStatus(err)) }

// configService is config as the test wants it.
type configService struct {
	configv1.UnimplementedConfigServiceServer
	mu       sync.Mutex
	syncs    []*configv1.ScheduledSync
	statuses []*configv1.SetSyncStatusRequest
	obeys    bool // what it is told of a sync is what it says of it
	watchers []*configv1.Alert
	mute     bool                            // it does not say who is to be told
	iterator configv1.IteratorType           // of every sync's model
	queries  map[int64]string                // of the syncs, by version; none: the same one
	terms    configv1.Sync                   // guard and reject_limit of every sync
	engines  map[int64]configv1.MirrorEngine // of mirrors, by version
}

func sync1(name string) *configv1.ScheduledSync {
	return &configv1.ScheduledSync{
		Workspace: "default", Id: name, Uid: id.NewSync().String(), Version: 1, Mode: configv1.Mode_MODE_INCREMENTAL,
		State: configv1.SyncState_SYNC_STATE_ACTIVE, Status: configv1.SyncStatus_SYNC_STATUS_HEALTHY,
		ActiveSince: timestamppb.New(time.Now().Add(-time.Hour)),
	}
}

// put adds or replaces a sync.
func (c *configService) put(y *configv1.ScheduledSync) *configv1.ScheduledSync {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, o := range c.syncs {
		if o.GetId() == y.GetId() {
			c.syncs[i] = y
			return y
		}
	}
	c.syncs = append(c.syncs, y)
	return y
}

func (c *configService) get(name string) *configv1.ScheduledSync {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, y := range c.syncs {
		if y.GetId() == name || y.GetUid() == name {
			return y
		}
	}
	return nil
}

func (c *configService) ListSchedules(context.Context, *configv1.ListSchedulesRequest) (*configv1.ListSchedulesResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return &configv1.ListSchedulesResponse{Syncs: append([]*configv1.ScheduledSync(nil), c.syncs...)}, nil
}

func (c *configService) GetSyncSnapshot(_ context.Context, req *configv1.GetSyncSnapshotRequest) (*configv1.GetSyncSnapshotResponse, error) {
	y := c.get(req.GetSync())
	if y == nil {
		return nil, fault.New(fault.NotFound, fault.ReasonNotFound, "no sync %s", req.GetSync())
	}
	version := req.GetVersion()
	if version == 0 {
		version = y.GetVersion()
	}
	model := &configv1.DataModel{
		Query: &configv1.DataModel_Sql{Sql: c.queries[version]}, Iterator: &configv1.Iterator{Column: "c", Type: c.iterator},
	}
	connection := &configv1.Connection{Meta: &configv1.Meta{Workspace: y.GetWorkspace(), Id: y.GetConnection()}}
	return &configv1.GetSyncSnapshotResponse{Snapshot: &configv1.SyncSnapshot{Version: version, Connection: connection, DataModel: model, Sync: &configv1.Sync{
		Meta: &configv1.Meta{Workspace: y.GetWorkspace(), Id: y.GetId(), Uid: y.GetUid()}, Mode: y.GetMode(), State: y.GetState(),
		Status: y.GetStatus(), Schedule: y.GetSchedule(), TriggerLimit: y.GetTriggerLimit(), Version: y.GetVersion(),
		Guard: c.terms.GetGuard(), RejectLimit: c.terms.GetRejectLimit(), MirrorEngine: c.engines[version].Enum(),
	}}}, nil
}

func (c *configService) SetSyncStatus(_ context.Context, req *configv1.SetSyncStatusRequest) (*configv1.SetSyncStatusResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.statuses = append(c.statuses, req)
	if c.obeys {
		c.setStatus(req.GetId(), req.GetStatus())
	}
	return &configv1.SetSyncStatusResponse{}, nil
}

// setStatus replaces a sync by one of another status: what was answered of it is not to change.
func (c *configService) setStatus(name string, status configv1.SyncStatus) {
	for i, y := range c.syncs {
		if y.GetId() == name {
			c.syncs[i] = proto.CloneOf(y)
			c.syncs[i].Status = status
		}
	}
}

func (c *configService) obey() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.obeys = true
}

// heal makes a sync healthy, as its owner does.
func (c *configService) heal(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.setStatus(name, configv1.SyncStatus_SYNC_STATUS_HEALTHY)
}

func (c *configService) putAlert(a *configv1.Alert) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.watchers = append(c.watchers, a)
}

func (c *configService) refuseAlerts(mute bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mute = mute
}

func (c *configService) dropAlerts() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.watchers = nil
}

func (c *configService) ListSealedAlerts(_ context.Context, req *configv1.ListSealedAlertsRequest) (*configv1.ListSealedAlertsResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mute {
		return nil, fault.New(fault.Unavailable, fault.ReasonServiceUnavailable, "config is down")
	}
	out := &configv1.ListSealedAlertsResponse{}
	for _, a := range c.watchers {
		if req.GetWorkspace() == "" || req.GetWorkspace() == a.GetMeta().GetWorkspace() {
			out.Alerts = append(out.Alerts, proto.CloneOf(a))
		}
	}
	return out, nil
}

// told answers all that config was told of syncs.
func (c *configService) told() []*configv1.SetSyncStatusRequest {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.statuses)
}

// remove deletes a sync.
func (c *configService) remove(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.syncs = slices.DeleteFunc(c.syncs, func(y *configv1.ScheduledSync) bool { return y.GetId() == name })
}

// status answers what config was last told of a sync.
func (c *configService) status(name string) *configv1.SetSyncStatusRequest {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := len(c.statuses) - 1; i >= 0; i-- {
		if c.statuses[i].GetId() == name {
			return c.statuses[i]
		}
	}
	return nil
}

// ingestionService keeps fences and what was applied, as ingestion does.
type ingestionService struct {
	ingestionv1.UnimplementedIngestionServiceServer
	mu      sync.Mutex
	down    bool
	fences  map[id.Part]uint32
	rejects []*ingestionv1.RejectCount // of every run
	applied map[id.Part][]*schedulerv1.IngestResult
}

func (s *ingestionService) setDown(down bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = down
}

// commit applies a fragment, unless it is below the fence of its part.
func (s *ingestionService) commit(r *schedulerv1.IngestResult) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := id.Part{Part: r.GetBatch().GetPart()}
	p.Run, _ = id.ParseRun(r.GetBatch().GetRun())
	if r.GetBatch().GetEpoch() < s.fences[p] {
		return false
	}
	for _, a := range s.applied[p] {
		if proto.Equal(a.GetBatch(), r.GetBatch()) {
			return true // its batch key is there
		}
	}
	s.applied[p] = append(s.applied[p], r)
	return true
}

func (s *ingestionService) fenceOf(runID string, part uint32) uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, _ := id.ParseRun(runID)
	return s.fences[id.Part{Run: r, Part: part}]
}

func (s *ingestionService) ListRejects(context.Context, *ingestionv1.ListRejectsRequest) (*ingestionv1.ListRejectsResponse, error) {
	return &ingestionv1.ListRejectsResponse{ByReason: s.rejects}, nil
}

func (s *ingestionService) Fence(_ context.Context, req *ingestionv1.FenceRequest) (*ingestionv1.FenceResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		return nil, fault.New(fault.Unavailable, fault.ReasonServiceUnavailable, "ingestion is down")
	}
	r, err := id.ParseRun(req.GetRun())
	if err != nil {
		return nil, fault.New(fault.Invalid, fault.ReasonInvalidArgument, "bad run")
	}
	p := id.Part{Run: r, Part: req.GetPart()}
	s.fences[p] = max(s.fences[p], req.GetEpoch())
	return &ingestionv1.FenceResponse{Applied: s.applied[p]}, nil
}
