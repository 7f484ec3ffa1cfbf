// Package settings fills structs of settings from, in rising order, their defaults, a YAML file, the environment
// (MILLRACE_*) and flags, and can tell where each value comes from.
package settings

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/alecthomas/kong"
)

// EnvPrefix starts the name of each environment variable: --log-level is MILLRACE_LOG_LEVEL.
const EnvPrefix = "MILLRACE_"

// Group is a struct of settings with kong tags.
type Group struct {
	// Name is the section of the YAML file and the prefix of the flags: in "mapper", `workers` is --mapper-workers,
	// MILLRACE_MAPPER_WORKERS and workers under mapper: in the file. Empty for the settings that all share.
	Name string
	// Into points to the struct, or is nil.
	Into any
}

// Input is what a process was started with.
type Input struct {
	Name        string // of the program, for the help text
	Description string
	Args        []string
	Getenv      func(string) (string, bool) // nil: os.LookupEnv
	Stdout      io.Writer                   // help and --print-settings; nil: nothing
	// Defaults by flag, in place of those of the structs.
	Defaults map[string]string
	// Sections are names of groups of other programs that one file may serve: they are not looked into.
	Sections []string
	// Own is the one group of a program that has only one: its flags may be given without their prefix, and in its section
	// of the file shared settings go before those at the top. Empty: none.
	Own string
}

// ErrDone says that the program was asked for help or for its settings, has printed them, and is to end with code 0.
var ErrDone = errors.New("done")

// UsageError is a mistake in flags, environment or file; the program is to end with code 2.
type UsageError struct{ Err error }

func (e *UsageError) Error() string { return e.Err.Error() }

// Unwrap answers the cause.
func (e *UsageError) Unwrap() error { return e.Err }

// builtin are the flags that every program has.
type builtin struct {
	Config        string `placeholder:"FILE" help:"YAML file of settings; one may serve all services."`
	PrintSettings bool   `help:"Print the effective settings with their origin, secrets masked, and end."`
}

// Load fills the groups. It answers nil, ErrDone or a UsageError; every fault of the file is in it at once, with lines.
func Load(in Input, groups ...Group) error {
	if in.Getenv == nil {
		in.Getenv = os.LookupEnv
	}
	if in.Stdout == nil {
		in.Stdout = io.Discard
	}
	l := &loader{in: in, groups: groups, origins: map[string]string{}}
	if err := l.load(); err != nil {
		var own *UsageError
		if errors.Is(err, ErrDone) || errors.As(err, &own) {
			return err
		}
		return &UsageError{Err: err}
	}
	return nil
}

// Defaults gives the zero fields of a struct with kong tags the defaults of their tags, for settings that Load does not
// fill.
func Defaults(into any) error {
	if err := kong.ApplyDefaults(into); err != nil {
		return &UsageError{Err: err}
	}
	return nil
}

// loader is one Load.
type loader struct {
	in      Input
	groups  []Group
	base    builtin
	file    *file
	origins map[string]string // flag → where its value comes from
	helped  bool
}

func (l *loader) load() error {
	opts := []kong.Option{
		kong.Name(l.in.Name), kong.Description(l.in.Description),
		kong.Writers(l.in.Stdout, l.in.Stdout),
		kong.Exit(func(int) { l.helped = true }),
		kong.Resolvers(resolver{l}),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, FlagsLast: true}),
	}
	for _, g := range l.groups {
		if g.Into == nil {
			continue
		}
		if g.Name == "" {
			opts = append(opts, kong.Embed(g.Into))
			continue
		}
		opts = append(opts, kong.Embed(g.Into, fmt.Sprintf(`prefix:"%s-"`, g.Name), fmt.Sprintf(`group:"%s"`, g.Name)))
	}
	k, err := kong.New(&l.base, opts...)
	if err != nil {
		return fmt.Errorf("the settings of %s do not fit together: %w", l.in.Name, err)
	}
	if err := l.openFile(); err != nil {
		return err
	}
	if l.file != nil {
		if err := l.file.check(k.Model.Flags, l.groups, l.in.Sections); err != nil {
			return err
		}
	}
	ctx, err := k.Parse(l.prefixed(k.Model.Flags))
	if l.helped {
		return ErrDone
	}
	if err != nil {
		return err //nolint:wrapcheck // kong's text names the flag
	}
	if l.base.PrintSettings {
		l.print(ctx)
		return ErrDone
	}
	return nil
}

// prefixed answers the arguments with the prefix of the own group where it was left out.
func (l *loader) prefixed(flags []*kong.Flag) []string {
	known := map[string]bool{}
	for _, f := range flags {
		known[f.Name] = true
	}
	out := append([]string(nil), l.in.Args...)
	for i, a := range out {
		if a == "--" {
			break
		}
		rest, ok := strings.CutPrefix(a, "--")
		name, _, _ := strings.Cut(rest, "=")
		if full := l.in.Own + "-" + name; ok && !known[name] && known[full] {
			out[i] = "--" + l.in.Own + "-" + rest
		}
	}
	return out
}

// openFile reads the file that --config or MILLRACE_CONFIG names, before the flags are parsed.
func (l *loader) openFile() error {
	path, ok := flagValue(l.in.Args, "config")
	if !ok {
		path, _ = l.env("config")
	}
	if path == "" {
		return nil
	}
	f, err := readFile(path)
	if err != nil {
		return err
	}
	l.file = f
	return nil
}

// flagValue finds --name VALUE or --name=VALUE; what kong thinks of it comes later.
func flagValue(args []string, name string) (string, bool) {
	for i, a := range args {
		if a == "--" {
			break
		}
		if v, ok := strings.CutPrefix(a, "--"+name+"="); ok {
			return v, true
		}
		if a == "--"+name && i+1 < len(args) {
			return args[i+1], true
		}
	}
	return "", false
}

// env answers the value of a flag's environment variable; an empty one counts as unset.
func (l *loader) env(flag string) (string, bool) {
	v, ok := l.in.Getenv(EnvName(flag))
	return v, ok && v != ""
}

// EnvName answers the environment variable of a flag.
func EnvName(flag string) string {
	return EnvPrefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// resolver gives kong what flags leave open: the environment, else the file.
type resolver struct{ l *loader }

func (resolver) Validate(*kong.Application) error { return nil }

func (r resolver) Resolve(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	l := r.l
	if flag.Name == "help" {
		return nil, nil //nolint:nilnil // kong's way of "not here"
	}
	if v, ok := l.env(flag.Name); ok {
		l.origins[flag.Name] = "env " + EnvName(flag.Name)
		return v, nil
	}
	if l.file != nil {
		if n, ok := l.file.find(flag.Name, l.groups, l.in.Own); ok {
			l.origins[flag.Name] = fmt.Sprintf("%s:%d", l.file.path, n.Line)
			return scalar(n)
		}
	}
	if v, ok := l.in.Defaults[flag.Name]; ok {
		return v, nil
	}
	return nil, nil //nolint:nilnil // kong's way of "not here"
}
