package profile

import (
	"strconv"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"millrace.dev/pkg/id"
	"millrace.dev/pkg/record"
)

// RuleAttributeType is the rule of the rejects of rows whose attribute is of another type than it was.
const RuleAttributeType = "attribute_type"

// AttributeType is what the values of an attribute are.
type AttributeType string

// The types. An attribute has that of the first column that brought it.
const (
	TypeText      AttributeType = "string"
	TypeInteger   AttributeType = "integer"
	TypeDecimal   AttributeType = "decimal"
	TypeNumber    AttributeType = "number"
	TypeBoolean   AttributeType = "boolean"
	TypeTimestamp AttributeType = "timestamp"
	TypeDate      AttributeType = "date"
	TypeJSON      AttributeType = "json" // lists and objects
)

// OnConflict says what becomes of an attribute that comes with another type than it has.
type OnConflict string

// The policies.
const (
	ConflictWiden  OnConflict = "widen"  // its type becomes the narrowest that holds both; at worst text
	ConflictReject OnConflict = "reject" // the row is refused
	ConflictText   OnConflict = "text"   // the value is kept as text, the type stays
)

// TypeWrite gives an attribute a type, where it still has the type From; empty: none.
type TypeWrite struct {
	Name     string
	From, To AttributeType
}

// Typing says what the attribute columns of a batch do to the types of attributes, and these to them. The zero value
// leaves all values as they are.
type Typing struct {
	Writes  []TypeWrite // to be made before values are written
	become  map[string]AttributeType
	refused map[string]AttributeType
}

// TypingOf answers what happens to the attributes of b where they have these types. Columns without a value have no say,
// nor have members of a JSON object that is opened. Of those the contract says that the column "opens its top level into
// fields": its text is opened where the row is written, and a member has the type that JSON gives it in that row, so that
// only reading every row could tell, before any is decided, which types a batch brings.
func TypingOf(b record.Batch, types map[string]AttributeType, policy OnConflict) Typing {
	var t Typing
	if b.Record == nil || b.Kind.Single() {
		return t
	}
	body, ok := b.Record.Column(record.PosBody).(*array.Struct)
	if !ok {
		return t
	}
	fields := body.DataType().(*arrow.StructType).Fields() //nolint:forcetypeassert // a struct array has a struct type
	for k, f := range fields {
		if col := body.Field(k); !record.IsOpen(f) && col.NullN() < col.Len() {
			t.add(f.Name, types[f.Name], typeOf(f), policy)
		}
	}
	return t
}

func (t *Typing) add(name string, has, comes AttributeType, policy OnConflict) {
	switch {
	case has == "":
		t.Writes = append(t.Writes, TypeWrite{name, "", comes})
	case has == comes:
	case policy == ConflictReject:
		t.refused = with(t.refused, name, has)
	case policy == ConflictText:
		t.become = with(t.become, name, TypeText)
	default:
		both := widest(has, comes)
		if both != has {
			t.Writes = append(t.Writes, TypeWrite{name, has, both})
		}
		t.become = with(t.become, name, both)
	}
}

func with(m map[string]AttributeType, name string, t AttributeType) map[string]AttributeType {
	if m == nil {
		m = map[string]AttributeType{}
	}
	m[name] = t
	return m
}

// widest answers the narrowest type that holds the values of both.
func widest(a, b AttributeType) AttributeType {
	rank := map[AttributeType]int{TypeInteger: 1, TypeDecimal: 2, TypeNumber: 3}
	day := map[AttributeType]bool{TypeDate: true, TypeTimestamp: true}
	switch {
	case a == b:
		return a
	case rank[a] > 0 && rank[b] > rank[a]:
		return b
	case rank[b] > 0 && rank[a] > rank[b]:
		return a
	case day[a] && day[b]:
		return TypeTimestamp
	}
	return TypeText
}

// typeOf answers the type of an attribute column.
func typeOf(f arrow.Field) AttributeType {
	switch t := f.Type.(type) {
	case *arrow.DictionaryType:
		f.Type = t.ValueType
		return typeOf(f)
	case arrow.ExtensionType:
		f.Type = t.StorageType()
		return typeOf(f)
	}
	switch k := f.Type.ID(); {
	case arrow.IsInteger(k):
		return TypeInteger
	case arrow.IsFloating(k):
		return TypeNumber
	case arrow.IsDecimal(k):
		return TypeDecimal
	case k == arrow.BOOL:
		return TypeBoolean
	case k == arrow.TIMESTAMP:
		return TypeTimestamp
	case k == arrow.DATE32, k == arrow.DATE64:
		return TypeDate
	case arrow.IsNested(k), record.IsJSON(f):
		return TypeJSON
	}
	return TypeText
}

// apply lets the columns that take another type be converted, and answers those that are refused.
func (t *Typing) apply(fs fields, body *array.Struct) []refusedColumn {
	if len(t.become) == 0 && len(t.refused) == 0 {
		return nil
	}
	var out []refusedColumn
	for k, f := range body.DataType().(*arrow.StructType).Fields() { //nolint:forcetypeassert // a struct array has a struct type
		if has, ok := t.refused[f.Name]; ok && !record.IsOpen(f) {
			out = append(out, refusedColumn{f.Name, has, typeOf(f), body.Field(k)})
		}
		to, ok := t.become[f.Name]
		if !ok || fs[k].value == nil || typeOf(f) == to {
			continue
		}
		plain := fs[k].value
		fs[k].object = false
		fs[k].value = func(dst []byte, i int) []byte {
			r := reader{b: plain(nil, i)}
			return AppendValue(dst, r.value(0).as(to))
		}
	}
	return out
}

// refusedColumn is an attribute column whose values are of another type than the attribute.
type refusedColumn struct {
	name       string
	has, comes AttributeType
	col        arrow.Array
}

// mistyped refuses the row at i where it has a value of a type that its attribute may not have.
func (d *decider) mistyped(i int, key id.Row, v Version) bool {
	for _, c := range d.refused {
		if c.col.IsNull(i) {
			continue
		}
		d.refuse(i, key, v)
		r := &d.eff.Rejects[len(d.eff.Rejects)-1]
		r.Column, r.Rule = c.name, RuleAttributeType
		r.Reason = "attribute " + c.name + " is of type " + string(c.has) + " and comes as " + string(c.comes) + "; give the rule type: " + string(c.has)
		return true
	}
	return false
}

// as answers v as a value of a wider type.
func (v Value) as(t AttributeType) Value {
	switch {
	case t == TypeText && v.Kind != String && v.Kind != Cleared:
		if text := v.text(); text != "" {
			return Value{Kind: String, Text: text}
		}
		return Value{Kind: String, Text: string(v.AppendJSON(nil))}
	case t == TypeDecimal && v.Kind == Int:
		return Value{Kind: Decimal, Text: strconv.FormatInt(v.Int, 10)}
	case t == TypeNumber && v.Kind == Int:
		return Value{Kind: Float, Float: float64(v.Int)}
	case t == TypeNumber && v.Kind == Decimal:
		if f, err := strconv.ParseFloat(v.Text, 64); err == nil {
			return Value{Kind: Float, Float: f}
		}
	case t == TypeTimestamp && v.Kind == Date:
		return Value{Kind: Instant, Int: v.Int * secondsPerDay}
	}
	return v
}

const secondsPerDay = 24 * 60 * 60
