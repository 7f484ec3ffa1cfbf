//go:build cgo && duckdb_arrow

package databricks_test

import (
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/source/databricks"
)

const accountVariable = "MILLRACE_TEST_DATABRICKS_DSN"

// TestRealAccount reads from a real workspace where the environment names one:
// databricks://CLIENT_ID:SECRET@HOST/CATALOG/SCHEMA?warehouse=ID, or token:TOKEN in place of the principal.
func TestRealAccount(t *testing.T) {
	dsn := os.Getenv(accountVariable)
	if dsn == "" {
		t.Logf("%s is not set: no real account was reached", accountVariable)
		return
	}
	u, err := url.Parse(dsn)
	require.NoError(t, err, "the DSN is no URL")
	catalog, schema, _ := strings.Cut(strings.Trim(u.Path, "/"), "/")
	secret, _ := u.User.Password()
	d := &resource.Databricks{Host: u.Host, WarehouseID: u.Query().Get("warehouse"), Catalog: catalog, Schema: schema}
	if u.User.Username() == "token" {
		d.Token = resource.Secret{Plain: secret}
	} else {
		d.ClientID, d.ClientSecret = u.User.Username(), resource.Secret{Plain: secret}
	}
	s := openWith(t, databricks.Settings{}, resource.Connection{Databricks: d})
	for _, step := range s.Check(t.Context()) {
		require.True(t, step.OK, "%s: %s", step.Name, step.Message)
	}
	require.Len(t, values(t, s, model("SELECT id, concat('row ', id) AS name FROM range(1000000)")), 1_000_000)
	for _, c := range cells() {
		if strings.Contains(c.expr, "AS TIME)") {
			continue // a preview of the service
		}
		q := model("SELECT " + c.expr + " AS v")
		described, err := s.Describe(t.Context(), q)
		require.NoError(t, err, c.expr)
		require.True(t, arrow.TypeEqual(c.typ, described.Field(0).Type), c.expr)
		require.Equal(t, []string{c.want}, values(t, s, q), c.expr)
	}
}
