package window

import (
	"math/big"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/resource"
)

// Axis is the iterator of one model as its column is: on it values are read, printed, compared and moved. Make it with
// NewAxis. It is immutable.
type Axis struct {
	Column string
	Type   resource.IteratorType
	// Index is the column's position in the schema.
	Index int
	// Zoned says that values are moments; otherwise they are wall-clock times, days or numbers.
	Zoned bool
	// Unit is the smallest step of an instant that the column holds.
	Unit time.Duration

	kind kind
	loc  *time.Location
}

// NewAxis answers the axis of a model's iterator in a schema. A column that is missing, not of the declared type, or of a
// type that orders no change is refused.
func NewAxis(it resource.Iterator, s *arrow.Schema) (Axis, error) {
	at := s.FieldIndices(it.Column)
	if len(at) == 0 {
		return Axis{}, fault.New(fault.Invalid, fault.ReasonIteratorInvalid, "the iterator %q is not among the selected columns; select it, or name another", it.Column)
	}
	loc, err := time.LoadLocation(it.TimeZone)
	if err != nil {
		return Axis{}, fault.New(fault.Invalid, fault.ReasonIteratorInvalid, "iterator %q: %q is no IANA time zone; write one such as Europe/Berlin", it.Column, it.TimeZone)
	}
	a := Axis{Column: it.Column, Type: it.Type, Index: at[0], Unit: 1, loc: loc}
	found, err := a.fit(s.Field(at[0]).Type)
	if err != nil {
		return Axis{}, err
	}
	if found != it.Type && (found != resource.IteratorInteger || it.Type != resource.IteratorDecimal) {
		return Axis{}, fault.New(fault.Precondition, fault.ReasonIteratorInvalid, "the iterator %q is declared %s but the column is %s; declare what it is, or cast it in the query", it.Column, it.Type, found)
	}
	return a, nil
}

// fit takes over what the column's type says and answers which iterator type it is.
func (a *Axis) fit(t arrow.DataType) (resource.IteratorType, error) {
	switch t := t.(type) {
	case *arrow.TimestampType:
		a.kind, a.Zoned, a.Unit = instant, t.TimeZone != "", t.Unit.Multiplier()
		return resource.IteratorTimestamp, nil
	case *arrow.Date32Type, *arrow.Date64Type:
		a.kind = day
		return resource.IteratorDate, nil
	case *arrow.Decimal128Type, *arrow.Decimal256Type:
		a.kind = number
		if t.(arrow.DecimalType).GetScale() <= 0 && a.Type == resource.IteratorInteger {
			return resource.IteratorInteger, nil
		}
		return resource.IteratorDecimal, nil
	}
	if arrow.IsInteger(t.ID()) {
		a.kind = number
		return resource.IteratorInteger, nil
	}
	return "", fault.New(fault.Invalid, fault.ReasonIteratorInvalid, "the iterator %q is a column of type %s, which orders no change; use a timestamp, date, integer or decimal, or cast it in the query", a.Column, t)
}

// zone answers the zone of wall-clock values.
func (a Axis) zone() *time.Location {
	if a.loc == nil {
		return time.UTC
	}
	return a.loc
}

// Value answers the value at i of the iterator's column; zero where it is NULL.
func (a Axis) Value(col arrow.Array, i int) Value {
	if col.IsNull(i) {
		return Value{}
	}
	switch c := col.(type) {
	case *array.Timestamp:
		per := int64(time.Second / a.Unit)
		raw := int64(c.Value(i))
		sec := floorDiv(raw, per)
		return Value{kind: instant, zoned: a.Zoned, sec: sec, nsec: int32((raw - sec*per) * int64(a.Unit))} //nolint:gosec // below 1e9
	case *array.Date32:
		return Value{kind: day, sec: int64(c.Value(i))}
	case *array.Date64:
		return Value{kind: day, sec: floorDiv(int64(c.Value(i)), 86400_000)}
	case *array.Decimal128:
		return Value{kind: number, num: c.Value(i).BigInt(), scale: c.DataType().(arrow.DecimalType).GetScale()}
	case *array.Decimal256:
		return Value{kind: number, num: c.Value(i).BigInt(), scale: c.DataType().(arrow.DecimalType).GetScale()}
	case *array.Uint64:
		return Value{kind: number, num: new(big.Int).SetUint64(c.Value(i))}
	}
	if at := integers(col); at != nil {
		return Value{kind: number, num: big.NewInt(at(i))}
	}
	return Value{}
}

// integers answers a reader of an integer column, nil where it is none.
func integers(col arrow.Array) func(int) int64 {
	switch c := col.(type) {
	case *array.Int8:
		return func(i int) int64 { return int64(c.Value(i)) }
	case *array.Int16:
		return func(i int) int64 { return int64(c.Value(i)) }
	case *array.Int32:
		return func(i int) int64 { return int64(c.Value(i)) }
	case *array.Int64:
		return c.Value
	case *array.Uint8:
		return func(i int) int64 { return int64(c.Value(i)) }
	case *array.Uint16:
		return func(i int) int64 { return int64(c.Value(i)) }
	case *array.Uint32:
		return func(i int) int64 { return int64(c.Value(i)) }
	}
	return nil
}

// Moment answers the moment of an instant or of a day's beginning; of two, the earlier; of a wall-clock time that the
// zone leaves out, the moment as far behind the gap's beginning. Zero time for numbers.
func (a Axis) Moment(v Value) time.Time {
	switch v.kind {
	case number, 0:
		return time.Time{}
	case day:
		v = Value{kind: instant, sec: v.sec * 86400}
	}
	if v.zoned || a.zone() == time.UTC {
		return time.Unix(v.sec, int64(v.nsec)).UTC()
	}
	return time.Unix(v.sec-offset(a.zone(), v.sec), int64(v.nsec)).UTC()
}

// offset answers the seconds by which a wall-clock time is ahead of UTC; of two, the larger one (the earlier moment); in
// a gap, the one before it.
func offset(loc *time.Location, wall int64) int64 {
	at := func(u int64) int64 {
		_, o := time.Unix(u, 0).In(loc).Zone()
		return int64(o)
	}
	const reach = 86400
	before := at(wall - reach)
	if at(wall-before) == before {
		return before
	}
	if after := at(wall + reach); at(wall-after) == after {
		return after
	}
	return before
}

// Instant answers v as nanoseconds since the Unix epoch, saturated to what an int64 holds; 0 for numbers.
func (a Axis) Instant(v Value) int64 {
	if v.kind == number || v.kind == 0 {
		return 0
	}
	t := a.Moment(v)
	return saturate(t.Unix(), int64(t.Nanosecond()))
}

// Instants answers the iterator's column as instants: timestamp[ns, UTC], saturated, NULL where the column is NULL and
// for numbers. The caller releases it.
func (a Axis) Instants(mem memory.Allocator, col arrow.Array) arrow.Array {
	b := array.NewTimestampBuilder(mem, &arrow.TimestampType{Unit: arrow.Nanosecond, TimeZone: "UTC"})
	defer b.Release()
	n := col.Len()
	b.Reserve(n)
	if a.kind == number {
		b.AppendNulls(n)
		return b.NewArray()
	}
	moving := !a.Zoned && a.zone() != time.UTC
	unit, per := int64(a.Unit), int64(time.Second/max(a.Unit, 1))
	walls := span{}
	for i := range n {
		if col.IsNull(i) {
			b.AppendNull()
			continue
		}
		var sec, nsec int64
		switch c := col.(type) {
		case *array.Timestamp:
			raw := int64(c.Value(i))
			sec = floorDiv(raw, per)
			nsec = (raw - sec*per) * unit
		case *array.Date32:
			sec = int64(c.Value(i)) * 86400
		case *array.Date64:
			sec = floorDiv(int64(c.Value(i)), 86400_000) * 86400
		}
		if moving {
			sec -= walls.offset(a.zone(), sec)
		}
		b.UnsafeAppend(arrow.Timestamp(saturate(sec, nsec)))
	}
	return b.NewArray()
}

// span is the last stretch of wall-clock times that had one offset, so that neighbours need no look-up.
type span struct{ from, to, ahead int64 }

func (s *span) offset(loc *time.Location, wall int64) int64 {
	if wall >= s.from && wall < s.to {
		return s.ahead
	}
	s.ahead = offset(loc, wall)
	start, end := time.Unix(wall-s.ahead, 0).In(loc).ZoneBounds()
	s.from, s.to = wall, wall+1
	const clear = 2 * 86400 // from a change of offset, so that no wall-clock time in between stands for two moments
	if start.IsZero() || end.IsZero() {
		return s.ahead
	}
	if from, to := start.Unix()+s.ahead+clear, end.Unix()+s.ahead-clear; wall >= from && wall < to {
		s.from, s.to = from, to
	}
	return s.ahead
}

// Below answers for each row whether its iterator is below low: bool, false where it is NULL or low is zero. The caller
// releases it.
func (a Axis) Below(mem memory.Allocator, col arrow.Array, low Value) arrow.Array {
	b := array.NewBooleanBuilder(mem)
	defer b.Release()
	n := col.Len()
	b.Reserve(n)
	edge := a.edge(low)
	ts, isTime := col.(*array.Timestamp)
	for i := range n {
		switch {
		case low.IsZero() || col.IsNull(i):
			b.UnsafeAppend(false)
		case isTime:
			b.UnsafeAppend(int64(ts.Value(i)) < edge)
		default:
			b.UnsafeAppend(a.Value(col, i).Compare(low) < 0)
		}
	}
	return b.NewArray()
}

// edge answers the least raw value of a timestamp column that is not below low.
func (a Axis) edge(low Value) int64 {
	if low.kind != instant {
		return 0
	}
	per := int64(time.Second / a.Unit)
	n := new(big.Int).Mul(big.NewInt(low.sec), big.NewInt(per))
	n.Add(n, big.NewInt((int64(low.nsec)+int64(a.Unit)-1)/int64(a.Unit)))
	if !n.IsInt64() {
		return int64(n.Sign()) * (1<<63 - 1)
	}
	return n.Int64()
}
