package mapping

import (
	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"millrace.dev/pkg/record"
)

// recordSchema answers the schema of the records.
func (p *Program) recordSchema() *arrow.Schema {
	ids := make([]arrow.Field, len(p.identities))
	for i, at := range p.identities {
		ids[i] = arrow.Field{Name: p.leaves[at].identity, Type: utf8Type(), Nullable: true}
	}
	return arrow.NewSchema([]arrow.Field{
		{Name: record.ColumnRow, Type: arrow.PrimitiveTypes.Int32},
		{Name: record.ColumnKey, Type: hashType()},
		{Name: record.ColumnHash, Type: hashType()},
		{Name: record.ColumnRecordHash, Type: hashType()},
		{Name: record.ColumnTime, Type: instantType(arrow.Nanosecond), Nullable: true},
		{Name: record.ColumnBelowLow, Type: boolType()},
		{Name: record.ColumnKeyValues, Type: utf8Type()},
		{Name: record.ColumnIdentities, Type: arrow.StructOf(ids...)},
		{Name: p.kind.Body(), Type: p.objectType(p.body)},
	}, nil)
}

// fieldOf answers the Arrow field of a node.
func fieldOf(n *node, leaves []*leaf) arrow.Field {
	f := arrow.Field{Name: n.name, Nullable: true}
	switch {
	case n.leaf > 0:
		l := leaves[n.leaf-1]
		f.Type, f.Metadata = l.typ, l.meta()
	case n.list:
		elem, _ := listElement(n, leaves)
		f.Type = arrow.ListOfField(elem)
	default:
		f.Type = objectType(n, leaves)
	}
	return f
}

func (p *Program) objectType(n *node) arrow.DataType { return objectType(n, p.leaves) }

// objectType answers the struct of an object: its fields, then what is opened into it. Data of events comes after the
// event's type.
func objectType(n *node, leaves []*leaf) arrow.DataType {
	var fields []arrow.Field
	for _, k := range inOrder(n) {
		fields = append(fields, fieldOf(k, leaves))
	}
	for _, at := range n.opens {
		fields = append(fields, arrow.Field{Name: openName(leaves[at]), Type: utf8Type(), Nullable: true, Metadata: leaves[at].meta()})
	}
	return arrow.StructOf(fields...)
}

// openName names the field that holds JSON text that is opened; the name is no member's.
func openName(l *leaf) string { return "{" + l.rule + "}" }

// inOrder answers the fields of an object, for an event its type first.
func inOrder(n *node) []*node {
	if n.spec.implied == nil || len(n.kids) < 2 || n.kids[0].name == "event_type" {
		return n.kids
	}
	return []*node{n.kids[1], n.kids[0]}
}

func (c *compiler) elementType(n *node) (arrow.Field, mend) { return listElement(n, c.leaves) }

// listElement answers the field that the elements of a list have in common.
func listElement(n *node, leaves []*leaf) (arrow.Field, mend) {
	var out arrow.Field
	for i, k := range n.kids {
		f := fieldOf(k, leaves)
		f.Name = "item"
		if i == 0 {
			out = f
			continue
		}
		var ok bool
		if out, ok = unify(out, f); !ok {
			return out, mend{"has elements of several types", "give them one by type:"}
		}
	}
	return out, mend{}
}

// unify answers the field that can hold the values of both: structs have the fields of both.
func unify(a, b arrow.Field) (arrow.Field, bool) {
	as, ok := a.Type.(*arrow.StructType)
	bs, both := b.Type.(*arrow.StructType)
	if !ok || !both {
		return a, arrow.TypeEqual(a.Type, b.Type) && a.Metadata.Equal(b.Metadata)
	}
	fields := append([]arrow.Field{}, as.Fields()...)
	for _, f := range bs.Fields() {
		at, has := as.FieldIdx(f.Name)
		if !has {
			fields = append(fields, f)
			continue
		}
		u, same := unify(fields[at], f)
		if !same {
			return a, false
		}
		fields[at] = u
	}
	a.Type = arrow.StructOf(fields...)
	return a, true
}

func (p *Program) identityColumn(values []arrow.Array, n int) arrow.Array {
	cols := make([]arrow.Array, len(p.identities))
	for i, at := range p.identities {
		cols[i] = values[at]
	}
	return structOf(p.schema.Field(record.PosIdentities).Type, cols, n, nil, 0)
}

// build answers the column of a node for n rows, of the type t, which may have fields that the node lacks.
func (p *Program) build(n *node, t arrow.DataType, values []arrow.Array, rows int) arrow.Array {
	switch {
	case n.leaf > 0:
		return values[n.leaf-1]
	case n.list:
		return p.buildList(n, t.(*arrow.ListType), values, rows) //nolint:forcetypeassert // by fieldOf
	}
	st := t.(*arrow.StructType) //nolint:forcetypeassert // by objectType
	cols := make([]arrow.Array, st.NumFields())
	for i, f := range st.Fields() {
		cols[i] = p.buildField(n, f, values, rows)
	}
	return structOf(t, cols, rows, nil, 0)
}

func (p *Program) buildField(n *node, f arrow.Field, values []arrow.Array, rows int) arrow.Array {
	if k := n.kid(f.Name); k != nil {
		return p.build(k, f.Type, values, rows)
	}
	for _, at := range n.opens {
		if openName(p.leaves[at]) == f.Name {
			return values[at]
		}
	}
	return nullColumn(f.Type, rows)
}

// buildList answers a list of the elements that have a value, row by row; NULL where none has.
func (p *Program) buildList(n *node, t *arrow.ListType, values []arrow.Array, rows int) arrow.Array {
	elements := make([]arrow.Array, len(n.kids))
	filled := make([][]int, len(n.kids))
	for i, k := range n.kids {
		elements[i] = p.build(k, t.Elem(), values, rows)
		filled[i] = leavesOf(k)
	}
	offsets := make([]int32, rows+1)
	valid := make([]bool, rows)
	var spans []span
	count, nulls := int32(0), 0
	for i := range rows {
		for e, leaves := range filled {
			if anyValid(values, leaves, i) {
				spans = appendSpan(spans, e, int64(i))
				count++
				valid[i] = true
			}
		}
		if !valid[i] {
			nulls++
		}
		offsets[i+1] = count
	}
	child := join(spans, elements)
	buffers := []*memory.Buffer{bitmap(valid), memory.NewBufferBytes(arrow.Int32Traits.CastToBytes(offsets))}
	return array.MakeFromData(array.NewData(t, rows, buffers, []arrow.ArrayData{child.Data()}, nulls, 0))
}

// span is rows that follow one another of one element's column.
type span struct {
	element  int
	from, to int64
}

func appendSpan(spans []span, element int, i int64) []span {
	if n := len(spans); n > 0 && spans[n-1].element == element && spans[n-1].to == i {
		spans[n-1].to++
		return spans
	}
	return append(spans, span{element, i, i + 1})
}

// join answers the values of the spans, one after the other.
func join(spans []span, elements []arrow.Array) arrow.Array {
	parts := make([]arrow.Array, len(spans))
	for i, s := range spans {
		parts[i] = array.NewSlice(elements[s.element], s.from, s.to)
	}
	switch len(parts) {
	case 0:
		return array.NewSlice(elements[0], 0, 0)
	case 1:
		return parts[0]
	}
	out, err := array.Concatenate(parts, memory.DefaultAllocator)
	if err != nil { // slices of columns of one type always go together
		return array.NewSlice(elements[0], 0, 0)
	}
	return out
}

func bitmap(valid []bool) *memory.Buffer {
	bits := make([]byte, (len(valid)+7)/8)
	for i, v := range valid {
		if v {
			bits[i/8] |= 1 << (i % 8)
		}
	}
	return memory.NewBufferBytes(bits)
}
