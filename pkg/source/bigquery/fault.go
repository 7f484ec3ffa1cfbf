package bigquery

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"

	bq "google.golang.org/api/bigquery/v2"
	"google.golang.org/api/googleapi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"millrace.dev/pkg/fault"
)

// stage is what was being done when BigQuery failed.
type stage int

const (
	looking  stage = iota // at a project, data set or table
	checking              // a dry run: nothing is read, so faults are the text's
	running               // a query: faults are of rows
)

// reasons of BigQuery's errors, which decide their class. Texts never do.
const (
	reasonInvalidQuery = "invalidQuery"
	reasonNotFound     = "notFound"
	reasonStopped      = "stopped"
)

// retryable says whether a call may work when it is made again: BigQuery says so, or there was no whole answer.
func retryable(err error) bool {
	if errors.Is(err, context.Canceled) {
		return false
	}
	var g *googleapi.Error
	if errors.As(err, &g) {
		return g.Code >= http.StatusInternalServerError || g.Code == http.StatusTooManyRequests || g.Code == http.StatusRequestTimeout || passing(reasonOf(g))
	}
	if refusedToken(err) || errors.Is(err, errTooLong) || malformed(err) {
		return false
	}
	return true // the network's
}

func unauthorized(err error) bool {
	var g *googleapi.Error
	return errors.As(err, &g) && g.Code == http.StatusUnauthorized
}

// malformed says whether an answer was whole and no JSON of BigQuery's.
func malformed(err error) bool {
	var syntax *json.SyntaxError
	var typ *json.UnmarshalTypeError
	return errors.As(err, &syntax) || errors.As(err, &typ)
}

func passing(reason string) bool {
	switch reason {
	case "backendError", "internalError", "rateLimitExceeded", "jobRateLimitExceeded", "jobBackendError", "jobInternalError", "tableUnavailable":
		return true
	}
	return false
}

func reasonOf(g *googleapi.Error) string {
	if len(g.Errors) == 0 {
		return ""
	}
	return g.Errors[0].Reason
}

// classify answers what an error of the REST API is. shift is how many lines of the driver's own stand before the
// model's; below 0 the statement is not the model's.
func classify(ctx context.Context, err error, at stage, shift int) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fault.As(ctx.Err())
	}
	var own *fault.Error
	if errors.As(err, &own) {
		return own
	}
	var g *googleapi.Error
	if errors.As(err, &g) {
		message := g.Message
		if len(g.Errors) > 0 {
			message = g.Errors[0].Message
		}
		return stated(g.Code, reasonOf(g), message, at, shift)
	}
	return unanswered(err)
}

// unanswered classifies a call without an answer.
func unanswered(err error) error {
	var token *tokenError
	var dns *net.DNSError
	switch {
	case refusedToken(err):
		return fault.New(fault.Denied, fault.ReasonWarehouseDenied, "Google gives no access token for the account; mend bigquery.service_account_key, or enable the account and its key")
	case errors.As(err, &token):
		return fault.New(fault.Unavailable, fault.ReasonWarehouseUnavailable, "no access token could be fetched; check that the extractor reaches the token endpoint")
	case errors.As(err, &dns):
		return fault.New(fault.Unavailable, fault.ReasonWarehouseUnavailable, "BigQuery's address cannot be resolved; check the endpoint, or the resolver")
	case errors.Is(err, errTooLong), malformed(err), errors.Is(err, io.ErrUnexpectedEOF):
		return fault.New(fault.Unavailable, fault.ReasonWarehouseUnavailable, "BigQuery's answer cannot be read; check that the endpoint is BigQuery's")
	}
	return fault.New(fault.Unavailable, fault.ReasonWarehouseUnavailable, "BigQuery cannot be reached or does not answer in time; check the endpoint and the firewall")
}

// failed classifies the error that a job ended with.
func failed(ctx context.Context, e *bq.ErrorProto, shift int) error {
	if ctx.Err() != nil {
		return fault.As(ctx.Err())
	}
	return stated(0, e.Reason, e.Message, running, shift)
}

//nolint:cyclop // one case per reason
func stated(code int, reason, message string, at stage, shift int) error {
	switch reason {
	case "accessDenied", "forbidden", "insufficientPermissions", "policyViolation":
		return denied(at)
	case "billingNotEnabled", "accessNotConfigured", "blocked":
		return fault.New(fault.Denied, fault.ReasonWarehouseDenied, "the project may not run queries (%s); enable BigQuery's API and billing in it", reason)
	case "authError", "required":
		return refused()
	case "rateLimitExceeded", "jobRateLimitExceeded":
		return fault.New(fault.Throttled, fault.ReasonWarehouseThrottled, "BigQuery limits the rate of calls (%s); it is tried again later", reason)
	case "quotaExceeded":
		return fault.New(fault.Throttled, fault.ReasonWarehouseThrottled, "a quota of the project is used up (%s); raise it, or wait until it is renewed", reason)
	case "bytesBilledLimitExceeded":
		return fault.New(fault.Precondition, fault.ReasonLimitExceeded, "the query would be billed for more than bigquery.maximum_bytes_billed; raise it, or read less")
	case "resourcesExceeded", "billingTierLimitExceeded":
		return fault.New(fault.Precondition, fault.ReasonQueryInvalid, "the query needs more than BigQuery gives to one (%s); make it smaller", reason)
	case "responseTooLarge":
		return fault.New(fault.Precondition, fault.ReasonQueryInvalid, "the result is larger than BigQuery keeps in a temporary table; select fewer columns, or read by increments")
	case reasonStopped, "timeout", "jobTimeout":
		return fault.New(fault.Unavailable, fault.ReasonQueryInterrupted, "BigQuery ended the query, by its statement timeout or an administrator; raise bigquery.statement_timeout or make the query cheaper")
	case reasonNotFound:
		return notFound(message, at, shift)
	case reasonInvalidQuery, "invalid", "badRequest", "parseError", "duplicate", "fieldNotFound":
		return badQuery(message, at, shift)
	}
	return coded(code, reason, message, at, shift)
}

// coded classifies by the HTTP status, where the reason is none that is known.
func coded(code int, reason, message string, at stage, shift int) error {
	switch code {
	case http.StatusUnauthorized:
		return refused()
	case http.StatusForbidden:
		return denied(at)
	case http.StatusNotFound:
		return notFound(message, at, shift)
	case http.StatusTooManyRequests:
		return fault.New(fault.Throttled, fault.ReasonWarehouseThrottled, "BigQuery limits the rate of calls; it is tried again later")
	case http.StatusBadRequest:
		return badQuery(message, at, shift)
	}
	return fault.New(fault.Unavailable, fault.ReasonWarehouseUnavailable, "BigQuery cannot answer now (%s); try again", word(reason, code))
}

func word(reason string, code int) string {
	if reason != "" && len(reason) < 64 && !strings.ContainsFunc(reason, func(r rune) bool { return r < 'A' || r > 'z' }) {
		return reason
	}
	return strconv.Itoa(code)
}

func refused() error {
	return fault.New(fault.Denied, fault.ReasonWarehouseDenied, "BigQuery does not take the account's access token; check that the account is of Google Cloud and enabled")
}

func denied(at stage) error {
	if at == looking {
		return fault.New(fault.Denied, fault.ReasonWarehouseDenied, "the account may not look at it; grant it roles/bigquery.dataViewer on the data set")
	}
	return fault.New(fault.Denied, fault.ReasonWarehouseDenied, "the account may not run the query; grant it roles/bigquery.jobUser and readSessionUser on the project and dataViewer on each data set it reads (millrace connections setup prints how)")
}

func notFound(message string, at stage, shift int) error {
	if at == looking || shift < 0 {
		return fault.New(fault.NotFound, fault.ReasonNotFound, "BigQuery knows no such project, data set or table at the connection's location; mend bigquery.project_id, dataset_id or location")
	}
	return invalid("%s%s", line(message, shift), plain(message))
}

// badQuery says what BigQuery says of a query's text. What it says of rows may hold their values and is not shown.
func badQuery(message string, at stage, shift int) error {
	if at != running {
		return invalid("%s%s", line(message, shift), plain(message))
	}
	return fault.New(fault.Precondition, fault.ReasonQueryInvalid, "%sthe query fails on a row, such as by a cast or a division; mend the row, or use SAFE_CAST and the like", line(message, shift))
}

//nolint:gochecknoglobals // compiled once, never changed
var (
	position = regexp.MustCompile(` ?(?:at )?\[(\d{1,7}):\d{1,7}\]`)
	literal  = regexp.MustCompile(`'(?:[^'\\]|\\.)*'?|"(?:[^"\\]|\\.)*"?`)
	value    = regexp.MustCompile(`(?i)\b(literal|value|number)(:?) [^\s…]+`)
)

// line answers where in the model's text a fault is, "" where it is not in it.
func line(message string, shift int) string {
	m := position.FindStringSubmatch(message)
	if m == nil {
		return ""
	}
	if n, err := strconv.Atoi(m[1]); err == nil && n > shift && shift >= 0 {
		return "line " + strconv.Itoa(n-shift) + ": "
	}
	return ""
}

// plain answers BigQuery's text about a query without positions and literals.
func plain(message string) string {
	const most = 500
	text := literal.ReplaceAllString(position.ReplaceAllString(message, ""), "'…'")
	text = strings.Join(strings.Fields(value.ReplaceAllString(text, "$1$2 …")), " ")
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}

// streamFault classifies an error of the Storage Read API. planned says that the stream is a plan's.
func streamFault(ctx context.Context, err error, planned bool) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return fault.As(ctx.Err())
	}
	var own *fault.Error
	if errors.As(err, &own) {
		return own
	}
	switch status.Code(err) {
	case codes.PermissionDenied:
		return fault.New(fault.Denied, fault.ReasonWarehouseDenied, "the account may not read through the Storage Read API; grant it roles/bigquery.readSessionUser on the project")
	case codes.Unauthenticated:
		return refused()
	case codes.ResourceExhausted:
		return fault.New(fault.Throttled, fault.ReasonWarehouseThrottled, "BigQuery limits what is read through the Storage Read API; it is tried again later")
	case codes.NotFound, codes.FailedPrecondition, codes.InvalidArgument, codes.OutOfRange:
		if planned {
			return gone()
		}
	}
	return fault.New(fault.Unavailable, fault.ReasonWarehouseUnavailable, "BigQuery's stream broke off (%s) and could not be resumed; try again", status.Code(err))
}

// resumable says whether a stream may go on where it broke off.
func resumable(err error) bool {
	var own *fault.Error // what came was no stream of BigQuery's
	if errors.As(err, &own) {
		return false
	}
	switch status.Code(err) {
	case codes.Unavailable, codes.Internal, codes.Aborted, codes.DeadlineExceeded, codes.ResourceExhausted, codes.Unknown, codes.Canceled:
		return true
	}
	return false
}

func gone() error {
	return fault.New(fault.Unavailable, fault.ReasonSourceChanged, "the result that the run was planned on has expired in BigQuery; the run is planned again")
}
