package millrace

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	configv1 "millrace.dev/gen/millrace/config/v1"
	ingestionv1 "millrace.dev/gen/millrace/ingestion/v1"
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
			if row.GetIdentity() != nil {
				t.row("  identity", outcomeText(row.GetIdentity()))
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
		if f := figuresText(r.GetFigures()); f != "" {
			t.row("profiles", f)
		}
		if r.EstimatedBytesScanned != nil {
			t.row("estimate", scans(r.GetEstimatedBytesScanned()))
		}
		return t.flush()
	})
}

// scans says what a read of all rows of a data model would cost.
func scans(bytes int64) string { return "a read of all rows would scan " + size(bytes) }

// figuresText says what the rows would do to profiles.
func figuresText(s *structpb.Struct) string {
	var f ingestionv1.IdentityFigures
	if !fromStruct(s, &f) {
		return ""
	}
	out := fmt.Sprintf("%d created, %d updated, %d merged", f.GetCreates(), f.GetUpdates(), f.GetMerges())
	if f.GetLargestCluster() > 0 {
		out += fmt.Sprintf("; the largest is made of %d, glued by %s", f.GetLargestCluster(), pair(f.GetGlue()))
	}
	return out
}

// outcomeText says where a row's identities lead, and what becomes of those that are not simply kept.
func outcomeText(s *structpb.Struct) string {
	var o ingestionv1.IdentityOutcome
	if !fromStruct(s, &o) {
		return "?"
	}
	out := []string{o.GetOutcome()}
	for _, m := range o.GetMerges() {
		if m.GetKind() == "stopped" {
			out = append(out, strings.TrimSpace("no merge of "+strings.Join(m.GetOthers(), ", ")+" by rule "+m.GetRule()+" "+m.GetLimit()))
			continue
		}
		out = append(out, "merges "+strings.Join(m.GetOthers(), ", ")+" into "+m.GetMpid()+", glued by "+pair(m.GetGlue()))
	}
	for _, i := range o.GetIdentities() {
		if i.GetFate() != "kept" {
			out = append(out, strings.TrimSpace(i.GetFate()+" "+pair(i.GetIdentity())+" "+i.GetRule()))
		}
	}
	return strings.Join(out, "; ")
}

func pair(i *ingestionv1.Identity) string { return i.GetType() + "=" + i.GetValue() }

// fromStruct reads what was answered as JSON; false where there is nothing to read.
func fromStruct(s *structpb.Struct, into proto.Message) bool {
	if s == nil {
		return false
	}
	data, err := protojson.Marshal(s)
	return err == nil && protojson.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(data, into) == nil
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
