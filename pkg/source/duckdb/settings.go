// Package duckdb reads DuckDB database files, and Parquet, CSV and JSON files through DuckDB, as Arrow batches.
//
// The engine is C++: this driver is built with cgo and the tag duckdb_arrow; without them Open answers DRIVER_MISSING.
package duckdb

import (
	"sync"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/source"
)

// Settings bound what the engine may use.
type Settings struct {
	// MemoryLimit as DuckDB writes it, of one open source. Default 192MB.
	MemoryLimit string
	// Threads of one open source. Default 2.
	Threads int
	// TempDir is where large sorts and joins spill to; empty: they fail when memory does not do.
	TempDir string
	// MaxTempSize bounds TempDir, as DuckDB writes it. Default 10GB.
	MaxTempSize string
	// StateDir is where the snapshots of mirrors are kept, a file for each sync; empty: nowhere.
	StateDir string
	// PartRows is how many rows make another part worth its scan. Default 500,000.
	PartRows int64
}

func (s Settings) withDefaults() Settings {
	if s.MemoryLimit == "" {
		s.MemoryLimit = "192MB"
	}
	if s.Threads <= 0 {
		s.Threads = 2
	}
	if s.MaxTempSize == "" {
		s.MaxTempSize = "10GB"
	}
	if s.PartRows <= 0 {
		s.PartRows = 500_000
	}
	return s
}

// Driver opens DuckDB sources. Make it with New. Safe for concurrent use.
type Driver struct {
	settings Settings
	opening  sync.Mutex
	engines  engines
	states   states
}

// New answers a driver that opens sources within s. It bounds how many heaps the C library has.
func New(s Settings) *Driver {
	fewArenas()
	return &Driver{settings: s.withDefaults()}
}

// Provider answers "duckdb".
func (*Driver) Provider() string { return "duckdb" }

var (
	_ source.Driver = (*Driver)(nil)
	_ source.Setup  = (*Driver)(nil)
)

// Setup answers that there is nothing to run in a file.
func (*Driver) Setup(c resource.Connection) (string, error) {
	if c.DuckDB == nil {
		return "", fault.New(fault.Invalid, fault.ReasonInvalidArgument, "the connection has no duckdb block")
	}
	return "Files need no setup in a warehouse. Let the user that runs the extractor read\n  " + c.DuckDB.Path + "\nIt is opened for reading only, and nothing beside it is read.\n", nil
}
