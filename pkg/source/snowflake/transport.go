package snowflake

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// maxAnswer bounds an answer of the account that is no chunk of a result.
	maxAnswer = 256 << 20
	// farewell bounds requests that end a session or a statement, which nobody waits for longer.
	farewell = 10 * time.Second
	// roundTrip bounds one request and the reading of its answer.
	roundTrip = 10 * time.Minute
	// maxWaits bounds how often one request waits for a warehouse that asks for it.
	maxWaits = 3
)

var (
	errLinkLocal = errors.New("the address is link-local")
	errTooLarge  = errors.New("the answer is larger than allowed")
	errMalformed = errors.New("the answer is malformed")
)

// transport carries the client's requests: it dials no link-local address, keeps telemetry at home, waits where the
// warehouse asks for it, and notes for the call what the client does not tell.
type transport struct {
	base     *http.Transport
	patience time.Duration
	secure   bool // nothing but https
}

func newTransport(s Settings, secure bool) *transport {
	dialer := &net.Dialer{Timeout: s.ConnectTimeout, KeepAlive: 30 * time.Second, Control: refuseLinkLocal}
	return &transport{patience: s.Patience, secure: secure, base: &http.Transport{
		Proxy: http.ProxyFromEnvironment, DialContext: dialer.DialContext,
		TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: s.Roots},
		TLSHandshakeTimeout: s.ConnectTimeout, ResponseHeaderTimeout: 5 * time.Minute, IdleConnTimeout: time.Minute,
		MaxIdleConnsPerHost: 1 + s.Ahead, DisableCompression: true,
	}}
}

// refuseLinkLocal keeps what a server answers from leading to the metadata service of the machine that this runs on.
func refuseLinkLocal(_, address string, _ syscall.RawConn) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return err //nolint:wrapcheck // seen by the dialer
	}
	if ip := net.ParseIP(host); ip == nil || ip.IsLinkLocalUnicast() || ip.IsMulticast() || ip.IsUnspecified() {
		return errLinkLocal
	}
	return nil
}

// call is what the transport notes about the requests of one call of the driver.
type call struct {
	dial      error         // why no connection was made
	throttled time.Duration // how long the warehouse asks to wait
	tooLarge  bool
	downgrade bool  // an answer led from https to http
	status    int   // the last answer's, where it was no success
	statement int64 // the type of the statement, where noted
	note      bool
}

type callKey struct{}

func withCall(ctx context.Context) (context.Context, *call) {
	c := &call{}
	return context.WithValue(ctx, callKey{}, c), c
}

func callOf(ctx context.Context) *call {
	if c, ok := ctx.Value(callKey{}).(*call); ok {
		return c
	}
	return &call{}
}

// RoundTrip carries one request.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	switch req.URL.Path {
	case "/telemetry/send":
		return answer(req, http.StatusOK, `{"success":true}`), nil
	case "/session", "/queries/v1/abort-request":
		return t.briefly(req), nil
	}
	c := callOf(req.Context())
	if t.secure && req.URL.Scheme != "https" {
		c.downgrade = true
		return answer(req, http.StatusBadRequest, ""), nil
	}
	for waits := 0; ; waits++ {
		resp, err := t.timed(req)
		if err != nil {
			return failed(req, c, err)
		}
		wait, asked := asksToWait(resp)
		if !asked {
			return t.received(req, resp, c)
		}
		_ = resp.Body.Close()
		if wait > t.patience || waits >= maxWaits || req.GetBody == nil && req.ContentLength > 0 {
			c.throttled = max(wait, time.Second)
			return answer(req, http.StatusBadRequest, ""), nil
		}
		if req, err = again(req, wait); err != nil {
			return nil, err
		}
	}
}

// timed carries one request within its bound, which goes on until the answer's body is closed or its context ends.
func (t *transport) timed(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(req.Context(), roundTrip)
	resp, err := t.base.RoundTrip(req.WithContext(ctx))
	if err != nil {
		cancel()
		return nil, err //nolint:wrapcheck // the client looks for it
	}
	resp.Body = &timedBody{ReadCloser: resp.Body, stop: cancel}
	return resp, nil
}

// timedBody ends a request's bound with its answer.
type timedBody struct {
	io.ReadCloser
	stop context.CancelFunc
}

func (b *timedBody) Close() error {
	defer b.stop()
	return b.ReadCloser.Close() //nolint:wrapcheck // as it is
}

// failed answers what became of a request that got no answer. Where no connection can be made the client need not try
// again at once: the call knows why.
func failed(req *http.Request, c *call, err error) (*http.Response, error) {
	var op *net.OpError
	var verify *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	if req.Context().Err() == nil && (errors.As(err, &op) && op.Op == "dial" || errors.As(err, &verify) || errors.As(err, &record) || errors.Is(err, errLinkLocal)) {
		c.dial = err
		return answer(req, http.StatusBadRequest, ""), nil
	}
	return nil, err
}

// asksToWait says for how long a server asks to wait.
func asksToWait(resp *http.Response) (time.Duration, bool) {
	if resp.StatusCode != http.StatusTooManyRequests && resp.StatusCode != http.StatusServiceUnavailable {
		return 0, false
	}
	const maxSeconds = 24 * 60 * 60
	if n, err := strconv.ParseInt(strings.TrimSpace(resp.Header.Get("Retry-After")), 10, 64); err == nil && n >= 0 {
		return time.Duration(min(n, maxSeconds)) * time.Second, true
	}
	return time.Second, true
}

// again answers req as a new request, after a wait.
func again(req *http.Request, wait time.Duration) (*http.Request, error) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-req.Context().Done():
		return nil, req.Context().Err() //nolint:wrapcheck // the client looks for it
	}
	next := req.Clone(req.Context())
	if req.GetBody != nil {
		body, err := req.GetBody()
		if err != nil {
			return nil, err //nolint:wrapcheck // read from memory
		}
		next.Body = body
	}
	return next, nil
}

// received bounds an answer's body, and notes what the call wants to know.
func (t *transport) received(req *http.Request, resp *http.Response, c *call) (*http.Response, error) {
	if resp.StatusCode != http.StatusOK {
		c.status = resp.StatusCode
	}
	if !strings.HasPrefix(req.URL.Path, "/queries/") && !strings.HasPrefix(req.URL.Path, "/session/") {
		return resp, nil // a chunk, which its reader bounds
	}
	resp.Body = &bounded{inner: resp.Body, left: maxAnswer, call: c}
	if !c.note || resp.StatusCode != http.StatusOK || !strings.HasPrefix(req.URL.Path, "/queries/") {
		return resp, nil
	}
	text, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil {
		return nil, err //nolint:wrapcheck // the client tries again
	}
	var said struct {
		Data struct {
			StatementTypeID int64 `json:"statementTypeId"`
		} `json:"data"`
	}
	if json.Unmarshal(text, &said) == nil {
		c.statement = said.Data.StatementTypeID
	}
	resp.Body = io.NopCloser(bytes.NewReader(text))
	return resp, nil
}

// briefly carries a request whose failure changes nothing: the session or statement ends by itself later.
func (t *transport) briefly(req *http.Request) *http.Response {
	ctx, cancel := context.WithTimeout(req.Context(), farewell)
	defer cancel()
	resp, err := t.base.RoundTrip(req.WithContext(ctx))
	if err != nil {
		return answer(req, http.StatusOK, `{"success":true}`)
	}
	defer func() { _ = resp.Body.Close() }()
	const maxFarewell = 1 << 20
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxFarewell))
	if err != nil || resp.StatusCode != http.StatusOK || !json.Valid(text) {
		return answer(req, http.StatusOK, `{"success":true}`)
	}
	return answer(req, http.StatusOK, string(text))
}

// answer is a response of this side.
func answer(req *http.Request, status int, body string) *http.Response {
	return &http.Response{
		Status: http.StatusText(status), StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{},
		Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)), Request: req,
	}
}

// bounded fails a read beyond so many bytes.
type bounded struct {
	inner io.ReadCloser
	left  int64
	call  *call
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		b.call.tooLarge = true
		return 0, errTooLarge
	}
	n, err := b.inner.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err //nolint:wrapcheck // as it is
}

func (b *bounded) Close() error { return b.inner.Close() }
