package millrace

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
	"unicode"

	"golang.org/x/term"

	"millrace.dev/pkg/fault"
)

// Standard answers the process's own input, outputs and environment.
func Standard() IO {
	stdio := IO{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Environ: os.LookupEnv, Now: time.Now}
	fd := int(os.Stderr.Fd())
	if term.IsTerminal(fd) {
		stdio.Width = func() int {
			w, _, err := term.GetSize(fd)
			if err != nil || w <= 0 {
				return 80
			}
			return w
		}
		stdio.Asks = term.IsTerminal(int(os.Stdin.Fd()))
	}
	return stdio
}

// session is one command at work. It is for one goroutine.
type session struct {
	IO
	flags *globals
	conn  connection
}

// notef writes one line for people to stderr.
func (s *session) notef(format string, args ...any) {
	fmt.Fprintln(s.Err, visible(fmt.Sprintf(format, args...))) //nolint:errcheck // nowhere left to say it
}

// fail says why a command failed and answers the exit code; nil is done.
func (s *session) fail(err error) int {
	var (
		exit exitError
		bad  *usageError
	)
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &exit):
		return int(exit)
	case errors.As(err, &bad):
		s.notef("millrace: %s; %s", bad.message, bad.hint)
		return exitUsage
	}
	e := fault.As(err)
	if len(e.Violations) > 0 {
		for _, v := range e.Violations {
			s.notef("%s", v)
		}
		s.notef("%d violation(s)", len(e.Violations))
		return exitFailed
	}
	if e.Reason == fault.ReasonServiceUnavailable {
		if !s.conn.reached() {
			s.notef("millrace: no Millrace answers at %s; start one with `millrace up`, or name another with --server or MILLRACE_SERVER (reason: %s)", s.flags.Server, e.Reason.Word())
		} else {
			s.notef("millrace: %s (reason: %s)", e.Message, e.Reason.Word())
		}
		return exitUnreachable
	}
	s.notef("millrace: %s%s", e.Message, particulars(e))
	return exitFailed
}

// particulars answers what an error carries beside its message: reason, field, facts and how long to wait.
func particulars(e *fault.Error) string {
	var parts []string
	if e.Reason != fault.ReasonUnspecified {
		parts = append(parts, "reason: "+e.Reason.Word())
	}
	if e.Field != "" {
		parts = append(parts, "field: "+e.Field)
	}
	for _, k := range sortedKeys(e.Metadata) {
		parts = append(parts, k+": "+e.Metadata[k])
	}
	if e.RetryAfter > 0 {
		parts = append(parts, "try again in "+e.RetryAfter.String())
	}
	if len(parts) == 0 {
		return ""
	}
	return " (" + strings.Join(parts, ", ") + ")"
}

// visible answers text without what a terminal would obey; line ends and tabs stay.
func visible(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			return '�'
		}
		return r
	}, text)
}
