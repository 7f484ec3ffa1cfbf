package console

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"unicode"
	"unicode/utf8"

	"millrace.dev/pkg/fault"
)

// failure is an error as a page shows it.
type failure struct {
	Status     int
	Title      string
	Message    string
	Reason     string
	Violations []fault.Violation
	// Again is whether the page asks again by itself.
	Again bool
	// Stale is whether somebody else has changed what the page shows.
	Stale bool
}

// statusClientClosed is what logs and figures call a request whose client has left; nobody reads it.
const statusClientClosed = 499

func failureOf(err error) failure {
	f := fault.As(fault.FromStatus(err))
	v := failure{Status: http.StatusInternalServerError, Title: "Something went wrong", Message: f.Message, Reason: f.Reason.Word(), Violations: f.Violations}
	switch f.Class {
	case fault.Invalid:
		v.Status, v.Title = http.StatusBadRequest, "This can not be taken as it is"
	case fault.NotFound:
		v.Status, v.Title = http.StatusNotFound, "Not found"
	case fault.Conflict:
		v.Status, v.Title, v.Stale = http.StatusConflict, "It has changed meanwhile", true
		if f.Reason == fault.ReasonAlreadyExists {
			v.Title, v.Stale = "There is one already", false
		}
	case fault.Precondition:
		v.Status, v.Title = http.StatusConflict, "This can not be done now"
	case fault.Denied:
		v.Status, v.Title = http.StatusForbidden, "Not allowed"
	case fault.Throttled:
		v.Status, v.Title, v.Again = http.StatusTooManyRequests, "Too much at once", true
	case fault.Cancelled:
		v.Status, v.Title = statusClientClosed, "Broken off"
	case fault.Unavailable:
		v.Status, v.Title, v.Again = http.StatusServiceUnavailable, "Not reachable now", true
	}
	if f.Class == fault.Internal && f.Reason == fault.ReasonInternal {
		v.Message = "An internal error; the gateway's log has the cause."
	}
	if tooLarge := new(http.MaxBytesError); errors.As(err, &tooLarge) {
		v.Status, v.Title, v.Message = http.StatusRequestEntityTooLarge, "Too large", "What was sent is larger than the gateway takes."
	}
	if n := len(f.Violations); n > 0 {
		v.Message = "One thing is to be mended." // each is told below
		if n > 1 {
			v.Message = fmt.Sprintf("%d things are to be mended.", n)
		}
	}
	v.Message = sentence(v.Message)
	return v
}

// isAway says whether an error is that of a service that can not be reached now: the rest of a page stands without it.
func isAway(err error) bool {
	return err != nil && fault.ClassOf(fault.FromStatus(err)) == fault.Unavailable
}

// sentence begins a message as a sentence does.
func sentence(s string) string {
	first, size := utf8.DecodeRuneInString(s)
	if size == 0 {
		return s
	}
	return string(unicode.ToUpper(first)) + s[size:]
}

// Refuse answers a request that is not heard now, such as one too many, with the page of an error.
func (c *Console) Refuse(w http.ResponseWriter, r *http.Request, err error) {
	policed(w.Header())
	c.fail(r.Context(), w, &request{Request: r, workspace: workspaceOf(r)}, err)
}

// fail answers an error with a page of its own.
func (c *Console) fail(ctx context.Context, w http.ResponseWriter, r *request, err error) {
	if fault.ClassOf(fault.FromStatus(err)) == fault.Internal {
		c.log.ErrorContext(ctx, "a page could not be made", "path", r.Pattern, "error", err)
	}
	told := failureOf(err)
	told.Again = told.Again && r.Method == http.MethodGet
	if told.Again {
		w.Header().Set("Refresh", "3")
	}
	f := frame{Workspace: r.workspace, Title: told.Title, Failure: &told}
	if err := c.render(w, told.Status, "failure", "layout", f); err != nil {
		c.log.ErrorContext(ctx, "the page of an error could not be made", "error", err)
		http.Error(w, told.Message, told.Status)
	}
}

// form reads the values of a posted form.
func (r *request) form() error {
	if err := r.ParseForm(); err != nil {
		return fault.New(fault.Invalid, fault.ReasonInvalidArgument, "the form can not be read: %w", err)
	}
	return nil
}
