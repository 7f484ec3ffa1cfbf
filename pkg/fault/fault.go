// Package fault holds the errors of Millrace: born classified where they arise, told apart by class and reason, and
// carried over gRPC and back without loss.
//
// A message says what is wrong, where (column, key, line) and what to do. It never holds a secret, an SQL literal or a
// row value.
package fault

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"
)

// Class says who must act, and how.
type Class int

// The classes, each with the gRPC code that it travels as.
const (
	Internal     Class = iota // a defect; few retries, alert (INTERNAL)
	Invalid                   // the user mends the request (INVALID_ARGUMENT)
	NotFound                  // the caller names something else (NOT_FOUND)
	Conflict                  // reload and try again; if fenced, end quietly (ABORTED)
	Precondition              // the owner mends the sync or its source (FAILED_PRECONDITION)
	Denied                    // the owner mends credentials or privileges (PERMISSION_DENIED)
	Throttled                 // wait RetryAfter; no failure (RESOURCE_EXHAUSTED)
	Unavailable               // try again with backoff and the same key (UNAVAILABLE)
	Cancelled                 // the caller gave up (CANCELLED)
)

func (c Class) String() string {
	return [...]string{"internal", "invalid", "not found", "conflict", "precondition", "denied", "throttled", "unavailable", "cancelled"}[c]
}

// Permanent says whether trying again without a change can not help.
func (c Class) Permanent() bool {
	return c == Invalid || c == NotFound || c == Precondition || c == Denied
}

// Error is a classified error. Its zero class is Internal, so that an error nobody classified counts as a defect.
type Error struct {
	Class      Class
	Reason     Reason
	Field      string // the field or column at fault, where there is one
	RetryAfter time.Duration
	Message    string
	Metadata   map[string]string // further facts for programs, such as "run" of RUN_OPEN
	Violations []Violation       // every fault of a request at once
	Err        error             // the cause; for logs, never shown to clients
}

// Violation is one rule that a request or document breaks.
type Violation struct {
	File    string // of a document; empty for API requests
	Line    int    // from 1; 0 where there is no document
	Column  int
	Kind    string // of the resource
	ID      string // of the resource
	Field   string // path of the field
	Message string // what is wrong
	Fix     string // what to do
}

// String has the form `file:line:column kind id field: what; do this`, less what is unknown.
func (v Violation) String() string {
	var b strings.Builder
	if v.File != "" {
		fmt.Fprintf(&b, "%s:%d:%d ", v.File, v.Line, v.Column)
	}
	for _, s := range []string{v.Kind, v.ID} {
		if s != "" {
			b.WriteString(s + " ")
		}
	}
	if v.Field != "" {
		b.WriteString(v.Field)
	}
	head := strings.TrimSuffix(b.String(), " ")
	if head != "" {
		head += ": "
	}
	if v.Fix == "" {
		return head + v.Message
	}
	return head + v.Message + "; " + v.Fix
}

// New answers an error of a class and reason with a formatted message. A %w verb sets the cause.
func New(c Class, r Reason, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Class: c, Reason: r, Message: err.Error(), Err: errors.Unwrap(err)}
}

// Of answers the error of all violations, or nil where there is none.
func Of(r Reason, vs []Violation) error {
	if len(vs) == 0 {
		return nil
	}
	lines := make([]string, 0, len(vs)+1)
	for _, v := range vs {
		lines = append(lines, v.String())
	}
	lines = append(lines, fmt.Sprintf("%d violation(s)", len(vs)))
	return &Error{Class: Invalid, Reason: r, Message: strings.Join(lines, "\n"), Violations: vs}
}

// WithRetry answers a copy of e that asks the caller to wait.
func (e *Error) WithRetry(d time.Duration) *Error {
	c := *e
	c.RetryAfter = d
	return &c
}

// With answers a copy of e with one more fact for programs.
func (e *Error) With(key, value string) *Error {
	c := *e
	c.Metadata = map[string]string{key: value}
	for k, v := range e.Metadata {
		if k != key {
			c.Metadata[k] = v
		}
	}
	return &c
}

func (e *Error) Error() string { return e.Message }

// Unwrap answers the cause.
func (e *Error) Unwrap() error { return e.Err }

// LogValue gives logs what clients do not get: the cause.
func (e *Error) LogValue() slog.Value {
	attrs := []slog.Attr{slog.String("class", e.Class.String()), slog.String("reason", e.Reason.Word()), slog.String("message", e.Message)}
	if e.Err != nil {
		attrs = append(attrs, slog.String("cause", e.Err.Error()))
	}
	return slog.GroupValue(attrs...)
}

// As answers the classified error in err's chain. One that nobody classified counts as Internal; a context's end as
// Cancelled or Unavailable. It answers nil for nil.
func As(err error) *Error {
	if err == nil {
		return nil
	}
	var e *Error
	switch {
	case errors.As(err, &e):
		return e
	case errors.Is(err, context.Canceled):
		return &Error{Class: Cancelled, Reason: ReasonCancelled, Message: "cancelled", Err: err}
	case errors.Is(err, context.DeadlineExceeded):
		return &Error{Class: Unavailable, Reason: ReasonServiceUnavailable, Message: "the time allowed ran out; try again", Err: err}
	}
	return &Error{Class: Internal, Reason: ReasonInternal, Message: err.Error(), Err: err}
}

// ClassOf answers the class of err, Internal where nobody classified it.
func ClassOf(err error) Class {
	if err == nil {
		return Internal
	}
	return As(err).Class
}

// ReasonOf answers the reason of err.
func ReasonOf(err error) Reason {
	if err == nil {
		return ReasonUnspecified
	}
	return As(err).Reason
}
