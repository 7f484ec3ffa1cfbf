// Package millrace is the command line: it hosts every service in one process, and its other commands are gRPC clients
// of a running one.
//
// Answers go to stdout: tables for people, one JSON or YAML document for programs. Progress, notes and errors go to
// stderr. The exit codes are 0 done, 1 failed, 2 usage, 3 partially succeeded, 4 not reachable, 5 held.
package millrace

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/alecthomas/kong"
)

// The exit codes.
const (
	exitDone = iota
	exitFailed
	exitUsage
	exitPartial
	exitUnreachable
	exitHeld
)

// globals are the flags of every command; they stand before or after its words.
type globals struct {
	Server    string `help:"Address of the services, by default 127.0.0.1:7080." default:"127.0.0.1:7080" env:"MILLRACE_SERVER" placeholder:"ADDR"`
	Workspace string `help:"The tenant." default:"default" env:"MILLRACE_WORKSPACE" placeholder:"ID"`
	Output    string `help:"How answers are written to stdout: table, json or yaml." short:"o" default:"table" enum:"table,json,yaml" placeholder:"FORM"`
}

// commands is the whole command line.
type commands struct {
	globals `group:"Everywhere"`

	Up          upCmd          `cmd:"" passthrough:"" help:"Run every service in this process."`
	Demo        demoCmd        `cmd:"" help:"Write a sample DuckDB warehouse and the documents that sync it."`
	Apply       applyCmd       `cmd:"" help:"Show what YAML documents would change, and change it."`
	Export      exportCmd      `cmd:"" help:"Write what is stored as the documents that apply takes."`
	Connections connectionsCmd `cmd:"" help:"Warehouses: list, get, delete, test, setup, tables."`
	Feeds       feedsCmd       `cmd:"" help:"Inputs that syncs write as: list, get, delete."`
	Models      modelsCmd      `cmd:"" help:"Queries with their keys: list, get, delete, preview."`
	Mappings    mappingsCmd    `cmd:"" help:"Rules from columns to fields: list, get, delete."`
	Syncs       syncsCmd       `cmd:"" help:"What runs: list, get, activate, pause, resume, delete."`
	Alerts      alertsCmd      `cmd:"" help:"Who is told of what happens to syncs: list, get, delete, test."`
	Preview     previewCmd     `cmd:"" help:"Show sample rows of a sync, the records they map to and the profiles they would make. Nothing is written."`
	Run         runCmd         `cmd:"" help:"Start a run of a sync."`
	Runs        runsCmd        `cmd:"" help:"Runs: list, get, watch, cancel, retry, batches, parts."`
	Rejects     rejectsCmd     `cmd:"" help:"Rows that became no record: list."`
	Imports     importsCmd     `cmd:"" help:"What syncs brought in: delete."`
	Profiles    profilesCmd    `cmd:"" help:"People: get, events, list."`
	Groups      groupsCmd      `cmd:"" help:"Groups of people, such as companies: get, list, members."`
	Lookups     lookupsCmd     `cmd:"" help:"Lookup tables: get."`
	Events      eventsCmd      `cmd:"" help:"Events that a sync brought in: list."`
	Traces      tracesCmd      `cmd:"" help:"The journeys of batches: list, get, configs."`
	Store       storeCmd       `cmd:"" help:"The platform store: digest."`
	Version     versionCmd     `cmd:"" help:"Say what this binary is."`
}

const description = `Millrace leads rows out of data warehouses into a customer data platform.

Exit codes: 0 done, 1 failed, 2 usage, 3 partially succeeded, 4 not reachable, 5 held.`

// Main runs the command line args (without the program's name) until it is done or ctx ends, and answers the exit code.
func Main(ctx context.Context, args []string, stdio IO) int {
	var cli commands
	s := &session{IO: stdio, flags: &cli.globals}
	defer s.close()
	asked := -1 // kong's own exit, asked for by --help
	parser, err := kong.New(&cli,
		kong.Name("millrace"),
		kong.Description(description),
		kong.Writers(stdio.Out, stdio.Err),
		kong.Exit(func(code int) { asked = code }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: true}),
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Bind(s),
	)
	if err != nil {
		return s.fail(err)
	}
	line, err := parser.Parse(args)
	if asked >= 0 {
		return asked
	}
	if err != nil {
		return s.fail(usage(parser, err))
	}
	return s.fail(line.Run())
}

// usageError is a command line that can not be understood.
type usageError struct {
	message string
	hint    string
}

func (e *usageError) Error() string { return e.message }

// usage turns a parser's complaint into a usage error that names the help page to read.
func usage(parser *kong.Kong, err error) error {
	hint := parser.Model.Name + " --help"
	var pe *kong.ParseError
	if errors.As(err, &pe) {
		if node := pe.Context.Selected(); node != nil {
			hint = parser.Model.Name + " " + node.Path() + " --help"
		}
	}
	return &usageError{message: err.Error(), hint: "see `" + hint + "`"}
}

// usagef answers a usage error; hint says what to do.
func usagef(hint, format string, args ...any) error {
	return &usageError{message: fmt.Sprintf(format, args...), hint: hint}
}

// exitError ends the process with a code, everything there is to say having been said.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// IO is what a command line is connected to.
type IO struct {
	In       io.Reader
	Out, Err io.Writer
	// Asks says whether a person reads Err and answers on In.
	Asks bool
	// Width answers the columns of the terminal that Err is; nil where Err is none.
	Width func() int
	// Environ looks up an environment variable, as os.LookupEnv does.
	Environ func(name string) (string, bool)
	// Now answers the time, as time.Now does.
	Now func() time.Time
}
