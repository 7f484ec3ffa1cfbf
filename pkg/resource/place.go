package resource

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
)

// StatePlace answers a text for where the runs of s keep in their warehouse what the next one compares with, and as whom:
// the same text is the same place. Empty: they keep nothing there, as s is no mirror with mirror_engine diff.
func (s Snapshot) StatePlace() string {
	if s.Sync.Mode != Mirror || s.Sync.MirrorEngine != Diff {
		return ""
	}
	return s.Connection.StatePlace()
}

// StatePlace answers a text for where mirrors by diff over c keep their snapshots, and as whom. How the connection gets in
// (password, certificates, TLS, time-outs, which warehouse computes) has no say in it.
func (c Connection) StatePlace() string {
	at := (Snapshot{Connection: c}).work().Connection
	at.Meta = Meta{}
	schema := ""
	switch {
	case c.DuckDB != nil:
		at.DuckDB = &DuckDB{} // they are kept beside the extractor, whatever file is read
	case c.Postgres != nil:
		schema = c.Postgres.StateSchema
	case c.Redshift != nil:
		schema = c.Redshift.StateSchema
		at.Redshift.Cluster, at.Redshift.Workgroup = c.Redshift.Cluster, c.Redshift.Workgroup
	case c.Snowflake != nil:
		schema = c.Snowflake.StateSchema
	case c.BigQuery != nil:
		schema = c.BigQuery.StateDataset
	}
	text, err := json.Marshal(at)
	if err != nil { // never: it holds texts and numbers
		return ""
	}
	sum := sha256.Sum256(append(text, cmp.Or(schema, DefaultStateSchema)...))
	return hex.EncodeToString(sum[:16])
}
