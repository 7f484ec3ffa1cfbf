package redshift_test

import (
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/resource"
)

const accountVariable = "MILLRACE_TEST_REDSHIFT_DSN"

// TestRealAccount reads from a real warehouse where the environment names one:
// redshift://USER:PASSWORD@HOST:PORT/DATABASE?bucket=B&prefix=P&role=ARN&region=R; without bucket by cursor only.
func TestRealAccount(t *testing.T) {
	dsn := os.Getenv(accountVariable)
	if dsn == "" {
		t.Logf("%s is not set: no real account was reached", accountVariable)
		return
	}
	u, err := url.Parse(dsn)
	require.NoError(t, err, "the DSN is no URL")
	port := 0
	if u.Port() != "" {
		port, err = strconv.Atoi(u.Port())
		require.NoError(t, err)
	}
	password, _ := u.User.Password()
	q := u.Query()
	r := resource.Redshift{
		Host: u.Hostname(), Port: port, Database: strings.Trim(u.Path, "/"), User: u.User.Username(), Password: resource.Secret{Plain: password},
		Region: q.Get("region"), UnloadBucket: q.Get("bucket"), UnloadPrefix: q.Get("prefix"), UnloadRole: q.Get("role"),
	}
	s := open(t, resource.Connection{Redshift: &r})
	for _, step := range s.Check(t.Context()) {
		require.True(t, step.OK, "%s: %s", step.Name, step.Message)
	}
	for _, c := range cells() {
		if strings.Contains(c.expr, "GEOMETRY") {
			continue // the peer's own form of a point
		}
		m := model("SELECT " + c.expr + " AS v")
		require.Equal(t, []string{c.want}, values(t, s, m), c.expr)
		got, err := through(t, s, m)
		require.NoError(t, err, c.expr)
		require.Equal(t, []string{c.want}, got, c.expr)
	}
}
