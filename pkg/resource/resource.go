// Package resource holds what people configure, as values: connections, feeds, data models, mappings, syncs and alerts.
// Validate reports every fault at once and needs no I/O. Package document reads and writes them as YAML.
package resource

import (
	"slices"
	"time"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
)

// Kind is a kind of resource as documents write it.
type Kind string

// The kinds, in the order in which one refers to another.
const (
	KindConnection Kind = "Connection"
	KindFeed       Kind = "Feed"
	KindDataModel  Kind = "DataModel"
	KindMapping    Kind = "Mapping"
	KindSync       Kind = "Sync"
	KindAlert      Kind = "Alert"
)

// Kinds answers every kind, in the order in which one refers to another.
func Kinds() []Kind {
	return []Kind{KindConnection, KindFeed, KindDataModel, KindMapping, KindSync, KindAlert}
}

// Resource is one of *Connection, *Feed, *DataModel, *Mapping, *Sync and *Alert.
type Resource interface {
	// Head answers the resource's own Meta.
	Head() *Meta
	// ResourceKind answers what it is.
	ResourceKind() Kind
	// Normalize fills in what was left out.
	Normalize()
	// Validate reports every rule that a normalized resource breaks by itself.
	Validate() []fault.Violation
}

var (
	_ Resource = (*Connection)(nil)
	_ Resource = (*Feed)(nil)
	_ Resource = (*DataModel)(nil)
	_ Resource = (*Mapping)(nil)
	_ Resource = (*Sync)(nil)
	_ Resource = (*Alert)(nil)
)

// Confidential is a resource that may have credentials: *Connection and *Alert.
type Confidential interface {
	Resource
	// Secrets answers the credentials that it can have, set or not, in a fixed order. The pointers are into the resource.
	Secrets() []SecretField
}

var (
	_ Confidential = (*Connection)(nil)
	_ Confidential = (*Alert)(nil)
)

// Meta is what every resource carries.
type Meta struct {
	Workspace   id.Workspace
	ID          string // chosen by the caller, [a-z0-9_-]{1,64}
	UID         string // given at creation, never reused
	DisplayName string
	Labels      map[string]string
	Etag        string
	CreateTime  time.Time
	UpdateTime  time.Time
	CreatedBy   string
	UpdatedBy   string
}

// Head answers m.
func (m *Meta) Head() *Meta { return m }

// LabelApplySet is the label by which an apply set knows what it brought in.
const LabelApplySet = "millrace.dev/apply-set"

// Secret is a credential: plain on its way in, sealed at rest and on its way to a worker, kept when an update leaves
// it alone. At most one is set; the zero value is no secret.
type Secret struct {
	Plain  string
	Sealed []byte
	Kept   bool
}

// IsZero says whether there is no secret.
func (s Secret) IsZero() bool { return s.Plain == "" && len(s.Sealed) == 0 && !s.Kept }

// Format hides a secret from every fmt verb, and so from logs and errors.
func (s Secret) String() string {
	if s.IsZero() {
		return "(none)"
	}
	return "(set)"
}

// GoString hides a secret from %#v.
func (s Secret) GoString() string { return s.String() }

// Connection is the address and the credentials of one warehouse; the provider is the block that is set.
type Connection struct {
	Meta
	DuckDB       *DuckDB
	Postgres     *Postgres
	Redshift     *Redshift
	Databricks   *Databricks
	Snowflake    *Snowflake
	BigQuery     *BigQuery
	DeltaSharing *DeltaSharing
}

// Provider answers the name of the block that is set, "" where none is.
func (c Connection) Provider() string {
	switch {
	case c.DuckDB != nil:
		return "duckdb"
	case c.Postgres != nil:
		return "postgres"
	case c.Redshift != nil:
		return "redshift"
	case c.Databricks != nil:
		return "databricks"
	case c.Snowflake != nil:
		return "snowflake"
	case c.BigQuery != nil:
		return "bigquery"
	case c.DeltaSharing != nil:
		return "delta_sharing"
	default:
		return ""
	}
}

// DuckDB is a database file, one Parquet, CSV or JSON file, a folder of such files, or a glob.
type DuckDB struct {
	Path string // absolute
}

// Postgres is a PostgreSQL database.
type Postgres struct {
	Host              string
	Port              int
	Database          string
	User              string
	Password          Secret
	SSLMode           string // disable, require, verify-ca, verify-full (default)
	CA                string // PEM
	ClientCertificate string // PEM
	ClientKey         Secret // PEM
	StatementTimeout  time.Duration
	StateSchema       string // where mirrors by diff keep their snapshots; empty: DefaultStateSchema
}

// Databricks is a catalog of a workspace, read through a SQL warehouse or a cluster.
type Databricks struct {
	Host             string
	Port             int
	Protocol         string // https (default), http
	HTTPPath         string
	WarehouseID      string // in place of HTTPPath
	Catalog          string
	Schema           string
	ClientID         string
	ClientSecret     Secret
	Token            Secret // in place of ClientID and ClientSecret
	StatementTimeout time.Duration
}

// Environment separates production data from trials.
type Environment string

// The environments.
const (
	Prod Environment = "prod"
	Dev  Environment = "dev"
)

// Protection says what a feed may do to profiles.
type Protection string

// The levels of input protection.
const (
	CreateAndUpdate Protection = "create_and_update"
	UpdateOnly      Protection = "update_only"
	ReadOnly        Protection = "read_only"
)

// DefaultFeed is the feed of a sync that names none: prod, create_and_update.
const DefaultFeed = "default"

// Feed is the input that a sync writes as.
type Feed struct {
	Meta
	Environment Environment
	Protection  Protection
}

// RecordKind is what a data model's rows become.
type RecordKind string

// The record kinds.
const (
	Users          RecordKind = "users"
	Events         RecordKind = "events"
	Groups         RecordKind = "groups"
	Lookup         RecordKind = "lookup"
	ProfileHistory RecordKind = "profile_history"
)

// IteratorType is the declared type of an iterator column.
type IteratorType string

// The iterator types.
const (
	IteratorTimestamp IteratorType = "timestamp"
	IteratorDate      IteratorType = "date"
	IteratorInteger   IteratorType = "integer"
	IteratorDecimal   IteratorType = "decimal"
)

// Iterator is the column that orders change. The zero value is none.
type Iterator struct {
	Column    string
	Type      IteratorType
	TimeZone  string // IANA name for zone-less values; empty: UTC
	ReadNulls bool   // read rows whose iterator is NULL; default: skip and count them
}

// DataModel is one SELECT, or a table, with its key columns, iterator and record kind.
type DataModel struct {
	Meta
	Connection string
	Kind       RecordKind
	SQL        string // exclusive with Table
	Table      string
	KeyColumns []string
	Iterator   Iterator
	GroupType  string   // of groups and of their history: what kind of groups the rows are, such as company
	StartTime  string   // of profile_history: the column that says from when on a row holds
	Enrich     []string // of lookup: the fields of events whose values are keys of the table, such as data.custom_attributes.sku
}

// Mapping is rules from columns to fields, or Mixpanel's short form for events.
type Mapping struct {
	Meta
	Rules   []Rule
	Events  *EventsMapping
	Version int64
}

// MaxRuleDepth bounds how deep objects nest in a mapping.
const MaxRuleDepth = 32

// Rule is one line of a mapping. Exactly one of Column, HasStatic, Expression, Ignore and Object is set.
type Rule struct {
	Column     string // or $unmapped
	Static     any    // string, bool, int64, float64, nil, []any or map[string]any; HasStatic tells nil from absent
	HasStatic  bool
	Expression string
	Ignore     string
	Object     string
	Rules      []Rule // of Object

	To         string
	Type       string // string number integer decimal boolean timestamp json; empty: as the column is
	OnNull     string // skip (default), clear
	Default    any
	HasDefault bool
	OnLoss     string // reject (default; round for *_ms targets), round
	Transform  []string

	// Where the rule stands, for violations: "rules[1].rules[0]".
	Path string
}

// EventsMapping is Mixpanel's short form for events.
type EventsMapping struct {
	Time       string
	Name       string // a column, unless NameStatic is set
	NameStatic string
	UserID     string
	DeviceID   string
	Properties string
}

// Mode says what a run reads.
type Mode string

// The modes.
const (
	Incremental Mode = "incremental"
	Full        Mode = "full"
	Mirror      Mode = "mirror"
)

// ReadsAll says whether each run reads everything that the query selects.
func (m Mode) ReadsAll() bool { return m == Full || m == Mirror }

// OnDelete is what a row that a mirror does not find any more takes with it.
type OnDelete string

// What it takes: what the row brought (the default), or its whole profile. Events and versions that other syncs brought of
// that profile stay: they are theirs, are listed by sync, and belong to the person again who comes back.
const (
	Withdraw      OnDelete = "withdraw"
	DeleteProfile OnDelete = "delete_profile"
)

// MirrorEngine is what finds out how the rows of a mirror have changed. It can be changed without anything being sent again.
type MirrorEngine string

// The engines: the row index on our side, by a read of everything (the default); or the warehouse, by comparing with a
// snapshot that it keeps, or by the feed of changes that it has of a table.
const (
	RowIndex MirrorEngine = "row_index"
	Diff     MirrorEngine = "diff"
	Native   MirrorEngine = "native"
)

// offering names the providers whose warehouses offer an engine.
//
//nolint:gochecknoglobals // never changed
var offering = map[MirrorEngine][]string{
	Diff:   {"bigquery", "duckdb", "postgres", "redshift", "snowflake"},
	Native: {"bigquery", "databricks", "delta_sharing", "snowflake"},
}

// OfferedBy says whether warehouses of a provider offer e; the row index goes with any.
func (e MirrorEngine) OfferedBy(provider string) bool {
	return !e.Compares() || slices.Contains(offering[e], provider)
}

// Compares says whether the warehouse finds out what has changed.
func (e MirrorEngine) Compares() bool { return e == Diff || e == Native }

// DefaultStateSchema is where warehouses keep the snapshots of mirrors by diff.
const DefaultStateSchema = "millrace"

// SyncState is what a sync's owner wants.
type SyncState string

// The states.
const (
	Draft  SyncState = "draft"
	Active SyncState = "active"
	Paused SyncState = "paused"
)

// SyncStatus is what is.
type SyncStatus string

// The statuses.
const (
	Healthy        SyncStatus = "healthy"
	Faulted        SyncStatus = "faulted"
	Held           SyncStatus = "held"
	ResyncRequired SyncStatus = "resync_required"
)

// Schedule says when a sync is due. Exactly one of Every, Cron, Once and After is set; none is on demand.
type Schedule struct {
	Every    string    // a duration, or hourly, daily, weekly, monthly
	Start    time.Time // phase anchor of Every; zero: the Unix epoch
	Cron     string
	TimeZone string // of Cron; empty: UTC
	Once     time.Time
	After    []string
}

// GuardAction is what a breach of a guard leads to.
type GuardAction string

// The actions.
const (
	GuardHold   GuardAction = "hold"
	GuardNotify GuardAction = "notify"
)

// Guard bounds what a run may do before it is held, or its owner told (decisions: Modes, kinds, schedules). A nil bound
// is none.
type Guard struct {
	Deletes, Updates, Nulls *GuardLimit
	Rows                    *GuardRows
	OnBreach                GuardAction // empty: hold
}

// IsZero says whether g bounds nothing.
func (g Guard) IsZero() bool { return g == Guard{} }

// GuardLimit is breached by more than MaxPercent of the sync's known rows and more than MinRows rows.
type GuardLimit struct {
	MaxPercent float64
	MinRows    int64
}

// GuardRows is breached by a run that reads less than this share of what the sync's last runs read on the average.
type GuardRows struct{ MinPercentOfAverage float64 }

// DriftPolicy is what a run does about columns that have changed.
type DriftPolicy string

// The policies.
const (
	DriftIgnore DriftPolicy = "ignore"
	DriftMap    DriftPolicy = "map"
	DriftHold   DriftPolicy = "hold"
)

// Drift says what a run does when the columns of its query are no longer those of the run before. Empty: Added is
// ignored, Dropped and Narrowed hold.
type Drift struct{ Added, Dropped, Narrowed DriftPolicy }

// RejectLimit holds a run once more than Percent of its rows are rejected or refused, judged from Of rows on and at the
// run's end. The zero value is none.
type RejectLimit struct {
	Percent float64
	Of      int64
}

// Budget bounds what the queries of one run may cost. A run that is estimated to cost more fails in its plan, before the
// query runs. Only of warehouses that estimate. The zero value is none.
type Budget struct {
	BytesScanned int64 // 0: no bound
}

// Sync is connection + model + mapping + feed + mode + schedule.
type Sync struct {
	Meta
	DataModel    string
	Mapping      string // empty: by name
	Feed         string // empty: DefaultFeed
	Mode         Mode
	Schedule     Schedule
	From         time.Time
	Until        time.Time
	Lookback     time.Duration
	Delay        time.Duration
	State        SyncState
	TriggerLimit string // such as 5/h; empty: none
	Guard        Guard
	Drift        Drift
	RejectLimit  RejectLimit
	Budget       Budget
	OnDelete     OnDelete     // of mode mirror; empty: Withdraw
	MirrorEngine MirrorEngine // of mode mirror; empty: RowIndex
	// Freshness is the age of its data beyond which an active sync is late; 0: none.
	Freshness time.Duration

	Status   SyncStatus
	Reason   string // why it is not healthy
	NextStep string // what its owner can do
	Version  int64
}

// Snapshot is a sync with everything it is made of, at one version. Secrets are sealed.
type Snapshot struct {
	Version    int64
	Sync       Sync
	Connection Connection
	DataModel  DataModel
	Mapping    *Mapping // nil: by name
	Feed       Feed
}
