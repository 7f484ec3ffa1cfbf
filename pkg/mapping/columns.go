package mapping

import (
	"math"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/bitutil"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// call is one Apply: the rows, and what is found wrong with them.
type call struct {
	rec    arrow.RecordBatch
	n      int
	cur    *leaf // whose ops run
	faults map[int]*rowFault
	texts  map[int]*array.String // canonical text of columns, by column
	tally  Tally
	until  int64 // no event is later, in milliseconds
}

// rowFault is why a row is no record: the first fault, and others in the text.
type rowFault struct {
	column, rule, reason string
	more                 int
}

const maxMore = 4

// fail makes row i a reject. The reason has no value in it.
func (c *call) fail(i int, reason string) {
	c.failAt(i, c.cur.source, c.cur.rule, reason)
}

func (c *call) failAt(i int, column, rule, reason string) {
	if c.faults == nil {
		c.faults = map[int]*rowFault{}
	}
	f, ok := c.faults[i]
	if !ok {
		c.faults[i] = &rowFault{column: column, rule: rule, reason: reason}
		return
	}
	if f.more++; f.more <= maxMore && f.column != column {
		f.reason += "; " + column + ": " + reason
	}
}

// texts builds a text column value by value: append to data, then end or null.
type texts struct {
	data    []byte
	offsets []int32
	valid   []byte // nil: no NULL yet
	nulls   int
}

func newTexts(n, bytes int) *texts {
	return &texts{data: make([]byte, 0, bytes), offsets: append(make([]int32, 0, n+1), 0)}
}

// start answers where the value under work begins in data.
func (t *texts) start() int { return int(t.offsets[len(t.offsets)-1]) }

// end ends the value under work. Columns are bounded far below what offsets can hold, see Limits and the payload cap.
func (t *texts) end() {
	i := len(t.offsets) - 1
	t.offsets = append(t.offsets, int32(min(len(t.data), math.MaxInt32))) //nolint:gosec // bounded on the line
	if t.valid != nil {
		bitutil.SetBit(t.valid, i)
	}
}

// null drops what was appended for the value under work and makes it NULL.
func (t *texts) null() {
	i := len(t.offsets) - 1
	t.data = t.data[:t.start()]
	if t.valid == nil {
		t.valid = make([]byte, bitutil.CeilByte(cap(t.offsets))/8)
		bitutil.SetBitsTo(t.valid, 0, int64(i), true)
	}
	t.nulls++
	t.offsets = append(t.offsets, t.offsets[i])
}

func (t *texts) array() *array.String {
	var valid *memory.Buffer
	if t.valid != nil {
		valid = memory.NewBufferBytes(t.valid)
	}
	buffers := []*memory.Buffer{valid, memory.NewBufferBytes(arrow.Int32Traits.CastToBytes(t.offsets)), memory.NewBufferBytes(t.data)}
	return array.NewStringData(array.NewData(utf8Type(), len(t.offsets)-1, buffers, nil, t.nulls, 0))
}

// textArray answers a column of texts without NULL.
func textArray(values ...string) *array.String {
	t := newTexts(len(values), 0)
	for _, v := range values {
		t.data = append(t.data, v...)
		t.end()
	}
	return t.array()
}

// toText makes a text column of in: value appends the text at i and says whether there is one; false is NULL.
func toText(in arrow.Array, width int, value func(dst []byte, i int) ([]byte, bool)) arrow.Array {
	n := in.Len()
	t := newTexts(n, n*width)
	nulls := in.NullN() > 0
	for i := range n {
		if nulls && in.IsNull(i) {
			t.null()
			continue
		}
		var ok bool
		if t.data, ok = value(t.data, i); !ok {
			t.null()
			continue
		}
		t.end()
	}
	return t.array()
}

// validity answers in's validity from bit 0 on, nil where nothing is NULL. It may share in's memory.
func validity(in arrow.Array) *memory.Buffer {
	d := in.Data()
	switch {
	case in.NullN() == 0:
		return nil
	case in.DataType().ID() == arrow.NULL:
		return memory.NewBufferBytes(make([]byte, bitutil.CeilByte(in.Len())/8))
	case d.Offset() == 0:
		return d.Buffers()[0]
	}
	bits := make([]byte, bitutil.CeilByte(in.Len())/8)
	bitutil.CopyBitmap(in.NullBitmapBytes(), d.Offset(), in.Len(), bits, 0)
	return memory.NewBufferBytes(bits)
}

// fixed makes a column of fixed width from one value per position, NULL where in is.
func fixed[T arrow.FixedWidthType](t arrow.DataType, values []T, in arrow.Array) arrow.Array {
	buffers := []*memory.Buffer{validity(in), memory.NewBufferBytes(arrow.GetBytes(values))}
	return array.MakeFromData(array.NewData(t, len(values), buffers, nil, in.NullN(), 0))
}

// convert makes a column of fixed width by a function of each value that is not NULL.
func convert[T arrow.FixedWidthType](t arrow.DataType, in arrow.Array, value func(i int) T) arrow.Array {
	out := make([]T, in.Len())
	nulls := in.NullN() > 0
	for i := range out {
		if !nulls || in.IsValid(i) {
			out[i] = value(i)
		}
	}
	return fixed(t, out, in)
}

// booleans makes a boolean column by a function of each value that is not NULL.
func booleans(in arrow.Array, value func(i int) bool) arrow.Array {
	bits := make([]byte, bitutil.CeilByte(in.Len())/8)
	for i := range in.Len() {
		if in.IsValid(i) && value(i) {
			bitutil.SetBit(bits, i)
		}
	}
	buffers := []*memory.Buffer{validity(in), memory.NewBufferBytes(bits)}
	return array.MakeFromData(array.NewData(boolType(), in.Len(), buffers, nil, in.NullN(), 0))
}

// retype answers in's memory under another type of the same layout.
func retype(t arrow.DataType, in arrow.Array) arrow.Array {
	d := in.Data()
	return array.MakeFromData(array.NewDataWithDictionary(t, d.Len(), d.Buffers(), in.NullN(), d.Offset(), nil))
}

// masked answers in with NULL also where outer is NULL.
func masked(in, outer arrow.Array) arrow.Array {
	if outer.NullN() == 0 {
		return in
	}
	n := in.Len()
	bits := make([]byte, bitutil.CeilByte(n)/8)
	nulls := 0
	for i := range n {
		if in.IsValid(i) && outer.IsValid(i) {
			bitutil.SetBit(bits, i)
		} else {
			nulls++
		}
	}
	d := in.Data()
	if d.Offset() != 0 {
		shifted := make([]byte, bitutil.CeilByte(n+d.Offset())/8)
		bitutil.CopyBitmap(bits, 0, n, shifted, d.Offset())
		bits = shifted
	}
	buffers := append([]*memory.Buffer{memory.NewBufferBytes(bits)}, d.Buffers()[1:]...)
	return array.MakeFromData(array.NewData(in.DataType(), n, buffers, d.Children(), nulls, d.Offset()))
}

// nullColumn answers n NULLs.
func nullColumn(t arrow.DataType, n int) arrow.Array {
	return array.MakeArrayOfNull(memory.DefaultAllocator, t, n)
}

// repeat answers n times the one value of a column.
func repeat(one arrow.Array, n int) arrow.Array {
	if one.IsNull(0) {
		return nullColumn(one.DataType(), n)
	}
	return fill(one, nullColumn(one.DataType(), n))
}

// fill answers in with one's value wherever in is NULL. Both have one type: text, or of fixed width.
func fill(one, in arrow.Array) arrow.Array {
	if in.NullN() == 0 {
		return in
	}
	n := in.Len()
	if in.DataType().ID() == arrow.STRING {
		s, v := in.(*array.String), one.(*array.String).Value(0) //nolint:forcetypeassert // by the type
		t := newTexts(n, len(s.ValueBytes())+in.NullN()*len(v))
		for i := range n {
			if s.IsNull(i) {
				t.data = append(t.data, v...)
			} else {
				t.data = append(t.data, s.Value(i)...)
			}
			t.end()
		}
		return t.array()
	}
	if b, ok := in.(*array.Boolean); ok {
		v := one.(*array.Boolean).Value(0) //nolint:forcetypeassert // by the type
		bits := make([]byte, bitutil.CeilByte(n)/8)
		for i := range n {
			if b.IsValid(i) && b.Value(i) || b.IsNull(i) && v {
				bitutil.SetBit(bits, i)
			}
		}
		return array.MakeFromData(array.NewData(boolType(), n, []*memory.Buffer{nil, memory.NewBufferBytes(bits)}, nil, 0, 0))
	}
	width := in.DataType().(arrow.FixedWidthDataType).Bytes() //nolint:forcetypeassert // by the contract
	out := make([]byte, n*width)
	copy(out, in.Data().Buffers()[1].Bytes()[in.Data().Offset()*width:])
	d := one.Data()
	value := d.Buffers()[1].Bytes()[d.Offset()*width : (d.Offset()+1)*width]
	for i := range n {
		if in.IsNull(i) {
			copy(out[i*width:], value)
		}
	}
	return array.MakeFromData(array.NewData(in.DataType(), n, []*memory.Buffer{nil, memory.NewBufferBytes(out)}, nil, 0, 0))
}
