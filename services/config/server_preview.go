package config

import (
	"context"
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	configv1 "millrace.dev/gen/millrace/config/v1"
	extractorv1 "millrace.dev/gen/millrace/extractor/v1"
	mapperv1 "millrace.dev/gen/millrace/mapper/v1"
	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/resource/resourcepb"
	"millrace.dev/pkg/rpc"
)

const (
	defaultRows = 10
	maxRows     = 100
	rejected    = "reject"
)

// limitOf answers how many rows a preview has.
func limitOf(n int32) (int32, error) {
	switch {
	case n < 0:
		return 0, invalid("limit", "ask for 1 to 100 rows", "is negative")
	case n == 0:
		return defaultRows, nil
	default:
		return min(n, maxRows), nil
	}
}

// find answers a stored resource with its credentials sealed.
func find[R resource.Resource](ctx context.Context, s *Service, r named, kind resource.Kind) (R, id.Workspace, error) {
	var none R
	w, err := workspaceOf(r)
	if err != nil {
		return none, w, err
	}
	return findIn[R](ctx, s, w, key{kind, r.GetId()})
}

func findIn[R resource.Resource](ctx context.Context, s *Service, w id.Workspace, k key) (R, id.Workspace, error) {
	var none R
	found, _, err := load(ctx, s.db, w, k)
	if err != nil {
		return none, w, err
	}
	out, ok := found.(R)
	if !ok {
		return none, w, notFound(k)
	}
	return out, w, nil
}

// TestConnection answers the steps of reaching a warehouse.
func (s *server) TestConnection(ctx context.Context, r *configv1.TestConnectionRequest) (*configv1.TestConnectionResponse, error) {
	c, _, err := find[*resource.Connection](ctx, s.Service, r, resource.KindConnection)
	if err != nil {
		return nil, err
	}
	got, err := s.peers.extractor.Check(ctx, &extractorv1.CheckRequest{Connection: resourcepb.ToConnection(*c)})
	if err != nil {
		return nil, err //nolint:wrapcheck // classified by the service
	}
	out := &configv1.TestConnectionResponse{Ok: len(got.GetSteps()) > 0, Steps: got.GetSteps()}
	for _, step := range got.GetSteps() {
		out.Ok = out.Ok && step.GetOk()
	}
	return out, nil
}

// PrintSetup answers what an administrator runs in the warehouse.
func (s *server) PrintSetup(ctx context.Context, r *configv1.PrintSetupRequest) (*configv1.PrintSetupResponse, error) {
	c, _, err := find[*resource.Connection](ctx, s.Service, r, resource.KindConnection)
	if err != nil {
		return nil, err
	}
	got, err := s.peers.extractor.PrintSetup(ctx, &extractorv1.PrintSetupRequest{Connection: resourcepb.ToConnection(*c)})
	if err != nil {
		return nil, err //nolint:wrapcheck // classified by the service
	}
	return &configv1.PrintSetupResponse{Text: got.GetText()}, nil
}

// ListTables answers what a connection can read.
func (s *server) ListTables(ctx context.Context, r *configv1.ListTablesRequest) (*configv1.ListTablesResponse, error) {
	c, _, err := find[*resource.Connection](ctx, s.Service, r, resource.KindConnection)
	if err != nil {
		return nil, err
	}
	size := int32(rpc.PageSize(r.GetPageSize())) //nolint:gosec // at most 1000
	got, err := s.peers.extractor.ListTables(ctx, &extractorv1.ListTablesRequest{Connection: resourcepb.ToConnection(*c), Prefix: r.GetPrefix(), PageSize: size})
	if err != nil {
		return nil, err //nolint:wrapcheck // classified by the service
	}
	return &configv1.ListTablesResponse{Tables: got.GetTables()}, nil
}

// PreviewDataModel answers the columns and first rows of a data model.
func (s *server) PreviewDataModel(ctx context.Context, r *configv1.PreviewDataModelRequest) (*configv1.PreviewDataModelResponse, error) {
	limit, err := limitOf(r.GetLimit())
	if err != nil {
		return nil, err
	}
	m, w, err := find[*resource.DataModel](ctx, s.Service, r, resource.KindDataModel)
	if err != nil {
		return nil, err
	}
	c, _, err := findIn[*resource.Connection](ctx, s.Service, w, key{resource.KindConnection, m.Connection})
	if err != nil {
		return nil, err
	}
	got, err := s.peers.extractor.Preview(ctx, &extractorv1.PreviewRequest{Connection: resourcepb.ToConnection(*c), DataModel: resourcepb.ToDataModel(*m), Limit: limit})
	if err != nil {
		return nil, err //nolint:wrapcheck // classified by the service
	}
	out := &configv1.PreviewDataModelResponse{Columns: got.GetColumns(), Rows: got.GetRows(), EstimatedBytesScanned: got.EstimatedBytesScanned}
	if r.GetWithArrow() {
		out.Arrow = got.GetArrow()
	}
	return out, nil
}

// PreviewSync answers sample rows, the records they map to and the profiles they would make. Nothing is written.
func (s *server) PreviewSync(ctx context.Context, r *configv1.PreviewSyncRequest) (*configv1.PreviewSyncResponse, error) {
	limit, err := limitOf(r.GetLimit())
	if err != nil {
		return nil, err
	}
	w, err := workspaceOf(r)
	if err != nil {
		return nil, err
	}
	snap, err := s.current(ctx, w, r.GetId())
	if err != nil {
		return nil, err
	}
	p, err := s.peers.preview(ctx, w, snap, limit)
	if err != nil {
		return nil, err
	}
	return toPreview(p)
}

// toPreview puts rows, their records or rejects, and the records' effects side by side.
func toPreview(p previewed) (*configv1.PreviewSyncResponse, error) {
	out := &configv1.PreviewSyncResponse{EstimatedBytesScanned: p.scans}
	if len(p.mapped) != len(p.rows) {
		return nil, fault.New(fault.Internal, fault.ReasonInternal, "the mapper answered %d rows for %d", len(p.mapped), len(p.rows))
	}
	records := p.records
	for i, row := range p.rows {
		m := p.mapped[i]
		line := &configv1.PreviewedRow{Row: row, Record: m.GetRecord(), Rejects: rejectsOf(m), Effect: rejected}
		out.Rows = append(out.Rows, line)
		if m.GetRecord() == nil {
			continue
		}
		if len(records) == 0 {
			return nil, fault.New(fault.Internal, fault.ReasonInternal, "ingestion answered fewer records than it was sent")
		}
		line.Effect = records[0].GetEffect()
		var err error
		if profile := records[0].GetProfile(); profile != nil {
			if line.Profile, err = toStruct(profile); err != nil {
				return nil, err
			}
		}
		if outcome := records[0].GetIdentity(); outcome != nil {
			if line.Identity, err = toStruct(outcome); err != nil {
				return nil, err
			}
		}
		if group := records[0].GetGroup(); group != nil {
			st, err := toStruct(group)
			if err != nil {
				return nil, err
			}
			line.Group = st
		}
		records = records[1:]
	}
	if p.figures != nil {
		var err error
		if out.Figures, err = toStruct(p.figures); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// rejectsOf says in words why a row became no record.
func rejectsOf(m *mapperv1.MappedRow) []string {
	var out []string
	for _, r := range m.GetRejects() {
		var b strings.Builder
		if r.GetColumn() != "" {
			fmt.Fprintf(&b, "column %s: ", r.GetColumn())
		}
		b.WriteString(r.GetReason())
		if r.GetRule() != "" {
			fmt.Fprintf(&b, " (%s)", r.GetRule())
		}
		out = append(out, b.String())
	}
	return out
}

// toStruct answers a message as the JSON of the documentation.
func toStruct(m proto.Message) (*structpb.Struct, error) {
	data, err := rpc.MarshalJSON(m)
	if err != nil {
		return nil, fmt.Errorf("write a profile: %w", err)
	}
	out := &structpb.Struct{}
	if err := out.UnmarshalJSON(data); err != nil {
		return nil, fault.New(fault.Internal, fault.ReasonInternal, "write a profile: %w", err)
	}
	return out, nil
}
