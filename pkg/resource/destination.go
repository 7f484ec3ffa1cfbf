package resource

import "strings"

// Destination is a setting of a connection that says where credentials are sent, or where it is signed in by them.
type Destination struct {
	Field  string // as documents write it: postgres.host
	Value  any    // comparable
	Secret string // the field of the only credential that goes there; empty: every one of the block
}

// Destinations answers the settings of c's block that say where its credentials go, set or not, in a fixed order. Whom they
// are of (user, role), what is read there (database, path of a warehouse) and how the line is protected (sslmode) is none. c is
// normalized.
func (c *Connection) Destinations() []Destination {
	server := func(block, host string, port int) []Destination {
		return []Destination{{Field: block + ".host", Value: strings.ToLower(host)}, {Field: block + ".port", Value: port}}
	}
	switch {
	case c.Postgres != nil:
		return server("postgres", c.Postgres.Host, c.Postgres.Port)
	case c.Redshift != nil: // its other endpoints know no stored credential
		return server("redshift", c.Redshift.Host, c.Redshift.Port)
	case c.Databricks != nil:
		return append(server("databricks", c.Databricks.Host, c.Databricks.Port), Destination{Field: "databricks.protocol", Value: c.Databricks.Protocol})
	case c.Snowflake != nil:
		s := c.Snowflake
		return append(server("snowflake", s.Host, s.Port),
			Destination{Field: "snowflake.protocol", Value: s.Protocol},
			Destination{Field: "snowflake.account", Value: strings.ToLower(s.Account)},
			Destination{Field: "snowflake.region", Value: s.Region},
			Destination{Field: "snowflake.oauth_token_url", Value: s.OAuthTokenURL, Secret: "snowflake.oauth_client_secret"}) //nolint:gosec // a name
	case c.BigQuery != nil:
		return []Destination{
			{Field: "bigquery.endpoint", Value: c.BigQuery.Endpoint},
			{Field: "bigquery.storage_endpoint", Value: c.BigQuery.StorageEndpoint},
			{Field: "bigquery.token_endpoint", Value: c.BigQuery.TokenEndpoint},
		}
	}
	return nil // a share's profile says itself where it goes
}
