package mapping

import (
	"encoding/base64"
	"math"
	"math/big"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"millrace.dev/pkg/record"
)

// storage takes an extension type off.
func storage(_ *call, in arrow.Array) arrow.Array {
	if e, ok := in.(array.ExtensionArray); ok {
		return e.Storage()
	}
	return in
}

// plainText makes utf8 of the other texts.
func plainText(_ *call, in arrow.Array) arrow.Array {
	s := in.(array.StringLike) //nolint:forcetypeassert // by flowOf
	return toText(in, 16, func(dst []byte, i int) ([]byte, bool) { return append(dst, s.Value(i)...), true })
}

// dictionaryText reads a dictionary of texts through.
func dictionaryText(c *call, in arrow.Array) arrow.Array {
	d := in.(*array.Dictionary) //nolint:forcetypeassert // by flowOf
	words := d.Dictionary()
	if words.DataType().ID() != arrow.STRING {
		words = plainText(c, words)
	}
	s := words.(*array.String) //nolint:forcetypeassert // by flowOf and plainText
	return toText(in, 16, func(dst []byte, i int) ([]byte, bool) {
		at := d.GetValueIndex(i)
		return append(dst, s.Value(at)...), s.IsValid(at)
	})
}

// renderedText makes text of what records hold as text: bytes as base64, times of day as 15:04:05.
func renderedText(_ *call, in arrow.Array) arrow.Array {
	switch b := in.(type) {
	case *array.Null:
		return nullColumn(utf8Type(), in.Len())
	case interface{ Value(i int) []byte }:
		return toText(in, 24, func(dst []byte, i int) ([]byte, bool) { return base64.StdEncoding.AppendEncode(dst, b.Value(i)), true })
	case *array.Time32:
		unit := b.DataType().(*arrow.Time32Type).Unit //nolint:forcetypeassert // by the array
		return toText(in, 16, func(dst []byte, i int) ([]byte, bool) { return appendClock(dst, b.Value(i).ToTime(unit)), true })
	case *array.Time64:
		unit := b.DataType().(*arrow.Time64Type).Unit //nolint:forcetypeassert // by the array
		return toText(in, 16, func(dst []byte, i int) ([]byte, bool) { return appendClock(dst, b.Value(i).ToTime(unit)), true })
	}
	return toText(in, 16, func(dst []byte, i int) ([]byte, bool) { return append(dst, in.ValueStr(i)...), true })
}

func appendClock(dst []byte, t time.Time) []byte { return t.AppendFormat(dst, "15:04:05.999999999") }

// jsonText makes JSON text of any value, as records render it.
func jsonText(f arrow.Field) op {
	return func(_ *call, in arrow.Array) arrow.Array {
		return toText(in, 32, func(dst []byte, i int) ([]byte, bool) { return record.AppendJSON(dst, in, f, i), true })
	}
}

// widenInteger makes int64 of the other integers.
func widenInteger(c *call, in arrow.Array) arrow.Array {
	t := int64Type()
	switch a := in.(type) {
	case *array.Int8:
		return convert(t, in, func(i int) int64 { return int64(a.Value(i)) })
	case *array.Int16:
		return convert(t, in, func(i int) int64 { return int64(a.Value(i)) })
	case *array.Int32:
		return convert(t, in, func(i int) int64 { return int64(a.Value(i)) })
	case *array.Uint8:
		return convert(t, in, func(i int) int64 { return int64(a.Value(i)) })
	case *array.Uint16:
		return convert(t, in, func(i int) int64 { return int64(a.Value(i)) })
	case *array.Uint32:
		return convert(t, in, func(i int) int64 { return int64(a.Value(i)) })
	case *array.Uint64:
		return convert(t, in, func(i int) int64 {
			if a.Value(i) > math.MaxInt64 {
				c.fail(i, "is beyond the integers of 64 bits with sign; cast it to a decimal in SQL")
				return 0
			}
			return int64(a.Value(i)) //nolint:gosec // checked above
		})
	}
	return in
}

// widenFloat makes float64 of the other floats.
func widenFloat(_ *call, in arrow.Array) arrow.Array {
	switch a := in.(type) {
	case *array.Float32:
		return convert(float64Type(), in, func(i int) float64 { return float64(a.Value(i)) })
	case *array.Float16:
		return convert(float64Type(), in, func(i int) float64 { return float64(a.Value(i).Float32()) })
	}
	return in
}

// widenDecimal makes decimal128 of the other decimals.
func widenDecimal(c *call, in arrow.Array) arrow.Array {
	d := in.DataType().(arrow.DecimalType) //nolint:forcetypeassert // by flowOf
	t := &arrow.Decimal128Type{Precision: min(d.GetPrecision(), maxPrecision), Scale: d.GetScale()}
	switch a := in.(type) {
	case *array.Decimal32:
		return convert(t, in, func(i int) decimal128.Num { return decimal128.FromI64(int64(a.Value(i))) })
	case *array.Decimal64:
		return convert(t, in, func(i int) decimal128.Num { return decimal128.FromI64(int64(a.Value(i))) })
	case *array.Decimal256:
		most := new(big.Int).Exp(big.NewInt(10), big.NewInt(maxPrecision), nil)
		return convert(t, in, func(i int) decimal128.Num {
			v := a.Value(i).BigInt()
			if v.CmpAbs(most) >= 0 {
				c.fail(i, "has more than 38 digits")
				return decimal128.Num{}
			}
			return decimal128.FromBigInt(v)
		})
	}
	return in
}

// narrowDate makes date32 of date64.
func narrowDate(_ *call, in arrow.Array) arrow.Array {
	a := in.(*array.Date64)                                                                                                 //nolint:forcetypeassert // by flowOf
	return convert(date32(), in, func(i int) arrow.Date32 { return arrow.Date32(floorDiv(int64(a.Value(i)), 86_400_000)) }) //nolint:gosec // days of an int64 of milliseconds of a date
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// toUTC answers how a timestamp column becomes instants: those with a zone are instants already, the others are read in
// the declared zone. A wall-clock time that the zone skips or repeats is taken as Go's time.Date takes it.
func (c *compiler) toUTC(t *arrow.TimestampType) op {
	to := instantType(t.Unit)
	if t.TimeZone == "UTC" {
		return nil
	}
	if t.TimeZone != "" || c.zone == time.UTC {
		return func(_ *call, in arrow.Array) arrow.Array { return retype(to, in) }
	}
	zone := c.zone
	return func(_ *call, in arrow.Array) arrow.Array {
		a := in.(*array.Timestamp) //nolint:forcetypeassert // by flowOf
		per := int64(time.Second) / int64(t.Unit.Multiplier())
		return convert(to, in, func(i int) arrow.Timestamp {
			v := int64(a.Value(i))
			sec := floorDiv(v, per)
			return arrow.Timestamp(v + offsetAt(sec, zone)*per)
		})
	}
}

// offsetAt answers what must be added to wall-clock seconds in a zone to get seconds since the Unix epoch.
func offsetAt(wall int64, zone *time.Location) int64 {
	t := time.Unix(wall, 0).UTC()
	at := time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), 0, zone)
	return at.Unix() - wall
}

// plainer makes plain columns of nested ones. A nil make leaves the column as it is.
type plainer struct {
	typ  arrow.DataType
	make func(arrow.Array) arrow.Array
}

// plain answers how a type becomes plain, inner types included.
func (c *compiler) plain(t arrow.DataType) (plainer, mend) {
	switch t := t.(type) {
	case *arrow.StructType:
		return c.plainStruct(t)
	case *arrow.ListType, *arrow.LargeListType, *arrow.FixedSizeListType:
		return c.plainList(t.(arrow.ListLikeType)) //nolint:forcetypeassert // by the case
	case *arrow.Uint64Type, *arrow.Decimal256Type, *arrow.MapType:
		return plainer{}, mend{"holds values of type " + t.String() + " inside", "cast them in SQL"}
	}
	f, m := c.flowOf(arrow.Field{Type: t})
	if m.bad() || len(f.ops) == 0 {
		return plainer{typ: f.typ}, m
	}
	return plainer{typ: f.typ, make: func(in arrow.Array) arrow.Array {
		own := &call{n: in.Len(), cur: &leaf{}}
		for _, o := range f.ops {
			in = o(own, in)
		}
		return in
	}}, mend{}
}

func (c *compiler) plainList(t arrow.ListLikeType) (plainer, mend) {
	inner, m := c.plain(t.Elem())
	if m.bad() {
		return inner, m
	}
	to := arrow.ListOf(inner.typ)
	if _, ok := t.(*arrow.ListType); ok && inner.make == nil {
		return plainer{typ: to, make: func(in arrow.Array) arrow.Array {
			d := in.Data()
			return array.MakeFromData(array.NewData(to, d.Len(), d.Buffers(), d.Children(), in.NullN(), d.Offset()))
		}}, mend{}
	}
	return plainer{typ: to, make: func(in arrow.Array) arrow.Array {
		l := in.(array.ListLike) //nolint:forcetypeassert // by plain
		values := l.ListValues()
		if inner.make != nil {
			values = inner.make(values)
		}
		return listOf(to, in, values, l.ValueOffsets)
	}}, mend{}
}

// listOf answers a list column over values, with in's NULLs. The ranges of its elements follow one another.
func listOf(t arrow.DataType, in, values arrow.Array, span func(i int) (int64, int64)) arrow.Array {
	n := in.Len()
	first := int64(0)
	if n > 0 {
		first, _ = span(0)
	}
	offsets := make([]int32, n+1)
	last := first
	for i := range n {
		if _, to := span(i); to > last {
			last = to
		}
		offsets[i+1] = int32(last - first) //nolint:gosec // a batch is bounded far below
	}
	child := array.NewSlice(values, first, last)
	buffers := []*memory.Buffer{validity(in), memory.NewBufferBytes(arrow.Int32Traits.CastToBytes(offsets))}
	return array.MakeFromData(array.NewData(t, n, buffers, []arrow.ArrayData{child.Data()}, in.NullN(), 0))
}

func (c *compiler) plainStruct(t *arrow.StructType) (plainer, mend) {
	fields := make([]arrow.Field, t.NumFields())
	makes := make([]func(arrow.Array) arrow.Array, t.NumFields())
	for i, f := range t.Fields() {
		inner, m := c.plain(f.Type)
		if m.bad() {
			return inner, mend{strings.TrimPrefix(m.what, "holds "), m.fix}
		}
		fields[i] = arrow.Field{Name: f.Name, Type: inner.typ, Nullable: true}
		if isJSONField(f) {
			fields[i].Metadata = jsonMeta()
		}
		makes[i] = inner.make
	}
	to := arrow.StructOf(fields...)
	return plainer{typ: to, make: func(in arrow.Array) arrow.Array {
		s := in.(*array.Struct) //nolint:forcetypeassert // by plain
		cols := make([]arrow.Array, len(fields))
		for i := range cols {
			cols[i] = s.Field(i)
			if makes[i] != nil {
				cols[i] = makes[i](cols[i])
			}
		}
		return structOf(to, cols, in.Len(), validity(in), in.NullN())
	}}, mend{}
}

// structOf answers a struct column of n rows; it may have no fields.
func structOf(t arrow.DataType, cols []arrow.Array, n int, valid *memory.Buffer, nulls int) arrow.Array {
	children := make([]arrow.ArrayData, len(cols))
	for i, c := range cols {
		children[i] = c.Data()
	}
	return array.MakeFromData(array.NewData(t, n, []*memory.Buffer{valid}, children, nulls, 0))
}

func jsonMeta() arrow.Metadata {
	return arrow.NewMetadata([]string{record.MetaJSON}, []string{"true"})
}
