package sharing

import (
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/source/sqltext"
)

// fit answers a file's batch of n rows under the described schema: partition columns have the file's values, columns that
// the file has not are NULL. The caller releases it.
func (q *query) fit(mem memory.Allocator, f *listed, b arrow.RecordBatch, n int64) (arrow.RecordBatch, error) {
	columns := make([]arrow.Array, 0, len(q.names))
	defer func() {
		for _, c := range columns {
			c.Release()
		}
	}()
	for i, name := range q.names {
		c, err := q.column(mem, i, f, columnOf(b, name), int(n))
		if err != nil {
			return nil, err
		}
		columns = append(columns, c)
	}
	return array.NewRecordBatch(q.schema, columns, n), nil
}

// columnOf answers the batch's column of a name, nil where it has none.
func columnOf(b arrow.RecordBatch, name string) arrow.Array {
	if b == nil {
		return nil
	}
	for i, f := range b.Schema().Fields() {
		if strings.EqualFold(f.Name, name) {
			return b.Column(i)
		}
	}
	return nil
}

func (q *query) column(mem memory.Allocator, i int, f *listed, c arrow.Array, n int) (arrow.Array, error) {
	t := q.schema.Field(i).Type
	if v, ok := f.partitionOf(q.names[i]); ok {
		return constant(mem, t, v, n)
	}
	if c == nil {
		return array.MakeArrayOfNull(mem, t, n), nil
	}
	if e, ok := c.(array.ExtensionArray); ok {
		c = e.Storage()
	}
	if q.deep[i] != nil {
		return texts(mem, q.deep[i], c)
	}
	out := convert(mem, c, t)
	if out == nil {
		return nil, fault.New(fault.Precondition, fault.ReasonQueryInvalid, "column %s comes as %s in a file, and the table says %s; have the provider mend the table", sqltext.Quote(q.names[i]), c.DataType(), t)
	}
	return out, nil
}

// partitionOf answers a file's value of a partition column, nil for NULL, and whether it is one.
func (f *listed) partitionOf(name string) (*string, bool) {
	if v, ok := f.partition[name]; ok {
		return v, true
	}
	for n, v := range f.partition {
		if strings.EqualFold(n, name) {
			return v, true
		}
	}
	return nil, false
}

// constant answers n times a partition's value: as the protocol writes values of t, where no text is NULL.
func constant(mem memory.Allocator, t arrow.DataType, value *string, n int) (arrow.Array, error) {
	if value == nil || *value == "" {
		return array.MakeArrayOfNull(mem, t, n), nil
	}
	b := array.NewBuilder(mem, t)
	defer b.Release()
	b.Reserve(n)
	if err := appendValue(b, *value, n); err != nil {
		return nil, fault.New(fault.Precondition, fault.ReasonQueryInvalid, "a partition's value is no %s; have the provider mend the table", t)
	}
	return b.NewArray(), nil
}

// appendValue appends a partition's value n times.
func appendValue(b array.Builder, v string, n int) error {
	one := func() error { return b.AppendValueFromString(v) }
	switch b := b.(type) {
	case *array.StringBuilder:
		one = func() error { b.Append(v); return nil }
	case *array.BinaryBuilder:
		one = func() error { b.AppendString(v); return nil }
	case *array.TimestampBuilder:
		at, err := partitionTime(v)
		if err != nil {
			return err
		}
		one = func() error { b.Append(arrow.Timestamp(at.UnixMicro())); return nil }
	case *array.Date32Builder:
		at, err := time.Parse(time.DateOnly, v)
		if err != nil {
			return err //nolint:wrapcheck // told without it
		}
		one = func() error { b.Append(arrow.Date32FromTime(at)); return nil }
	case *array.Decimal128Builder:
		t := b.Type().(*arrow.Decimal128Type) //nolint:forcetypeassert // its type
		num, err := decimal128.FromString(v, t.Precision, t.Scale)
		if err != nil {
			return err //nolint:wrapcheck // told without it
		}
		one = func() error { b.Append(num); return nil }
	}
	for range n {
		if err := one(); err != nil {
			return err
		}
	}
	return nil
}

// partitionTime reads an instant as partitions have it: in UTC, with or without a zone.
func partitionTime(v string) (time.Time, error) {
	if at, err := time.Parse(time.RFC3339Nano, v); err == nil {
		return at, nil
	}
	return time.Parse("2006-01-02 15:04:05.999999", v) //nolint:wrapcheck // told without it
}

// convert answers c as type t where its values are the same, nil where they are not. The caller releases it.
func convert(mem memory.Allocator, c arrow.Array, t arrow.DataType) arrow.Array {
	from := c.DataType()
	if arrow.TypeEqual(from, t) {
		c.Retain()
		return c
	}
	switch to := t.(type) {
	case *arrow.TimestampType:
		return toMicros(mem, c, to)
	case *arrow.StringType, *arrow.BinaryType:
		if from.ID() == arrow.BINARY || from.ID() == arrow.STRING {
			return renamed(c, t)
		}
	case *arrow.Decimal128Type:
		if d, ok := from.(*arrow.Decimal128Type); ok && d.Scale == to.Scale && d.Precision <= to.Precision {
			return renamed(c, t)
		}
	case *arrow.Float64Type:
		return widened(mem, c, t)
	default:
		if arrow.IsInteger(t.ID()) {
			return widened(mem, c, t)
		}
	}
	return nil
}

// renamed answers the same values under another type of the same layout.
func renamed(c arrow.Array, t arrow.DataType) arrow.Array {
	d := c.Data()
	data := array.NewData(t, d.Len(), d.Buffers(), nil, d.NullN(), d.Offset())
	defer data.Release()
	return array.MakeFromData(data)
}

// toMicros answers instants in microseconds; Delta's have no more.
func toMicros(mem memory.Allocator, c arrow.Array, t *arrow.TimestampType) arrow.Array {
	ts, ok := c.(*array.Timestamp)
	if !ok {
		return nil
	}
	from := ts.DataType().(*arrow.TimestampType) //nolint:forcetypeassert // its type
	if from.Unit == t.Unit {
		return renamed(c, t)
	}
	b := array.NewTimestampBuilder(mem, t)
	defer b.Release()
	b.Reserve(ts.Len())
	for i := range ts.Len() {
		v := int64(ts.Value(i))
		switch {
		case ts.IsNull(i):
			b.AppendNull()
			continue
		case from.Unit == arrow.Nanosecond:
			if v %= 1000; v < 0 {
				v += 1000
			}
			v = (int64(ts.Value(i)) - v) / 1000
		default:
			per := int64(from.Unit.Multiplier() / time.Microsecond)
			if v > math.MaxInt64/per || v < math.MinInt64/per {
				return nil
			}
			v *= per
		}
		b.Append(arrow.Timestamp(v))
	}
	return b.NewArray()
}

// widened answers numbers of a wider type, nil where t is not wider.
func widened(mem memory.Allocator, c arrow.Array, t arrow.DataType) arrow.Array {
	width := func(t arrow.DataType) int { return t.(arrow.FixedWidthDataType).BitWidth() } //nolint:forcetypeassert // of numbers
	signed, float := arrow.IsSignedInteger(c.DataType().ID()), c.DataType().ID() == arrow.FLOAT32
	wider := signed && arrow.IsSignedInteger(t.ID()) && width(c.DataType()) < width(t) || float && t.ID() == arrow.FLOAT64
	if !wider {
		return nil
	}
	b := array.NewBuilder(mem, t)
	defer b.Release()
	b.Reserve(c.Len())
	for i := range c.Len() {
		if c.IsNull(i) {
			b.AppendNull()
			continue
		}
		switch b := b.(type) {
		case *array.Float64Builder:
			b.Append(float64(c.(*array.Float32).Value(i))) //nolint:forcetypeassert // looked at above
		default:
			n, err := strconv.ParseInt(c.ValueStr(i), 10, 64)
			if err != nil || b.AppendValueFromString(strconv.FormatInt(n, 10)) != nil {
				return nil
			}
		}
	}
	return b.NewArray()
}
