package databricks

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"millrace.dev/pkg/fault"
)

// maxRetryAfter bounds how long a warehouse may ask to wait.
const maxRetryAfter = time.Hour

// dialFault classifies what a request ended with.
func dialFault(ctx context.Context, err error) error {
	var own *fault.Error
	switch {
	case ctx.Err() != nil:
		return fault.As(ctx.Err())
	case errors.As(err, &own):
		return own
	}
	switch stageOf(err) {
	case "resolve":
		return unavailable("databricks.host has no address; mend the name, or the resolver").With(stepKey, "resolve")
	case "tls":
		return fault.New(fault.Denied, fault.ReasonWarehouseDenied, "there is no trusted TLS: the certificate is not of databricks.host, or a proxy stands between").With(stepKey, "tls")
	case "connect":
		return unavailable("Databricks cannot be reached: %s; check host, port and firewall", reasonOf(err)).With(stepKey, "connect")
	}
	return unavailable("the connection to the warehouse was lost (%s); try again", reasonOf(err))
}

// stepKey is the detail of a fault that names the step of a connection test.
const stepKey = "step"

func unavailable(format string, args ...any) *fault.Error {
	return fault.New(fault.Unavailable, fault.ReasonWarehouseUnavailable, format, args...)
}

// stageOf answers the step of a connection that failed, "" after it stood.
func stageOf(err error) string {
	var dns *net.DNSError
	var record tls.RecordHeaderError
	var verify *tls.CertificateVerificationError
	var unknown x509.UnknownAuthorityError
	var alert tls.AlertError
	var op *net.OpError
	switch {
	case errors.As(err, &dns):
		return "resolve"
	case errors.As(err, &record), errors.As(err, &verify), errors.As(err, &unknown), errors.As(err, &alert):
		return "tls"
	case errors.As(err, &op) && op.Op == "dial":
		return "connect"
	}
	return ""
}

// reasonOf answers why a request failed, without addresses.
func reasonOf(err error) string {
	var op *net.OpError
	var timeout net.Error
	switch {
	case errors.As(err, &op) && op.Err != nil:
		return op.Err.Error()
	case errors.As(err, &timeout) && timeout.Timeout(), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return "no answer in time"
	}
	return "it broke off"
}

// statusFault classifies an answer that is not 200.
func statusFault(resp *http.Response) error {
	switch code := resp.StatusCode; code {
	case http.StatusUnauthorized:
		return fault.New(fault.Denied, fault.ReasonWarehouseDenied, "Databricks refuses the credentials (HTTP 401); mend databricks.token, or client_id and client_secret").With(stepKey, "authenticate")
	case http.StatusForbidden:
		return fault.New(fault.Denied, fault.ReasonWarehouseDenied, "Databricks forbids the access (HTTP 403); mend the credentials, grant CAN USE on the warehouse, or allow the extractor's address").With(stepKey, "authenticate")
	case http.StatusNotFound:
		return fault.New(fault.NotFound, fault.ReasonNotFound, "there is no such warehouse (HTTP 404); mend databricks.http_path or warehouse_id").With(stepKey, "warehouse")
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		f := fault.New(fault.Throttled, fault.ReasonWarehouseThrottled, "the warehouse asks to wait (HTTP %d); it is tried again", code)
		return f.WithRetry(retryAfter(resp.Header.Get("Retry-After"))).With(stepKey, "warehouse")
	default:
		return unavailable("the warehouse cannot answer now (HTTP %d); try again", code).With(stepKey, "warehouse")
	}
}

// retryAfter reads a header of seconds or of a date, within bounds; 0 where it says nothing.
func retryAfter(header string) time.Duration {
	if n, err := strconv.ParseInt(strings.TrimSpace(header), 10, 64); err == nil {
		return time.Duration(min(max(n, 0), int64(maxRetryAfter/time.Second))) * time.Second
	}
	if at, err := http.ParseTime(header); err == nil {
		return min(max(time.Until(at), 0), maxRetryAfter)
	}
	return 0
}

func timedOut() *fault.Error {
	return fault.New(fault.Unavailable, fault.ReasonQueryInterrupted, "the warehouse ended the query by its statement timeout; raise databricks.statement_timeout or make the query cheaper")
}

// stated classifies a fault that the warehouse states, by its SQLSTATE; of the text it keeps the error condition.
func stated(state, text string) *fault.Error {
	f := classified(state, text)
	if c := condition.FindStringSubmatch(text); c != nil {
		f = f.With(conditionKey, c[1])
	}
	return f
}

// classified answers the fault of a SQLSTATE; the text serves its readers only.
func classified(state, text string) *fault.Error {
	what := describe(text)
	if what == "" {
		what = "SQLSTATE " + state
	}
	at := line(text)
	switch in := func(classes ...string) bool { return slices.Contains(classes, state[:min(2, len(state))]) }; {
	case state == "42501", in("28"):
		return fault.New(fault.Denied, fault.ReasonWarehouseDenied, "%s%s; grant it to the connection's principal", at, what)
	case state == "HYT00", state == "57KD0", state == "57014":
		return timedOut()
	case state == "08KD1":
		return fault.New(fault.Throttled, fault.ReasonWarehouseThrottled, "the warehouse is busy: %s; it is tried again", what)
	case in("KD"):
		return ofData(state, what).With(stateKey, state)
	case in("07", "0A", "0B", "0K", "0N", "0Z", "10", "21", "42", "54"):
		return fault.New(fault.Invalid, fault.ReasonQueryInvalid, "%s%s", at, what).With(stateKey, state)
	case in("22", "23"):
		return fault.New(fault.Precondition, fault.ReasonQueryInvalid, "%sthe query fails on a row: %s; mend the row, or the query", at, what).With(stateKey, state)
	case in("40", "53", "57"), state == "55006", state == "HY008", state == "XX000", state == "XXKD0":
		return fault.New(fault.Unavailable, fault.ReasonQueryInterrupted, "the warehouse ended the query: %s; it is tried again", what)
	case in("55"), state == "56038", strings.HasPrefix(state, "2"), strings.HasPrefix(state, "3"), in("P0"):
		return fault.New(fault.Precondition, fault.ReasonQueryInvalid, "%sthe query fails: %s", at, what).With(stateKey, state)
	}
	// 08 connection, 56 and 58 system, XX internal, none.
	return unavailable("the warehouse cannot answer now: %s; try again", what)
}

// ofData answers the fault of Databricks' own class KD: of what the warehouse reads, not of the warehouse.
func ofData(state, what string) *fault.Error {
	switch state {
	case "KD007": // the table's signature changed
		return fault.New(fault.Unavailable, fault.ReasonSourceChanged, "a table changed while it was read: %s; the run is planned again", what)
	case "KD002", "KD003", "KD004", "KD005", "KD006", "KD008", "KD009", "KD00A", "KD00B", "KD00C", "KD00D", "KD00E", "KD011":
		return fault.New(fault.Precondition, fault.ReasonQueryInvalid, "a table cannot be read as it is: %s; mend the table, or the query", what)
	}
	// KD000 and KD010, a source behind the warehouse fails; KD001, a file could not be read; what is to come.
	return fault.New(fault.Unavailable, fault.ReasonQueryInterrupted, "what the warehouse reads failed: %s; it is tried again", what)
}

// Details of a fault that the warehouse states.
const (
	stateKey     = "sqlstate"
	conditionKey = "condition"
)

// conditionOf answers the error condition that the warehouse states, "" where it states none.
func conditionOf(err error) string {
	if err == nil {
		return ""
	}
	return fault.As(err).Metadata[conditionKey]
}

//nolint:gochecknoglobals // compiled once, never changed
var (
	condition = regexp.MustCompile(`\[([A-Z][A-Z0-9_.]{2,120})\]`)
	object    = regexp.MustCompile("`(?:[^`]|``)+`(?:\\.`(?:[^`]|``)+`)*")
	position  = regexp.MustCompile(`\bline ([0-9]{1,7})\b`)
)

// describe answers the error's condition and the first object that it names: all of a message that holds no value of the
// data and no literal of the query.
func describe(text string) string {
	c := condition.FindStringSubmatch(text)
	if c == nil {
		return ""
	}
	out := c[1]
	if strings.HasPrefix(out, "CAST_") || strings.HasPrefix(out, "INVALID_") {
		return out // what stands in quotes there may be a value
	}
	if o := object.FindString(text); o != "" && len(o) < 400 {
		out += " " + o
	}
	return out
}

// line answers "line N: " of the model's own text, which begins on the second line of what was run, "" where there is none.
func line(text string) string {
	m := position.FindStringSubmatch(text)
	if m == nil {
		return ""
	}
	n, err := strconv.Atoi(m[1])
	if err != nil || n < 2 {
		return ""
	}
	return "line " + strconv.Itoa(n-1) + ": "
}
