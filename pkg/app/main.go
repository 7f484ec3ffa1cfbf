package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"millrace.dev/pkg/settings"
)

// Exit codes of a process.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

// Main is the whole main function of a service: flags, signals, exit code. SIGINT and SIGTERM begin the two-stage stop;
// a second one cuts at once.
func Main(modules ...Module) {
	name := "millrace"
	if len(modules) == 1 {
		name = modules[0].Name
	}
	ctx, cancel := Signals(context.Background()) //nolint:forbidigo // this is main
	err := Run(ctx, Command{Name: name, Args: os.Args[1:], Modules: modules, Stdout: os.Stdout, Stderr: os.Stderr})
	cancel()
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, name+": "+err.Error())
	}
	os.Exit(ExitCode(err))
}

// Signals answers a context that ends at the first SIGINT or SIGTERM. After it a second one ends the program as it does
// without a handler.
func Signals(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, cancel)
	return ctx, cancel
}

// ExitCode answers the exit code for what Run answered.
func ExitCode(err error) int {
	var usage *settings.UsageError
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &usage):
		return exitUsage
	default:
		return exitFailed
	}
}

// Command is a process as its command line has it.
type Command struct {
	Name    string   // of the program, in its help
	Args    []string // without the program's name
	Modules []Module
	// Defaults of GRPC, HTTP, Data, LogLevel, LogFormat and Reflection where neither flags, environment nor file give them;
	// zero fields have those of Settings.
	Defaults Settings
	// FilesAnywhere goes to Shared.
	FilesAnywhere  bool
	Stdout, Stderr io.Writer
	// Started, if not nil, is called once the process serves.
	Started func(*Process)
}

// Run is a process from its command line to its end: it loads the settings, starts, waits until ctx ends or a service
// fails, and stops. It answers nil after an orderly stop, after --help and --print-settings, and a settings.UsageError
// for mistakes in the settings.
func Run(ctx context.Context, c Command) error {
	collectSooner()
	s := c.Defaults
	groups := []settings.Group{{Into: &s}}
	for _, m := range c.Modules {
		groups = append(groups, settings.Group{Name: m.Name, Into: m.Settings})
	}
	in := settings.Input{Name: c.Name, Args: c.Args, Stdout: c.Stdout, Defaults: defaultsOf(c.Defaults)}
	for _, p := range mesh(s) {
		in.Sections = append(in.Sections, p.name)
	}
	if len(c.Modules) == 1 {
		in.Own = c.Modules[0].Name
	}
	if err := settings.Load(in, groups...); err != nil {
		if errors.Is(err, settings.ErrDone) {
			return nil
		}
		return err //nolint:wrapcheck // a UsageError as it is
	}
	p, err := Start(ctx, Options{Modules: c.Modules, Settings: s, loaded: true, FilesAnywhere: c.FilesAnywhere, LogTo: c.Stderr})
	if err != nil {
		return err
	}
	if c.Started != nil {
		c.Started(p)
	}
	return p.Wait()
}

// defaultsOf answers the defaults by flag.
func defaultsOf(s Settings) map[string]string {
	out := map[string]string{}
	put := func(flag, v string) {
		if v != "" {
			out[flag] = v
		}
	}
	put("grpc", s.GRPC)
	put("http", s.HTTP)
	put("data", s.Data)
	put("log-level", s.LogLevel)
	put("log-format", s.LogFormat)
	if s.Reflection {
		put("reflection", "true")
	}
	return out
}

// version answers the version of the program's main module, empty where the build has none.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return ""
}

// garbagePercent is how much garbage there may be for what is in use. Most of that is batches, which nobody scans: to
// collect twice as often costs little, and the process is smaller by half of what they take.
const garbagePercent = 50

// collectSooner sets garbagePercent, unless the environment has GOGC.
func collectSooner() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(garbagePercent)
	}
}
