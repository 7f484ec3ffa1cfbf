package record

import (
	"encoding/base64"
	"math"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
)

// maxSafe is the largest integer up to which every integer has a double of its own.
const maxSafe = 1 << 53

// AppendJSON appends the JSON of position i of col, whose field is f, and answers the extended slice. It allocates
// nothing but dst's growth.
//
// Decimals are strings with the column's scale, integers beyond 2^53 strings, doubles the shortest number that reads
// back the same (NaN and the infinities strings), instants RFC 3339 in UTC (zone-less ones are taken as UTC), dates
// ISO 8601, bytes base64. A NULL is null.
//
// In an object a NULL member is left out unless MetaOnNull says that it clears, and so is an inner object without
// members. Members of a MetaOpen field stand beside the object's own fields; a field's name wins over a member's,
// whatever the field's value, and the first open field wins over later ones.
func AppendJSON(dst []byte, col arrow.Array, f arrow.Field, i int) []byte {
	if col.IsNull(i) {
		return append(dst, "null"...)
	}
	switch c := col.(type) {
	case *array.String:
		return appendText(dst, c.Value(i), f)
	case *array.LargeString:
		return appendText(dst, c.Value(i), f)
	case *array.StringView:
		return appendText(dst, c.Value(i), f)
	case *array.Struct:
		return appendStruct(dst, c, f.Type, i)
	case *array.Dictionary:
		f.Type = c.Dictionary().DataType()
		return AppendJSON(dst, c.Dictionary(), f, c.GetValueIndex(i))
	case array.ExtensionArray:
		return AppendJSON(dst, c.Storage(), arrow.Field{Type: c.Storage().DataType(), Metadata: f.Metadata}, i)
	case *array.Map:
		return appendMap(dst, c, i)
	case array.ListLike:
		return appendList(dst, c, i)
	}
	return appendScalar(dst, col, i)
}

// AppendRecord appends the record at position i of b as a JSON object: user_identities with user_attributes or events
// (an array of the one event), as the paths of a mapping have it; of groups, lookup rows and history their columns.
func AppendRecord(dst []byte, b Batch, i int) []byte {
	if b.Kind != Users && b.Kind != Events {
		return appendRecord(dst, b, i)
	}
	s := b.Record.Schema()
	dst = append(dst, `{"user_identities":`...)
	dst = AppendJSON(dst, b.Record.Column(PosIdentities), s.Field(PosIdentities), i)
	if b.Kind == Events {
		dst = append(dst, `,"events":[`...)
		dst = AppendJSON(dst, b.Record.Column(PosBody), s.Field(PosBody), i)
		return append(dst, "]}"...)
	}
	dst = append(dst, `,"user_attributes":`...)
	dst = AppendJSON(dst, b.Record.Column(PosBody), s.Field(PosBody), i)
	return append(dst, '}')
}

// AppendRow appends the first `columns` columns of position i of rec as a JSON object, NULLs included.
func AppendRow(dst []byte, rec arrow.RecordBatch, columns, i int) []byte {
	dst = append(dst, '{')
	for k := range columns {
		if k > 0 {
			dst = append(dst, ',')
		}
		f := rec.Schema().Field(k)
		dst = append(AppendString(dst, f.Name), ':')
		dst = AppendJSON(dst, rec.Column(k), f, i)
	}
	return append(dst, '}')
}

// IsOpen says whether f has MetaOpen.
func IsOpen(f arrow.Field) bool { return isTrue(f.Metadata, MetaOpen) }

// IsJSON says whether f's text is JSON: MetaJSON or MetaOpen.
func IsJSON(f arrow.Field) bool { return isTrue(f.Metadata, MetaJSON) || IsOpen(f) }

// Clears says whether a NULL of f clears.
func Clears(f arrow.Field) bool {
	k := f.Metadata.FindKey(MetaOnNull)
	return k >= 0 && f.Metadata.Values()[k] == "clear"
}

func isTrue(m arrow.Metadata, key string) bool {
	k := m.FindKey(key)
	return k >= 0 && m.Values()[k] == "true"
}

func appendText(dst []byte, s string, f arrow.Field) []byte {
	if f.HasMetadata() && IsJSON(f) {
		return append(dst, s...)
	}
	return AppendString(dst, s)
}

func appendStruct(dst []byte, s *array.Struct, dt arrow.DataType, i int) []byte {
	t, ok := dt.(*arrow.StructType)
	if !ok {
		t = s.DataType().(*arrow.StructType)
	}
	dst = append(dst, '{')
	start := len(dst)
	for k := range s.NumField() {
		f, col := t.Field(k), s.Field(k)
		if IsOpen(f) {
			dst = appendOpen(dst, s, t, k, i, start)
			continue
		}
		if col.IsNull(i) && !Clears(f) {
			continue
		}
		before := len(dst)
		dst = appendName(dst, f.Name, start)
		value := len(dst)
		dst = AppendJSON(dst, col, f, i)
		if f.Type.ID() == arrow.STRUCT && string(dst[value:]) == "{}" {
			dst = dst[:before]
		}
	}
	return append(dst, '}')
}

// appendName appends a member's name, with a comma unless it is the first of the object whose inside begins at start.
func appendName(dst []byte, name string, start int) []byte {
	if len(dst) > start {
		dst = append(dst, ',')
	}
	return append(AppendString(dst, name), ':')
}

// appendOpen appends the members of the open field at position k that no field of t and no earlier open field has.
func appendOpen(dst []byte, s *array.Struct, t *arrow.StructType, k, i, start int) []byte {
	text, ok := openText(s.Field(k), i)
	if !ok {
		return dst
	}
	for name, value := range Members(text) {
		if shadowed(s, t, k, i, name) {
			continue
		}
		dst = append(appendName(dst, name, start), value...)
	}
	return dst
}

func openText(col arrow.Array, i int) (string, bool) {
	c, ok := col.(*array.String)
	if !ok || c.IsNull(i) {
		return "", false
	}
	return c.Value(i), true
}

// shadowed says whether a field of t, or an open field before position k, has a value of that name.
func shadowed(s *array.Struct, t *arrow.StructType, k, i int, name string) bool {
	if at, ok := t.FieldIdx(name); ok && !IsOpen(t.Field(at)) {
		return true
	}
	for j := range k {
		if !IsOpen(t.Field(j)) {
			continue
		}
		text, ok := openText(s.Field(j), i)
		if !ok {
			continue
		}
		for n := range Members(text) {
			if n == name {
				return true
			}
		}
	}
	return false
}

func appendList(dst []byte, c array.ListLike, i int) []byte {
	from, to := c.ValueOffsets(i)
	values := c.ListValues()
	f := arrow.Field{Type: values.DataType()}
	if t, ok := c.DataType().(arrow.ListLikeType); ok {
		f = t.ElemField()
	}
	dst = append(dst, '[')
	for j := from; j < to; j++ {
		if j > from {
			dst = append(dst, ',')
		}
		dst = AppendJSON(dst, values, f, int(j))
	}
	return append(dst, ']')
}

func appendMap(dst []byte, c *array.Map, i int) []byte {
	from, to := c.ValueOffsets(i)
	t := c.DataType().(*arrow.MapType)
	dst = append(dst, '{')
	for j := from; j < to; j++ {
		if j > from {
			dst = append(dst, ',')
		}
		dst = append(appendKey(dst, c.Keys(), t.KeyField(), int(j)), ':')
		dst = AppendJSON(dst, c.Items(), t.ItemField(), int(j))
	}
	return append(dst, '}')
}

// appendKey appends a map's key as a JSON string, whatever its type.
func appendKey(dst []byte, keys arrow.Array, f arrow.Field, i int) []byte {
	before := len(dst)
	dst = AppendJSON(dst, keys, f, i)
	if dst[before] == '"' {
		return dst
	}
	return AppendString(dst[:before], string(dst[before:]))
}

func appendScalar(dst []byte, col arrow.Array, i int) []byte {
	switch c := col.(type) {
	case *array.Int64:
		return AppendInt(dst, c.Value(i))
	case *array.Float64:
		return AppendFloat(dst, c.Value(i))
	case *array.Boolean:
		return strconv.AppendBool(dst, c.Value(i))
	case *array.Decimal128:
		dst = append(dst, '"')
		return append(AppendDecimal(dst, c.Value(i), c.DataType().(*arrow.Decimal128Type).Scale), '"')
	case *array.Timestamp:
		return appendInstant(dst, c, i)
	case *array.Date32:
		return appendDate(dst, int64(c.Value(i)))
	case *array.Date64:
		return appendDate(dst, int64(c.Value(i))/86_400_000)
	case *array.Int32:
		return strconv.AppendInt(dst, int64(c.Value(i)), 10)
	case *array.Int16:
		return strconv.AppendInt(dst, int64(c.Value(i)), 10)
	case *array.Int8:
		return strconv.AppendInt(dst, int64(c.Value(i)), 10)
	case *array.Uint64:
		return appendUint(dst, c.Value(i))
	case *array.Uint32:
		return strconv.AppendUint(dst, uint64(c.Value(i)), 10)
	case *array.Uint16:
		return strconv.AppendUint(dst, uint64(c.Value(i)), 10)
	case *array.Uint8:
		return strconv.AppendUint(dst, uint64(c.Value(i)), 10)
	case *array.Float32:
		return AppendFloat(dst, float64(c.Value(i)))
	case *array.Binary:
		return appendBytes(dst, c.Value(i))
	case *array.LargeBinary:
		return appendBytes(dst, c.Value(i))
	case *array.FixedSizeBinary:
		return appendBytes(dst, c.Value(i))
	}
	start := len(dst)
	dst, ok := appendDecimalAt(append(dst, '"'), col, i)
	if ok {
		return append(dst, '"')
	}
	return AppendString(dst[:start], col.ValueStr(i))
}

// AppendInt appends v as a JSON number, or as a string beyond 2^53.
func AppendInt(dst []byte, v int64) []byte {
	if v > maxSafe || v < -maxSafe {
		dst = append(dst, '"')
		return append(strconv.AppendInt(dst, v, 10), '"')
	}
	return strconv.AppendInt(dst, v, 10)
}

func appendUint(dst []byte, v uint64) []byte {
	if v > maxSafe {
		dst = append(dst, '"')
		return append(strconv.AppendUint(dst, v, 10), '"')
	}
	return strconv.AppendUint(dst, v, 10)
}

// AppendFloat appends the shortest JSON number that reads back as v; NaN and the infinities as strings.
func AppendFloat(dst []byte, v float64) []byte {
	switch {
	case math.IsNaN(v):
		return append(dst, `"NaN"`...)
	case math.IsInf(v, 1):
		return append(dst, `"Infinity"`...)
	case math.IsInf(v, -1):
		return append(dst, `"-Infinity"`...)
	}
	format := byte('f')
	if a := math.Abs(v); a != 0 && (a < 1e-6 || a >= 1e21) {
		format = 'e'
	}
	dst = strconv.AppendFloat(dst, v, format, -1, 64)
	if n := len(dst); format == 'e' && dst[n-4] == 'e' && dst[n-2] == '0' { // e-07 is e-7
		dst = append(dst[:n-2], dst[n-1])
	}
	return dst
}

func appendInstant(dst []byte, c *array.Timestamp, i int) []byte {
	unit := c.DataType().(*arrow.TimestampType).Unit
	dst = append(dst, '"')
	dst = AppendInstant(dst, int64(c.Value(i)), unit)
	return append(dst, '"')
}

// AppendInstant appends v units since the Unix epoch as RFC 3339 in UTC, without quotes and without trailing zeros.
func AppendInstant(dst []byte, v int64, unit arrow.TimeUnit) []byte {
	var t time.Time
	switch unit {
	case arrow.Second:
		t = time.Unix(v, 0)
	case arrow.Millisecond:
		t = time.UnixMilli(v)
	case arrow.Microsecond:
		t = time.UnixMicro(v)
	default:
		t = time.Unix(0, v)
	}
	return t.UTC().AppendFormat(dst, time.RFC3339Nano)
}

func appendDate(dst []byte, days int64) []byte {
	dst = append(dst, '"')
	dst = AppendDate(dst, days)
	return append(dst, '"')
}

// AppendDate appends the day that is `days` after 1970-01-01 as YYYY-MM-DD, without quotes.
func AppendDate(dst []byte, days int64) []byte {
	return time.Unix(days*86_400, 0).UTC().AppendFormat(dst, time.DateOnly)
}

func appendBytes(dst, v []byte) []byte {
	dst = append(dst, '"')
	return append(base64.StdEncoding.AppendEncode(dst, v), '"')
}

const hexDigits = "0123456789abcdef"

// AppendString appends s as a JSON string. Bytes that are no UTF-8 become U+FFFD.
func AppendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		b := s[i]
		if b < utf8.RuneSelf {
			if b >= ' ' && b != '"' && b != '\\' {
				i++
				continue
			}
			dst = append(dst, s[start:i]...)
			dst = appendEscape(dst, b)
			i++
			start = i
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 {
			dst = append(append(dst, s[start:i]...), "\ufffd"...)
			i++
			start = i
			continue
		}
		i += n
	}
	return append(append(dst, s[start:]...), '"')
}

func appendEscape(dst []byte, b byte) []byte {
	switch b {
	case '"', '\\':
		return append(dst, '\\', b)
	case '\n':
		return append(dst, '\\', 'n')
	case '\r':
		return append(dst, '\\', 'r')
	case '\t':
		return append(dst, '\\', 't')
	default:
		return append(dst, '\\', 'u', '0', '0', hexDigits[b>>4], hexDigits[b&15])
	}
}
