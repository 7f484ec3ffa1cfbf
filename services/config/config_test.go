package config_test

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/structpb"

	configv1 "millrace.dev/gen/millrace/config/v1"
	extractorv1 "millrace.dev/gen/millrace/extractor/v1"
	ingestionv1 "millrace.dev/gen/millrace/ingestion/v1"
	mapperv1 "millrace.dev/gen/millrace/mapper/v1"
	"millrace.dev/pkg/app"
	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/testenv"
	"millrace.dev/services/config"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// canary is the secret that no answer, no error and no log may show.
const canary = "canary-hunter2"

// warehouse is the extractor, the mapper and the ingestion service as a test scripts them.
type warehouse struct {
	extractorv1.UnimplementedExtractorServiceServer
	mapperv1.UnimplementedMapperServiceServer
	ingestionv1.UnimplementedIngestionServiceServer

	mu        sync.Mutex
	sealed    [][]byte // of the credentials that arrived
	describes int
	describe  error // what Describe answers
	mapping   error // what ValidateMapping answers
	onCheck   func()
	probe     func(keys []string) (*extractorv1.CheckModelResponse, error)
}

func (w *warehouse) script(describe, mapping error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.describe, w.mapping = describe, mapping
}

func (w *warehouse) arrived(c *configv1.Connection) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sealed = append(w.sealed, c.GetPostgres().GetPassword().GetSealed())
}

func (w *warehouse) Check(_ context.Context, r *extractorv1.CheckRequest) (*extractorv1.CheckResponse, error) {
	w.arrived(r.GetConnection())
	return &extractorv1.CheckResponse{Steps: []*configv1.CheckStep{{Name: "connect", Ok: true}, {Name: "authenticate", Message: "refused; correct the password"}}}, nil
}

func (w *warehouse) ListTables(_ context.Context, r *extractorv1.ListTablesRequest) (*extractorv1.ListTablesResponse, error) {
	w.arrived(r.GetConnection())
	return &extractorv1.ListTablesResponse{Tables: []*configv1.Table{{Name: r.GetPrefix() + "orders"}}}, nil
}

func (w *warehouse) Describe(_ context.Context, r *extractorv1.DescribeRequest) (*extractorv1.DescribeResponse, error) {
	w.arrived(r.GetConnection())
	w.mu.Lock()
	defer w.mu.Unlock()
	w.describes++
	if w.onCheck != nil {
		f := w.onCheck
		w.onCheck = nil
		w.mu.Unlock()
		f()
		w.mu.Lock()
	}
	return &extractorv1.DescribeResponse{ArrowSchema: []byte("schema")}, w.describe
}

func (w *warehouse) Preview(_ context.Context, r *extractorv1.PreviewRequest) (*extractorv1.PreviewResponse, error) {
	w.arrived(r.GetConnection())
	out := &extractorv1.PreviewResponse{Columns: []*configv1.Column{{Name: "id"}}, Arrow: []byte("rows"), EstimatedBytesScanned: new(int64)}
	for i := range min(r.GetLimit(), 3) {
		out.Rows = append(out.Rows, object("id", float64(i)))
	}
	return out, nil
}

func (w *warehouse) PrintSetup(_ context.Context, r *extractorv1.PrintSetupRequest) (*extractorv1.PrintSetupResponse, error) {
	w.arrived(r.GetConnection())
	return &extractorv1.PrintSetupResponse{Text: "CREATE ROLE " + r.GetConnection().GetPostgres().GetUser()}, nil
}

func (w *warehouse) CheckModel(_ context.Context, r *extractorv1.CheckModelRequest) (*extractorv1.CheckModelResponse, error) {
	w.arrived(r.GetConnection())
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.probe == nil {
		return &extractorv1.CheckModelResponse{}, nil
	}
	return w.probe(r.GetKeyColumns())
}

func object(name string, value any) *structpb.Struct {
	s, err := structpb.NewStruct(map[string]any{name: value})
	if err != nil {
		panic(err) //nolint:forbidigo // a mistake of the test
	}
	return s
}

func (w *warehouse) ValidateMapping(_ context.Context, r *mapperv1.ValidateMappingRequest) (*mapperv1.ValidateMappingResponse, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if string(r.GetArrowSchema()) != "schema" {
		return nil, fault.New(fault.Internal, fault.ReasonInternal, "no schema")
	}
	return &mapperv1.ValidateMappingResponse{KeyColumns: []string{"id"}}, w.mapping
}

func (w *warehouse) PreviewMapping(_ context.Context, r *mapperv1.PreviewMappingRequest) (*mapperv1.PreviewMappingResponse, error) {
	return &mapperv1.PreviewMappingResponse{Records: append([]byte("records of "), r.GetArrow()...), Rows: []*mapperv1.MappedRow{
		{Record: object("customer_id", "0")},
		{Rejects: []*mapperv1.RejectReason{{Column: "id", Rule: "rules[0]", Reason: "is no number"}}},
		{Record: object("customer_id", "2")},
	}}, nil
}

func (w *warehouse) PreviewRecords(_ context.Context, r *ingestionv1.PreviewRecordsRequest) (*ingestionv1.PreviewRecordsResponse, error) {
	if string(r.GetRecords()) != "records of rows" || r.GetSnapshot().GetSync().GetMeta().GetId() == "" {
		return nil, fault.New(fault.Internal, fault.ReasonInternal, "not what the mapper made")
	}
	return &ingestionv1.PreviewRecordsResponse{Records: []*ingestionv1.PreviewedRecord{
		{Effect: "create", Profile: &ingestionv1.Profile{Mpid: "7"}}, {Effect: "update", Profile: &ingestionv1.Profile{Mpid: "9"}},
	}}, nil
}

// Register adds all three.
func (w *warehouse) Register(r grpc.ServiceRegistrar) {
	extractorv1.RegisterExtractorServiceServer(r, w)
	mapperv1.RegisterMapperServiceServer(r, w)
	ingestionv1.RegisterIngestionServiceServer(r, w)
}

func (w *warehouse) Run(soft, _ context.Context) error {
	<-soft.Done()
	return nil
}

func (w *warehouse) Close() error { return nil }

// silent registers nothing: the other names of the warehouse.
type silent struct{ *warehouse }

func (silent) Register(grpc.ServiceRegistrar) {}

// house is a config service at work.
type house struct {
	configv1.ConfigServiceClient
	conn      grpc.ClientConnInterface
	warehouse *warehouse
	log       *lockedBuffer
	data      string
	url       string
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p) //nolint:wrapcheck // never fails
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func module(name string, s app.Service) app.Module {
	return app.Module{Name: name, New: func(context.Context, *app.Env) (app.Service, error) { return s, nil }}
}

// start runs the service in memory, on the database at url.
func start(t *testing.T, url string, with ...func(*config.Settings)) *house {
	t.Helper()
	m := config.Module()
	settings, ok := m.Settings.(*config.Settings)
	require.True(t, ok)
	for _, f := range with {
		f(settings)
	}
	h := &house{warehouse: &warehouse{}, log: &lockedBuffer{}, data: t.TempDir(), url: url}
	p, err := app.Start(context.Background(), app.Options{
		Modules: []app.Module{
			m, module("extractor", h.warehouse), module("mapper", silent{h.warehouse}), module("ingestion", silent{h.warehouse}),
		},
		Settings: app.Settings{Data: h.data, SQL: url, GRPC: "none", HTTP: "none"},
		Log:      slog.New(slog.NewTextHandler(h.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Stop(context.Background())) })
	c, err := p.Dial(config.Name)
	require.NoError(t, err)
	h.conn, h.ConfigServiceClient = c, configv1.NewConfigServiceClient(c)
	return h
}

// onBoth runs a test on SQLite and on PostgreSQL.
func onBoth(t *testing.T, f func(t *testing.T, h *house)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) { f(t, start(t, "sqlite:"+filepath.Join(t.TempDir(), "control.db"))) })
	t.Run("postgres", func(t *testing.T) { f(t, start(t, testenv.Postgres(t))) })
}

// apply applies one text of documents.
func (h *house) apply(t *testing.T, content string, change ...func(*configv1.ApplyRequest)) (*configv1.ApplyResponse, error) {
	t.Helper()
	r := &configv1.ApplyRequest{Documents: []*configv1.Document{{
		File: "a.yaml", Content: content, BaseDir: "/docs", Secrets: map[string]string{"env:PGPASSWORD": canary},
	}}}
	for _, f := range change {
		f(r)
	}
	return h.Apply(t.Context(), r) //nolint:wrapcheck // the test looks at it
}

func (h *house) mustApply(t *testing.T, content string, change ...func(*configv1.ApplyRequest)) *configv1.ApplyResponse {
	t.Helper()
	r, err := h.apply(t, content, change...)
	require.NoError(t, err)
	return r
}

func example(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile("testdata/shop.yaml")
	require.NoError(t, err)
	return string(data)
}

// refused requires an error of a class and reason.
func refused(t *testing.T, err error, c fault.Class, r fault.Reason) {
	t.Helper()
	require.NotNil(t, refusal(t, err, c, r))
}

// refusal requires an error of a class and reason, and answers it.
func refusal(t *testing.T, err error, c fault.Class, r fault.Reason) *fault.Error {
	t.Helper()
	require.Error(t, err)
	e := fault.As(err)
	require.Equal(t, c, e.Class, e.Message)
	require.Equal(t, r, e.Reason, e.Message)
	return e
}

// texts answers violations as people read them.
func texts(e *fault.Error) []string {
	out := make([]string, 0, len(e.Violations))
	for _, v := range e.Violations {
		out = append(out, v.String())
	}
	return out
}
