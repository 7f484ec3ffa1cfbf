package protocol

import (
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"millrace.dev/pkg/record"
	"millrace.dev/pkg/record/recordtest"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/row"
	"millrace.dev/pkg/source"
	"millrace.dev/pkg/window"
)

// version is a row of the table as one transaction left it.
type version struct {
	key   uint8
	at    int64 // the iterator, in seconds
	first bool  // there before the first run
}

// The table: two rows that are there, one that is committed late, with an iterator below what was read, and a newer
// version of the first.
func versions() [maxRows]version {
	return [maxRows]version{{key: 0, at: 1, first: true}, {key: 1, at: 3, first: true}, {key: 2, at: 2}, {key: 0, at: 4}}
}

const (
	lookback = 1 // second
	boundary = 3 // where plans cut, and where a row stands
)

// table is the source's table with what the code makes of its rows.
type table struct {
	axis    window.Axis
	batches [maxRows]record.Batch // the record of each version
	hashes  [maxRows]row.Hash
}

func newTable() (table, error) {
	schema := arrow.NewSchema([]arrow.Field{{Name: "at", Type: &arrow.TimestampType{Unit: arrow.Second, TimeZone: "UTC"}}}, nil)
	axis, err := window.NewAxis(resource.Iterator{Column: "at", Type: resource.IteratorTimestamp}, schema)
	if err != nil {
		return table{}, err //nolint:wrapcheck // the model's own axis
	}
	s := table{axis: axis}
	for i, v := range versions() {
		name := string(rune('a' + v.key))
		s.batches[i] = recordtest.Batch(record.Users, []recordtest.Row{{
			Key: name, Time: time.Unix(v.at, 0).UTC(), Identities: map[string]string{"customer_id": name},
			Attributes: map[string]any{"version": i},
		}}, recordtest.Options{})
		s.hashes[i] = row.Digest(s.batches[i].Record.Column(record.PosHash).(*array.FixedSizeBinary)) //nolint:forcetypeassert // as every batch
	}
	return s, nil
}

// visible answers the rows that a query sees once the versions in `committed` are.
func visible(committed uint8) uint8 {
	if committed&(1<<3) != 0 {
		committed &^= 1 << 0
	}
	return committed
}

// plan is what a planner finds: the ordinals of a window, and the rows of each part.
type plan struct {
	watermark uint8
	rows      [2]uint8 // as the code's ranges say
	truth     uint8    // rows that the window holds
}

// planOf answers the plan of a run from a checkpoint, with rows read in the snapshot `read` and the watermark in `known`.
func (w *World) planOf(checkpoint, read, known uint8) plan {
	key := [3]uint8{checkpoint, read, known}
	if p, ok := w.plans[key]; ok {
		return p
	}
	a := w.source.axis
	b := window.Bounds{Snapshot: time.Unix(100, 0), Lookback: lookback * time.Second}
	if w.Broken == KeepLookback {
		b.Lookback = 0
	}
	if checkpoint > 0 {
		b.Checkpoint = a.At(time.Unix(int64(checkpoint), 0))
	}
	var most int64
	for r, v := range versions() {
		if visible(known)&(1<<r) != 0 {
			most = max(most, v.at)
		}
	}
	win := a.Window(b, a.At(time.Unix(most, 0)))
	sec, _ := win.Watermark.Unix()
	p := plan{watermark: uint8(sec), truth: promisedRows(checkpoint, uint8(sec), read)} //nolint:gosec // few seconds
	for i, r := range a.Ranges(win, []window.Value{a.At(time.Unix(boundary, 0))}) {
		for n, v := range versions() {
			if visible(read)&(1<<n) != 0 && w.inRange(r, i, a.At(time.Unix(v.at, 0))) {
				p.rows[i] |= 1 << n
			}
		}
	}
	w.plans[key] = p
	return p
}

// inRange is the condition that a driver puts into its query for part i of a plan.
func (w *World) inRange(r source.Range, i int, v window.Value) bool {
	if r.Low != "" {
		low, err := w.source.axis.Parse(r.Low)
		w.note(err)
		open := (w.Broken == ClosedLowEdge && i == 0) || (w.Broken == ClosedBoundary && i > 0)
		if c := v.Compare(low); c < 0 || (open && c == 0) {
			return false
		}
	}
	if r.High == "" {
		return true
	}
	high, err := w.source.axis.Parse(r.High)
	w.note(err)
	c := v.Compare(high)
	return c < 0 || (c == 0 && r.HighClosed && w.Broken != ClosedHighEdge)
}

// promisedRows answers the rows that a run from a checkpoint to a watermark owes, of those that a snapshot sees: the
// design's window, written down without the code.
func promisedRows(checkpoint, watermark, snapshot uint8) uint8 {
	var out uint8
	for r, v := range versions() {
		if visible(snapshot)&(1<<r) != 0 && v.at <= int64(watermark) && (checkpoint == 0 || v.at >= int64(checkpoint)-lookback) {
			out |= 1 << r
		}
	}
	return out
}
