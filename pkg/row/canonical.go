package row

import (
	"encoding/base64"
	"math/big"
	"strconv"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
)

// appendCanonical appends the canonical bytes of the value at i of a column of variable width. Elements of lists carry
// their class and length, so that no two different lists have one form.
func appendCanonical(dst []byte, col arrow.Array, i int) []byte {
	if f := fixed(col); f != nil {
		var b [fixedWidth]byte
		return append(dst, b[:f(b[:], i)]...)
	}
	switch c := col.(type) {
	case *array.String:
		return append(dst, c.Value(i)...)
	case *array.LargeString:
		return append(dst, c.Value(i)...)
	case *array.StringView:
		return append(dst, c.Value(i)...)
	case *array.Binary:
		return append(dst, c.Value(i)...)
	case *array.LargeBinary:
		return append(dst, c.Value(i)...)
	case *array.BinaryView:
		return append(dst, c.Value(i)...)
	case *array.FixedSizeBinary:
		return append(dst, c.Value(i)...)
	case *array.Dictionary:
		return appendCanonical(dst, c.Dictionary(), c.GetValueIndex(i))
	case *array.Struct:
		return appendStruct(dst, c, i)
	case array.ListLike:
		from, to := c.ValueOffsets(i)
		for j := from; j < to; j++ {
			dst = appendElement(dst, c.ListValues(), int(j))
		}
		return dst
	}
	return append(dst, col.ValueStr(i)...)
}

func appendStruct(dst []byte, c *array.Struct, i int) []byte {
	t := c.DataType().(*arrow.StructType)
	for f := range c.NumField() {
		dst = append(dst, t.Field(f).Name...)
		dst = append(dst, 0)
		dst = appendElement(dst, c.Field(f), i)
	}
	return dst
}

func appendElement(dst []byte, col arrow.Array, i int) []byte {
	if col.IsNull(i) {
		return append(dst, 0)
	}
	at := len(dst)
	dst = append(dst, byte(class(col)), 0, 0, 0, 0)
	dst = appendCanonical(dst, col, i)
	n := len(dst) - at - 5
	dst[at+1], dst[at+2], dst[at+3], dst[at+4] = byte(n>>24), byte(n>>16), byte(n>>8), byte(n)
	return dst
}

// AppendCanonicalText appends the canonical text of the value at i, nothing for NULL: integers and decimals plain and
// without trailing zeros, floats in their shortest form, instants as RFC 3339 in UTC with as many digits as they need,
// dates as 2006-01-02, bytes in standard base64.
func AppendCanonicalText(dst []byte, col arrow.Array, i int) []byte {
	if col.IsNull(i) {
		return dst
	}
	switch c := col.(type) {
	case *array.String:
		return append(dst, c.Value(i)...)
	case *array.Int64:
		return strconv.AppendInt(dst, c.Value(i), 10)
	case *array.Int32:
		return strconv.AppendInt(dst, int64(c.Value(i)), 10)
	case *array.Float64:
		return strconv.AppendFloat(dst, c.Value(i), 'g', -1, 64)
	case *array.Float32:
		return strconv.AppendFloat(dst, float64(c.Value(i)), 'g', -1, 32)
	case *array.Boolean:
		return strconv.AppendBool(dst, c.Value(i))
	case *array.Decimal128:
		return AppendDecimal(dst, c.Value(i), c.DataType().(*arrow.Decimal128Type).Scale)
	case *array.Timestamp:
		unit := c.DataType().(*arrow.TimestampType).Unit
		return c.Value(i).ToTime(unit).UTC().AppendFormat(dst, time.RFC3339Nano)
	case *array.Date32:
		return c.Value(i).ToTime().AppendFormat(dst, time.DateOnly)
	case *array.Date64:
		return c.Value(i).ToTime().AppendFormat(dst, time.DateOnly)
	case *array.Binary:
		return base64.StdEncoding.AppendEncode(dst, c.Value(i))
	case *array.FixedSizeBinary:
		return base64.StdEncoding.AppendEncode(dst, c.Value(i))
	case *array.Dictionary:
		return AppendCanonicalText(dst, c.Dictionary(), c.GetValueIndex(i))
	}
	return append(dst, col.ValueStr(i)...)
}

// AppendDecimal appends v × 10^−scale without trailing zeros and without exponent.
func AppendDecimal(dst []byte, v decimal128.Num, scale int32) []byte {
	v, scale = trimDecimal(v, scale)
	var digits []byte
	if low := int64(v.LowBits()); v.HighBits() == 0 && low >= 0 || v.HighBits() == -1 && low < 0 {
		digits = strconv.AppendInt(nil, low, 10)
	} else {
		digits = v.BigInt().Append(nil, 10)
	}
	return appendScaled(dst, digits, scale)
}

// appendScaled sets the point into digits, which may have a sign.
func appendScaled(dst, digits []byte, scale int32) []byte {
	if digits[0] == '-' {
		dst, digits = append(dst, '-'), digits[1:]
	}
	if scale <= 0 {
		dst = append(dst, digits...)
		for range -scale {
			dst = append(dst, '0')
		}
		return dst
	}
	n := len(digits) - int(scale)
	if n <= 0 {
		dst = append(dst, "0."...)
		for range -n {
			dst = append(dst, '0')
		}
		return append(dst, digits...)
	}
	dst = append(dst, digits[:n]...)
	dst = append(dst, '.')
	return append(dst, digits[n:]...)
}

// DecimalText answers x × 10^−scale as AppendDecimal does, for coefficients of any size.
func DecimalText(x *big.Int, scale int32) string {
	x = new(big.Int).Set(x)
	ten, rem := big.NewInt(10), new(big.Int)
	if x.Sign() == 0 {
		return "0"
	}
	for {
		q, r := new(big.Int).QuoRem(x, ten, rem)
		if r.Sign() != 0 {
			break
		}
		x, scale = q, scale-1
	}
	return string(appendScaled(nil, x.Append(nil, 10), scale))
}
