package postgres_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/resource"
)

// authority signs certificates of a test.
type authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	pem  string
}

func newAuthority(t *testing.T) authority {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return authority{key, cert, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))}
}

// server answers the port of a server that takes up TLS as PostgreSQL does, with a certificate for name, and hangs up.
func (a authority) server(t *testing.T, name string) int {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(2), DNSNames: []string{name}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	require.NoError(t, err)
	own := tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ended := make(chan struct{})
	t.Cleanup(func() {
		require.NoError(t, l.Close())
		<-ended
	})
	go func() {
		defer close(ended)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			request := make([]byte, 8)
			if _, err := io.ReadFull(c, request); err == nil {
				_, _ = c.Write([]byte("S"))
				_ = tls.Server(c, &tls.Config{Certificates: []tls.Certificate{own}, MinVersion: tls.VersionTLS12}).Handshake()
			}
			_ = c.Close()
		}
	}()
	return l.Addr().(*net.TCPAddr).Port
}

// What a server's certificate must be depends on sslmode. The test's server hangs up once TLS stands, so a connection
// that gets beyond TLS fails later or elsewhere.
func TestTLSIsVerifiedAsSSLModeSays(t *testing.T) {
	own, other := newAuthority(t), newAuthority(t)
	right, wrong := own.server(t, "localhost"), own.server(t, "elsewhere")
	for _, c := range []struct {
		mode, ca string
		port     int
		tls      bool
	}{
		{"verify-full", own.pem, right, true},
		{"", own.pem, right, true},
		{"verify-full", own.pem, wrong, false},
		{"verify-full", other.pem, right, false},
		{"verify-full", "", right, false},
		{"verify-ca", own.pem, wrong, true},
		{"verify-ca", other.pem, right, false},
		{"require", "", wrong, true},
		{"require", own.pem, wrong, true},
		{"require", other.pem, right, false},
	} {
		s := open(t, resource.Connection{Postgres: &resource.Postgres{Host: "localhost", Port: c.port, Database: "d", User: "u", SSLMode: c.mode, CA: c.ca}})
		steps := s.Check(t.Context())
		last := steps[len(steps)-1]
		require.False(t, last.OK)
		want := "tls"
		if c.tls {
			want = "authenticate"
		}
		require.Equal(t, want, last.Name, "sslmode %q: %v", c.mode, steps)
	}
}
