//go:build cgo && duckdb_arrow

package snowflake_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/source"
	"millrace.dev/pkg/source/snowflake"
	"millrace.dev/pkg/source/snowflake/snowflaketest"
)

// key answers a new private key, and as PEM text.
func key(t *testing.T) (*rsa.PrivateKey, resource.Secret) {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	der, err := x509.MarshalPKCS8PrivateKey(k)
	require.NoError(t, err)
	return k, resource.Secret{Plain: string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))}
}

// encryptedKey answers a key that openssl encrypted by the passphrase "open sesame".
func encryptedKey(t *testing.T) (*rsa.PrivateKey, resource.Secret) {
	t.Helper()
	text, err := os.ReadFile("../../resource/testdata/keys/des3.pem")
	require.NoError(t, err)
	k, err := resource.ParseRSAKey(string(text), "open sesame")
	require.NoError(t, err)
	return k, resource.Secret{Plain: string(text)}
}

func TestSignIns(t *testing.T) {
	k1, pem1 := key(t)
	k2, pem2 := key(t)
	_, other := key(t)
	k3, encrypted := encryptedKey(t)
	s := snowflaketest.New(t, snowflaketest.Options{
		Keys: []*rsa.PublicKey{&k1.PublicKey, &k2.PublicKey, &k3.PublicKey}, Token: "a token", OAuth: "an access token", Password: "a password", Identity: identity("us"),
	})
	at := s.Connection()
	idp := "http://" + net.JoinHostPort(at.Host, itoa(at.Port)) + "/oauth/token-request"
	for name, c := range map[string]struct {
		by    func(*resource.Snowflake)
		class fault.Class
		ok    bool
	}{
		"key pair":           {by: func(c *resource.Snowflake) { c.PrivateKey = pem1 }, ok: true},
		"key in second slot": {by: func(c *resource.Snowflake) { c.PrivateKey, c.PrivateKey2 = other, pem2 }, ok: true},
		"encrypted key":      {by: func(c *resource.Snowflake) { c.PrivateKey, c.PrivateKeyPassphrase.Plain = encrypted, "open sesame" }, ok: true},
		"another key":        {by: func(c *resource.Snowflake) { c.PrivateKey = other }, class: fault.Denied},
		"token":              {by: func(c *resource.Snowflake) { c.Token.Plain = "a token" }, ok: true},
		"another token":      {by: func(c *resource.Snowflake) { c.Token.Plain = "canary" }, class: fault.Denied},
		"client credentials": {by: func(c *resource.Snowflake) {
			c.OAuthClientID, c.OAuthClientSecret.Plain, c.OAuthTokenURL = "millrace", "client secret", idp
		}, ok: true},
		"another client": {by: func(c *resource.Snowflake) {
			c.OAuthClientID, c.OAuthClientSecret.Plain, c.OAuthTokenURL = "millrace", "canary", idp
		}, class: fault.Denied},
		"password":         {by: func(c *resource.Snowflake) { c.Password.Plain = "a password" }, ok: true},
		"another password": {by: func(c *resource.Snowflake) { c.Password.Plain = "canary" }, class: fault.Denied},
		"workload identity": {by: func(c *resource.Snowflake) {
			c.WorkloadIdentity, c.WorkloadIdentityToken.Plain = "oidc", identity("us")
		}, ok: true},
		"another workload": {by: func(c *resource.Snowflake) {
			c.WorkloadIdentity, c.WorkloadIdentityToken.Plain = "oidc", identity("them")
		}, class: fault.Denied},
		"no role of that name": {by: func(c *resource.Snowflake) { c.Token.Plain, c.Role = "a token", "NOBODY" }, class: fault.Denied},
		"no database":          {by: func(c *resource.Snowflake) { c.Token.Plain, c.Database = "a token", "NOTHING" }, class: fault.NotFound},
	} {
		t.Run(name, func(t *testing.T) {
			src := open(t, s, func(c *resource.Snowflake) { c.Token = resource.Secret{} }, c.by)
			_, err := src.Describe(t.Context(), model("SELECT 1 AS a"))
			steps := src.Check(t.Context())
			last := steps[len(steps)-1]
			if c.ok {
				require.NoError(t, err)
				require.Equal(t, "run query", last.Name)
				require.True(t, last.OK)
				return
			}
			require.Equal(t, c.class, fault.ClassOf(err), "%v", err)
			require.NotContains(t, err.Error(), "canary")
			require.Equal(t, "authenticate", last.Name)
			require.False(t, last.OK)
			require.NotEmpty(t, last.Message)
		})
	}
	_, err := snowflake.New(snowflake.Settings{}).Open(t.Context(), resource.Connection{Snowflake: &at})
	require.Equal(t, fault.Invalid, fault.ClassOf(err), "no credentials")
	at.PrivateKey.Plain = "canary"
	_, err = snowflake.New(snowflake.Settings{}).Open(t.Context(), resource.Connection{Snowflake: &at})
	require.Equal(t, fault.Invalid, fault.ClassOf(err))
	require.NotContains(t, err.Error(), "canary")
	require.Zero(t, s.Sessions(), "each session was ended")
}

// identity answers the token of a workload, as an OIDC provider would sign it.
func identity(who string) string {
	part := base64.RawURLEncoding.EncodeToString
	return part([]byte(`{"alg":"RS256","typ":"JWT"}`)) + "." + part([]byte(`{"sub":"`+who+`","iss":"https://idp.example.com"}`)) + "." + part([]byte("signature"))
}

func itoa(n int) string {
	text, _ := json.Marshal(n) //nolint:errchkjson // a number
	return string(text)
}

func TestCheckNamesTheStepAndWhatToDo(t *testing.T) {
	s := snowflaketest.New(t, snowflaketest.Options{})
	names := func(steps []source.CheckStep) (out []string) {
		for _, x := range steps {
			out = append(out, x.Name)
		}
		return out
	}
	steps := open(t, s).Check(t.Context())
	require.Equal(t, []string{"resolve", "connect", "tls", "authenticate", "role", "warehouse", "database", "schema", "run query"}, names(steps))
	require.True(t, steps[2].Warning, "not encrypted")

	steps = open(t, s, func(c *resource.Snowflake) { c.Token, c.Password.Plain = resource.Secret{}, "a password" }).Check(t.Context())
	require.True(t, steps[3].OK && steps[3].Warning)
	require.Contains(t, steps[3].Message, "RSA_PUBLIC_KEY")

	for step, change := range map[string]func(*resource.Snowflake){
		"warehouse": func(c *resource.Snowflake) { c.Warehouse = "NONE" },
		"schema":    func(c *resource.Snowflake) { c.Schema = "NONE" },
		"connect":   func(c *resource.Snowflake) { c.Port = 1 },
		"resolve":   func(c *resource.Snowflake) { c.Host = "no-such-host.invalid" },
		"tls":       func(c *resource.Snowflake) { c.Protocol = "https" },
	} {
		steps := open(t, s, change).Check(t.Context())
		last := steps[len(steps)-1]
		require.Equal(t, step, last.Name)
		require.False(t, last.OK)
		require.NotEmpty(t, last.Message)
	}
	s.Exec(t, "INSERT INTO peer_meta.table_privileges VALUES ('SYNC_R', 'INSERT', 'PUBLIC')")
	steps = open(t, s).Check(t.Context())
	last := steps[len(steps)-1]
	require.Equal(t, "privileges", last.Name)
	require.True(t, last.OK && last.Warning)
}

func TestTLS(t *testing.T) {
	s := snowflaketest.New(t, snowflaketest.Options{TLS: true})
	trusting := openWith(t, snowflake.Settings{Roots: s.Roots()}, s)
	require.Equal(t, []string{"1"}, values(t, trusting, model("SELECT 1 AS a")))
	_, err := open(t, s).Describe(t.Context(), model("SELECT 1 AS a"))
	require.Equal(t, fault.Denied, fault.ClassOf(err))
	steps := open(t, s).Check(t.Context())
	require.Equal(t, "tls", steps[len(steps)-1].Name)
}

// What a server answers does not lead from https to http.
func TestLinksStayEncrypted(t *testing.T) {
	s := snowflaketest.New(t, snowflaketest.Options{TLS: true})
	src := openWith(t, snowflake.Settings{Roots: s.Roots()}, s)
	n, err := read(t.Context(), src, model(thousands))
	require.NoError(t, err)
	require.EqualValues(t, 60000, n)
	s.Rewrite(func(_ string, data map[string]any) {
		for _, c := range chunksOf(data) {
			c["url"] = strings.Replace(c["url"].(string), "https:", "http:", 1)
		}
	})
	_, err = read(t.Context(), src, model(thousands))
	require.Equal(t, fault.Denied, fault.ClassOf(err), "%v", err)
	require.NotContains(t, err.Error(), "chunks/")
}

func chunksOf(data map[string]any) []map[string]any {
	out, _ := data["chunks"].([]map[string]any)
	return out
}

func TestNoLinkLocalAddressIsDialled(t *testing.T) {
	s := snowflaketest.New(t, snowflaketest.Options{})
	_, err := open(t, s, func(c *resource.Snowflake) { c.Host = "169.254.169.254" }).Describe(t.Context(), model("SELECT 1 AS a"))
	require.Equal(t, fault.Denied, fault.ClassOf(err), "%v", err)
	require.ErrorContains(t, err, "link-local")
}

// lookups counts what the process asks the resolver while f runs.
func lookups(t *testing.T, f func()) int {
	t.Helper()
	var mu sync.Mutex
	n := 0
	old := net.DefaultResolver
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		mu.Lock()
		defer mu.Unlock()
		n++
		return nil, os.ErrPermission
	}}
	defer func() { net.DefaultResolver = old }()
	f()
	mu.Lock()
	defer mu.Unlock()
	return n
}

// The client tells nobody where it runs and what happened, whatever the account says that it wants.
func TestTheClientCallsNobodyElse(t *testing.T) {
	s := snowflaketest.New(t, snowflaketest.Options{Telemetry: true})
	n := lookups(t, func() {
		src := open(t, s)
		require.Equal(t, []string{"1"}, values(t, src, model("SELECT 1 AS a")))
		_, err := src.Describe(t.Context(), model("SELECT wrong"))
		require.Error(t, err)
		require.NoError(t, src.Close())
	})
	require.Zero(t, n, "names are looked up")
	login := false
	for _, r := range s.Requests() {
		require.NotContains(t, r.Path, "telemetry")
		if len(r.Login) == 0 {
			continue
		}
		login = true
		var said struct {
			Data struct {
				Environment struct {
					Platform []string `json:"PLATFORM"`
				} `json:"CLIENT_ENVIRONMENT"`
				Parameters map[string]any `json:"SESSION_PARAMETERS"`
			} `json:"data"`
		}
		require.NoError(t, json.Unmarshal(r.Login, &said))
		require.Equal(t, []string{"disabled"}, said.Data.Environment.Platform, "the client looks for the cloud that it runs in")
		p := said.Data.Parameters
		require.Equal(t, "false", p["CLIENT_TELEMETRY_ENABLED"])
		require.Equal(t, "UTC", p["TIMEZONE"])
		require.Equal(t, "3600", p["STATEMENT_TIMEOUT_IN_SECONDS"])
		require.Equal(t, "1", p["MULTI_STATEMENT_COUNT"])
	}
	require.True(t, login)
}

func TestSetupNamesWhatIsGranted(t *testing.T) {
	c := resource.Snowflake{Account: "ab12345", Region: "us-east-2.aws", Warehouse: "sync_wh", Database: "MARTS", Schema: "odd schema", Role: "SYNC_R", User: "SYNC_U"}
	text, err := snowflake.New(snowflake.Settings{}).Setup(resource.Connection{Snowflake: &c})
	require.NoError(t, err)
	for _, want := range []string{
		"CREATE USER IF NOT EXISTS SYNC_U TYPE = SERVICE", "GRANT ROLE SYNC_R TO USER SYNC_U", "RSA_PUBLIC_KEY",
		"GRANT USAGE ON WAREHOUSE SYNC_WH TO ROLE SYNC_R", `GRANT SELECT ON FUTURE VIEWS IN SCHEMA MARTS."odd schema" TO ROLE SYNC_R`,
		"ab12345.us-east-2.aws.snowflakecomputing.com, port 443", "SYSTEM$ALLOWLIST",
	} {
		require.Contains(t, text, want)
	}
	for _, line := range strings.Split(text, "\n") {
		require.False(t, strings.Contains(line, "GRANT") && (strings.Contains(line, "INSERT") || strings.Contains(line, "ALL PRIVILEGES")), line)
	}
}
