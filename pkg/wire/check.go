package wire

import (
	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"millrace.dev/pkg/id"
	"millrace.dev/pkg/record"
	"millrace.dev/pkg/row"
)

// want is a column that must stand at its place. type_ is what its type prints.
type want struct{ name, typ string }

func wantedRows() []want {
	return []want{
		{row.ColumnKey, "fixed_size_binary[16]"}, {row.ColumnHash, "fixed_size_binary[16]"},
		{row.ColumnTime, "timestamp[ns, tz=UTC]"}, {row.ColumnBelowLow, "bool"},
	}
}

func wantedRecords() []want {
	return []want{
		{record.ColumnRow, "int32"}, {record.ColumnKey, "fixed_size_binary[16]"}, {record.ColumnHash, "fixed_size_binary[16]"},
		{record.ColumnRecordHash, "fixed_size_binary[16]"}, {record.ColumnTime, "timestamp[ns, tz=UTC]"},
		{record.ColumnBelowLow, "bool"}, {record.ColumnKeyValues, "utf8"},
	}
}

func checkRows(b row.Batch) error {
	at := b.Columns()
	if at < 0 || !fits(b.Record.Schema(), at, wantedRows()) {
		return bad("lacks the system columns of rows")
	}
	return nil
}

func checkRecords(rec arrow.RecordBatch) error {
	if rec.NumCols() != record.NumColumns || !fits(rec.Schema(), 0, wantedRecords()) {
		return bad("lacks the columns of records")
	}
	ids, ok := rec.Column(record.PosIdentities).(*array.Struct)
	if !ok {
		return bad("has no identities")
	}
	for i := range ids.NumField() {
		if ids.Field(i).DataType().ID() != arrow.STRING {
			return bad("has identities that are no text")
		}
	}
	if _, ok := rec.Column(record.PosBody).(*array.Struct); !ok {
		return bad("has no body")
	}
	return nil
}

func fits(s *arrow.Schema, at int, wanted []want) bool {
	for i, w := range wanted {
		if at+i >= s.NumFields() {
			return false
		}
		f := s.Field(at + i)
		if f.Name != w.name || f.Type.String() != w.typ {
			return false
		}
	}
	return true
}

// The columns of the rejects' section.
const (
	rejectRow = iota
	rejectKey
	rejectHash
	rejectKeyValues
	rejectColumn
	rejectStage
	rejectRule
	rejectReason
)

func sixteen() arrow.DataType { return &arrow.FixedSizeBinaryType{ByteWidth: 16} }

func rejectsSchema() *arrow.Schema {
	return arrow.NewSchema([]arrow.Field{
		{Name: "row", Type: arrow.PrimitiveTypes.Int32}, {Name: "row_key", Type: sixteen()}, {Name: "row_hash", Type: sixteen()},
		{Name: "key_values", Type: arrow.BinaryTypes.String}, {Name: "column", Type: arrow.BinaryTypes.String},
		{Name: "stage", Type: arrow.BinaryTypes.String}, {Name: "rule", Type: arrow.BinaryTypes.String},
		{Name: "reason", Type: arrow.BinaryTypes.String},
	}, nil)
}

func filteredSchema() *arrow.Schema {
	return arrow.NewSchema([]arrow.Field{
		{Name: "row", Type: arrow.PrimitiveTypes.Int32}, {Name: "row_key", Type: sixteen()}, {Name: "row_hash", Type: sixteen()},
	}, nil)
}

func appendName(b *array.RecordBuilder, n int32, key id.Row, hash row.Hash) {
	h := hash.Bytes()
	b.Field(rejectRow).(*array.Int32Builder).Append(n)
	b.Field(rejectKey).(*array.FixedSizeBinaryBuilder).Append(key[:])
	b.Field(rejectHash).(*array.FixedSizeBinaryBuilder).Append(h[:])
}

func rejectsRecord(rejects []record.Reject) arrow.RecordBatch {
	if len(rejects) == 0 {
		return nil
	}
	b := array.NewRecordBuilder(goMemory(), rejectsSchema())
	defer b.Release()
	for _, r := range rejects {
		appendName(b, r.Row, r.Key, r.Hash)
		for at, s := range map[int]string{
			rejectKeyValues: r.KeyValues, rejectColumn: r.Column, rejectStage: string(r.Stage), rejectRule: r.Rule, rejectReason: r.Reason,
		} {
			b.Field(at).(*array.StringBuilder).Append(s)
		}
	}
	return b.NewRecordBatch()
}

func filteredRecord(rows []record.Filtered) arrow.RecordBatch {
	if len(rows) == 0 {
		return nil
	}
	b := array.NewRecordBuilder(goMemory(), filteredSchema())
	defer b.Release()
	for _, r := range rows {
		appendName(b, r.Row, r.Key, r.Hash)
	}
	return b.NewRecordBatch()
}

func decodeRejects(data []byte, max int64) ([]record.Reject, error) {
	rec, err := decodeSmall(data, max, rejectsSchema())
	if rec == nil || err != nil {
		return nil, err
	}
	out := make([]record.Reject, rec.NumRows())
	for i := range out {
		n, key, hash := name(rec, i)
		out[i] = record.Reject{
			Row: n, Key: key, Hash: hash, KeyValues: text(rec, rejectKeyValues, i), Column: text(rec, rejectColumn, i),
			Stage: record.Stage(text(rec, rejectStage, i)), Rule: text(rec, rejectRule, i), Reason: text(rec, rejectReason, i),
		}
	}
	return out, nil
}

func decodeFiltered(data []byte, max int64) ([]record.Filtered, error) {
	rec, err := decodeSmall(data, max, filteredSchema())
	if rec == nil || err != nil {
		return nil, err
	}
	out := make([]record.Filtered, rec.NumRows())
	for i := range out {
		out[i].Row, out[i].Key, out[i].Hash = name(rec, i)
	}
	return out, nil
}

// decodeSmall reads a section that may be empty and must have this schema.
func decodeSmall(data []byte, max int64, s *arrow.Schema) (arrow.RecordBatch, error) {
	if len(data) == 0 {
		return nil, nil
	}
	rec, err := decode(data, max)
	if err != nil {
		return nil, err
	}
	if !rec.Schema().Equal(s) {
		return nil, bad("has rejects of another shape")
	}
	return rec, nil
}

func name(rec arrow.RecordBatch, i int) (int32, id.Row, row.Hash) {
	key := rec.Column(rejectKey).(*array.FixedSizeBinary)
	hash := rec.Column(rejectHash).(*array.FixedSizeBinary)
	n := rec.Column(rejectRow).(*array.Int32)
	return n.Value(i), id.Row(key.Value(i)), row.FromBytes(hash.Value(i))
}

func text(rec arrow.RecordBatch, col, i int) string {
	return rec.Column(col).(*array.String).Value(i)
}
