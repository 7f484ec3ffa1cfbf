package config

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/structpb"

	configv1 "millrace.dev/gen/millrace/config/v1"
	extractorv1 "millrace.dev/gen/millrace/extractor/v1"
	ingestionv1 "millrace.dev/gen/millrace/ingestion/v1"
	mapperv1 "millrace.dev/gen/millrace/mapper/v1"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/resource/resourcepb"
)

// peers are the services that config calls, for tests, previews and checks. Connections go out with sealed credentials.
type peers struct {
	extractor extractorv1.ExtractorServiceClient
	mapper    mapperv1.MapperServiceClient
	ingestion ingestionv1.IngestionServiceClient
}

func newPeers(dial func(string) (grpc.ClientConnInterface, error)) (*peers, error) {
	var p peers
	for name, use := range map[string]func(grpc.ClientConnInterface){
		"extractor": func(c grpc.ClientConnInterface) { p.extractor = extractorv1.NewExtractorServiceClient(c) },
		"mapper":    func(c grpc.ClientConnInterface) { p.mapper = mapperv1.NewMapperServiceClient(c) },
		"ingestion": func(c grpc.ClientConnInterface) { p.ingestion = ingestionv1.NewIngestionServiceClient(c) },
	} {
		c, err := dial(name)
		if err != nil {
			return nil, err
		}
		use(c)
	}
	return &p, nil
}

// describe answers the columns of a data model as an Arrow IPC stream without batches.
func (p *peers) describe(ctx context.Context, c resource.Connection, m resource.DataModel) ([]byte, error) {
	r, err := p.extractor.Describe(ctx, &extractorv1.DescribeRequest{Connection: resourcepb.ToConnection(c), DataModel: resourcepb.ToDataModel(m)})
	return r.GetArrowSchema(), err //nolint:wrapcheck // classified by the service
}

// validateMapping reports every fault of a mapping against a schema, nil being by name. It answers the columns that make
// the row key.
func (p *peers) validateMapping(ctx context.Context, m *resource.Mapping, model resource.DataModel, schema []byte) ([]string, error) {
	r, err := p.mapper.ValidateMapping(ctx, &mapperv1.ValidateMappingRequest{Mapping: toMapping(m), DataModel: resourcepb.ToDataModel(model), ArrowSchema: schema})
	return r.GetKeyColumns(), err //nolint:wrapcheck // classified by the service
}

// rowCounts is rows that deserve a look.
type rowCounts struct{ nullKeys, repeatedKeys, nullIterator int64 }

// probe counts rows of a model whose keys or iterator are not as they should be.
func (p *peers) probe(ctx context.Context, c resource.Connection, m resource.DataModel, keys []string) (rowCounts, error) {
	r, err := p.extractor.CheckModel(ctx, &extractorv1.CheckModelRequest{
		Connection: resourcepb.ToConnection(c), DataModel: resourcepb.ToDataModel(m), KeyColumns: keys,
	})
	return rowCounts{r.GetNullKeys(), r.GetRepeatedKeys(), r.GetNullIterator()}, err //nolint:wrapcheck // classified by the service
}

func toMapping(m *resource.Mapping) *configv1.Mapping {
	if m == nil {
		return nil
	}
	return resourcepb.ToMapping(*m)
}

// previewed is sample rows, and what becomes of each.
type previewed struct {
	rows    []*structpb.Struct
	mapped  []*mapperv1.MappedRow
	records []*ingestionv1.PreviewedRecord // one per mapped row that is no reject
	figures *ingestionv1.IdentityFigures
	scans   *int64 // bytes, of a read of all rows; nil: the warehouse does not estimate
}

// preview takes the first rows of a sync through mapper and ingestion; nothing is written.
func (p *peers) preview(ctx context.Context, w id.Workspace, s resource.Snapshot, limit int32) (previewed, error) {
	model := resourcepb.ToDataModel(s.DataModel)
	rows, err := p.extractor.Preview(ctx, &extractorv1.PreviewRequest{Connection: resourcepb.ToConnection(s.Connection), DataModel: model, Limit: limit})
	if err != nil {
		return previewed{}, err //nolint:wrapcheck // classified by the service
	}
	mapped, err := p.mapper.PreviewMapping(ctx, &mapperv1.PreviewMappingRequest{Mapping: toMapping(s.Mapping), DataModel: model, Arrow: rows.GetArrow()})
	if err != nil {
		return previewed{}, err //nolint:wrapcheck // classified by the service
	}
	out := previewed{rows: rows.GetRows(), mapped: mapped.GetRows(), scans: rows.EstimatedBytesScanned}
	if len(mapped.GetRecords()) == 0 {
		return out, nil
	}
	records, err := p.ingestion.PreviewRecords(ctx, &ingestionv1.PreviewRecordsRequest{
		Workspace: string(w), Snapshot: resourcepb.ToSnapshot(s), Records: mapped.GetRecords(),
	})
	out.records, out.figures = records.GetRecords(), records.GetFigures()
	return out, err //nolint:wrapcheck // classified by the service
}
