package databricks

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/resource"
)

// tokens gives the bearer token of a call.
type tokens interface {
	// token answers a token that is no longer `refused`, which is empty or one that the warehouse took no more.
	token(ctx context.Context, refused string) (string, error)
}

// personal is a personal access token.
type personal string

func (p personal) token(_ context.Context, refused string) (string, error) {
	if refused == string(p) {
		return "", fault.New(fault.Denied, fault.ReasonWarehouseDenied, "Databricks refuses the token; it has expired or was revoked: make a new one and put it into databricks.token")
	}
	return string(p), nil
}

const (
	maxTokenReply = 1 << 20
	// early is how long before its end a token is replaced.
	early = time.Minute
)

// servicePrincipal gets tokens for a client id and secret, and keeps each until shortly before its end.
type servicePrincipal struct {
	url, id, secret string
	http            http.RoundTripper
	timeout         time.Duration

	mu      sync.Mutex
	current string
	until   time.Time
}

func newServicePrincipal(b resource.Databricks, t http.RoundTripper, timeout time.Duration) *servicePrincipal {
	u := url.URL{Scheme: b.Protocol, Host: hostPort(b), Path: "/oidc/v1/token"}
	return &servicePrincipal{url: u.String(), id: b.ClientID, secret: b.ClientSecret.Plain, http: t, timeout: timeout}
}

func (p *servicePrincipal) token(ctx context.Context, refused string) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.current != "" && p.current != refused && time.Now().Before(p.until) {
		return p.current, nil
	}
	token, life, err := p.fetch(ctx)
	if err != nil {
		return "", err
	}
	p.current, p.until = token, time.Now().Add(life-min(early, life/2))
	return token, nil
}

func (p *servicePrincipal) fetch(ctx context.Context) (token string, life time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	form := url.Values{"grant_type": {"client_credentials"}, "scope": {"all-apis"}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url, strings.NewReader(form.Encode()))
	if err != nil {
		return "", 0, invalid("databricks.host makes no address")
	}
	req.SetBasicAuth(url.QueryEscape(p.id), url.QueryEscape(p.secret))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := p.http.RoundTrip(req)
	if err != nil {
		return "", 0, dialFault(ctx, err)
	}
	defer func() { _ = resp.Body.Close() }()
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden:
		return "", 0, fault.New(fault.Denied, fault.ReasonWarehouseDenied,
			"Databricks refuses the service principal (HTTP %d); mend databricks.client_id and client_secret, and let the principal into the workspace", resp.StatusCode)
	default:
		return "", 0, statusFault(resp)
	}
	var doc struct {
		Token string  `json:"access_token"`
		Life  float64 `json:"expires_in"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxTokenReply)).Decode(&doc); err != nil || doc.Token == "" || strings.ContainsAny(doc.Token, "\r\n") {
		return "", 0, fault.New(fault.Unavailable, fault.ReasonWarehouseUnavailable, "Databricks answers no token; try again")
	}
	return doc.Token, time.Duration(min(max(doc.Life, 1), 86400) * float64(time.Second)), nil
}
