// Package alertstest has a mail server for tests.
package alertstest

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// MailServer is a server of SMTP (RFC 5321) with STARTTLS and AUTH PLAIN on loopback, as strict as tests need it. Its fields
// are set before it serves.
type MailServer struct {
	Offer    bool              // STARTTLS
	Implicit bool              // it is encrypted from the beginning
	Password string            // of the user millrace; empty: none is asked for
	Refuse   map[string]string // answers to commands, by the whole line or its first word
	Hang     chan struct{}     // closed when a mail has come, which is never answered; nil: it is

	listener net.Listener
	tls      *tls.Config
	roots    *x509.CertPool
	mu       sync.Mutex
	mails    []Mail
}

// Mail is one as it came.
type Mail struct {
	From, To  string // as the commands had them
	Encrypted bool
	User      string
	Text      string // headers and body
}

// ServeMail starts a server that offers STARTTLS, once change has set what is to be otherwise. It ends with the test.
func ServeMail(t *testing.T, change func(*MailServer)) *MailServer {
	t.Helper()
	s := &MailServer{Offer: true, Refuse: map[string]string{}}
	s.tls, s.roots = certificate(t)
	if change != nil {
		change(s)
	}
	var err error
	s.listener, err = (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := s.listener.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { s.talk(t.Context(), conn) })
		}
	})
	t.Cleanup(func() {
		require.NoError(t, s.listener.Close())
		wg.Wait()
	})
	return s
}

// Addr answers the server's address, by the name that its certificate has.
func (s *MailServer) Addr() string {
	_, port, _ := net.SplitHostPort(s.listener.Addr().String())
	return net.JoinHostPort("localhost", port)
}

// Roots answers who vouches for the server's certificate.
func (s *MailServer) Roots() *x509.CertPool { return s.roots }

// Mails answers what was taken, in its order.
func (s *MailServer) Mails() []Mail {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Mail(nil), s.mails...)
}

func (s *MailServer) talk(ctx context.Context, conn net.Conn) {
	defer func() { _ = conn.Close() }()
	var m Mail
	if s.Implicit {
		conn, m.Encrypted = tls.Server(conn, s.tls), true
	}
	in := bufio.NewReader(conn)
	say := func(text string) { _, _ = io.WriteString(conn, text+"\r\n") }
	say("220 localhost ready")
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		word, rest, _ := strings.Cut(line, " ")
		word = strings.ToUpper(word)
		if answer, ok := s.refusal(line, word); ok {
			say(answer)
			continue
		}
		switch word {
		case "EHLO", "HELO":
			say("250-localhost greets you")
			if s.Offer && !m.Encrypted {
				say("250-STARTTLS")
			}
			if m.Encrypted {
				say("250-AUTH PLAIN")
			}
			say("250 8BITMIME")
		case "STARTTLS":
			say("220 go ahead")
			secure := tls.Server(conn, s.tls)
			if secure.HandshakeContext(ctx) != nil {
				return
			}
			conn, in, m = secure, bufio.NewReader(secure), Mail{Encrypted: true}
		case "AUTH":
			_, encoded, _ := strings.Cut(rest, " ")
			text, _ := base64.StdEncoding.DecodeString(encoded)
			parts := strings.Split(string(text), "\x00")
			if !m.Encrypted || len(parts) != 3 || parts[1] != "millrace" || parts[2] != s.Password {
				say("535 5.7.8 canary: wrong")
				continue
			}
			m.User = parts[1]
			say("235 welcome")
		case "MAIL":
			if s.Password != "" && m.User == "" {
				say("530 5.7.0 who are you")
				continue
			}
			m.From = rest
			say("250 ok")
		case "RCPT":
			m.To += rest
			say("250 ok")
		case "DATA":
			say("354 go on")
			m.Text = ""
			for {
				line, err := in.ReadString('\n')
				if err != nil {
					return
				}
				if line == ".\r\n" {
					break
				}
				m.Text += line
			}
			if s.Hang != nil {
				close(s.Hang)
				_, _ = in.ReadByte() // until the client leaves
				return
			}
			s.mu.Lock()
			s.mails = append(s.mails, m)
			s.mu.Unlock()
			say("250 queued")
		case "NOOP", "RSET":
			say("250 ok")
		case "QUIT":
			say("221 bye")
			return
		default:
			say("500 unknown " + fmt.Sprintf("%q", word))
		}
	}
}

// refusal answers what is said to a command that is not taken.
func (s *MailServer) refusal(line, word string) (string, bool) {
	if answer, ok := s.Refuse[line]; ok {
		return answer, true
	}
	answer, ok := s.Refuse[word]
	return answer, ok
}

// certificate answers the configuration of a server named localhost, and who vouches for it.
func certificate(t *testing.T) (*tls.Config, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	require.NoError(t, err)
	parsed, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	roots := x509.NewCertPool()
	roots.AddCert(parsed)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MinVersion: tls.VersionTLS12}, roots
}
