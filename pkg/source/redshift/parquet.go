package redshift

import (
	"bytes"
	"context"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/compute"
	"github.com/apache/arrow-go/v18/parquet"
	pq "github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/source/sqltext"
	"millrace.dev/pkg/wire"
)

// decode reads one Parquet file of an UNLOAD, which has `rows` rows, in batches of the described schema. No page of it takes
// more memory than a file may have bytes.
func (q *query) decode(ctx context.Context, s Settings, data []byte, rows int64, each func(arrow.RecordBatch) bool) (more bool, err error) {
	defer func() { // a reader of files that others wrote
		if recover() != nil {
			more, err = false, malformed()
		}
	}()
	f, err := pq.NewParquetReader(bytes.NewReader(data), pq.WithReadProps(parquet.NewReaderProperties(wire.Capped(s.Allocator, s.maxFile()))))
	if err != nil {
		return false, malformed()
	}
	defer func() { _ = f.Close() }()
	if f.NumRows() != rows {
		return false, unavailable("an unloaded file has %d rows, its manifest says %d; the part is read again", f.NumRows(), rows)
	}
	r, err := pqarrow.NewFileReader(f, pqarrow.ArrowReadProperties{BatchSize: batchOf(f)}, s.Allocator)
	if err != nil {
		return false, malformed()
	}
	records, err := r.GetRecordReader(ctx, nil, nil)
	if err != nil {
		return false, malformed()
	}
	defer records.Release()
	seen := int64(0)
	for records.Next() {
		b := records.RecordBatch()
		seen += b.NumRows()
		if more, err := q.hand(ctx, s, b, each); err != nil || !more {
			return false, err
		}
	}
	switch {
	case ctx.Err() != nil:
		return false, fault.As(ctx.Err())
	case seen != rows:
		return false, malformed()
	}
	return true, nil
}

// hand hands one batch of a file on under the described schema.
func (q *query) hand(ctx context.Context, s Settings, b arrow.RecordBatch, each func(arrow.RecordBatch) bool) (bool, error) {
	fitted, err := q.fit(ctx, s, b)
	if err != nil {
		return false, err
	}
	defer fitted.Release()
	return each(fitted), nil
}

// batchOf answers how many rows of a file have about batchBytes, batchRows at most.
func batchOf(f *pq.Reader) int64 {
	size := int64(0)
	for i := range f.NumRowGroups() {
		size += f.MetaData().RowGroup(i).TotalByteSize()
	}
	if f.NumRows() == 0 || size <= 0 {
		return batchRows
	}
	return max(1, min(batchRows, batchBytes*f.NumRows()/size))
}

func malformed() error {
	return unavailable("an unloaded file is malformed; the part is read again")
}

// fit answers b under the described schema. The caller releases it.
func (q *query) fit(ctx context.Context, s Settings, b arrow.RecordBatch) (arrow.RecordBatch, error) {
	if int(b.NumCols()) != q.schema.NumFields() {
		return nil, errColumns()
	}
	columns := make([]arrow.Array, 0, b.NumCols())
	defer func() {
		for _, c := range columns {
			c.Release()
		}
	}()
	for i, f := range q.schema.Fields() {
		c, err := columnAs(ctx, s, b.Column(i), f.Type)
		if err != nil {
			return nil, changed("column %s was unloaded as %s, described was %s", sqltext.Quote(f.Name), b.Column(i).DataType(), f.Type)
		}
		columns = append(columns, c)
	}
	return array.NewRecordBatch(q.schema, columns, b.NumRows()), nil
}

// columnAs answers c as type t, where its values are the same.
func columnAs(ctx context.Context, s Settings, c arrow.Array, t arrow.DataType) (arrow.Array, error) {
	if e, ok := c.(array.ExtensionArray); ok {
		c = e.Storage()
	}
	if arrow.TypeEqual(c.DataType(), t) {
		c.Retain()
		return c, nil
	}
	if !kin(c.DataType(), t) {
		return nil, errColumns()
	}
	opts := compute.SafeCastOptions(t)
	if from, ok := c.DataType().(*arrow.TimestampType); ok {
		// Instants whatever zone the file names; finer ones than the warehouse has are none of its.
		to := t.(*arrow.TimestampType) //nolint:forcetypeassert // kin of a timestamp
		if from.Unit == to.Unit {
			return zoned(c, to), nil
		}
		opts = compute.SafeCastOptions(&arrow.TimestampType{Unit: to.Unit, TimeZone: from.TimeZone})
		opts.AllowTimeTruncate = true
		scaled, err := compute.CastArray(compute.WithAllocator(ctx, s.Allocator), c, opts)
		if err != nil {
			return nil, err //nolint:wrapcheck // told by the caller
		}
		defer scaled.Release()
		return zoned(scaled, to), nil
	}
	return compute.CastArray(compute.WithAllocator(ctx, s.Allocator), c, opts) //nolint:wrapcheck // told by the caller
}

// zoned answers the values of c as they are, under the type t of the same unit.
func zoned(c arrow.Array, t *arrow.TimestampType) arrow.Array {
	d := c.Data()
	renamed := array.NewData(t, d.Len(), d.Buffers(), nil, d.NullN(), d.Offset())
	defer renamed.Release()
	return array.NewTimestampData(renamed)
}

// kin says whether files may have type `from` where `to` was described: the format has fewer types than the warehouse.
func kin(from, to arrow.DataType) bool {
	switch to.ID() {
	case arrow.INT16, arrow.INT32, arrow.INT64:
		return arrow.IsInteger(from.ID())
	case arrow.STRING:
		return from.ID() == arrow.BINARY
	case arrow.TIMESTAMP:
		return from.ID() == arrow.TIMESTAMP
	case arrow.DECIMAL128:
		return from.ID() == arrow.DECIMAL128 || from.ID() == arrow.DECIMAL32 || from.ID() == arrow.DECIMAL64
	}
	return false
}
