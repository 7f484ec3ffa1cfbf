//go:build cgo && duckdb_arrow

package databricks_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/source/databricks"
	"millrace.dev/pkg/source/databricks/databrickstest"
)

func TestFaultsOfConnecting(t *testing.T) {
	p := databrickstest.Start(t, databrickstest.Options{})
	for name, c := range map[string]struct {
		change func(*resource.Databricks)
		class  fault.Class
		step   string
	}{
		"no such host":      {func(d *resource.Databricks) { d.Host = "no-such-host.invalid" }, fault.Unavailable, "resolve"},
		"nobody listens":    {func(d *resource.Databricks) { d.Port = 1 }, fault.Unavailable, "connect"},
		"no TLS there":      {func(d *resource.Databricks) { d.Protocol = "https" }, fault.Denied, "tls"},
		"no such principal": {func(d *resource.Databricks) { d.ClientSecret = resource.Secret{Plain: "canary"} }, fault.Denied, "authenticate"},
		"no such warehouse": {func(d *resource.Databricks) { d.WarehouseID = "missing" }, fault.NotFound, "warehouse"},
		"no such schema":    {func(d *resource.Databricks) { d.Schema = "missing" }, fault.Invalid, "schema"},
	} {
		t.Run(name, func(t *testing.T) {
			at := p.Connection()
			c.change(at.Databricks)
			s := openWith(t, databricks.Settings{}, at)
			if c.step != "schema" {
				_, err := s.Describe(t.Context(), model("SELECT 1 AS a"))
				require.Equal(t, c.class, fault.ClassOf(err), "%v", err)
			}
			steps := s.Check(t.Context())
			last := steps[len(steps)-1]
			require.Equal(t, c.step, last.Name)
			require.False(t, last.OK)
			require.NotEmpty(t, last.Message)
			require.NotContains(t, last.Message, "canary")
		})
	}
}

func TestCheckWarnsOfAPrincipalThatCouldWrite(t *testing.T) {
	steps := open(t, databrickstest.Start(t, databrickstest.Options{MayWrite: true})).Check(t.Context())
	last := steps[len(steps)-1]
	require.Equal(t, "privileges", last.Name)
	require.True(t, last.OK && last.Warning)
}

func TestSetup(t *testing.T) {
	text, err := databricks.New(databricks.Settings{}).Setup(resource.Connection{Databricks: &resource.Databricks{
		Host: "dbc-a.cloud.databricks.com", WarehouseID: "0123456789abcdef", Catalog: "marts", Schema: "odd`name", ClientID: "11111111-2222",
	}})
	require.NoError(t, err)
	for _, want := range []string{
		"GRANT USE CATALOG ON CATALOG `marts` TO `11111111-2222`;\n",
		"GRANT USE SCHEMA ON SCHEMA `marts`.`odd``name` TO `11111111-2222`;\n",
		"GRANT SELECT ON SCHEMA `marts`.`odd``name` TO `11111111-2222`;\n",
		"CAN USE", "/sql/1.0/warehouses/0123456789abcdef", "dbc-a.cloud.databricks.com:443", "OAuth secret",
		"ALTER TABLE `marts`.`odd``name`.<table> SET TBLPROPERTIES (delta.enableChangeDataFeed = true)",
	} {
		require.Contains(t, text, want)
	}
	for _, never := range []string{"MODIFY", "ALL PRIVILEGES"} {
		require.NotContains(t, text, never)
	}
}
