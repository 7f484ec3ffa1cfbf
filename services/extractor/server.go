package extractor

import (
	"context"

	"github.com/apache/arrow-go/v18/arrow"

	"google.golang.org/grpc"

	configv1 "millrace.dev/gen/millrace/config/v1"
	extractorv1 "millrace.dev/gen/millrace/extractor/v1"
	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/resource/resourcepb"
	"millrace.dev/pkg/rpc"
	"millrace.dev/pkg/source"
	"millrace.dev/pkg/window"
)

// server answers for warehouses.
type server struct {
	extractorv1.UnimplementedExtractorServiceServer
	*Service
}

// Register adds the gRPC server.
func (s *Service) Register(r grpc.ServiceRegistrar) {
	extractorv1.RegisterExtractorServiceServer(r, &server{Service: s})
}

// opened runs f with the source of a connection.
func (s *server) opened(ctx context.Context, c *configv1.Connection, f func(source.Source) error) error {
	src, err := s.open(ctx, resourcepb.OfConnection(c))
	if err != nil {
		return err
	}
	defer s.release(ctx, src)
	return f(src)
}

func previewQuery(m resource.DataModel, limit int) source.Query {
	return source.Query{Model: m, Label: "millrace:" + string(m.Workspace.Or()) + "/preview", Limit: limit}
}

// Check answers the steps of a connection test. That a source cannot even be opened is a failed step, too.
func (s *server) Check(ctx context.Context, r *extractorv1.CheckRequest) (*extractorv1.CheckResponse, error) {
	var steps []source.CheckStep
	err := s.opened(ctx, r.GetConnection(), func(src source.Source) error {
		steps = src.Check(ctx)
		return nil
	})
	if err != nil {
		f := fault.As(err)
		if f.Class == fault.Internal || f.Class == fault.Cancelled {
			return nil, err
		}
		steps = append(steps, source.CheckStep{Name: "open", Message: f.Message})
	}
	return &extractorv1.CheckResponse{Steps: ofSteps(steps)}, nil
}

// ListTables answers the first tables whose name starts with the prefix.
func (s *server) ListTables(ctx context.Context, r *extractorv1.ListTablesRequest) (*extractorv1.ListTablesResponse, error) {
	var out extractorv1.ListTablesResponse
	err := s.opened(ctx, r.GetConnection(), func(src source.Source) error {
		b, ok := source.As[source.Browser](src)
		if !ok {
			return fault.New(fault.Precondition, fault.ReasonDriverMissing, "the connection's driver lists no tables")
		}
		for t, err := range b.Tables(ctx, r.GetPrefix()) {
			if err != nil {
				return err
			}
			out.Tables = append(out.Tables, ofTable(t))
			if len(out.Tables) >= rpc.PageSize(r.GetPageSize()) {
				break
			}
		}
		return nil
	})
	return &out, err
}

// Describe answers the columns of a data model.
func (s *server) Describe(ctx context.Context, r *extractorv1.DescribeRequest) (*extractorv1.DescribeResponse, error) {
	var out extractorv1.DescribeResponse
	err := s.opened(ctx, r.GetConnection(), func(src source.Source) error {
		schema, err := s.describe(ctx, src, previewQuery(resourcepb.OfDataModel(r.GetDataModel()), 0))
		if err != nil {
			return err
		}
		out.Columns = ofColumns(schema)
		out.ArrowSchema, err = stream(schema)
		return err
	})
	return &out, err
}

const (
	defaultPreview = 10
	maxPreview     = 100
	// maxPreviewBytes bounds the rows of an answer; rows beyond it are left out.
	maxPreviewBytes = 4 << 20
)

// Preview answers the first rows of a data model, as many as the bounds allow.
func (s *server) Preview(ctx context.Context, r *extractorv1.PreviewRequest) (*extractorv1.PreviewResponse, error) {
	limit := int(r.GetLimit())
	switch {
	case limit < 0:
		return nil, fault.New(fault.Invalid, fault.ReasonInvalidArgument, "limit is below 0")
	case limit == 0:
		limit = defaultPreview
	}
	var out extractorv1.PreviewResponse
	err := s.opened(ctx, r.GetConnection(), func(src source.Source) error {
		q := previewQuery(resourcepb.OfDataModel(r.GetDataModel()), min(limit, maxPreview))
		if e, ok := source.As[source.Estimator](src); ok {
			all, err := e.Estimate(ctx, q)
			if err != nil {
				return err //nolint:wrapcheck // classified by the driver
			}
			out.EstimatedBytesScanned = all.BytesScanned
		}
		return s.preview(ctx, src, q, &out)
	})
	return &out, err
}

func (s *server) preview(ctx context.Context, src source.Source, q source.Query, out *extractorv1.PreviewResponse) error {
	schema, err := s.describe(ctx, src, q)
	if err != nil {
		return err
	}
	var kept []arrow.RecordBatch
	defer func() {
		for _, b := range kept {
			b.Release()
		}
	}()
	room := maxPreviewBytes
	for b, err := range src.Read(ctx, q) {
		if err != nil {
			return err //nolint:wrapcheck // classified by the driver
		}
		n := 0
		for ; n < int(b.NumRows()); n++ {
			one, size, err := ofRow(b, n)
			if err != nil {
				return err
			}
			if room -= size; room < 0 {
				break
			}
			out.Rows = append(out.Rows, one)
		}
		slice := b.NewSlice(0, int64(n))
		own, err := join([]arrow.RecordBatch{slice}, int64(n))
		slice.Release()
		if err != nil {
			return internal("keep rows", err)
		}
		kept = append(kept, own)
		if room < 0 {
			break
		}
	}
	out.Columns = ofColumns(schema)
	out.Arrow, err = stream(schema, kept...)
	return err
}

// PrintSetup answers what an administrator runs.
func (s *server) PrintSetup(_ context.Context, r *extractorv1.PrintSetupRequest) (*extractorv1.PrintSetupResponse, error) {
	c := resourcepb.OfConnection(r.GetConnection())
	d, err := s.driver(c)
	if err != nil {
		return nil, err
	}
	printer, ok := d.(source.Setup)
	if !ok {
		return nil, fault.New(fault.Precondition, fault.ReasonDriverMissing, "the driver of %s prints no setup", d.Provider())
	}
	text, err := printer.Setup(c)
	return &extractorv1.PrintSetupResponse{Text: text}, err //nolint:wrapcheck // classified by the driver
}

// CheckModel looks at a data model as a run's plan would.
func (s *server) CheckModel(ctx context.Context, r *extractorv1.CheckModelRequest) (*extractorv1.CheckModelResponse, error) {
	m := resourcepb.OfDataModel(r.GetDataModel())
	if len(r.GetKeyColumns()) > 0 {
		m.KeyColumns = r.GetKeyColumns()
	}
	var out extractorv1.CheckModelResponse
	err := s.opened(ctx, r.GetConnection(), func(src source.Source) error {
		q := previewQuery(m, 0)
		schema, err := s.describe(ctx, src, q)
		if err != nil {
			return err
		}
		out.Columns = ofColumns(schema)
		if out.ArrowSchema, err = stream(schema); err != nil {
			return err
		}
		if m.Iterator.Column != "" {
			if out.NullIterator, err = nullIterators(ctx, src, q, schema); err != nil {
				return err
			}
		}
		k, ok := source.As[source.Keys](src)
		if !ok || len(m.KeyColumns) == 0 {
			return nil
		}
		found, err := k.CheckKeys(ctx, q)
		out.NullKeys, out.RepeatedKeys = found.Nulls, found.Repeated
		return err //nolint:wrapcheck // classified by the driver
	})
	return &out, err
}

func nullIterators(ctx context.Context, src source.Source, q source.Query, schema *arrow.Schema) (int64, error) {
	if _, err := window.NewAxis(q.Model.Iterator, schema); err != nil {
		return 0, err //nolint:wrapcheck // classified by window
	}
	p, ok := source.As[source.Planner](src)
	if !ok {
		return 0, nil
	}
	plan, err := p.Plan(ctx, q, 1)
	return plan.NullIterator, err //nolint:wrapcheck // classified by the driver
}
