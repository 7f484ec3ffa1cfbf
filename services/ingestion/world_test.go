package ingestion

import (
	"context"
	"encoding/binary"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"github.com/zeebo/xxh3"
	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/timestamppb"

	configv1 "millrace.dev/gen/millrace/config/v1"
	ingestionv1 "millrace.dev/gen/millrace/ingestion/v1"
	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
	"millrace.dev/pkg/app"
	"millrace.dev/pkg/bus"
	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/record"
	"millrace.dev/pkg/row"
	"millrace.dev/pkg/rpc"
	"millrace.dev/pkg/store"
	"millrace.dev/pkg/store/pebble"
	"millrace.dev/pkg/testenv"
	"millrace.dev/pkg/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, testenv.Leaks()...) }

// world is the service over a Pebble store in memory, with its peers and its own API on an in-memory transport.
type world struct {
	*Service
	t      *testing.T
	client ingestionv1.IngestionServiceClient
	peers  *fakePeers
	sync   id.Sync
	run    id.Run
	seq    uint32
	spans  *tracetest.SpanRecorder
}

// fakePeers stand for config and scheduler: they know one sync, and remember what is reported.
type fakePeers struct {
	configv1.UnimplementedConfigServiceServer
	schedulerv1.UnimplementedAccountServiceServer
	schedulerv1.UnimplementedSchedulerServiceServer

	mu          sync.Mutex
	snapshot    *configv1.SyncSnapshot
	asked       int
	answer      error // of ReportIngested
	quarantined []*schedulerv1.ReportQuarantinedRequest
	triggered   []*schedulerv1.TriggerRunRequest
	ended       *timestamppb.Timestamp // of every run
	dry         bool                   // so is every run
	models      []*configv1.DataModel
	succeeded   []*schedulerv1.Run // newest first
	reported    chan *schedulerv1.IngestResult
}

func (p *fakePeers) GetSyncSnapshot(context.Context, *configv1.GetSyncSnapshotRequest) (*configv1.GetSyncSnapshotResponse, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked++
	return &configv1.GetSyncSnapshotResponse{Snapshot: p.snapshot}, nil
}

func (p *fakePeers) GetSync(_ context.Context, r *configv1.GetSyncRequest) (*configv1.GetSyncResponse, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.snapshot.GetSync(); s.GetMeta().GetId() == r.GetId() {
		return &configv1.GetSyncResponse{Sync: s}, nil
	}
	return nil, fault.New(fault.NotFound, fault.ReasonNotFound, "sync %s does not exist", r.GetId())
}

func (p *fakePeers) GetRun(_ context.Context, r *schedulerv1.GetRunRequest) (*schedulerv1.GetRunResponse, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return &schedulerv1.GetRunResponse{Run: &schedulerv1.Run{Id: r.GetId(), RunNo: 1, Sync: p.snapshot.GetSync().GetMeta().GetId(), EndTime: p.ended, DryRun: p.dry}}, nil
}

func (p *fakePeers) ListDataModels(context.Context, *configv1.ListDataModelsRequest) (*configv1.ListDataModelsResponse, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return &configv1.ListDataModelsResponse{DataModels: p.models}, nil
}

func (p *fakePeers) ListSyncs(context.Context, *configv1.ListSyncsRequest) (*configv1.ListSyncsResponse, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return &configv1.ListSyncsResponse{Syncs: []*configv1.Sync{p.snapshot.GetSync()}}, nil
}

func (p *fakePeers) ListRuns(_ context.Context, r *schedulerv1.ListRunsRequest) (*schedulerv1.ListRunsResponse, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r.GetFilter() != "state=succeeded" {
		return &schedulerv1.ListRunsResponse{}, nil
	}
	return &schedulerv1.ListRunsResponse{Runs: p.succeeded}, nil
}

func (p *fakePeers) succeed(r *schedulerv1.Run) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.succeeded = append([]*schedulerv1.Run{r}, p.succeeded...)
}

func (p *fakePeers) TriggerRun(_ context.Context, r *schedulerv1.TriggerRunRequest) (*schedulerv1.TriggerRunResponse, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.triggered = append(p.triggered, r)
	return &schedulerv1.TriggerRunResponse{Run: &schedulerv1.Run{Id: "new", Reason: r.GetReason(), ReplayOf: r.GetReplayOf()}}, nil
}

func (p *fakePeers) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = timestamppb.Now()
}

func (p *fakePeers) ReportIngested(_ context.Context, r *schedulerv1.ReportIngestedRequest) (*schedulerv1.ReportIngestedResponse, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.answer != nil {
		return nil, p.answer
	}
	p.reported <- r.GetResult()
	return &schedulerv1.ReportIngestedResponse{}, nil
}

func (p *fakePeers) ReportQuarantined(_ context.Context, r *schedulerv1.ReportQuarantinedRequest) (*schedulerv1.ReportQuarantinedResponse, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.quarantined = append(p.quarantined, r)
	return &schedulerv1.ReportQuarantinedResponse{}, nil
}

func (p *fakePeers) setFeed(f *configv1.Feed) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.snapshot.Feed = f
}

// newWorld starts a world; wrap, unless nil, stands between the service and its store.
func newWorld(t *testing.T, wrap func(store.Store) store.Store) *world {
	t.Helper()
	st, err := pebble.Open(t.Context(), "/store", pebble.Options{FS: vfs.NewMem(), Cache: 16 << 20, MemTable: 4 << 20, Filter: 1 << 20, MinFree: 1})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, st.Close()) })
	var used store.Store = st
	if wrap != nil {
		used = wrap(st)
	}

	w := &world{t: t, sync: id.NewSync(), run: id.NewRun(), spans: tracetest.NewSpanRecorder()}
	w.peers = &fakePeers{
		reported: make(chan *schedulerv1.IngestResult, 1000),
		snapshot: &configv1.SyncSnapshot{Version: 1, Sync: &configv1.Sync{Meta: &configv1.Meta{Id: "customers", Uid: w.sync.String()}}},
	}
	log := slog.New(slog.DiscardHandler)
	srv := grpc.NewServer(rpc.ServerOptions(log, t.Context(), otelgrpc.NewServerHandler())...)
	configv1.RegisterConfigServiceServer(srv, w.peers)
	schedulerv1.RegisterAccountServiceServer(srv, w.peers)
	schedulerv1.RegisterSchedulerServiceServer(srv, w.peers)

	pipe := bufconn.Listen(1 << 20)
	conn, err := grpc.NewClient("passthrough:mesh", append(rpc.DialOptions(otelgrpc.NewClientHandler()), grpc.WithContextDialer(
		func(ctx context.Context, _ string) (net.Conn, error) { return pipe.DialContext(ctx) }))...)
	require.NoError(t, err)
	env := &app.Env{
		Name: Name, Log: log, Tracer: sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(w.spans)).Tracer("test"), Metrics: prometheus.NewRegistry(),
		Shared: app.Shared{Keys: "file:" + filepath.Join(t.TempDir(), "keys.json")},
		Dial:   func(string) (grpc.ClientConnInterface, error) { return conn, nil },
	}
	w.Service, err = build(t.Context(), env, Settings{Workers: 2, MaxBatch: 64 << 20, Snapshots: 16}, used)
	require.NoError(t, err)
	w.Register(srv)
	var serving sync.WaitGroup
	serving.Go(func() { _ = srv.Serve(pipe) })
	t.Cleanup(func() {
		require.NoError(t, conn.Close())
		srv.Stop()
		serving.Wait()
	})
	w.client = ingestionv1.NewIngestionServiceClient(conn)
	return w
}

// handle gives a message to the worker as the bus would.
func (w *world) handle(m bus.Message) error {
	return (&worker{w.Service}).Handle(w.t.Context(), bus.Delivery{Message: m, Attempt: 1})
}

// report answers what was reported next.
func (w *world) report() *schedulerv1.IngestResult {
	w.t.Helper()
	select {
	case r := <-w.peers.reported:
		return r
	case <-w.t.Context().Done():
		require.FailNow(w.t, "nothing was reported")
		return nil
	}
}

// silent says that nothing more was reported; the worker is done by now.
func (w *world) silent() {
	w.t.Helper()
	require.Empty(w.t, w.peers.reported)
}

func (w *world) digest() string {
	w.t.Helper()
	r, err := w.client.GetStoreDigest(w.t.Context(), &ingestionv1.GetStoreDigestRequest{})
	require.NoError(w.t, err)
	return r.GetDigest()
}

func (w *world) profile(typ, value string) (*ingestionv1.Profile, error) {
	r, err := w.client.GetProfile(w.t.Context(), &ingestionv1.GetProfileRequest{Identity: &ingestionv1.Identity{Type: typ, Value: value}})
	return r.GetProfile(), err
}

// user is a row of the sync; its customer id is its key.
type user struct {
	customer, email, name string
	at                    int64 // row time in seconds
}

// order is an event row.
type order struct {
	key, customer, status string
	amount                int64
	at                    int64
}

// origin answers the origin of the next batch of the world's run.
func (w *world) origin(rows int) record.Origin {
	o := record.Origin{
		Workspace: "default", Sync: w.sync, SyncID: "customers", SyncVersion: 1, RunNo: 1,
		Batch: id.Batch{Run: w.run, Part: 1, Epoch: 1, Seq: w.seq}, SnapshotTime: time.Unix(1_800_000_000, 0),
		PayloadCap: 1 << 20, Rows: int64(rows), Last: true,
	}
	w.seq++
	return o
}

// message answers a batch as the mapper would publish it.
func (w *world) message(o record.Origin, b record.Batch) bus.Message {
	w.t.Helper()
	body, err := wire.EncodeRecords(o, b)
	require.NoError(w.t, err)
	return bus.Message{ID: o.Batch.String(), Body: body}
}

func (w *world) users(rows ...user) bus.Message {
	return w.message(w.origin(len(rows)), usersBatch(rows...))
}

func usersBatch(rows ...user) record.Batch {
	b := newRecords(record.ColumnAttributes, text("name"))
	for _, u := range rows {
		b.row(u.customer, u.email+"\x00"+u.name, u.at)
		b.identities(u.customer, u.email)
		body := b.Field(record.PosBody).(*array.StructBuilder)
		body.Append(true)
		appendText(body.FieldBuilder(0), u.name)
	}
	return record.Batch{Kind: record.Users, Record: b.done()}
}

func ordersBatch(rows ...order) record.Batch {
	data := arrow.StructOf(
		arrow.Field{Name: "timestamp_unixtime_ms", Type: arrow.PrimitiveTypes.Int64}, text("event_name"),
		arrow.Field{Name: "custom_attributes", Type: arrow.StructOf(arrow.Field{Name: "amount", Type: arrow.PrimitiveTypes.Int64, Nullable: true}), Nullable: true})
	b := newRecords(record.ColumnEvent, text("event_type"), arrow.Field{Name: "data", Type: data})
	for _, o := range rows {
		b.row(o.key, o.status, o.at)
		b.identities(o.customer, "")
		body := b.Field(record.PosBody).(*array.StructBuilder)
		body.Append(true)
		appendText(body.FieldBuilder(0), "custom_event")
		d := body.FieldBuilder(1).(*array.StructBuilder)
		d.Append(true)
		d.FieldBuilder(0).(*array.Int64Builder).Append(o.at * 1000)
		appendText(d.FieldBuilder(1), "order_"+o.status)
		custom := d.FieldBuilder(2).(*array.StructBuilder)
		custom.Append(true)
		custom.FieldBuilder(0).(*array.Int64Builder).Append(o.amount)
	}
	return record.Batch{Kind: record.Events, Record: b.done()}
}

// records builds the columns that all kinds of records have.
type records struct {
	*array.RecordBuilder
	n int32
}

func text(name string) arrow.Field {
	return arrow.Field{Name: name, Type: arrow.BinaryTypes.String, Nullable: true}
}

func newRecords(body string, fields ...arrow.Field) *records {
	b16 := &arrow.FixedSizeBinaryType{ByteWidth: 16}
	return &records{RecordBuilder: array.NewRecordBuilder(memory.NewGoAllocator(), arrow.NewSchema([]arrow.Field{
		{Name: record.ColumnRow, Type: arrow.PrimitiveTypes.Int32},
		{Name: record.ColumnKey, Type: b16},
		{Name: record.ColumnHash, Type: b16},
		{Name: record.ColumnRecordHash, Type: b16},
		{Name: record.ColumnTime, Type: &arrow.TimestampType{Unit: arrow.Nanosecond, TimeZone: "UTC"}, Nullable: true},
		{Name: record.ColumnBelowLow, Type: arrow.FixedWidthTypes.Boolean},
		{Name: record.ColumnKeyValues, Type: arrow.BinaryTypes.String},
		{Name: record.ColumnIdentities, Type: arrow.StructOf(text("customer_id"), text("email"))},
		{Name: body, Type: arrow.StructOf(fields...)},
	}, nil))}
}

func (b *records) row(key, content string, at int64) {
	b.Field(record.PosRow).(*array.Int32Builder).Append(b.n)
	b.n++
	var time [8]byte
	binary.BigEndian.PutUint64(time[:], uint64(at))
	for pos, s := range map[int]string{record.PosKey: key, record.PosRecordHash: key + content, record.PosHash: key + content + string(time[:])} {
		h := sumOf(s).Bytes()
		b.Field(pos).(*array.FixedSizeBinaryBuilder).Append(h[:])
	}
	b.Field(record.PosTime).(*array.TimestampBuilder).Append(arrow.Timestamp(at * 1e9))
	b.Field(record.PosBelowLow).(*array.BooleanBuilder).Append(false)
	b.Field(record.PosKeyValues).(*array.StringBuilder).Append(key)
}

func (b *records) identities(customer, email string) {
	ids := b.Field(record.PosIdentities).(*array.StructBuilder)
	ids.Append(true)
	appendText(ids.FieldBuilder(0), customer)
	appendText(ids.FieldBuilder(1), email)
}

func (b *records) done() arrow.RecordBatch {
	defer b.Release()
	return b.NewRecordBatch()
}

func appendText(b array.Builder, s string) {
	if s == "" {
		b.AppendNull()
		return
	}
	b.(*array.StringBuilder).Append(s)
}

func sumOf(s string) row.Hash {
	h := xxh3.HashString128(s)
	return row.Hash{Hi: h.Hi, Lo: h.Lo}
}
