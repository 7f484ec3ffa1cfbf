package redshift

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
	return unavailable("the connection to the warehouse was lost; try again")
}

func unavailable(format string, args ...any) *fault.Error {
	return fault.New(fault.Unavailable, fault.ReasonWarehouseUnavailable, format, args...)
}

func errColumns() error {
	return changed("the result has other columns than were described")
}

func changed(format string, args ...any) *fault.Error {
	return fault.New(fault.Unavailable, fault.ReasonSourceChanged, format+"; the run is planned again", args...)
}

// line answers "line N: " for a position of sql, counted from 1 in characters, "" where there is none.
func line(sql string, position, before int) string {
	runes := []rune(sql)
	if position <= 0 || position > len(runes) {
		return ""
	}
	n := 1 + strings.Count(string(runes[:position-1]), "\n") - before
	if n < 1 {
		return ""
	}
	return "line " + strconv.Itoa(n) + ": "
}

// stated classifies what the warehouse states, by its code.
func stated(p *pgconn.PgError, at string) error {
	what := redact(p.Message)
	class := ""
	if len(p.Code) == 5 {
		class = p.Code[:2]
	}
	switch {
	case class == "28":
		return fault.New(fault.Denied, fault.ReasonWarehouseDenied, "the warehouse refuses the login; mend user and password, or what IAM grants (%s)", p.Code)
	case p.Code == "42501":
		return fault.New(fault.Denied, fault.ReasonWarehouseDenied, "%s%s; grant it to the connection's user", at, what)
	case p.Code == "3D000":
		return fault.New(fault.NotFound, fault.ReasonNotFound, "%s; mend redshift.database", what)
	case p.Code == "53300":
		return fault.New(fault.Throttled, fault.ReasonWarehouseThrottled, "the warehouse has no connection left (53300); raise the user's CONNECTION LIMIT, or end what holds them")
	case p.Code == "57014":
		return fault.New(fault.Unavailable, fault.ReasonQueryInterrupted, "the warehouse ended the query, by its statement timeout, a rule of workload management or an administrator; raise redshift.statement_timeout or make the query cheaper")
	case interrupts(p.Code):
		return fault.New(fault.Unavailable, fault.ReasonQueryInterrupted, "the warehouse ended the query: %s (%s); it is tried again", what, p.Code)
	case p.Code == "25006":
		return fault.New(fault.Invalid, fault.ReasonQueryInvalid, "%sthe query writes; write one SELECT", at)
	case p.Code == "42601" && strings.Contains(p.Message, "multiple commands"):
		return fault.New(fault.Invalid, fault.ReasonQueryInvalid, "the query is more than one statement; write one SELECT")
	case class == "42", class == "0A", class == "54":
		return fault.New(fault.Invalid, fault.ReasonQueryInvalid, "%s%s", at, what)
	case class == "22":
		return fault.New(fault.Precondition, fault.ReasonQueryInvalid, "%sthe query fails on a row: %s; mend the row, or the query", at, value.ReplaceAllString(what, "…"))
	case strings.HasPrefix(class, "P"), strings.HasPrefix(class, "2"), strings.HasPrefix(class, "3"):
		return fault.New(fault.Precondition, fault.ReasonQueryInvalid, "%sthe query fails (%s)", at, p.Code)
	}
	return unavailable("the warehouse cannot answer now: %s (%s); try again", value.ReplaceAllString(what, "…"), p.Code)
}

// interrupts says whether a warehouse that is up ends a query by such a code: a conflict with a writer (1023 of Redshift),
// its memory or disk.
func interrupts(code string) bool {
	return code == "53200" || code == "53100" || code == "53400" || code == "55P03" || strings.HasPrefix(code, "40")
}

//nolint:gochecknoglobals // compiled once, never changed
var (
	literal = regexp.MustCompile(`'(?:[^']|'')*'?`)
	value   = regexp.MustCompile(`"[^"]*"`)
)

// redact takes literals out of the warehouse's text.
func redact(text string) string {
	return literal.ReplaceAllString(strings.Join(strings.Fields(text), " "), "'…'")
}

// stages are the steps to a connection, in their order; the last is that there is one.
func stages() []string {
	return []string{"credentials", "resolve", "connect", "tls", "authenticate", "database"}
}

// stageOf answers the step that failed, "" where none did.
func stageOf(err error) string {
	var own *fault.Error
	var dns *net.DNSError
	var p *pgconn.PgError
	var record tls.RecordHeaderError
	var verify *tls.CertificateVerificationError
	var unknown x509.UnknownAuthorityError
	var alert tls.AlertError
	var op *net.OpError
	switch {
	case err == nil:
		return ""
	case errors.As(err, &own):
		return "credentials"
	case errors.As(err, &dns):
		return "resolve"
	case errors.As(err, &p) && p.Code == "3D000":
		return "database"
	case errors.As(err, &p):
		return "authenticate"
	case errors.As(err, &record), errors.As(err, &verify), errors.As(err, &unknown), errors.As(err, &alert), strings.Contains(err.Error(), "refused TLS"):
		return "tls"
	case errors.As(err, &op) && op.Op == "dial", pgconn.Timeout(err):
		return "connect"
	}
	return "authenticate"
}

// connectFault classifies why there is no connection.
func connectFault(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fault.As(ctx.Err())
	}
	var own *fault.Error
	var p *pgconn.PgError
	switch stageOf(err) {
	case "credentials":
		errors.As(err, &own)
		return own
	case "resolve":
		return unavailable("redshift.host has no address; mend the name, or the resolver")
	case "tls":
		return fault.New(fault.Denied, fault.ReasonWarehouseDenied, "there is no TLS as sslmode asks for it: the server has none, or its certificate is not what redshift.ca and host say")
	case "authenticate", "database":
		if errors.As(err, &p) {
			return stated(p, "")
		}
	}
	return unavailable("the warehouse cannot be reached: %s; check host, port, security group and whether it is publicly accessible", reason(err))
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
