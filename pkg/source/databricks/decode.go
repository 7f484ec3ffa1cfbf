package databricks

import (
	"errors"
	"io"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/wire"
)

const (
	// batchRows bounds the rows of a batch.
	batchRows = 16_384
	// maxMetadata bounds what describes a batch within a stream.
	maxMetadata = 16 << 20
)

var errRows = errors.New("a batch claims more rows than an answer may have")

// decode reads an Arrow stream of at most `rows` rows, where that is not negative: a result file may have more than its
// link says, which are not of the result, but not fewer.
func decode(s Settings, stream io.Reader, rows int64, each func(arrow.RecordBatch) bool) error {
	return guarded(func() error {
		r, err := wire.Reader(stream, s.Allocator, wire.Limits{Metadata: maxMetadata, Body: s.MaxReply, Piece: s.MaxReply})
		if err != nil {
			return broken(err)
		}
		defer r.Release()
		left := rows
		for left != 0 && r.Next() {
			b := r.RecordBatch()
			n := b.NumRows()
			if rows >= 0 {
				n = min(n, left)
				left -= n
			}
			if b.NumRows() > 8*s.MaxReply { // columns of NULL take no bytes, others a bit a row at least
				return broken(errRows)
			}
			if err := valid(b); err != nil {
				return err
			}
			if !inSlices(b, n, each) {
				return errEnough
			}
		}
		if err := r.Err(); err != nil {
			return broken(err)
		}
		if left > 0 {
			return unavailable("a result file has fewer rows than its link says; the part is read again")
		}
		return nil
	})
}

// broken keeps the fault of a download that ended within a stream.
func broken(err error) error {
	if f := fault.As(err); f.Class != fault.Internal {
		return f
	}
	return unavailable("a result file is malformed; the part is read again")
}

// valid refuses a batch whose offsets lead out of it.
func valid(b arrow.RecordBatch) error {
	for _, c := range b.Columns() {
		if v, ok := c.(interface{ ValidateFull() error }); ok && v.ValidateFull() != nil {
			return unavailable("a result file is malformed; the part is read again")
		}
	}
	return nil
}

// inSlices hands the first n rows of b on in batches of batchRows.
func inSlices(b arrow.RecordBatch, n int64, each func(arrow.RecordBatch) bool) bool {
	if n <= batchRows && n == b.NumRows() {
		return each(b)
	}
	for at := int64(0); at < n; at += batchRows {
		part := b.NewSlice(at, min(at+batchRows, n))
		more := each(part)
		part.Release()
		if !more {
			return false
		}
	}
	return true
}

// fit answers b under the described schema. The caller releases it.
func fit(s Settings, schema *arrow.Schema, b arrow.RecordBatch) (arrow.RecordBatch, error) {
	if int(b.NumCols()) != schema.NumFields() {
		return nil, changed("the result has %d columns, described were %d", b.NumCols(), schema.NumFields())
	}
	columns := make([]arrow.Array, 0, b.NumCols())
	defer func() {
		for _, c := range columns {
			c.Release()
		}
	}()
	for i, f := range schema.Fields() {
		c := converted(s, b.Column(i), f.Type)
		if c == nil {
			return nil, changed("column %s comes as %s, described was %s", quote(f.Name), b.Column(i).DataType(), f.Type)
		}
		columns = append(columns, c)
	}
	return array.NewRecordBatch(schema, columns, b.NumRows()), nil
}

func changed(format string, args ...any) error {
	return fault.New(fault.Unavailable, fault.ReasonSourceChanged, format+"; the run is planned again", args...)
}

// converted answers c as type t where its values are the same, nil where they are not.
func converted(s Settings, c arrow.Array, t arrow.DataType) arrow.Array {
	if arrow.TypeEqual(c.DataType(), t) {
		c.Retain()
		return c
	}
	switch from := c.DataType().(type) {
	case *arrow.NullType:
		return array.MakeArrayOfNull(s.Allocator, t, c.Len())
	case *arrow.TimestampType: // an instant, whatever zone the session names
		to, ok := t.(*arrow.TimestampType)
		if !ok || to.Unit != from.Unit || (to.TimeZone == "") != (from.TimeZone == "") {
			return nil
		}
		d := c.Data()
		renamed := array.NewData(t, d.Len(), d.Buffers(), nil, d.NullN(), d.Offset())
		defer renamed.Release()
		return array.NewTimestampData(renamed)
	}
	return nil
}
