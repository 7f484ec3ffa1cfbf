package postgres

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"regexp"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"millrace.dev/pkg/fault"
)

// Classes of SQLSTATE.
const (
	stateAuthorization = "28"
	stateSyntaxAccess  = "42"
	stateData          = "22"
)

// isGone says whether a snapshot is no longer there.
func isGone(err error) bool {
	var p *pgconn.PgError
	return errors.As(err, &p) && (p.Code == "22023" || p.Code == "42704" || p.Code == "55000")
}

// classify answers err as a fault; sql is what was run, of which the model's own text begins `before` lines down.
func classify(ctx context.Context, err error, sql string, before int) error {
	var p *pgconn.PgError
	var own *fault.Error
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fault.As(ctx.Err())
	case errors.As(err, &own):
		return own
	case errors.As(err, &p):
		return stated(p, line(sql, int(p.Position), before))
	}
	return fault.New(fault.Unavailable, fault.ReasonWarehouseUnavailable, "the connection to the database was lost; try again: %w", err)
}

// line answers "line N: " for a position of sql, counted from 1 in characters, "" where there is none.
func line(sql string, position, before int) string {
	if position <= 0 || sql == "" {
		return ""
	}
	n := 1
	for i, r := range []rune(sql) {
		if i >= position-1 {
			break
		}
		if r == '\n' {
			n++
		}
	}
	if n -= before; n < 1 {
		return ""
	}
	return "line " + strconv.Itoa(n) + ": "
}

func stated(p *pgconn.PgError, at string) error {
	what := redact(p.Message)
	switch {
	case strings.HasPrefix(p.Code, stateAuthorization):
		return fault.New(fault.Denied, fault.ReasonWarehouseDenied, "the database refuses the login; mend user, password, certificate or pg_hba.conf (%s)", p.Code)
	case p.Code == "42501":
		return fault.New(fault.Denied, fault.ReasonWarehouseDenied, "%s%s; grant it to the connection's user", at, what)
	case p.Code == "3D000":
		return fault.New(fault.NotFound, fault.ReasonNotFound, "%s; mend postgres.database", what)
	case p.Code == "53300":
		return fault.New(fault.Throttled, fault.ReasonWarehouseThrottled, "the database has no connection left (53300); raise its max_connections or the user's limit, or end what holds them")
	case p.Code == "57014":
		return fault.New(fault.Unavailable, fault.ReasonQueryInterrupted, "the database ended the query, by its statement timeout or an administrator; raise postgres.statement_timeout or make the query cheaper")
	case interrupts(p.Code):
		return fault.New(fault.Unavailable, fault.ReasonQueryInterrupted, "the database ended the query: %s (%s); it is tried again", what, p.Code)
	case p.Code == "25006":
		return fault.New(fault.Invalid, fault.ReasonQueryInvalid, "%sthe query writes; write one SELECT", at)
	case p.Code == "42601" && strings.Contains(p.Message, "multiple commands"):
		return fault.New(fault.Invalid, fault.ReasonQueryInvalid, "the query is more than one statement; write one SELECT")
	case strings.HasPrefix(p.Code, stateSyntaxAccess), strings.HasPrefix(p.Code, "0A"), strings.HasPrefix(p.Code, "54"):
		return fault.New(fault.Invalid, fault.ReasonQueryInvalid, "%s%s", at, what)
	case strings.HasPrefix(p.Code, stateData):
		return fault.New(fault.Precondition, fault.ReasonQueryInvalid, "%sthe query fails on a row: %s; mend the row, or the query", at, value.ReplaceAllString(what, "…"))
	case strings.HasPrefix(p.Code, "P0"), strings.HasPrefix(p.Code, "2"), strings.HasPrefix(p.Code, "3"):
		return fault.New(fault.Precondition, fault.ReasonQueryInvalid, "%sthe query fails (%s)", at, p.Code)
	}
	// 08 connection, 53 resources, 55 state, 57 intervention, 58 system, XX internal.
	return fault.New(fault.Unavailable, fault.ReasonWarehouseUnavailable, "the database cannot answer now: %s (%s); try again", what, p.Code)
}

// interrupts says whether a server that is up ends a query by such a code: a conflict or a lock, its memory or the space
// for its temporary files, the time of its transaction.
func interrupts(code string) bool {
	switch code {
	case "53200", "53400", "55P03", "25P03", "25P04":
		return true
	}
	return strings.HasPrefix(code, "40")
}

//nolint:gochecknoglobals // compiled once, never changed
var (
	literal = regexp.MustCompile(`'(?:[^']|'')*'?`)
	value   = regexp.MustCompile(`"[^"]*"`)
)

// redact takes literals out of the server's text.
func redact(text string) string {
	return literal.ReplaceAllString(strings.Join(strings.Fields(text), " "), "'…'")
}

// stage is how far a connection came.
type stage int

const (
	resolving stage = iota
	connecting
	securing
	authenticating
	choosing
	connected
)

// stageOf answers the step that failed.
func stageOf(err error) stage {
	var dns *net.DNSError
	var p *pgconn.PgError
	var record tls.RecordHeaderError
	var verify *tls.CertificateVerificationError
	var unknown x509.UnknownAuthorityError
	var alert tls.AlertError
	var op *net.OpError
	switch {
	case err == nil:
		return connected
	case errors.As(err, &dns):
		return resolving
	case errors.As(err, &p) && p.Code == "3D000":
		return choosing
	case errors.As(err, &p):
		return authenticating
	case errors.As(err, &record), errors.As(err, &verify), errors.As(err, &unknown), errors.As(err, &alert), strings.Contains(err.Error(), "refused TLS"):
		return securing
	case errors.As(err, &op) && op.Op == "dial", pgconn.Timeout(err):
		return connecting
	}
	return authenticating
}

// connectFault classifies why there is no connection.
func connectFault(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fault.As(ctx.Err())
	}
	var p *pgconn.PgError
	switch stageOf(err) {
	case resolving:
		return fault.New(fault.Unavailable, fault.ReasonWarehouseUnavailable, "postgres.host has no address; mend the name, or the resolver")
	case securing:
		return fault.New(fault.Denied, fault.ReasonWarehouseDenied, "there is no TLS as sslmode asks for it: the server has none, or its certificate is not what postgres.ca and host say")
	case authenticating, choosing:
		if errors.As(err, &p) {
			return stated(p, "")
		}
		if !unfitting(err) {
			break
		}
		return fault.New(fault.Denied, fault.ReasonWarehouseDenied, "the database asks for a password in a way that the connection's does not fit; mend postgres.password")
	case connecting, connected:
	}
	return fault.New(fault.Unavailable, fault.ReasonWarehouseUnavailable, "the database cannot be reached: %s; check host, port and firewall", reason(err))
}

// unfitting says whether the password exchange failed on this side. What names user and database is not looked at.
func unfitting(err error) bool {
	var own *pgconn.ConnectError
	if errors.As(err, &own) {
		err = own.Unwrap()
	}
	text := err.Error()
	return strings.Contains(text, "password") || strings.Contains(text, "SASL") || strings.Contains(text, "SCRAM")
}

// reason answers why a dial failed, without addresses and names.
func reason(err error) string {
	var op *net.OpError
	if errors.As(err, &op) && op.Err != nil {
		return op.Err.Error()
	}
	if pgconn.Timeout(err) {
		return "no answer in time"
	}
	return "the connection broke off"
}
