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

	Play bool   `name:"run" help:"Start everything in this process, sync the sample and show what came of it." hidden:""`
	Keep bool   `help:"With --run: go on serving afterwards, with the console." hidden:"" env:"KEEP"`
	GRPC string `name:"grpc" help:"With --run: address of the gRPC services (any; with --keep that of millrace up)." hidden:""`
	HTTP string `name:"http" help:"With --run: address of the console (none; with --keep that of millrace up)." hidden:""`
}

// sampled is the document that answers a demo.
type sampled struct {
	Dir       string   `json:"dir"`
	Files     []string `json:"files"`
	Customers int64    `json:"customers"`
	Orders    int64    `json:"orders"`
}

// Run writes the warehouse and its documents; with --run it then plays the demonstration.
func (c *demoCmd) Run(ctx context.Context, s *session) error {
	if c.Play {
		return c.play(ctx, s)
	}
	files, err := c.write(ctx, s)
	if err != nil {
		return err
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

func (c *demoCmd) write(ctx context.Context, s *session) ([]string, error) {
	s.notef("writing %s customers and %s rows of order history to %s", number(c.Customers), number(c.Orders), c.Dir)
	return sample.Write(ctx, c.Dir, sample.Options{Customers: c.Customers, Orders: c.Orders, Seed: c.Seed}) //nolint:wrapcheck // classified where it was born
}
