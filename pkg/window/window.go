// Package window holds what an iterator's values are and which of them a run reads: pure arithmetic on lossless values,
// on windows that are closed at both ends, and on the ranges that parts read.
//
// An iterator without a zone holds wall-clock times of its declared zone. Where that zone turns its clocks back, a
// wall-clock time stands for two moments; a window's edges are then put so low that no row of the second pass is left
// out, and a value's instant is the earlier of the two.
package window

import (
	"math/big"
	"slices"
	"time"

	"millrace.dev/pkg/source"
)

// Window is what a run reads: from Low to High, both in it.
type Window struct {
	Low  Value // zero: unbounded
	High Value // zero: there is no row to read
	// Watermark is the checkpoint after the run; zero: it does not move.
	Watermark Value
}

// IsEmpty says whether w has no value in it.
func (w Window) IsEmpty() bool {
	return w.High.IsZero() || (!w.Low.IsZero() && w.Low.Compare(w.High) > 0)
}

// Bounds is what a window is made from. Every part may be absent (zero).
type Bounds struct {
	From, Until time.Time // the sync's; only for instants and days
	Checkpoint  Value     // of the last run
	Lookback    time.Duration
	Delay       time.Duration
	Snapshot    time.Time // the snapshot's instant
}

// Bounds answers what a query says of its window, with the snapshot's instant. A checkpoint that is no value of the
// iterator is refused.
func (a Axis) Bounds(q source.Query, snapshot time.Time) (Bounds, error) {
	b := Bounds{From: q.From, Until: q.Until, Lookback: q.Lookback, Delay: q.Delay, Snapshot: snapshot}
	if q.Low == "" {
		return b, nil
	}
	var err error
	b.Checkpoint, err = a.Parse(q.Low)
	return b, err
}

// Ranges answers the ranges of w, cut at bounds (see Cut). An empty window has one range, in which no value is.
func (a Axis) Ranges(w Window, bounds []Value) []source.Range {
	if !w.IsEmpty() {
		return Cut(w.Low, w.High, bounds)
	}
	at := w.Low
	if at.IsZero() {
		at = Value{kind: a.kind, zoned: a.Zoned, num: new(big.Int)}
	}
	return []source.Range{{Low: at.String(), High: at.String()}}
}

// Low answers where a window begins: the checkpoint less the lookback, but not before From.
func (a Axis) Low(b Bounds) Value {
	low := b.Checkpoint
	if !low.IsZero() {
		low = a.Back(low, b.Lookback)
	}
	if from := a.from(b.From); low.IsZero() || (!from.IsZero() && from.Compare(low) > 0) {
		low = from
	}
	return low
}

// Ceiling answers the largest value that a window may hold, whatever the rows: the snapshot's instant less the delay, and
// not beyond Until. Numbers have none.
func (a Axis) Ceiling(b Bounds) Value {
	if a.kind == number {
		return Value{}
	}
	c := a.At(b.Snapshot.Add(-b.Delay))
	if !b.Until.IsZero() {
		if u := a.At(b.Until); u.Compare(c) < 0 {
			c = u
		}
	}
	return c
}

// Future answers the value above which rows are left to a later run, zero where there is none: beyond the snapshot's
// instant less the delay, when the largest value is and Until does not end the window before.
func (a Axis) Future(b Bounds, most Value) Value {
	until := b.Until
	b.Until = time.Time{}
	edge := a.Ceiling(b)
	if edge.IsZero() || most.IsZero() || most.Compare(edge) <= 0 || (!until.IsZero() && a.At(until).Compare(edge) <= 0) {
		return Value{}
	}
	return edge
}

// Window answers the window of a read whose largest value is most; a zero most is no row. Its high end is
// min(most, ceiling). Without a row to read, and where it would go back, the watermark does not move.
func (a Axis) Window(b Bounds, most Value) Window {
	w := Window{Low: a.Low(b)}
	if most.IsZero() {
		return w
	}
	w.High = most
	if c := a.Ceiling(b); !c.IsZero() && c.Compare(most) < 0 {
		w.High = c
	}
	if !w.IsEmpty() && (b.Checkpoint.IsZero() || b.Checkpoint.Compare(w.High) <= 0) {
		w.Watermark = w.High
	}
	return w
}

// from answers the first value that is not before t; zero for numbers and for no instant.
func (a Axis) from(t time.Time) Value {
	if a.kind == number || t.IsZero() {
		return Value{}
	}
	v := a.at(t)
	if a.kind == instant && v.nsec%a.unit32() != 0 {
		return a.floor(a.add(v, a.Unit))
	}
	return v
}

// At answers the largest value all of whose later rows come after t: t itself at the column's precision, or, in the hour
// before a zone turns its clocks back, the wall-clock time at which it will begin again. Zero for numbers.
func (a Axis) At(t time.Time) Value {
	if a.kind == number {
		return Value{}
	}
	v := a.at(t)
	if a.kind == instant && !a.Zoned {
		if _, end := t.In(a.zone()).ZoneBounds(); !end.IsZero() {
			if again := a.at(end); again.Compare(v) < 0 {
				v = again
			}
		}
	}
	return a.floor(v)
}

// at answers the value that clocks show at t.
func (a Axis) at(t time.Time) Value {
	if a.Zoned {
		return Value{kind: instant, zoned: true, sec: t.Unix(), nsec: int32(t.Nanosecond())} //nolint:gosec // below 1e9
	}
	t = t.In(a.zone())
	_, offset := t.Zone()
	wall := t.Unix() + int64(offset)
	if a.kind == day {
		return Value{kind: day, sec: floorDiv(wall, 86400)}
	}
	return Value{kind: instant, sec: wall, nsec: int32(t.Nanosecond())} //nolint:gosec // below 1e9
}

// Back answers the value d before v: for days whole days, rounded up; numbers stay as they are, for a duration says
// nothing of them.
func (a Axis) Back(v Value, d time.Duration) Value {
	if d <= 0 || v.kind == number {
		return v
	}
	if v.kind == day {
		v.sec -= int64((d + 24*time.Hour - 1) / (24 * time.Hour))
		return v
	}
	if v.zoned || a.zone() == time.UTC {
		return a.floor(a.add(v, -d))
	}
	return a.At(a.Moment(v).Add(-d))
}

func (a Axis) add(v Value, d time.Duration) Value {
	n := int64(v.nsec) + int64(d%time.Second)
	v.sec += int64(d/time.Second) + floorDiv(n, 1e9)
	v.nsec = int32(n - floorDiv(n, 1e9)*1e9) //nolint:gosec // below 1e9
	return v
}

// floor cuts v to the column's precision.
func (a Axis) floor(v Value) Value {
	if v.kind == instant {
		v.nsec -= v.nsec % a.unit32()
	}
	return v
}

func (a Axis) unit32() int32 { return int32(a.Unit) } //nolint:gosec // at most a second

// Cut answers the ranges of a window, in order: [low, b1) [b1, b2) … [bn, high]. Bounds may come in any order; those that
// are not inside the window, and repeats, are left out. A zero low or high is unbounded. There is at least one range.
func Cut(low, high Value, bounds []Value) []source.Range {
	bounds = slices.Clone(bounds)
	slices.SortFunc(bounds, Value.Compare)
	bounds = slices.CompactFunc(bounds, func(x, y Value) bool { return x.Compare(y) == 0 })
	var out []source.Range
	for _, b := range bounds {
		if (!low.IsZero() && b.Compare(low) <= 0) || (!high.IsZero() && b.Compare(high) > 0) {
			continue
		}
		out = append(out, source.Range{Low: low.String(), High: b.String()})
		low = b
	}
	return append(out, source.Range{Low: low.String(), High: high.String(), HighClosed: !high.IsZero()})
}

// Even answers at most n-1 bounds that cut [low, high] into n parts of about the same width. Both ends are set.
func (a Axis) Even(low, high Value, n int) []Value {
	lo, hi, scale := ordinal(low), ordinal(high), max(low.scale, high.scale)
	if a.kind == number {
		lo.Mul(lo, pow10(scale-low.scale))
		hi.Mul(hi, pow10(scale-high.scale))
	}
	width := new(big.Int).Sub(hi, lo)
	var out []Value
	for i := 1; i < n; i++ {
		x := new(big.Int).Mul(width, big.NewInt(int64(i)))
		x.Add(lo, x.Div(x, big.NewInt(int64(n))))
		v := a.floor(fromOrdinal(low, x, scale))
		if v.Compare(low) > 0 && (len(out) == 0 || v.Compare(out[len(out)-1]) > 0) {
			out = append(out, v)
		}
	}
	return out
}

func ordinal(v Value) *big.Int {
	switch v.kind {
	case number:
		return new(big.Int).Set(v.num)
	case day:
		return big.NewInt(v.sec)
	}
	n := new(big.Int).Mul(big.NewInt(v.sec), big.NewInt(1e9))
	return n.Add(n, big.NewInt(int64(v.nsec)))
}

func fromOrdinal(like Value, x *big.Int, scale int32) Value {
	switch like.kind {
	case number:
		return Value{kind: number, num: x, scale: scale}
	case day:
		return Value{kind: day, sec: x.Int64()}
	}
	sec, nsec := new(big.Int).DivMod(x, big.NewInt(1e9), new(big.Int))
	return Value{kind: instant, zoned: like.zoned, sec: sec.Int64(), nsec: int32(nsec.Int64())} //nolint:gosec // below 1e9
}
