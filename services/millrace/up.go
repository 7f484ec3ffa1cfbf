package millrace

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"millrace.dev/pkg/app"
	"millrace.dev/pkg/settings"
)

// upCmd hands its flags to the process that it starts, which knows all settings of all services.
type upCmd struct {
	Args []string `arg:"" optional:"" help:"Settings of the process; see millrace up --help."`
}

// listening is the document that answers an up once it serves.
type listening struct {
	GRPC string `json:"grpc"`
	HTTP string `json:"http"`
}

// Run serves until ctx ends or a service fails. It says where it listens on stdout; the log goes to stderr.
func (c *upCmd) Run(ctx context.Context, s *session) error {
	args, err := s.flags.take(c.Args)
	if err != nil {
		return err
	}
	var said error
	err = app.Run(ctx, app.Command{
		Name: "millrace up", Args: args, Modules: modules(), FilesAnywhere: true,
		Defaults: app.Settings{Reflection: true},
		Stdout:   s.Out, Stderr: s.Err,
		Started: func(p *app.Process) {
			said = s.say(listening{p.Addr(), p.HTTPAddr()}, drawListening(p.Addr(), p.HTTPAddr()))
		},
	})
	var usage *settings.UsageError
	if errors.As(err, &usage) {
		return usagef("see `millrace up --help`", "%s", usage.Error())
	}
	return errors.Join(err, said)
}

// defaultServer is where the commands look for the services, and defaultWeb where the console is.
const (
	defaultServer = "127.0.0.1:7080"
	defaultWeb    = "127.0.0.1:7081"
)

func drawListening(grpc, http string) func(io.Writer) error {
	return func(w io.Writer) error {
		t := newTable(w)
		t.fact("gRPC", grpc)
		if http != "" {
			t.fact("Console", "http://"+http+"/")
			t.row("HTTP", http+" (/v1/…, /v1/openapi.json, /healthz, /readyz, /metrics)")
		}
		if err := t.flush(); err != nil {
			return err
		}
		hint := ""
		if grpc != defaultServer {
			hint = "  export MILLRACE_SERVER=" + grpc + "\n"
		}
		_, err := fmt.Fprintf(w, "Next, in another terminal:\n%s  millrace demo\n  millrace apply -f millrace-demo\n  millrace run customers --wait\nStop with Ctrl-C.\n", hint)
		return written(err)
	}
}

// take takes the flags of every command out of args, and answers the others in their order.
func (g *globals) take(args []string) ([]string, error) {
	into := map[string]*string{"--server": &g.Server, "--workspace": &g.Workspace, "--output": &g.Output, "-o": &g.Output}
	var rest []string
	for i := 0; i < len(args); i++ {
		name, value, given := strings.Cut(args[i], "=")
		to := into[name]
		if to == nil {
			rest = append(rest, args[i])
			continue
		}
		if !given {
			if i++; i == len(args) {
				return nil, usagef("see `millrace --help`", "%s: expected a value", name)
			}
			value = args[i]
		}
		*to = value
	}
	switch g.Output {
	case "table", "json", "yaml":
		return rest, nil
	}
	return nil, usagef("use table, json or yaml", "--output %q is no form of output", g.Output)
}
