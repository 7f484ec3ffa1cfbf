// Package mapping turns rows of a warehouse into records: it compiles the rules of a mapping against a schema, all
// faults at once, and applies them to whole columns. It is pure: no clock, no I/O, no log.
//
// Rows that cannot be mapped become rejects; the rest of their batch goes on. What a row becomes depends on nothing but
// the row and the program, however a table is cut into batches.
package mapping

import (
	"time"

	"github.com/apache/arrow-go/v18/arrow"

	"millrace.dev/pkg/record"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/row"
)

// Version names the mapping language's compiled form. Programs of one version map equal rows to equal records.
const Version = "1"

// Limits bounds what a mapping may ask for.
type Limits struct {
	Columns        int    // selected columns
	Rules          int    // rules, inner ones included
	StaticBytes    int    // of all static values and defaults together
	ExpressionSize int    // characters of one expression
	ExpressionCost uint64 // of one evaluation, in CEL's units, where it could grow faster than its input
	// Between which instants events lie: EventsFrom is in, EventsUntil is not. A zero EventsUntil: anywhere.
	EventsFrom, EventsUntil time.Time
}

// DefaultLimits answers the limits that Compile goes by.
func DefaultLimits() Limits {
	return Limits{
		Columns: 1000, Rules: 5000, StaticBytes: 64 << 10, ExpressionSize: 4096, ExpressionCost: 1_000_000,
		EventsFrom: time.Date(1971, 1, 1, 0, 0, 0, 0, time.UTC), EventsUntil: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC),
	}
}

// Program is a mapping compiled against a schema. Safe for concurrent use.
type Program struct {
	kind       record.Kind
	schema     *arrow.Schema // of the records
	columns    []string      // of the rows
	keys       []int         // positions of the key columns
	leaves     []*leaf
	identities []int // positions in leaves
	body       *node
	checks     []check
	required   requirements
	eventRules eventRules
	fixedHash  row.Hash // what op and static values add to every record hash
}

// Tally counts what mapping did to values that it let pass.
type Tally struct {
	Rounded int64 // values that lost precision because their rule, or their field, allows it
}

// Compile answers the program of a mapping for rows of the schema `in`, which has the source's own columns only. A nil
// mapping maps users by name. Invalid MAPPING_INVALID carries every fault at once, each with the path of its rule.
func Compile(m *resource.Mapping, model resource.DataModel, in *arrow.Schema) (*Program, error) {
	return DefaultLimits().Compile(m, model, in)
}

// KeyColumns answers the columns whose values make the row key: the model's, or else for users the column of the
// mapped identity of the highest priority; none for events without key columns.
func (p *Program) KeyColumns() []string {
	names := make([]string, len(p.keys))
	for i, at := range p.keys {
		names[i] = p.columns[at]
	}
	return names
}

// Fields answers the destination paths in the order of the records' fields.
func (p *Program) Fields() []string {
	out := make([]string, len(p.leaves))
	for i, l := range p.leaves {
		out[i] = l.path
	}
	return out
}

// Version answers the version of the mapping language's compiled form.
func (p *Program) Version() string { return Version }

// Kind answers what the program's records are.
func (p *Program) Kind() record.Kind { return p.kind }

// Schema answers the schema of the records.
func (p *Program) Schema() *arrow.Schema { return p.schema }

// Apply maps a batch of rows whose own columns have the compiled schema. Moved columns share memory with b. Every row
// of b is in the result once, as a record or as a reject, both in the order of the rows.
func (p *Program) Apply(b row.Batch) record.Batch {
	out, _ := p.ApplyTally(b)
	return out
}
