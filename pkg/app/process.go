package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"millrace.dev/pkg/bus"
	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/settings"
	"millrace.dev/pkg/telemetry"
)

// Options is a process to be started.
type Options struct {
	Modules []Module
	// Settings of the process; zero fields have their defaults, GRPC and HTTP may be "none", ports may be 0. Zero fields of
	// the modules' own settings have the defaults of their tags.
	Settings Settings
	// loaded says that the modules' settings have their defaults already, so that a zero in them was meant.
	loaded bool
	// FilesAnywhere goes to Shared.
	FilesAnywhere bool
	// Log takes the process's log; nil: a logger by Settings on LogTo.
	Log *slog.Logger
	// LogTo is where the log goes; nil: nowhere.
	LogTo io.Writer
}

// Process is modules at work. Safe for concurrent use.
type Process struct {
	settings Settings
	ownKeys  bool // nobody named Keys
	log      *slog.Logger
	tel      *telemetry.Telemetry
	bus      *bus.Bus // nil where no module uses it
	net      *network
	web      *web
	services []hosted
	undo     []func() error // frees what was built, last first

	soft     context.Context //nolint:containedctx // the two stages of the stop
	endSoft  context.CancelCauseFunc
	hard     context.Context //nolint:containedctx // see above
	endHard  context.CancelFunc
	finished context.Context //nolint:containedctx // ends when the process has; its cause is err
	finish   context.CancelFunc
	err      error

	mu      sync.Mutex
	serving bool
}

// hosted is a module with its service.
type hosted struct {
	name    string
	service Service
}

var errStop = errors.New("stop")

// Start builds the modules in the order given and serves them; on return calls are answered. The process lives until ctx
// ends, Stop is called or a service's Run fails. Where building fails, what was built is closed, last first.
func Start(ctx context.Context, o Options) (*Process, error) {
	s := o.Settings.complete(o.Modules)
	o.Modules = wanted(o.Modules, s)
	p := &Process{settings: s, ownKeys: o.Settings.Keys == "", log: o.Log}
	if p.log == nil {
		to := o.LogTo
		if to == nil {
			to = io.Discard
		}
		log, err := telemetry.NewLogger(to, s.LogLevel, s.LogFormat)
		if err != nil {
			return nil, err //nolint:wrapcheck // classified
		}
		p.log = log
	}
	p.soft, p.endSoft = context.WithCancelCause(ctx)
	p.hard, p.endHard = context.WithCancel(context.WithoutCancel(ctx))
	p.finished, p.finish = context.WithCancel(context.WithoutCancel(ctx))
	if err := p.build(ctx, o); err != nil {
		p.endSoft(errStop)
		p.endHard()
		return nil, errors.Join(err, p.unwind())
	}
	p.setServing(true)
	go p.live() //nolint:contextcheck // it lives by the process's own stages
	return p, nil
}

// wanted answers the modules less the trace service where there is to be none, unless it is all that the process is for.
func wanted(modules []Module, s Settings) []Module {
	if s.TraceAddr != none || len(modules) == 1 {
		return modules
	}
	return slices.DeleteFunc(slices.Clone(modules), func(m Module) bool { return m.Name == traceService })
}

// build makes everything, and notes how to free it.
func (p *Process) build(ctx context.Context, o Options) error {
	tel, err := telemetry.New(ctx, telemetry.Settings{OTLP: p.settings.OTLP, Version: version(), Log: p.log})
	if err != nil {
		return err //nolint:wrapcheck // classified
	}
	p.tel = tel
	p.undo = append(p.undo, p.shutTelemetry)
	if err := p.openBus(ctx, o.Modules); err != nil {
		return err
	}
	p.net = newNetwork(p, o.Modules)
	p.undo = append(p.undo, p.net.close)
	if err := p.sendSpans(ctx); err != nil {
		return err
	}
	shared := p.settings.shared(o.FilesAnywhere)
	shared.OwnKeys = p.ownKeys
	for _, m := range o.Modules {
		if m.Settings != nil && !o.loaded {
			if err := settings.Defaults(m.Settings); err != nil {
				return fmt.Errorf("settings of %s: %w", m.Name, err)
			}
		}
		env := &Env{
			Name: m.Name, Log: p.log.With("service", m.Name), Tracer: tel.Tracer(m.Name), Metrics: tel.Registry(),
			Shared: shared, Dial: p.net.dialer(m.Name),
			Alone: len(o.Modules) == 1, Hosted: slices.Clone(p.net.hosted), HTTP: p.settings.httpAddr(),
		}
		if m.UsesBus {
			env.Bus = p.bus
		}
		svc, err := m.New(ctx, env)
		if err != nil {
			return fmt.Errorf("start %s: %w", m.Name, err)
		}
		p.undo = append(p.undo, func() error {
			if err := svc.Close(); err != nil {
				return fmt.Errorf("close %s: %w", m.Name, err)
			}
			return nil
		})
		p.services = append(p.services, hosted{m.Name, svc})
		svc.Register(p.net.server)
	}
	if err := p.net.serve(p.settings); err != nil {
		return err
	}
	if p.web, err = serveWeb(p); err != nil {
		return err
	}
	p.undo = append(p.undo, p.closeWeb) //nolint:contextcheck // it runs when every context has ended
	return nil
}

// sendSpans sends the process's spans to the trace service, in memory where it is hosted here.
func (p *Process) sendSpans(ctx context.Context) error {
	if !slices.Contains(p.net.hosted, traceService) && p.settings.traceAddr() == "" {
		return nil
	}
	conn, err := p.net.dial(telemetryCaller, traceService)
	if err != nil {
		return err
	}
	return p.tel.SendTo(ctx, traceService, conn) //nolint:wrapcheck // classified
}

// telemetryCaller is whose calls the export of spans is. They belong to no trace, so that they become no spans.
const telemetryCaller = "telemetry"

func (p *Process) openBus(ctx context.Context, modules []Module) error {
	for _, m := range modules {
		if !m.UsesBus || p.bus != nil {
			continue
		}
		b, err := bus.Open(ctx, bus.Settings{
			URL: p.settings.NATS, Dir: filepath.Join(p.settings.Data, "nats"), Replicas: p.settings.NATSReplicas,
			LazySync: p.settings.NATSLazySync, MaxBytes: p.settings.NATSMaxBytes, Backlog: p.settings.NATSBacklog, Log: p.log,
		})
		if err != nil {
			return err //nolint:wrapcheck // classified
		}
		p.bus = b
		p.undo = append(p.undo, b.Close)
		if err := p.tel.Registry().Register(b.Collector()); err != nil {
			return fmt.Errorf("register the broker's metrics: %w", err)
		}
	}
	return nil
}

// live runs the services and, at their end, takes the process down.
func (p *Process) live() {
	defer p.finish()
	stopped := p.stopStages()
	err := p.run()
	p.endSoft(errStop) // where every Run returned by itself
	p.flushSpans()
	p.net.stop(p.hard)
	p.endHard()
	<-stopped.Done()
	p.err = errors.Join(err, p.unwind())
	p.log.Info("stopped")
}

// run runs every service until all have returned, and answers what failed first.
func (p *Process) run() error {
	var g errgroup.Group
	for _, s := range p.services {
		g.Go(func() error {
			err := s.service.Run(p.soft, p.hard)
			if err == nil || p.soft.Err() != nil && fault.ClassOf(err) == fault.Cancelled {
				return nil
			}
			err = fmt.Errorf("%s: %w", s.name, err)
			p.endSoft(err)
			return err
		})
	}
	err := g.Wait()
	if err == nil {
		<-p.soft.Done() // services without work of their own return at once
	}
	return err //nolint:wrapcheck // wrapped above
}

// stopStages waits for soft's end, says so, and ends hard when the grace has passed since. The context it answers ends
// once it is done, which it is when hard has ended.
func (p *Process) stopStages() context.Context {
	over, done := context.WithCancel(context.WithoutCancel(p.hard))
	go func() {
		defer done()
		<-p.soft.Done()
		p.setServing(false)
		p.net.health.Shutdown()
		if cause := context.Cause(p.soft); errors.Is(cause, errStop) || errors.Is(cause, context.Canceled) {
			p.log.Info("stopping", "grace", p.settings.Grace)
		} else {
			p.log.Error("the process stops because of a failure", "error", cause)
		}
		t := time.NewTimer(p.settings.Grace)
		defer t.Stop()
		select {
		case <-t.C:
			p.log.Warn("the grace is over; what is in hand is cut off")
			p.endHard()
		case <-p.hard.Done():
		}
	}()
	return over
}

// unwind frees what was built, last first.
func (p *Process) unwind() error {
	var errs []error
	for i := len(p.undo) - 1; i >= 0; i-- {
		errs = append(errs, p.undo[i]())
	}
	p.undo = nil
	return errors.Join(errs...)
}

// flushSpans sends the spans of what was in hand while the network is up, which may lead to the trace service in this process.
func (p *Process) flushSpans() {
	ctx, cancel := context.WithTimeout(p.hard, time.Second)
	defer cancel()
	p.tel.Flush(ctx)
}

func (p *Process) shutTelemetry() error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(p.hard), 3*time.Second)
	defer cancel()
	if err := p.tel.Shutdown(ctx); err != nil {
		p.log.Warn("telemetry", "error", err) // spans that nobody takes are no reason to fail
	}
	return nil
}

func (p *Process) closeWeb() error { return p.web.close(context.WithoutCancel(p.hard)) }

func (p *Process) setServing(v bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.serving = v
}

// Ready answers nil while the process takes work: it serves, is not stopping, reaches its broker, and no service of it says
// that it can not work.
func (p *Process) Ready() error {
	p.mu.Lock()
	serving := p.serving
	p.mu.Unlock()
	if !serving {
		return fault.New(fault.Unavailable, fault.ReasonServiceUnavailable, "the process is starting or stopping")
	}
	if p.bus != nil {
		if err := p.bus.Ready(); err != nil {
			return err //nolint:wrapcheck // classified
		}
	}
	for _, s := range p.services {
		if r, ok := s.service.(Readier); ok {
			if err := r.Ready(); err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
		}
	}
	return nil
}

// Stop begins the two-stage stop and waits for the process's end, which it answers as Wait does. When ctx ends first,
// what is in hand is cut off.
func (p *Process) Stop(ctx context.Context) error {
	p.endSoft(errStop)
	defer context.AfterFunc(ctx, p.endHard)()
	return p.Wait()
}

// Wait waits for the process's end: nil after an orderly stop, else what failed.
func (p *Process) Wait() error {
	<-p.finished.Done()
	return p.err
}
