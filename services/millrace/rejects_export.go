package millrace

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"

	ingestionv1 "millrace.dev/gen/millrace/ingestion/v1"
	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/rejectfile"
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
		return rejectfile.Read(ctx, ic, &ingestionv1.ExportRejectsRequest{Workspace: s.flags.Workspace, Run: c.RunID})
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
		return rejectfile.WriteCSV(w, all) //nolint:wrapcheck // says what failed
	}
	return rejectfile.WriteLines(w, all()) //nolint:wrapcheck // the same
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
