package window

import (
	"math"
	"math/big"
	"strconv"
	"strings"
	"time"

	"millrace.dev/pkg/fault"
)

type kind uint8

const (
	instant kind = iota + 1 // a moment, or a wall-clock time where the axis has no zone
	day
	number
)

// Value is one value of an iterator, lossless. It is immutable. The zero value is no value.
type Value struct {
	kind  kind
	zoned bool
	sec   int64 // instant: seconds since the Unix epoch, of the moment or of the wall clock read as UTC; day: days
	nsec  int32
	num   *big.Int // number: its digits without the point
	scale int32    // number: digits behind the point
}

// IsZero says whether v is no value.
func (v Value) IsZero() bool { return v.kind == 0 }

// Compare answers -1, 0 or 1. Both are values of one axis.
func (v Value) Compare(o Value) int {
	if v.kind != number {
		if c := cmp64(v.sec, o.sec); c != 0 {
			return c
		}
		return cmp64(int64(v.nsec), int64(o.nsec))
	}
	a, b := v.num, o.num
	switch {
	case v.scale < o.scale:
		a = new(big.Int).Mul(a, pow10(o.scale-v.scale))
	case v.scale > o.scale:
		b = new(big.Int).Mul(b, pow10(v.scale-o.scale))
	}
	return a.Cmp(b)
}

func cmp64(a, b int64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func pow10(n int32) *big.Int {
	return new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(n)), nil)
}

// String answers the text that plans, checkpoints and ranges carry: ISO 8601 for instants (with Z where the column has a
// zone) and days, decimal digits for numbers. Years outside 0 to 9999 have a sign. No value is "".
func (v Value) String() string {
	switch v.kind {
	case instant:
		t := time.Unix(v.sec, 0).UTC()
		s := year(t.Year()) + t.Format("-01-02T15:04:05")
		if v.nsec != 0 {
			s += "." + strings.TrimRight(pad(int64(v.nsec), 9), "0")
		}
		if v.zoned {
			s += "Z"
		}
		return s
	case day:
		t := time.Unix(v.sec*86400, 0).UTC()
		return year(t.Year()) + t.Format("-01-02")
	case number:
		return decimalText(v.num, v.scale)
	default:
		return ""
	}
}

// SQL answers the value as PostgreSQL's family reads it in a literal: as String does, but with years before 1 counted
// back and marked BC.
func (v Value) SQL() string {
	if v.kind == number || v.kind == 0 {
		return v.String()
	}
	y := time.Unix(v.sec, 0).UTC().Year()
	if v.kind == day {
		y = time.Unix(v.sec*86400, 0).UTC().Year()
	}
	s := v.String()
	rest := s[len(year(y)):]
	if y >= 1 {
		return pad(int64(y), 4) + rest
	}
	return pad(int64(1-y), 4) + rest + " BC"
}

// Unix answers an instant as whole seconds since the Unix epoch and the nanoseconds above them, or a day as days.
func (v Value) Unix() (sec int64, nsec int32) { return v.sec, v.nsec }

// Digits answers a number's digits without its point, and how many stand behind the point. The result is the caller's.
func (v Value) Digits() (*big.Int, int32) { return new(big.Int).Set(v.num), v.scale }

func year(y int) string {
	switch {
	case y < 0:
		return "-" + pad(int64(-y), 4)
	case y > 9999:
		return "+" + pad(int64(y), 4)
	}
	return pad(int64(y), 4)
}

func pad(n int64, width int) string {
	s := strconv.FormatInt(n, 10)
	if len(s) < width {
		s = strings.Repeat("0", width-len(s)) + s
	}
	return s
}

func decimalText(n *big.Int, scale int32) string {
	s := new(big.Int).Abs(n).String()
	if scale > 0 {
		if len(s) <= int(scale) {
			s = strings.Repeat("0", int(scale)-len(s)+1) + s
		}
		s = s[:len(s)-int(scale)] + "." + s[len(s)-int(scale):]
	}
	if n.Sign() < 0 {
		s = "-" + s
	}
	return s
}

// maxYear bounds what Parse reads; no warehouse goes beyond.
const maxYear = 300000

// maxDigits bounds the digits of a number; no warehouse goes beyond.
const maxDigits = 76

// Parse reads what String wrote for a value of this axis. An instant may also have a space for its T and an offset for
// its Z; a value without a zone on an axis with one is read as UTC.
func (a Axis) Parse(s string) (Value, error) {
	bad := func() (Value, error) {
		return Value{}, fault.New(fault.Invalid, fault.ReasonIteratorInvalid, "not a value of the iterator %q of type %s; reset the checkpoint", a.Column, a.Type)
	}
	switch a.kind {
	case number:
		v, ok := parseNumber(s)
		if !ok || (v.scale > 0 && a.Type == "integer") {
			return bad()
		}
		return v, nil
	case day:
		days, rest, ok := parseDay(s)
		if !ok || rest != "" {
			return bad()
		}
		return Value{kind: day, sec: days}, nil
	default:
		v, ok := a.parseInstant(s)
		if !ok {
			return bad()
		}
		return v, nil
	}
}

func parseNumber(s string) (Value, bool) {
	plain, scale := s, 0
	if whole, frac, ok := strings.Cut(s, "."); ok {
		plain, scale = whole+frac, len(frac)
		if frac == "" {
			return Value{}, false
		}
	}
	bare := strings.TrimPrefix(plain, "-")
	if bare == "" || len(bare) > maxDigits || strings.Trim(bare, "0123456789") != "" || scale == len(bare) {
		return Value{}, false
	}
	n, ok := new(big.Int).SetString(plain, 10)
	return Value{kind: number, num: n, scale: int32(scale)}, ok //nolint:gosec // bounded by maxDigits
}

// parseDay reads [+-]YYYY-MM-DD at the head of s.
func parseDay(s string) (days int64, rest string, ok bool) {
	sign := 1
	switch {
	case strings.HasPrefix(s, "-"):
		sign, s = -1, s[1:]
	case strings.HasPrefix(s, "+"):
		s = s[1:]
	}
	y, s, ok := digits(s, 4, 6)
	if !ok || y > maxYear || !strings.HasPrefix(s, "-") {
		return 0, "", false
	}
	m, s, ok := digits(s[1:], 2, 2)
	if !ok || !strings.HasPrefix(s, "-") {
		return 0, "", false
	}
	d, s, ok := digits(s[1:], 2, 2)
	if !ok {
		return 0, "", false
	}
	t := time.Date(sign*y, time.Month(m), d, 0, 0, 0, 0, time.UTC)
	if int(t.Month()) != m || t.Day() != d {
		return 0, "", false
	}
	return floorDiv(t.Unix(), 86400), s, true
}

func (a Axis) parseInstant(s string) (Value, bool) {
	days, s, ok := parseDay(s)
	if !ok {
		return Value{}, false
	}
	v := Value{kind: instant, zoned: a.Zoned, sec: days * 86400}
	if s == "" {
		return v, true
	}
	if s[0] != 'T' && s[0] != ' ' {
		return Value{}, false
	}
	var part [3]int
	for i, limit := range [3]int{24, 60, 60} {
		part[i], s, ok = digits(s[1:], 2, 2)
		if !ok || part[i] >= limit || (i < 2 && !strings.HasPrefix(s, ":")) {
			return Value{}, false
		}
	}
	v.sec += int64(part[0])*3600 + int64(part[1])*60 + int64(part[2])
	if strings.HasPrefix(s, ".") {
		n, rest, ok := digits(s[1:], 1, 9)
		if !ok {
			return Value{}, false
		}
		for i := len(s) - 1 - len(rest); i < 9; i++ {
			n *= 10
		}
		v.nsec, s = int32(n), rest //nolint:gosec // nine digits
	}
	off, ok := parseOffset(s)
	if !ok || (off != 0 && !a.Zoned) {
		return Value{}, false
	}
	v.sec -= off
	return v, true
}

// parseOffset reads Z, ±HH or ±HH:MM as seconds.
func parseOffset(s string) (int64, bool) {
	if s == "" || s == "Z" {
		return 0, true
	}
	sign := int64(1)
	switch s[0] {
	case '-':
		sign = -1
	case '+':
	default:
		return 0, false
	}
	h, s, ok := digits(s[1:], 2, 2)
	if !ok || h > 18 {
		return 0, false
	}
	m := 0
	if strings.HasPrefix(s, ":") {
		if m, s, ok = digits(s[1:], 2, 2); !ok || m > 59 {
			return 0, false
		}
	}
	return sign * (int64(h)*3600 + int64(m)*60), s == ""
}

// digits reads least to most digits at the head of s.
func digits(s string, least, most int) (n int, rest string, ok bool) {
	i := 0
	for i < len(s) && i < most && s[i] >= '0' && s[i] <= '9' {
		n = n*10 + int(s[i]-'0')
		i++
	}
	return n, s[i:], i >= least
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// saturate answers seconds and nanoseconds as nanoseconds since the epoch, at most what an int64 holds.
func saturate(sec int64, nsec int64) int64 {
	const edge = math.MaxInt64 / 1_000_000_000
	switch {
	case sec > edge-1:
		return math.MaxInt64
	case sec < -edge:
		return math.MinInt64
	}
	return sec*1_000_000_000 + nsec
}
