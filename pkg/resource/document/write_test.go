package document_test

import (
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/resource/document"
)

func TestWhatIsWrittenIsReadBackUnchanged(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := drawResource(t)
		r.Normalize()
		if vs := r.Validate(); len(vs) > 0 {
			require.Empty(t, vs)
		}
		f, err := document.Write(r)
		require.NoError(t, err)
		set, violations := document.Parse([]document.File{f})
		require.Empty(t, violations, f.Content)
		require.Empty(t, set.Warnings, f.Content)
		require.Len(t, set.Items, 1)
		require.Equal(t, r, set.Items[0].Resource, f.Content)
	})
}

func TestAWrittenDocumentIsForPeople(t *testing.T) {
	s := &resource.Sync{
		Meta: resource.Meta{ID: "customers", DisplayName: "Customers, hourly"}, DataModel: "customers", Mode: resource.Incremental,
		Schedule: resource.Schedule{Every: "hourly", Start: time.Date(2026, 1, 1, 0, 15, 0, 0, time.UTC)}, Lookback: 10 * time.Minute,
		Drift: resource.Drift{Added: resource.DriftMap},
	}
	s.Normalize()
	f, err := document.Write(s)
	require.NoError(t, err)
	require.Equal(t, "sync-customers.yaml", f.Name)
	require.Equal(t, `kind: Sync
id: customers
display_name: "Customers, hourly"
data_model: customers
mode: incremental
schedule: {every: hourly, start: "2026-01-01T00:15:00Z"}
lookback: 10m
state: draft
drift: {added: map}
`, f.Content)
	m := &resource.DataModel{
		Meta: resource.Meta{ID: "m", DisplayName: "m"}, Connection: "c", Kind: resource.Users, SQL: "SELECT a\nFROM t\n", KeyColumns: []string{"a"},
		Iterator: resource.Iterator{Column: "b", Type: resource.IteratorTimestamp},
	}
	f, err = document.Write(m)
	require.NoError(t, err)
	require.Equal(t, `kind: DataModel
id: m
connection: c
record_kind: users
sql: |
  SELECT a
  FROM t
key_columns: [a]
iterator: {column: b, type: timestamp}
`, f.Content)
}

func TestASecretIsNeverWritten(t *testing.T) {
	for _, s := range []resource.Secret{{Plain: "canary"}, {Sealed: []byte("canary")}, {Kept: true}} {
		c := &resource.Connection{
			Meta:     resource.Meta{ID: "c", DisplayName: "c"},
			Postgres: &resource.Postgres{Host: "h", Port: 1, Database: "d", User: "u", Password: s},
		}
		f, err := document.Write(c)
		require.NoError(t, err)
		require.NotContains(t, f.Content, "canary")
		require.Contains(t, f.Content, "password: {kept: true}")
	}
}

func FuzzParse(f *testing.F) {
	example, err := os.ReadFile("testdata/example.txtar")
	require.NoError(f, err)
	f.Add(string(example))
	for _, s := range []string{
		"kind: Feed\nid: f\nenvironment: prod\n", "kind: Mapping\nid: m\nrules:\n  - {column: a, to: x, default: [1, {b: null}]}\n",
		"kind: Mapping\nid: m\nrules: &r\n  - {object: o, rules: *r}\n", "? [a]\n: b\n", "--- !!map\nkind: !x Sync\n", "kind: Sync\nid: s\nschedule: {after: [a]}\nfrom: 2024-01-01\n",
		"kind: Connection\nid: c\npostgres: {host: h, database: d, user: u, password: {env: A}, ca: {file: b}}\n", "kind: Alert\nid: a\non: [late]\nwebhook: {url: https://h/p, secret: {kept: true}}\nemail: {to: a@b.c}\n", "%YAML 1.1\n---\nkind: Feed\n", "a: &a [*a]\n", "\ufeffkind: Feed\nid: f\n",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, content string) {
		if len(content) > 1<<14 {
			return
		}
		set, violations := document.Parse([]document.File{{Name: "f.yaml", Content: content, BaseDir: "/docs"}})
		for _, v := range violations {
			if v.Line < 1 || v.Column < 1 || v.File == "" || v.Message == "" || v.Fix == "" {
				t.Errorf("a violation without a place or without a fix: %+v", v)
			}
		}
		if len(violations) > 0 {
			return
		}
		for _, it := range set.Items {
			again(t, it.Resource)
		}
	})
}

// again requires that what was accepted is written and read back as the same resource.
func again(t *testing.T, r resource.Resource) {
	t.Helper()
	hideSecrets(r)
	f, err := document.Write(r)
	require.NoError(t, err)
	set, violations := document.Parse([]document.File{f})
	require.Empty(t, lines(violations), f.Content)
	require.Len(t, set.Items, 1)
	require.Equal(t, r, set.Items[0].Resource, f.Content)
}

func hideSecrets(r resource.Resource) {
	if c, ok := r.(resource.Confidential); ok {
		for _, s := range c.Secrets() {
			if !s.Value.IsZero() {
				*s.Value = resource.Secret{Kept: true}
			}
		}
	}
}

func TestPlainScalarsFollowTheCoreSchema(t *testing.T) {
	values := map[string]any{
		"no": "no", "yes": "yes", "on": "on", "y": "y", "true": true, "False": false, "null": nil, "~": nil, "12": int64(12), "-0x": "-0x", "0o17": int64(15), "0x1F": int64(31),
		"017": int64(17), "+3": int64(3), "1_000": "1_000", "1.5": 1.5, "1e3": 1000.0, "2024-01-01": "2024-01-01", "12:30:45": "12:30:45", "0b11": "0b11", "'12'": "12", `"true"`: "true", "!!str 12": "12",
	}
	for text, want := range values {
		r := one(t, "kind: Mapping\nid: m\nrules:\n  - static: "+text+"\n    to: x\n")
		m, ok := r.(*resource.Mapping)
		require.True(t, ok)
		require.True(t, m.Rules[0].HasStatic, text)
		require.Equal(t, want, m.Rules[0].Static, text)
	}
}

func TestInstantsAndPaths(t *testing.T) {
	s, ok := one(t, "kind: Sync\nid: s\ndata_model: m\nmode: full\nfrom: 2024-01-01\nuntil: 2024-02-01T12:00:00+02:00\n").(*resource.Sync)
	require.True(t, ok)
	require.Equal(t, time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC), s.From)
	require.Equal(t, time.Date(2024, 2, 1, 10, 0, 0, 0, time.UTC), s.Until)
	c, ok := one(t, "kind: Connection\nid: c\nduckdb: {path: ../data/*.csv}\n").(*resource.Connection)
	require.True(t, ok)
	require.Equal(t, "/data/*.csv", c.DuckDB.Path)
	_, violations := document.Parse([]document.File{{Name: "a.yaml", Content: "kind: Connection\nid: c\nduckdb: {path: x.csv}\n"}})
	require.Equal(t, "a.yaml:3:16 Connection c duckdb.path: \"x.csv\" is not absolute; write it from the root on, as the extractor sees it\n", lines(violations))
}

func TestBoundsAreSaid(t *testing.T) {
	_, violations := document.Parse([]document.File{{Name: "a.yaml", Content: strings.Repeat("#", document.MaxFile+1)}})
	require.Len(t, violations, 1)
	_, violations = document.Parse([]document.File{{Name: "a.yaml", Content: "kind: Feed\nid: \xff\n"}})
	require.Equal(t, "a.yaml:2:5: the file is not UTF-8 text; save it as UTF-8\n", lines(violations))
	_, violations = document.Parse([]document.File{{Name: "a.yaml", Content: strings.Repeat("a: 1\n---\n", 600)}})
	require.Len(t, violations, 501)
	require.Equal(t, "100 further violations are not listed", violations[500].Message)
	_, violations = document.Parse([]document.File{{Name: "a.yaml", Content: "a: " + strings.Repeat("[", 20_000)}})
	require.Len(t, violations, 1)
	set, violations := document.Parse(nil)
	require.Empty(t, violations)
	require.Empty(t, set.Items)
	var none []fault.Violation
	require.Equal(t, none, violations)
}

func drawText(t *rapid.T, name string) string {
	return rapid.OneOf(
		rapid.SampledFrom([]string{"no", "yes", "null", "~", "1", "1.0", "0o7", "0x1", "1e5", ".5", "true", "- a", "a: b", "#x", "a #b", "&a", "*a", "!a", "|", ">", "%a", "@a", "`", "2024-01-01", "1:30", "<<", "=", "?", "{a}", "[a]", "'", `"`, `\`, "...", "---", "nan", ".inf", "ä", "🙂", "on", "a,b", "$unmapped"}),
		rapid.StringMatching(`[ -~äß🙂]{1,12}`),
	).Draw(t, name)
}

func drawID(t *rapid.T, name string) string {
	return rapid.StringMatching(`[a-z0-9_-]{1,12}`).Draw(t, name)
}

func drawBody(t *rapid.T, name string) string {
	s := rapid.OneOf(rapid.StringMatching("[ -~\n\t\u00e4\u2028]{1,40}"), rapid.StringMatching("(SELECT [a-z ]{1,9}\n){1,4}")).Draw(t, name)
	if strings.TrimSpace(s) == "" {
		return "SELECT 1"
	}
	return s
}

func drawMeta(t *rapid.T) resource.Meta {
	m := resource.Meta{ID: drawID(t, "id"), DisplayName: drawText(t, "name")}
	for range rapid.IntRange(0, 2).Draw(t, "labels") {
		if m.Labels == nil {
			m.Labels = map[string]string{}
		}
		m.Labels[rapid.StringMatching(`[a-zA-Z0-9_./-]{1,8}`).Draw(t, "label")] = rapid.SampledFrom([]string{"", "x", "no", "12"}).Draw(t, "value")
	}
	return m
}

func drawValue(t *rapid.T, depth int) any {
	switch n := rapid.IntRange(0, 6).Draw(t, "value"); {
	case n == 0:
		return nil
	case n == 1:
		return rapid.Bool().Draw(t, "bool")
	case n == 2:
		return rapid.Int64Range(-1<<53, 1<<53).Draw(t, "int")
	case n == 3:
		return rapid.Float64Range(-1e300, 1e300).Draw(t, "float")
	case n == 4 && depth > 0:
		out := make([]any, 0)
		for range rapid.IntRange(0, 3).Draw(t, "list") {
			out = append(out, drawValue(t, depth-1))
		}
		return out
	case n == 5 && depth > 0:
		out := map[string]any{}
		for range rapid.IntRange(0, 3).Draw(t, "object") {
			out[drawText(t, "key")] = drawValue(t, depth-1)
		}
		return out
	default:
		return drawBody(t, "text")
	}
}

func drawRule(t *rapid.T, depth int) resource.Rule {
	switch n := rapid.IntRange(0, 4).Draw(t, "form"); {
	case n == 0:
		return resource.Rule{Ignore: drawText(t, "ignore")}
	case n == 1 && depth > 0:
		return resource.Rule{Object: drawText(t, "object"), Rules: []resource.Rule{drawRule(t, depth-1), drawRule(t, depth-1)}}
	case n == 2:
		return resource.Rule{Static: drawValue(t, 2), HasStatic: true, To: drawText(t, "to"), Type: "string"}
	default:
		r := resource.Rule{To: drawText(t, "to"), OnNull: "clear", OnLoss: "round", Transform: []string{"trim", "mask"}}
		if n == 3 {
			r.Column = drawText(t, "column")
		} else {
			r.Expression = drawBody(t, "expression")
		}
		if rapid.Bool().Draw(t, "default") {
			r.Default, r.HasDefault = drawValue(t, 1), true
		}
		return r
	}
}

func drawRedshift(t *rapid.T) *resource.Redshift {
	r := &resource.Redshift{
		Host: "wh.example.com", Port: rapid.IntRange(1, 65535).Draw(t, "port"), Database: drawText(t, "database"), Region: "us-gov-west-1", SSLMode: "verify-ca",
		RoleARN: "arn:aws-us-gov:iam::111122223333:role/reader", ExternalID: "of-" + drawID(t, "external"),
		UnloadBucket: "bucket.of-1", UnloadPrefix: drawID(t, "prefix"), UnloadRole: "arn:aws-us-gov:iam::111122223333:role/unload",
		Endpoint: "https://a.example.com", STSEndpoint: "https://b.example.com", S3Endpoint: "http://127.0.0.1:9",
		StatementTimeout: time.Duration(rapid.Int64Range(1, 1e15).Draw(t, "timeout")), StateSchema: "of_" + drawID(t, "schema"),
	}
	switch rapid.IntRange(0, 2).Draw(t, "way in") {
	case 0:
		r.User, r.Password = drawText(t, "user"), resource.Secret{Kept: true}
	case 1:
		r.Cluster = "analytics-1"
	default:
		r.Workgroup = "wg"
	}
	return r
}

func drawResource(t *rapid.T) resource.Resource {
	switch rapid.IntRange(0, 9).Draw(t, "kind") {
	case 9:
		return drawAlert(t)
	case 8:
		return &resource.Connection{Meta: drawMeta(t), Redshift: drawRedshift(t)}
	case 0:
		return &resource.Feed{Meta: drawMeta(t), Environment: resource.Dev, Protection: resource.ReadOnly}
	case 1:
		if rapid.Bool().Draw(t, "delta sharing") {
			return &resource.Connection{Meta: drawMeta(t), DeltaSharing: &resource.DeltaSharing{Share: drawText(t, "share"), Schema: drawText(t, "schema"), Profile: resource.Secret{Kept: true}}}
		}
		if rapid.Bool().Draw(t, "bigquery") {
			return &resource.Connection{Meta: drawMeta(t), BigQuery: drawBigQuery(t)}
		}
		return &resource.Connection{Meta: drawMeta(t), DuckDB: &resource.DuckDB{Path: "/" + drawID(t, "path") + "/*.csv"}}
	case 2:
		return &resource.Connection{Meta: drawMeta(t), Postgres: &resource.Postgres{
			Host: drawText(t, "host"), Port: rapid.IntRange(1, 65535).Draw(t, "port"), Database: drawText(t, "database"), User: drawText(t, "user"),
			Password: resource.Secret{Kept: true}, SSLMode: "require", StatementTimeout: time.Duration(rapid.Int64Range(1, 1e15).Draw(t, "timeout")),
			StateSchema: drawText(t, "schema"),
		}}
	case 6:
		return &resource.Connection{Meta: drawMeta(t), Databricks: &resource.Databricks{
			Host: "10.0.0.1", Port: rapid.IntRange(1, 65535).Draw(t, "port"), Protocol: "http", WarehouseID: "0123456789abcdef", Catalog: drawText(t, "catalog"),
			Schema: drawText(t, "schema"), ClientID: drawText(t, "client"), ClientSecret: resource.Secret{Kept: true}, StatementTimeout: time.Duration(rapid.Int64Range(1, 1e15).Draw(t, "timeout")),
		}}
	case 7:
		f := &resource.Snowflake{
			Account: "A" + drawID(t, "account"), Region: "us-east-2.aws", Warehouse: drawText(t, "warehouse"), Database: drawText(t, "database"),
			Schema: drawText(t, "schema"), Role: drawText(t, "role"), User: drawText(t, "user"), Port: rapid.IntRange(1, 65535).Draw(t, "port"),
			Host: "localhost", Protocol: rapid.SampledFrom([]string{"http", "https"}).Draw(t, "protocol"), Timestamps: resource.Nanoseconds, StateSchema: drawText(t, "schema"),
			StatementTimeout: time.Duration(rapid.Int64Range(1, 1e15).Draw(t, "timeout")),
		}
		switch rapid.IntRange(0, 3).Draw(t, "credentials") {
		case 0:
			f.PrivateKey, f.PrivateKey2 = resource.Secret{Kept: true}, resource.Secret{Kept: true}
			f.PrivateKeyPassphrase, f.PrivateKey2Passphrase = resource.Secret{Kept: true}, resource.Secret{Kept: true}
		case 1:
			f.OAuthClientID, f.OAuthClientSecret, f.OAuthTokenURL, f.OAuthScope = drawText(t, "client"), resource.Secret{Kept: true}, "https://idp.example.com/t", drawText(t, "scope")
		case 2:
			f.WorkloadIdentity, f.WorkloadIdentityToken = "oidc", resource.Secret{Kept: true}
		default:
			f.Token = resource.Secret{Kept: true}
		}
		return &resource.Connection{Meta: drawMeta(t), Snowflake: f}
	case 3:
		return &resource.DataModel{
			Meta: drawMeta(t), Connection: drawID(t, "connection"), Kind: resource.Users, SQL: drawBody(t, "sql"), KeyColumns: []string{drawText(t, "key")},
			Iterator: resource.Iterator{Column: drawText(t, "iterator"), Type: resource.IteratorInteger, TimeZone: "Europe/Berlin", ReadNulls: rapid.Bool().Draw(t, "nulls")},
		}
	case 4:
		m := &resource.Mapping{Meta: drawMeta(t)}
		for range rapid.IntRange(1, 4).Draw(t, "rules") {
			m.Rules = append(m.Rules, drawRule(t, 2))
		}
		return m
	case 5:
		return &resource.Mapping{Meta: drawMeta(t), Events: &resource.EventsMapping{Time: drawText(t, "time"), NameStatic: drawText(t, "name"), UserID: drawText(t, "user")}}
	default:
		at := time.Unix(rapid.Int64Range(1, 4e9).Draw(t, "at"), 0).UTC()
		return &resource.Sync{
			Meta: drawMeta(t), DataModel: drawID(t, "model"), Mapping: drawID(t, "mapping"), Feed: drawID(t, "feed"), Mode: resource.Full, From: at, Until: at.Add(time.Hour),
			Lookback: time.Duration(rapid.Int64Range(0, 1e15).Draw(t, "lookback")), Freshness: time.Duration(rapid.Int64Range(0, 1e15).Draw(t, "freshness")), State: resource.Paused, TriggerLimit: "5/h",
			MirrorEngine: rapid.SampledFrom([]resource.MirrorEngine{"", resource.RowIndex, resource.Diff, resource.Native}).Draw(t, "engine"),
			Drift: resource.Drift{
				Added:   rapid.SampledFrom([]resource.DriftPolicy{"", resource.DriftIgnore, resource.DriftMap, resource.DriftHold}).Draw(t, "added"),
				Dropped: rapid.SampledFrom([]resource.DriftPolicy{"", resource.DriftHold}).Draw(t, "dropped"),
			},
			Guard: resource.Guard{
				Updates: &resource.GuardLimit{MaxPercent: rapid.Float64Range(0.001, 100).Draw(t, "percent"), MinRows: rapid.Int64Range(0, 1e15).Draw(t, "rows")},
				Rows:    &resource.GuardRows{MinPercentOfAverage: 50}, OnBreach: resource.GuardNotify,
			},
			Budget:      resource.Budget{BytesScanned: rapid.Int64Range(0, math.MaxInt64).Draw(t, "budget")},
			RejectLimit: resource.RejectLimit{Percent: rapid.Float64Range(0.001, 100).Draw(t, "rejects"), Of: rapid.Int64Range(0, 1e15).Draw(t, "of")},
			Schedule: rapid.SampledFrom([]resource.Schedule{
				{}, {Every: "15m", Start: at}, {Cron: "0 6 * * *", TimeZone: "UTC"}, {Once: at}, {After: []string{"a-1", "b_2"}},
			}).Draw(t, "schedule"),
		}
	}
}

func drawAlert(t *rapid.T) *resource.Alert {
	a := &resource.Alert{Meta: drawMeta(t)}
	for _, e := range resource.AlertEvents() {
		if rapid.Bool().Draw(t, string(e)) {
			a.On = append(a.On, e)
		}
	}
	if id := drawID(t, "sync"); rapid.Bool().Draw(t, "syncs") {
		a.Syncs = []string{id, id + "-2"}
	}
	if rapid.Bool().Draw(t, "email") {
		a.Email = &resource.Email{To: []string{drawID(t, "to") + "@example.com", "ops+1@example.com"}}
	}
	if a.Email == nil || rapid.Bool().Draw(t, "webhook") {
		a.Webhook = &resource.Webhook{URL: "https://hooks.example.com:8443/" + drawID(t, "path") + "?a=b", Secret: resource.Secret{Kept: true}}
	}
	return a
}

func drawBigQuery(t *rapid.T) *resource.BigQuery {
	return &resource.BigQuery{
		ProjectID: "acme-prod", DatasetID: "marts", Location: "europe-west3",
		MaximumBytesBilled: rapid.Int64Range(1, 1e15).Draw(t, "bytes"), ServiceAccountID: drawID(t, "account") + "@acme.iam.gserviceaccount.com",
		ServiceAccountKey: resource.Secret{Kept: true}, Credentials: resource.ByServiceAccountKey, StatementTimeout: time.Hour, StateDataset: "states_1",
		Endpoint: "http://127.0.0.1:1", StorageEndpoint: "https://" + drawID(t, "storage"), TokenEndpoint: "http://[::1]:2/token",
	}
}
