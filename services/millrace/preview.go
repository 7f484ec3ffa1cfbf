package millrace

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"

	"google.golang.org/protobuf/proto"

	configv1 "millrace.dev/gen/millrace/config/v1"
	"millrace.dev/pkg/rpc"
)

type previewCmd struct {
	Sync  string `arg:"" help:"The sync's id."`
	Limit int32  `help:"At most so many rows, up to 100." default:"10" placeholder:"N"`
}

func (c *previewCmd) Run(ctx context.Context, s *session) error {
	cc, err := s.config()
	if err != nil {
		return err
	}
	r, err := cc.PreviewSync(ctx, &configv1.PreviewSyncRequest{Workspace: s.flags.Workspace, Id: c.Sync, Limit: c.Limit})
	if err != nil {
		return err //nolint:wrapcheck // classified by the service
	}
	return s.answer(r, func(w io.Writer) error {
		t := newTable(w)
		for i, row := range r.GetRows() {
			t.row(fmt.Sprintf("row %d", i+1), row.GetEffect())
			t.row("  row", compact(row.GetRow()))
			if row.GetRecord() != nil {
				t.row("  record", compact(row.GetRecord()))
			}
			if row.GetProfile() != nil {
				t.row("  profile", compact(row.GetProfile()))
			}
			if row.GetGroup() != nil {
				t.row("  group", compact(row.GetGroup()))
			}
			for _, reject := range row.GetRejects() {
				t.row("  reject", reject)
			}
		}
		return t.flush()
	})
}

// compact answers a message as one line of JSON.
func compact(m proto.Message) string {
	data, err := rpc.MarshalJSON(m)
	if err != nil {
		return "?"
	}
	var b bytes.Buffer
	if err := json.Compact(&b, data); err != nil {
		return "?"
	}
	return b.String()
}
