package profile

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"

	"millrace.dev/pkg/record"
)

// ValueKind is what a stored value is.
type ValueKind uint8

// The kinds. Their numbers are stored.
const (
	Cleared ValueKind = iota // a NULL that clears; null in an event
	String                   // Text
	Int                      // Int
	Float                    // Float
	False
	True
	Decimal // Text, with the digits of its column's scale: 7.00
	Instant // Int seconds since the Unix epoch and Nanos
	Date    // Int days since 1970-01-01
	JSON    // Text is JSON
	Bytes   // Text is the bytes
	Object  // Members
	List    // Items
)

// endOfList stands where a further item's kind would stand.
const endOfList = 0xFF

// Value is one stored value.
type Value struct {
	Kind    ValueKind
	Text    string
	Int     int64
	Nanos   int32
	Float   float64
	Members []Member
	Items   []Value
}

// Member is a named value of an Object.
type Member struct {
	Name  string
	Value Value
}

// AppendJSON appends v as JSON in the form of record.AppendJSON, and answers the extended slice.
func (v Value) AppendJSON(dst []byte) []byte {
	switch v.Kind {
	case String:
		return record.AppendString(dst, v.Text)
	case Int:
		return record.AppendInt(dst, v.Int)
	case Float:
		return record.AppendFloat(dst, v.Float)
	case False:
		return append(dst, "false"...)
	case True:
		return append(dst, "true"...)
	case Decimal:
		return append(append(append(dst, '"'), v.Text...), '"')
	case Instant:
		dst = append(dst, '"')
		return append(v.Time().AppendFormat(dst, time.RFC3339Nano), '"')
	case Date:
		return append(record.AppendDate(append(dst, '"'), v.Int), '"')
	case JSON:
		return append(dst, v.Text...)
	case Bytes:
		dst = append(dst, '"')
		return append(base64.StdEncoding.AppendEncode(dst, []byte(v.Text)), '"')
	case Object:
		dst = append(dst, '{')
		for i, m := range v.Members {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(record.AppendString(dst, m.Name), ':')
			dst = m.Value.AppendJSON(dst)
		}
		return append(dst, '}')
	case List:
		dst = append(dst, '[')
		for i, item := range v.Items {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = item.AppendJSON(dst)
		}
		return append(dst, ']')
	case Cleared:
	}
	return append(dst, "null"...)
}

// Time answers the instant of an Instant, in UTC.
func (v Value) Time() time.Time { return time.Unix(v.Int, int64(v.Nanos)).UTC() }

// AppendCanonical appends a form in which equal values are equal bytes: decimals without trailing zeros, members by
// name, JSON in canonical order. Digests are over it.
func (v Value) AppendCanonical(dst []byte) []byte {
	dst = append(dst, byte(v.Kind))
	switch v.Kind {
	case String, Bytes:
		return appendText(dst, v.Text)
	case Decimal:
		return appendText(dst, trimZeros(v.Text))
	case Int, Date:
		return binary.AppendVarint(dst, v.Int)
	case Float:
		return binary.BigEndian.AppendUint64(dst, math.Float64bits(v.Float))
	case Instant:
		dst = binary.AppendVarint(dst, v.Int)
		return binary.AppendUvarint(dst, uint64(v.Nanos)) //nolint:gosec // nanoseconds are not negative
	case JSON:
		return appendText(dst, canonicalJSON(v.Text))
	case Object:
		members := slices.Clone(v.Members)
		slices.SortStableFunc(members, func(a, b Member) int { return strings.Compare(a.Name, b.Name) })
		dst = binary.AppendUvarint(dst, uint64(len(members)))
		for _, m := range members {
			dst = m.Value.AppendCanonical(appendText(dst, m.Name))
		}
	case List:
		dst = binary.AppendUvarint(dst, uint64(len(v.Items)))
		for _, item := range v.Items {
			dst = item.AppendCanonical(dst)
		}
	case Cleared, False, True:
	}
	return dst
}

func trimZeros(s string) string {
	if strings.IndexByte(s, '.') < 0 {
		return s
	}
	return strings.TrimRight(strings.TrimRight(s, "0"), ".")
}

// canonicalJSON answers text with sorted members and without white space; text itself where it is no JSON.
func canonicalJSON(text string) string {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var v any
	if d.Decode(&v) != nil {
		return text
	}
	b, err := json.Marshal(v)
	if err != nil {
		return text
	}
	return string(b)
}

// AppendValue appends the stored form of v.
func AppendValue(dst []byte, v Value) []byte {
	dst = append(dst, byte(v.Kind))
	switch v.Kind {
	case String, Decimal, JSON, Bytes:
		return appendText(dst, v.Text)
	case Int, Date:
		return binary.AppendVarint(dst, v.Int)
	case Float:
		return binary.LittleEndian.AppendUint64(dst, math.Float64bits(v.Float))
	case Instant:
		dst = binary.AppendVarint(dst, v.Int)
		return binary.AppendUvarint(dst, uint64(v.Nanos)) //nolint:gosec // nanoseconds are not negative
	case Object:
		for _, m := range v.Members {
			dst = AppendValue(appendName(dst, m.Name), m.Value)
		}
		return append(dst, endOfMembers)
	case List:
		for _, item := range v.Items {
			dst = AppendValue(dst, item)
		}
		return append(dst, endOfList)
	case Cleared, False, True:
	}
	return dst
}

// appendInstant appends the stored form of v units since the Unix epoch.
func appendInstant(dst []byte, v int64, unit arrow.TimeUnit) []byte {
	per := int64(time.Second) / int64(unit.Multiplier())
	sec, rest := v/per, v%per
	if rest < 0 {
		sec, rest = sec-1, rest+per
	}
	dst = binary.AppendVarint(append(dst, byte(Instant)), sec)
	return binary.AppendUvarint(dst, uint64(rest*int64(unit.Multiplier()))) //nolint:gosec // not negative, see above
}

// appendJSONValue appends the stored form of a JSON text: scalars by their kind, objects and arrays as JSON. An integer
// beyond int64 is a decimal; a number that is not equal to the double that it reads as stays JSON.
func appendJSONValue(dst []byte, text string) []byte {
	switch text[0] {
	case '"':
		return appendText(append(dst, byte(String)), unquoteJSON(text))
	case 't':
		return append(dst, byte(True))
	case 'f':
		return append(dst, byte(False))
	case 'n':
		return append(dst, byte(Cleared))
	case '{', '[':
		return appendText(append(dst, byte(JSON)), compactJSON(text))
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return binary.AppendVarint(append(dst, byte(Int)), n)
	}
	if !strings.ContainsAny(text, ".eE") {
		return appendText(append(dst, byte(Decimal)), text)
	}
	if f, err := strconv.ParseFloat(text, 64); err == nil && sameNumber(f, text) {
		return binary.LittleEndian.AppendUint64(append(dst, byte(Float)), math.Float64bits(f))
	}
	return appendText(append(dst, byte(JSON)), text)
}

// sameNumber says whether f loses no digit of text.
func sameNumber(f float64, text string) bool {
	digits := 0
	for _, c := range text {
		if c == 'e' || c == 'E' {
			break
		}
		if c >= '0' && c <= '9' {
			digits++
		}
	}
	return digits <= 15 || strconv.FormatFloat(f, 'f', -1, 64) == text
}

func unquoteJSON(text string) string {
	if len(text) >= 2 && strings.IndexByte(text, '\\') < 0 {
		return text[1 : len(text)-1]
	}
	var s string
	if json.Unmarshal([]byte(text), &s) != nil {
		return text
	}
	return s
}

func compactJSON(text string) string {
	if !strings.ContainsAny(text, " \t\r\n") {
		return text
	}
	var b bytes.Buffer
	if json.Compact(&b, []byte(text)) != nil {
		return text
	}
	return b.String()
}
