package wire_test

import (
	"math"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"millrace.dev/pkg/record"
	"millrace.dev/pkg/row"
	"millrace.dev/pkg/wire"
)

// kind is a type that a driver gives, and how a value of it is drawn.
type kind struct {
	name string
	typ  arrow.DataType
	add  func(t *rapid.T, b array.Builder)
}

func kinds() []kind {
	one := func(t *rapid.T) int64 {
		return rapid.OneOf(rapid.SampledFrom([]int64{math.MinInt64, math.MaxInt64, 0, -1, 1 << 53, 1<<53 + 1}), rapid.Int64()).Draw(t, "integer")
	}
	text := func(t *rapid.T) string {
		return rapid.OneOf(rapid.SampledFrom([]string{"", " ", "\x00", "null", "é", "=1+1"}), rapid.String()).Draw(t, "text")
	}
	float := func(t *rapid.T) float64 {
		return rapid.OneOf(rapid.SampledFrom([]float64{math.NaN(), math.Inf(1), math.Inf(-1), 0, math.Copysign(0, -1), math.MaxFloat64, math.SmallestNonzeroFloat64}), rapid.Float64()).Draw(t, "double")
	}
	moment := func(t *rapid.T, b array.Builder) { b.(*array.TimestampBuilder).Append(arrow.Timestamp(one(t))) }
	dictionary := &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int32, ValueType: arrow.BinaryTypes.String}
	return []kind{
		{"int8", arrow.PrimitiveTypes.Int8, func(t *rapid.T, b array.Builder) { b.(*array.Int8Builder).Append(int8(one(t))) }},
		{"int64", arrow.PrimitiveTypes.Int64, func(t *rapid.T, b array.Builder) { b.(*array.Int64Builder).Append(one(t)) }},
		{"uint64", arrow.PrimitiveTypes.Uint64, func(t *rapid.T, b array.Builder) { b.(*array.Uint64Builder).Append(uint64(one(t))) }},
		{"float", arrow.PrimitiveTypes.Float32, func(t *rapid.T, b array.Builder) { b.(*array.Float32Builder).Append(float32(float(t))) }},
		{"double", arrow.PrimitiveTypes.Float64, func(t *rapid.T, b array.Builder) { b.(*array.Float64Builder).Append(float(t)) }},
		{"decimal", &arrow.Decimal128Type{Precision: 38, Scale: 9}, func(t *rapid.T, b array.Builder) {
			b.(*array.Decimal128Builder).Append(decimal128.New(one(t)%(1<<62), uint64(one(t))))
		}},
		{"boolean", arrow.FixedWidthTypes.Boolean, func(t *rapid.T, b array.Builder) {
			b.(*array.BooleanBuilder).Append(rapid.Bool().Draw(t, "boolean"))
		}},
		{"text", arrow.BinaryTypes.String, func(t *rapid.T, b array.Builder) { b.(*array.StringBuilder).Append(text(t)) }},
		{"long text", arrow.BinaryTypes.LargeString, func(t *rapid.T, b array.Builder) { b.(*array.LargeStringBuilder).Append(text(t)) }},
		{"binary", arrow.BinaryTypes.Binary, func(t *rapid.T, b array.Builder) {
			b.(*array.BinaryBuilder).Append(rapid.SliceOf(rapid.Byte()).Draw(t, "bytes"))
		}},
		{"instant", &arrow.TimestampType{Unit: arrow.Nanosecond, TimeZone: "UTC"}, moment},
		{"timestamp", &arrow.TimestampType{Unit: arrow.Microsecond}, moment},
		{"date", arrow.FixedWidthTypes.Date32, func(t *rapid.T, b array.Builder) { b.(*array.Date32Builder).Append(arrow.Date32(one(t))) }},
		{"time", arrow.FixedWidthTypes.Time64us, func(t *rapid.T, b array.Builder) {
			b.(*array.Time64Builder).Append(arrow.Time64(one(t) & (1<<36 - 1)))
		}},
		{"enum", dictionary, func(t *rapid.T, b array.Builder) {
			if err := b.(*array.BinaryDictionaryBuilder).AppendString(text(t)); err != nil {
				t.Fatal(err)
			}
		}},
		{"list", arrow.ListOf(arrow.BinaryTypes.String), func(t *rapid.T, b array.Builder) {
			l := b.(*array.ListBuilder)
			l.Append(true)
			for range rapid.IntRange(0, 3).Draw(t, "length") {
				l.ValueBuilder().(*array.StringBuilder).Append(text(t))
			}
		}},
		{"struct", arrow.StructOf(arrow.Field{Name: "a", Type: arrow.PrimitiveTypes.Int64, Nullable: true}), func(t *rapid.T, b array.Builder) {
			s := b.(*array.StructBuilder)
			s.Append(true)
			if rapid.Bool().Draw(t, "null inside") {
				s.FieldBuilder(0).AppendNull()
			} else {
				s.FieldBuilder(0).(*array.Int64Builder).Append(one(t))
			}
		}},
		{"map", arrow.MapOf(arrow.BinaryTypes.String, arrow.PrimitiveTypes.Int64), func(t *rapid.T, b array.Builder) {
			m := b.(*array.MapBuilder)
			m.Append(true)
			m.KeyBuilder().(*array.StringBuilder).Append(text(t))
			m.ItemBuilder().(*array.Int64Builder).Append(one(t))
		}},
		{"nothing", arrow.Null, func(_ *rapid.T, b array.Builder) { b.AppendNull() }},
	}
}

// table draws a table of any columns that drivers give.
func table(t *rapid.T) row.Batch {
	all := kinds()
	chosen := rapid.SliceOfN(rapid.IntRange(0, len(all)-1), 1, 6).Draw(t, "columns")
	fields := make([]arrow.Field, len(chosen))
	for i, k := range chosen {
		meta := arrow.NewMetadata([]string{"millrace.source_type"}, []string{all[k].name})
		fields[i] = arrow.Field{Name: string(rune('a' + i)), Type: all[k].typ, Nullable: true, Metadata: meta}
	}
	s := arrow.NewSchema(fields, nil)
	b := array.NewRecordBuilder(memory.NewGoAllocator(), s)
	n := rapid.IntRange(1, 12).Draw(t, "rows")
	for i, k := range chosen {
		for range n {
			if rapid.IntRange(0, 4).Draw(t, "null") == 0 {
				b.Field(i).AppendNull()
			} else {
				all[k].add(t, b.Field(i))
			}
		}
	}
	rec := b.NewRecordBatch()
	h, err := row.NewHasher(s, nil)
	require.NoError(t, err)
	keys, hashes := h.Hash(rec)
	times := array.NewTimestampBuilder(memory.NewGoAllocator(), &arrow.TimestampType{Unit: arrow.Nanosecond, TimeZone: "UTC"})
	below := array.NewBooleanBuilder(memory.NewGoAllocator())
	for i := range n {
		times.Append(arrow.Timestamp(math.MinInt64 + int64(i)))
		below.Append(i%2 == 0)
	}
	return row.Seal(rec, keys, hashes, times.NewArray(), below.NewArray())
}

// TestARejectedRowSurvivesAsItWasRead: chosen from its batch, on its way beside the records, chosen again and kept, a row
// has the values, types and hash that it was read with.
func TestARejectedRowSurvivesAsItWasRead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := table(t)
		at := rapid.SliceOfNDistinct(rapid.Int32Range(0, int32(b.Record.NumRows())-1), 1, -1, rapid.ID).Draw(t, "rejects")
		wanted := map[int32]bool{}
		for _, n := range at {
			wanted[n] = true
		}
		var first []int32 // with rows that are not rejected in the end
		for n := range int32(b.Record.NumRows()) {
			if wanted[n] || rapid.Bool().Draw(t, "doubtful") {
				first = append(first, n)
			}
		}
		data, err := wire.EncodeRecords(origin(), record.Batch{Kind: record.Users, Record: emptyRecords(t), Kept: record.Keep(b, first)})
		require.NoError(t, err)
		_, got, err := wire.DecodeRecords(data, limit)
		require.NoError(t, err)
		kept := got.Kept.Only(func(n int32) bool { return wanted[n] })
		data, err = wire.EncodeRows(origin(), kept.Rows)
		require.NoError(t, err)
		_, rows, err := wire.DecodeRows(data, limit)
		require.NoError(t, err)

		require.True(t, b.Record.Schema().Equal(rows.Record.Schema()), "names, types and what is said of columns")
		require.EqualValues(t, len(wanted), rows.Record.NumRows())
		h, err := row.NewHasher(arrow.NewSchema(rows.Record.Schema().Fields()[:rows.Columns()], nil), nil)
		require.NoError(t, err)
		_, again := h.Hash(array.NewRecordBatch(arrow.NewSchema(rows.Record.Schema().Fields()[:rows.Columns()], nil), rows.Record.Columns()[:rows.Columns()], rows.Record.NumRows()))
		for i, n := range kept.At {
			was, is := b.Record.NewSlice(int64(n), int64(n)+1), rows.Record.NewSlice(int64(i), int64(i)+1)
			require.True(t, array.RecordApproxEqual(was, is, array.WithNaNsEqual(true)), "row %d:\n%v\n%v", n, was, is)
			require.Equal(t, record.AppendRow(nil, b.Record, b.Columns(), int(n)), record.AppendRow(nil, rows.Record, rows.Columns(), i))
			require.Equal(t, row.FromBytes(b.Hashes().Value(int(n))), again[i], "the hash of the row read again")
		}
	})
}

func emptyRecords(t *rapid.T) arrow.RecordBatch {
	sixteen := &arrow.FixedSizeBinaryType{ByteWidth: 16}
	s := arrow.NewSchema([]arrow.Field{
		{Name: record.ColumnRow, Type: arrow.PrimitiveTypes.Int32}, {Name: record.ColumnKey, Type: sixteen},
		{Name: record.ColumnHash, Type: sixteen}, {Name: record.ColumnRecordHash, Type: sixteen},
		{Name: record.ColumnTime, Type: &arrow.TimestampType{Unit: arrow.Nanosecond, TimeZone: "UTC"}, Nullable: true},
		{Name: record.ColumnBelowLow, Type: arrow.FixedWidthTypes.Boolean}, {Name: record.ColumnKeyValues, Type: arrow.BinaryTypes.String},
		{Name: record.ColumnIdentities, Type: arrow.StructOf()}, {Name: record.ColumnAttributes, Type: arrow.StructOf()},
	}, nil)
	b := array.NewRecordBuilder(memory.NewGoAllocator(), s)
	require.NotNil(t, b)
	return b.NewRecordBatch()
}
