package mapper

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/test/bufconn"

	configv1 "millrace.dev/gen/millrace/config/v1"
	mapperv1 "millrace.dev/gen/millrace/mapper/v1"
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
	"millrace.dev/pkg/wire"
)

func TestMain(m *testing.M) {
	otel.SetTextMapPropagator(propagation.TraceContext{})
	goleak.VerifyTestMain(m)
}

// world is the service at work on a real broker, with its peers and its own API on an in-memory transport.
type world struct {
	t       *testing.T
	bus     *bus.Bus
	client  mapperv1.MapperServiceClient
	peers   *fakePeers
	sync    id.Sync
	run     id.Run
	spans   *tracetest.InMemoryExporter
	tracer  *sdktrace.TracerProvider
	service *Service
	records chan bus.Delivery
	close   func() // stops all of it; may be called before the test's end
}

// fakePeers stand for config and scheduler.
type fakePeers struct {
	configv1.UnimplementedConfigServiceServer
	schedulerv1.UnimplementedAccountServiceServer

	mu          sync.Mutex
	snapshot    resource.Snapshot
	asked       int
	quarantined chan *schedulerv1.ReportQuarantinedRequest
}

func (p *fakePeers) GetSyncSnapshot(_ context.Context, r *configv1.GetSyncSnapshotRequest) (*configv1.GetSyncSnapshotResponse, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked++
	if r.GetVersion() != p.snapshot.Version {
		return nil, fault.New(fault.NotFound, fault.ReasonNotFound, "sync %s has no version %d", r.GetSync(), r.GetVersion())
	}
	return &configv1.GetSyncSnapshotResponse{Snapshot: resourcepb.ToSnapshot(p.snapshot)}, nil
}

func (p *fakePeers) ReportQuarantined(_ context.Context, r *schedulerv1.ReportQuarantinedRequest) (*schedulerv1.ReportQuarantinedResponse, error) {
	p.quarantined <- r
	return &schedulerv1.ReportQuarantinedResponse{}, nil
}

// customers is a sync whose mapping lets a text grow tenfold.
func customers() resource.Snapshot {
	rules := []resource.Rule{
		{Column: "id", To: "user_identities.customer_id"},
		{Column: "age", To: "user_attributes.$age", Type: "integer"},
	}
	for i := range 10 {
		rules = append(rules, resource.Rule{Column: "note", To: fmt.Sprintf("user_attributes.note_%d", i)})
	}
	return resource.Snapshot{
		Version:   3,
		Sync:      resource.Sync{Meta: resource.Meta{ID: "customers"}, Mode: resource.Full},
		DataModel: resource.DataModel{Meta: resource.Meta{ID: "customers"}, Kind: resource.Users, SQL: "SELECT 1", KeyColumns: []string{"id"}},
		Mapping:   &resource.Mapping{Rules: rules},
	}
}

// calls are a connection that panics where the test says so.
type calls struct {
	grpc.ClientConnInterface
	panics func(request any) bool
}

func (c calls) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	if c.panics(args) {
		panic("a defect")
	}
	return c.ClientConnInterface.Invoke(ctx, method, args, reply, opts...)
}

func newWorld(t *testing.T) *world {
	return newWorldWith(t, 64<<20, func(any) bool { return false })
}

// newWorldWith starts a world in which decoded batches are bounded, and in which the mapper panics in some of its calls.
func newWorldWith(t *testing.T, maxBatch int64, panics func(request any) bool) *world {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	b, err := bus.Open(t.Context(), bus.Settings{Dir: t.TempDir(), LazySync: true, MaxBytes: 128 << 20})
	require.NoError(t, err)
	w := &world{
		t: t, bus: b, sync: id.NewSync(), run: id.NewRun(), spans: tracetest.NewInMemoryExporter(), records: make(chan bus.Delivery, 1000),
		peers: &fakePeers{snapshot: customers(), quarantined: make(chan *schedulerv1.ReportQuarantinedRequest, 10)},
	}
	w.tracer = sdktrace.NewTracerProvider(sdktrace.WithSyncer(w.spans))

	srv := grpc.NewServer(rpc.ServerOptions(log, t.Context(), otelgrpc.NewServerHandler())...)
	configv1.RegisterConfigServiceServer(srv, w.peers)
	schedulerv1.RegisterAccountServiceServer(srv, w.peers)
	pipe := bufconn.Listen(1 << 20)
	conn, err := grpc.NewClient("passthrough:mesh", append(rpc.DialOptions(otelgrpc.NewClientHandler()), grpc.WithContextDialer(
		func(ctx context.Context, _ string) (net.Conn, error) { return pipe.DialContext(ctx) }))...)
	require.NoError(t, err)
	w.service, err = New(&app.Env{
		Name: Name, Log: log, Tracer: w.tracer.Tracer("test"), Metrics: prometheus.NewRegistry(), Bus: b,
		Dial: func(string) (grpc.ClientConnInterface, error) { return calls{conn, panics}, nil },
	}, Settings{Workers: 2, Window: 4, MaxBatch: maxBatch, Programs: 4, MaxPreviewRows: 100})
	require.NoError(t, err)
	w.service.Register(srv)
	w.client = mapperv1.NewMapperServiceClient(conn)

	soft, stop := context.WithCancel(t.Context())
	var work sync.WaitGroup
	work.Go(func() { _ = srv.Serve(pipe) })
	work.Go(func() { _ = w.service.Run(soft, t.Context()) })
	work.Go(func() { _ = b.Consume(soft, bus.Records, "ingestion", bus.ConsumeOptions{Workers: 1}, w) })
	w.close = sync.OnceFunc(func() {
		stop()
		require.NoError(t, b.Close())
		_ = conn.Close()
		srv.Stop()
		work.Wait()
		require.NoError(t, w.service.Close())
	})
	t.Cleanup(w.close)
	return w
}

// Handle takes what the mapper published.
func (w *world) Handle(_ context.Context, d bus.Delivery) error {
	w.records <- d
	return nil
}

// Quarantined is not expected on RECORDS.
func (w *world) Quarantined(context.Context, bus.Delivery, error) error { return nil }

// next answers the next message on RECORDS, decoded.
func (w *world) next() (record.Origin, record.Batch, bus.Delivery) {
	w.t.Helper()
	d := <-w.records // go test ends a test that waits for ever
	o, b, err := wire.DecodeRecords(d.Body, 64<<20)
	require.NoError(w.t, err)
	require.LessOrEqual(w.t, int64(len(d.Body)), o.PayloadCap)
	return o, b, d
}

func (w *world) origin(seq uint32, rows int64, payloadCap int64) record.Origin {
	return record.Origin{
		Workspace: "default", Sync: w.sync, SyncID: "customers", SyncVersion: 3, RunNo: 1,
		Batch: id.Batch{Run: w.run, Part: 1, Epoch: 1, Seq: seq}, SnapshotTime: time.Unix(1_800_000_000, 0).UTC(),
		PayloadCap: payloadCap, Rows: rows, Last: true, Model: "customers", Provider: "duckdb",
	}
}

// person is a row: its note is n random-looking characters.
type person struct {
	id   int64
	age  string
	note int
}

func people(ps ...person) arrow.RecordBatch {
	s := arrow.NewSchema([]arrow.Field{
		{Name: "id", Type: arrow.PrimitiveTypes.Int64}, {Name: "age", Type: arrow.BinaryTypes.String, Nullable: true},
		{Name: "note", Type: arrow.BinaryTypes.String, Nullable: true},
	}, nil)
	b := array.NewRecordBuilder(memory.DefaultAllocator, s)
	for _, p := range ps {
		b.Field(0).(*array.Int64Builder).Append(p.id)
		b.Field(1).(*array.StringBuilder).Append(p.age)
		b.Field(2).(*array.StringBuilder).Append(noise(p.id, p.note))
	}
	return b.NewRecordBatch()
}

// noise answers n characters that do not compress well.
func noise(seed int64, n int) string {
	var b strings.Builder
	x := uint64(seed)*0x9e3779b97f4a7c15 + 1
	for b.Len() < n {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		b.WriteByte("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"[x%64])
	}
	return b.String()
}

// sealed adds the system columns as the extractor does.
func sealed(t *testing.T, rec arrow.RecordBatch) row.Batch {
	h, err := row.NewHasher(rec.Schema(), []string{"id"})
	require.NoError(t, err)
	keys, hashes := h.Hash(rec)
	n := int(rec.NumRows())
	times := array.MakeArrayOfNull(memory.DefaultAllocator, &arrow.TimestampType{Unit: arrow.Nanosecond, TimeZone: "UTC"}, n)
	below := array.NewBooleanBuilder(memory.DefaultAllocator)
	below.AppendValues(make([]bool, n), nil)
	return row.Seal(rec, keys, hashes, times, below.NewArray())
}

// send publishes rows as the extractor does, under the span of ctx.
func (w *world) send(ctx context.Context, o record.Origin, rec arrow.RecordBatch, header map[string]string) {
	w.t.Helper()
	body, err := wire.EncodeRows(o, sealed(w.t, rec))
	require.NoError(w.t, err)
	w.sendBody(ctx, o.Batch.String(), body, header)
}

func (w *world) sendBody(ctx context.Context, name string, body []byte, header map[string]string) {
	w.t.Helper()
	p := w.bus.Publisher(bus.Rows, 1)
	require.NoError(w.t, p.Publish(ctx, bus.Message{ID: name, Body: body, Header: header}, nil))
	require.NoError(w.t, p.Flush(ctx))
}
