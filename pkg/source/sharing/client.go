package sharing

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"millrace.dev/pkg/fault"
)

const (
	idleConnections = 16
	idleTime        = 90 * time.Second
	maxHeaders      = 64 << 10
	maxDropped      = 64 << 10
	maxPages        = 10_000

	capabilities      = "Delta-Sharing-Capabilities"
	askedCapabilities = "responseformat=parquet;includeendstreamaction=true"
	versionHeader     = "Delta-Table-Version"
)

// transportOf answers what dials. The process's proxy settings have no say in it, and redirects are not followed.
func transportOf(s Settings) *http.Transport {
	dialer := &net.Dialer{Timeout: s.ConnectTimeout, KeepAlive: 30 * time.Second}
	return &http.Transport{
		DialContext: dialer.DialContext, TLSHandshakeTimeout: s.ConnectTimeout, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12},
		MaxIdleConnsPerHost: idleConnections, IdleConnTimeout: idleTime, MaxResponseHeaderBytes: maxHeaders, ForceAttemptHTTP2: true,
	}
}

// request is one call to the server.
type request struct {
	what  string   // it asks for, in errors
	path  []string // below the endpoint
	query url.Values
	body  any // nil: GET
	label string
	feed  bool // it asks for changes
}

// call sends r and hands each the answer's body, bounded, with its headers. The body is each's for the call only.
func (s *Source) call(ctx context.Context, r request, each func(http.Header, io.Reader) error) error {
	p, err := s.profile()
	if err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, s.settings.ReplyTimeout)
	defer cancel()
	req, err := r.http(limited, p)
	if err != nil {
		return err
	}
	resp, err := s.transport.RoundTrip(req)
	if err != nil {
		return dialFault(ctx, err)
	}
	defer drop(resp)
	if resp.StatusCode != http.StatusOK {
		return statusFault(resp, r.what)
	}
	body := &bounded{Reader: resp.Body, ctx: ctx, left: s.settings.MaxReply}
	return each(resp.Header, body)
}

func (r request) http(ctx context.Context, p profile) (*http.Request, error) {
	method, body := http.MethodGet, io.Reader(nil)
	if r.body != nil {
		text, err := json.Marshal(r.body)
		if err != nil {
			return nil, fault.New(fault.Internal, fault.ReasonInternal, "a request cannot be written: %w", err)
		}
		method, body = http.MethodPost, bytes.NewReader(text)
	}
	u := p.endpoint.JoinPath(escaped(r.path)...)
	u.RawQuery = r.query.Encode()
	req, err := http.NewRequestWithContext(ctx, method, u.String(), body)
	if err != nil {
		return nil, fault.New(fault.Internal, fault.ReasonInternal, "a request cannot be made")
	}
	req.Header.Set("Authorization", "Bearer "+p.token)
	req.Header.Set(capabilities, askedCapabilities)
	agent := "millrace"
	if r.label != "" {
		agent += " (" + r.label + ")"
	}
	req.Header.Set("User-Agent", agent)
	if r.body != nil {
		req.Header.Set("Content-Type", "application/json; charset=utf-8")
	}
	return req, nil
}

func escaped(path []string) []string {
	out := make([]string, len(path))
	for i, p := range path {
		out[i] = url.PathEscape(p)
	}
	return out
}

// bounded is the body of an answer; more of it than is left is a fault.
type bounded struct {
	io.Reader
	ctx  context.Context //nolint:containedctx // the caller's, for one call
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, fault.New(fault.Precondition, fault.ReasonQueryInvalid, "an answer of the sharing server is longer than this process takes; have the table compacted with OPTIMIZE")
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return n, dialFault(b.ctx, err)
	}
	return n, err //nolint:wrapcheck // io.EOF
}

// drop reads what is left of a body that nobody wants, so that its connection can be used again.
func drop(resp *http.Response) {
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxDropped))
	_ = resp.Body.Close()
}

// decode reads one JSON document of an answer.
func (s *Source) decode(ctx context.Context, r request, to any) error {
	return s.call(ctx, r, func(_ http.Header, body io.Reader) error {
		if err := json.NewDecoder(body).Decode(to); err != nil {
			if f := fault.As(err); f.Class != fault.Internal {
				return f
			}
			return malformed("the sharing server's answer for " + r.what)
		}
		return nil
	})
}

// item is a share, schema or table of a list.
type item struct {
	Name   string `json:"name"`
	Schema string `json:"schema"`
	Share  string `json:"share"`
}

// list calls each with the items of a list, page by page, until it answers false.
func (s *Source) list(ctx context.Context, r request, each func(item) bool) error {
	r.query = url.Values{"maxResults": {strconv.Itoa(listPage)}}
	for range maxPages {
		var page struct {
			Items         []item `json:"items"`
			NextPageToken string `json:"nextPageToken"`
		}
		if err := s.decode(ctx, r, &page); err != nil {
			return err
		}
		for _, it := range page.Items {
			if !each(it) {
				return nil
			}
		}
		if page.NextPageToken == "" {
			return nil
		}
		r.query.Set("pageToken", page.NextPageToken)
	}
	return unavailable("the sharing server's list of %s does not end", r.what)
}

const listPage = 500
