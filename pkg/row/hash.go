package row

import (
	"encoding/binary"
	"math"
	"math/big"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/zeebo/xxh3"
)

// Classes of canonical values. A value's class enters its hash: the text "1" and the integer 1 differ.
const (
	classInteger = iota + 1
	classDecimal
	classFloat
	classText
	classBytes
	classBool
	classInstant
	classDate
	classTime
	classList
)

// seed makes the name and the class of a field a part of each of its values' hashes.
func seed(name string, class uint64) uint64 { return xxh3.HashStringSeed(name, class) }

func sum128(h xxh3.Uint128) Hash { return Hash{h.Hi, h.Lo} }

// AddColumn adds H(name, canonical value) of each non-NULL value of col to the sum of its position. Structs are
// descended into, their fields named name.field. len(sums) is at least col.Len().
func AddColumn(sums []Hash, name string, col arrow.Array) {
	switch c := col.(type) {
	case *array.Struct:
		addStruct(sums, name, c)
	case *array.Dictionary:
		addDictionary(sums, name, c)
	case *array.String:
		s := seed(name, classText)
		each(c, func(i int) { sums[i] = sums[i].Add(sum128(xxh3.HashString128Seed(c.Value(i), s))) })
	case *array.LargeString:
		s := seed(name, classText)
		each(c, func(i int) { sums[i] = sums[i].Add(sum128(xxh3.HashString128Seed(c.Value(i), s))) })
	case *array.StringView:
		s := seed(name, classText)
		each(c, func(i int) { sums[i] = sums[i].Add(sum128(xxh3.HashString128Seed(c.Value(i), s))) })
	default:
		addCanonical(sums, name, col)
	}
}

// each calls f for the position of each non-NULL value.
func each(col arrow.Array, f func(i int)) {
	n := col.Len()
	if col.NullN() == 0 {
		for i := range n {
			f(i)
		}
		return
	}
	for i := range n {
		if col.IsValid(i) {
			f(i)
		}
	}
}

func addStruct(sums []Hash, name string, c *array.Struct) {
	t := c.DataType().(*arrow.StructType)
	for f := range c.NumField() {
		child := c.Field(f)
		if c.NullN() == 0 {
			AddColumn(sums, name+"."+t.Field(f).Name, child)
			continue
		}
		// A NULL struct hides what its children hold.
		own := make([]Hash, c.Len())
		AddColumn(own, name+"."+t.Field(f).Name, child)
		each(c, func(i int) { sums[i] = sums[i].Add(own[i]) })
	}
}

// addDictionary hashes each entry of the dictionary once.
func addDictionary(sums []Hash, name string, c *array.Dictionary) {
	entries := make([]Hash, c.Dictionary().Len())
	AddColumn(entries, name, c.Dictionary())
	each(c, func(i int) { sums[i] = sums[i].Add(entries[c.GetValueIndex(i)]) })
}

func addCanonical(sums []Hash, name string, col arrow.Array) {
	if col.DataType().ID() == arrow.NULL {
		return
	}
	s := seed(name, class(col))
	if canonical := fixed(col); canonical != nil {
		var b [fixedWidth]byte
		each(col, func(i int) {
			sums[i] = sums[i].Add(sum128(xxh3.Hash128Seed(b[:canonical(b[:], i)], s)))
		})
		return
	}
	var buf []byte
	each(col, func(i int) {
		buf = appendCanonical(buf[:0], col, i)
		sums[i] = sums[i].Add(sum128(xxh3.Hash128Seed(buf, s)))
	})
}

func class(col arrow.Array) uint64 {
	switch col.DataType().ID() {
	case arrow.INT8, arrow.INT16, arrow.INT32, arrow.INT64, arrow.UINT8, arrow.UINT16, arrow.UINT32, arrow.UINT64:
		return classInteger
	case arrow.DECIMAL32, arrow.DECIMAL64, arrow.DECIMAL128, arrow.DECIMAL256:
		return classDecimal
	case arrow.FLOAT16, arrow.FLOAT32, arrow.FLOAT64:
		return classFloat
	case arrow.BOOL:
		return classBool
	case arrow.TIMESTAMP:
		return classInstant
	case arrow.DATE32, arrow.DATE64:
		return classDate
	case arrow.TIME32, arrow.TIME64:
		return classTime
	case arrow.BINARY, arrow.LARGE_BINARY, arrow.FIXED_SIZE_BINARY, arrow.BINARY_VIEW:
		return classBytes
	case arrow.STRING, arrow.LARGE_STRING, arrow.STRING_VIEW:
		return classText
	default:
		return classList
	}
}

// fixedWidth bounds the canonical form of values of fixed width.
const fixedWidth = 24

// fixed answers the canonical form of a column of fixed width: a function that writes the value at i and answers its
// length. It answers nil for other columns.
func fixed(col arrow.Array) func(b []byte, i int) int {
	switch c := col.(type) {
	case *array.Int64:
		return func(b []byte, i int) int { return putInt(b, c.Value(i)) }
	case *array.Int32:
		return func(b []byte, i int) int { return putInt(b, int64(c.Value(i))) }
	case *array.Int16:
		return func(b []byte, i int) int { return putInt(b, int64(c.Value(i))) }
	case *array.Int8:
		return func(b []byte, i int) int { return putInt(b, int64(c.Value(i))) }
	case *array.Uint64:
		return func(b []byte, i int) int { return putUint(b, c.Value(i)) }
	case *array.Uint32:
		return func(b []byte, i int) int { return putInt(b, int64(c.Value(i))) }
	case *array.Uint16:
		return func(b []byte, i int) int { return putInt(b, int64(c.Value(i))) }
	case *array.Uint8:
		return func(b []byte, i int) int { return putInt(b, int64(c.Value(i))) }
	case *array.Float64:
		return func(b []byte, i int) int { return putFloat(b, c.Value(i)) }
	case *array.Float32:
		return func(b []byte, i int) int { return putFloat(b, float64(c.Value(i))) }
	case *array.Float16:
		return func(b []byte, i int) int { return putFloat(b, float64(c.Value(i).Float32())) }
	case *array.Boolean:
		return func(b []byte, i int) int { return putBool(b, c.Value(i)) }
	case *array.Timestamp:
		unit := c.DataType().(*arrow.TimestampType).Unit
		return func(b []byte, i int) int { return putInstant(b, int64(c.Value(i)), unit) }
	case *array.Date32:
		return func(b []byte, i int) int { return putInt(b, int64(c.Value(i))) }
	case *array.Date64:
		return func(b []byte, i int) int { return putInt(b, floorDiv(int64(c.Value(i)), millisPerDay)) }
	case *array.Time32:
		unit := c.DataType().(*arrow.Time32Type).Unit
		return func(b []byte, i int) int { return putInt(b, int64(c.Value(i))*int64(unit.Multiplier())) }
	case *array.Time64:
		unit := c.DataType().(*arrow.Time64Type).Unit
		return func(b []byte, i int) int { return putInt(b, int64(c.Value(i))*int64(unit.Multiplier())) }
	case *array.Decimal128:
		scale := c.DataType().(*arrow.Decimal128Type).Scale
		return func(b []byte, i int) int { return putDecimal(b, c.Value(i), scale) }
	}
	return nil
}

const millisPerDay = 24 * 60 * 60 * 1000

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

func putInt(b []byte, v int64) int {
	binary.LittleEndian.PutUint64(b, uint64(v))
	return 8
}

// putUint writes what fits int64 as putInt does, so that a column's signedness does not enter.
func putUint(b []byte, v uint64) int {
	binary.LittleEndian.PutUint64(b, v)
	if v <= math.MaxInt64 {
		return 8
	}
	b[8] = 1
	return 9
}

func putFloat(b []byte, v float64) int {
	switch {
	case v == 0:
		v = 0 // minus zero is zero
	case math.IsNaN(v):
		v = math.NaN()
	}
	binary.LittleEndian.PutUint64(b, math.Float64bits(v))
	return 8
}

func putBool(b []byte, v bool) int {
	b[0] = 0
	if v {
		b[0] = 1
	}
	return 1
}

// putInstant writes seconds and nanoseconds, so that every unit and year has one form.
func putInstant(b []byte, v int64, unit arrow.TimeUnit) int {
	per := int64(1e9) / int64(unit.Multiplier())
	sec := floorDiv(v, per)
	nanos := (v - sec*per) * int64(unit.Multiplier())
	binary.LittleEndian.PutUint64(b, uint64(sec))
	binary.LittleEndian.PutUint32(b[8:], uint32(nanos))
	return 12
}

// putDecimal writes coefficient and scale without trailing zeros.
func putDecimal(b []byte, v decimal128.Num, scale int32) int {
	v, scale = trimDecimal(v, scale)
	binary.LittleEndian.PutUint64(b, v.LowBits())
	binary.LittleEndian.PutUint64(b[8:], uint64(v.HighBits()))
	binary.LittleEndian.PutUint32(b[16:], uint32(scale))
	return 20
}

// trimDecimal takes trailing zeros off a coefficient. Zero has scale 0.
func trimDecimal(v decimal128.Num, scale int32) (decimal128.Num, int32) {
	low, high := int64(v.LowBits()), v.HighBits()
	if high == 0 && low >= 0 || high == -1 && low < 0 {
		if low == 0 {
			return decimal128.Num{}, 0
		}
		for low%10 == 0 {
			low, scale = low/10, scale-1
		}
		return decimal128.FromI64(low), scale
	}
	x, ten, rem := v.BigInt(), big.NewInt(10), new(big.Int)
	for {
		q, r := new(big.Int).QuoRem(x, ten, rem)
		if r.Sign() != 0 {
			return decimal128.FromBigInt(x), scale
		}
		x, scale = q, scale-1
	}
}
