// Package source is the seam to warehouses: what Millrace asks of one, whoever made it. Drivers stand in folders below;
// package sourcetest holds the suite that each of them passes.
package source

import (
	"context"
	"iter"
	"time"

	"github.com/apache/arrow-go/v18/arrow"

	"millrace.dev/pkg/resource"
)

// Driver opens sources of one provider.
type Driver interface {
	// Provider answers the name of the connection's block, such as "duckdb".
	Provider() string
	// Open answers a source for one plan, part or preview. Secrets of c are plain. The error is classified:
	// Unavailable (locked, unreachable), Denied, NotFound (no such file or database), Precondition (driver missing).
	Open(ctx context.Context, c resource.Connection) (Source, error)
}

// Source reads data models from one warehouse. Safe for concurrent use. Closed by whoever opened it.
type Source interface {
	// Check names the steps of a connection test; the failed one says what to do. It stops after the first failure.
	Check(ctx context.Context) []CheckStep
	// Describe answers the query's schema; no rows are read. What is not one SELECT is refused (Invalid QUERY_INVALID)
	// with the line. Each field's metadata has the warehouse's own type under MetaType.
	Describe(ctx context.Context, q Query) (*arrow.Schema, error)
	// Read answers the rows of q.Range, in any order, in batches whose schema is Describe's. Single use; it frees the
	// cursor when the loop ends, and stops the warehouse's query when ctx ends. A batch is the receiver's for the loop's
	// body only; Retain keeps it. After an error comes nothing more.
	Read(ctx context.Context, q Query) iter.Seq2[arrow.RecordBatch, error]
	// Close frees what Open took. Reads must have ended.
	Close() error
}

// MetaType is the key of a schema field's metadata under which Describe gives the warehouse's own type.
const MetaType = "millrace.source_type"

// Query is a data model with what bounds a read of it. Literals are bound, never printed into SQL.
type Query struct {
	Model resource.DataModel
	// Label goes with the query where the warehouse takes one: millrace:<workspace>/<sync>/<run>.
	Label string
	// Snapshot is a Plan's; empty: as the data is now.
	Snapshot string
	Range    Range
	// Limit bounds the rows; 0: all. For previews.
	Limit int
	// From and Until bound the iterator where it is an instant or date; zero: unbounded. Plan uses them, Read does not.
	From, Until time.Time
	// Low is where Plan's window begins, as the source prints values of the iterator; empty: at From. It is the
	// checkpoint; Plan takes Lookback off.
	Low      string
	Lookback time.Duration
	Delay    time.Duration
	// Full makes Plan plan everything, whatever the iterator: no window and no watermark; it may still cut parts by it.
	Full bool
	// MaxBytesScanned bounds what the queries of a plan, or of Changes, are estimated to go through together: what would
	// go beyond fails with BUDGET_EXCEEDED before it runs. 0: no bound. Sources that are no Meter do not look at it, and
	// no source does where it reads.
	MaxBytesScanned int64
}

// Range is what one part reads: [Low, High) of the iterator, or [Low, High] where HighClosed. The zero value is
// everything.
type Range struct {
	Low, High  string // as the source prints values of the iterator, losslessly; empty: unbounded
	HighClosed bool
	Nulls      bool   // rows whose iterator is NULL, and no others
	Unit       string // a driver's own name for a slice; exclusive with the rest
}

// IsAll says whether r is everything.
func (r Range) IsAll() bool { return r == Range{} }

// CheckStep is one step of a connection test.
type CheckStep struct {
	Name    string // resolve, connect, authenticate, database, run query …
	OK      bool
	Warning bool
	Message string
}

// Table is a table or view that a connection can read. Name is quoted as the warehouse's SQL wants it.
type Table struct {
	Name    string
	Columns []Column
}

// Column is a column of a table, with the warehouse's own type.
type Column struct {
	Name     string
	Type     string
	Nullable bool
}

// Planner is the power of a source to fix a snapshot, the watermark in it, and parts.
type Planner interface {
	// Plan looks at the window [q.Low − q.Lookback, …] from q.From on. The watermark is min(largest iterator value in
	// the snapshot, snapshot instant − q.Delay), never the clock; empty where there is no row, or no iterator. It cuts
	// the window into at most `want` parts, at least one, and one more for NULL iterators where the model reads them.
	// Where all is read and the model has no iterator, parts are slices by its key columns, if it has any.
	Plan(ctx context.Context, q Query, want int) (Plan, error)
}

// Plan is what Planner found.
type Plan struct {
	Snapshot       string // names what every part must read; a driver's own text
	SnapshotTime   time.Time
	Watermark      string
	EstimatedRows  int64
	EstimatedBytes int64
	// Counted says that EstimatedRows is no estimate: it is how many rows the parts have in the snapshot.
	Counted      bool
	NullIterator int64 // rows whose iterator is NULL
	// FutureRows are rows beyond snapshot instant − q.Delay, which no part reads; 0 where q.Until ends the window before.
	FutureRows int64
	Parts      []Range
	// Replan says that parts finished under this snapshot do not go together with parts of another.
	Replan bool
}

// Holder is the power of a source whose plan names a snapshot that ends with the source. Whoever planned keeps the source
// open until the run's parts are read.
type Holder interface {
	// Holds says whether the last Plan opened such a snapshot.
	Holds() bool
}

// Renewer is the power of a source to read on under a new snapshot where the planned one is gone, because its parts are
// by value.
type Renewer interface {
	// ReadUnder names the snapshot of the last Read that found one: its query's, or the new one.
	ReadUnder() string
}

// Browser is the power of a source to list what it has.
type Browser interface {
	Tables(ctx context.Context, prefix string) iter.Seq2[Table, error]
}

// Setup is the power of a driver to print what an administrator runs to let Millrace read. It connects to nothing.
type Setup interface {
	Setup(c resource.Connection) (string, error)
}

// Keys is the power of a source to count offending keys cheaply.
type Keys interface {
	// CheckKeys counts rows of the model in which a key column is NULL, and key values that stand in more than one row.
	CheckKeys(ctx context.Context, q Query) (KeyFaults, error)
}

// KeyFaults is what Keys found.
type KeyFaults struct {
	Nulls, Repeated int64
}

// Unwrapper is a source that wraps another.
type Unwrapper interface{ Unwrap() Source }

// As finds a power of s, through wrappers.
func As[T any](s Source) (T, bool) {
	for {
		if t, ok := s.(T); ok {
			return t, true
		}
		u, ok := s.(Unwrapper)
		if !ok {
			var zero T
			return zero, false
		}
		s = u.Unwrap()
	}
}
