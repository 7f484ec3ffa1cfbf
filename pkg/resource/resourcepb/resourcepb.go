// Package resourcepb turns resources into their wire messages and back.
//
// To… and Of… lose nothing: Of…(To…(x)) is x, but for what a message cannot say (a whole float64 in a rule's value comes
// back as int64, times come back in UTC). Of… takes any message, nil too; what the values cannot hold, such as a
// malformed duration, reads as absent, and Check… reports it.
package resourcepb

import (
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	configv1 "millrace.dev/gen/millrace/config/v1"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/resource"
)

// Prefixes of the enums' values; the rest, in lower case, is the word that documents write.
const (
	prefixEnvironment  = "ENVIRONMENT_"
	prefixProtection   = "INPUT_PROTECTION_"
	prefixRecordKind   = "RECORD_KIND_"
	prefixIteratorType = "ITERATOR_TYPE_"
	prefixMode         = "MODE_"
	prefixOnDelete     = "ON_DELETE_"
	prefixMirrorEngine = "MIRROR_ENGINE_"
	prefixState        = "SYNC_STATE_"
	prefixStatus       = "SYNC_STATUS_"
)

// word answers an enum's value as documents write it, "" where it is unspecified. A number that has no name stays a
// number, which no Validate accepts.
func word(name, prefix string) string {
	w := strings.ToLower(strings.TrimPrefix(name, prefix))
	if w == "unspecified" {
		return ""
	}
	return w
}

// enum answers the number of a word, 0 (unspecified) where there is none.
func enum(values map[string]int32, prefix, word string) int32 {
	return values[prefix+strings.ToUpper(word)]
}

func toTime(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

func ofTime(t *timestamppb.Timestamp) time.Time {
	if t == nil || !t.IsValid() {
		return time.Time{}
	}
	return t.AsTime()
}

func ofDuration(s string) time.Duration {
	d, err := resource.ParseDuration(s)
	if err != nil {
		return 0
	}
	return d
}

func toMeta(m resource.Meta) *configv1.Meta {
	return &configv1.Meta{
		Workspace: string(m.Workspace), Id: m.ID, Uid: m.UID, DisplayName: m.DisplayName, Labels: m.Labels, Etag: m.Etag,
		CreateTime: toTime(m.CreateTime), UpdateTime: toTime(m.UpdateTime), CreatedBy: m.CreatedBy, UpdatedBy: m.UpdatedBy,
	}
}

func ofMeta(m *configv1.Meta) resource.Meta {
	return resource.Meta{
		Workspace: id.Workspace(m.GetWorkspace()), ID: m.GetId(), UID: m.GetUid(), DisplayName: m.GetDisplayName(),
		Labels: m.GetLabels(), Etag: m.GetEtag(), CreateTime: ofTime(m.GetCreateTime()), UpdateTime: ofTime(m.GetUpdateTime()),
		CreatedBy: m.GetCreatedBy(), UpdatedBy: m.GetUpdatedBy(),
	}
}

func toSecret(s resource.Secret) *configv1.Secret {
	switch {
	case s.Plain != "":
		return &configv1.Secret{Value: &configv1.Secret_Plain{Plain: s.Plain}}
	case len(s.Sealed) > 0:
		return &configv1.Secret{Value: &configv1.Secret_Sealed{Sealed: s.Sealed}}
	case s.Kept:
		return &configv1.Secret{Value: &configv1.Secret_Kept{Kept: true}}
	default:
		return nil
	}
}

func ofSecret(s *configv1.Secret) resource.Secret {
	return resource.Secret{Plain: s.GetPlain(), Sealed: s.GetSealed(), Kept: s.GetKept()}
}

// ToConnection answers c as a message, secrets as they are in c.
func ToConnection(c resource.Connection) *configv1.Connection {
	out := &configv1.Connection{Meta: toMeta(c.Meta)}
	switch {
	case c.DuckDB != nil:
		out.Provider = &configv1.Connection_Duckdb{Duckdb: &configv1.DuckDB{Path: c.DuckDB.Path}}
	case c.Postgres != nil:
		p := c.Postgres
		out.Provider = &configv1.Connection_Postgres{Postgres: &configv1.Postgres{
			Host: p.Host, Port: int32(p.Port), Database: p.Database, User: p.User, Password: toSecret(p.Password), //nolint:gosec // Validate bounds ports
			Sslmode: p.SSLMode, Ca: p.CA, ClientCertificate: p.ClientCertificate, ClientKey: toSecret(p.ClientKey),
			StatementTimeout: resource.FormatDuration(p.StatementTimeout), StateSchema: p.StateSchema,
		}}
	case c.Redshift != nil:
		out.Provider = &configv1.Connection_Redshift{Redshift: toRedshift(c.Redshift)}
	case c.Databricks != nil:
		out.Provider = &configv1.Connection_Databricks{Databricks: toDatabricks(*c.Databricks)}
	case c.Snowflake != nil:
		out.Provider = &configv1.Connection_Snowflake{Snowflake: toSnowflake(c.Snowflake)}
	case c.BigQuery != nil:
		out.Provider = &configv1.Connection_Bigquery{Bigquery: toBigQuery(c.BigQuery)}
	case c.DeltaSharing != nil:
		d := c.DeltaSharing
		out.Provider = &configv1.Connection_DeltaSharing{DeltaSharing: &configv1.DeltaSharing{Share: d.Share, Schema: d.Schema, Profile: toSecret(d.Profile)}}
	}
	return out
}

// OfConnection answers the connection that a message holds.
func OfConnection(c *configv1.Connection) resource.Connection {
	out := resource.Connection{Meta: ofMeta(c.GetMeta())}
	if d := c.GetDuckdb(); d != nil {
		out.DuckDB = &resource.DuckDB{Path: d.GetPath()}
	}
	if p := c.GetPostgres(); p != nil {
		out.Postgres = &resource.Postgres{
			Host: p.GetHost(), Port: int(p.GetPort()), Database: p.GetDatabase(), User: p.GetUser(), Password: ofSecret(p.GetPassword()),
			SSLMode: p.GetSslmode(), CA: p.GetCa(), ClientCertificate: p.GetClientCertificate(), ClientKey: ofSecret(p.GetClientKey()),
			StatementTimeout: ofDuration(p.GetStatementTimeout()), StateSchema: p.GetStateSchema(),
		}
	}
	if r := c.GetRedshift(); r != nil {
		out.Redshift = ofRedshift(r)
	}
	if d := c.GetDatabricks(); d != nil {
		out.Databricks = ofDatabricks(d)
	}
	if s := c.GetSnowflake(); s != nil {
		out.Snowflake = ofSnowflake(s)
	}
	if b := c.GetBigquery(); b != nil {
		out.BigQuery = ofBigQuery(b)
	}
	if d := c.GetDeltaSharing(); d != nil {
		out.DeltaSharing = &resource.DeltaSharing{Share: d.GetShare(), Schema: d.GetSchema(), Profile: ofSecret(d.GetProfile())}
	}
	return out
}

// ToFeed answers f as a message.
func ToFeed(f resource.Feed) *configv1.Feed {
	return &configv1.Feed{
		Meta:            toMeta(f.Meta),
		Environment:     ToEnvironment(f.Environment),
		InputProtection: configv1.InputProtection(enum(configv1.InputProtection_value, prefixProtection, string(f.Protection))),
	}
}

// OfFeed answers the feed that a message holds.
func OfFeed(f *configv1.Feed) resource.Feed {
	return resource.Feed{
		Meta:        ofMeta(f.GetMeta()),
		Environment: OfEnvironment(f.GetEnvironment()),
		Protection:  resource.Protection(word(f.GetInputProtection().String(), prefixProtection)),
	}
}

// ToEnvironment answers e as an enum value.
func ToEnvironment(e resource.Environment) configv1.Environment {
	return configv1.Environment(enum(configv1.Environment_value, prefixEnvironment, string(e)))
}

// OfEnvironment answers the environment of an enum value, "" where it is unspecified.
func OfEnvironment(e configv1.Environment) resource.Environment {
	return resource.Environment(word(e.String(), prefixEnvironment))
}

// ToDataModel answers m as a message.
func ToDataModel(m resource.DataModel) *configv1.DataModel {
	out := &configv1.DataModel{
		Meta: toMeta(m.Meta), Connection: m.Connection, KeyColumns: m.KeyColumns,
		RecordKind: configv1.RecordKind(enum(configv1.RecordKind_value, prefixRecordKind, string(m.Kind))),
		GroupType:  m.GroupType, StartTime: m.StartTime, Enrich: m.Enrich,
	}
	switch {
	case m.SQL != "":
		out.Query = &configv1.DataModel_Sql{Sql: m.SQL}
	case m.Table != "":
		out.Query = &configv1.DataModel_Table{Table: m.Table}
	}
	if m.Iterator != (resource.Iterator{}) {
		out.Iterator = &configv1.Iterator{
			Column: m.Iterator.Column, TimeZone: m.Iterator.TimeZone,
			Type: configv1.IteratorType(enum(configv1.IteratorType_value, prefixIteratorType, string(m.Iterator.Type))),
		}
		if m.Iterator.ReadNulls {
			out.Iterator.Nulls = configv1.NullPolicy_NULL_POLICY_READ
		}
	}
	return out
}

// OfDataModel answers the data model that a message holds.
func OfDataModel(m *configv1.DataModel) resource.DataModel {
	it := m.GetIterator()
	return resource.DataModel{
		Meta: ofMeta(m.GetMeta()), Connection: m.GetConnection(), KeyColumns: m.GetKeyColumns(),
		Kind: resource.RecordKind(word(m.GetRecordKind().String(), prefixRecordKind)),
		SQL:  m.GetSql(), Table: m.GetTable(),
		GroupType: m.GetGroupType(), StartTime: m.GetStartTime(), Enrich: m.GetEnrich(),
		Iterator: resource.Iterator{
			Column: it.GetColumn(), TimeZone: it.GetTimeZone(),
			Type:      resource.IteratorType(word(it.GetType().String(), prefixIteratorType)),
			ReadNulls: it.GetNulls() == configv1.NullPolicy_NULL_POLICY_READ,
		},
	}
}

// ToSchedule answers s as a message; the zero schedule is on demand.
func ToSchedule(s resource.Schedule) *configv1.Schedule {
	switch {
	case s.Every != "":
		return &configv1.Schedule{When: &configv1.Schedule_Every{Every: &configv1.Every{Every: s.Every, Start: toTime(s.Start)}}}
	case s.Cron != "":
		return &configv1.Schedule{When: &configv1.Schedule_Cron{Cron: &configv1.Cron{Expression: s.Cron, TimeZone: s.TimeZone}}}
	case !s.Once.IsZero():
		return &configv1.Schedule{When: &configv1.Schedule_Once{Once: toTime(s.Once)}}
	case len(s.After) > 0:
		return &configv1.Schedule{When: &configv1.Schedule_After{After: &configv1.After{Syncs: s.After}}}
	default:
		return &configv1.Schedule{When: &configv1.Schedule_OnDemand{OnDemand: &configv1.OnDemand{}}}
	}
}

// OfSchedule answers the schedule that a message holds.
func OfSchedule(s *configv1.Schedule) resource.Schedule {
	return resource.Schedule{
		Every: s.GetEvery().GetEvery(), Start: ofTime(s.GetEvery().GetStart()),
		Cron: s.GetCron().GetExpression(), TimeZone: s.GetCron().GetTimeZone(),
		Once: ofTime(s.GetOnce()), After: s.GetAfter().GetSyncs(),
	}
}

// ToMode answers m as an enum value.
func ToMode(m resource.Mode) configv1.Mode {
	return configv1.Mode(enum(configv1.Mode_value, prefixMode, string(m)))
}

// OfMode answers the mode of an enum value.
func OfMode(m configv1.Mode) resource.Mode { return resource.Mode(word(m.String(), prefixMode)) }

func toOnDelete(d resource.OnDelete) *configv1.OnDelete {
	if d == "" {
		return nil
	}
	return configv1.OnDelete(enum(configv1.OnDelete_value, prefixOnDelete, string(d))).Enum()
}

func ofOnDelete(s *configv1.Sync) resource.OnDelete {
	if s.GetOnDelete() == configv1.OnDelete_ON_DELETE_UNSPECIFIED {
		return ""
	}
	return resource.OnDelete(word(s.GetOnDelete().String(), prefixOnDelete))
}

func toMirrorEngine(e resource.MirrorEngine) *configv1.MirrorEngine {
	if e == "" {
		return nil
	}
	return configv1.MirrorEngine(enum(configv1.MirrorEngine_value, prefixMirrorEngine, string(e))).Enum()
}

func ofMirrorEngine(s *configv1.Sync) resource.MirrorEngine {
	if s.GetMirrorEngine() == configv1.MirrorEngine_MIRROR_ENGINE_UNSPECIFIED {
		return ""
	}
	return resource.MirrorEngine(word(s.GetMirrorEngine().String(), prefixMirrorEngine))
}

// ToState answers s as an enum value.
func ToState(s resource.SyncState) configv1.SyncState {
	return configv1.SyncState(enum(configv1.SyncState_value, prefixState, string(s)))
}

// OfState answers the state of an enum value.
func OfState(s configv1.SyncState) resource.SyncState {
	return resource.SyncState(word(s.String(), prefixState))
}

// ToStatus answers s as an enum value.
func ToStatus(s resource.SyncStatus) configv1.SyncStatus {
	return configv1.SyncStatus(enum(configv1.SyncStatus_value, prefixStatus, string(s)))
}

// OfStatus answers the status of an enum value.
func OfStatus(s configv1.SyncStatus) resource.SyncStatus {
	return resource.SyncStatus(word(s.String(), prefixStatus))
}

// ToSync answers s as a message.
func ToSync(s resource.Sync) *configv1.Sync {
	return &configv1.Sync{
		Meta: toMeta(s.Meta), DataModel: s.DataModel, Mapping: s.Mapping, Feed: s.Feed, Mode: ToMode(s.Mode), Schedule: ToSchedule(s.Schedule),
		From: toTime(s.From), Until: toTime(s.Until), Lookback: resource.FormatDuration(s.Lookback), Delay: resource.FormatDuration(s.Delay),
		State: ToState(s.State), TriggerLimit: s.TriggerLimit, Guard: toGuard(s.Guard), Drift: toDrift(s.Drift), RejectLimit: toRejectLimit(s.RejectLimit), Budget: toBudget(s.Budget),
		OnDelete: toOnDelete(s.OnDelete), MirrorEngine: toMirrorEngine(s.MirrorEngine), Freshness: resource.FormatDuration(s.Freshness),
		Status: ToStatus(s.Status), StatusReason: s.Reason, StatusNextStep: s.NextStep, Version: s.Version,
	}
}

// OfSync answers the sync that a message holds.
func OfSync(s *configv1.Sync) resource.Sync {
	return resource.Sync{
		Meta: ofMeta(s.GetMeta()), DataModel: s.GetDataModel(), Mapping: s.GetMapping(), Feed: s.GetFeed(), Mode: OfMode(s.GetMode()),
		Schedule: OfSchedule(s.GetSchedule()), From: ofTime(s.GetFrom()), Until: ofTime(s.GetUntil()),
		Lookback: ofDuration(s.GetLookback()), Delay: ofDuration(s.GetDelay()), State: OfState(s.GetState()), TriggerLimit: s.GetTriggerLimit(),
		Guard: ofGuard(s.GetGuard()), Drift: ofDrift(s.GetDrift()), RejectLimit: ofRejectLimit(s.GetRejectLimit()), Budget: ofBudget(s.GetBudget()),
		OnDelete: ofOnDelete(s), MirrorEngine: ofMirrorEngine(s), Freshness: ofDuration(s.GetFreshness()),
		Status: OfStatus(s.GetStatus()), Reason: s.GetStatusReason(), NextStep: s.GetStatusNextStep(), Version: s.GetVersion(),
	}
}

// ToSnapshot answers s as a message, secrets as they are in s.
func ToSnapshot(s resource.Snapshot) *configv1.SyncSnapshot {
	out := &configv1.SyncSnapshot{
		Version: s.Version, Sync: ToSync(s.Sync), Connection: ToConnection(s.Connection), DataModel: ToDataModel(s.DataModel), Feed: ToFeed(s.Feed),
	}
	if s.Mapping != nil {
		out.Mapping = ToMapping(*s.Mapping)
	}
	return out
}

// OfSnapshot answers the snapshot that a message holds.
func OfSnapshot(s *configv1.SyncSnapshot) resource.Snapshot {
	out := resource.Snapshot{
		Version: s.GetVersion(), Sync: OfSync(s.GetSync()), Connection: OfConnection(s.GetConnection()),
		DataModel: OfDataModel(s.GetDataModel()), Feed: OfFeed(s.GetFeed()),
	}
	if s.GetMapping() != nil {
		m := OfMapping(s.GetMapping())
		out.Mapping = &m
	}
	return out
}
