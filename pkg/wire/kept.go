package wire

import (
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"millrace.dev/pkg/record"
	"millrace.dev/pkg/row"
)

// columnAt is the column behind those of a batch of rows that has the positions of kept rows.
const columnAt = "$row"

// keptRecord answers kept rows with their positions as one batch, nil where there are none.
func keptRecord(k record.Kept) arrow.RecordBatch {
	if k.Len() == 0 {
		return nil
	}
	rec := k.Rows.Record
	at := array.NewInt32Data(array.NewData(arrow.PrimitiveTypes.Int32, len(k.At),
		[]*memory.Buffer{nil, memory.NewBufferBytes(arrow.Int32Traits.CastToBytes(k.At))}, nil, 0, 0))
	fields := append(slices.Clone(rec.Schema().Fields()), arrow.Field{Name: columnAt, Type: arrow.PrimitiveTypes.Int32})
	meta := rec.Schema().Metadata()
	return array.NewRecordBatch(arrow.NewSchema(fields, &meta), append(slices.Clone(rec.Columns()), at), rec.NumRows())
}

// decodeKept reads what keptRecord made.
func decodeKept(data []byte, max int64) (record.Kept, error) {
	if len(data) == 0 {
		return record.Kept{}, nil
	}
	rec, err := decode(data, max)
	if err != nil {
		return record.Kept{}, err
	}
	last := int(rec.NumCols()) - 1
	if last < 0 || !fits(rec.Schema(), last, []want{{columnAt, "int32"}}) {
		return record.Kept{}, bad("lacks the positions of kept rows")
	}
	at := rec.Column(last).(*array.Int32).Int32Values()
	if !slices.IsSorted(at) {
		return record.Kept{}, bad("has kept rows in another order than they were read")
	}
	meta := rec.Schema().Metadata()
	rows := row.Batch{Record: array.NewRecordBatch(arrow.NewSchema(rec.Schema().Fields()[:last], &meta), rec.Columns()[:last], rec.NumRows())}
	if err := checkRows(rows); err != nil {
		return record.Kept{}, err
	}
	return record.Kept{Rows: rows, At: at}, nil
}
