package millrace

import (
	"context"
	"fmt"
	"io"

	"millrace.dev/services/millrace/sample"
)

type demoCmd struct {
	Dir       string `help:"Folder to write to; files of the same names are replaced." default:"millrace-demo" placeholder:"DIR"`
	Customers int64  `help:"Rows of customers." default:"200000" placeholder:"N"`
	Orders    int64  `help:"Rows of order history." default:"1000000" placeholder:"N"`
	Seed      int64  `help:"Equal seeds give equal rows." default:"1" placeholder:"S"`
}

// sampled is the document that answers a demo.
type sampled struct {
	Dir       string   `json:"dir"`
	Files     []string `json:"files"`
	Customers int64    `json:"customers"`
	Orders    int64    `json:"orders"`
}

// Run writes the warehouse and its documents.
func (c *demoCmd) Run(ctx context.Context, s *session) error {
	return c.write(ctx, s)
}

func (c *demoCmd) write(ctx context.Context, s *session) error {
	s.notef("writing %s customers and %s rows of order history to %s", number(c.Customers), number(c.Orders), c.Dir)
	files, err := sample.Write(ctx, c.Dir, sample.Options{Customers: c.Customers, Orders: c.Orders, Seed: c.Seed})
	if err != nil {
		return err //nolint:wrapcheck // classified where it was born
	}
	return s.say(sampled{Dir: c.Dir, Files: files, Customers: c.Customers, Orders: c.Orders}, func(w io.Writer) error {
		for _, f := range files {
			if _, err := fmt.Fprintln(w, f); err != nil {
				return written(err)
			}
		}
		_, err := fmt.Fprintf(w, "next: millrace apply -f %s\n", c.Dir)
		return written(err)
	})
}
