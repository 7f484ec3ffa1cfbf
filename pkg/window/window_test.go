package window_test

import (
	"fmt"
	"math"
	"math/big"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/stretchr/testify/require"
	"golang.org/x/tools/txtar"
	"pgregory.net/rapid"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/source"
	"millrace.dev/pkg/window"
)

func TestFutureValues(t *testing.T) {
	snapshot := time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
	zoned := schema(arrow.FixedWidthTypes.Timestamp_ns)
	a, err := window.NewAxis(resource.Iterator{Column: "c", Type: resource.IteratorTimestamp}, zoned)
	require.NoError(t, err)
	value := func(s string) window.Value {
		v, err := a.Parse(s)
		require.NoError(t, err)
		return v
	}
	b := window.Bounds{Snapshot: snapshot, Delay: time.Minute}
	require.True(t, a.Future(b, window.Value{}).IsZero(), "no rows")
	require.True(t, a.Future(b, value("2026-03-01T23:59:00Z")).IsZero(), "all rows are in the window")
	require.Equal(t, "2026-03-01T23:59:00Z", a.Future(b, value("2026-03-01T23:59:00.000000001Z")).String())
	b.Until = snapshot.Add(time.Hour)
	require.False(t, a.Future(b, value("2027-01-01T00:00:00Z")).IsZero(), "until has not come yet")
	b.Until = snapshot.Add(-time.Hour)
	require.True(t, a.Future(b, value("2027-01-01T00:00:00Z")).IsZero(), "until ends the window before")
}

func TestWindows(t *testing.T) {
	data, err := os.ReadFile("testdata/windows.txtar")
	require.NoError(t, err)
	for _, f := range txtar.Parse(data).Files {
		t.Run(f.Name, func(t *testing.T) {
			in := map[string]string{}
			for line := range strings.Lines(string(f.Data)) {
				k, v, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
				in[k] = strings.TrimSpace(v)
			}
			a := axis(t, in["type"], in["zone"])
			w := a.Window(window.Bounds{
				From: moment(t, in["from"]), Until: moment(t, in["until"]), Checkpoint: value(t, a, in["checkpoint"]),
				Lookback: duration(t, in["lookback"]), Delay: duration(t, in["delay"]), Snapshot: moment(t, in["snapshot"]),
			}, value(t, a, in["most"]))
			got := "empty"
			if !w.IsEmpty() {
				got = fmt.Sprintf("[%s, %s]", w.Low, w.High)
			}
			require.Equal(t, in["window"], got)
			require.Equal(t, in["watermark"], w.Watermark.String())
		})
	}
}

// axis answers the axis of a column: "timestamp", "timestamp zoned", "timestamp zoned s", "date", "integer", "decimal".
func axis(t testing.TB, words, zone string) window.Axis {
	f := strings.Fields(words)
	ts := &arrow.TimestampType{Unit: arrow.Nanosecond}
	if len(f) > 1 {
		ts.TimeZone = "UTC"
	}
	if len(f) > 2 {
		ts.Unit = arrow.Second
	}
	types := map[string]arrow.DataType{
		"timestamp": ts, "date": arrow.FixedWidthTypes.Date32,
		"integer": &arrow.Decimal128Type{Precision: 38}, "decimal": &arrow.Decimal128Type{Precision: 38, Scale: 3},
	}
	return axisOf(t, resource.IteratorType(f[0]), types[f[0]], zone)
}

func axisOf(t testing.TB, typ resource.IteratorType, col arrow.DataType, zone string) window.Axis {
	a, err := window.NewAxis(resource.Iterator{Column: "c", Type: typ, TimeZone: zone}, schema(col))
	require.NoError(t, err)
	return a
}

func schema(col arrow.DataType) *arrow.Schema {
	return arrow.NewSchema([]arrow.Field{{Name: "a", Type: arrow.Null}, {Name: "c", Type: col, Nullable: true}}, nil)
}

func value(t testing.TB, a window.Axis, s string) window.Value {
	if s == "" {
		return window.Value{}
	}
	v, err := a.Parse(s)
	require.NoError(t, err)
	return v
}

func moment(t testing.TB, s string) time.Time {
	if s == "" {
		return time.Time{}
	}
	v, err := time.Parse(time.RFC3339Nano, s)
	require.NoError(t, err)
	return v
}

func duration(t testing.TB, s string) time.Duration {
	if s == "" {
		return 0
	}
	d, err := time.ParseDuration(s)
	require.NoError(t, err)
	return d
}

func TestTheIteratorIsSelectedAndOfTheDeclaredType(t *testing.T) {
	for _, c := range []struct {
		name  string
		it    resource.Iterator
		col   arrow.DataType
		class fault.Class
	}{
		{"not selected", resource.Iterator{Column: "x", Type: "date"}, arrow.FixedWidthTypes.Date32, fault.Invalid},
		{"no such zone", resource.Iterator{Column: "c", Type: "date", TimeZone: "Mars/Base"}, arrow.FixedWidthTypes.Date32, fault.Invalid},
		{"a float", resource.Iterator{Column: "c", Type: "decimal"}, arrow.PrimitiveTypes.Float64, fault.Invalid},
		{"a boolean", resource.Iterator{Column: "c", Type: "integer"}, arrow.FixedWidthTypes.Boolean, fault.Invalid},
		{"text", resource.Iterator{Column: "c", Type: "timestamp"}, arrow.BinaryTypes.String, fault.Invalid},
		{"a date declared timestamp", resource.Iterator{Column: "c", Type: "timestamp"}, arrow.FixedWidthTypes.Date32, fault.Precondition},
		{"a decimal declared integer", resource.Iterator{Column: "c", Type: "integer"}, &arrow.Decimal128Type{Precision: 9, Scale: 2}, fault.Precondition},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := window.NewAxis(c.it, schema(c.col))
			require.Error(t, err)
			require.Equal(t, c.class, fault.ClassOf(err))
			require.Equal(t, fault.ReasonIteratorInvalid, fault.ReasonOf(err))
		})
	}
}

func TestValuesOfOneAxisAreOrderedAndPrintedAsTheyAre(t *testing.T) {
	for _, c := range []struct {
		axis   string
		values []string
	}{
		{"timestamp", []string{"-4712-01-01T00:00:00", "-0001-12-31T23:59:59.999999999", "0000-01-01T00:00:00", "0001-01-01T00:00:00", "1969-12-31T23:59:59.5", "1970-01-01T00:00:00", "2026-01-01T00:00:00.000000001", "+294246-12-31T00:00:00"}},
		{"timestamp zoned", []string{"1677-01-01T00:00:00Z", "2026-01-01T00:00:00.1Z", "9999-12-31T23:59:59.999999999Z"}},
		{"date", []string{"-4712-01-01", "0001-01-01", "2026-02-28", "9999-12-31"}},
		{"integer", []string{"-99999999999999999999999999999999999999", "-1", "0", "9007199254740993"}},
		{"decimal", []string{"-1.5", "-0.001", "0.000", "0.001", "12.340", "99999999999999999999999999999999999.999"}},
	} {
		a := axis(t, c.axis, "")
		for i, s := range c.values {
			v := value(t, a, s)
			require.Equal(t, s, v.String())
			if i > 0 {
				require.Equal(t, 1, v.Compare(value(t, a, c.values[i-1])), "%s after %s", s, c.values[i-1])
				require.Equal(t, -1, value(t, a, c.values[i-1]).Compare(v))
			}
		}
	}
	d := axis(t, "decimal", "")
	require.Zero(t, value(t, d, "12.340").Compare(value(t, d, "12.34")))
	z := axis(t, "timestamp zoned", "")
	require.Zero(t, value(t, z, "2026-01-01 02:00:00+02").Compare(value(t, z, "2026-01-01T00:00:00Z")))
	require.Equal(t, "4713-01-01T00:00:00 BC", value(t, axis(t, "timestamp", ""), "-4712-01-01T00:00:00").SQL())
}

func TestWhatIsNoValueIsRefusedWithoutShowingIt(t *testing.T) {
	for typ, bad := range map[string][]string{
		"timestamp": {"", "x", "2026-02-30", "2026-01-01T24:00:00", "2026-01-01T00:00:60", "2026-01-01T00:00:00+02:00", "2026-01-01T00:00:00.", "2026-01-01T00:00:00.1234567890", "999999-01-01"},
		"date":      {"2026-13-01", "2026-01-01T00:00:00", "26-1-1"},
		"integer":   {"", "-", "1.0", "1e3", "+1", " 1", strings.Repeat("9", 77)},
		"decimal":   {".", "1.", ".5", "1.2.3", "--1", "NaN"},
	} {
		a := axis(t, typ, "")
		for _, s := range bad {
			_, err := a.Parse(s)
			require.Error(t, err, "%s %q", typ, s)
			require.Equal(t, fault.Invalid, fault.ClassOf(err))
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"2026-01-01T00:00:00.1", "-0001-01-01", "12.50", "-7", "2026-10-25T02:30:00Z"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, typ := range []string{"timestamp", "timestamp zoned", "date", "integer", "decimal"} {
			a := axis(t, typ, "")
			v, err := a.Parse(s)
			if err != nil {
				continue
			}
			again, err := a.Parse(v.String())
			require.NoError(t, err, "%s %q printed as %q", typ, s, v)
			require.Zero(t, v.Compare(again))
			require.Equal(t, v.String(), again.String())
		}
	})
}

func TestInstants(t *testing.T) {
	berlin := axisOf(t, "timestamp", &arrow.TimestampType{Unit: arrow.Microsecond}, "Europe/Berlin")
	for wall, want := range map[string]string{
		"2026-07-01T12:00:00": "2026-07-01T10:00:00Z",
		"2026-01-01T12:00:00": "2026-01-01T11:00:00Z",
		"2026-10-25T02:30:00": "2026-10-25T00:30:00Z", // comes twice: the earlier
		"2026-03-29T02:30:00": "2026-03-29T01:30:00Z", // comes never: as if the clocks had not gone forward
	} {
		v := value(t, berlin, wall)
		require.Equal(t, moment(t, want), berlin.Moment(v), wall)
		require.Equal(t, moment(t, want).UnixNano(), berlin.Instant(v))
	}
	ns := axis(t, "timestamp", "")
	require.EqualValues(t, math.MaxInt64, ns.Instant(value(t, ns, "2300-01-01T00:00:00")))
	require.EqualValues(t, math.MinInt64, ns.Instant(value(t, ns, "1600-01-01T00:00:00")))
	require.Zero(t, axis(t, "integer", "").Instant(value(t, axis(t, "integer", ""), "7")))
}

func TestColumnsBecomeInstantsAsTheirValuesDo(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		zone := rapid.SampledFrom([]string{"", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"}).Draw(r, "zone")
		unit := rapid.SampledFrom(arrow.TimeUnitValues).Draw(r, "unit")
		a := axisOf(t, "timestamp", &arrow.TimestampType{Unit: unit}, zone)
		b := array.NewTimestampBuilder(memory.DefaultAllocator, &arrow.TimestampType{Unit: unit})
		defer b.Release()
		per := int64(time.Second / unit.Multiplier())
		for range rapid.IntRange(1, 20).Draw(r, "n") {
			b.Append(arrow.Timestamp(rapid.Int64Range(-3e9, 4e9).Draw(r, "sec")*per + rapid.Int64Range(0, per-1).Draw(r, "frac")))
		}
		b.AppendNull()
		col := b.NewArray()
		defer col.Release()
		low := a.Value(col, 0)
		got := a.Instants(memory.DefaultAllocator, col).(*array.Timestamp)
		below := a.Below(memory.DefaultAllocator, col, low).(*array.Boolean)
		for i := range col.Len() - 1 {
			v := a.Value(col, i)
			require.Equal(r, a.Instant(v), int64(got.Value(i)), "%s in %s", v, zone)
			require.Equal(r, v.Compare(low) < 0, below.Value(i))
			require.Equal(r, v, value(t, a, v.String()))
		}
		require.True(r, got.IsNull(col.Len()-1))
		require.False(r, below.Value(col.Len()-1))
	})
}

// No row that comes after a moment shows a wall-clock time below the window's edge at that moment.
func TestNoLaterRowIsBelowTheEdge(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		zone := rapid.SampledFrom([]string{"Europe/Berlin", "America/New_York", "Australia/Lord_Howe"}).Draw(r, "zone")
		a := axisOf(t, "timestamp", &arrow.TimestampType{Unit: arrow.Nanosecond}, zone)
		at := time.Unix(rapid.Int64Range(1.7e9, 1.8e9).Draw(r, "at"), 0)
		later := at.Add(time.Duration(rapid.Int64Range(0, 7200).Draw(r, "later")) * time.Second)
		loc, err := time.LoadLocation(zone)
		require.NoError(t, err)
		wall := value(t, a, later.In(loc).Format("2006-01-02T15:04:05"))
		require.GreaterOrEqual(r, wall.Compare(a.At(at)), 0)
	})
}

func TestCut(t *testing.T) {
	a := axis(t, "integer", "")
	n := func(i int64) window.Value { return value(t, a, big.NewInt(i).String()) }
	require.Equal(t, []source.Range{{Low: "1", High: "9", HighClosed: true}}, window.Cut(n(1), n(9), nil))
	require.Equal(t, []source.Range{{Low: "1", High: "4"}, {Low: "4", High: "9"}, {Low: "9", High: "9", HighClosed: true}},
		window.Cut(n(1), n(9), []window.Value{n(9), n(4), n(1), n(4), n(0), n(12)}))
	require.Equal(t, []source.Range{{High: "5"}, {Low: "5"}}, window.Cut(window.Value{}, window.Value{}, []window.Value{n(5)}))
	require.Equal(t, []source.Range{{}}, window.Cut(window.Value{}, window.Value{}, nil))
}

// Every value of a window is in exactly one of its ranges.
func TestRangesCoverTheWindowOnce(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		a := axis(t, rapid.SampledFrom([]string{"integer", "timestamp zoned s", "date"}).Draw(r, "axis"), "")
		draw := func(name string, lo, hi int64) (int64, window.Value) {
			i := rapid.Int64Range(lo, hi).Draw(r, name)
			if a.Type == "integer" {
				return i, value(t, a, big.NewInt(i).String())
			}
			return i, a.At(time.Unix(i*86400, 0))
		}
		l, low := draw("low", -50, 50)
		h, high := draw("high", l, 60)
		_, v := draw("value", l, h)
		bounds := a.Even(low, high, rapid.IntRange(1, 7).Draw(r, "n"))
		in := 0
		for _, g := range window.Cut(low, high, bounds) {
			if v.Compare(value(t, a, g.Low)) < 0 {
				continue
			}
			if c := v.Compare(value(t, a, g.High)); c < 0 || (c == 0 && g.HighClosed) {
				in++
			}
		}
		require.Equal(r, 1, in)
	})
}
