package resource

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"reflect"
)

// SameWork says whether a run of s reads, maps and writes as a run of o does: the two differ at most in schedule, state,
// bounds of runs, and in how the connection gets in (password, certificates, TLS, time-out, which warehouse computes).
func (s Snapshot) SameWork(o Snapshot) bool { return reflect.DeepEqual(s.work(), o.work()) }

// WorkText answers a text that is the same for snapshots of which one does the SameWork as the other.
func (s Snapshot) WorkText() string {
	text, err := json.Marshal(s.work())
	if err != nil { // values of a mapping that JSON does not have
		return ""
	}
	if s.Mapping != nil { // 1 and 1.0 are one to JSON
		text = fmt.Appendf(text, "%#v", s.Mapping.Rules)
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// work answers s less what has no say in the rows and what becomes of them.
func (s Snapshot) work() Snapshot {
	out := Snapshot{
		Sync: Sync{
			Meta: s.Sync.identity(), DataModel: s.Sync.DataModel, Mapping: s.Sync.Mapping, Feed: s.Sync.Feed, Mode: s.Sync.Mode,
			From: s.Sync.From, Until: s.Sync.Until, Lookback: s.Sync.Lookback, Delay: s.Sync.Delay,
			OnDelete: s.Sync.OnDelete,
		},
		Connection: s.Connection, DataModel: s.DataModel, Feed: s.Feed,
	}
	out.Connection.Meta, out.DataModel.Meta, out.Feed.Meta = s.Connection.identity(), s.DataModel.identity(), s.Feed.identity()
	if s.Mapping != nil {
		m := *s.Mapping
		m.Meta = m.identity()
		out.Mapping = &m
	}
	if p := s.Connection.Postgres; p != nil {
		out.Connection.Postgres = &Postgres{Host: p.Host, Port: p.Port, Database: p.Database, User: p.User}
	}
	if r := s.Connection.Redshift; r != nil {
		out.Connection.Redshift = &Redshift{Host: r.Host, Port: r.Port, Database: r.Database, User: r.User}
	}
	if d := s.Connection.Databricks; d != nil {
		out.Connection.Databricks = &Databricks{Host: d.Host, Port: d.Port, Catalog: d.Catalog, Schema: d.Schema}
	}
	if f := s.Connection.Snowflake; f != nil {
		out.Connection.Snowflake = f.place()
	}
	if b := s.Connection.BigQuery; b != nil {
		out.Connection.BigQuery = &BigQuery{ProjectID: b.ProjectID, DatasetID: b.DatasetID, Location: b.Location, ServiceAccountID: b.ServiceAccountID}
	}
	if d := s.Connection.DeltaSharing; d != nil {
		out.Connection.DeltaSharing = &DeltaSharing{Share: d.Share, Schema: d.Schema}
	}
	return out
}

// identity answers what names a resource for ever.
func (m *Meta) identity() Meta { return Meta{Workspace: m.Workspace, ID: m.ID, UID: m.UID} }
