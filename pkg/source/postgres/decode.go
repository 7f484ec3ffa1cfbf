package postgres

import (
	"encoding/binary"
	"encoding/hex"
	"math"
	"math/bits"
	"strconv"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/jackc/pgx/v5/pgtype"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/source/sqltext"
)

// decoder appends the binary form of one value to its builder; false: the form is not what the type has.
type decoder func([]byte) bool

const (
	// epochDays and epochMicros are 2000-01-01, from which PostgreSQL counts, since 1970-01-01.
	epochDays   = 10957
	epochMicros = epochDays * 86400 * 1_000_000
)

// decoderOf answers the decoder of a column into b, whose type is the column's.
func decoderOf(c column, b array.Builder) decoder {
	switch b := b.(type) {
	case *array.BooleanBuilder:
		return sized(1, func(v []byte) { b.UnsafeAppend(v[0] != 0) })
	case *array.Int16Builder:
		return sized(2, func(v []byte) { b.UnsafeAppend(int16(binary.BigEndian.Uint16(v))) }) //nolint:gosec // bits as they are
	case *array.Int32Builder:
		return sized(4, func(v []byte) { b.UnsafeAppend(int32(binary.BigEndian.Uint32(v))) }) //nolint:gosec // bits as they are
	case *array.Int64Builder:
		return sized(8, func(v []byte) { b.UnsafeAppend(int64(binary.BigEndian.Uint64(v))) }) //nolint:gosec // bits as they are
	case *array.Uint32Builder:
		return sized(4, func(v []byte) { b.UnsafeAppend(binary.BigEndian.Uint32(v)) })
	case *array.Float32Builder:
		return sized(4, func(v []byte) { b.UnsafeAppend(math.Float32frombits(binary.BigEndian.Uint32(v))) })
	case *array.Float64Builder:
		return sized(8, func(v []byte) { b.UnsafeAppend(math.Float64frombits(binary.BigEndian.Uint64(v))) })
	case *array.Date32Builder:
		return sized(4, func(v []byte) { b.UnsafeAppend(days(int32(binary.BigEndian.Uint32(v)))) }) //nolint:gosec // bits as they are
	case *array.TimestampBuilder:
		return sized(8, func(v []byte) { b.UnsafeAppend(micros(int64(binary.BigEndian.Uint64(v)))) }) //nolint:gosec // bits as they are
	case *array.BinaryBuilder:
		return func(v []byte) bool { b.Append(v); return true }
	case *array.Decimal128Builder:
		scale := c.typ.(*arrow.Decimal128Type).Scale //nolint:forcetypeassert // the builder's type
		return func(v []byte) bool {
			n, ok := numericValue(v, scale)
			if ok {
				b.Append(n)
			}
			return ok
		}
	case *array.StringBuilder:
		return textDecoder(c.oid, b)
	}
	return func([]byte) bool { return false }
}

func sized(n int, f func([]byte)) decoder {
	return func(v []byte) bool {
		if len(v) != n {
			return false
		}
		f(v)
		return true
	}
}

func textDecoder(oid uint32, b *array.StringBuilder) decoder {
	switch oid {
	case pgtype.UUIDOID:
		return sized(16, func(v []byte) { b.BinaryBuilder.Append(uuidText(v)) })
	case pgtype.JSONBOID:
		return func(v []byte) bool {
			if len(v) == 0 || v[0] != 1 {
				return false
			}
			b.BinaryBuilder.Append(v[1:])
			return true
		}
	case pgtype.NumericOID:
		var buf []byte
		return func(v []byte) bool {
			var ok bool
			if buf, ok = appendNumeric(buf[:0], v); ok {
				b.BinaryBuilder.Append(buf)
			}
			return ok
		}
	}
	return func(v []byte) bool { b.BinaryBuilder.Append(v); return true }
}

// days answers a date; the infinities are the ends of what a date32 holds.
func days(n int32) arrow.Date32 {
	if n == math.MinInt32 || n > math.MaxInt32-epochDays {
		return arrow.Date32(n)
	}
	return arrow.Date32(n + epochDays)
}

// micros answers a timestamp; the infinities are the ends of what a timestamp holds.
func micros(n int64) arrow.Timestamp {
	switch {
	case n == math.MinInt64:
		return math.MinInt64
	case n > math.MaxInt64-epochMicros:
		return math.MaxInt64
	}
	return arrow.Timestamp(n + epochMicros)
}

func uuidText(v []byte) []byte {
	out := make([]byte, 36)
	hex.Encode(out, v[:4])
	hex.Encode(out[9:], v[4:6])
	hex.Encode(out[14:], v[6:8])
	hex.Encode(out[19:], v[8:10])
	hex.Encode(out[24:], v[10:])
	out[8], out[13], out[18], out[23] = '-', '-', '-', '-'
	return out
}

// numeric is the head of a numeric's binary form: groups of four digits, the first of which counts 10000^weight.
type numeric struct {
	groups []byte
	weight int
	sign   uint16
	scale  int // digits behind the point, as shown
}

const (
	negative    = 0x4000
	notANumber  = 0xC000
	infinite    = 0xD000
	negInfinite = 0xF000
)

func readNumeric(v []byte) (numeric, bool) {
	if len(v) < 8 {
		return numeric{}, false
	}
	n := numeric{
		groups: v[8:], weight: int(int16(binary.BigEndian.Uint16(v[2:]))), //nolint:gosec // bits as they are
		sign: binary.BigEndian.Uint16(v[4:]), scale: int(binary.BigEndian.Uint16(v[6:])),
	}
	return n, len(n.groups) == 2*int(binary.BigEndian.Uint16(v))
}

// group answers the four digits that count 10000^exponent.
func (n numeric) group(exponent int) uint64 {
	i := n.weight - exponent
	if i < 0 || 2*i >= len(n.groups) {
		return 0
	}
	return uint64(binary.BigEndian.Uint16(n.groups[2*i:]))
}

// numericValue answers a numeric as a whole number of 10^-scale. NaN and what needs more than 128 bits is none.
func numericValue(v []byte, scale int32) (decimal128.Num, bool) {
	n, ok := readNumeric(v)
	if !ok || n.sign >= notANumber {
		return decimal128.Num{}, false
	}
	var hi, lo uint64
	last := -(int(scale) + 3) / 4
	drop := uint64(1) // what the last group has beyond the scale
	for range -last*4 - int(scale) {
		drop *= 10
	}
	for e := max(n.weight, 0); e >= last; e-- {
		times, more := uint64(10000), n.group(e)
		if e == last && drop > 1 {
			times, more = times/drop, more/drop
		}
		over, high := bits.Mul64(hi, times)
		carry, low := bits.Mul64(lo, times)
		var c uint64
		lo, c = bits.Add64(low, more, 0)
		hi, c = bits.Add64(high, carry, c)
		if over|c != 0 || hi > math.MaxInt64 {
			return decimal128.Num{}, false
		}
	}
	out := decimal128.New(int64(hi), lo) //nolint:gosec // checked above
	if n.sign == negative {
		out = out.Negate()
	}
	return out, true
}

// appendNumeric appends a numeric's digits as the server shows them.
func appendNumeric(dst []byte, v []byte) ([]byte, bool) {
	n, ok := readNumeric(v)
	if !ok {
		return dst, false
	}
	switch n.sign {
	case notANumber:
		return append(dst, "NaN"...), true
	case infinite:
		return append(dst, "Infinity"...), true
	case negInfinite:
		return append(dst, "-Infinity"...), true
	case negative:
		dst = append(dst, '-')
	}
	if n.weight < 0 {
		dst = append(dst, '0')
	} else {
		dst = strconv.AppendUint(dst, n.group(n.weight), 10)
		for e := n.weight - 1; e >= 0; e-- {
			dst = appendGroup(dst, n.group(e))
		}
	}
	if n.scale == 0 {
		return dst, true
	}
	dst = append(dst, '.')
	point := len(dst)
	for e := -1; len(dst)-point < n.scale; e-- {
		dst = appendGroup(dst, n.group(e))
	}
	return dst[:point+n.scale], true
}

func appendGroup(dst []byte, g uint64) []byte {
	return append(dst, byte('0'+g/1000), byte('0'+g/100%10), byte('0'+g/10%10), byte('0'+g%10))
}

func undecodable(c column) error {
	return fault.New(fault.Precondition, fault.ReasonQueryInvalid, "column %s of type %s has a value, such as NaN, that its type here does not hold; cast the column to text, or mend the row", sqltext.Quote(c.name), c.own)
}
