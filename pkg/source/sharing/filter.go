package sharing

import (
	"context"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/compute"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/source"
	"millrace.dev/pkg/source/sqltext"
	"millrace.dev/pkg/window"
)

// statisticsStep is what statistics of instants are cut down to: the largest value may be that much larger.
const statisticsStep = time.Millisecond

// grouping names how files are shared out among parts.
const grouping = "files of a version of a Delta table"

// filter is the rows of a range on the iterator.
type filter struct {
	axis      window.Axis
	low, high window.Value // zero: unbounded
	after     bool         // low itself is not in it
	closed    bool         // high itself is in it
	nulls     bool
}

// filterOf answers the filter of a range, nil where all rows are read.
func (q *query) filterOf(in source.Query) (*filter, error) {
	r := in.Range
	if r.IsAll() || r.Unit != "" {
		return nil, nil //nolint:nilnil // there is none
	}
	a, err := window.NewAxis(in.Model.Iterator, q.schema)
	if err != nil {
		return nil, err //nolint:wrapcheck // classified by window
	}
	f := &filter{axis: a, closed: r.HighClosed, nulls: r.Nulls}
	for _, end := range []struct {
		text string
		to   *window.Value
	}{{r.Low, &f.low}, {r.High, &f.high}} {
		if end.text == "" {
			continue
		}
		if *end.to, err = a.Parse(end.text); err != nil {
			return nil, err //nolint:wrapcheck // classified by window
		}
	}
	return f, nil
}

// keeps says whether a row with the value v is in the range.
func (f *filter) keeps(v window.Value) bool {
	switch {
	case f.nulls || v.IsZero():
		return f.nulls && v.IsZero()
	case !f.low.IsZero() && f.below(v):
		return false
	case f.high.IsZero():
		return true
	}
	c := v.Compare(f.high)
	return c < 0 || c == 0 && f.closed
}

func (f *filter) below(v window.Value) bool {
	c := v.Compare(f.low)
	return c < 0 || c == 0 && f.after
}

// extent is what is known of a file's values of the iterator.
type extent struct {
	known     bool
	low, high window.Value
	nulls     int64 // -1: unknown
}

// extentOf answers what a file's statistics, or its partition, say of the iterator, which the table calls name.
func extentOf(a window.Axis, name string, f *listed) extent {
	if v, ok := f.partitionOf(name); ok {
		return partitionExtent(a, f, v)
	}
	e := extent{nulls: f.stats.nulls}
	if f.stats.low == "" || f.stats.high == "" {
		return e
	}
	low, err := a.Parse(f.stats.low)
	high, err2 := a.Parse(f.stats.high)
	if err != nil || err2 != nil {
		return e
	}
	if a.Unit < statisticsStep && a.Zoned {
		if later, err := a.Parse(after(high)); err == nil {
			high = later
		}
	}
	e.known, e.low, e.high = true, low, high
	return e
}

// after answers the instant one step of statistics later, as text.
func after(v window.Value) string {
	sec, nsec := v.Unix()
	return time.Unix(sec, int64(nsec)).Add(statisticsStep).UTC().Format(time.RFC3339Nano)
}

func partitionExtent(a window.Axis, f *listed, v *string) extent {
	if v == nil || *v == "" {
		return extent{nulls: f.rows}
	}
	text := *v
	if a.Zoned {
		if at, err := partitionTime(text); err == nil {
			text = at.UTC().Format(time.RFC3339Nano)
		}
	}
	at, err := a.Parse(text)
	if err != nil {
		return extent{nulls: -1}
	}
	return extent{known: true, low: at, high: at}
}

// none says that no row of a file is in the range; all, that every row is.
func (f *filter) none(e extent) bool {
	switch {
	case f.nulls:
		return e.nulls == 0
	case !e.known:
		return false
	case !f.low.IsZero() && f.below(e.high):
		return true
	case f.high.IsZero():
		return false
	}
	c := e.low.Compare(f.high)
	return c > 0 || c == 0 && !f.closed
}

func (f *filter) all(e extent) bool {
	return !f.nulls && e.known && e.nulls == 0 && f.keeps(e.low) && f.keeps(e.high)
}

// cut answers the rows of b that are in the range, nil where none is. The caller releases it.
func (f *filter) cut(ctx context.Context, mem memory.Allocator, b arrow.RecordBatch) (arrow.RecordBatch, error) {
	column := b.Column(f.axis.Index)
	return cut(ctx, mem, b, func(i int) bool { return f.keeps(f.axis.Value(column, i)) })
}

// cut answers the rows of b whose positions are kept, nil where none is. The caller releases it.
func cut(ctx context.Context, mem memory.Allocator, b arrow.RecordBatch, keeps func(int) bool) (arrow.RecordBatch, error) {
	mask := array.NewBooleanBuilder(mem)
	defer mask.Release()
	mask.Reserve(int(b.NumRows()))
	kept := int64(0)
	for i := range int(b.NumRows()) {
		in := keeps(i)
		if in {
			kept++
		}
		mask.UnsafeAppend(in)
	}
	switch kept {
	case 0:
		return nil, nil //nolint:nilnil // no rows
	case b.NumRows():
		b.Retain()
		return b, nil
	}
	by := mask.NewBooleanArray()
	defer by.Release()
	out, err := compute.FilterRecordBatch(compute.WithAllocator(ctx, mem), b, by, compute.DefaultFilterOptions())
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, fault.As(ctx.Err())
	case err != nil:
		return nil, fault.New(fault.Internal, fault.ReasonInternal, "rows cannot be filtered: %w", err)
	}
	return out, nil
}

// plainName is a column that predicates can name without quotes.
var plainName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`) //nolint:gochecknoglobals // compiled once, never changed

// hints adds what the server may leave out by to a: predicates in both of the protocol's forms. They are hints: what is
// read is decided by cut.
func (f *filter) hints(a *asked, own string) {
	if !plainName.MatchString(a.column) || f.nulls {
		return
	}
	literal, quoted := jsonType(own)
	if literal == "" {
		return
	}
	var tree []any
	for _, end := range []struct {
		v        window.Value
		sign, op string
	}{{f.low, ">=", "greaterThanOrEqual"}, {f.high, "<=", "lessThanOrEqual"}} {
		if end.v.IsZero() {
			continue
		}
		text := end.v.String()
		tree = append(tree, map[string]any{"op": end.op, "children": []any{
			map[string]string{"op": "column", "name": a.column, "valueType": literal},
			map[string]string{"op": "literal", "value": text, "valueType": literal},
		}})
		if quoted {
			text = "'" + text + "'"
		}
		a.Hints = append(a.Hints, a.column+" "+end.sign+" "+text)
	}
	var whole any = map[string]any{"op": "and", "children": tree}
	switch len(tree) {
	case 0:
		return
	case 1:
		whole = tree[0]
	}
	if text, err := json.Marshal(whole); err == nil {
		a.JSONHints = string(text)
	}
}

// jsonType answers a type as predicates name it, "" for those that they do not, and whether SQL quotes its values.
func jsonType(own string) (string, bool) {
	switch own {
	case "byte", "short", "integer":
		return "int", false
	case "long":
		return "long", false
	case "date":
		return "date", true
	case "timestamp":
		return "timestamp", true
	}
	return "", false
}

// share answers the files of one of n parts: about as many bytes each, the same for the same files in any order.
func share(files []*listed, b sqltext.Bucket) []*listed {
	sorted := slices.Clone(files)
	slices.SortFunc(sorted, func(x, y *listed) int {
		if x.size != y.size {
			return int(min(max(y.size-x.size, -1), 1))
		}
		return strings.Compare(x.id, y.id)
	})
	var out []*listed
	load := make([]int64, b.Of)
	for _, f := range sorted {
		least := 0
		for i := range load {
			if load[i] < load[least] {
				least = i
			}
		}
		load[least] += f.size
		if least == b.Index {
			out = append(out, f)
		}
	}
	return out
}
