package console

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	ingestionv1 "millrace.dev/gen/millrace/ingestion/v1"
)

const (
	rowsShown    = 10
	rowsLooked   = 5000     // rejects with rows that are looked through for samples
	bytesLooked  = 64 << 20 // and bytes of them
	cellsShown   = 40
	cellLength   = 300 // characters of a value that are shown
	columnLength = 120 // and of a name
)

// rejectSamples are some rejects with their rows.
type rejectSamples struct {
	Rows   []rejectedRow
	Failed string // why rows can not be shown; empty: they can
}

// rejectedRow is a reject with its row, the column at fault marked.
type rejectedRow struct {
	*ingestionv1.Reject
	Cells []cell
	More  int  // columns that are not shown
	Kept  bool // the row is at hand
}

// cell is a column of a row.
type cell struct {
	Name, Value string
	Size        int64 // bytes, where the value is cut; 0: it is whole
	AtFault     bool  // the row is rejected for it
}

// sampleRejects answers the first rejects that match, with their rows. The list stands without them.
func (c *Console) sampleRejects(r *request, f rejectFilter) rejectSamples {
	ctx, stop := context.WithCancel(r.Context())
	defer stop()
	var out rejectSamples
	stream, err := c.ingestion.ExportRejects(ctx, &ingestionv1.ExportRejectsRequest{Workspace: r.workspace, Run: r.PathValue("run")})
	for looked, size := 0, 0; err == nil && looked < rowsLooked && size < bytesLooked; {
		var res *ingestionv1.ExportRejectsResponse
		if res, err = stream.Recv(); err != nil {
			break
		}
		looked, size = looked+len(res.GetRejects()), size+proto.Size(res)
		for _, x := range res.GetRejects() {
			if !f.takes(x.GetReject()) {
				continue
			}
			if out.Rows = append(out.Rows, rejectedRowOf(x)); len(out.Rows) == rowsShown {
				return out
			}
		}
	}
	if err != nil && !errors.Is(err, io.EOF) {
		out.Failed = failureOf(err).Message
	}
	return out
}

func rejectedRowOf(x *ingestionv1.ExportedReject) rejectedRow {
	out := rejectedRow{Reject: x.GetReject(), Kept: len(x.GetRow()) > 0}
	out.Cells, out.More = cellsOf(x.GetRow(), x.GetReject().GetColumn())
	return out
}

// cellsOf answers the columns of a row, a JSON object, in their order: the first ones and the one at fault, and how many
// more there are. Of a row that breaks off, what came before.
func cellsOf(row []byte, fault string) (cells []cell, more int) {
	d := json.NewDecoder(bytes.NewReader(row))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, 0
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			break
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			break
		}
		column, _ := name.(string) // names of an object are strings
		atFault := column == fault && fault != ""
		if len(cells) >= cellsShown && !atFault {
			more++
			continue
		}
		cells = append(cells, cellOf(column, value, atFault))
	}
	return cells, more
}

// cellOf cuts a value to what is shown of it.
func cellOf(name string, value json.RawMessage, atFault bool) cell {
	text := string(value)
	if len(value) > 0 && value[0] == '"' {
		var s string
		if json.Unmarshal(value, &s) == nil {
			text = s
		}
	}
	out := cell{Name: short(columnLength, name), Value: short(cellLength, text), AtFault: atFault}
	if utf8.RuneCountInString(text) > cellLength {
		out.Size = int64(len(text))
	}
	return out
}
