package resource_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/resource"
)

func TestWhereAMirrorKeepsItsSnapshots(t *testing.T) {
	snapshot := func(change func(*resource.Snapshot)) resource.Snapshot {
		s := resource.Snapshot{
			Sync:       resource.Sync{Meta: resource.Meta{ID: "s", UID: "1"}, Mode: resource.Mirror, MirrorEngine: resource.Diff},
			Connection: resource.Connection{Meta: resource.Meta{ID: "c"}, Postgres: &resource.Postgres{Host: "h", Database: "d", User: "u"}},
		}
		change(&s)
		return s
	}
	was := snapshot(func(*resource.Snapshot) {}).StatePlace()
	require.NotEmpty(t, was)
	for what, change := range map[string]func(*resource.Snapshot){
		"password":       func(s *resource.Snapshot) { s.Connection.Postgres.Password.Sealed = []byte("new") },
		"time-out":       func(s *resource.Snapshot) { s.Connection.Postgres.StatementTimeout = time.Minute },
		"the default":    func(s *resource.Snapshot) { s.Connection.Postgres.StateSchema = resource.DefaultStateSchema },
		"the model":      func(s *resource.Snapshot) { s.DataModel.SQL, s.DataModel.KeyColumns = "SELECT 2", []string{"k"} },
		"its name alone": func(s *resource.Snapshot) { s.Connection.ID = "other" },
	} {
		require.Equal(t, was, snapshot(change).StatePlace(), what)
	}
	for what, change := range map[string]func(*resource.Snapshot){
		"host":     func(s *resource.Snapshot) { s.Connection.Postgres.Host = "other" },
		"database": func(s *resource.Snapshot) { s.Connection.Postgres.Database = "other" },
		"user":     func(s *resource.Snapshot) { s.Connection.Postgres.User = "other" },
		"schema":   func(s *resource.Snapshot) { s.Connection.Postgres.StateSchema = "other" },
	} {
		require.NotEqual(t, was, snapshot(change).StatePlace(), what)
	}
	for what, change := range map[string]func(*resource.Snapshot){
		"row_index":   func(s *resource.Snapshot) { s.Sync.MirrorEngine = resource.RowIndex },
		"native":      func(s *resource.Snapshot) { s.Sync.MirrorEngine = resource.Native },
		"incremental": func(s *resource.Snapshot) { s.Sync.Mode = resource.Incremental },
	} {
		require.Empty(t, snapshot(change).StatePlace(), what)
	}
}

func TestEachWarehouseHasAPlaceOfItsOwn(t *testing.T) {
	places := map[string]string{}
	for what, c := range map[string]resource.Connection{
		"duckdb":         {DuckDB: &resource.DuckDB{Path: "/a"}},
		"postgres":       {Postgres: &resource.Postgres{Host: "h"}},
		"redshift":       {Redshift: &resource.Redshift{Host: "h"}},
		"a workgroup":    {Redshift: &resource.Redshift{Host: "h", Workgroup: "w"}},
		"another schema": {Redshift: &resource.Redshift{Host: "h", StateSchema: "other"}},
		"snowflake":      {Snowflake: &resource.Snowflake{Account: "a"}},
		"its schema":     {Snowflake: &resource.Snowflake{Account: "a", StateSchema: "other"}},
		"bigquery":       {BigQuery: &resource.BigQuery{ProjectID: "p"}},
		"its data set":   {BigQuery: &resource.BigQuery{ProjectID: "p", StateDataset: "other"}},
	} {
		require.Empty(t, places[c.StatePlace()], what)
		places[c.StatePlace()] = what
	}
	require.Equal(t, "duckdb", places[resource.Connection{DuckDB: &resource.DuckDB{Path: "/b"}}.StatePlace()], "beside the extractor, whatever is read")
}
