package snowflake

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"

	client "github.com/snowflakedb/gosnowflake/v2"

	"millrace.dev/pkg/fault"
)

// Numbers of the warehouse's errors.
const (
	codeSyntax        = 1003
	codeNoObject      = 2003
	codePrivilege     = 3001
	codeNotExecuting  = 605
	codeCancelled     = 604
	codeNoWarehouse   = 606
	codeTimeout       = 630
	codeSuspended     = 90073 // a resource monitor has stopped the warehouse
	codeTimeTravel    = 707
	codeIdentifier    = 904
	codePassword      = 390100
	codeJWT           = 390144
	codeSessionGone   = 390111
	codeExpired       = 390112
	codeMasterExpired = 390114
	codeRole          = 390189
	codeObject        = 390201
	codeNetworkPolicy = 390422
	codeUntracked     = 91930 // changes of a table, or some of them, were not tracked
)

// numberOf answers the number of the client's error, 0 where it has none.
func numberOf(err error) int {
	var own *client.SnowflakeError
	if errors.As(err, &own) {
		return own.Number
	}
	return 0
}

// coded is the fault of an error that the warehouse numbered.
type coded struct {
	fault  *fault.Error
	number int
	state  string
}

func (c *coded) Error() string { return c.fault.Message }
func (c *coded) Unwrap() error { return c.fault }

// codeOf answers the number that the warehouse gave a classified error, 0 where it gave none.
func codeOf(err error) int {
	var c *coded
	if errors.As(err, &c) {
		return c.number
	}
	return 0
}

// isGone says whether the warehouse no longer keeps a snapshot.
func isGone(err error) bool { return codeOf(err) == codeTimeTravel }

// isCompile says whether the warehouse refused a statement before it ran.
func isCompile(err error) bool {
	var c *coded
	return errors.As(err, &c) && (c.number == codeTimeTravel || strings.HasPrefix(c.state, "42") || strings.HasPrefix(c.state, "02") || strings.HasPrefix(c.state, "0A") || c.fault.Class == fault.Invalid)
}

// classify answers the error of a statement as a fault; the model's own text begins `before` lines down.
func classify(ctx context.Context, note *call, err error, before int) error {
	var own *client.SnowflakeError
	var f *fault.Error
	var part *chunkError
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fault.As(ctx.Err())
	case errors.As(err, &f):
		return f
	}
	if f := transported(note, err); f != nil {
		return f
	}
	switch {
	case errors.As(err, &part):
		return fault.New(fault.Unavailable, fault.ReasonQueryInterrupted, "a chunk of the result broke off, or its link has expired; the query is tried again")
	case errors.As(err, &own):
		return &coded{fault: stated(own, before), number: own.Number, state: own.SQLState}
	}
	return fault.New(fault.Unavailable, fault.ReasonWarehouseUnavailable, "the connection to Snowflake was lost (%s); try again", reason(err))
}

// transported answers the fault of what the transport noted, nil where that is nothing.
func transported(note *call, err error) *fault.Error {
	switch {
	case note != nil && note.dial != nil:
		return dialFault(note.dial)
	case note != nil && note.throttled > 0:
		return fault.New(fault.Throttled, fault.ReasonWarehouseThrottled, "Snowflake asks to wait").WithRetry(note.throttled)
	case note != nil && note.downgrade:
		return fault.New(fault.Denied, fault.ReasonWarehouseDenied, "the host leads from https to http, which Snowflake does not; check snowflake.host")
	case note != nil && note.tooLarge, errors.Is(err, errTooLarge):
		return fault.New(fault.Unavailable, fault.ReasonWarehouseUnavailable, "the host answers more than Snowflake would; check snowflake.host")
	case errors.Is(err, errMalformed):
		return fault.New(fault.Unavailable, fault.ReasonWarehouseUnavailable, "the host answers what Snowflake would not; check snowflake.host, or try again")
	}
	return nil
}

// dialFault answers why there is no connection.
func dialFault(err error) *fault.Error {
	switch stageOf(err) {
	case resolving:
		return fault.New(fault.Unavailable, fault.ReasonWarehouseUnavailable, "the account's host has no address; mend snowflake.account, region or host")
	case securing:
		return fault.New(fault.Denied, fault.ReasonWarehouseDenied, "the host's certificate is not one for its name; check snowflake.host, and what stands between")
	}
	if errors.Is(err, errLinkLocal) {
		return fault.New(fault.Denied, fault.ReasonWarehouseDenied, "the host's address is link-local, where no Snowflake is; mend snowflake.host")
	}
	return fault.New(fault.Unavailable, fault.ReasonWarehouseUnavailable, "Snowflake cannot be reached: %s; check snowflake.host and the firewall", reason(err))
}

// reason answers why a dial failed, without addresses and names.
func reason(err error) string {
	var op *net.OpError
	if errors.As(err, &op) && op.Err != nil {
		return op.Err.Error()
	}
	return "the connection broke off"
}

// stated answers the fault of an error that the warehouse or the client numbered.
func stated(e *client.SnowflakeError, before int) *fault.Error {
	at, code := line(e.Message, before), codeText(e.Number)
	switch e.Number {
	case codeIdentifier:
		return fault.New(fault.Invalid, fault.ReasonQueryInvalid, "%sinvalid identifier%s", at, named(e.Message))
	case codeNoObject:
		return fault.New(fault.Invalid, fault.ReasonQueryInvalid, "%sobject%s does not exist, or the role may not see it", at, named(e.Message))
	case codeSyntax:
		return fault.New(fault.Invalid, fault.ReasonQueryInvalid, "%ssyntax error", at)
	case codePrivilege:
		return fault.New(fault.Denied, fault.ReasonWarehouseDenied, "%sthe role lacks a privilege; grant it (millrace connections setup prints how)", at)
	case codeNoWarehouse:
		return fault.New(fault.Precondition, fault.ReasonWarehouseDenied, "no warehouse is active; mend snowflake.warehouse, or grant the role USAGE on it")
	case codeCancelled, codeNotExecuting:
		return fault.New(fault.Unavailable, fault.ReasonQueryInterrupted, "the query was cancelled in Snowflake; it is tried again")
	case codeTimeout:
		return fault.New(fault.Unavailable, fault.ReasonQueryInterrupted, "Snowflake ended the query by its statement timeout; raise snowflake.statement_timeout, or make the query cheaper")
	case codeSuspended:
		return fault.New(fault.Throttled, fault.ReasonWarehouseThrottled, "a resource monitor has stopped the warehouse; raise its quota, or wait for the next interval")
	case codeTimeTravel:
		return fault.New(fault.Unavailable, fault.ReasonSourceChanged, "the snapshot is older than what Snowflake keeps; the run is planned again")
	case codeSessionGone, codeExpired, codeMasterExpired:
		return fault.New(fault.Unavailable, fault.ReasonWarehouseUnavailable, "the session has ended; try again")
	case client.ErrFailedToPostQuery, client.ErrFailedToRenewSession, client.ErrFailedToGetChunk:
		return fault.New(fault.Unavailable, fault.ReasonWarehouseUnavailable, "Snowflake does not answer as it should%s; try again", statusOf(e))
	}
	switch {
	case isSignIn(e.Number):
		return signIn(e)
	case strings.HasPrefix(e.SQLState, "42"), strings.HasPrefix(e.SQLState, "0A"), strings.HasPrefix(e.SQLState, "02"):
		return fault.New(fault.Invalid, fault.ReasonQueryInvalid, "%sSnowflake refuses the query (%s)", at, code)
	case strings.HasPrefix(e.SQLState, "22"):
		return fault.New(fault.Precondition, fault.ReasonQueryInvalid, "%sthe query fails on a row (%s); mend the row, or the query", at, code)
	case strings.HasPrefix(e.SQLState, "2"), strings.HasPrefix(e.SQLState, "P0"):
		return fault.New(fault.Precondition, fault.ReasonQueryInvalid, "%sthe query fails (%s)", at, code)
	}
	return fault.New(fault.Unavailable, fault.ReasonWarehouseUnavailable, "Snowflake cannot answer now (%s); try again", code)
}

// isSignIn says whether an error is about who one is.
func isSignIn(number int) bool {
	const first, last = 390000, 394999
	return number >= first && number <= last
}

// signIn answers the fault of a sign-in that was refused.
func signIn(e *client.SnowflakeError) *fault.Error {
	switch e.Number {
	case codePassword:
		return fault.New(fault.Denied, fault.ReasonWarehouseDenied, "Snowflake refuses the sign-in; mend snowflake.user and its password, or unlock the user")
	case codeJWT:
		return fault.New(fault.Denied, fault.ReasonWarehouseDenied, "Snowflake does not know the key; set RSA_PUBLIC_KEY or RSA_PUBLIC_KEY_2 of the user, and check account, user and this machine's clock")
	case codeRole:
		return fault.New(fault.Denied, fault.ReasonWarehouseDenied, "the role does not exist, or is not granted to the user; mend snowflake.role")
	case codeObject:
		return fault.New(fault.NotFound, fault.ReasonNotFound, "the database, schema or warehouse does not exist, or the role may not use it; mend it, or grant USAGE")
	case codeNetworkPolicy:
		return fault.New(fault.Denied, fault.ReasonWarehouseDenied, "a network policy keeps this address out; allow the extractor's address in it")
	}
	return fault.New(fault.Denied, fault.ReasonWarehouseDenied, "Snowflake refuses the sign-in (%s); mend the credentials", codeText(e.Number))
}

// loginFault classifies why there is no session.
func (s *Source) loginFault(ctx context.Context, note *call, err error) error {
	if ctx.Err() != nil {
		return fault.As(ctx.Err())
	}
	if f := transported(note, err); f != nil {
		return f
	}
	status := 0
	if note != nil {
		status = note.status
	}
	var own *client.SnowflakeError
	switch {
	case status == http.StatusNotFound, status == http.StatusForbidden:
		return fault.New(fault.NotFound, fault.ReasonNotFound, "there is no such account at that address; mend snowflake.account, region or host")
	case status == http.StatusUnauthorized, status == http.StatusBadRequest:
		return fault.New(fault.Denied, fault.ReasonWarehouseDenied, "the sign-in is refused (HTTP %d); mend the credentials", status)
	case errors.As(err, &own) && isSignIn(own.Number):
		return signIn(own)
	case errors.As(err, &own):
		return stated(own, 0)
	}
	return fault.New(fault.Unavailable, fault.ReasonWarehouseUnavailable, "Snowflake does not answer the sign-in (%s); try again", reason(err))
}

// statusOf answers the HTTP status that the client names.
func statusOf(e *client.SnowflakeError) string {
	if len(e.MessageArgs) > 0 {
		if n, ok := e.MessageArgs[0].(int); ok && n >= http.StatusContinue {
			return " (HTTP " + strconv.Itoa(n) + ")"
		}
	}
	return ""
}

func codeText(n int) string {
	const width = 6
	s := strconv.Itoa(n)
	return strings.Repeat("0", max(0, width-len(s))) + s
}

//nolint:gochecknoglobals // compiled once, never changed
var (
	lineNumber = regexp.MustCompile(`\bline (\d{1,6}) at position`)
	object     = regexp.MustCompile(`'((?:[\p{L}\p{N}_$. ]|"[^"'\n]*"){1,255})'`)
)

// line answers "line N: " for a place that the warehouse names in a text, "" where it names none.
func line(text string, before int) string {
	m := lineNumber.FindStringSubmatch(text)
	if m == nil {
		return ""
	}
	n, _ := strconv.Atoi(m[1])
	return lineText(n - before)
}

func lineText(n int) string {
	if n < 1 {
		return ""
	}
	return "line " + strconv.Itoa(n) + ": "
}

// named answers the object that a text of the warehouse names, with a space before it. Only for errors that name one.
func named(text string) string {
	m := object.FindStringSubmatch(text)
	if m == nil {
		return ""
	}
	return " " + m[1]
}

// stage is how far a connection came.
type stage int

const (
	resolving stage = iota
	connecting
	securing
)

// stageOf answers the step that failed.
func stageOf(err error) stage {
	var dns *net.DNSError
	var record tls.RecordHeaderError
	var verify *tls.CertificateVerificationError
	switch {
	case errors.As(err, &dns):
		return resolving
	case errors.As(err, &record), errors.As(err, &verify):
		return securing
	}
	return connecting
}
