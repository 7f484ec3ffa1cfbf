package mapper

import (
	"context"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"google.golang.org/grpc"

	mapperv1 "millrace.dev/gen/millrace/mapper/v1"
	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/mapping"
	"millrace.dev/pkg/record"
	"millrace.dev/pkg/resource/resourcepb"
	"millrace.dev/pkg/row"
	"millrace.dev/pkg/wire"
)

// server answers for mappings.
type server struct {
	mapperv1.UnimplementedMapperServiceServer
	*Service
}

// Register adds the gRPC server.
func (s *Service) Register(r grpc.ServiceRegistrar) {
	mapperv1.RegisterMapperServiceServer(r, &server{Service: s})
}

// ValidateMapping compiles a mapping against a schema and reports every fault at once.
func (s *server) ValidateMapping(_ context.Context, r *mapperv1.ValidateMappingRequest) (*mapperv1.ValidateMappingResponse, error) {
	schema, _, err := readStream(r.GetArrowSchema(), "arrow_schema", 0)
	if err != nil {
		return nil, err
	}
	p, err := s.settings.limits().Compile(ofMapping(r.GetMapping()), resourcepb.OfDataModel(r.GetDataModel()), schema)
	if err != nil {
		return nil, err //nolint:wrapcheck // classified by mapping
	}
	return &mapperv1.ValidateMappingResponse{KeyColumns: p.KeyColumns(), Fields: p.Fields()}, nil
}

// PreviewMapping maps sample rows. Nothing is written.
func (s *server) PreviewMapping(_ context.Context, r *mapperv1.PreviewMappingRequest) (*mapperv1.PreviewMappingResponse, error) {
	schema, rec, err := readStream(r.GetArrow(), "arrow", int64(s.settings.MaxPreviewRows))
	if err != nil {
		return nil, err
	}
	p, err := s.settings.limits().Compile(ofMapping(r.GetMapping()), resourcepb.OfDataModel(r.GetDataModel()), schema)
	if err != nil {
		return nil, err //nolint:wrapcheck // classified by mapping
	}
	b, err := apply(p, rec, s.settings.until(time.Now()))
	if err != nil {
		return nil, err
	}
	out := &mapperv1.PreviewMappingResponse{}
	if out.Rows, err = toRows(b, int(rec.NumRows())); err != nil {
		return nil, err
	}
	o := record.Origin{Batch: id.Batch{Run: id.NewRun()}, Rows: rec.NumRows(), Last: true}
	if out.Records, err = wire.EncodeRecords(o, b); err != nil {
		return nil, fault.New(fault.Internal, fault.ReasonInternal, "encode the records of a preview: %w", err)
	}
	return out, nil
}

// apply maps rows that have no system columns: they get their hashes, and neither row time nor a lower edge.
func apply(p *mapping.Program, rec arrow.RecordBatch, until time.Time) (record.Batch, error) {
	h, err := row.NewHasher(rec.Schema(), p.KeyColumns())
	if err != nil {
		return record.Batch{}, err //nolint:wrapcheck // classified by row
	}
	keys, hashes := h.Hash(rec)
	n := int(rec.NumRows())
	times := array.MakeArrayOfNull(memory.DefaultAllocator, &arrow.TimestampType{Unit: arrow.Nanosecond, TimeZone: "UTC"}, n)
	below := array.NewBooleanBuilder(memory.DefaultAllocator)
	below.AppendValues(make([]bool, n), nil)
	out, _ := p.ApplyUntil(row.Seal(rec, keys, hashes, times, below.NewArray()), until)
	return out, nil
}
