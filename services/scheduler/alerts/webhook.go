package alerts

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"strconv"
	"syscall"
	"time"

	"millrace.dev/pkg/fault"
)

const (
	connectTime = 5 * time.Second
	maxHeaders  = 32 << 10 // bytes of an answer's headers; its body is not read
	minWait     = time.Second
	maxWait     = time.Hour
)

// Webhooks posts messages. Safe for concurrent use.
type Webhooks struct{ client *http.Client }

// NewWebhooks answers a sender. It follows no redirects and no proxy, keeps no connections, and dials loopback and private
// addresses only where `private` says.
func NewWebhooks(private bool) *Webhooks {
	dialer := &net.Dialer{Timeout: connectTime, Control: guard(private)}
	return &Webhooks{client: &http.Client{
		Transport: &http.Transport{
			DialContext: dialer.DialContext, TLSHandshakeTimeout: connectTime, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12},
			DisableKeepAlives: true, DisableCompression: true, MaxResponseHeaderBytes: maxHeaders,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Send posts a body to an address, signed with key, and answers nil once the receiver has answered 2xx. The class of an
// error is NotFound where the receiver says that it is gone for good; any other may go away. Errors show the address's
// host at most, and nothing that the receiver wrote.
func (w *Webhooks) Send(ctx context.Context, address string, key []byte, id string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return fault.New(fault.Invalid, fault.ReasonInvalidArgument, "the webhook's URL is none that can be posted to; mend webhook.url")
	}
	now := time.Now()
	req.Header = http.Header{
		"Content-Type": {"application/json"}, "User-Agent": {"Millrace"}, "Idempotency-Key": {id},
		http.CanonicalHeaderKey(headerID): {id}, http.CanonicalHeaderKey(headerTimestamp): {timestamp(now)},
		http.CanonicalHeaderKey(headerSignature): {sign(key, id, now, body)},
	}
	res, err := w.client.Do(req) //nolint:gosec // the address is the owner's; guard judges where it leads
	if err != nil {
		return unreachable(ctx, req.URL.Host, err)
	}
	defer func() { _ = res.Body.Close() }()
	return judgeStatus(req.URL.Host, res)
}

// judgeStatus answers nil for 2xx.
func judgeStatus(host string, res *http.Response) error {
	class, what := fault.Unavailable, "it is tried again"
	switch {
	case res.StatusCode >= 200 && res.StatusCode < 300:
		return nil
	case res.StatusCode >= 300 && res.StatusCode < 400:
		what = "redirects are not followed: name the address that it leads to in webhook.url"
	case res.StatusCode == http.StatusGone:
		class, what = fault.NotFound, "it wants no more: remove the webhook, or name another"
	case res.StatusCode == http.StatusUnauthorized || res.StatusCode == http.StatusForbidden:
		what = "check webhook.secret, and that the receiver verifies by it"
	case res.StatusCode == http.StatusNotFound || res.StatusCode == http.StatusMethodNotAllowed:
		what = "check the path of webhook.url"
	}
	return fault.New(class, fault.ReasonServiceUnavailable, "%s answered %d; %s", host, res.StatusCode, what).
		WithRetry(retryAfter(res.Header.Get("Retry-After"), time.Now()))
}

// retryAfter reads how long a receiver asks to wait, within bounds; 0 where it does not.
func retryAfter(text string, now time.Time) time.Duration {
	if text == "" {
		return 0
	}
	wait := time.Duration(0)
	if n, err := strconv.ParseInt(text, 10, 32); err == nil {
		wait = time.Duration(n) * time.Second
	} else if at, err := http.ParseTime(text); err == nil {
		wait = at.Sub(now)
	} else {
		return 0
	}
	return min(max(wait, minWait), maxWait)
}

// unreachable says in words why no answer came. The client's own text has the whole address in it.
func unreachable(ctx context.Context, host string, err error) error {
	say := func(what string) error {
		return fault.New(fault.Unavailable, fault.ReasonServiceUnavailable, "%s %s", host, what)
	}
	var (
		name *net.DNSError
		cert *tls.CertificateVerificationError
		head tls.RecordHeaderError
	)
	switch {
	case errors.Is(err, errNeverAddress):
		return say("leads to a link-local, multicast or unspecified address or one of a metadata service, which alerts never go to; name another host in webhook.url")
	case errors.Is(err, errPrivateAddress):
		return say("leads to this machine or a private network; the operator allows that by --scheduler-alerts-private")
	case errors.As(err, &name):
		return say("is a name that cannot be looked up; check webhook.url")
	case errors.As(err, &cert):
		return say("has a certificate that is not trusted, not of this name or out of date; mend it")
	case errors.Is(err, http.ErrSchemeMismatch), errors.As(err, &head):
		return say("does not speak TLS there; check the scheme and port of webhook.url")
	case errors.Is(err, syscall.ECONNREFUSED):
		return say("refuses the connection; check that the receiver runs")
	case ctx.Err() != nil, isTimeout(err):
		return say("does not answer in time")
	}
	return say("cannot be reached, or ended the connection before it answered")
}

func isTimeout(err error) bool {
	var t net.Error
	return errors.As(err, &t) && t.Timeout()
}
