package millrace

import (
	"context"
	"fmt"
	"io"
	"strings"

	"google.golang.org/protobuf/types/known/structpb"

	configv1 "millrace.dev/gen/millrace/config/v1"
)

type modelsCmd struct {
	List    modelsListCmd    `cmd:"" help:"List data models."`
	Get     modelsGetCmd     `cmd:"" help:"Show one data model."`
	Delete  modelsDeleteCmd  `cmd:"" help:"Delete a data model that nothing uses."`
	Preview modelsPreviewCmd `cmd:"" help:"Show columns and sample rows of a data model."`
}

func models() resource[*configv1.DataModel] {
	return resource[*configv1.DataModel]{
		kind: "DataModel",
		list: list[*configv1.DataModel]{"data_models", []column[*configv1.DataModel]{
			idColumn[*configv1.DataModel](),
			{"KIND", func(m *configv1.DataModel) string { return word(m.GetRecordKind()) }},
			{"CONNECTION", (*configv1.DataModel).GetConnection},
			{"KEY COLUMNS", func(m *configv1.DataModel) string { return strings.Join(m.GetKeyColumns(), ", ") }},
			{"ITERATOR", func(m *configv1.DataModel) string { return m.GetIterator().GetColumn() }},
			nameColumn[*configv1.DataModel](),
		}},
		page: func(ctx context.Context, c configv1.ConfigServiceClient, q query) ([]*configv1.DataModel, string, error) {
			r, err := c.ListDataModels(ctx, &configv1.ListDataModelsRequest{Workspace: q.workspace, PageSize: q.size, PageToken: q.token, Filter: q.filter, OrderBy: q.orderBy})
			return r.GetDataModels(), r.GetNextPageToken(), err
		},
		get: func(ctx context.Context, c configv1.ConfigServiceClient, w, id string) (*configv1.DataModel, error) {
			r, err := c.GetDataModel(ctx, &configv1.GetDataModelRequest{Workspace: w, Id: id})
			return r.GetDataModel(), err
		},
		del: func(ctx context.Context, c configv1.ConfigServiceClient, w, id string) error {
			_, err := c.DeleteDataModel(ctx, &configv1.DeleteDataModelRequest{Workspace: w, Id: id})
			return err
		},
	}
}

type modelsListCmd struct{ listFlags }

func (c *modelsListCmd) Run(ctx context.Context, s *session) error {
	return listResources(ctx, s, models(), c.listFlags)
}

type modelsGetCmd struct{ idArg }

func (c *modelsGetCmd) Run(ctx context.Context, s *session) error {
	return getResource(ctx, s, models(), c.ID)
}

type modelsDeleteCmd struct{ idArg }

func (c *modelsDeleteCmd) Run(ctx context.Context, s *session) error {
	return deleteResource(ctx, s, models(), c.ID)
}

type modelsPreviewCmd struct {
	idArg
	Limit int32 `help:"At most so many rows, up to 100." default:"10" placeholder:"N"`
}

func (c *modelsPreviewCmd) Run(ctx context.Context, s *session) error {
	cc, err := s.config()
	if err != nil {
		return err
	}
	r, err := cc.PreviewDataModel(ctx, &configv1.PreviewDataModelRequest{Workspace: s.flags.Workspace, Id: c.ID, Limit: c.Limit})
	if err != nil {
		return err //nolint:wrapcheck // classified by the service
	}
	return s.answer(r, func(w io.Writer) error {
		titles := make([]string, len(r.GetColumns()))
		for i, col := range r.GetColumns() {
			titles[i] = col.GetName()
		}
		t := newTable(w, titles...)
		for _, row := range r.GetRows() {
			cells := make([]string, len(titles))
			for i, name := range titles {
				cells[i] = cell(row.GetFields()[name])
			}
			t.row(cells...)
		}
		if err := t.flush(); err != nil || r.EstimatedBytesScanned == nil {
			return err
		}
		_, err := fmt.Fprintf(w, "\n%s\n", scans(r.GetEstimatedBytesScanned()))
		return err
	})
}

// cell answers a value as a table shows it; NULL where there is none.
func cell(v *structpb.Value) string {
	switch k := v.GetKind().(type) {
	case nil, *structpb.Value_NullValue:
		return "NULL"
	case *structpb.Value_StringValue:
		return k.StringValue
	}
	return compact(v)
}
