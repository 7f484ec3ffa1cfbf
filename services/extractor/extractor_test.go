//go:build cgo && duckdb_arrow

package extractor_test

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	_ "github.com/duckdb/duckdb-go/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/test/bufconn"

	configv1 "millrace.dev/gen/millrace/config/v1"
	extractorv1 "millrace.dev/gen/millrace/extractor/v1"
	ingestionv1 "millrace.dev/gen/millrace/ingestion/v1"
	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
	"millrace.dev/pkg/app"
	"millrace.dev/pkg/bus"
	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/record"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/resource/resourcepb"
	"millrace.dev/pkg/row"
	"millrace.dev/pkg/rpc"
	"millrace.dev/pkg/testenv"
	"millrace.dev/pkg/wire"
	"millrace.dev/services/extractor"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, testenv.Leaks()...) }

// mesh is an extractor at work, with a broker and with a scheduler and a config that say what the test says.
type mesh struct {
	t     testing.TB
	dir   string
	bus   *bus.Bus
	spans *tracetest.SpanRecorder
	conn  *grpc.ClientConn // to the extractor
	stop  context.CancelFunc
	ended chan struct{}
	scheduler
}

// scheduler gives the leases that a test puts in and keeps what is reported.
type scheduler struct {
	schedulerv1.UnimplementedAccountServiceServer
	schedulerv1.UnimplementedSchedulerServiceServer
	configv1.UnimplementedConfigServiceServer
	ingestionv1.UnimplementedIngestionServiceServer
	snapshot resource.Snapshot
	leases   chan *schedulerv1.PartLease
	done     chan *schedulerv1.CompletePartRequest

	state    atomic.Int32 // of the run
	asked    atomic.Int32 // how often
	mu       sync.Mutex
	plan     *schedulerv1.RunPlan
	reports  map[string]*schedulerv1.ReportExtractedRequest
	answer   func(*schedulerv1.HeartbeatPartRequest) (*schedulerv1.HeartbeatPartResponse, error)
	reported chan struct{}       // gets one for each new batch
	kept     map[string][][]byte // rows of the rejects of runs
	gate     chan struct{}       // unless nil: sends when kept rows are asked for, and waits to receive
	fenced   atomic.Bool         // plans and ends come too late
	costs    chan *schedulerv1.ReportCostRequest
}

func (s *scheduler) ReportCost(_ context.Context, r *schedulerv1.ReportCostRequest) (*schedulerv1.ReportCostResponse, error) {
	s.costs <- r
	return &schedulerv1.ReportCostResponse{}, nil
}

// tooLate is the answer to a lease that is over.
func (s *scheduler) tooLate() error {
	if s.fenced.Load() {
		return fault.New(fault.Conflict, fault.ReasonFenced, "over")
	}
	return nil
}

func (s *scheduler) LeasePart(ctx context.Context, _ *schedulerv1.LeasePartRequest) (*schedulerv1.LeasePartResponse, error) {
	select {
	case l := <-s.leases:
		return &schedulerv1.LeasePartResponse{Lease: l}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (s *scheduler) HeartbeatPart(_ context.Context, r *schedulerv1.HeartbeatPartRequest) (*schedulerv1.HeartbeatPartResponse, error) {
	if s.answer == nil {
		return &schedulerv1.HeartbeatPartResponse{}, nil
	}
	return s.answer(r)
}

func (s *scheduler) ReportPlan(_ context.Context, r *schedulerv1.ReportPlanRequest) (*schedulerv1.ReportPlanResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.plan = r.GetPlan()
	return &schedulerv1.ReportPlanResponse{}, s.tooLate()
}

func (s *scheduler) ReportExtracted(_ context.Context, r *schedulerv1.ReportExtractedRequest) (*schedulerv1.ReportExtractedResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := r.GetBatch()
	s.reports[id.Batch{Run: run, Part: b.GetPart(), Epoch: b.GetEpoch(), Seq: b.GetSeq()}.String()] = r
	select {
	case s.reported <- struct{}{}:
	default:
	}
	return &schedulerv1.ReportExtractedResponse{}, nil
}

func (s *scheduler) CompletePart(_ context.Context, r *schedulerv1.CompletePartRequest) (*schedulerv1.CompletePartResponse, error) {
	s.done <- r
	return &schedulerv1.CompletePartResponse{}, s.tooLate()
}

func (s *scheduler) GetRun(context.Context, *schedulerv1.GetRunRequest) (*schedulerv1.GetRunResponse, error) {
	defer s.asked.Add(1)
	return &schedulerv1.GetRunResponse{Run: &schedulerv1.Run{State: schedulerv1.RunState(s.state.Load())}}, nil
}

func (s *scheduler) GetSyncSnapshot(context.Context, *configv1.GetSyncSnapshotRequest) (*configv1.GetSyncSnapshotResponse, error) {
	return &configv1.GetSyncSnapshotResponse{Snapshot: resourcepb.ToSnapshot(s.snapshot)}, nil
}

var run = id.NewRun()

func newMesh(t testing.TB, change ...func(*app.Env, *extractor.Settings)) *mesh {
	dir := t.TempDir()
	b, err := bus.Open(t.Context(), bus.Settings{Dir: filepath.Join(dir, "nats"), MaxBytes: 256 << 20, LazySync: true})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	m := &mesh{t: t, dir: dir, bus: b, spans: tracetest.NewSpanRecorder(), ended: make(chan struct{})}
	m.leases, m.done = make(chan *schedulerv1.PartLease), make(chan *schedulerv1.CompletePartRequest, 8)
	m.costs = make(chan *schedulerv1.ReportCostRequest, 8)
	m.reports, m.reported = map[string]*schedulerv1.ReportExtractedRequest{}, make(chan struct{}, 1)

	peers := m.serve(func(g *grpc.Server) {
		schedulerv1.RegisterAccountServiceServer(g, &m.scheduler)
		schedulerv1.RegisterSchedulerServiceServer(g, &m.scheduler)
		configv1.RegisterConfigServiceServer(g, &m.scheduler)
		ingestionv1.RegisterIngestionServiceServer(g, &m.scheduler)
	})
	env := &app.Env{
		Name: extractor.Name, Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Metrics: prometheus.NewRegistry(), Bus: b,
		Tracer: trace.NewTracerProvider(trace.WithSpanProcessor(m.spans)).Tracer("test"),
		Shared: app.Shared{Data: dir, Keys: "file:" + filepath.Join(dir, "keys.json"), FilesAnywhere: true},
		Dial:   func(string) (grpc.ClientConnInterface, error) { return peers, nil },
	}
	settings := extractor.Settings{Slots: 1}
	for _, f := range change {
		f(env, &settings)
	}
	s, err := extractor.New(t.Context(), env, settings)
	require.NoError(t, err)
	m.conn = m.serve(func(g *grpc.Server) { s.Register(g) })
	soft, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	hard, cut := context.WithCancel(context.WithoutCancel(t.Context()))
	m.stop = stop
	go func() {
		defer close(m.ended)
		if err := s.Run(soft, hard); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(func() {
		stop()
		select {
		case <-m.ended:
		case <-time.After(20 * time.Second):
			t.Error("the extractor does not stop by itself")
			cut()
			<-m.ended
		}
		cut()
		require.NoError(t, s.Close())
	})
	return m
}

// serve answers a connection to a server in memory.
func (m *mesh) serve(register func(*grpc.Server)) *grpc.ClientConn {
	listener := bufconn.Listen(1 << 20)
	log := slog.New(slog.NewTextHandler(m.t.Output(), nil))
	server := grpc.NewServer(rpc.ServerOptions(log, m.t.Context(), noStats{})...)
	register(server)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	dial := append(rpc.DialOptions(noStats{}), grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	conn, err := grpc.NewClient("passthrough:memory", dial...)
	require.NoError(m.t, err)
	m.t.Cleanup(func() {
		require.NoError(m.t, conn.Close())
		server.Stop()
		if err := <-served; err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			m.t.Error(err)
		}
	})
	return conn
}

// warehouse fills a DuckDB file of the test's and makes it the connection of a sync.
func (m *mesh) warehouse(fill string) string {
	path := filepath.Join(m.dir, "shop.duckdb")
	execute(m.t, path, fill)
	m.snapshot = resource.Snapshot{
		Version:    1,
		Sync:       resource.Sync{Meta: resource.Meta{ID: "people"}, DataModel: "people", Mode: resource.Incremental},
		Connection: resource.Connection{Meta: resource.Meta{ID: "shop"}, DuckDB: &resource.DuckDB{Path: path}},
		DataModel: resource.DataModel{
			Meta: resource.Meta{ID: "people"}, Connection: "shop", Kind: resource.Users, SQL: "SELECT * FROM people", KeyColumns: []string{"customer_id"},
			Iterator: resource.Iterator{Column: "updated_at", Type: resource.IteratorTimestamp},
		},
		Feed: resource.Feed{Meta: resource.Meta{ID: resource.DefaultFeed}},
	}
	return path
}

func execute(t testing.TB, path, text string) {
	db, err := sql.Open("duckdb", path)
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	_, err = db.ExecContext(context.Background(), text)
	require.NoError(t, err)
}

const people = `CREATE OR REPLACE TABLE people AS SELECT i AS customer_id, 'user' || i || '@example.com' AS email, i % 7 AS visits, TIMESTAMP '2026-01-01' + INTERVAL (i) SECOND AS updated_at FROM range(50000) AS g(i)`

func (m *mesh) lease(part uint32) *schedulerv1.PartLease {
	return &schedulerv1.PartLease{
		Workspace: "default", Run: run.String(), RunNo: 7, Sync: "people", SyncUid: id.Sync{1}.String(), SyncVersion: 1, Part: part, Epoch: 3,
		Traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
	}
}

// work gives a lease out and answers how it was completed.
func (m *mesh) work(l *schedulerv1.PartLease) *schedulerv1.CompletePartRequest {
	m.give(l)
	return m.completed()
}

func (m *mesh) give(l *schedulerv1.PartLease) {
	select {
	case m.leases <- l:
	case <-time.After(30 * time.Second):
		require.Fail(m.t, "nobody leases")
	}
}

func (m *mesh) completed() *schedulerv1.CompletePartRequest {
	select {
	case r := <-m.done:
		return r
	case <-time.After(60 * time.Second):
		require.Fail(m.t, "the part is not completed")
		return nil
	}
}

// planned plans the run and answers the leases of its parts.
func (m *mesh) planned(change ...func(*schedulerv1.PartLease)) []*schedulerv1.PartLease {
	l := m.lease(0)
	for _, f := range change {
		f(l)
	}
	done := m.work(l)
	require.Nil(m.t, done.GetError(), "%v", done.GetError())
	var out []*schedulerv1.PartLease
	for i, r := range m.plan.GetParts() {
		p := m.lease(uint32(i + 1))
		for _, f := range change {
			f(p)
		}
		p.Plan, p.Range = m.plan, r
		out = append(out, p)
	}
	return out
}

// taken is a batch as a mapper would have it.
type taken struct {
	record.Origin
	row.Batch
	header map[string]string
	bytes  int
}

// collect answers the batches in ROWS once there are n.
func (m *mesh) collect(n int) []taken {
	c := &collector{got: make(chan taken, n)}
	ctx, stop := context.WithCancel(m.t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := m.bus.Consume(ctx, bus.Rows, "test", bus.ConsumeOptions{Workers: 1, Hard: m.t.Context()}, c); err != nil {
			m.t.Error(err)
		}
	})
	defer wg.Wait()
	defer stop()
	var out []taken
	for len(out) < n {
		select {
		case b := <-c.got:
			out = append(out, b)
		case <-time.After(30 * time.Second):
			require.Fail(m.t, "batches are missing")
		}
	}
	return out
}

type collector struct{ got chan taken }

func (c *collector) Handle(_ context.Context, d bus.Delivery) error {
	o, b, err := wire.DecodeRows(d.Body, 64<<20)
	if err != nil {
		return err
	}
	c.got <- taken{o, b, d.Header, len(d.Body)}
	return nil
}

func (c *collector) Quarantined(context.Context, bus.Delivery, error) error { return nil }

func (m *mesh) client() extractorv1.ExtractorServiceClient {
	return extractorv1.NewExtractorServiceClient(m.conn)
}

func names(spans []trace.ReadOnlySpan, traceID string) []string {
	var out []string
	for _, s := range spans {
		if s.SpanContext().TraceID().String() == traceID {
			out = append(out, s.Name())
		}
	}
	return out
}

func remove(t *testing.T, path string) { require.NoError(t, os.Remove(path)) }

// noStats keeps no figures of calls.
type noStats struct{}

func (noStats) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context   { return ctx }
func (noStats) HandleRPC(context.Context, stats.RPCStats)                         {}
func (noStats) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }
func (noStats) HandleConn(context.Context, stats.ConnStats)                       {}
