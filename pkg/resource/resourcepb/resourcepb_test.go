package resourcepb_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	configv1 "millrace.dev/gen/millrace/config/v1"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/resource/resourcepb"
)

// wire sends a message through its bytes, as a call does.
func wire[M proto.Message](t *rapid.T, in, out M) M {
	data, err := proto.Marshal(in)
	require.NoError(t, err)
	require.NoError(t, proto.Unmarshal(data, out))
	return out
}

func TestEveryResourceTravelsThereAndBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := snapshot(t)
		require.Equal(t, s, resourcepb.OfSnapshot(wire(t, resourcepb.ToSnapshot(s), &configv1.SyncSnapshot{})))
		require.Equal(t, s.Connection, resourcepb.OfConnection(wire(t, resourcepb.ToConnection(s.Connection), &configv1.Connection{})))
		require.Equal(t, s.Feed, resourcepb.OfFeed(wire(t, resourcepb.ToFeed(s.Feed), &configv1.Feed{})))
		require.Equal(t, s.DataModel, resourcepb.OfDataModel(wire(t, resourcepb.ToDataModel(s.DataModel), &configv1.DataModel{})))
		require.Equal(t, s.Sync, resourcepb.OfSync(wire(t, resourcepb.ToSync(s.Sync), &configv1.Sync{})))
		require.Equal(t, s.Sync.Schedule, resourcepb.OfSchedule(wire(t, resourcepb.ToSchedule(s.Sync.Schedule), &configv1.Schedule{})))
		if s.Mapping != nil {
			require.Equal(t, *s.Mapping, resourcepb.OfMapping(wire(t, resourcepb.ToMapping(*s.Mapping), &configv1.Mapping{})))
		}
		a := alert(t)
		require.Equal(t, a, resourcepb.OfAlert(wire(t, resourcepb.ToAlert(a), &configv1.Alert{})))
		require.Empty(t, resourcepb.CheckSync(resourcepb.ToSync(s.Sync)))
		require.Empty(t, resourcepb.CheckConnection(resourcepb.ToConnection(s.Connection)))
	})
}

func TestNilMessagesAreZeroResources(t *testing.T) {
	require.Zero(t, resourcepb.OfConnection(nil))
	require.Zero(t, resourcepb.OfFeed(nil))
	require.Zero(t, resourcepb.OfDataModel(nil))
	require.Zero(t, resourcepb.OfMapping(nil))
	require.Zero(t, resourcepb.OfSync(nil))
	require.Zero(t, resourcepb.OfAlert(nil))
	require.Zero(t, resourcepb.OfSchedule(nil))
	require.Zero(t, resourcepb.OfSnapshot(nil))
}

func TestAnUnknownEnumNumberIsNoWord(t *testing.T) {
	require.Equal(t, resource.Mode("77"), resourcepb.OfSync(&configv1.Sync{Mode: 77}).Mode)
	require.Equal(t, []resource.AlertEvent{"77"}, resourcepb.OfAlert(&configv1.Alert{On: []configv1.AlertEvent{77}}).On)
}

func TestCheckReportsWhatValuesCannotHold(t *testing.T) {
	s := &configv1.Sync{
		Lookback: "soon", Delay: "-3s", Freshness: "fresh", From: &timestamppb.Timestamp{Nanos: -1},
		Schedule: &configv1.Schedule{When: &configv1.Schedule_Every{Every: &configv1.Every{}}}, Drift: &configv1.Drift{Added: 9},
	}
	var fields []string
	for _, v := range resourcepb.CheckSync(s) {
		fields = append(fields, v.Field)
	}
	require.Equal(t, []string{"lookback", "delay", "freshness", "from", "drift.added", "schedule.every"}, fields)
	require.Len(t, resourcepb.CheckDataModel(&configv1.DataModel{Iterator: &configv1.Iterator{Nulls: 9}}), 1)
	c := &configv1.Connection{Provider: &configv1.Connection_Postgres{Postgres: &configv1.Postgres{StatementTimeout: "1"}}}
	require.Len(t, resourcepb.CheckConnection(c), 1)
	c.Provider = &configv1.Connection_Snowflake{Snowflake: &configv1.Snowflake{StatementTimeout: "1"}}
	require.Len(t, resourcepb.CheckConnection(c), 1)
}

func text(t *rapid.T, name string) string { return rapid.StringN(0, 12, 40).Draw(t, name) }

func oneOf[T any](t *rapid.T, name string, values ...T) T {
	return rapid.SampledFrom(values).Draw(t, name)
}

func instant(t *rapid.T, name string) time.Time {
	sec := rapid.Int64Range(-62135596799, 253402300799).Draw(t, name)
	if sec == 0 {
		return time.Time{}
	}
	return time.Unix(sec, rapid.Int64Range(0, 999_999_999).Draw(t, name+"ns")).UTC()
}

func meta(t *rapid.T) resource.Meta {
	m := resource.Meta{
		Workspace: id.Workspace(text(t, "workspace")), ID: text(t, "id"), UID: text(t, "uid"), DisplayName: text(t, "name"), Etag: text(t, "etag"),
		CreateTime: instant(t, "created"), UpdateTime: instant(t, "updated"), CreatedBy: text(t, "creator"), UpdatedBy: text(t, "updater"),
	}
	for i := range rapid.IntRange(0, 3).Draw(t, "labels") {
		if m.Labels == nil {
			m.Labels = map[string]string{}
		}
		m.Labels[fmt.Sprint(i)] = text(t, "label")
	}
	return m
}

func secret(t *rapid.T) resource.Secret {
	return oneOf(t, "secret", resource.Secret{}, resource.Secret{Plain: "p"}, resource.Secret{Sealed: []byte{0, 1}}, resource.Secret{Kept: true})
}

func texts(t *rapid.T, name string) []string {
	var out []string
	for range rapid.IntRange(0, 3).Draw(t, name) {
		out = append(out, text(t, name))
	}
	return out
}

func value(t *rapid.T, depth int) any {
	n := rapid.IntRange(0, 6).Draw(t, "value")
	if depth == 0 {
		n %= 5
	}
	switch n {
	case 0:
		return nil
	case 1:
		return text(t, "text")
	case 2:
		return rapid.Bool().Draw(t, "bool")
	case 3:
		return rapid.Int64Range(-1<<53, 1<<53).Draw(t, "int")
	case 4:
		return float64(rapid.Int32().Draw(t, "float")) + 0.5
	case 5:
		out := make([]any, 0)
		for range rapid.IntRange(0, 3).Draw(t, "list") {
			out = append(out, value(t, depth-1))
		}
		return out
	default:
		out := map[string]any{}
		for range rapid.IntRange(0, 3).Draw(t, "object") {
			out[text(t, "key")] = value(t, depth-1)
		}
		return out
	}
}

func rules(t *rapid.T, parent string, depth int) []resource.Rule {
	var out []resource.Rule
	for i := range rapid.IntRange(0, 3).Draw(t, "rules") {
		r := resource.Rule{
			Column: text(t, "column"), Expression: text(t, "expression"), Ignore: text(t, "ignore"), Object: text(t, "object"),
			To: text(t, "to"), Type: text(t, "type"), OnNull: text(t, "on_null"), OnLoss: text(t, "on_loss"), Transform: texts(t, "transform"),
			Path: fmt.Sprintf("%srules[%d]", parent, i),
		}
		if rapid.Bool().Draw(t, "static") {
			r.Static, r.HasStatic = value(t, 2), true
		}
		if rapid.Bool().Draw(t, "default") {
			r.Default, r.HasDefault = value(t, 2), true
		}
		if depth > 0 {
			r.Rules = rules(t, r.Path+".", depth-1)
		}
		out = append(out, r)
	}
	return out
}

func schedule(t *rapid.T) resource.Schedule {
	at := time.Unix(rapid.Int64Range(1, 4e9).Draw(t, "at"), 0).UTC()
	return oneOf(t, "schedule",
		resource.Schedule{}, resource.Schedule{Every: "2h", Start: at}, resource.Schedule{Every: "daily"},
		resource.Schedule{Cron: "0 6 * * *", TimeZone: "Europe/Berlin"}, resource.Schedule{Once: at}, resource.Schedule{After: []string{"a", "b"}},
	)
}

func duration(t *rapid.T, name string) time.Duration {
	return time.Duration(rapid.Int64Range(0, 1<<62).Draw(t, name))
}

func alert(t *rapid.T) resource.Alert {
	a := resource.Alert{Meta: meta(t), Syncs: texts(t, "syncs")}
	for _, e := range resource.AlertEvents() {
		if rapid.Bool().Draw(t, string(e)) {
			a.On = append(a.On, e)
		}
	}
	if rapid.Bool().Draw(t, "webhook") {
		a.Webhook = &resource.Webhook{URL: text(t, "url"), Secret: secret(t)}
	}
	if rapid.Bool().Draw(t, "email") {
		a.Email = &resource.Email{To: texts(t, "to")}
	}
	return a
}

func snapshot(t *rapid.T) resource.Snapshot {
	s := resource.Snapshot{
		Version:    rapid.Int64().Draw(t, "version"),
		Connection: resource.Connection{Meta: meta(t)},
		Feed: resource.Feed{
			Meta: meta(t), Environment: oneOf(t, "environment", "", resource.Prod, resource.Dev),
			Protection: oneOf(t, "protection", "", resource.CreateAndUpdate, resource.UpdateOnly, resource.ReadOnly),
		},
		DataModel: resource.DataModel{
			Meta: meta(t), Connection: text(t, "connection"), Kind: oneOf(t, "kind", "", resource.Users, resource.Events), KeyColumns: texts(t, "keys"),
			Iterator: oneOf(t, "iterator", resource.Iterator{}, resource.Iterator{Column: "c", Type: resource.IteratorDecimal},
				resource.Iterator{Column: "c", Type: resource.IteratorDate, TimeZone: "UTC", ReadNulls: true},
				resource.Iterator{Type: resource.IteratorInteger}, resource.Iterator{Type: resource.IteratorTimestamp}),
		},
		Sync: resource.Sync{
			Meta: meta(t), DataModel: text(t, "model"), Mapping: text(t, "mapping"), Feed: text(t, "feed"),
			Mode: oneOf(t, "mode", "", resource.Incremental, resource.Full), Schedule: schedule(t), From: instant(t, "from"), Until: instant(t, "until"),
			Lookback: duration(t, "lookback"), Delay: duration(t, "delay"), Freshness: duration(t, "freshness"),
			State: oneOf(t, "state", "", resource.Draft, resource.Active, resource.Paused), TriggerLimit: text(t, "limit"),
			Guard: oneOf(t, "guard", resource.Guard{}, resource.Guard{Deletes: &resource.GuardLimit{MaxPercent: 20, MinRows: 100}, OnBreach: resource.GuardHold},
				resource.Guard{Updates: &resource.GuardLimit{}, Nulls: &resource.GuardLimit{MinRows: 1}, Rows: &resource.GuardRows{MinPercentOfAverage: 50}}),
			Budget:      resource.Budget{BytesScanned: rapid.Int64().Draw(t, "budget")},
			RejectLimit: oneOf(t, "reject limit", resource.RejectLimit{}, resource.RejectLimit{Percent: 50, Of: 1000}),
			Status:      oneOf(t, "status", "", resource.Healthy, resource.Faulted, resource.Held, resource.ResyncRequired),
			Reason:      text(t, "reason"), NextStep: text(t, "next"), Version: rapid.Int64().Draw(t, "sync version"),
			MirrorEngine: resource.MirrorEngine(oneOf(t, "engine", "", string(resource.RowIndex), string(resource.Diff), string(resource.Native))),
			Drift: resource.Drift{
				Added:    oneOf(t, "added", "", resource.DriftIgnore, resource.DriftMap, resource.DriftHold),
				Dropped:  oneOf(t, "dropped", "", resource.DriftHold),
				Narrowed: oneOf(t, "narrowed", "", resource.DriftHold),
			},
		},
	}
	switch rapid.IntRange(0, 7).Draw(t, "provider") {
	case 1:
		s.Connection.DuckDB = &resource.DuckDB{Path: text(t, "path")}
	case 2:
		s.Connection.Postgres = &resource.Postgres{
			Host: text(t, "host"), Port: rapid.IntRange(0, 65535).Draw(t, "port"), Database: text(t, "database"), User: text(t, "user"),
			Password: secret(t), SSLMode: text(t, "sslmode"), CA: text(t, "ca"), ClientCertificate: text(t, "certificate"), ClientKey: secret(t),
			StatementTimeout: duration(t, "timeout"), StateSchema: text(t, "schema"),
		}
	case 3:
		s.Connection.Databricks = &resource.Databricks{
			Host: text(t, "host"), Port: rapid.IntRange(0, 65535).Draw(t, "port"), Protocol: text(t, "protocol"), HTTPPath: text(t, "path"),
			WarehouseID: text(t, "warehouse"), Catalog: text(t, "catalog"), Schema: text(t, "schema"), ClientID: text(t, "client"),
			ClientSecret: secret(t), Token: secret(t), StatementTimeout: duration(t, "timeout"),
		}
	case 4:
		s.Connection.Snowflake = &resource.Snowflake{
			Account: text(t, "account"), Region: text(t, "region"), Warehouse: text(t, "warehouse"), Database: text(t, "database"), Schema: text(t, "schema"),
			Role: text(t, "role"), User: text(t, "user"), Host: text(t, "host"), Port: rapid.IntRange(0, 65535).Draw(t, "port"), Protocol: text(t, "protocol"),
			Timestamps: text(t, "timestamps"), StatementTimeout: duration(t, "timeout"), PrivateKey: secret(t), PrivateKey2: secret(t),
			PrivateKeyPassphrase: secret(t), PrivateKey2Passphrase: secret(t), StateSchema: text(t, "state schema"),
			OAuthClientID: text(t, "client"), OAuthClientSecret: secret(t), OAuthTokenURL: text(t, "token url"), OAuthScope: text(t, "scope"),
			Token: secret(t), WorkloadIdentity: text(t, "identity"), WorkloadIdentityToken: secret(t), Password: secret(t),
		}
	case 6:
		s.Connection.DeltaSharing = &resource.DeltaSharing{Share: text(t, "share"), Schema: text(t, "schema"), Profile: secret(t)}
	case 7:
		s.Connection.Redshift = &resource.Redshift{
			Host: text(t, "host"), Port: rapid.IntRange(0, 65535).Draw(t, "port"), Database: text(t, "database"), User: text(t, "user"), Password: secret(t),
			Cluster: text(t, "cluster"), Workgroup: text(t, "workgroup"), Region: text(t, "region"), RoleARN: text(t, "role"), ExternalID: text(t, "external"),
			UnloadBucket: text(t, "bucket"), UnloadPrefix: text(t, "prefix"), UnloadRole: text(t, "unloader"), SSLMode: text(t, "sslmode"), CA: text(t, "ca"),
			StatementTimeout: duration(t, "timeout"), StateSchema: text(t, "state schema"),
			Endpoint: text(t, "endpoint"), STSEndpoint: text(t, "sts"), S3Endpoint: text(t, "s3"),
		}
	case 5:
		s.Connection.BigQuery = &resource.BigQuery{
			ProjectID: text(t, "project"), DatasetID: text(t, "data set"), Location: text(t, "location"),
			MaximumBytesBilled: rapid.Int64().Draw(t, "bytes"), ServiceAccountID: text(t, "account"), ServiceAccountKey: secret(t),
			Credentials: text(t, "credentials"), StatementTimeout: duration(t, "timeout"), StateDataset: text(t, "states"),
			Endpoint: text(t, "endpoint"), StorageEndpoint: text(t, "storage"), TokenEndpoint: text(t, "tokens"),
		}
	}
	switch rapid.IntRange(0, 2).Draw(t, "query") {
	case 1:
		s.DataModel.SQL = "SELECT 1"
	case 2:
		s.DataModel.Table = "t"
	}
	if rapid.Bool().Draw(t, "mapped") {
		s.Mapping = &resource.Mapping{Meta: meta(t), Rules: rules(t, "", 2), Version: rapid.Int64().Draw(t, "mapping version")}
		if rapid.Bool().Draw(t, "events") {
			s.Mapping.Events = &resource.EventsMapping{
				Time: text(t, "time"), Name: text(t, "event"), NameStatic: text(t, "event name"),
				UserID: text(t, "user"), DeviceID: text(t, "device"), Properties: text(t, "properties"),
			}
		}
	}
	return s
}

func TestDurationsReadBackAsWritten(t *testing.T) {
	for in, want := range map[string]time.Duration{
		"90s": 90 * time.Second, "10m": 10 * time.Minute, "2h": 2 * time.Hour, "7d": 7 * 24 * time.Hour, "1h30m": 90 * time.Minute, "0": 0, "0s": 0, "250ms": 250 * time.Millisecond,
	} {
		d, err := resource.ParseDuration(in)
		require.NoError(t, err, in)
		require.Equal(t, want, d, in)
	}
	bad := []string{"", "10", "m", "-5m", "1.5h", "5 m", "5M", "5w", "99999999999999999999s", "106752d1d", "5m5"}
	for _, in := range bad {
		_, err := resource.ParseDuration(in)
		require.Error(t, err, in)
	}
	rapid.Check(t, func(t *rapid.T) {
		d := time.Duration(rapid.Int64Range(1, 1<<63-1).Draw(t, "d"))
		back, err := resource.ParseDuration(resource.FormatDuration(d))
		require.NoError(t, err)
		require.Equal(t, d, back)
	})
}
