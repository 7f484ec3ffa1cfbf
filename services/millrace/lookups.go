package millrace

import (
	"context"
	"io"
	"strings"

	ingestionv1 "millrace.dev/gen/millrace/ingestion/v1"
)

type lookupsCmd struct {
	Get lookupsGetCmd `cmd:"" help:"Show a row of a lookup table."`
}

type lookupsGetCmd struct {
	envFlag
	Row  string   `arg:"" name:"model=key" help:"The data model's id and the row's key, such as products=A-1."`
	More []string `arg:"" optional:"" name:"key" help:"Further key values, in the order of the model's key columns."`
}

func (c *lookupsGetCmd) Run(ctx context.Context, s *session) error {
	model, key, ok := strings.Cut(c.Row, "=")
	if !ok || model == "" || key == "" {
		return usagef("write it as MODEL=KEY, such as products=A-1", "%q names no row", c.Row)
	}
	ic, err := s.ingestion()
	if err != nil {
		return err
	}
	r, err := ic.GetLookupRow(ctx, &ingestionv1.GetLookupRowRequest{
		Workspace: s.flags.Workspace, Environment: c.environment(), DataModel: model, KeyValues: append([]string{key}, c.More...),
	})
	if err != nil {
		return err //nolint:wrapcheck // classified by the service
	}
	x := r.GetRow()
	return s.answer(x, func(w io.Writer) error {
		t := newTable(w)
		t.row("data model", x.GetDataModel())
		t.row("key", strings.Join(x.GetKeyValues(), ", "))
		t.row("sync", x.GetProvenance().GetSync())
		t.row("run", x.GetProvenance().GetRun())
		if err := t.flush(); err != nil {
			return err
		}
		t = newTable(w, "FIELD", "VALUE")
		fields := x.GetRow().GetFields()
		for _, name := range sortedKeys(fields) {
			t.row(name, cell(fields[name]))
		}
		return t.flush()
	})
}
