package mapping

import (
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
)

const (
	notInstant    = "is not an instant; write it as 2026-01-31T12:00:00Z"
	losesInstant  = "would lose precision below a microsecond; choose on_loss: round"
	losesMillis   = "would lose precision below a millisecond; choose on_loss: round"
	beyondInstant = "is beyond the instants that fit"
)

const secondsPerDay = 24 * 60 * 60

// toTimestamp makes instants. Dates are midnight, and texts without a zone are read, in the declared zone.
func (c *compiler) toTimestamp(f *flow, round bool, no refuse) mend {
	zone := c.zone
	switch f.class {
	case classInstant:
	case classDate:
		f.then(classInstant, instantType(arrow.Second), func(_ *call, in arrow.Array) arrow.Array {
			a := in.(*array.Date32) //nolint:forcetypeassert // by the class
			return convert(instantType(arrow.Second), in, func(i int) arrow.Timestamp {
				wall := int64(a.Value(i)) * secondsPerDay
				if zone != time.UTC {
					wall += offsetAt(wall, zone)
				}
				return arrow.Timestamp(wall)
			})
		})
	case classText, classJSON:
		t := instantType(arrow.Microsecond)
		f.then(classInstant, t, func(c *call, in arrow.Array) arrow.Array {
			a := in.(*array.String) //nolint:forcetypeassert // by the class
			return convert(t, in, func(i int) arrow.Timestamp {
				at, ok := parseInstant(strings.TrimSpace(a.Value(i)), zone)
				if !ok {
					c.fail(i, notInstant)
					return 0
				}
				return arrow.Timestamp(c.micros(i, at, round))
			})
		})
	default:
		return no("an integer does not say its unit: map it to a field whose name ends in _ms, or convert it in SQL")
	}
	return mend{}
}

func (c *call) micros(i int, at time.Time, round bool) int64 {
	if below := at.Nanosecond() % 1000; below != 0 {
		c.lossy(i, round, true, losesInstant)
		at = at.Add(500) // to the nearest
	}
	return at.UnixMicro()
}

// instantForms are the texts that are read as instants, after the T has become a blank.
func instantForms() []string {
	return []string{
		"2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05", "2006-01-02 15:04:05-07", "2006-01-02 15:04:05-0700",
		"2006-01-02 15:04:05 -0700", "2006-01-02 15:04Z07:00", "2006-01-02 15:04", "2006-01-02",
	}
}

// parseInstant reads a text as an instant; without a zone of its own it is in the given zone.
func parseInstant(s string, zone *time.Location) (time.Time, bool) {
	if len(s) < len(time.DateOnly) || len(s) > 40 {
		return time.Time{}, false
	}
	if len(s) > 10 && (s[10] == 'T' || s[10] == 't') {
		s = s[:10] + " " + s[11:]
	}
	for _, utc := range []string{"z", " UTC"} {
		if rest, ok := strings.CutSuffix(s, utc); ok {
			s = rest + "Z"
		}
	}
	for _, form := range instantForms() {
		if at, err := time.ParseInLocation(form, s, zone); err == nil {
			return at, true
		}
	}
	return time.Time{}, false
}

// toMillis makes integer milliseconds since the Unix epoch: of instants, dates and texts that are instants; numbers are
// milliseconds already.
func (c *compiler) toMillis(f *flow, round bool, no refuse) mend {
	switch f.class {
	case classInteger:
		return mend{}
	case classFloat, classDecimal:
		return f.toInteger(round, no)
	case classText:
		zone := c.zone
		f.then(classInteger, int64Type(), func(c *call, in arrow.Array) arrow.Array {
			a := in.(*array.String) //nolint:forcetypeassert // by the class
			return convert(int64Type(), in, func(i int) int64 { return c.parseMillis(i, strings.TrimSpace(a.Value(i)), zone, round) })
		})
		return mend{}
	case classDate:
		if m := c.toTimestamp(f, round, no); m.bad() {
			return m
		}
	case classInstant:
	default:
		return no("choose a column of timestamps, or of integer milliseconds")
	}
	f.then(classInteger, int64Type(), func(c *call, in arrow.Array) arrow.Array { return c.millis(in, round) })
	return mend{}
}

func (c *call) parseMillis(i int, text string, zone *time.Location, round bool) int64 {
	if v, err := strconv.ParseInt(text, 10, 64); err == nil {
		return v
	}
	at, ok := parseInstant(text, zone)
	if !ok {
		c.fail(i, notInstant)
		return 0
	}
	if at.Nanosecond()%1_000_000 != 0 {
		c.lossy(i, round, true, losesMillis)
		at = at.Add(500 * time.Microsecond)
	}
	return at.UnixMilli()
}

// millis makes milliseconds of instants, to the nearest; one in the middle goes to the later.
func (c *call) millis(in arrow.Array, round bool) arrow.Array {
	a := in.(*array.Timestamp)                        //nolint:forcetypeassert // by the class
	switch a.DataType().(*arrow.TimestampType).Unit { //nolint:forcetypeassert // by the array
	case arrow.Second:
		return convert(int64Type(), in, func(i int) int64 {
			v := int64(a.Value(i))
			if v > math.MaxInt64/1000 || v < math.MinInt64/1000 {
				c.fail(i, beyondInstant)
				return 0
			}
			return v * 1000
		})
	case arrow.Millisecond:
		return retype(int64Type(), in)
	case arrow.Microsecond:
		return convert(int64Type(), in, func(i int) int64 { return c.roundDown(i, int64(a.Value(i)), 1000, round) })
	default:
		return convert(int64Type(), in, func(i int) int64 { return c.roundDown(i, int64(a.Value(i)), 1_000_000, round) })
	}
}

func (c *call) roundDown(i int, v, per int64, round bool) int64 {
	q := v / per
	r := v - q*per
	if r == 0 {
		return q
	}
	c.lossy(i, round, true, losesMillis)
	if r < 0 {
		q, r = q-1, r+per
	}
	if r*2 >= per {
		q++
	}
	return q
}
