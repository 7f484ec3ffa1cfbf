package extractor

import (
	"path/filepath"

	"millrace.dev/pkg/source"
	"millrace.dev/pkg/source/bigquery"
	"millrace.dev/pkg/source/databricks"
	"millrace.dev/pkg/source/duckdb"
	"millrace.dev/pkg/source/postgres"
	"millrace.dev/pkg/source/redshift"
	"millrace.dev/pkg/source/sharing"
	"millrace.dev/pkg/source/snowflake"
)

// stateDir answers where DuckDB keeps the snapshots of mirrors.
func stateDir(s Settings, data string) string {
	if s.DuckDBState != "" {
		return s.DuckDBState
	}
	return filepath.Join(data, "mirrors")
}

// drivers lists the warehouses that this service reads. It is the one place that names drivers. Large sorts spill to
// temp.
func drivers(s Settings, temp string) []source.Driver {
	return []source.Driver{
		duckdb.New(duckdb.Settings{MemoryLimit: s.DuckDBMemory, Threads: s.DuckDBThreads, TempDir: temp, StateDir: stateDir(s, temp), PartRows: s.PartRows}),
		postgres.New(postgres.Settings{PartRows: s.PartRows}),
		redshift.New(redshift.Settings{PartRows: s.PartRows}),
		snowflake.New(snowflake.Settings{PartRows: s.PartRows}),
		databricks.New(databricks.Settings{PartRows: s.PartRows}),
		bigquery.New(bigquery.Settings{PartRows: s.PartRows}),
		sharing.New(sharing.Settings{PartRows: s.PartRows}),
	}
}
