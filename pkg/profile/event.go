package profile

import (
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
)

// Fields of an event's struct, and the one of its data that its key needs.
const (
	fieldEventType = "event_type"
	fieldData      = "data"
	fieldTime      = "timestamp_unixtime_ms"
)

// eventColumns reads events by position.
type eventColumns struct {
	types func(i int) string
	data  *array.Struct
	body  fields
	times func(i int) (ms int64, ok bool)
}

func eventColumnsOf(s *array.Struct) eventColumns {
	e := eventColumns{
		types: func(int) string { return "" },
		times: func(int) (int64, bool) { return 0, false },
	}
	t := s.DataType().(*arrow.StructType) //nolint:forcetypeassert // a struct array has a struct type
	if at, ok := t.FieldIdx(fieldEventType); ok {
		e.types = textOf(s.Field(at))
	}
	at, ok := t.FieldIdx(fieldData)
	if !ok {
		return e
	}
	if e.data, ok = s.Field(at).(*array.Struct); !ok {
		return e
	}
	e.body = fieldsOf(e.data)
	if at, ok = e.data.DataType().(*arrow.StructType).FieldIdx(fieldTime); ok { //nolint:forcetypeassert // as above
		e.times = millisOf(e.data.Field(at))
	}
	return e
}

func textOf(col arrow.Array) func(i int) string {
	if c, ok := col.(*array.String); ok {
		return func(i int) string {
			if c.IsNull(i) {
				return ""
			}
			return c.Value(i)
		}
	}
	return func(i int) string {
		if col.IsNull(i) {
			return ""
		}
		return col.ValueStr(i)
	}
}

func millisOf(col arrow.Array) func(i int) (int64, bool) {
	switch c := col.(type) {
	case *array.Int64:
		return func(i int) (int64, bool) { return c.Value(i), c.IsValid(i) }
	case *array.Timestamp:
		unit := c.DataType().(*arrow.TimestampType).Unit //nolint:forcetypeassert // a timestamp array has a timestamp type
		return func(i int) (int64, bool) { return c.Value(i).ToTime(unit).UnixMilli(), c.IsValid(i) }
	}
	return func(int) (int64, bool) { return 0, false }
}

// time answers the event's time in milliseconds; the row's, given in nanoseconds, where it has none.
func (e *eventColumns) time(i int, otherwise int64) int64 {
	if ms, ok := e.times(i); ok {
		return ms
	}
	return time.Unix(0, otherwise).UnixMilli()
}

// append appends the event's type and data, as AppendEvent does.
func (e *eventColumns) append(dst []byte, i int) []byte {
	dst = append(appendText(dst, e.types(i)), byte(Object))
	if e.data != nil && e.data.IsValid(i) {
		dst = e.body.append(dst, i)
	}
	return append(dst, endOfMembers)
}
