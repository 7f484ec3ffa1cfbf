package extractor

import "time"

// Settings are the service's own. Zero fields have the defaults.
type Settings struct {
	Slots      int      `default:"2" help:"Parts read at once."`
	FilesRoots []string `placeholder:"DIR" help:"Folders below which connections may name files; none: no file is read (the one process for a laptop reads any)."`

	BatchRows  int   `default:"16384" help:"Rows that a batch has, where the payload cap allows it."`
	PartBudget int64 `default:"67108864" placeholder:"BYTES" help:"Bytes of rows that a part holds between warehouse and broker."`
	Window     int   `default:"8" help:"Batches of a part on their way to the broker at once."`
	MaxParts   int   `default:"48" help:"Parts that a run is cut into, at most; what a crash interrupts is read again in whole parts."`
	PartRows   int64 `default:"500000" help:"Rows that make another part worth its scan."`
	MaxColumns int   `default:"1000" help:"Columns that a data model may select."`

	DuckDBMemory  string `name:"duckdb-memory" default:"192MB" help:"DuckDB's memory limit for one open path."`
	DuckDBState   string `name:"duckdb-state" placeholder:"DIR" help:"Folder of the snapshots of mirrors with mirror_engine diff over DuckDB; extractors that read the same files share it. Default: mirrors in the data folder."`
	DuckDBThreads int    `name:"duckdb-threads" default:"2" help:"DuckDB's threads for one open path."`

	// HoldPoll is how often a run is asked after whose snapshot is held, and for what mirrors have left; HoldMax how long a
	// snapshot is held at most.
	HoldPoll time.Duration `default:"5s" help:"How often it is looked whether a run still needs the snapshot that is held for it, and whether a mirror has left some in its warehouse."`
	HoldMax  time.Duration `default:"24h" help:"How long a run's snapshot is held in its warehouse at most."`
}

func (s Settings) withDefaults() Settings {
	for _, f := range []struct {
		at *int
		to int
	}{{&s.Slots, 2}, {&s.BatchRows, 16384}, {&s.Window, 8}, {&s.MaxParts, 48}, {&s.MaxColumns, 1000}} {
		if *f.at <= 0 {
			*f.at = f.to
		}
	}
	if s.PartBudget <= 0 {
		s.PartBudget = 64 << 20
	}
	if s.HoldPoll <= 0 {
		s.HoldPoll = 5 * time.Second
	}
	if s.HoldMax <= 0 {
		s.HoldMax = 24 * time.Hour
	}
	return s
}
