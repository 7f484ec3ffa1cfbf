package snowflake

import (
	"context"
	"database/sql/driver"
	"errors"
	"strconv"
	"strings"
	"time"

	client "github.com/snowflakedb/gosnowflake/v2"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/resource"
)

const (
	defaultStatementTimeout = time.Hour
	// untimed keeps the client from a bound of its own on requests: it leaves answers open whose context has ended, and the
	// timers behind them. The transport bounds requests.
	untimed = -time.Second
	// retries is how often the client repeats a request that was not answered.
	retries = 3
	// maxIdle bounds the sessions that a source keeps for its next call.
	maxIdle = 2
	// chunkMB is the size up to which the warehouse fills a chunk: the smallest that it knows.
	chunkMB = "48"
)

// configsOf answers how to connect, one for each key that may be the right one. The process's environment has a say in
// proxies only.
func configsOf(c resource.Snowflake, s Settings, wire *transport) ([]client.Config, error) {
	timeout := c.StatementTimeout
	if timeout <= 0 {
		timeout = defaultStatementTimeout
	}
	params := map[string]*string{}
	for k, v := range map[string]string{
		"TIMEZONE":                       "UTC",
		"STATEMENT_TIMEOUT_IN_SECONDS":   strconv.FormatInt(max(1, int64(timeout/time.Second)), 10),
		"MULTI_STATEMENT_COUNT":          "1",
		"ABORT_DETACHED_QUERY":           "true",
		"CLIENT_TELEMETRY_ENABLED":       "false",
		"CLIENT_RESULT_CHUNK_SIZE":       chunkMB,
		"GO_QUERY_RESULT_FORMAT":         "ARROW",
		"JSON_INDENT":                    "0",
		"QUOTED_IDENTIFIERS_IGNORE_CASE": "false",
		"DATE_INPUT_FORMAT":              "AUTO",
		"TIMESTAMP_INPUT_FORMAT":         "AUTO",
		"TIME_INPUT_FORMAT":              "AUTO",
	} {
		params[k] = &v
	}
	base := client.Config{
		Account: c.Account, User: c.User, Database: c.Database, Schema: c.Schema, Warehouse: c.Warehouse, Role: c.Role,
		Host: c.Address(), Port: c.Port, Protocol: c.Protocol, Params: params, Application: "Millrace", Transporter: wire, DisableOCSPChecks: true,
		LoginTimeout:  s.ConnectTimeout,                                           //nolint:staticcheck // the client knows no other bound
		ClientTimeout: untimed, JWTClientTimeout: untimed, MaxRetryCount: retries, //nolint:staticcheck // as above
		ClientStoreTemporaryCredential: client.ConfigBoolFalse, ClientRequestMfaToken: client.ConfigBoolFalse,
		ValidateDefaultParameters: client.ConfigBoolTrue,
	}
	return credentials(base, c)
}

// credentials answers base with each credential that may be the right one.
func credentials(base client.Config, c resource.Snowflake) ([]client.Config, error) {
	switch {
	case c.PrivateKey.Plain != "" || c.PrivateKey2.Plain != "":
		base.Authenticator = client.AuthTypeJwt
		var out []client.Config
		for _, slot := range []struct{ field, pem, passphrase string }{
			{"private_key", c.PrivateKey.Plain, c.PrivateKeyPassphrase.Plain}, {"private_key_2", c.PrivateKey2.Plain, c.PrivateKey2Passphrase.Plain},
		} {
			if slot.pem == "" {
				continue
			}
			key, err := resource.ParseRSAKey(slot.pem, slot.passphrase)
			if err != nil {
				return nil, fault.New(fault.Invalid, fault.ReasonInvalidArgument, "snowflake.%s is not read: %s", slot.field, err)
			}
			with := base
			with.PrivateKey = key
			out = append(out, with)
		}
		return out, nil
	case c.OAuthClientID != "":
		base.Authenticator = client.AuthTypeOAuthClientCredentials
		base.OauthClientID, base.OauthClientSecret, base.OauthTokenRequestURL, base.OauthScope = c.OAuthClientID, c.OAuthClientSecret.Plain, c.OAuthTokenURL, c.OAuthScope
	case c.Token.Plain != "":
		base.Authenticator, base.Token = client.AuthTypePat, c.Token.Plain
	case c.WorkloadIdentity != "":
		base.Authenticator = client.AuthTypeWorkloadIdentityFederation
		base.WorkloadIdentityProvider, base.Token = c.WorkloadIdentity, c.WorkloadIdentityToken.Plain
	case c.Password.Plain != "":
		base.Authenticator, base.Password = client.AuthTypeSnowflake, c.Password.Plain
	default:
		return nil, fault.New(fault.Invalid, fault.ReasonInvalidArgument, "the snowflake block has no credentials")
	}
	return []client.Config{base}, nil
}

// session is a session of the account. One call at a time uses it.
type session struct {
	s    *Source
	conn connection
}

// connection is what the client's connections can do.
type connection interface {
	driver.Conn
	QueryArrowStream(ctx context.Context, query string, bindings ...driver.NamedValue) (client.ArrowStreamLoader, error)
}

// take answers a session, a new one where none is idle. Whoever takes it gives it back.
func (s *Source) take(ctx context.Context) (*session, error) {
	s.mu.Lock()
	if n := len(s.idle); n > 0 {
		x := s.idle[n-1]
		s.idle = s.idle[:n-1]
		s.mu.Unlock()
		return x, nil
	}
	s.mu.Unlock()
	x, call, err := s.dial(ctx)
	if err != nil {
		return nil, s.loginFault(ctx, call, err)
	}
	return x, nil
}

// give takes a session back, and ends it where there are enough or err says that it is of no more use.
func (s *Source) give(x *session, err error) {
	usable := err == nil || fault.ClassOf(err).Permanent() || fault.ClassOf(err) == fault.Cancelled
	s.mu.Lock()
	if usable && len(s.idle) < maxIdle {
		s.idle = append(s.idle, x)
		s.mu.Unlock()
		return
	}
	s.mu.Unlock()
	x.close()
}

// dial makes a session, by the second key where the first is not the user's. The error is the client's own.
func (s *Source) dial(ctx context.Context) (x *session, call *call, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.settings.ConnectTimeout)
	defer cancel()
	for _, c := range s.configs {
		ctx, call = withCall(ctx)
		if x, err = s.dialOne(ctx, c); err == nil || numberOf(err) != codeJWT {
			break
		}
	}
	return x, call, err
}

func (s *Source) dialOne(ctx context.Context, c client.Config) (x *session, err error) {
	defer recovered(&err)
	conn, err := client.NewConnector(client.SnowflakeDriver{}, c).Connect(ctx)
	if err != nil {
		return nil, err //nolint:wrapcheck // classified by the caller
	}
	own, ok := conn.(connection)
	if !ok {
		return nil, errors.Join(errors.New("the client answers no Arrow"), conn.Close())
	}
	return &session{s: s, conn: own}, nil
}

// close ends the session; the transport bounds how long that may take.
func (x *session) close() {
	var err error
	defer recovered(&err)
	_ = x.conn.Close() // it is over either way
}

// recovered turns a panic of the client over what a server sent into an error.
func recovered(err *error) {
	if r := recover(); r != nil {
		*err = errMalformed
	}
}

// isPassword says whether the connection signs in by password alone.
func (s *Source) isPassword() bool {
	return len(s.configs) == 1 && s.configs[0].Authenticator == client.AuthTypeSnowflake
}

// label bounds a query tag to what the warehouse takes.
func label(text string) string {
	const maxTag = 2000
	return strings.ToValidUTF8(text[:min(len(text), maxTag)], "")
}
