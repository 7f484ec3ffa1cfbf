package sharing

import (
	"encoding/base64"
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"millrace.dev/pkg/fault"
)

// texts answers nested values as JSON text that loses nothing: NULL fields stay, instants keep their microseconds.
func texts(mem memory.Allocator, t *deltaType, c arrow.Array) (arrow.Array, error) {
	b := array.NewStringBuilder(mem)
	defer b.Release()
	b.Reserve(c.Len())
	var text []byte
	for i := range c.Len() {
		if c.IsNull(i) {
			b.AppendNull()
			continue
		}
		var ok bool
		if text, ok = appendJSON(text[:0], t, c, i); !ok {
			return nil, fault.New(fault.Precondition, fault.ReasonQueryInvalid, "a nested column comes as another type in a file than the table says (%s); have the provider mend the table", t)
		}
		b.BinaryBuilder.Append(text)
	}
	return b.NewArray(), nil
}

// appendJSON appends the value at i, false where c is not of type t.
func appendJSON(out []byte, t *deltaType, c arrow.Array, i int) ([]byte, bool) {
	if c.IsNull(i) {
		return append(out, "null"...), true
	}
	switch c := c.(type) {
	case array.ExtensionArray:
		return appendJSON(out, t, c.Storage(), i)
	case *array.Struct:
		return appendStruct(out, t, c, i)
	case *array.Map:
		return appendMap(out, t, c, i)
	case *array.List:
		if t.name != "array" {
			return out, false
		}
		from, to := c.ValueOffsets(i)
		out = append(out, '[')
		for j := from; j < to; j++ {
			if j > from {
				out = append(out, ',')
			}
			var ok bool
			if out, ok = appendJSON(out, t.of, c.ListValues(), int(j)); !ok {
				return out, false
			}
		}
		return append(out, ']'), true
	}
	return appendScalar(out, c, i)
}

func appendStruct(out []byte, t *deltaType, c *array.Struct, i int) ([]byte, bool) {
	if t.name != "struct" {
		return out, false
	}
	in := c.DataType().(*arrow.StructType) //nolint:forcetypeassert // its type
	out = append(out, '{')
	for n, f := range t.fields {
		if n > 0 {
			out = append(out, ',')
		}
		out = append(appendText(out, f.name), ':')
		at, found := in.FieldIdx(f.name)
		if !found {
			out = append(out, "null"...) // it came into the table later
			continue
		}
		var ok bool
		if out, ok = appendJSON(out, f.typ, c.Field(at), i); !ok {
			return out, false
		}
	}
	return append(out, '}'), true
}

// appendMap appends an object; keys are as text.
func appendMap(out []byte, t *deltaType, c *array.Map, i int) ([]byte, bool) {
	if t.name != "map" {
		return out, false
	}
	from, to := c.ValueOffsets(i)
	out = append(out, '{')
	for j := from; j < to; j++ {
		if j > from {
			out = append(out, ',')
		}
		key, ok := appendJSON(nil, t.key, c.Keys(), int(j))
		if !ok {
			return out, false
		}
		if len(key) > 0 && key[0] == '"' {
			out = append(out, key...)
		} else {
			out = appendText(out, string(key))
		}
		out = append(out, ':')
		if out, ok = appendJSON(out, t.of, c.Items(), int(j)); !ok {
			return out, false
		}
	}
	return append(out, '}'), true
}

func appendText(out []byte, s string) []byte {
	text, err := json.Marshal(s)
	if err != nil {
		return append(out, `""`...) // text always has a form
	}
	return append(out, text...)
}

func appendScalar(out []byte, c arrow.Array, i int) ([]byte, bool) {
	switch c := c.(type) {
	case *array.String:
		return appendText(out, c.Value(i)), true
	case *array.Binary:
		return appendText(out, base64.StdEncoding.EncodeToString(c.Value(i))), true
	case *array.Timestamp:
		t := c.DataType().(*arrow.TimestampType) //nolint:forcetypeassert // its type
		at := c.Value(i).ToTime(t.Unit).UTC()
		return appendText(out, at.Format("2006-01-02T15:04:05.000000Z")), true
	case *array.Date32:
		return appendText(out, c.Value(i).ToTime().Format(time.DateOnly)), true
	case *array.Float64:
		return appendFloat(out, c.Value(i), 64), true
	case *array.Float32:
		return appendFloat(out, float64(c.Value(i)), 32), true
	case *array.Boolean:
		return strconv.AppendBool(out, c.Value(i)), true
	case *array.Decimal128:
		return appendDecimal(out, c.Value(i).BigInt().String(), int(c.DataType().(*arrow.Decimal128Type).Scale)), true //nolint:forcetypeassert // its type
	}
	if arrow.IsInteger(c.DataType().ID()) {
		return append(out, c.ValueStr(i)...), true
	}
	return out, false
}

// appendDecimal appends digits with their point put before the last `scale` of them.
func appendDecimal(out []byte, digits string, scale int) []byte {
	if digits[0] == '-' {
		out, digits = append(out, '-'), digits[1:]
	}
	if scale <= 0 {
		return append(out, digits...)
	}
	if short := scale + 1 - len(digits); short > 0 {
		digits = strings.Repeat("0", short) + digits
	}
	at := len(digits) - scale
	return append(append(append(out, digits[:at]...), '.'), digits[at:]...)
}

// appendFloat appends a number, or what JSON has no number for as text.
func appendFloat(out []byte, v float64, bits int) []byte {
	switch {
	case math.IsNaN(v):
		return append(out, `"NaN"`...)
	case math.IsInf(v, 1):
		return append(out, `"Infinity"`...)
	case math.IsInf(v, -1):
		return append(out, `"-Infinity"`...)
	}
	return strconv.AppendFloat(out, v, 'g', -1, bits)
}
