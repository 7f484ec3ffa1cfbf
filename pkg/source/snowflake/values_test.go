package snowflake

import (
	"math"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/record"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/source"
)

// of answers an array of what fill appends, as the wire has it.
func of[B array.Builder](mem memory.Allocator, b func(memory.Allocator) B, fill func(B)) arrow.Array {
	x := b(mem)
	defer x.Release()
	fill(x)
	return x.NewArray()
}

// moment is seconds and nanoseconds as the wire has them, with or without a zone.
func moment(mem memory.Allocator, zoned bool, sec int64, nano int32) arrow.Array {
	fields := []arrow.Field{{Name: "epoch", Type: arrow.PrimitiveTypes.Int64}, {Name: "fraction", Type: arrow.PrimitiveTypes.Int32}}
	if zoned {
		fields = append(fields, arrow.Field{Name: "timezone", Type: arrow.PrimitiveTypes.Int32})
	}
	b := array.NewStructBuilder(mem, arrow.StructOf(fields...))
	defer b.Release()
	b.Append(true)
	b.FieldBuilder(0).(*array.Int64Builder).Append(sec)
	b.FieldBuilder(1).(*array.Int32Builder).Append(nano)
	if zoned {
		b.FieldBuilder(2).(*array.Int32Builder).Append(1440 - 480)
	}
	b.AppendNull()
	return b.NewArray()
}

func int64s(mem memory.Allocator, v int64) arrow.Array {
	return of(mem, array.NewInt64Builder, func(b *array.Int64Builder) { b.Append(v); b.AppendNull() })
}

func counted(mem memory.Allocator, v int64) arrow.Array { // a time with a zone, as a count of its scale
	b := array.NewStructBuilder(mem, arrow.StructOf(arrow.Field{Name: "epoch", Type: arrow.PrimitiveTypes.Int64}, arrow.Field{Name: "timezone", Type: arrow.PrimitiveTypes.Int32}))
	defer b.Release()
	b.Append(true)
	b.FieldBuilder(0).(*array.Int64Builder).Append(v)
	b.FieldBuilder(1).(*array.Int32Builder).Append(1440)
	b.AppendNull()
	return b.NewArray()
}

const (
	year1    = -62135596800 // 0001-01-01
	year9999 = 253402300799 // 9999-12-31 23:59:59
)

// Each type, in each form that the wire has for it, at its extremes. The second value is NULL.
func TestTypes(t *testing.T) {
	mem := memory.NewCheckedAllocator(memory.DefaultAllocator)
	defer mem.AssertSize(t, 0)
	text := func(v string) arrow.Array {
		return of(mem, array.NewStringBuilder, func(b *array.StringBuilder) { b.Append(v); b.AppendNull() })
	}
	real := func(v float64) arrow.Array {
		return of(mem, array.NewFloat64Builder, func(b *array.Float64Builder) { b.Append(v); b.AppendNull() })
	}
	decimal := func(v string) arrow.Array {
		n, err := decimal128.FromString(v, 38, 0)
		require.NoError(t, err)
		return of(mem, func(m memory.Allocator) *array.Decimal128Builder {
			return array.NewDecimal128Builder(m, &arrow.Decimal128Type{Precision: 38})
		}, func(b *array.Decimal128Builder) { b.Append(n); b.AppendNull() })
	}
	const nanos = resource.Nanoseconds
	for _, c := range []struct {
		wire             string
		precision, scale int64
		timestamps       string
		in               arrow.Array
		own              string
		typ              string
		want             string
		refused          string
	}{
		{wire: "fixed", precision: 18, in: of(mem, array.NewInt8Builder, func(b *array.Int8Builder) { b.Append(-128); b.AppendNull() }), own: "NUMBER(18,0)", typ: "int64", want: "-128"},
		{wire: "fixed", precision: 18, in: of(mem, array.NewInt16Builder, func(b *array.Int16Builder) { b.Append(32767); b.AppendNull() }), own: "NUMBER(18,0)", typ: "int64", want: "32767"},
		{wire: "fixed", precision: 5, in: int64s(mem, 99999), own: "NUMBER(5,0)", typ: "int64", want: "99999"},
		{wire: "fixed", precision: 18, in: decimal("-999999999999999999"), own: "NUMBER(18,0)", typ: "int64", want: "-999999999999999999"},
		{wire: "fixed", precision: 38, in: int64s(mem, math.MinInt64), own: "NUMBER(38,0)", typ: "decimal(38, 0)", want: "-9223372036854775808"},
		{wire: "fixed", precision: 38, in: decimal("99999999999999999999999999999999999999"), own: "NUMBER(38,0)", typ: "decimal(38, 0)", want: "99999999999999999999999999999999999999"},
		{wire: "fixed", precision: 38, scale: 37, in: decimal("-99999999999999999999999999999999999999"), own: "NUMBER(38,37)", typ: "decimal(38, 37)", want: "-9.9999999999999999999999999999999999999"},
		{wire: "fixed", precision: 10, scale: 2, in: of(mem, array.NewInt32Builder, func(b *array.Int32Builder) { b.Append(-1); b.AppendNull() }), own: "NUMBER(10,2)", typ: "decimal(10, 2)", want: "-0.01"},
		{wire: "real", in: real(math.NaN()), own: "FLOAT", typ: "float64", want: "NaN"},
		{wire: "real", in: real(math.Inf(-1)), own: "FLOAT", typ: "float64", want: "-Inf"},
		{wire: "real", in: real(math.SmallestNonzeroFloat64), own: "FLOAT", typ: "float64", want: "5e-324"},
		{wire: "text", in: text(""), own: "VARCHAR", typ: "utf8", want: ""},
		{wire: "text", in: text("a\x00b 🙂"), own: "VARCHAR", typ: "utf8", want: "a\x00b 🙂"},
		{wire: "text", in: text("\xff"), own: "VARCHAR", typ: "utf8", refused: "not valid UTF-8"},
		{wire: "variant", in: text(`{"a":[1,{"b":null}]}`), own: "VARIANT", typ: "utf8", want: `{"a":[1,{"b":null}]}`},
		{wire: "object", in: text(`{}`), own: "OBJECT", typ: "utf8", want: `{}`},
		{wire: "array", in: text(`[[[[[[[[]]]]]]]]`), own: "ARRAY", typ: "utf8", want: `[[[[[[[[]]]]]]]]`},
		{wire: "boolean", in: of(mem, array.NewBooleanBuilder, func(b *array.BooleanBuilder) { b.Append(true); b.AppendNull() }), own: "BOOLEAN", typ: "bool", want: "true"},
		{wire: "binary", in: of(mem, func(m memory.Allocator) *array.BinaryBuilder {
			return array.NewBinaryBuilder(m, arrow.BinaryTypes.Binary)
		}, func(b *array.BinaryBuilder) { b.Append([]byte{0, 255}); b.AppendNull() }), own: "BINARY", typ: "binary", want: "AP8="},
		{wire: "date", in: of(mem, array.NewDate32Builder, func(b *array.Date32Builder) { b.Append(year1 / 86400); b.AppendNull() }), own: "DATE", typ: "date32", want: "0001-01-01"},
		{wire: "time", scale: 9, in: int64s(mem, 86399999999999), own: "TIME(9)", typ: "utf8", want: "23:59:59.999999999"},
		{wire: "time", scale: 0, in: of(mem, array.NewInt32Builder, func(b *array.Int32Builder) { b.Append(0); b.AppendNull() }), own: "TIME(0)", typ: "utf8", want: "00:00:00"},
		{wire: "timestamp_ntz", scale: 0, in: int64s(mem, year9999), own: "TIMESTAMP_NTZ(0)", typ: "timestamp[us]", want: "9999-12-31T23:59:59"},
		{wire: "timestamp_ntz", scale: 3, in: int64s(mem, -1), own: "TIMESTAMP_NTZ(3)", typ: "timestamp[us]", want: "1969-12-31T23:59:59.999"},
		{wire: "timestamp_ntz", scale: 6, timestamps: nanos, in: int64s(mem, year1*1_000_000), own: "TIMESTAMP_NTZ(6)", typ: "timestamp[us]", want: "0001-01-01T00:00:00"},
		{wire: "timestamp_ntz", scale: 9, in: moment(mem, false, year9999, 999_999_000), own: "TIMESTAMP_NTZ(9)", typ: "timestamp[us]", want: "9999-12-31T23:59:59.999999"},
		{wire: "timestamp_ntz", scale: 9, in: moment(mem, false, year1, 0), own: "TIMESTAMP_NTZ(9)", typ: "timestamp[us]", want: "0001-01-01T00:00:00"},
		{wire: "timestamp_ntz", scale: 9, in: moment(mem, false, 0, 1), own: "TIMESTAMP_NTZ(9)", typ: "timestamp[us]", refused: "digits beyond microseconds; set snowflake.timestamps to nanoseconds"},
		{wire: "timestamp_ntz", scale: 9, timestamps: nanos, in: moment(mem, false, 0, 1), own: "TIMESTAMP_NTZ(9)", typ: "timestamp[ns]", want: "1970-01-01T00:00:00.000000001"},
		{wire: "timestamp_ntz", scale: 9, timestamps: nanos, in: moment(mem, false, year9999, 0), own: "TIMESTAMP_NTZ(9)", typ: "timestamp[ns]", refused: "outside the years 1678 to 2261"},
		{wire: "timestamp_ntz", scale: 7, timestamps: nanos, in: int64s(mem, -5), own: "TIMESTAMP_NTZ(7)", typ: "timestamp[ns]", want: "1969-12-31T23:59:59.9999995"},
		{wire: "timestamp_ltz", scale: 9, in: moment(mem, false, 1, 500_000_000), own: "TIMESTAMP_LTZ(9)", typ: "timestamp[us, tz=UTC]", want: "1970-01-01T00:00:01.5Z"},
		{wire: "timestamp_tz", scale: 9, in: moment(mem, true, year9999, 0), own: "TIMESTAMP_TZ(9)", typ: "timestamp[us, tz=UTC]", want: "9999-12-31T23:59:59Z"},
		{wire: "timestamp_tz", scale: 3, in: counted(mem, 1500), own: "TIMESTAMP_TZ(3)", typ: "timestamp[us, tz=UTC]", want: "1970-01-01T00:00:01.5Z"},
	} {
		name := c.own + " " + c.want + c.refused
		col := columnOf("c", c.wire, c.precision, c.scale, 0, c.timestamps)
		require.Equal(t, c.own, col.own, name)
		require.Equal(t, c.typ, col.typ.String(), name)
		out, err := col.read(mem, c.in)
		c.in.Release()
		if c.refused != "" {
			require.ErrorContains(t, err, c.refused, name)
			require.NotContains(t, err.Error(), "9999", name)
			continue
		}
		require.NoError(t, err, name)
		require.True(t, arrow.TypeEqual(col.typ, out.DataType()), name)
		require.Equal(t, 2, out.Len(), name)
		require.True(t, out.IsNull(1), name)
		if d, ok := out.(*array.Decimal128); ok {
			require.Equal(t, c.want, string(record.AppendDecimal(nil, d.Value(0), int32(c.scale))), name) //nolint:gosec // small
		} else {
			require.Equal(t, c.want, out.ValueStr(0), name)
		}
		out.Release()
	}
}

func TestTypesThatAreNotReadAreRefusedByName(t *testing.T) {
	var columns []column
	for _, w := range []string{"vector", "decfloat", "map", "geography", "text"} {
		columns = append(columns, columnOf(w, w, 0, 0, 0, ""))
	}
	err := readable(columns)
	for _, w := range []string{`column "vector" has the type VECTOR`, `"decfloat"`, `"map"`, `"geography"`, "4 violation(s)"} {
		require.ErrorContains(t, err, w)
	}
	meta, _ := schemaOf(columns[4:]).Field(0).Metadata.GetValue(source.MetaType)
	require.Equal(t, "VARCHAR", meta)
}

// A column that is not what its type says is refused, and no panic.
func TestWrongFormsAreRefused(t *testing.T) {
	mem := memory.NewCheckedAllocator(memory.DefaultAllocator)
	defer mem.AssertSize(t, 0)
	text := of(mem, array.NewStringBuilder, func(b *array.StringBuilder) { b.Append("x") })
	defer text.Release()
	number := int64s(mem, 1)
	defer number.Release()
	for _, w := range []string{"fixed", "real", "boolean", "binary", "date", "time", "timestamp_ntz", "timestamp_tz"} {
		_, err := columnOf("c", w, 38, 0, 0, "").read(mem, text)
		require.ErrorIs(t, err, errMalformed, w)
	}
	for _, w := range []string{"text", "variant", "real", "boolean", "binary", "date"} {
		_, err := columnOf("c", w, 0, 0, 0, "").read(mem, number)
		require.ErrorIs(t, err, errMalformed, w)
	}
	require.False(t, ordered([]int32{0, 5, 3}, 9))
	require.False(t, ordered([]int32{0, 10}, 9))
	require.True(t, ordered([]int32{4, 4, 13}, 9))
}
