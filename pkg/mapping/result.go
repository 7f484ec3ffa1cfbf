package mapping

import (
	"encoding/base64"
	"errors"
	"math"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"cel.dev/cel-go/interpreter"
	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/bitutil"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"millrace.dev/pkg/record"
)

const (
	cannotEvaluate = "the expression cannot be evaluated for this row's values"
	costsTooMuch   = "the expression costs more than one may for this row's values"
	notThatType    = "the expression's result is of another type than it was compiled to"
)

// sink takes the results of an expression, row by row, and makes a column of them.
type sink interface {
	put(i int, v ref.Val)
	null(i int)
	array() arrow.Array
}

// eval answers the expression's results for the rows of c. What meets NULL where it needs a value is NULL, and so is a
// member that a JSON value does not have.
func (e *expression) eval(c *call) arrow.Array {
	view := &rowView{columns: map[int]arrow.Array{}}
	for _, u := range e.uses {
		col := c.rec.Column(u.at)
		for _, o := range u.flow.ops {
			col = o(c, col)
		}
		switch u.flow.class {
		case classJSON:
			col = &jsonColumn{col, arrow.Field{Type: col.DataType(), Metadata: jsonMeta()}}
		case classList, classStruct:
			col = &jsonColumn{col, arrow.Field{Type: col.DataType()}}
		}
		view.columns[u.at] = col
	}
	out := e.put(c, e.round, c.n)
	seen := e.known(view)
	for i := range c.n {
		view.i, view.lost = i, false
		v, err := seen.of(view, e.program)
		e.take(c, view, out, v, err)
	}
	return out.array()
}

// take puts a result, or makes the row a reject.
func (e *expression) take(c *call, view *rowView, out sink, v ref.Val, err error) {
	i := view.i
	switch {
	case err != nil:
		out.null(i)
		if !e.metNull(view, err) {
			c.fail(i, reasonOf(err))
		}
	case view.lost && !e.round:
		out.null(i)
		c.fail(i, losesNumber)
	case v == nil || v.Type() == types.NullType:
		out.null(i)
	default:
		if view.lost {
			c.tally.Rounded++
		}
		out.put(i, v)
	}
}

// known keeps the results of an expression of one text column by the column's value: expressions are pure, and such
// columns often have few values. Without such a column it keeps nothing.
type known struct {
	texts  *array.String
	values map[string]result
}

type result struct {
	v   ref.Val
	err error
}

// maxRemembered bounds a known.
const maxRemembered = 1024

func (e *expression) known(view *rowView) known {
	if len(e.uses) != 1 {
		return known{}
	}
	s, ok := view.columns[e.uses[0].at].(*array.String)
	if !ok {
		return known{}
	}
	return known{texts: s, values: map[string]result{}}
}

// of answers the result for the row of the view.
func (m known) of(view *rowView, p cel.Program) (ref.Val, error) {
	if m.texts == nil || m.texts.IsNull(view.i) {
		v, _, err := p.Eval(view)
		return v, err //nolint:wrapcheck // only its kind is looked at
	}
	key := m.texts.Value(view.i)
	if r, ok := m.values[key]; ok {
		return r.v, r.err
	}
	v, _, err := p.Eval(view)
	if len(m.values) < maxRemembered {
		m.values[key] = result{v, err}
	}
	return v, err //nolint:wrapcheck // only its kind is looked at
}

// metNull says whether an evaluation failed because a function met NULL, or a member that JSON does not have, which is
// NULL too. CEL has no sentinels for these.
func (e *expression) metNull(view *rowView, err error) bool {
	text := err.Error()
	if strings.HasPrefix(text, "no such key") {
		return true
	}
	if !strings.HasPrefix(text, "no such overload") && !strings.HasPrefix(text, "got 'types.Null'") {
		return false
	}
	for _, u := range e.uses {
		if !view.valid(u.at) {
			return true
		}
	}
	return false
}

func reasonOf(err error) string {
	var cancelled interpreter.EvalCancelledError
	if errors.As(err, &cancelled) && cancelled.Cause == interpreter.CostLimitExceeded {
		return costsTooMuch
	}
	return cannotEvaluate
}

// resultOf answers the flow that results of a CEL type begin, and the sink that takes them. Results whose type is known
// only when they are there need a type in the rule.
func resultOf(t *cel.Type, want string) (flow, func(c *call, round bool, n int) sink, mend) {
	var fl flow
	switch t.Kind() {
	case types.StringKind, types.BytesKind:
		fl.then(classText, utf8Type(), nil)
	case types.IntKind, types.UintKind:
		fl.then(classInteger, int64Type(), nil)
	case types.DoubleKind:
		fl.then(classFloat, float64Type(), nil)
	case types.BoolKind:
		fl.then(classBoolean, boolType(), nil)
	case types.TimestampKind:
		fl.then(classInstant, instantType(arrow.Microsecond), nil)
	case types.ListKind, types.MapKind:
		fl.then(classJSON, utf8Type(), nil)
	case types.DynKind, types.AnyKind:
		switch want {
		case asIs:
			return fl, nil, mend{"has a result whose type is known only row by row", "say what it is to become by type:"}
		case "json":
			fl.then(classJSON, utf8Type(), nil)
		default:
			fl.then(classText, utf8Type(), nil)
		}
	case types.NullTypeKind:
		return fl, nil, mend{"is always null", "give it a value"}
	default:
		return fl, nil, mend{"has a result of type " + t.String() + ", which records cannot hold", "convert it, as in string(…) or int(…)"}
	}
	k := fl.class
	return fl, func(c *call, round bool, n int) sink { return newSink(c, k, round, n) }, mend{}
}

func newSink(c *call, k class, round bool, n int) sink {
	b := base{c: c, valid: make([]byte, bitutil.CeilByte(n)/8), n: n, round: round}
	switch k {
	case classInteger:
		return &fixedSink[int64]{base: b, typ: int64Type(), values: make([]int64, n), of: integerOf}
	case classFloat:
		return &fixedSink[float64]{base: b, typ: float64Type(), values: make([]float64, n), of: floatOf}
	case classInstant:
		return &fixedSink[arrow.Timestamp]{base: b, typ: instantType(arrow.Microsecond), values: make([]arrow.Timestamp, n), of: instantOf}
	case classBoolean:
		return &boolSink{base: b, bits: make([]byte, bitutil.CeilByte(n)/8)}
	}
	return &textSink{base: b, texts: newTexts(n, 16*n), json: k == classJSON}
}

type base struct {
	c     *call
	valid []byte
	nulls int
	n     int
	round bool
}

func (b *base) null(int) { b.nulls++ }

// validity answers the bitmap of what was put.
func (b *base) validity() *memory.Buffer {
	if b.nulls == 0 {
		return nil
	}
	return memory.NewBufferBytes(b.valid)
}

type fixedSink[T arrow.FixedWidthType] struct {
	base
	typ    arrow.DataType
	values []T
	of     func(b *base, i int, v ref.Val) (T, bool)
}

func (s *fixedSink[T]) put(i int, v ref.Val) {
	x, ok := s.of(&s.base, i, v)
	if !ok {
		s.c.fail(i, notThatType)
	}
	s.values[i] = x
	bitutil.SetBit(s.valid, i)
}

func (s *fixedSink[T]) array() arrow.Array {
	buffers := []*memory.Buffer{s.validity(), memory.NewBufferBytes(arrow.GetBytes(s.values))}
	return array.MakeFromData(array.NewData(s.typ, s.n, buffers, nil, s.nulls, 0))
}

func integerOf(_ *base, _ int, v ref.Val) (int64, bool) {
	switch v := v.(type) {
	case types.Int:
		return int64(v), true
	case types.Uint:
		return int64(v), v <= math.MaxInt64 //nolint:gosec // checked beside it
	}
	return 0, false
}

func floatOf(_ *base, _ int, v ref.Val) (float64, bool) {
	d, ok := v.(types.Double)
	return float64(d), ok
}

func instantOf(b *base, i int, v ref.Val) (arrow.Timestamp, bool) {
	t, ok := v.(types.Timestamp)
	if !ok {
		return 0, false
	}
	return arrow.Timestamp(b.c.micros(i, t.Time, b.round)), true
}

type boolSink struct {
	base
	bits []byte
}

func (s *boolSink) put(i int, v ref.Val) {
	b, ok := v.(types.Bool)
	if !ok {
		s.c.fail(i, notThatType)
	}
	bitutil.SetBitTo(s.bits, i, bool(b))
	bitutil.SetBit(s.valid, i)
}

func (s *boolSink) array() arrow.Array {
	buffers := []*memory.Buffer{s.validity(), memory.NewBufferBytes(s.bits)}
	return array.MakeFromData(array.NewData(boolType(), s.n, buffers, nil, s.nulls, 0))
}

type textSink struct {
	base
	*texts
	json bool
}

func (s *textSink) put(i int, v ref.Val) {
	var ok bool
	if t, text := v.(types.String); text && !s.json {
		s.data, ok = append(s.data, t...), true
	} else {
		s.data, ok = appendValue(s.data, v, !s.json)
	}
	if !ok {
		s.c.fail(i, notThatType)
	}
	s.end()
}

func (s *textSink) null(int) { s.texts.null() }

func (s *textSink) array() arrow.Array { return s.texts.array() }

// appendValue appends a CEL value as JSON; `bare` leaves the quotes of texts, instants and bytes out.
func appendValue(dst []byte, v ref.Val, bare bool) ([]byte, bool) {
	text := func(s string) []byte {
		if bare {
			return append(dst, s...)
		}
		return record.AppendString(dst, s)
	}
	switch v := v.(type) {
	case types.Null:
		return append(dst, "null"...), true
	case types.String:
		return text(string(v)), true
	case types.Int:
		return record.AppendInt(dst, int64(v)), true
	case types.Double:
		return record.AppendFloat(dst, float64(v)), true
	case types.Bool:
		if v {
			return append(dst, "true"...), true
		}
		return append(dst, "false"...), true
	case types.Timestamp:
		return text(v.UTC().Format(time.RFC3339Nano)), true
	case types.Bytes:
		return text(base64.StdEncoding.EncodeToString(v)), true
	case traits.Mapper:
		return appendMapper(dst, v)
	case traits.Lister:
		return appendLister(dst, v)
	}
	if u, ok := v.(types.Uint); ok && u <= math.MaxInt64 {
		return record.AppendInt(dst, int64(u)), true //nolint:gosec // checked on the line above
	}
	return dst, false
}

func appendLister(dst []byte, l traits.Lister) ([]byte, bool) {
	dst = append(dst, '[')
	first := true
	for it := l.Iterator(); it.HasNext() == types.True; first = false {
		if !first {
			dst = append(dst, ',')
		}
		var ok bool
		if dst, ok = appendValue(dst, it.Next(), false); !ok {
			return dst, false
		}
	}
	return append(dst, ']'), true
}

func appendMapper(dst []byte, m traits.Mapper) ([]byte, bool) {
	dst = append(dst, '{')
	first := true
	for it := m.Iterator(); it.HasNext() == types.True; first = false {
		key := it.Next()
		name, ok := key.(types.String)
		if !ok {
			return dst, false
		}
		if !first {
			dst = append(dst, ',')
		}
		dst = append(record.AppendString(dst, string(name)), ':')
		if dst, ok = appendValue(dst, m.Get(key), false); !ok {
			return dst, false
		}
	}
	return append(dst, '}'), true
}
