package sharing

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"millrace.dev/pkg/fault"
)

// maxRetryAfter bounds how long a server may ask to wait.
const maxRetryAfter = time.Hour

// Details of a fault: the step of a connection test that it ends, the server's own code, and what became of a file's link.
const (
	stepKey     = "step"
	codeKey     = "code"
	linkKey     = "link"
	linkRefused = "refused"
)

func invalid(text string) error {
	return fault.New(fault.Invalid, fault.ReasonInvalidArgument, "%s", text)
}

func queryInvalid(format string, args ...any) *fault.Error {
	return fault.New(fault.Invalid, fault.ReasonQueryInvalid, format, args...)
}

func unavailable(format string, args ...any) *fault.Error {
	return fault.New(fault.Unavailable, fault.ReasonWarehouseUnavailable, format, args...)
}

func interrupted(format string, args ...any) *fault.Error {
	return fault.New(fault.Unavailable, fault.ReasonQueryInterrupted, format, args...)
}

func changed(format string, args ...any) *fault.Error {
	return fault.New(fault.Unavailable, fault.ReasonSourceChanged, format+"; the run is planned again", args...)
}

func malformed(what string) *fault.Error {
	return unavailable("%s is malformed; it is asked for again", what)
}

// dialFault classifies what a request ended with. The end of ctx is the caller's.
func dialFault(ctx context.Context, err error) error {
	var own *fault.Error
	switch {
	case ctx.Err() != nil:
		return fault.As(ctx.Err())
	case errors.As(err, &own):
		return own
	}
	switch stageOf(err) {
	case stepResolve:
		return unavailable("the profile's endpoint, or a file's host, has no address; mend the resolver").With(stepKey, stepResolve)
	case stepTLS:
		return fault.New(fault.Denied, fault.ReasonWarehouseDenied, "there is no trusted TLS: the certificate is not of the host, or a proxy stands between").With(stepKey, stepTLS)
	case stepConnect:
		return unavailable("the sharing server, or the store of its files, cannot be reached: %s; check the firewall", reasonOf(err)).With(stepKey, stepConnect)
	}
	return unavailable("the connection was lost (%s); try again", reasonOf(err))
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
		return stepResolve
	case errors.As(err, &record), errors.As(err, &verify), errors.As(err, &unknown), errors.As(err, &alert):
		return stepTLS
	case errors.As(err, &op) && op.Op == "dial":
		return stepConnect
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

// busy answers the fault of an answer that asks to wait, nil for any other.
func busy(resp *http.Response) error {
	if resp.StatusCode != http.StatusTooManyRequests && resp.StatusCode != http.StatusServiceUnavailable {
		return nil
	}
	f := fault.New(fault.Throttled, fault.ReasonWarehouseThrottled, "the sharing server, or the store of its files, asks to wait (HTTP %d); it is tried again", resp.StatusCode)
	return f.WithRetry(retryAfter(resp.Header.Get("Retry-After")))
}

// maxErrorBody bounds what is read of an answer that is an error.
const maxErrorBody = 64 << 10

//nolint:gochecknoglobals // compiled once, never changed
var (
	wordCode  = regexp.MustCompile(`^[A-Z][A-Z0-9_]{2,80}$`)
	innerCode = regexp.MustCompile(`\bDS_[A-Z][A-Z0-9_]{2,80}\b`)
)

// codeOf answers the code of an error's body, and the reason that a server of Databricks writes into its message. The rest
// of the message, which may hold anything, goes nowhere.
func codeOf(body io.Reader) string {
	text, _ := io.ReadAll(io.LimitReader(body, maxErrorBody)) // what came of it
	var e struct{ ErrorCode, Message string }
	if json.Unmarshal(text, &e) != nil {
		return ""
	}
	if inner := innerCode.FindString(e.Message); inner != "" {
		return inner
	}
	if wordCode.MatchString(e.ErrorCode) {
		return e.ErrorCode
	}
	return ""
}

// statusFault classifies an answer of the server that is not 200; what names the thing that was asked for.
func statusFault(resp *http.Response, what string) error {
	if err := busy(resp); err != nil {
		return err
	}
	code := codeOf(resp.Body)
	said := "HTTP " + strconv.Itoa(resp.StatusCode)
	if code != "" {
		said += " " + code
	}
	switch resp.StatusCode {
	case http.StatusUnauthorized:
		return fault.New(fault.Denied, fault.ReasonWarehouseDenied, "the sharing server refuses the profile's token (%s); have the provider rotate it, and give delta_sharing.profile the new file", said).With(stepKey, stepAuthenticate)
	case http.StatusForbidden:
		return fault.New(fault.Denied, fault.ReasonWarehouseDenied, "the sharing server forbids %s (%s); have the provider grant the share to the recipient, or allow the extractor's address", what, said).With(codeKey, code)
	case http.StatusNotFound:
		return fault.New(fault.NotFound, fault.ReasonNotFound, "there is no %s (%s); mend the name, or have the provider share it", what, said).With(codeKey, code)
	}
	if f := unsupported(code, what); f != nil {
		return f
	}
	if resp.StatusCode >= http.StatusBadRequest && resp.StatusCode < http.StatusInternalServerError && resp.StatusCode != http.StatusRequestTimeout {
		return fault.New(fault.Precondition, fault.ReasonQueryInvalid, "the sharing server refuses %s (%s)", what, said).With(codeKey, code)
	}
	return unavailable("the sharing server cannot answer for %s now (%s); try again", what, said)
}

// unsupported answers the fault of a code by which a server says that a table needs a richer client, nil for any other.
func unsupported(code, what string) error {
	switch {
	case !strings.HasPrefix(code, "DS_"):
		return nil
	case strings.Contains(code, "VIEW"):
		return viewFault(what)
	case strings.Contains(code, "UNSUPPORTED"):
		return queryInvalid("%s uses features of Delta that the Parquet form of the protocol does not carry (%s); %s", what, code, plainTable)
	}
	return nil
}

// plainTable is what the provider does to share a table that this client reads.
const plainTable = "have the provider share a table without deletion vectors and column mapping: ALTER TABLE … SET TBLPROPERTIES ('delta.enableDeletionVectors' = 'false'), then REORG TABLE … APPLY (PURGE); or read it through a databricks connection"

func viewFault(what string) error {
	return queryInvalid("%s is a view, and Delta Sharing does not serve views; have the provider share a table, or read the view through a databricks connection", what)
}
