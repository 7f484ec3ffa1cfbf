package console

import (
	"bufio"
	"context"
	"iter"
	"net/http"

	ingestionv1 "millrace.dev/gen/millrace/ingestion/v1"
	"millrace.dev/pkg/rejectfile"
)

const downloadBuffer = 64 << 10

func (c *Console) rejectDownloads() []route {
	return []route{{"GET /w/{workspace}/runs/{run}/rejects/export", func(r *request) (view, error) {
		return rejectsDownload{csv: r.URL.Query().Get("format") == "csv"}, nil
	}}}
}

// rejectsDownload is all rejects of the path's run with their rows, as the command line writes them.
type rejectsDownload struct{ csv bool }

// write answers an error only while nothing is sent. A file that breaks off later ends the connection: no browser takes it
// for whole.
func (d rejectsDownload) write(c *Console, w http.ResponseWriter, r *request) error {
	file := &lateFile{ResponseWriter: w, name: "rejects.jsonl", form: "application/x-ndjson"}
	if d.csv {
		file.name, file.form = "rejects.csv", "text/csv; charset=utf-8"
	}
	out := bufio.NewWriterSize(file, downloadBuffer)
	_, err := d.rejects(r.Context(), c, r, out)
	if err == nil {
		err = out.Flush()
	}
	switch {
	case err == nil && file.begun:
		return nil
	case err == nil:
		_, err = file.Write(nil)
		return err
	case !file.begun:
		return err
	}
	if r.Context().Err() == nil {
		c.log.WarnContext(r.Context(), "an export of rejects broke off", "error", err) //nolint:contextcheck // the request's
	}
	panic(http.ErrAbortHandler) //nolint:forbidigo // net/http's way to end a connection, by which the client knows
}

func (d rejectsDownload) rejects(ctx context.Context, c *Console, r *request, to *bufio.Writer) (int, error) {
	all := func() iter.Seq2[*ingestionv1.ExportedReject, error] {
		return rejectfile.Read(ctx, c.ingestion, &ingestionv1.ExportRejectsRequest{Workspace: r.workspace, Run: r.PathValue("run")})
	}
	if d.csv {
		return rejectfile.WriteCSV(to, all) //nolint:wrapcheck // classified
	}
	return rejectfile.WriteLines(to, all()) //nolint:wrapcheck // classified
}

// lateFile is a file that the browser keeps. It begins with its first bytes: until then the answer can be another.
type lateFile struct {
	http.ResponseWriter
	name, form string
	begun      bool
}

func (f *lateFile) Write(b []byte) (int, error) {
	if !f.begun {
		f.begun = true
		f.Header().Set("Content-Type", f.form)
		f.Header().Set("Content-Disposition", `attachment; filename="`+f.name+`"`)
	}
	return f.ResponseWriter.Write(b) //nolint:wrapcheck // who has left needs no answer
}
