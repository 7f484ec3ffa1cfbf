package snowflake

import (
	"context"
	"iter"
	"strconv"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"

	"millrace.dev/pkg/source"
	"millrace.dev/pkg/source/sqltext"
	"millrace.dev/pkg/window"
)

// Describe answers the schema of q's rows; the warehouse compiles the query and reads none.
func (s *Source) Describe(ctx context.Context, q source.Query) (*arrow.Schema, error) {
	x, err := s.take(ctx)
	if err != nil {
		return nil, err
	}
	d, err := x.describe(ctx, q)
	s.give(x, err)
	if err != nil {
		return nil, err
	}
	return d.schema, nil
}

// Read answers the rows of q in batches of at most 16,384, in no order. A snapshot that the warehouse no longer keeps is
// replaced by what is there now, for ranges are by value.
func (s *Source) Read(ctx context.Context, q source.Query) iter.Seq2[arrow.RecordBatch, error] {
	return func(yield func(arrow.RecordBatch, error) bool) {
		if err := s.read(ctx, q, func(b arrow.RecordBatch) bool { return yield(b, nil) }); err != nil {
			yield(nil, err)
		}
	}
}

// read stops without an error when each answers false.
func (s *Source) read(ctx context.Context, q source.Query, each func(arrow.RecordBatch) bool) (err error) {
	x, err := s.take(ctx)
	if err != nil {
		return err
	}
	defer func() { s.give(x, err) }()
	d, err := x.describe(ctx, q)
	if err != nil {
		return err
	}
	where, binds, err := d.slice(q)
	if err != nil {
		return err
	}
	if err = x.settle(ctx, d, q); err != nil {
		return err
	}
	loader, _, err := x.run(ctx, d.command(d.list(), where, q.Limit, binds...), false)
	if isGone(err) { // between two statements
		d.text, d.snapshot = d.statement.text, ""
		if err = x.rename(ctx, d, q); err != nil {
			return err
		}
		loader, _, err = x.run(ctx, d.command(d.list(), where, q.Limit, binds...), false)
	}
	if err != nil {
		return err
	}
	s.readUnder(d.snapshot)
	return x.batches(ctx, loader, d.columns, d.schema, each)
}

// pinnedAs begins the name of a snapshot of which every table is read.
const pinnedAs = "at "

// snapshotName answers how a snapshot of an instant is called.
func snapshotName(at time.Time) string { return pinnedAs + at.UTC().Format(time.RFC3339Nano) }

// settle makes d read q's snapshot, where the warehouse keeps it, and names what is read.
func (x *session) settle(ctx context.Context, d *query, q source.Query) error {
	at, err := time.Parse(time.RFC3339Nano, strings.TrimPrefix(q.Snapshot, pinnedAs))
	if err != nil || !strings.HasPrefix(q.Snapshot, pinnedAs) {
		return x.rename(ctx, d, q)
	}
	ok, err := x.pin(ctx, d, at)
	if err != nil || ok {
		return err
	}
	return x.rename(ctx, d, q)
}

// pin makes d read its tables as they were, and says whether the warehouse can.
func (x *session) pin(ctx context.Context, d *query, at time.Time) (bool, error) {
	text, ok := d.pinned(at)
	if !ok {
		return false, nil
	}
	d.text = text
	_, _, err := x.columns(ctx, d.command(d.list(), "", 0))
	switch {
	case err == nil:
		d.snapshot = snapshotName(at)
		return true, nil
	case isCompile(err):
		d.text = d.statement.text
		return false, nil
	}
	return false, err
}

// rename names a read of what is there now, for a query that asks for a snapshot or for none.
func (x *session) rename(ctx context.Context, d *query, q source.Query) error {
	if q.Snapshot == "" {
		return nil
	}
	now, err := x.now(ctx, q.Label)
	d.snapshot = "live " + now.Format(time.RFC3339Nano)
	return err
}

// slice answers the condition of q's range and the values bound to it.
func (d *query) slice(q source.Query) (string, []string, error) {
	switch {
	case q.Range.IsAll():
		return "", nil, nil
	case q.Range.Unit != "":
		b, err := sqltext.ParseBucket(q.Range.Unit, hash)
		return d.bucket(b, q.Model.KeyColumns), nil, err //nolint:wrapcheck // classified by sqltext
	}
	a, err := window.NewAxis(q.Model.Iterator, d.schema)
	if err != nil {
		return "", nil, err //nolint:wrapcheck // classified by window
	}
	return d.where(a, q.Range)
}

// bucket answers the condition of a bucket of the keys' hash, which has a sign.
func (d *query) bucket(b sqltext.Bucket, keys []string) string {
	columns := make([]string, len(keys))
	for i, k := range keys {
		columns[i] = sqltext.Quote("q") + "." + sqltext.Quote(k)
	}
	n := strconv.Itoa(b.Of)
	return " WHERE MOD(MOD(HASH(" + strings.Join(columns, ", ") + "), " + n + ") + " + n + ", " + n + ") = " + strconv.Itoa(b.Index)
}

// where answers the condition of a range on the iterator. Its ends are bound, not printed.
func (d *query) where(a window.Axis, r source.Range) (string, []string, error) {
	name := sqltext.Quote(a.Column)
	if r.Nulls {
		return " WHERE " + name + " IS NULL", nil, nil
	}
	high := "<"
	if r.HighClosed {
		high = "<="
	}
	var terms, binds []string
	for _, end := range []struct{ value, operator string }{{r.Low, ">="}, {r.High, high}} {
		if end.value == "" {
			continue
		}
		v, err := a.Parse(end.value)
		if err != nil {
			return "", nil, err //nolint:wrapcheck // classified by window
		}
		terms, binds = append(terms, name+" "+end.operator+" "+d.placeholder(a)), append(binds, bound(v))
	}
	if len(terms) == 0 {
		return "", nil, nil
	}
	return " WHERE " + strings.Join(terms, " AND "), binds, nil
}

// placeholder answers a parameter of the iterator's own type.
func (d *query) placeholder(a window.Axis) string {
	return "CAST(? AS " + d.columns[a.Index].own + ")"
}

// bound answers a value as it is bound.
func bound(v window.Value) string {
	s := v.SQL()
	if whole, ok := strings.CutSuffix(s, "Z"); ok {
		return whole + "+00:00"
	}
	return s
}
