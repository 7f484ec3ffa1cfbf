package redshift_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/source"
	"millrace.dev/pkg/source/redshift"
	"millrace.dev/pkg/source/redshift/redshifttest"
)

const ten = "CREATE TABLE t AS SELECT i AS id FROM generate_series(1, 10) AS g(i)"

func byID() source.Query {
	q := model("SELECT id FROM t")
	q.Model.Iterator = resource.Iterator{Column: "id", Type: resource.IteratorInteger}
	return q
}

func TestPartsByCursorAreReadAsTheyAreThen(t *testing.T) {
	p := redshifttest.Start(t, redshifttest.Options{})
	p.Exec(t, ten)
	s, q := open(t, p.Connection()), byID()
	plan, err := s.(source.Planner).Plan(t.Context(), q, 4)
	require.NoError(t, err)
	require.Empty(t, plan.Snapshot)
	require.False(t, plan.Counted, "what is read can be more")
	require.False(t, plan.Replan, "parts are by value")
	require.False(t, s.(source.Holder).Holds())
	p.Exec(t, "INSERT INTO t VALUES (5), (11)")
	q.Range = plan.Parts[0]
	require.Len(t, values(t, s, q), 11, "the row within the window is there, that behind it is not")
}

func TestPartsByUnloadAreOfThePlansSnapshot(t *testing.T) {
	signIn(t)
	p := redshifttest.Start(t, redshifttest.Options{})
	p.Exec(t, ten)
	planner, err := redshift.New(redshift.Settings{PartRows: 3}).Open(t.Context(), p.Unloading())
	require.NoError(t, err)
	q := byID()
	plan, err := planner.(source.Planner).Plan(t.Context(), q, 4)
	require.NoError(t, err)
	require.True(t, planner.(source.Holder).Holds())
	require.True(t, plan.Counted && plan.Replan)
	require.Len(t, plan.Parts, 4)
	p.Exec(t, "INSERT INTO t VALUES (5); DELETE FROM t WHERE id = 1")

	var got []string
	reader := open(t, p.Unloading()) // another process's
	for _, r := range plan.Parts {
		q.Snapshot, q.Range = plan.Snapshot, r
		got = append(got, values(t, reader, q)...)
	}
	require.ElementsMatch(t, []string{"1", "2", "3", "4", "5", "6", "7", "8", "9", "10"}, got)

	q.Limit = 1
	require.Len(t, values(t, reader, q), 1)
	q.Limit = 0
	require.NoError(t, planner.Close())
	require.False(t, planner.(source.Holder).Holds())
	_, err = read(t.Context(), reader, q)
	require.Equal(t, fault.ReasonSourceChanged, fault.ReasonOf(err), "%v", err)
	for _, snapshot := range []string{"", "x", `{"unloaded":"","rows":1}`, `{"rows":1,"unloaded":"a/"}`} {
		q.Snapshot = snapshot
		_, err = read(t.Context(), reader, q)
		require.Equal(t, fault.ReasonSourceChanged, fault.ReasonOf(err), "%q: %v", snapshot, err)
	}
}

// A plan in the place of another removes the other's files.
func TestPlansDoNotPileUp(t *testing.T) {
	signIn(t)
	p := redshifttest.Start(t, redshifttest.Options{})
	p.Exec(t, ten)
	s := open(t, p.Unloading())
	for range 3 {
		_, err := s.(source.Planner).Plan(t.Context(), byID(), 4)
		require.NoError(t, err)
		require.Len(t, p.Objects(), 4+1, "files and manifest of one plan")
	}
}

// What Setup prints is SQL, and policies that are JSON and name what the connection names.
func TestSetupPrintsSQLAndPolicies(t *testing.T) {
	p := redshifttest.Start(t, redshifttest.Options{})
	c := p.Unloading()
	c.Redshift.Password, c.Redshift.Cluster, c.Redshift.RoleARN, c.Redshift.ExternalID = resource.Secret{}, redshifttest.Cluster, redshifttest.Unloader, "of-this"
	text, err := redshift.New(redshift.Settings{}).Setup(c)
	require.NoError(t, err)
	for _, part := range []string{`CREATE USER "millrace_reader" PASSWORD DISABLE`, "GRANT SELECT ON ALL TABLES", `"sts:ExternalId": "of-this"`,
		"dbuser:analytics/millrace_reader", "arn:aws:s3:::millrace-unload/staging/*", "s3:DeleteObject", `"Prefix": "staging"`} {
		require.Contains(t, text, part)
	}
	policies := 0
	for rest := strings.ReplaceAll(text, "\n--", ""); ; policies++ {
		at := strings.Index(rest, `{"Version"`)
		if at < 0 {
			break
		}
		rest = rest[at:]
		var policy map[string]any
		require.NoError(t, json.NewDecoder(strings.NewReader(rest)).Decode(&policy), rest)
		rest = rest[1:]
	}
	require.Equal(t, 4, policies)

	c = p.Connection()
	c.Redshift.User = "reader of " + strings.ReplaceAll(t.Name(), "/", "_")
	text, err = redshift.New(redshift.Settings{}).Setup(c)
	require.NoError(t, err)
	p.Exec(t, text)
	p.Exec(t, `DROP OWNED BY "`+c.Redshift.User+`"; DROP ROLE "`+c.Redshift.User+`"`)
}

// certificate makes one for this machine's address, signed by itself.
func certificate(t *testing.T) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "peer"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func TestSSLModes(t *testing.T) {
	pair, ca := certificate(t)
	p := redshifttest.Start(t, redshifttest.Options{TLS: &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}})
	_, other := certificate(t)
	for _, c := range []struct{ host, mode, ca, failed string }{
		{"127.0.0.1", "verify-full", ca, ""},
		{"localhost", "verify-full", ca, "tls"},
		{"localhost", "verify-ca", ca, ""},
		{"127.0.0.1", "verify-ca", other, "tls"},
		{"127.0.0.1", "verify-full", "", "tls"},
		{"localhost", "require", "", ""},
	} {
		at := p.Connection()
		at.Redshift.Host, at.Redshift.SSLMode, at.Redshift.CA = c.host, c.mode, c.ca
		steps := open(t, at).Check(t.Context())
		failed := ""
		for _, s := range steps {
			if !s.OK {
				failed = s.Name
			}
		}
		require.Equal(t, c.failed, failed, "%s %s: %v", c.host, c.mode, steps)
	}
	plain := redshifttest.Start(t, redshifttest.Options{}).Connection()
	plain.Redshift.SSLMode = "require"
	steps := open(t, plain).Check(t.Context())
	require.Equal(t, "tls", steps[len(steps)-1].Name, "a server without TLS is refused")
}

func TestCheckNamesTheStep(t *testing.T) {
	signIn(t)
	p := redshifttest.Start(t, redshifttest.Options{})
	for step, change := range map[string]func(*resource.Redshift){
		"resolve":      func(r *resource.Redshift) { r.Host = "no-such-host.invalid" },
		"connect":      func(r *resource.Redshift) { r.Port = 1 },
		"authenticate": func(r *resource.Redshift) { r.Password.Plain = "another" },
		"database":     func(r *resource.Redshift) { r.Database = "other" },
		"unload":       func(r *resource.Redshift) { r.UnloadRole = strings.Replace(r.UnloadRole, "unload", "other", 1) },
	} {
		c := p.Unloading()
		change(c.Redshift)
		steps := open(t, c).Check(t.Context())
		last := steps[len(steps)-1]
		require.Equal(t, step, last.Name)
		require.False(t, last.OK)
		require.NotEmpty(t, last.Message)
		require.NotContains(t, last.Message, "another")
	}
	require.Empty(t, p.Objects())
}
