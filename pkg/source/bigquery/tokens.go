package bigquery

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"cloud.google.com/go/auth"
	"cloud.google.com/go/auth/credentials"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/resource"
)

// early is how long before its end a token is replaced.
const early = time.Minute

// tokens holds the access token of one source. Safe for concurrent use.
type tokens struct {
	provider auth.TokenProvider

	turn    sync.Mutex // held while a token is fetched
	mu      sync.Mutex
	current *auth.Token
}

// newTokens answers what fetches tokens for a connection. Only where it asks for the process's own credentials are those
// looked for.
func newTokens(b resource.BigQuery, c *http.Client) (*tokens, error) {
	if b.Credentials == resource.ByApplicationDefault {
		found, err := credentials.DetectDefault(&credentials.DetectOptions{Scopes: []string{scope}, Client: c})
		if err != nil {
			return nil, fault.New(fault.Denied, fault.ReasonWarehouseDenied, "the extractor has no application default credentials; give it some, or the connection a service_account_key")
		}
		return &tokens{provider: found}, nil
	}
	key, fix := resource.ParseServiceAccountKey(b.ServiceAccountKey.Plain)
	if fix != "" {
		return nil, fault.New(fault.Denied, fault.ReasonWarehouseDenied, "bigquery.service_account_key is no key of a service account; %s", fix)
	}
	at := b.TokenEndpoint
	if at == "" {
		at = googleTokens
	}
	p, err := auth.New2LOTokenProvider(&auth.Options2LO{
		Email: key.ClientEmail, PrivateKey: []byte(key.PrivateKey), PrivateKeyID: key.PrivateKeyID, TokenURL: at, Scopes: []string{scope}, Client: c,
	})
	if err != nil {
		return nil, fault.New(fault.Denied, fault.ReasonWarehouseDenied, "bigquery.service_account_key cannot be used; make a new key")
	}
	return &tokens{provider: p}, nil
}

// get answers a token that is good for a while.
func (t *tokens) get(ctx context.Context) (string, error) {
	if now := t.cached(); now != "" {
		return now, nil
	}
	t.turn.Lock()
	defer t.turn.Unlock()
	if now := t.cached(); now != "" {
		return now, nil
	}
	token, err := t.provider.Token(ctx)
	if err != nil {
		return "", &tokenError{err}
	}
	if token == nil || token.Value == "" {
		return "", &tokenError{errors.New("the answer holds no token")}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.current = token
	return token.Value, nil
}

func (t *tokens) cached() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c := t.current; c != nil && (c.Expiry.IsZero() || time.Until(c.Expiry) > early) {
		return c.Value
	}
	return ""
}

// renew forgets the token, so that another is fetched. It says whether there was one.
func (t *tokens) renew() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	had := t.current != nil
	t.current = nil
	return had
}

// tokenError says that there is no token. It holds what the token endpoint said and is never shown.
type tokenError struct{ err error }

// Error says what failed.
func (*tokenError) Error() string { return "no access token" }

// Unwrap answers the cause.
func (e *tokenError) Unwrap() error { return e.err }

// grpcFault answers a token's failure as a status, so that gRPC says Unauthenticated for a refusal alone.
func grpcFault(err error) error {
	if refusedToken(err) {
		return status.Error(codes.Unauthenticated, "no access token") //nolint:wrapcheck // a status
	}
	return status.Error(codes.Unavailable, "no access token") //nolint:wrapcheck // a status
}

// refusedToken says whether the token endpoint refused the account, and not for the moment.
func refusedToken(err error) bool {
	var a *auth.Error
	if !errors.As(err, &a) || a.Response == nil {
		return false
	}
	c := a.Response.StatusCode
	return c >= 300 && c < 500 && c != http.StatusTooManyRequests && c != http.StatusRequestTimeout
}
