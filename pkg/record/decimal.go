package record

import (
	"math/bits"
	"strconv"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
)

// AppendDecimal appends v × 10^−scale in plain notation with exactly `scale` digits behind the point: 700 at scale 2 is
// 7.00. A negative scale appends zeros.
func AppendDecimal(dst []byte, v decimal128.Num, scale int32) []byte {
	if v.Sign() < 0 {
		dst = append(dst, '-')
		v = v.Negate()
	}
	var buf [40]byte
	digits := appendUint128(buf[:0], uint64(v.HighBits()), v.LowBits()) //nolint:gosec // v is not negative; −2^127 wraps onto its own magnitude
	return appendPoint(dst, digits, scale)
}

// appendPoint appends digits with the point `scale` places from the right.
func appendPoint(dst, digits []byte, scale int32) []byte {
	whole := len(digits) - int(scale)
	switch {
	case scale <= 0:
		dst = append(dst, digits...)
		for ; scale < 0 && string(digits) != "0"; scale++ {
			dst = append(dst, '0')
		}
		return dst
	case whole > 0:
		dst = append(append(dst, digits[:whole]...), '.')
		return append(dst, digits[whole:]...)
	}
	dst = append(dst, '0', '.')
	for ; whole < 0; whole++ {
		dst = append(dst, '0')
	}
	return append(dst, digits...)
}

const tenTo19 = 10_000_000_000_000_000_000

func appendUint128(dst []byte, hi, lo uint64) []byte {
	if hi == 0 {
		return strconv.AppendUint(dst, lo, 10)
	}
	rest := hi % tenTo19
	head := hi / tenTo19
	next, low := bits.Div64(rest, lo, tenTo19)
	dst = appendUint128(dst, head, next)
	var buf [20]byte
	tail := strconv.AppendUint(buf[:0], low, 10)
	for range 19 - len(tail) {
		dst = append(dst, '0')
	}
	return append(dst, tail...)
}

// appendDecimalAt appends position i of a decimal column of any width, without quotes; false: col is none.
func appendDecimalAt(dst []byte, col arrow.Array, i int) ([]byte, bool) {
	t, ok := col.DataType().(arrow.DecimalType)
	if !ok {
		return dst, false
	}
	switch c := col.(type) {
	case *array.Decimal128:
		return AppendDecimal(dst, c.Value(i), t.GetScale()), true
	case *array.Decimal32:
		return AppendDecimal(dst, decimal128.FromI64(int64(c.Value(i))), t.GetScale()), true
	case *array.Decimal64:
		return AppendDecimal(dst, decimal128.FromI64(int64(c.Value(i))), t.GetScale()), true
	case *array.Decimal256:
		v := c.Value(i)
		if v.Sign() < 0 {
			dst = append(dst, '-')
			v = v.Negate()
		}
		return appendPoint(dst, v.BigInt().Append(nil, 10), t.GetScale()), true
	}
	return dst, false
}
