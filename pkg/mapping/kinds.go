package mapping

import (
	"strings"

	"github.com/apache/arrow-go/v18/arrow"

	"millrace.dev/pkg/source"
)

// class is what a value is, whatever Arrow's width and encoding.
type class int

const (
	classText class = iota
	classInteger
	classFloat
	classBoolean
	classDecimal
	classInstant
	classDate
	classList
	classStruct
	classJSON // text that is JSON
)

func (k class) String() string {
	return [...]string{"text", "an integer", "a floating-point number", "a boolean", "a decimal", "a timestamp", "a date", "a list", "a struct", "JSON"}[k]
}

// op makes a column of another: same length, NULL where the value is NULL or the row is at fault.
type op func(c *call, in arrow.Array) arrow.Array

// flow is a column on its way through ops.
type flow struct {
	class class
	typ   arrow.DataType
	ops   []op
}

func (f *flow) then(k class, t arrow.DataType, o op) {
	f.class, f.typ = k, t
	if o != nil {
		f.ops = append(f.ops, o)
	}
}

func int64Type() arrow.DataType   { return arrow.PrimitiveTypes.Int64 }
func float64Type() arrow.DataType { return arrow.PrimitiveTypes.Float64 }
func utf8Type() arrow.DataType    { return arrow.BinaryTypes.String }

func boolType() arrow.DataType { return arrow.FixedWidthTypes.Boolean }
func date32() arrow.DataType   { return arrow.PrimitiveTypes.Date32 }

func instantType(u arrow.TimeUnit) arrow.DataType {
	return &arrow.TimestampType{Unit: u, TimeZone: "UTC"}
}

// jsonTypes are the warehouses' own names of types whose text is JSON.
func isJSONField(f arrow.Field) bool {
	if e, ok := f.Type.(arrow.ExtensionType); ok {
		return e.ExtensionName() == "arrow.json"
	}
	switch f.Type.ID() {
	case arrow.STRING, arrow.LARGE_STRING, arrow.STRING_VIEW:
	default:
		return false
	}
	for _, key := range []string{source.MetaType, "ARROW:extension:name"} {
		k := f.Metadata.FindKey(key)
		if k < 0 {
			continue
		}
		switch strings.ToLower(f.Metadata.Values()[k]) {
		case "json", "jsonb", "variant", "object", "array", "super", "arrow.json":
			return true
		}
	}
	return false
}

// typeName answers a column's type for messages: the warehouse's own name where it is known.
func typeName(f arrow.Field) string {
	if k := f.Metadata.FindKey(source.MetaType); k >= 0 {
		return f.Metadata.Values()[k]
	}
	return f.Type.String()
}

// flowOf answers the beginning of a column's way: plain types without dictionaries, views, odd widths and zones.
func (c *compiler) flowOf(f arrow.Field) (flow, mend) {
	if e, ok := f.Type.(arrow.ExtensionType); ok {
		json := isJSONField(f)
		f.Type = e.StorageType()
		fl, m := c.flowOf(f)
		fl.ops = append([]op{storage}, fl.ops...)
		if json && fl.class == classText {
			fl.class = classJSON
		}
		return fl, m
	}
	fl := flow{class: classText, typ: utf8Type()}
	if isJSONField(f) {
		fl.class = classJSON
	}
	switch t := f.Type.(type) {
	case *arrow.StringType:
		return fl, mend{}
	case *arrow.LargeStringType, *arrow.StringViewType:
		fl.then(fl.class, utf8Type(), plainText)
	case *arrow.BinaryType, *arrow.LargeBinaryType, *arrow.FixedSizeBinaryType, *arrow.BinaryViewType,
		*arrow.Time32Type, *arrow.Time64Type, *arrow.NullType:
		fl.then(classText, utf8Type(), renderedText)
	case *arrow.Int64Type:
		fl.then(classInteger, int64Type(), nil)
	case *arrow.Int8Type, *arrow.Int16Type, *arrow.Int32Type, *arrow.Uint8Type, *arrow.Uint16Type, *arrow.Uint32Type, *arrow.Uint64Type:
		fl.then(classInteger, int64Type(), widenInteger)
	case *arrow.Float64Type:
		fl.then(classFloat, float64Type(), nil)
	case *arrow.Float32Type, *arrow.Float16Type:
		fl.then(classFloat, float64Type(), widenFloat)
	case *arrow.BooleanType:
		fl.then(classBoolean, boolType(), nil)
	case *arrow.Decimal128Type:
		fl.then(classDecimal, t, nil)
	case *arrow.Decimal32Type, *arrow.Decimal64Type, *arrow.Decimal256Type:
		d := t.(arrow.DecimalType) //nolint:forcetypeassert // by the case
		if d.GetPrecision() > maxPrecision {
			fl.then(classDecimal, &arrow.Decimal128Type{Precision: maxPrecision, Scale: d.GetScale()}, widenDecimal)
			break
		}
		fl.then(classDecimal, &arrow.Decimal128Type{Precision: d.GetPrecision(), Scale: d.GetScale()}, widenDecimal)
	case *arrow.TimestampType:
		fl.then(classInstant, instantType(t.Unit), c.toUTC(t))
	case *arrow.Date32Type:
		fl.then(classDate, date32(), nil)
	case *arrow.Date64Type:
		fl.then(classDate, date32(), narrowDate)
	case *arrow.DictionaryType:
		inner, m := c.flowOf(arrow.Field{Type: t.ValueType, Metadata: f.Metadata})
		if m.bad() || inner.class != classText {
			return fl, mend{"is a dictionary of " + t.ValueType.String(), "cast it in SQL"}
		}
		fl.then(fl.class, utf8Type(), dictionaryText)
	case *arrow.MapType:
		fl.then(classJSON, utf8Type(), jsonText(f))
	case *arrow.StructType, *arrow.ListType, *arrow.LargeListType, *arrow.FixedSizeListType:
		return c.nested(f)
	default:
		return fl, mend{"is of type " + typeName(f) + ", which records cannot hold", "cast it in SQL, or ignore it"}
	}
	return fl, mend{}
}

const maxPrecision = 38

// nested answers the way of a list or struct column. Its inner values become plain in one op.
func (c *compiler) nested(f arrow.Field) (flow, mend) {
	p, m := c.plain(f.Type)
	if m.bad() {
		return flow{class: classJSON, typ: utf8Type()}, m
	}
	k := classList
	if f.Type.ID() == arrow.STRUCT {
		k = classStruct
	}
	if p.make == nil {
		return flow{class: k, typ: p.typ}, mend{}
	}
	return flow{class: k, typ: p.typ, ops: []op{func(_ *call, in arrow.Array) arrow.Array { return p.make(in) }}}, mend{}
}
