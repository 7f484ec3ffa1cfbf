package snowflake

import (
	"strings"
	"time"
	"unicode/utf8"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// read answers a column in our type. The warehouse sends numbers as the narrowest integers that hold them, unscaled, and
// times as counts of their scale; a chunk may differ from the next.
func (c column) read(mem memory.Allocator, in arrow.Array) (arrow.Array, error) {
	if !sound(in) {
		return nil, errMalformed
	}
	switch t := c.typ.(type) {
	case *arrow.Int64Type:
		return c.integers(mem, in)
	case *arrow.Decimal128Type:
		return c.decimals(mem, in, t)
	case *arrow.TimestampType:
		return c.instants(mem, in, t)
	case *arrow.StringType:
		if c.wire == "time" {
			return c.times(mem, in)
		}
		return c.texts(in)
	case *arrow.BinaryType:
		if b, ok := in.(*array.Binary); !ok || !ordered(b.ValueOffsets(), len(b.ValueBytes())) {
			return nil, errMalformed
		}
	}
	if in.DataType().ID() != c.typ.ID() {
		return nil, errMalformed
	}
	in.Retain()
	return in, nil
}

// sound says whether the bits of a column are all there; that its values are, its type looks after.
func sound(in arrow.Array) bool {
	d := in.Data()
	const byteBits = 8
	need := (d.Offset() + d.Len() + byteBits - 1) / byteBits
	holds := func(b *memory.Buffer) bool { return b != nil && b.Len() >= need }
	if in.NullN() > 0 && !holds(d.Buffers()[0]) || in.DataType().ID() == arrow.BOOL && d.Len() > 0 && !holds(d.Buffers()[1]) {
		return false
	}
	if valid := d.Buffers()[0]; valid != nil && valid.Len() > 0 && !holds(valid) {
		return false
	}
	s, ok := in.(*array.Struct)
	for i := 0; ok && i < s.NumField(); i++ {
		if !sound(s.Field(i)) {
			return false
		}
	}
	return true
}

func (c column) refuse(why string) error { return &rowError{column: c.name, own: c.own, why: why} }

// integer answers a reader of an integer column of any width.
func integer(in arrow.Array) (func(int) int64, bool) {
	switch a := in.(type) {
	case *array.Int8:
		return func(i int) int64 { return int64(a.Value(i)) }, true
	case *array.Int16:
		return func(i int) int64 { return int64(a.Value(i)) }, true
	case *array.Int32:
		return func(i int) int64 { return int64(a.Value(i)) }, true
	case *array.Int64:
		return a.Value, true
	}
	return nil, false
}

func (c column) integers(mem memory.Allocator, in arrow.Array) (arrow.Array, error) {
	if _, ok := in.(*array.Int64); ok {
		in.Retain()
		return in, nil
	}
	if d, ok := in.(*array.Decimal128); ok {
		return build(array.NewInt64Builder(mem), in, func(b *array.Int64Builder, i int) error {
			v := d.Value(i)
			low := int64(v.LowBits()) //nolint:gosec // checked
			if v != decimal128.FromI64(low) {
				return errMalformed
			}
			b.UnsafeAppend(low)
			return nil
		})
	}
	at, ok := integer(in)
	if !ok {
		return nil, errMalformed
	}
	return build(array.NewInt64Builder(mem), in, func(b *array.Int64Builder, i int) error {
		b.UnsafeAppend(at(i))
		return nil
	})
}

func (c column) decimals(mem memory.Allocator, in arrow.Array, t *arrow.Decimal128Type) (arrow.Array, error) {
	if in.DataType().ID() == arrow.DECIMAL128 {
		d := in.Data()
		as := array.NewData(t, d.Len(), d.Buffers(), nil, d.NullN(), d.Offset())
		defer as.Release()
		return array.NewDecimal128Data(as), nil
	}
	at, ok := integer(in)
	if !ok {
		return nil, errMalformed
	}
	return build(array.NewDecimal128Builder(mem, t), in, func(b *array.Decimal128Builder, i int) error {
		b.UnsafeAppend(decimal128.FromI64(at(i)))
		return nil
	})
}

// builder is what builders of fixed width have in common.
type builder interface {
	array.Builder
	UnsafeAppendBoolToBitmap(bool)
}

// build answers a column as long as in: NULL where that is, else what each appends.
func build[B builder](b B, in arrow.Array, each func(B, int) error) (arrow.Array, error) {
	defer b.Release()
	b.Reserve(in.Len())
	for i := range in.Len() {
		if in.IsNull(i) {
			b.AppendNull()
			continue
		}
		if err := each(b, i); err != nil {
			return nil, err
		}
	}
	return b.NewArray(), nil
}

// power answers 10^n for n up to 18.
func power(n int32) int64 {
	p := int64(1)
	for range n {
		p *= 10
	}
	return p
}

const nanoDigits = 9

// moments answers a reader of a column's seconds since the Unix epoch and nanoseconds above them. Counts of the scale
// come as integers, or as structs of seconds and nanoseconds; a time with a zone is one of those with the zone beside.
func (c column) moments(in arrow.Array) (func(int) (sec, nano int64), bool) {
	s, ok := in.(*array.Struct)
	if ok && s.NumField() > 0 {
		epoch, isInt := integer(s.Field(0))
		if !isInt {
			return nil, false
		}
		if fields := s.DataType().(*arrow.StructType).Fields(); len(fields) > 1 && fields[1].Name == "fraction" {
			fraction, isInt := integer(s.Field(1))
			return func(i int) (int64, int64) { return epoch(i), fraction(i) }, isInt
		}
		in = s.Field(0)
	}
	count, ok := integer(in)
	if !ok || c.scale > nanoDigits {
		return nil, false
	}
	per, rest := power(c.scale), power(nanoDigits-c.scale)
	return func(i int) (int64, int64) {
		v := count(i)
		sec, frac := v/per, v%per
		if frac < 0 {
			sec, frac = sec-1, frac+per
		}
		return sec, frac * rest
	}, true
}

func (c column) instants(mem memory.Allocator, in arrow.Array, t *arrow.TimestampType) (arrow.Array, error) {
	at, ok := c.moments(in)
	if !ok {
		return nil, errMalformed
	}
	per := int64(time.Second / t.Unit.Multiplier())
	unit := int64(t.Unit.Multiplier())
	return build(array.NewTimestampBuilder(mem, t), in, func(b *array.TimestampBuilder, i int) error {
		sec, nano := at(i)
		if nano < 0 {
			sec, nano = sec-1, nano+int64(time.Second)
		}
		if nano < 0 || nano >= int64(time.Second) {
			return errMalformed
		}
		if nano%unit != 0 {
			return c.refuse("a value has digits beyond microseconds; set snowflake.timestamps to nanoseconds, or cast the column to " + strings.ToUpper(c.wire) + "(6)")
		}
		const most = 1<<63 - 1
		if edge := most/per - 1; sec > edge || sec < -edge {
			return c.refuse("a value is outside the years 1678 to 2261 that nanoseconds can hold; set snowflake.timestamps to microseconds, or cast the column to " + strings.ToUpper(c.wire) + "(6)")
		}
		b.UnsafeAppend(arrow.Timestamp(sec*per + nano/unit))
		return nil
	})
}

// times answers times of day as text: HH:MM:SS, and the digits behind the second that are not zero.
func (c column) times(mem memory.Allocator, in arrow.Array) (arrow.Array, error) {
	at, ok := c.moments(in)
	if !ok {
		return nil, errMalformed
	}
	b := array.NewStringBuilder(mem)
	defer b.Release()
	b.Reserve(in.Len())
	for i := range in.Len() {
		if in.IsNull(i) {
			b.AppendNull()
			continue
		}
		sec, nano := at(i)
		b.Append(time.Unix(sec, nano).UTC().Format("15:04:05.999999999"))
	}
	return b.NewArray(), nil
}

// texts checks text: what is no UTF-8 would be no text to anybody behind.
func (c column) texts(in arrow.Array) (arrow.Array, error) {
	s, ok := in.(*array.String)
	if !ok || !ordered(s.ValueOffsets(), len(s.ValueBytes())) {
		return nil, errMalformed
	}
	for i := range s.Len() {
		if s.IsValid(i) && !utf8.ValidString(s.Value(i)) {
			return nil, c.refuse("a value is not valid UTF-8; cast the column to BINARY, or leave it out")
		}
	}
	in.Retain()
	return in, nil
}

// ordered says whether offsets lead through values of n bytes without leaving them.
func ordered(offsets []int32, n int) bool {
	if len(offsets) == 0 {
		return true
	}
	for i := 1; i < len(offsets); i++ {
		if offsets[i] < offsets[i-1] {
			return false
		}
	}
	return offsets[0] >= 0 && int(offsets[len(offsets)-1])-int(offsets[0]) <= n
}
