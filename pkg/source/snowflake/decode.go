package snowflake

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	client "github.com/snowflakedb/gosnowflake/v2"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/source/sqltext"
	"millrace.dev/pkg/wire"
)

const (
	// batchRows bounds the rows of a batch.
	batchRows = 16384
	// maxMetadata bounds what a chunk says about itself.
	maxMetadata = 16 << 20
)

// batches reads a result and calls each with its batches, until it answers false.
func (x *session) batches(ctx context.Context, loader client.ArrowStreamLoader, columns []column, schema *arrow.Schema, each func(arrow.RecordBatch) bool) error {
	if p, ok := loader.(client.QueryResultFormatProvider); ok && p.QueryResultFormat() == "json" {
		return fault.New(fault.Precondition, fault.ReasonQueryInvalid, "the warehouse answers this query in no Arrow form; select from tables or views")
	}
	parts, err := batchesOf(loader)
	if err != nil {
		return malformed()
	}
	total, more := int64(0), true
	err = x.chunks(ctx, parts, func(c chunk) (_ bool, err error) {
		d := decoder{x: x, columns: columns, schema: schema, each: each}
		more, err = d.stream(c)
		total += d.rows
		return more, err
	})
	if err == nil && more && total != loader.TotalRows() {
		return malformed()
	}
	return err
}

func batchesOf(loader client.ArrowStreamLoader) (out []client.ArrowStreamBatch, err error) {
	defer recovered(&err)
	return loader.GetBatches() //nolint:wrapcheck // classified by the caller
}

func malformed() error {
	return fault.New(fault.Unavailable, fault.ReasonQueryInterrupted, "a chunk of the result is not what the warehouse says it is; the query is tried again")
}

// decoder turns the chunks of a result into batches.
type decoder struct {
	x       *session
	columns []column
	schema  *arrow.Schema
	each    func(arrow.RecordBatch) bool
	rows    int64
}

// rowError is a value that cannot be read as its column's type says.
type rowError struct{ column, own, why string }

func (e *rowError) Error() string { return e.why }

// stream reads one chunk. Batches are handed on only of a chunk that has as many rows as the warehouse says.
func (d *decoder) stream(c chunk) (more bool, err error) {
	var wire []arrow.RecordBatch
	defer func() {
		for _, b := range wire {
			b.Release()
		}
	}()
	if wire, err = d.wire(c.data); err != nil || d.rows != c.rows {
		return false, malformed()
	}
	for _, b := range wire {
		for from := int64(0); from < b.NumRows(); from += batchRows {
			out, err := d.batch(b, from, min(from+batchRows, b.NumRows()))
			if err != nil {
				return false, d.classify(err)
			}
			more := d.each(out)
			out.Release()
			if !more {
				return false, nil
			}
		}
	}
	return true, nil
}

func (d *decoder) classify(err error) error {
	var row *rowError
	if !errors.As(err, &row) {
		return malformed()
	}
	return fault.New(fault.Precondition, fault.ReasonQueryInvalid, "column %s of type %s: %s", sqltext.Quote(row.column), row.own, row.why)
}

// wire reads a chunk's batches as the warehouse sent them.
func (d *decoder) wire(data []byte) (out []arrow.RecordBatch, err error) {
	defer recovered(&err)
	if len(data) == 0 {
		return nil, nil
	}
	set := d.x.s.settings
	r, err := wire.Reader(bytes.NewReader(data), set.Allocator, wire.Limits{Metadata: maxMetadata, Body: set.MaxChunk, Piece: set.MaxChunk})
	if err != nil {
		return nil, err //nolint:wrapcheck // classified by the caller
	}
	defer r.Release()
	for r.Next() {
		b := r.RecordBatch()
		b.Retain()
		out = append(out, b)
		d.rows += b.NumRows()
		if int(b.NumCols()) != len(d.columns) {
			return out, errMalformed
		}
	}
	return out, r.Err() //nolint:wrapcheck // classified by the caller
}

// batch answers the rows [from, to) of a batch in our types.
func (d *decoder) batch(b arrow.RecordBatch, from, to int64) (out arrow.RecordBatch, err error) {
	columns := make([]arrow.Array, 0, len(d.columns))
	defer func() {
		for _, c := range columns {
			c.Release()
		}
	}()
	defer recovered(&err)
	part := b.NewSlice(from, to)
	defer part.Release()
	for i, c := range d.columns {
		a, err := c.read(d.x.s.settings.Allocator, part.Column(i))
		if err != nil {
			return nil, err
		}
		columns = append(columns, a)
	}
	return array.NewRecordBatch(d.schema, columns, to-from), nil
}

// instantOf answers the first value of a column of microseconds, zero where it is none.
func instantOf(a arrow.Array) time.Time {
	if c, ok := a.(*array.Timestamp); ok && c.Len() > 0 && c.IsValid(0) {
		return time.UnixMicro(int64(c.Value(0))).UTC()
	}
	return time.Time{}
}
