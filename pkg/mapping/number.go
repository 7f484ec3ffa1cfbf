package mapping

import (
	"math"
	"strconv"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"

	"millrace.dev/pkg/record"
	"millrace.dev/pkg/row"
)

// Reasons of rejects.
const (
	notNumber    = "is not a number"
	losesNumber  = "would lose digits as a double; choose type: decimal, or on_loss: round"
	losesInteger = "has a fraction; choose type: decimal or number, or on_loss: round"
	beyondInt    = "is beyond the integers of 64 bits"
	beyondDigits = "has more than 38 digits"
	notFinite    = "is NaN or infinite"
	notBoolean   = "is neither true nor false"
)

type refuse func(fix string) mend

// toNumber makes doubles. A loss is a digit that the shortest text of the double does not have.
func (f *flow) toNumber(round bool, no refuse) mend {
	switch f.class {
	case classFloat:
	case classInteger:
		f.then(classFloat, float64Type(), func(c *call, in arrow.Array) arrow.Array {
			a := in.(*array.Int64) //nolint:forcetypeassert // by the class
			return convert(float64Type(), in, func(i int) float64 {
				v := a.Value(i)
				if v > 1<<53 || v < -1<<53 {
					c.lossy(i, round, int64(float64(v)) != v || float64(v) == 1<<63, losesNumber)
				}
				return float64(v)
			})
		})
	case classDecimal, classText, classJSON:
		text := digitsOf(f.class)
		f.then(classFloat, float64Type(), func(c *call, in arrow.Array) arrow.Array {
			var buf []byte
			at := text(in)
			return convert(float64Type(), in, func(i int) float64 {
				buf = at(buf[:0], i)
				return c.parseNumber(i, buf, round)
			})
		})
	default:
		return no("choose another column, or cast it in SQL")
	}
	return mend{}
}

// lossy makes row i a reject where something is lost, or counts it where rounding is allowed.
func (c *call) lossy(i int, round, lost bool, reason string) {
	switch {
	case !lost:
	case round:
		c.tally.Rounded++
	default:
		c.fail(i, reason)
	}
}

// digitsOf answers how the values of a column of decimals or texts are read as text.
func digitsOf(k class) func(in arrow.Array) func(dst []byte, i int) []byte {
	if k == classDecimal {
		return func(in arrow.Array) func(dst []byte, i int) []byte {
			a := in.(*array.Decimal128)                         //nolint:forcetypeassert // by the class
			scale := a.DataType().(*arrow.Decimal128Type).Scale //nolint:forcetypeassert // by the array
			return func(dst []byte, i int) []byte { return record.AppendDecimal(dst, a.Value(i), scale) }
		}
	}
	return func(in arrow.Array) func(dst []byte, i int) []byte {
		a := in.(*array.String) //nolint:forcetypeassert // by the class
		return func(dst []byte, i int) []byte { return append(dst, strings.TrimSpace(a.Value(i))...) }
	}
}

// safeDigits is how many digits every double keeps.
const safeDigits = 15

func (c *call) parseNumber(i int, text []byte, round bool) float64 {
	n, ok := parseDecimal(string(text))
	if !ok {
		c.fail(i, notNumber)
		return 0
	}
	v, err := strconv.ParseFloat(string(text), 64)
	if err != nil {
		c.fail(i, "is beyond the range of a double")
		return 0
	}
	if len(n.digits) > safeDigits {
		back, _ := parseDecimal(strconv.FormatFloat(v, 'e', -1, 64))
		c.lossy(i, round, back != n, losesNumber)
	}
	return v + 0 // minus zero is zero
}

// number is ±digits × 10^exponent, digits without zeros at either end; zero has no digits.
type number struct {
	negative bool
	digits   string
	exponent int
}

// parseDecimal reads a number in decimal notation: sign, digits with at most one point, exponent.
func parseDecimal(s string) (number, bool) {
	var n number
	n.negative = strings.HasPrefix(s, "-")
	s = strings.TrimPrefix(strings.TrimPrefix(s, "-"), "+")
	if len(s) > 0 && (s[0] == '-' || s[0] == '+') && n.negative {
		return number{}, false
	}
	if e := strings.IndexAny(s, "eE"); e >= 0 {
		exp, err := strconv.ParseInt(s[e+1:], 10, 16)
		if err != nil {
			return number{}, false
		}
		n.exponent, s = int(exp), s[:e]
	}
	whole, fraction, _ := strings.Cut(s, ".")
	n.digits = whole + fraction
	if n.digits == "" || strings.Trim(n.digits, "0123456789") != "" {
		return number{}, false
	}
	n.exponent -= len(fraction)
	n.digits = strings.TrimLeft(n.digits, "0")
	trimmed := strings.TrimRight(n.digits, "0")
	n.exponent += len(n.digits) - len(trimmed)
	n.digits = trimmed
	if n.digits == "" {
		return number{}, true
	}
	return n, true
}

// integer answers n rounded half away from zero, whether it had a fraction, and whether it fits.
func (n number) integer() (v int64, fraction, fits bool) {
	if n.digits == "" {
		return 0, false, true
	}
	places := len(n.digits) + n.exponent // digits before the point
	if places > 19 {
		return 0, false, false
	}
	if n.exponent >= 0 {
		return n.signed(n.digits + strings.Repeat("0", n.exponent))
	}
	if places < 0 {
		return 0, true, true
	}
	whole, rest := n.digits[:places], n.digits[places:]
	up := rest[0] >= '5'
	v, _, fits = n.signed("0" + whole)
	if up && fits {
		switch {
		case n.negative && v > math.MinInt64:
			v--
		case !n.negative && v < math.MaxInt64:
			v++
		default:
			fits = false
		}
	}
	return v, true, fits
}

func (n number) signed(digits string) (int64, bool, bool) {
	if n.negative {
		digits = "-" + digits
	}
	v, err := strconv.ParseInt(digits, 10, 64)
	return v, false, err == nil
}

// toInteger makes int64.
func (f *flow) toInteger(round bool, no refuse) mend {
	switch f.class {
	case classInteger:
	case classFloat:
		f.then(classInteger, int64Type(), func(c *call, in arrow.Array) arrow.Array {
			a := in.(*array.Float64) //nolint:forcetypeassert // by the class
			return convert(int64Type(), in, func(i int) int64 { return c.wholeFloat(i, a.Value(i), round) })
		})
	case classDecimal, classText, classJSON:
		text := digitsOf(f.class)
		f.then(classInteger, int64Type(), func(c *call, in arrow.Array) arrow.Array {
			var buf []byte
			at := text(in)
			return convert(int64Type(), in, func(i int) int64 {
				buf = at(buf[:0], i)
				return c.parseInteger(i, string(buf), round)
			})
		})
	case classInstant, classDate:
		return no("map it to a field whose name ends in _ms, which takes milliseconds, or convert it in SQL")
	default:
		return no("choose another column, or cast it in SQL")
	}
	return mend{}
}

func (c *call) wholeFloat(i int, v float64, round bool) int64 {
	whole := math.Round(v)
	switch {
	case math.IsNaN(v) || math.IsInf(v, 0):
		c.fail(i, notFinite)
		return 0
	case whole >= 1<<63 || whole < -1<<63:
		c.fail(i, beyondInt)
		return 0
	}
	c.lossy(i, round, whole != v, losesInteger)
	return int64(whole)
}

func (c *call) parseInteger(i int, text string, round bool) int64 {
	if v, err := strconv.ParseInt(text, 10, 64); err == nil {
		return v
	}
	n, ok := parseDecimal(text)
	if !ok {
		c.fail(i, notNumber)
		return 0
	}
	v, fraction, fits := n.integer()
	if !fits {
		c.fail(i, beyondInt)
		return 0
	}
	c.lossy(i, round, fraction, losesInteger)
	return v
}

// toDecimal makes decimals: columns of decimals and integers keep their scale; texts and doubles, whose values each
// have a scale of their own, become decimals written as text.
func (f *flow) toDecimal(no refuse) mend {
	switch f.class {
	case classDecimal:
	case classInteger:
		t := &arrow.Decimal128Type{Precision: 19, Scale: 0}
		f.then(classDecimal, t, func(_ *call, in arrow.Array) arrow.Array {
			a := in.(*array.Int64) //nolint:forcetypeassert // by the class
			return convert(t, in, func(i int) decimal128.Num { return decimal128.FromI64(a.Value(i)) })
		})
	case classFloat:
		f.then(classText, utf8Type(), func(c *call, in arrow.Array) arrow.Array {
			a := in.(*array.Float64) //nolint:forcetypeassert // by the class
			return toText(in, 8, func(dst []byte, i int) ([]byte, bool) {
				if v := a.Value(i); math.IsNaN(v) || math.IsInf(v, 0) {
					c.fail(i, notFinite)
					return dst, true
				}
				return c.appendPlain(dst, i, strconv.FormatFloat(a.Value(i), 'f', -1, 64)), true
			})
		})
	case classText, classJSON:
		f.then(classText, utf8Type(), func(c *call, in arrow.Array) arrow.Array {
			a := in.(*array.String) //nolint:forcetypeassert // by the class
			return toText(in, 8, func(dst []byte, i int) ([]byte, bool) {
				return c.appendPlain(dst, i, strings.TrimSpace(a.Value(i))), true
			})
		})
	default:
		return no("choose another column, or cast it in SQL")
	}
	return mend{}
}

// appendPlain appends a number in plain notation with the scale that it is written with.
func (c *call) appendPlain(dst []byte, i int, text string) []byte {
	n, ok := parseDecimal(text)
	if !ok {
		c.fail(i, notNumber)
		return dst
	}
	scale := 0
	if _, fraction, point := strings.Cut(text, "."); point && !strings.ContainsAny(fraction, "eE") {
		scale = len(fraction)
	} else if n.exponent < 0 {
		scale = -n.exponent
	}
	places := max(len(n.digits)+n.exponent, 1)
	if places+scale > maxPrecision {
		c.fail(i, beyondDigits)
		return dst
	}
	if n.negative {
		dst = append(dst, '-')
	}
	return append(dst, plainDigits(n, scale)...)
}

func plainDigits(n number, scale int) string {
	digits := n.digits + strings.Repeat("0", max(n.exponent+scale, 0))
	if len(digits) <= scale {
		digits = strings.Repeat("0", scale+1-len(digits)) + digits
	}
	if scale == 0 {
		return digits
	}
	at := len(digits) - scale
	return digits[:at] + "." + digits[at:]
}

// toBoolean makes booleans of true and false, 1 and 0, as text in any case.
func (f *flow) toBoolean(no refuse) mend {
	switch f.class {
	case classBoolean:
	case classInteger:
		f.then(classBoolean, boolType(), func(c *call, in arrow.Array) arrow.Array {
			a := in.(*array.Int64) //nolint:forcetypeassert // by the class
			return booleans(in, func(i int) bool {
				if v := a.Value(i); v != 0 && v != 1 {
					c.fail(i, notBoolean)
				}
				return a.Value(i) == 1
			})
		})
	case classText, classJSON:
		f.then(classBoolean, boolType(), func(c *call, in arrow.Array) arrow.Array {
			a := in.(*array.String) //nolint:forcetypeassert // by the class
			return booleans(in, func(i int) bool { return c.parseBoolean(i, strings.TrimSpace(a.Value(i))) })
		})
	case classDecimal:
		f.then(classBoolean, boolType(), func(c *call, in arrow.Array) arrow.Array {
			var buf []byte
			return booleans(in, func(i int) bool {
				buf = row.AppendCanonicalText(buf[:0], in, i)
				return c.parseBoolean(i, string(buf))
			})
		})
	default:
		return no("choose another column, or cast it in SQL")
	}
	return mend{}
}

func (c *call) parseBoolean(i int, text string) bool {
	switch {
	case strings.EqualFold(text, "true"), text == "1":
		return true
	case strings.EqualFold(text, "false"), text == "0":
	default:
		c.fail(i, notBoolean)
	}
	return false
}
