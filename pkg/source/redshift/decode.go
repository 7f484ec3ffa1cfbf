package redshift

import (
	"encoding/hex"
	"math"
	"math/bits"
	"strconv"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/source/sqltext"
)

// decoder appends one value, as the protocol writes it in text, to its builder; false: the text is not of the type.
type decoder func([]byte) bool

// decoderOf answers the decoder of a column into b, whose type is the column's.
func decoderOf(c column, b array.Builder) decoder {
	switch b := b.(type) {
	case *array.BooleanBuilder:
		return parsed(truth, b.UnsafeAppend)
	case *array.Int16Builder:
		return parsed(whole(math.MinInt16, math.MaxInt16), func(n int64) { b.UnsafeAppend(int16(n)) }) //nolint:gosec // bounded
	case *array.Int32Builder:
		return parsed(whole(math.MinInt32, math.MaxInt32), func(n int64) { b.UnsafeAppend(int32(n)) }) //nolint:gosec // bounded
	case *array.Int64Builder:
		return parsed(whole(math.MinInt64, math.MaxInt64), b.UnsafeAppend)
	case *array.Float32Builder:
		return parsed(float(32), func(f float64) { b.UnsafeAppend(float32(f)) })
	case *array.Float64Builder:
		return parsed(float(64), b.UnsafeAppend)
	case *array.Date32Builder:
		return parsed(day, b.UnsafeAppend)
	case *array.TimestampBuilder:
		return parsed(instant, b.UnsafeAppend)
	case *array.Decimal128Builder:
		scale := int(c.typ.(*arrow.Decimal128Type).Scale) //nolint:forcetypeassert // the builder's type
		return parsed(func(v []byte) (decimal128.Num, bool) { return decimal(v, scale) }, b.UnsafeAppend)
	case *array.BinaryBuilder:
		var raw []byte
		return func(v []byte) bool {
			var err error
			raw, err = hex.AppendDecode(raw[:0], v)
			b.Append(raw)
			return err == nil
		}
	case *array.StringBuilder:
		return func(v []byte) bool { b.BinaryBuilder.Append(v); return true }
	}
	return func([]byte) bool { return false }
}

func parsed[T any](parse func([]byte) (T, bool), give func(T)) decoder {
	return func(v []byte) bool {
		t, ok := parse(v)
		if ok {
			give(t)
		}
		return ok
	}
}

func truth(v []byte) (is, ok bool) {
	if len(v) == 0 {
		return false, false
	}
	return v[0] == 't' || v[0] == '1', v[0] == 't' || v[0] == '1' || v[0] == 'f' || v[0] == '0'
}

func whole(least, most int64) func([]byte) (int64, bool) {
	return func(v []byte) (int64, bool) {
		n, err := strconv.ParseInt(string(v), 10, 64)
		return n, err == nil && n >= least && n <= most
	}
}

func float(size int) func([]byte) (float64, bool) {
	return func(v []byte) (float64, bool) {
		f, err := strconv.ParseFloat(string(v), size)
		return f, err == nil
	}
}

// decimal reads digits with a point as a whole number of 10^-scale.
func decimal(v []byte, scale int) (decimal128.Num, bool) {
	negative := len(v) > 0 && v[0] == '-'
	if negative {
		v = v[1:]
	}
	var hi, lo uint64
	behind, seen, ok := 0, false, len(v) > 0
	for _, c := range v {
		switch {
		case c == '.' && !seen:
			seen = true
		case c < '0' || c > '9' || seen && behind == scale:
			return decimal128.Num{}, false
		default:
			if seen {
				behind++
			}
			if hi, lo, ok = tenfold(hi, lo, uint64(c-'0')); !ok {
				return decimal128.Num{}, false
			}
		}
	}
	for ; behind < scale && ok; behind++ {
		hi, lo, ok = tenfold(hi, lo, 0)
	}
	n := decimal128.New(int64(hi), lo) //nolint:gosec // tenfold keeps it below 2^127
	if negative {
		n = n.Negate()
	}
	return n, ok
}

// tenfold answers ten times a number of 128 bits and a digit more; false where that needs the sign's bit.
func tenfold(hi, lo, digit uint64) (newHi, newLo uint64, ok bool) {
	over, high := bits.Mul64(hi, 10)
	carry, low := bits.Mul64(lo, 10)
	low, c := bits.Add64(low, digit, 0)
	high, c = bits.Add64(high, carry, c)
	return high, low, over|c == 0 && high <= math.MaxInt64
}

// day reads 2026-01-31, with BC behind it for years before 1.
func day(v []byte) (arrow.Date32, bool) {
	t, rest, ok := calendar(v)
	if !ok || len(rest) > 0 {
		return 0, false
	}
	return arrow.Date32(t.Unix() / secondsOfDay), true //nolint:gosec // years have at most seven digits
}

const (
	secondsOfDay = 86_400
	micros       = 1_000_000
)

// calendar reads the date at the head of v, and cuts BC off its end.
func calendar(v []byte) (t time.Time, rest []byte, ok bool) {
	before := len(v) > 3 && string(v[len(v)-3:]) == " BC"
	if before {
		v = v[:len(v)-3]
	}
	y, v, ok1 := number(v, '-')
	m, v, ok2 := number(v, '-')
	d, v, ok3 := number(v, 0)
	if before {
		y = 1 - y
	}
	t = time.Date(y, time.Month(m), d, 0, 0, 0, 0, time.UTC)
	return t, v, ok1 && ok2 && ok3 && t.Year() == y && t.Month() == time.Month(m) && t.Day() == d
}

// number reads digits, and what stands behind them where that is not 0.
func number(v []byte, behind byte) (n int, rest []byte, ok bool) {
	const most = 7
	i := 0
	for ; i < len(v) && i < most && v[i] >= '0' && v[i] <= '9'; i++ {
		n = n*10 + int(v[i]-'0')
	}
	switch {
	case i == 0:
		return 0, v, false
	case behind == 0:
		return n, v[i:], true
	case i == len(v) || v[i] != behind:
		return 0, v, false
	}
	return n, v[i+1:], true
}

// instant reads 2026-01-31 23:59:59.999999, with an offset of full hours behind it where the type has a zone: the session's
// is UTC.
func instant(v []byte) (arrow.Timestamp, bool) {
	t, v, ok := calendar(v)
	if !ok || len(v) == 0 || v[0] != ' ' {
		return 0, false
	}
	h, v, ok1 := number(v[1:], ':')
	m, v, ok2 := number(v, ':')
	s, v, ok3 := number(v, 0)
	if !ok1 || !ok2 || !ok3 || h > 23 || m > 59 || s > 59 {
		return 0, false
	}
	fraction := int64(0)
	if len(v) > 0 && v[0] == '.' {
		v = v[1:]
		unit := int64(micros)
		for ; len(v) > 0 && v[0] >= '0' && v[0] <= '9' && unit > 1; v = v[1:] {
			unit /= 10
			fraction += int64(v[0]-'0') * unit
		}
	}
	if zone := string(v); zone != "" && zone != "+00" && zone != "+00:00" {
		return 0, false
	}
	return arrow.Timestamp((t.Unix()+int64(h*3600+m*60+s))*micros + fraction), true
}

func undecodable(c column) error {
	return fault.New(fault.Precondition, fault.ReasonQueryInvalid, "column %s of type %s has a value that its type here does not hold; cast the column to VARCHAR, or mend the row", sqltext.Quote(c.name), c.own)
}
