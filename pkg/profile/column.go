package profile

import (
	"encoding/binary"
	"math"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"millrace.dev/pkg/record"
)

// appender appends the stored form (kind and value) of the value at i, which is not NULL.
type appender func(dst []byte, i int) []byte

// field is a field of a struct column, prepared for reading by position.
type field struct {
	name   []byte // as appendName writes it
	col    arrow.Array
	nulls  bool
	clears bool
	value  appender // nil: an open field
	// Of an open field: its texts, and which names others have.
	open    *array.String
	taken   map[string]bool
	earlier []*array.String
	object  bool
}

// fields are the fields of a struct column.
type fields []field

// fieldsOf prepares s. Members of open fields stand beside the fields; a field's name wins over a member's, whatever the
// field's value, and the first open field over later ones.
func fieldsOf(s *array.Struct) fields {
	t := s.DataType().(*arrow.StructType) //nolint:forcetypeassert // a struct array has a struct type
	out := make(fields, 0, t.NumFields())
	taken := map[string]bool{}
	for k := range t.NumFields() {
		if f := t.Field(k); !record.IsOpen(f) {
			taken[f.Name] = true
		}
	}
	var open []*array.String
	for k := range t.NumFields() {
		f, col := t.Field(k), s.Field(k)
		fl := field{
			name: appendName(nil, f.Name), col: col, nulls: col.NullN() > 0, clears: record.Clears(f),
			object: f.Type.ID() == arrow.STRUCT,
		}
		if record.IsOpen(f) {
			texts, ok := col.(*array.String)
			if !ok {
				continue
			}
			fl.open, fl.taken, fl.earlier = texts, taken, open
			open = append(open[:len(open):len(open)], texts)
		} else {
			fl.value = appenderOf(col, f)
		}
		out = append(out, fl)
	}
	return out
}

// append appends name and value of each field at i that is set, or whose NULL clears. An inner object without members
// is left out.
func (fs fields) append(dst []byte, i int) []byte {
	for k := range fs {
		f := &fs[k]
		if f.nulls && f.col.IsNull(i) {
			if f.clears && f.open == nil {
				dst = append(append(dst, f.name...), byte(Cleared))
			}
			continue
		}
		if f.open != nil {
			dst = f.appendOpen(dst, i)
			continue
		}
		before := len(dst)
		dst = append(dst, f.name...)
		at := len(dst)
		dst = f.value(dst, i)
		if f.object && len(dst) == at+2 {
			dst = dst[:before]
		}
	}
	return dst
}

func (f *field) appendOpen(dst []byte, i int) []byte {
	for name, text := range record.Members(f.open.Value(i)) {
		if f.taken[name] || inEarlier(f.earlier, i, name) || (text == "null" && !f.clears) {
			continue
		}
		dst = appendJSONValue(appendName(dst, name), text)
	}
	return dst
}

func inEarlier(open []*array.String, i int, name string) bool {
	for _, texts := range open {
		if texts.IsNull(i) {
			continue
		}
		for n := range record.Members(texts.Value(i)) {
			if n == name {
				return true
			}
		}
	}
	return false
}

// appenderOf prepares a column. Types that the platform has no kind for are kept as their text.
func appenderOf(col arrow.Array, f arrow.Field) appender {
	switch c := col.(type) {
	case *array.String:
		kind := textKind(f)
		return func(dst []byte, i int) []byte { return appendText(append(dst, kind), c.Value(i)) }
	case *array.LargeString:
		kind := textKind(f)
		return func(dst []byte, i int) []byte { return appendText(append(dst, kind), c.Value(i)) }
	case *array.StringView:
		kind := textKind(f)
		return func(dst []byte, i int) []byte { return appendText(append(dst, kind), c.Value(i)) }
	case *array.Boolean:
		return func(dst []byte, i int) []byte {
			if c.Value(i) {
				return append(dst, byte(True))
			}
			return append(dst, byte(False))
		}
	case *array.Timestamp:
		unit := c.DataType().(*arrow.TimestampType).Unit //nolint:forcetypeassert // a timestamp array has a timestamp type
		return func(dst []byte, i int) []byte { return appendInstant(dst, int64(c.Value(i)), unit) }
	case *array.Date32:
		return func(dst []byte, i int) []byte { return appendDays(dst, int64(c.Value(i))) }
	case *array.Date64:
		return func(dst []byte, i int) []byte { return appendDays(dst, int64(c.Value(i))/millisPerDay) }
	case *array.Struct:
		inner := fieldsOf(c)
		return func(dst []byte, i int) []byte {
			return append(inner.append(append(dst, byte(Object)), i), endOfMembers)
		}
	case *array.Dictionary:
		entry := appenderOf(c.Dictionary(), f)
		return func(dst []byte, i int) []byte { return entry(dst, c.GetValueIndex(i)) }
	case array.ExtensionArray:
		return appenderOf(c.Storage(), f)
	case *array.Map:
		return mapAppender(c)
	case array.ListLike:
		return listAppender(c)
	}
	if a := numberAppender(col); a != nil {
		return a
	}
	if a := bytesAppender(col); a != nil {
		return a
	}
	return func(dst []byte, i int) []byte { return appendText(append(dst, byte(String)), col.ValueStr(i)) }
}

const millisPerDay = 24 * 60 * 60 * 1000

func textKind(f arrow.Field) byte {
	if f.HasMetadata() && record.IsJSON(f) {
		return byte(JSON)
	}
	return byte(String)
}

func appendDays(dst []byte, days int64) []byte {
	return binary.AppendVarint(append(dst, byte(Date)), days)
}

func appendInt(dst []byte, v int64) []byte {
	return binary.AppendVarint(append(dst, byte(Int)), v)
}

func appendFloat(dst []byte, v float64) []byte {
	return binary.LittleEndian.AppendUint64(append(dst, byte(Float)), math.Float64bits(v))
}

func numberAppender(col arrow.Array) appender {
	switch c := col.(type) {
	case *array.Int64:
		return func(dst []byte, i int) []byte { return appendInt(dst, c.Value(i)) }
	case *array.Int32:
		return func(dst []byte, i int) []byte { return appendInt(dst, int64(c.Value(i))) }
	case *array.Int16:
		return func(dst []byte, i int) []byte { return appendInt(dst, int64(c.Value(i))) }
	case *array.Int8:
		return func(dst []byte, i int) []byte { return appendInt(dst, int64(c.Value(i))) }
	case *array.Uint64:
		return func(dst []byte, i int) []byte {
			if v := c.Value(i); v <= math.MaxInt64 {
				return appendInt(dst, int64(v))
			}
			return appendText(append(dst, byte(Decimal)), c.ValueStr(i))
		}
	case *array.Uint32:
		return func(dst []byte, i int) []byte { return appendInt(dst, int64(c.Value(i))) }
	case *array.Uint16:
		return func(dst []byte, i int) []byte { return appendInt(dst, int64(c.Value(i))) }
	case *array.Uint8:
		return func(dst []byte, i int) []byte { return appendInt(dst, int64(c.Value(i))) }
	case *array.Float64:
		return func(dst []byte, i int) []byte { return appendFloat(dst, c.Value(i)) }
	case *array.Float32:
		return func(dst []byte, i int) []byte { return appendFloat(dst, float64(c.Value(i))) }
	case *array.Float16:
		return func(dst []byte, i int) []byte { return appendFloat(dst, float64(c.Value(i).Float32())) }
	}
	if t, ok := col.DataType().(arrow.DecimalType); ok {
		return decimalAppender(col, t.GetScale())
	}
	return nil
}

func decimalAppender(col arrow.Array, scale int32) appender {
	plain := arrow.Field{Type: col.DataType()}
	c, narrow := col.(*array.Decimal128)
	return func(dst []byte, i int) []byte {
		var fixed [64]byte
		var text []byte
		if narrow {
			text = record.AppendDecimal(fixed[:0], c.Value(i), scale)
		} else {
			text = record.AppendJSON(fixed[:0], col, plain, i)
			text = text[1 : len(text)-1] // the quotes
		}
		dst = binary.AppendUvarint(append(dst, byte(Decimal)), uint64(len(text)))
		return append(dst, text...)
	}
}

func bytesAppender(col arrow.Array) appender {
	var at func(i int) []byte
	switch c := col.(type) {
	case *array.Binary:
		at = c.Value
	case *array.LargeBinary:
		at = c.Value
	case *array.BinaryView:
		at = c.Value
	case *array.FixedSizeBinary:
		at = c.Value
	default:
		return nil
	}
	return func(dst []byte, i int) []byte {
		v := at(i)
		dst = binary.AppendUvarint(append(dst, byte(Bytes)), uint64(len(v)))
		return append(dst, v...)
	}
}

func listAppender(c array.ListLike) appender {
	values := c.ListValues()
	f := arrow.Field{Type: values.DataType()}
	if t, ok := c.DataType().(arrow.ListLikeType); ok {
		f = t.ElemField()
	}
	item := appenderOf(values, f)
	return func(dst []byte, i int) []byte {
		from, to := c.ValueOffsets(i)
		dst = append(dst, byte(List))
		for j := int(from); j < int(to); j++ {
			dst = appendOrNull(dst, item, values, j)
		}
		return append(dst, endOfList)
	}
}

func mapAppender(c *array.Map) appender {
	t := c.DataType().(*arrow.MapType) //nolint:forcetypeassert // a map array has a map type
	keys, items := c.Keys(), c.Items()
	item := appenderOf(items, t.ItemField())
	return func(dst []byte, i int) []byte {
		from, to := c.ValueOffsets(i)
		dst = append(dst, byte(Object))
		for j := int(from); j < int(to); j++ {
			dst = appendOrNull(appendName(dst, keys.ValueStr(j)), item, items, j)
		}
		return append(dst, endOfMembers)
	}
}

func appendOrNull(dst []byte, a appender, col arrow.Array, i int) []byte {
	if col.IsNull(i) {
		return append(dst, byte(Cleared))
	}
	return a(dst, i)
}
