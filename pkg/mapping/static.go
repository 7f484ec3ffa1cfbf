package mapping

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"millrace.dev/pkg/record"
)

// constant answers a value of a document as a column of one row.
func (c *compiler) constant(v any, at string) (arrow.Array, flow, bool) {
	fl := flow{class: classText, typ: utf8Type()}
	var col arrow.Array
	switch v := v.(type) {
	case nil:
		col = nullColumn(utf8Type(), 1)
	case string:
		col = textArray(v)
	case bool:
		b := array.NewBooleanBuilder(memory.DefaultAllocator)
		b.Append(v)
		col, fl = b.NewArray(), flow{class: classBoolean, typ: boolType()}
	case int64:
		col, fl = fixed(int64Type(), []int64{v}, textArray("")), flow{class: classInteger, typ: int64Type()}
	case float64:
		col, fl = fixed(float64Type(), []float64{v}, textArray("")), flow{class: classFloat, typ: float64Type()}
	case []any, map[string]any:
		text, err := json.Marshal(v)
		if err != nil {
			c.fault(at, "has a value that JSON cannot hold", "use text, numbers, booleans, lists and objects of them")
			return nil, fl, false
		}
		col, fl.class = textArray(string(text)), classJSON
	default:
		c.fault(at, fmt.Sprintf("has a value of an unknown kind (%T)", v), "use text, a number, a boolean, a list or an object")
		return nil, fl, false
	}
	for _, b := range col.Data().Buffers() {
		if b != nil {
			c.statics += b.Len()
		}
	}
	if c.statics > c.limits.StaticBytes {
		c.fault(at, fmt.Sprintf("makes static values longer than %d bytes in all", c.limits.StaticBytes), "shorten them")
		return nil, fl, false
	}
	return col, fl, true
}

// run applies a flow's ops to a constant.
func (fl *flow) run(col arrow.Array) (arrow.Array, string) {
	c := &call{n: 1, cur: &leaf{column: -1}}
	for _, o := range fl.ops {
		col = o(c, col)
	}
	if f := c.faults[0]; f != nil {
		return nil, f.reason
	}
	return col, ""
}

func (c *compiler) staticLeaf(a assignment, s *spec, path string) (*leaf, bool) {
	at := a.at + ".static"
	if s.identity {
		c.fault(at, "would give every row one identity, "+path, "map a column")
		return nil, false
	}
	col, fl, ok := c.constant(a.rule.Static, at)
	if !ok {
		return nil, false
	}
	if m := c.convertTo(&fl, wanted(a, s, fl), a); m.bad() {
		c.fault(at, m.what+" ("+path+")", m.fix)
		return nil, false
	}
	one, reason := fl.run(col)
	if reason != "" {
		c.fault(at, reason+" ("+path+")", "mend the value")
		return nil, false
	}
	if !c.isWord(one, s) {
		c.fault(at, "is none of the words of "+path, "use one of "+strings.Join(s.words, ", "))
		return nil, false
	}
	l := &leaf{path: path, rule: a.at, column: -1, member: -1, static: one}
	c.finish(l, fl, a)
	return l, true
}

func (c *compiler) isWord(one arrow.Array, s *spec) bool {
	text, ok := one.(*array.String)
	return s.form != formWords || !ok || text.IsNull(0) || slices.Contains(s.words, text.Value(0))
}

func (c *compiler) staticOpen(a assignment, path string) (*leaf, bool) {
	at := a.at + ".static"
	if _, ok := a.rule.Static.(map[string]any); !ok {
		c.fault(at, path+" is an object, and the value is none", "give an object, or map to a field of it")
		return nil, false
	}
	col, fl, ok := c.constant(a.rule.Static, at)
	if !ok {
		return nil, false
	}
	fl.then(classJSON, utf8Type(), canonicalJSON(true))
	one, reason := fl.run(col)
	if reason != "" {
		c.fault(at, reason, "give an object")
		return nil, false
	}
	l := &leaf{path: path, rule: a.at, column: -1, member: -1, static: one}
	c.finish(l, fl, a)
	l.open = true
	return l, true
}

// defaultTo appends the default as the value of NULLs.
func (c *compiler) defaultTo(fl *flow, a assignment, want string, s *spec) bool {
	at := a.at + ".default"
	if s.identity {
		c.fault(at, "would give many rows one identity", "leave it out: rows without this identity have none")
		return false
	}
	col, from, ok := c.constant(a.rule.Default, at)
	if !ok {
		return false
	}
	if col.IsNull(0) {
		c.fault(at, "is null, which NULLs are already", "leave it out")
		return false
	}
	one, m := c.fit(col, from, *fl, want)
	if m.bad() {
		c.fault(at, m.what, m.fix)
		return false
	}
	if !c.isWord(one, s) {
		c.fault(at, "is none of the words of "+s.name, "use one of "+strings.Join(s.words, ", "))
		return false
	}
	fl.ops = append(fl.ops, func(_ *call, in arrow.Array) arrow.Array { return fill(one, in) })
	return true
}

// fit makes a constant of the type of the column whose NULLs it replaces.
func (c *compiler) fit(col arrow.Array, from, to flow, want string) (arrow.Array, mend) {
	bad := mend{"does not fit, the field is " + to.class.String(), "give a value of that kind"}
	switch to.class {
	case classDecimal:
		return fitDecimal(col, from, to.typ, bad)
	case classInstant, classDate:
		return c.fitInstant(col, from, to, bad)
	case classList, classStruct:
		return nil, mend{"has no meaning for " + to.class.String(), "leave it out"}
	}
	if want == asIs || want == canonical {
		want = map[class]string{
			classText: "string", classInteger: "integer", classFloat: "number", classBoolean: "boolean", classJSON: "json",
		}[to.class]
	}
	if want == "json" && from.class == classText {
		from.ops = append(from.ops, jsonText(arrow.Field{Type: utf8Type()}))
	}
	if m := c.convertOne(&from, want, false); m.bad() {
		return nil, m
	}
	one, reason := from.run(col)
	if reason != "" {
		return nil, mend{reason, "mend the value"}
	}
	if !arrow.TypeEqual(one.DataType(), to.typ) {
		return nil, bad
	}
	return one, mend{}
}

func fitDecimal(col arrow.Array, from flow, t arrow.DataType, bad mend) (arrow.Array, mend) {
	from.toString()
	text, _ := from.run(col)
	d := t.(*arrow.Decimal128Type) //nolint:forcetypeassert // by the class
	s := text.(*array.String).Value(0)
	n, ok := parseDecimal(s)
	if !ok || n.exponent < -int(d.Scale) || len(n.digits)+n.exponent+int(d.Scale) > int(d.Precision) {
		return nil, bad
	}
	digits := n.digits + strings.Repeat("0", n.exponent+int(d.Scale))
	v, err := decimal128.FromString(digits, d.Precision, 0)
	if digits == "" {
		v, err = decimal128.Num{}, nil
	}
	if err != nil {
		return nil, bad
	}
	if n.negative {
		v = v.Negate()
	}
	return fixed(t, []decimal128.Num{v}, textArray("")), mend{}
}

func (c *compiler) fitInstant(col arrow.Array, from, to flow, bad mend) (arrow.Array, mend) {
	text, ok := col.(*array.String)
	if !ok || from.class != classText {
		return nil, bad
	}
	at, ok := parseInstant(text.Value(0), c.zone)
	if !ok {
		return nil, mend{notInstant, "mend the value"}
	}
	if to.class == classDate {
		day, err := time.Parse(time.DateOnly, text.Value(0))
		if err != nil {
			return nil, mend{"is no date", "write it as 2026-01-31"}
		}
		return fixed(to.typ, []arrow.Date32{arrow.Date32FromTime(day)}, textArray("")), mend{}
	}
	unit := to.typ.(*arrow.TimestampType).Unit //nolint:forcetypeassert // by the class
	v, err := arrow.TimestampFromTime(at, unit)
	if err != nil {
		return nil, bad
	}
	return fixed(to.typ, []arrow.Timestamp{v}, textArray("")), mend{}
}

// meta answers the metadata of a leaf's field.
func (l *leaf) meta() arrow.Metadata {
	var keys, values []string
	set := func(k, v string) { keys, values = append(keys, k), append(values, v) }
	if l.clears {
		set(record.MetaOnNull, "clear")
	}
	if l.open {
		set(record.MetaOpen, "true")
	} else if l.json {
		set(record.MetaJSON, "true")
	}
	return arrow.NewMetadata(keys, values)
}
