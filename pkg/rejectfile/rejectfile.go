// Package rejectfile writes exported rejects as files that people open: JSON lines and CSV. Rows are in them as they are.
package rejectfile

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	ingestionv1 "millrace.dev/gen/millrace/ingestion/v1"
	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/rpc"
)

// Read yields the rejects of one export with their rows, in the service's order, and at last its error if it breaks off. Who
// stops early ends the export.
func Read(ctx context.Context, ic ingestionv1.IngestionServiceClient, r *ingestionv1.ExportRejectsRequest) iter.Seq2[*ingestionv1.ExportedReject, error] {
	return func(yield func(*ingestionv1.ExportedReject, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		stream, err := ic.ExportRejects(ctx, r)
		for err == nil {
			var m *ingestionv1.ExportRejectsResponse
			if m, err = stream.Recv(); err != nil {
				break
			}
			for _, x := range m.GetRejects() {
				if !yield(x, nil) {
					return
				}
			}
		}
		if !errors.Is(err, io.EOF) {
			yield(nil, err)
		}
	}
}

// WriteLines writes a JSON object and the end of a line for each reject: what is listed of it, and its row as the member row,
// null where it was not kept. It answers how many were written.
func WriteLines(w io.Writer, all iter.Seq2[*ingestionv1.ExportedReject, error]) (int, error) {
	n := 0
	for x, err := range all {
		if err != nil {
			return n, err
		}
		data, err := rpc.MarshalJSON(x.GetReject())
		if err != nil {
			return n, written(err)
		}
		row := x.GetRow()
		if len(row) == 0 {
			row = []byte("null")
		}
		line := append(bytes.TrimSuffix(data, []byte("}")), `,"row":`...)
		line = append(append(line, row...), "}\n"...)
		if _, err := w.Write(line); err != nil {
			return n, written(err)
		}
		n++
	}
	return n, nil
}

// rejectColumns are the columns that a reject has in CSV before those of its row.
func rejectColumns() []string {
	return []string{"reject_batch", "reject_key_values", "reject_stage", "reject_column", "reject_rule", "reject_reason", "reject_time"}
}

// WriteCSV writes a line for each reject below a line of names: what is listed of it, then a column for each of the rows'. It
// reads twice: what columns the rows have is known when all were seen. What a spreadsheet would run as a formula begins with
// an apostrophe. It answers how many were written.
func WriteCSV(w io.Writer, all func() iter.Seq2[*ingestionv1.ExportedReject, error]) (int, error) {
	at := map[string]int{}
	var names []string
	for x, err := range all() {
		if err != nil {
			return 0, err
		}
		err := eachField(x.GetRow(), func(name, _ string) {
			if _, known := at[name]; !known {
				at[name] = len(names)
				names = append(names, name)
			}
		})
		if err != nil {
			return 0, err
		}
	}
	out, n := csv.NewWriter(w), 0
	if err := out.Write(harmless(append(rejectColumns(), names...))); err != nil {
		return 0, written(err)
	}
	for x, err := range all() {
		if err != nil {
			return n, err
		}
		r := x.GetReject()
		cells := make([]string, len(rejectColumns())+len(names))
		copy(cells, []string{
			r.GetBatch(), strings.Join(r.GetKeyValues(), ", "), r.GetStage(), r.GetColumn(), r.GetRule(), r.GetReason(), instant(r.GetCreateTime()),
		})
		err := eachField(x.GetRow(), func(name, value string) {
			if i, known := at[name]; known {
				cells[len(rejectColumns())+i] = value
			}
		})
		if err != nil {
			return n, err
		}
		if err := out.Write(harmless(cells)); err != nil {
			return n, written(err)
		}
		n++
	}
	out.Flush()
	return n, written(out.Error())
}

// eachField calls f for the members of a JSON object in their order, with texts as they are, NULL as nothing and the rest
// as JSON.
func eachField(row []byte, f func(name, value string)) error {
	if len(row) == 0 {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(row))
	if _, err := d.Token(); err != nil {
		return fault.New(fault.Internal, fault.ReasonInternal, "read a row: %w", err)
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return fault.New(fault.Internal, fault.ReasonInternal, "read a row: %w", err)
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return fault.New(fault.Internal, fault.ReasonInternal, "read a row: %w", err)
		}
		text := string(value)
		switch {
		case text == "null":
			text = ""
		case strings.HasPrefix(text, `"`):
			if err := json.Unmarshal(value, &text); err != nil {
				return fault.New(fault.Internal, fault.ReasonInternal, "read a row: %w", err)
			}
		}
		f(fmt.Sprint(name), text)
	}
	return nil
}

// harmless puts an apostrophe before what a spreadsheet would run as a formula.
func harmless(cells []string) []string {
	for i, c := range cells {
		if c != "" && strings.ContainsRune("=+-@\t\r", rune(c[0])) {
			cells[i] = "'" + c
		}
	}
	return cells
}

func instant(t *timestamppb.Timestamp) string {
	if t == nil {
		return ""
	}
	return t.AsTime().UTC().Format(time.RFC3339)
}

// written says that a file could not be written; nil stays nil.
func written(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("write rejects: %w", err)
}
