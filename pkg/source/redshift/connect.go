package redshift

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/source/sqltext"
)

const (
	// closeWait bounds the wait for a connection to end, removeWait that for files to be removed.
	closeWait  = 20 * time.Second
	removeWait = time.Minute
	// maxGroup is how many characters Redshift keeps of a query group.
	maxGroup = 320
)

// configOf answers how to connect, without user and password. The process's environment has no say in it.
func configOf(c resource.Redshift, s Settings) (*pgx.ConnConfig, error) {
	config, err := pgx.ParseConfig("host=localhost port=5439 user=nobody password=none database=none sslmode=disable sslnegotiation=postgres target_session_attrs=any")
	if err != nil {
		return nil, fault.New(fault.Internal, fault.ReasonInternal, "prepare a Redshift connection: %w", err)
	}
	config.Host, config.Port, config.Database = c.Host, uint16(c.Port), c.Database //nolint:gosec // validated
	config.Fallbacks, config.ConnectTimeout = nil, s.ConnectTimeout
	config.RuntimeParams = map[string]string{"client_encoding": "UTF8", "application_name": "millrace"}
	config.DefaultQueryExecMode = pgx.QueryExecModeExec
	config.TLSConfig, err = tlsOf(c)
	return config, err
}

// tlsOf answers the TLS settings of a connection, nil for sslmode disable.
func tlsOf(c resource.Redshift) (*tls.Config, error) {
	t := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: c.Host}
	if c.CA != "" {
		t.RootCAs = x509.NewCertPool()
		if !t.RootCAs.AppendCertsFromPEM([]byte(c.CA)) {
			return nil, invalid("redshift.ca holds no PEM certificate")
		}
	}
	switch c.SSLMode {
	case "disable":
		return nil, nil //nolint:nilnil // no TLS is what was asked for
	case "verify-full":
	case "verify-ca":
		t.InsecureSkipVerify, t.VerifyConnection = true, chainOnly(t.RootCAs) //nolint:gosec // the chain is verified, without the name, as verify-ca says
	case "require":
		t.InsecureSkipVerify = true //nolint:gosec // sslmode require encrypts and verifies nothing
	default:
		return nil, invalid("redshift.sslmode is not disable, require, verify-ca or verify-full")
	}
	return t, nil
}

// chainOnly verifies a server's certificate against roots, whatever name is on it.
func chainOnly(roots *x509.CertPool) func(tls.ConnectionState) error {
	return func(s tls.ConnectionState) error {
		more := x509.NewCertPool()
		for _, c := range s.PeerCertificates[1:] {
			more.AddCert(c)
		}
		_, err := s.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: more})
		return err //nolint:wrapcheck // classified by connectFault
	}
}

// session is a connection in a transaction, whose first look at a table fixes what all of it sees. It is READ ONLY, but for
// where the state of a mirror is made.
type session struct {
	s    *Source
	conn *pgx.Conn
}

// begin begins a READ ONLY transaction under a label, which the warehouse notes as the query group.
func (s *Source) begin(ctx context.Context, label string) (*session, error) {
	conn, err := s.dial(ctx)
	if err != nil {
		return nil, connectFault(ctx, err)
	}
	x := &session{s: s, conn: conn}
	if err := x.begin(ctx, label); err != nil {
		x.close(ctx)
		return nil, err
	}
	return x, nil
}

// dial makes a connection. The error is pgx's own, or a fault of getting credentials.
func (s *Source) dial(ctx context.Context) (*pgx.Conn, error) {
	config := s.config.Copy()
	config.User, config.Password = s.address.User, s.address.Password.Plain
	if s.address.ByIAM() {
		l, err := s.aws.login(ctx)
		if err != nil {
			return nil, err
		}
		config.User, config.Password = l.user, l.password
	}
	return pgx.ConnectConfig(ctx, config) //nolint:wrapcheck // classified by the caller
}

func (x *session) begin(ctx context.Context, label string) error {
	settings := bound(x.s.address.StatementTimeout) + "; SET timezone TO 'UTC'; SET datestyle TO 'ISO'"
	for _, sql := range []string{settings, "SET query_group TO " + sqltext.Literal(groupOf(label)), "BEGIN READ ONLY"} {
		if err := x.exec(ctx, sql); err != nil {
			return classify(ctx, err, "", 0)
		}
	}
	return nil
}

// bound answers the statement that bounds those behind it.
func bound(d time.Duration) string {
	return "SET statement_timeout TO " + strconv.FormatInt(d.Milliseconds(), 10)
}

// groupOf answers a label as the text of a query group: letters, digits and _-:/. of it.
func groupOf(label string) string {
	text := strings.Map(func(r rune) rune {
		if r < 0x80 && (r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_-:/.", r)) {
			return r
		}
		return '_'
	}, label)
	return text[:min(len(text), maxGroup)]
}

// exec runs statements of the driver's own.
func (x *session) exec(ctx context.Context, sql string) error {
	return x.conn.PgConn().Exec(ctx, sql).Close() //nolint:wrapcheck // classified by the caller
}

// number answers the one number of a statement, of which the model's own text begins a line down.
func (x *session) number(ctx context.Context, sql string, args ...any) (n int64, err error) {
	err = classify(ctx, x.conn.QueryRow(ctx, sql, args...).Scan(&n), sql, 1)
	return n, err
}

// close ends the connection, and the statement that runs on it, and waits for that.
func (x *session) close(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeWait)
	defer cancel()
	_ = x.conn.Close(ctx) // it is over either way
	select {
	case <-x.conn.PgConn().CleanupDone():
	case <-ctx.Done():
	}
}
