package millrace

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"strings"

	ingestionv1 "millrace.dev/gen/millrace/ingestion/v1"
	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/rpc"
)

type rejectsExportCmd struct {
	runArg
	Format string `help:"jsonl: a JSON object a line; csv: a line each, with a column for each of the row's." enum:"jsonl,csv" default:"jsonl"`
	To     string `help:"Write into this file instead of printing; one that is there is replaced." placeholder:"FILE" type:"path"`
}

// exportedRejects answers an export into a file.
type exportedRejects struct {
	File    string `json:"file"`
	Rejects int    `json:"rejects"`
}

func (c *rejectsExportCmd) Run(ctx context.Context, s *session) error {
	ic, err := s.ingestion()
	if err != nil {
		return err
	}
	all := func() iter.Seq2[*ingestionv1.ExportedReject, error] {
		return rejectsOf(ctx, ic, &ingestionv1.ExportRejectsRequest{Workspace: s.flags.Workspace, Run: c.RunID})
	}
	if c.To == "" {
		_, err := c.write(s.Out, all)
		return err
	}
	n := 0
	err = replaceFile(c.To, func(w io.Writer) error {
		n, err = c.write(w, all)
		return err
	})
	if err != nil {
		return err
	}
	return s.say(exportedRejects{File: c.To, Rejects: n}, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "%s: %s rejects\n", c.To, number(int64(n)))
		return written(err)
	})
}

func (c *rejectsExportCmd) write(w io.Writer, all func() iter.Seq2[*ingestionv1.ExportedReject, error]) (int, error) {
	if c.Format == "csv" {
		return writeCSV(w, all)
	}
	return writeLines(w, all())
}

// rejectsOf yields the rejects of one export.
func rejectsOf(ctx context.Context, ic ingestionv1.IngestionServiceClient, r *ingestionv1.ExportRejectsRequest) iter.Seq2[*ingestionv1.ExportedReject, error] {
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

// writeLines writes a JSON object for each reject: what is listed of it, and its row, null where it was not kept.
func writeLines(w io.Writer, all iter.Seq2[*ingestionv1.ExportedReject, error]) (int, error) {
	n := 0
	for x, err := range all {
		if err != nil {
			return n, err
		}
		data, err := rpc.MarshalJSON(x.GetReject())
		if err != nil {
			return n, fmt.Errorf("write the answer: %w", err)
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

// writeCSV writes a line for each reject. It reads twice: what columns the rows have is known when all were seen.
func writeCSV(w io.Writer, all func() iter.Seq2[*ingestionv1.ExportedReject, error]) (int, error) {
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

// replaceFile writes a file that only its owner reads, whole or not at all.
func replaceFile(path string, write func(io.Writer) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return cannotWrite(path, err)
	}
	err = write(f)
	if cerr := f.Close(); err == nil && cerr != nil {
		err = cannotWrite(path, cerr)
	}
	if err == nil {
		if err = os.Rename(f.Name(), path); err == nil {
			return nil
		}
		err = cannotWrite(path, err)
	}
	return errors.Join(err, os.Remove(f.Name()))
}

func cannotWrite(path string, err error) error {
	return fault.New(fault.Invalid, fault.ReasonInvalidArgument, "cannot write %s: %w", path, err)
}
