package bigquery

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	storage "cloud.google.com/go/bigquery/storage/apiv1"
	"github.com/cenkalti/backoff/v5"
	bq "google.golang.org/api/bigquery/v2"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/resource"
)

// Google's addresses.
const (
	googleREST    = "https://bigquery.googleapis.com"
	googleStorage = "https://bigquerystorage.googleapis.com:443"
	googleTokens  = "https://oauth2.googleapis.com/token" //nolint:gosec // an address
)

const (
	scope = "https://www.googleapis.com/auth/bigquery"
	agent = "millrace"
	// maxBody bounds the answer of one call; pages are much smaller.
	maxBody = 64 << 20
	// maxMessage bounds one message of a stream; BigQuery sends up to 128 MB.
	maxMessage = 136 << 20
)

// client speaks to BigQuery: jobs and tables by Google's generated REST client, streams by its Storage Read client. The
// transports are the driver's own, so that nothing looks for a metadata server, a proxy for TLS or other credentials.
type client struct {
	settings Settings
	project  string
	rest     *bq.Service
	storage  *storage.BigQueryReadClient
	tokens   *tokens
	restURL  *url.URL
	http     *http.Transport
	conn     *grpc.ClientConn
}

func newClient(ctx context.Context, b resource.BigQuery, s Settings) (*client, error) {
	restURL, err := endpoint(b.Endpoint, googleREST)
	if err != nil {
		return nil, err
	}
	storageURL, err := endpoint(b.StorageEndpoint, googleStorage)
	if err != nil {
		return nil, err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone() //nolint:forcetypeassert // net/http documents the type
	transport.ResponseHeaderTimeout = s.RequestTimeout
	tokens, err := newTokens(b, &http.Client{Transport: bounded{transport}, Timeout: s.RequestTimeout, CheckRedirect: stay})
	if err != nil {
		return nil, err
	}
	c := &client{settings: s, project: b.ProjectID, tokens: tokens, restURL: restURL, http: transport}
	c.rest, err = bq.NewService(ctx, option.WithEndpoint(restURL.String()+"/bigquery/v2/"), option.WithUserAgent(agent),
		option.WithHTTPClient(&http.Client{Transport: authorized{tokens, bounded{transport}}, CheckRedirect: stay}))
	if err != nil {
		return nil, fault.New(fault.Internal, fault.ReasonInternal, "make a client of BigQuery: %w", err)
	}
	if c.conn, err = dial(storageURL, tokens); err != nil {
		return nil, err
	}
	if c.storage, err = storage.NewBigQueryReadClient(ctx, option.WithGRPCConn(c.conn)); err != nil {
		return nil, errors.Join(fault.New(fault.Internal, fault.ReasonInternal, "make a client of BigQuery's storage: %w", err), c.conn.Close())
	}
	c.storage.CallOptions = &storage.BigQueryReadCallOptions{} // retries are the driver's, for they end
	return c, nil
}

func dial(u *url.URL, t *tokens) (*grpc.ClientConn, error) {
	security := credentials.NewClientTLSFromCert(nil, "")
	if u.Scheme == "http" {
		security = insecure.NewCredentials()
	}
	host := u.Host
	if u.Port() == "" {
		host += map[string]string{"http": ":80", "https": ":443"}[u.Scheme]
	}
	conn, err := grpc.NewClient(host, grpc.WithTransportCredentials(security), grpc.WithUserAgent(agent), grpc.WithDisableServiceConfig(),
		grpc.WithPerRPCCredentials(perCall{tokens: t, secure: u.Scheme == "https"}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage)))
	if err != nil {
		return nil, fault.New(fault.Invalid, fault.ReasonInvalidArgument, "bigquery.storage_endpoint is no address: %w", err)
	}
	return conn, nil
}

// endpoint answers the address of a service: Google's unless the connection names another one.
func endpoint(own, google string) (*url.URL, error) {
	if own == "" {
		own = google
	}
	u, err := url.Parse(strings.TrimSuffix(own, "/"))
	if err != nil || u.Host == "" {
		return nil, fault.New(fault.Invalid, fault.ReasonInvalidArgument, "an endpoint of the connection is no URL")
	}
	return u, nil
}

// stay follows no redirect: what is asked of Google is not told to others.
func stay(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

func (c *client) close() error {
	c.http.CloseIdleConnections()
	if err := c.conn.Close(); err != nil {
		return fmt.Errorf("close the connection to BigQuery: %w", err)
	}
	return nil
}

// call runs one REST call, again while BigQuery says that it may work later. The error is Google's own.
func call[T any](ctx context.Context, c *client, do func(context.Context) (*T, error)) (*T, error) {
	tries := 0
	out, err := backoff.Retry(ctx, func() (*T, error) {
		tries++
		ctx, cancel := context.WithTimeout(ctx, c.settings.RequestTimeout)
		defer cancel()
		out, err := do(ctx)
		switch {
		case err == nil && out == nil: // null
			return nil, backoff.Permanent(unreadable("a call"))
		case err == nil:
			return out, nil
		case tries < 3 && unauthorized(err) && c.tokens.renew():
			return out, err //nolint:wrapcheck // classified by the caller
		case !retryable(err):
			return out, backoff.Permanent(err) //nolint:wrapcheck // classified by the caller
		}
		return out, err //nolint:wrapcheck // classified by the caller
	}, backoff.WithBackOff(c.waits()), backoff.WithMaxTries(uint(c.settings.Tries)), backoff.WithMaxElapsedTime(0)) //nolint:gosec // a few
	return out, unwrapPermanent(err) //nolint:wrapcheck // classified by the caller
}

func (c *client) waits() *backoff.ExponentialBackOff {
	b := backoff.NewExponentialBackOff()
	b.InitialInterval, b.MaxInterval, b.Multiplier = c.settings.Wait, 20*c.settings.Wait, 2
	return b
}

// bounded ends answers that are longer than any of BigQuery's.
type bounded struct{ next http.RoundTripper }

// RoundTrip does one call.
func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := b.next.RoundTrip(r)
	if err != nil {
		return nil, err //nolint:wrapcheck // net/http wraps it
	}
	resp.Body = limited{Reader: &limit{r: resp.Body, left: maxBody}, Closer: resp.Body}
	return resp, nil
}

type limited struct {
	io.Reader
	io.Closer
}

var errTooLong = errors.New("the answer is longer than any of BigQuery's")

type limit struct {
	r    io.Reader
	left int64
}

// Read fails once more than the limit has been read.
func (l *limit) Read(p []byte) (int, error) {
	n, err := l.r.Read(p)
	if l.left -= int64(n); l.left < 0 {
		return 0, errTooLong
	}
	return n, err //nolint:wrapcheck // an io.Reader's own
}

// authorized adds a token to each call.
type authorized struct {
	tokens *tokens
	next   http.RoundTripper
}

// RoundTrip does one call.
func (a authorized) RoundTrip(r *http.Request) (*http.Response, error) {
	t, err := a.tokens.get(r.Context())
	if err != nil {
		if r.Body != nil {
			err = errors.Join(err, r.Body.Close())
		}
		return nil, err
	}
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+t)
	return a.next.RoundTrip(r) //nolint:wrapcheck // net/http wraps it
}

// perCall adds a token to each call of gRPC.
type perCall struct {
	tokens *tokens
	secure bool
}

// GetRequestMetadata answers the token.
func (p perCall) GetRequestMetadata(ctx context.Context, _ ...string) (map[string]string, error) {
	t, err := p.tokens.get(ctx)
	if err != nil {
		return nil, grpcFault(err)
	}
	return map[string]string{"authorization": "Bearer " + t}, nil
}

// RequireTransportSecurity says whether tokens go over TLS only: always, but to this machine.
func (p perCall) RequireTransportSecurity() bool { return p.secure }
