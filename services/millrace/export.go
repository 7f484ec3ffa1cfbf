package millrace

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	configv1 "millrace.dev/gen/millrace/config/v1"
	"millrace.dev/pkg/fault"
)

type exportCmd struct {
	Dir string `help:"Write files into this folder instead of printing them." placeholder:"DIR" type:"path"`
}

// exported is the document that answers an export into a folder.
type exported struct {
	Files []string `json:"files"`
}

// Run prints the documents, or writes them into the folder, where a file of the same name is replaced.
func (c *exportCmd) Run(ctx context.Context, s *session) error {
	cc, err := s.config()
	if err != nil {
		return err
	}
	r, err := cc.Export(ctx, &configv1.ExportRequest{Workspace: s.flags.Workspace})
	if err != nil {
		return err //nolint:wrapcheck // classified by the service
	}
	if c.Dir == "" {
		return s.answer(r, func(w io.Writer) error {
			for i, d := range r.GetDocuments() {
				text := strings.TrimRight(d.GetContent(), "\n") + "\n"
				if i > 0 && !strings.HasPrefix(text, "---") {
					text = "---\n" + text
				}
				if _, err := io.WriteString(w, text); err != nil {
					return written(err)
				}
			}
			return nil
		})
	}
	done, err := writeDocuments(c.Dir, r.GetDocuments())
	if err != nil {
		return err
	}
	return s.say(exported{Files: done}, func(w io.Writer) error {
		for _, f := range done {
			if _, err := fmt.Fprintln(w, f); err != nil {
				return written(err)
			}
		}
		return nil
	})
}

// writeDocuments writes documents under a folder, which it makes, and answers their paths.
func writeDocuments(dir string, docs []*configv1.Document) ([]string, error) {
	done := make([]string, 0, len(docs))
	for _, d := range docs {
		if !filepath.IsLocal(d.GetFile()) {
			return nil, fault.New(fault.Internal, fault.ReasonInternal, "the services named a document %q, which is no file under a folder", d.GetFile())
		}
		path := filepath.Join(dir, d.GetFile())
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			return nil, unwritable(path, err)
		}
		if err := os.WriteFile(path, []byte(d.GetContent()), 0o600); err != nil {
			return nil, unwritable(path, err)
		}
		done = append(done, path)
	}
	return done, nil
}

func unwritable(path string, err error) error {
	return fault.New(fault.Precondition, fault.ReasonInvalidArgument, "%s cannot be written: %s; choose a folder that you may write to", path, cause(err))
}
