package resource_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/resource"
)

// TestWhereCredentialsGo names, for each warehouse, what its credentials follow.
func TestWhereCredentialsGo(t *testing.T) {
	for _, c := range []struct {
		connection resource.Connection
		want       map[string]any
	}{
		{resource.Connection{DuckDB: &resource.DuckDB{Path: "/a"}}, map[string]any{}},
		{resource.Connection{DeltaSharing: &resource.DeltaSharing{Share: "s"}}, map[string]any{}},
		{
			resource.Connection{Postgres: &resource.Postgres{Host: "H", Database: "d"}},
			map[string]any{"postgres.host": "h", "postgres.port": 5432},
		},
		{
			resource.Connection{Redshift: &resource.Redshift{Host: "h", Port: 1}},
			map[string]any{"redshift.host": "h", "redshift.port": 1},
		},
		{
			resource.Connection{Databricks: &resource.Databricks{Host: "h", WarehouseID: "w"}},
			map[string]any{"databricks.host": "h", "databricks.port": 443, "databricks.protocol": "https"},
		},
		{
			resource.Connection{Snowflake: &resource.Snowflake{Account: "A", Region: "r", OAuthTokenURL: "u"}},
			map[string]any{
				"snowflake.host": "", "snowflake.port": 443, "snowflake.protocol": "https", "snowflake.account": "a", "snowflake.region": "r",
				"snowflake.oauth_token_url": "u",
			},
		},
		{
			resource.Connection{BigQuery: &resource.BigQuery{ProjectID: "p", Endpoint: "e", TokenEndpoint: "t"}},
			map[string]any{"bigquery.endpoint": "e", "bigquery.storage_endpoint": "", "bigquery.token_endpoint": "t"},
		},
	} {
		c.connection.Normalize()
		secrets := map[string]bool{"": true}
		for _, f := range c.connection.Secrets() {
			secrets[f.Name] = true
		}
		got := map[string]any{}
		for _, d := range c.connection.Destinations() {
			got[d.Field] = d.Value
			require.True(t, secrets[d.Secret], "%s is for a secret that there is", d.Field)
		}
		require.Equal(t, c.want, got)
	}
}
