package alerts

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/wneessen/go-mail"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/resource"
)

// How a mail server is talked to.
const (
	STARTTLS = "starttls" // in plain text until it is asked to encrypt, which it must do
	TLS      = "tls"      // encrypted from the beginning
	NoTLS    = "none"     // in plain text, without a password
)

// MailSettings is the operator's mail server. The zero value is none.
type MailSettings struct {
	Addr         string // host:port
	From         string
	User         string // empty: the server asks for none
	PasswordFile string // read for each mail
	TLS          string // STARTTLS (default), TLS, NoTLS
	Roots        *x509.CertPool
}

// maxPassword bounds a password's file, in bytes.
const maxPassword = 4096

// mailTime bounds a conversation.
const mailTime = 30 * time.Second

// Mailer sends messages by mail. Safe for concurrent use.
type Mailer struct {
	set  MailSettings
	host string
	port int
}

// NewMailer answers a sender; without a server it answers one that says so. Invalid where settings break a rule.
func NewMailer(set MailSettings) (*Mailer, error) {
	if set.TLS == "" {
		set.TLS = STARTTLS
	}
	m := &Mailer{set: set}
	if set.Addr == "" {
		return m, nil
	}
	var wrong []string
	host, port, err := net.SplitHostPort(set.Addr)
	if m.port, _ = strconv.Atoi(port); err != nil || host == "" || m.port < 1 || m.port > 65535 {
		wrong = append(wrong, "smtp-addr is no HOST:PORT")
	}
	m.host = host
	if !resource.ValidAddress(set.From) {
		wrong = append(wrong, "smtp-from is no mail address")
	}
	if set.TLS != STARTTLS && set.TLS != TLS && set.TLS != NoTLS {
		wrong = append(wrong, "smtp-tls is none of starttls, tls and none")
	}
	if (set.User == "") != (set.PasswordFile == "") {
		wrong = append(wrong, "smtp-user and smtp-password-file go together")
	}
	if set.User != "" && set.TLS == NoTLS {
		wrong = append(wrong, "smtp-tls is none, and no password goes out in plain text")
	}
	if len(wrong) > 0 {
		return nil, fault.New(fault.Invalid, fault.ReasonInvalidArgument, "the mail server of alerts: %s; mend these settings of the scheduler", strings.Join(wrong, "; "))
	}
	return m, nil
}

// Send mails a message to one address. The id becomes the mail's, so that a repeat can be recognised. Precondition where the
// operator has set no server; otherwise whatever fails may go away. Errors show nothing that the server wrote but its code.
func (m *Mailer) Send(ctx context.Context, to, id string, msg Message) error {
	if m.set.Addr == "" {
		return fault.New(fault.Precondition, fault.ReasonServiceUnavailable, "no mail server is set; the operator names one by --scheduler-smtp-addr and --scheduler-smtp-from")
	}
	letter, err := m.letter(to, id, msg)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, mailTime)
	defer cancel()
	line := &connection{dial: m.dial}
	defer line.close()
	stop := context.AfterFunc(ctx, line.close)
	defer stop()
	client, err := m.client(line)
	if err != nil {
		return err
	}
	err = client.DialAndSendWithContext(ctx, letter)
	if err == nil || letter.IsDelivered() { // what follows a mail that was taken is no matter
		return nil
	}
	return m.refused(ctx, err)
}

// connection is the one of a conversation, which its owner can end at any time: the library leaves it open when a
// conversation breaks off, and looks at its context only while it dials. Safe for concurrent use.
type connection struct {
	dial func(ctx context.Context, network, address string) (net.Conn, error)

	mu   sync.Mutex
	conn net.Conn
	over bool
}

func (c *connection) open(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := c.dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn = conn; c.over {
		_ = conn.Close()
	}
	return conn, nil
}

func (c *connection) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over = true; c.conn != nil {
		_ = c.conn.Close()
	}
}

// dial connects to the mail server, encrypted where it is so from the beginning.
func (m *Mailer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if m.set.TLS == TLS {
		return (&tls.Dialer{Config: m.tls()}).DialContext(ctx, network, address)
	}
	return (&net.Dialer{}).DialContext(ctx, network, address)
}

func (m *Mailer) tls() *tls.Config {
	return &tls.Config{ServerName: m.host, MinVersion: tls.VersionTLS12, RootCAs: m.set.Roots}
}

// letter writes the mail. Only ids, which are slugs, stand in its headers.
func (m *Mailer) letter(to, id string, msg Message) (*mail.Msg, error) {
	letter := mail.NewMsg()
	err := errors.Join(letter.From(m.set.From), letter.To(to))
	if err != nil {
		return nil, fault.New(fault.Invalid, fault.ReasonInvalidArgument, "the mail cannot be addressed; mend email.to of the alert, or smtp-from of the scheduler")
	}
	_, domain, _ := strings.Cut(m.set.From, "@")
	letter.Subject(msg.Subject())
	letter.SetMessageIDWithValue(id + "@" + domain)
	letter.SetDateWithValue(msg.Time)
	letter.SetGenHeader("Auto-Submitted", "auto-generated")
	letter.SetGenHeader("X-Millrace-Event", msg.Event)
	letter.SetBodyString(mail.TypeTextPlain, msg.Text())
	return letter, nil
}

func (m *Mailer) client(line *connection) (*mail.Client, error) {
	options := []mail.Option{mail.WithPort(m.port), mail.WithTimeout(mailTime), mail.WithTLSConfig(m.tls()), mail.WithDialContextFunc(line.open)}
	switch m.set.TLS {
	case TLS: // what dial has done; the library is to see it, and to ask for nothing more
		options = append(options, mail.WithTLSPolicy(mail.TLSOpportunistic))
	case NoTLS:
		options = append(options, mail.WithTLSPolicy(mail.NoTLS))
	default:
		options = append(options, mail.WithTLSPolicy(mail.TLSMandatory))
	}
	if m.set.User != "" {
		password, err := m.password()
		if err != nil {
			return nil, err
		}
		options = append(options, mail.WithSMTPAuth(mail.SMTPAuthAutoDiscover), mail.WithUsername(m.set.User), mail.WithPassword(password))
	}
	client, err := mail.NewClient(m.host, options...)
	if err != nil {
		return nil, fault.New(fault.Internal, fault.ReasonInternal, "a mail client cannot be made: %w", err)
	}
	return client, nil
}

// password reads the password anew, so that it can be changed under a running scheduler.
func (m *Mailer) password() (string, error) {
	f, err := os.Open(m.set.PasswordFile)
	if err == nil {
		defer func() { _ = f.Close() }()
		var text []byte
		if text, err = io.ReadAll(io.LimitReader(f, maxPassword+1)); err == nil && len(text) <= maxPassword {
			return strings.TrimRight(string(text), "\r\n"), nil
		}
	}
	e := fault.New(fault.Precondition, fault.ReasonSecretUnreadable, "the file of the mail server's password cannot be read; mend --scheduler-smtp-password-file")
	e.Err = err
	return "", e
}

// refused says in words why a mail was not taken. What the server wrote goes to the log only.
func (m *Mailer) refused(ctx context.Context, err error) error {
	what := "cannot be reached, or ended the conversation"
	var (
		sent *mail.SendError
		cert *tls.CertificateVerificationError
		name *net.DNSError
	)
	switch {
	case errors.As(err, &cert):
		what = "has a certificate that is not trusted, not of this name or out of date"
	case errors.As(err, &name):
		what = "is a name that cannot be looked up"
	case ctx.Err() != nil, isTimeout(err):
		what = "does not answer in time"
	case errors.As(err, &sent):
		what = "did not take the mail"
	case strings.Contains(strings.ToLower(err.Error()), "starttls"):
		what = "does not offer STARTTLS; set --scheduler-smtp-tls to what it offers"
	case strings.Contains(strings.ToLower(err.Error()), "auth"):
		what = "refused the user or the password"
	}
	e := fault.New(fault.Unavailable, fault.ReasonServiceUnavailable, "the mail server %s %s; it is tried again", m.set.Addr, what)
	e.Err = err
	return e
}
