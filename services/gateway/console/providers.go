package console

// inputKind is how a setting of a connection is typed.
type inputKind string

const (
	inputText       inputKind = "text"
	inputNumber     inputKind = "number"
	inputArea       inputKind = "area"
	inputChoice     inputKind = "choice"
	inputSecret     inputKind = "secret"
	inputSecretArea inputKind = "secretarea" // a secret of several lines, such as a PEM
)

// provider is a kind of warehouse as a form shows it. Its name is that of the field of Connection.
type provider struct {
	Name, Title, About string
	at                 []string // the settings that say in short where it leads
	settings           []setting
}

// setting is a field of a provider's message.
type setting struct {
	name, label, hint string
	kind              inputKind
	required          bool
	more              bool     // is shown on demand
	choices           []string // of inputChoice; the first one is what an empty value means
}

func timeoutSetting() setting {
	return setting{name: "statement_timeout", label: "Statement timeout", hint: "A duration such as 10m. Left empty: 1h.", kind: inputText, more: true}
}

func stateSetting(name string) setting {
	return setting{name: name, label: "Schema of mirrors' snapshots", hint: "Only for mirrors that the warehouse compares. Left empty: millrace.", kind: inputText, more: true}
}

func endpointSetting(name, label string) setting {
	return setting{name: name, label: label, hint: "A URL in the place of the vendor's, for private links.", kind: inputText, more: true}
}

func sslSetting() setting {
	return setting{name: "sslmode", label: "TLS", hint: "How the server's certificate is checked.", kind: inputChoice, more: true, choices: []string{"verify-full", "verify-ca", "require", "disable"}}
}

// providers are all kinds of warehouses, in the order in which they are offered.
func providers() []provider {
	return []provider{
		snowflakeProvider(), bigQueryProvider(), redshiftProvider(), databricksProvider(), deltaSharingProvider(), postgresProvider(),
		{Name: "duckdb", Title: "DuckDB and files", About: "A DuckDB database, or Parquet, CSV and JSON files that the extractor can see.", at: []string{"path"}, settings: []setting{
			{name: "path", label: "Path", hint: "From the root on, as the extractor sees it: a database file, one file, a folder, or a pattern such as /data/*.parquet.", kind: inputText, required: true},
		}},
	}
}

func providerNamed(name string) (provider, bool) {
	for _, p := range providers() {
		if p.Name == name {
			return p, true
		}
	}
	return provider{}, false
}

func postgresProvider() provider {
	return provider{Name: "postgres", Title: "PostgreSQL", About: "A database of a PostgreSQL server, or of one that speaks its protocol.", at: []string{"user", "host", "database"}, settings: []setting{
		{name: "host", label: "Host", kind: inputText, required: true},
		{name: "port", label: "Port", hint: "Left empty: 5432.", kind: inputNumber},
		{name: "database", label: "Database", kind: inputText, required: true},
		{name: "user", label: "User", hint: "One that may read only; “Setup” of the connection prints how to make it.", kind: inputText, required: true},
		{name: "password", label: "Password", kind: inputSecret},
		sslSetting(),
		{name: "ca", label: "Authority", hint: "PEM of the authority that signed the server's certificate.", kind: inputArea, more: true},
		{name: "client_certificate", label: "Client certificate", hint: "PEM.", kind: inputArea, more: true},
		{name: "client_key", label: "Key of the client certificate", hint: "PEM.", kind: inputSecretArea, more: true},
		timeoutSetting(), stateSetting("state_schema"),
	}}
}

func redshiftProvider() provider {
	return provider{Name: "redshift", Title: "Amazon Redshift", About: "A database of a cluster or of a serverless workgroup, by password or by IAM.", at: []string{"user", "host", "database"}, settings: []setting{
		{name: "host", label: "Host", kind: inputText, required: true},
		{name: "port", label: "Port", hint: "Left empty: 5439.", kind: inputNumber},
		{name: "database", label: "Database", kind: inputText, required: true},
		{name: "user", label: "User", hint: "With a cluster or a workgroup it may be left out.", kind: inputText},
		{name: "password", label: "Password", hint: "Left empty where IAM gives temporary credentials.", kind: inputSecret},
		{name: "cluster", label: "Cluster", hint: "Its identifier, for temporary credentials of IAM.", kind: inputText},
		{name: "workgroup", label: "Workgroup", hint: "Of Redshift Serverless, for temporary credentials of IAM.", kind: inputText},
		{name: "region", label: "Region", hint: "Such as eu-central-1; for IAM and for unloading.", kind: inputText},
		{name: "role_arn", label: "Role", hint: "The ARN of the role that the extractor assumes before it asks AWS for anything.", kind: inputText},
		{name: "external_id", label: "External id", hint: "What the role's trust policy asks for.", kind: inputText},
		{name: "unload_bucket", label: "Bucket to unload to", hint: "Left empty: rows are read through a cursor.", kind: inputText},
		{name: "unload_prefix", label: "Prefix of unloaded files", kind: inputText, more: true},
		{name: "unload_role", label: "Role that unloads", hint: "The role, or chain of roles joined by commas, that the warehouse writes to the bucket with.", kind: inputText},
		sslSetting(),
		{name: "ca", label: "Authority", hint: "PEM of the authority that signed the server's certificate.", kind: inputArea, more: true},
		timeoutSetting(), stateSetting("state_schema"),
		endpointSetting("endpoint", "Redshift API"), endpointSetting("sts_endpoint", "STS"), endpointSetting("s3_endpoint", "S3"),
	}}
}

func databricksProvider() provider {
	return provider{Name: "databricks", Title: "Databricks", About: "A SQL warehouse or cluster of a workspace, by a service principal or a token.", at: []string{"host", "catalog", "schema"}, settings: []setting{
		{name: "host", label: "Host", hint: "Of the workspace, such as dbc-a1b2c3d4-e5f6.cloud.databricks.com.", kind: inputText, required: true},
		{name: "http_path", label: "HTTP path", hint: "Of the SQL warehouse or cluster, such as /sql/1.0/warehouses/0123456789abcdef.", kind: inputText},
		{name: "warehouse_id", label: "SQL warehouse", hint: "Its id, in place of the HTTP path.", kind: inputText},
		{name: "catalog", label: "Catalog", kind: inputText},
		{name: "schema", label: "Schema", hint: "Left empty: default.", kind: inputText},
		{name: "client_id", label: "Service principal", hint: "Its application id; with its OAuth secret.", kind: inputText},
		{name: "client_secret", label: "OAuth secret", kind: inputSecret},
		{name: "token", label: "Personal access token", hint: "In place of a service principal.", kind: inputSecret},
		{name: "port", label: "Port", hint: "Left empty: 443, or 80 with http.", kind: inputNumber, more: true},
		{name: "protocol", label: "Protocol", hint: "http only to a proxy of your own that adds TLS.", kind: inputChoice, more: true, choices: []string{"https", "http"}},
		timeoutSetting(),
	}}
}

func deltaSharingProvider() provider {
	return provider{Name: "delta_sharing", Title: "Delta Sharing", About: "The tables of a share, by the open protocol.", at: []string{"share", "schema"}, settings: []setting{
		{name: "share", label: "Share", kind: inputText, required: true},
		{name: "schema", label: "Schema", hint: "Where tables without a schema are looked up.", kind: inputText},
		{name: "profile", label: "Recipient's profile", hint: "The text of the profile file: a JSON document with the server's endpoint and a bearer token.", kind: inputSecretArea, required: true},
	}}
}

func snowflakeProvider() provider {
	return provider{Name: "snowflake", Title: "Snowflake", About: "An account, by exactly one of: a key pair, OAuth, an access token, a workload identity.", at: []string{"user", "account", "database"}, settings: []setting{
		{name: "account", label: "Account", hint: "ORG-ACCOUNT, or a locator such as ab12345.", kind: inputText, required: true},
		{name: "region", label: "Region", hint: "Of a locator: us-west-2, us-east-2.aws.", kind: inputText},
		{name: "warehouse", label: "Warehouse", kind: inputText, required: true},
		{name: "database", label: "Database", kind: inputText, required: true},
		{name: "schema", label: "Schema", kind: inputText},
		{name: "role", label: "Role", kind: inputText},
		{name: "user", label: "User", kind: inputText},
		{name: "private_key", label: "Private key", hint: "PEM of the user's key.", kind: inputSecretArea},
		{name: "private_key_passphrase", label: "Passphrase of the private key", kind: inputSecret},
		{name: "private_key_2", label: "Next private key", hint: "While keys are rotated.", kind: inputSecretArea, more: true},
		{name: "private_key_2_passphrase", label: "Passphrase of the next private key", kind: inputSecret, more: true},
		{name: "token", label: "Programmatic access token", kind: inputSecret},
		{name: "oauth_client_id", label: "OAuth client", kind: inputText, more: true},
		{name: "oauth_client_secret", label: "OAuth client's secret", kind: inputSecret, more: true},
		{name: "oauth_token_url", label: "OAuth token URL", kind: inputText, more: true},
		{name: "oauth_scope", label: "OAuth scope", kind: inputText, more: true},
		{name: "workload_identity", label: "Workload identity", kind: inputChoice, more: true, choices: []string{"", "aws", "azure", "gcp", "oidc"}},
		{name: "workload_identity_token", label: "Token of the workload identity", hint: "For oidc.", kind: inputSecret, more: true},
		{name: "password", label: "Password", hint: "The vendor is taking passwords away; prefer a key pair.", kind: inputSecret, more: true},
		{name: "host", label: "Host", hint: "In the place of the account's own address: a private link.", kind: inputText, more: true},
		{name: "port", label: "Port", hint: "Left empty: 443.", kind: inputNumber, more: true},
		{name: "protocol", label: "Protocol", hint: "http to this machine only.", kind: inputChoice, more: true, choices: []string{"https", "http"}},
		{name: "timestamps", label: "Timestamps", hint: "What those finer than microseconds become.", kind: inputChoice, more: true, choices: []string{"microseconds", "nanoseconds"}},
		timeoutSetting(), stateSetting("state_schema"),
	}}
}

func bigQueryProvider() provider {
	return provider{Name: "bigquery", Title: "Google BigQuery", About: "A project, read as one service account.", at: []string{"project_id", "dataset_id"}, settings: []setting{
		{name: "project_id", label: "Project", hint: "Its id; queries are run and billed in it.", kind: inputText, required: true},
		{name: "dataset_id", label: "Data set", hint: "Where names without one are looked up.", kind: inputText},
		{name: "location", label: "Location", hint: "Such as EU or us-east1. Left empty: BigQuery finds it by the query.", kind: inputText},
		{name: "service_account_id", label: "Service account", hint: "Its e-mail address.", kind: inputText},
		{name: "service_account_key", label: "Key of the service account", hint: "The JSON document that Google gave.", kind: inputSecretArea},
		{name: "maximum_bytes_billed", label: "Most bytes billed", hint: "A query that would be billed for more is refused. Left empty: no bound.", kind: inputNumber},
		{name: "credentials", label: "Credentials", hint: "A key, or what the extractor's machine has (Application Default Credentials).", kind: inputChoice, more: true, choices: []string{"service_account_key", "application_default"}},
		timeoutSetting(), stateSetting("state_dataset"),
		endpointSetting("endpoint", "REST API"), endpointSetting("storage_endpoint", "Storage Read API"), endpointSetting("token_endpoint", "Tokens"),
	}}
}
