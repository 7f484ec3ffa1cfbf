package resource_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/resource"
)

// TestMirrorsByDiffNeedAWarehouseThatCompares refuses the engine where the warehouse does not offer it, and a word that is
// no engine.
func TestMirrorsByDiffNeedAWarehouseThatCompares(t *testing.T) {
	s := resource.Snapshot{
		Sync:      resource.Sync{Mode: resource.Mirror, MirrorEngine: resource.Diff},
		DataModel: resource.DataModel{Kind: resource.Users, KeyColumns: []string{"id"}},
	}
	faulty := func() bool {
		for _, v := range s.Validate() {
			if strings.HasSuffix(v.Field, "mirror_engine") {
				return true
			}
		}
		return false
	}
	require.True(t, faulty(), "no such warehouse")
	s.Connection.DuckDB = &resource.DuckDB{Path: "/w.duckdb"}
	require.False(t, faulty())
	s.Connection = resource.Connection{Postgres: &resource.Postgres{Host: "h"}}
	require.False(t, faulty())
	s.Connection = resource.Connection{Redshift: &resource.Redshift{Host: "h"}}
	require.False(t, faulty())
	s.Sync.MirrorEngine = resource.Native
	require.True(t, faulty(), "Redshift has no feed of changes of a table")
	s.Connection = resource.Connection{Postgres: &resource.Postgres{Host: "h"}}
	require.True(t, faulty(), "PostgreSQL has no feed of changes of a table")
	s.Connection = resource.Connection{BigQuery: &resource.BigQuery{ProjectID: "p"}}
	require.False(t, faulty(), "BigQuery has one")
	for _, c := range []resource.Connection{{DeltaSharing: &resource.DeltaSharing{Share: "s"}}, {Databricks: &resource.Databricks{Host: "h"}}} {
		s.Connection, s.Sync.MirrorEngine = c, resource.Native
		require.False(t, faulty(), "a table of Delta has one")
		s.Sync.MirrorEngine = resource.Diff
		require.True(t, faulty(), "neither a share nor Databricks keeps a snapshot")
	}
	s.Connection, s.Sync.MirrorEngine = resource.Connection{}, resource.RowIndex
	require.False(t, faulty(), "the row index goes with any")
	s.Sync.Mode, s.Sync.MirrorEngine = resource.Full, resource.Diff
	require.Contains(t, s.Notes(), "mirror_engine is not used in mode full")
}
