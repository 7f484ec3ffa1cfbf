package millrace

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"google.golang.org/grpc"

	configv1 "millrace.dev/gen/millrace/config/v1"
	ingestionv1 "millrace.dev/gen/millrace/ingestion/v1"
	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
	"millrace.dev/pkg/app"
	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/settings"
	"millrace.dev/services/millrace/sample"
)

// The parts of a demonstration's folder: the data of its process, and the mark that says the folder is one.
const (
	playData = "data"
	playLog  = "millrace.log"
	playMark = ".millrace-demo"
)

// stopTime bounds the end of a demonstration's process.
const stopTime = 30 * time.Second

// play starts every service in this process, syncs the sample and shows what came of it. Anything but two balanced runs
// that succeeded is an error.
func (c *demoCmd) play(ctx context.Context, s *session) (err error) {
	if err := c.clear(); err != nil {
		return err
	}
	if _, err := c.write(ctx, s); err != nil {
		return err
	}
	if !c.Keep { // nobody is to reach it
		c.GRPC, c.HTTP = cmp.Or(c.GRPC, "127.0.0.1:0"), cmp.Or(c.HTTP, "none")
	}
	log, err := os.OpenFile(filepath.Join(c.Dir, playLog), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return unwritable(c.Dir, err)
	}
	defer log.Close() //nolint:errcheck // a log
	hosted, err := defaults(modules())
	if err != nil {
		return err
	}
	process, err := app.Start(ctx, app.Options{
		Modules: hosted, FilesAnywhere: true, LogTo: log,
		Settings: app.Settings{Data: filepath.Join(c.Dir, playData), GRPC: c.GRPC, HTTP: c.HTTP, Reflection: true},
	})
	if err != nil {
		return fmt.Errorf("start the services: %w", err)
	}
	defer func() {
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
		defer cancel()
		err = errors.Join(err, process.Stop(stop))
	}()
	s.flags.Output = "table"
	s.conn = connection{services: inProcess{process}}
	if err := c.show(ctx, s); err != nil {
		return err
	}
	if err := c.goOn(s, process); err != nil {
		return err
	}
	if err := c.console(s, process); err != nil {
		return err
	}
	if !c.Keep {
		return nil
	}
	s.notef("serving until Ctrl-C; the log is %s", log.Name())
	return process.Wait() //nolint:wrapcheck // classified
}

// defaults gives the settings of modules their defaults, whatever the environment says: a demonstration is the same
// everywhere and touches nothing outside its folder.
func defaults(modules []app.Module) ([]app.Module, error) {
	var groups []settings.Group
	for _, m := range modules {
		groups = append(groups, settings.Group{Name: m.Name, Into: m.Settings})
	}
	unset := func(string) (string, bool) { return "", false }
	if err := settings.Load(settings.Input{Name: "millrace demo", Getenv: unset}, groups...); err != nil {
		return nil, fmt.Errorf("settle the services' settings: %w", err)
	}
	return modules, nil
}

// clear makes the folder and takes away what an earlier demonstration left. A folder that none has made keeps its data.
func (c *demoCmd) clear() error {
	mark, data := filepath.Join(c.Dir, playMark), filepath.Join(c.Dir, playData)
	_, marked := os.Stat(mark)
	if _, err := os.Stat(data); err == nil && marked != nil {
		return fault.New(fault.Precondition, fault.ReasonInvalidArgument, "%s holds data that no demonstration made; choose another --dir", c.Dir)
	}
	for _, path := range []string{data, filepath.Join(c.Dir, playLog)} {
		if err := os.RemoveAll(path); err != nil {
			return unwritable(path, err)
		}
	}
	if err := os.MkdirAll(c.Dir, 0o750); err != nil {
		return unwritable(c.Dir, err)
	}
	if err := os.WriteFile(mark, nil, 0o600); err != nil {
		return unwritable(mark, err)
	}
	return nil
}

// show applies the documents, runs both syncs and shows runs and a profile.
func (c *demoCmd) show(ctx context.Context, s *session) error {
	if err := heading(s.Out, "Documents"); err != nil {
		return err
	}
	if err := (&applyCmd{Files: []string{c.Dir}, Yes: true}).Run(ctx, s); err != nil {
		return err
	}
	for _, id := range []string{sample.CustomersSync, sample.OrdersSync} {
		if err := playRun(ctx, s, id); err != nil {
			return err
		}
	}
	return playProfile(ctx, s)
}

// playRun runs one sync to its end and shows the run.
func playRun(ctx context.Context, s *session, id string) error {
	if err := heading(s.Out, "Sync "+id); err != nil {
		return err
	}
	sc, err := s.scheduler()
	if err != nil {
		return err
	}
	started, err := sc.TriggerRun(ctx, &schedulerv1.TriggerRunRequest{
		Workspace: s.flags.Workspace, Sync: id, Reason: schedulerv1.RunReason_RUN_REASON_MANUAL,
	})
	if err != nil {
		return err //nolint:wrapcheck // classified by the service
	}
	run, err := s.watch(ctx, started.GetRun().GetId())
	if err != nil {
		return err
	}
	if err := drawRun(run)(s.Out); err != nil {
		return err
	}
	if run.GetState() != schedulerv1.RunState_RUN_STATE_SUCCEEDED || !run.GetCertificate().GetBalanced() {
		return fault.New(fault.Precondition, fault.ReasonAccountUnbalanced, "the run of sync %s ended %s and %s; it should have succeeded and balanced", id, word(run.GetState()), balance(run))
	}
	return nil
}

// playProfile shows the person of one order with all their events.
func playProfile(ctx context.Context, s *session) error {
	ic, err := s.ingestion()
	if err != nil {
		return err
	}
	prod := configv1.Environment_ENVIRONMENT_PROD
	some, err := ic.ListEvents(ctx, &ingestionv1.ListEventsRequest{Workspace: s.flags.Workspace, Environment: prod, Sync: sample.OrdersSync, PageSize: 1})
	if err != nil {
		return err //nolint:wrapcheck // classified by the service
	}
	if len(some.GetEvents()) == 0 {
		return fault.New(fault.Internal, fault.ReasonAccountUnbalanced, "the store holds no event of sync %s", sample.OrdersSync)
	}
	mpid := some.GetEvents()[0].GetMpid()
	who := profileArg{Identity: "mpid=" + mpid}
	if err := heading(s.Out, "A customer"); err != nil {
		return err
	}
	if err := (&profilesGetCmd{profileArg: who}).Run(ctx, s); err != nil {
		return err
	}
	if err := heading(s.Out, "Their events"); err != nil {
		return err
	}
	return (&profilesEventsCmd{profileArg: who, limitFlag: limitFlag{Limit: 20}}).Run(ctx, s)
}

func heading(w io.Writer, text string) error {
	_, err := fmt.Fprintf(w, "\n%s\n%s\n", text, strings.Repeat("-", len(text)))
	return written(err)
}

// goOn shows the commands to go on with.
func (c *demoCmd) goOn(s *session, process *app.Process) error {
	if err := heading(s.Out, "Go on with"); err != nil {
		return err
	}
	server := ""
	if c.Keep && process.Addr() != defaultServer {
		server = "export MILLRACE_SERVER=" + process.Addr() + "\n"
	}
	_, err := fmt.Fprintf(s.Out, `bin/millrace up --data %s
%sbin/millrace syncs list
bin/millrace run customers --wait
bin/millrace runs list customers
bin/millrace preview orders
bin/millrace profiles get customer_id=1
bin/millrace profiles events customer_id=1 -o json
bin/millrace store digest
`, filepath.Join(c.Dir, playData), server)
	return written(err)
}

// console says where the console is, or how to get to it.
func (c *demoCmd) console(s *session, process *app.Process) error {
	if err := heading(s.Out, "The console"); err != nil {
		return err
	}
	text := "http://" + defaultWeb + "/ while Millrace serves: make demo KEEP=1, or bin/millrace up as above"
	if at := process.HTTPAddr(); c.Keep && at != "" {
		text = "http://" + at + "/ until Ctrl-C"
	}
	_, err := fmt.Fprintln(s.Out, text)
	return written(err)
}

// inProcess calls the services that a process hosts, each by the name in its method.
type inProcess struct{ process *app.Process }

// service answers the connection for a method such as /millrace.config.v1.ConfigService/Apply.
func (p inProcess) service(method string) (grpc.ClientConnInterface, error) {
	parts := strings.Split(method, ".")
	if len(parts) < 2 {
		return nil, fault.New(fault.Internal, fault.ReasonInternal, "method %s names no service", method)
	}
	return p.process.Dial(parts[1]) //nolint:wrapcheck // classified
}

func (p inProcess) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	cc, err := p.service(method)
	if err != nil {
		return err
	}
	return bounded{cc}.Invoke(ctx, method, args, reply, opts...)
}

func (p inProcess) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	cc, err := p.service(method)
	if err != nil {
		return nil, err
	}
	return cc.NewStream(ctx, desc, method, opts...) //nolint:wrapcheck // classified by the interceptors
}
