package postgres

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"regexp"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/resource"
)

const (
	defaultPort             = 5432
	defaultStatementTimeout = time.Hour
	// closeWait bounds the wait for a connection to end.
	closeWait = 20 * time.Second
	maxLabel  = 63 // bytes of application_name
)

// configOf answers how to connect. The process's environment has no say in it.
func configOf(c resource.Postgres, s Settings) (*pgx.ConnConfig, error) {
	config, err := pgx.ParseConfig("host=localhost port=5432 user=nobody password=none database=none sslmode=disable sslnegotiation=postgres target_session_attrs=any")
	if err != nil {
		return nil, fault.New(fault.Internal, fault.ReasonInternal, "prepare a PostgreSQL connection: %w", err)
	}
	config.Host, config.Port = c.Host, defaultPort
	if c.Port != 0 {
		config.Port = uint16(c.Port) //nolint:gosec // validated
	}
	config.User, config.Database, config.Password = c.User, c.Database, c.Password.Plain
	config.Fallbacks, config.ConnectTimeout = nil, s.ConnectTimeout
	config.RuntimeParams = map[string]string{"client_encoding": "UTF8"}
	config.DefaultQueryExecMode = pgx.QueryExecModeExec
	config.TLSConfig, err = tlsOf(c)
	return config, err
}

// tlsOf answers the TLS settings of a connection, nil for sslmode disable.
func tlsOf(c resource.Postgres) (*tls.Config, error) {
	if c.SSLMode == "disable" {
		return nil, nil //nolint:nilnil // no TLS is what was asked for
	}
	t := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: c.Host}
	if c.CA != "" {
		t.RootCAs = x509.NewCertPool()
		if !t.RootCAs.AppendCertsFromPEM([]byte(c.CA)) {
			return nil, invalid("postgres.ca holds no PEM certificate")
		}
	}
	if c.ClientCertificate != "" {
		pair, err := tls.X509KeyPair([]byte(c.ClientCertificate), []byte(c.ClientKey.Plain))
		if err != nil {
			return nil, invalid("postgres.client_certificate and client_key are no pair of PEM certificate and key")
		}
		t.Certificates = []tls.Certificate{pair}
	}
	switch c.SSLMode {
	case "", "verify-full":
	case "verify-ca":
		t.InsecureSkipVerify, t.VerifyConnection = true, chainOnly(t.RootCAs) //nolint:gosec // the chain is verified, without the name, as verify-ca says
	case "require":
		t.InsecureSkipVerify = true //nolint:gosec // sslmode require encrypts and verifies nothing
		if c.CA != "" {
			t.VerifyConnection = chainOnly(t.RootCAs)
		}
	default:
		return nil, invalid("postgres.sslmode is not disable, require, verify-ca or verify-full")
	}
	return t, nil
}

func invalid(text string) error {
	return fault.New(fault.Invalid, fault.ReasonInvalidArgument, "%s", text)
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

// session is a connection in a READ ONLY, REPEATABLE READ transaction.
type session struct {
	conn     *pgx.Conn
	snapshot string          // its name: as exported, or as the server writes it
	life     context.Context //nolint:containedctx // does not end: the connection is closed after its caller's context, too
}

func newSession(ctx context.Context, conn *pgx.Conn) *session {
	return &session{conn: conn, life: context.WithoutCancel(ctx)}
}

// dial makes a connection under a label. The error is pgx's own.
func (s *Source) dial(ctx context.Context, label string) (*pgx.Conn, error) {
	config := s.config.Copy()
	config.RuntimeParams["application_name"] = label[:min(len(label), maxLabel)]
	return pgx.ConnectConfig(ctx, config) //nolint:wrapcheck // classified by the caller
}

//nolint:gochecknoglobals // compiled once, never changed
var snapshotName = regexp.MustCompile(`^[0-9A-F]{1,16}(-[0-9A-F]{1,16}){1,3}$`)

// begin begins a transaction in an exported snapshot, or in a new one where `snapshot` is empty or gone.
func (s *Source) begin(ctx context.Context, label, snapshot string) (*session, error) {
	conn, err := s.dial(ctx, label)
	if err != nil {
		return nil, connectFault(ctx, err)
	}
	x := newSession(ctx, conn)
	if err := x.begin(ctx, s.timeout(), snapshot); err != nil {
		x.close(ctx)
		return nil, err
	}
	return x, nil
}

func (x *session) begin(ctx context.Context, timeout time.Duration, snapshot string) error {
	if snapshotName.MatchString(snapshot) {
		err := x.exec(ctx, "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY; SET TRANSACTION SNAPSHOT '"+snapshot+"'")
		if err == nil {
			x.snapshot = snapshot
			return x.settle(ctx, timeout)
		}
		if !isGone(err) {
			return classify(ctx, err, "", 0)
		}
		if err := x.exec(ctx, "ROLLBACK"); err != nil {
			return classify(ctx, err, "", 0)
		}
	}
	if err := x.exec(ctx, "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY"); err != nil {
		return classify(ctx, err, "", 0)
	}
	if err := x.settle(ctx, timeout); err != nil {
		return err
	}
	return classify(ctx, x.conn.QueryRow(ctx, "SELECT txid_current_snapshot()::text").Scan(&x.snapshot), "", 0)
}

// settle makes the settings that reading depends on, for the transaction.
func (x *session) settle(ctx context.Context, timeout time.Duration) error {
	err := x.exec(ctx, "SET LOCAL statement_timeout = "+strconv.FormatInt(timeout.Milliseconds(), 10)+
		"; SET LOCAL TimeZone = 'UTC'; SET LOCAL IntervalStyle = 'iso_8601'; SET LOCAL DateStyle = 'ISO'; SET LOCAL standard_conforming_strings = on"+
		"; SET LOCAL idle_in_transaction_session_timeout = 0")
	return classify(ctx, err, "", 0)
}

// exec runs statements of the driver's own.
func (x *session) exec(ctx context.Context, sql string) error {
	return x.conn.PgConn().Exec(ctx, sql).Close() //nolint:wrapcheck // classified by the caller
}

// bind sets a parameter of the transaction, which SQL reads with current_setting.
func (x *session) bind(ctx context.Context, name, value string) error {
	var ignored string
	err := x.conn.QueryRow(ctx, "SELECT set_config($1, $2, true)", name, value).Scan(&ignored)
	return classify(ctx, err, "", 0)
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

func (s *Source) timeout() time.Duration {
	if s.address.StatementTimeout > 0 {
		return s.address.StatementTimeout
	}
	return defaultStatementTimeout
}
