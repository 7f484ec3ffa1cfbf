package databricks

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/source/databricks/thriftwire"
)

const (
	// closeWait bounds the calls that end a statement or session after their reader is gone.
	closeWait = 20 * time.Second
	// pollWait is how much longer a question for a statement's state may take then: the client cancels the statement once
	// it is answered.
	pollWait = 2 * time.Second
)

// errOutside refuses what the client would send elsewhere: telemetry and feature flags.
var errOutside = errors.New("not a call to the configured warehouse")

// errClosed answers the end of a session. The client never closes the body of a session's last answer, and a goroutine of
// the HTTP client would wait for that; without an answer there is none.
var errClosed = errors.New("the session is closed")

// gate is all that the client of one session sees of the network.
type gate struct {
	base     http.RoundTripper
	url      url.URL
	tokens   tokens
	settings Settings
	life     context.Context //nolint:containedctx // ends what the client sends detached from its caller

	mu       sync.Mutex
	fault    *fault.Error    // the first since the statement began
	complete bool            // the last page was seen
	offset   int64           // where the next page begins
	empty    int             // pages without rows, one after the other
	rows     []int64         // how many rows each stream to come has, -1 where unknown
	links    map[string]bool // result files that the warehouse has named
	refused  int             // requests that were let through to nowhere
}

// begin forgets what was seen of an earlier statement.
func (g *gate) begin() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.fault, g.complete, g.rows, g.links, g.offset, g.empty = nil, false, nil, map[string]bool{}, 0, 0
}

// seen answers the first fault since begin.
func (g *gate) seen() *fault.Error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.fault
}

// fail keeps the first fault and answers err.
func (g *gate) fail(err error) error {
	if err == nil {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if f := fault.As(err); g.fault == nil && f.Class != fault.Cancelled {
		g.fault = f
	}
	return err
}

// RoundTrip lets calls to the warehouse and downloads of its result files through.
func (g *gate) RoundTrip(req *http.Request) (*http.Response, error) {
	switch {
	case req.Method == http.MethodPost && req.URL.Scheme == g.url.Scheme && req.URL.Host == g.url.Host && req.URL.Path == g.url.Path:
		resp, err := g.call(req)
		if errors.Is(err, errClosed) {
			return nil, err
		}
		return resp, g.fail(err)
	case req.Method == http.MethodGet && g.takeLink(req.URL.String()):
		resp, err := g.download(req)
		return resp, g.fail(err)
	}
	g.mu.Lock()
	g.refused++
	g.mu.Unlock()
	return nil, errOutside
}

func (g *gate) takeLink(u string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	known := g.links[u]
	delete(g.links, u)
	return known
}

// context answers the context of a request. What ends a statement outlives its reader.
func (g *gate) context(req context.Context, name string) (context.Context, context.CancelFunc) {
	end := func(cancel func()) { cancel() }
	switch name {
	case "CancelOperation", "CloseOperation", "CloseSession":
		return context.WithTimeout(context.WithoutCancel(req), closeWait)
	case "GetOperationStatus":
		end = func(cancel func()) { time.AfterFunc(pollWait, cancel) }
	}
	ctx, cancel := context.WithTimeout(req, g.settings.ReplyTimeout)
	stop := context.AfterFunc(g.life, func() { end(cancel) })
	return ctx, func() { stop(); cancel() }
}

// call posts a Thrift message and answers the reply once it is whole and has what the client relies on.
func (g *gate) call(req *http.Request) (*http.Response, error) {
	var body []byte
	if req.Body != nil {
		var err error
		body, err = io.ReadAll(req.Body)
		_ = req.Body.Close()
		if err != nil {
			return nil, err //nolint:wrapcheck // the client's own
		}
	}
	name, seq := thriftwire.Head(body)
	ctx, cancel := g.context(req.Context(), name)
	defer cancel()
	resp, err := g.send(ctx, req, body)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	reply, err := io.ReadAll(io.LimitReader(resp.Body, g.settings.MaxReply+1))
	switch {
	case err != nil:
		return nil, dialFault(g.cause(ctx), err)
	case int64(len(reply)) > g.settings.MaxReply:
		return nil, fault.New(fault.Unavailable, fault.ReasonWarehouseUnavailable, "the warehouse's answer is longer than %d bytes", g.settings.MaxReply)
	}
	if err := g.learn(name, seq, reply); err != nil {
		return nil, err
	}
	if name == "CloseSession" {
		return nil, errClosed
	}
	resp.Body = io.NopCloser(bytes.NewReader(reply))
	return resp, nil
}

// send posts body with a token, and once more with a new one where that has expired.
func (g *gate) send(ctx context.Context, req *http.Request, body []byte) (*http.Response, error) {
	refused := ""
	for {
		token, err := g.tokens.token(ctx, refused)
		if err != nil {
			return nil, err
		}
		again := req.Clone(ctx)
		again.Body, again.ContentLength, again.GetBody = io.NopCloser(bytes.NewReader(body)), int64(len(body)), nil
		again.Header.Set("Authorization", "Bearer "+token)
		resp, err := g.base.RoundTrip(again)
		if err != nil {
			return nil, dialFault(g.cause(ctx), err)
		}
		if resp.StatusCode == http.StatusOK {
			return resp, nil
		}
		drop(resp)
		if refused != "" || !g.expired(resp.StatusCode) {
			return nil, statusFault(resp)
		}
		refused = token
	}
}

// expired says whether a status may mean that a token has expired and another can be had.
func (g *gate) expired(status int) bool {
	_, renewed := g.tokens.(*servicePrincipal)
	return status == http.StatusUnauthorized || status == http.StatusForbidden && renewed
}

// cause answers the context whose end is the reader's, not a time-out of ours.
func (g *gate) cause(ctx context.Context) context.Context {
	if g.life.Err() != nil {
		return g.life
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return context.WithoutCancel(ctx)
	}
	return ctx
}

const maxDropped = 64 << 10

// drop reads a body that nobody wants, so that its connection can be used again.
func drop(resp *http.Response) {
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxDropped))
	_ = resp.Body.Close()
}

// download gets a result file, without credentials: its link has its own.
func (g *gate) download(req *http.Request) (*http.Response, error) {
	ctx, cancel := g.context(req.Context(), "")
	resp, err := g.base.RoundTrip(req.Clone(ctx))
	if err != nil {
		cancel()
		return nil, dialFault(g.cause(ctx), err)
	}
	if resp.StatusCode != http.StatusOK {
		drop(resp)
		cancel()
		switch resp.StatusCode {
		case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusGone:
			return nil, fault.New(fault.Unavailable, fault.ReasonQueryInterrupted, "the link to a result file has expired or is refused (HTTP %d); the part is read again", resp.StatusCode)
		}
		return nil, statusFault(resp)
	}
	resp.Body = &bounded{ReadCloser: resp.Body, gate: g, ctx: ctx, cancel: cancel, left: g.settings.MaxReply}
	return resp, nil
}

// bounded is the body of a result file.
type bounded struct {
	io.ReadCloser
	gate   *gate
	ctx    context.Context //nolint:containedctx // of the request
	cancel context.CancelFunc
	left   int64
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, b.gate.fail(fault.New(fault.Unavailable, fault.ReasonWarehouseUnavailable, "a result file is longer than %d bytes", b.gate.settings.MaxReply))
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return n, b.gate.fail(dialFault(b.gate.cause(b.ctx), err))
	}
	return n, err //nolint:wrapcheck // io.EOF
}

func (b *bounded) Close() error {
	defer b.cancel()
	return b.ReadCloser.Close() //nolint:wrapcheck // nothing reads it
}
