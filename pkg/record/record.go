// Package record holds what the platform ingests: columnar batches of users, events and the other kinds as the mapper made them, with
// the rejects and the filtered rows of the same batch, and the counts of what became of rows.
package record

import (
	"time"

	"github.com/apache/arrow-go/v18/arrow"

	"millrace.dev/pkg/id"
	"millrace.dev/pkg/row"
)

// The columns of a batch of records, in this order. Body columns come last.
const (
	ColumnRow        = "row"             // int32: position of the row in the batch as read
	ColumnKey        = "row_key"         // fixed_size_binary[16]
	ColumnHash       = "row_hash"        // fixed_size_binary[16]
	ColumnRecordHash = "record_hash"     // fixed_size_binary[16], over op, identities and mapped fields
	ColumnTime       = "row_time"        // timestamp[ns, UTC], nullable
	ColumnBelowLow   = "below_low"       // bool
	ColumnKeyValues  = "key_values"      // utf8: canonical key values joined by KeySeparator; empty without key columns
	ColumnIdentities = "identities"      // struct of utf8, one field per identity type, NULL where a row has none
	ColumnAttributes = "user_attributes" // struct, users only: one field per attribute
	ColumnEvent      = "event"           // struct, events only: event_type utf8, then data (a struct, nested as the event is)
)

// Positions of the columns above.
const (
	PosRow = iota
	PosKey
	PosHash
	PosRecordHash
	PosTime
	PosBelowLow
	PosKeyValues
	PosIdentities
	PosBody // as Kind.Body names it
	NumColumns
)

// KeySeparator stands between the values of a composite key in ColumnKeyValues.
const KeySeparator = "\x1f"

// Field metadata of body fields.
const (
	// MetaOnNull = "clear": a NULL clears the attribute; without it a NULL is skipped.
	MetaOnNull = "millrace.on_null"
	// MetaOpen = "true": a utf8 field whose value is a JSON object; its members stand beside the field, and a sibling
	// field of a member's name wins over it.
	MetaOpen = "millrace.open"
	// MetaJSON = "true": a utf8 field whose value is JSON text and not a string.
	MetaJSON = "millrace.json"
)

// Batch is the records of one batch, or of one fragment of it, with the rows that became none. It is immutable once
// handed on.
type Batch struct {
	Kind     Kind
	Record   arrow.RecordBatch // NumColumns columns; may have zero rows
	Rejects  []Reject
	Filtered []Filtered
	Kept     Kept
	// Absent has keys of the row index that a complete mirror read lacked. A batch has nothing else then, and no Record.
	Absent []id.Row
}

// Rows answers how many rows as read b accounts for.
func (b Batch) Rows() int64 {
	if b.Absent != nil {
		return int64(len(b.Absent))
	}
	return b.Record.NumRows() + int64(len(b.Rejects)) + int64(len(b.Filtered))
}

// Reject is a row that the mapper could not turn into a record, or that the store refused. One row makes one reject;
// further faults of the row are in Reason.
type Reject struct {
	Row       int32 // position of the row in the batch as read
	Key       id.Row
	Hash      row.Hash
	KeyValues string // as ColumnKeyValues
	Column    string
	Stage     Stage
	Rule      string // which rule: "rules[1].rules[0]", row_too_large, no_identity …
	Reason    string // no row value in it
}

// Stage is where a reject was born.
type Stage string

// The stages.
const (
	StageMap    Stage = "map"
	StageIngest Stage = "ingest"
)

// Filtered is a row that was read and then left out by policy. It travels on as key and hash.
type Filtered struct {
	Row  int32
	Key  id.Row
	Hash row.Hash
}

// Counts are effects of rows, each row once (design: Counts).
type Counts struct {
	Read, Filtered, Rejected, Mapped, Absent                 int64
	Created, Updated, Unchanged, Deleted, Protected, Refused int64
	LateRows, Collapsed, Unattributed, NullIterator          int64 // in no sum
	Merges                                                   int64 // in no sum: profiles that were merged into others
	Blocked                                                  int64 // in no sum: identity values that were dropped
}

// Add answers the sum of both.
func (c Counts) Add(o Counts) Counts {
	c.Read += o.Read
	c.Filtered += o.Filtered
	c.Rejected += o.Rejected
	c.Mapped += o.Mapped
	c.Absent += o.Absent
	c.Created += o.Created
	c.Updated += o.Updated
	c.Unchanged += o.Unchanged
	c.Deleted += o.Deleted
	c.Protected += o.Protected
	c.Refused += o.Refused
	c.LateRows += o.LateRows
	c.Collapsed += o.Collapsed
	c.Unattributed += o.Unattributed
	c.NullIterator += o.NullIterator
	c.Merges += o.Merges
	c.Blocked += o.Blocked
	return c
}

// Balanced says whether both sums of the account close.
func (c Counts) Balanced() bool {
	return c.Read == c.Filtered+c.Rejected+c.Mapped &&
		c.Mapped+c.Absent == c.Created+c.Updated+c.Unchanged+c.Deleted+c.Protected+c.Refused
}

// Origin is where a batch comes from: what its envelope says of it, and what every stored record carries as lineage.
type Origin struct {
	Workspace    id.Workspace
	Sync         id.Sync
	SyncID       string // the sync's slug
	SyncVersion  int64
	RunNo        int64
	ReadRunNo    int64 // of a replay: the run that read the rows from the warehouse; 0: this one
	Batch        id.Batch
	Retried      []RetriedRun // the runs that this one retries, newest first
	Full         bool         // modes full and mirror: versions order by run_no first
	Mirror       bool         // mode mirror: a row stands for all that it brought before
	Sights       bool         // keys of the batch are kept, so that the run can list those that it lacked
	Dry          bool         // of a dry pass: the store answers without writing
	SnapshotTime time.Time
	PayloadCap   int64
	// Position of the first row that this fragment covers, and how many rows it covers.
	FirstRow int64
	Rows     int64
	Last     bool // the last fragment of its batch
	// Lineage for outputs.
	Model    string
	Provider string
}

// RetriedRun is a run whose recorded effects count for the one that retries it, but for the parts that were adopted
// whole.
type RetriedRun struct {
	RunNo   int64
	Run     id.Run
	Adopted []uint32
}
