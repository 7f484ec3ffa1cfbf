package postgres

import (
	"context"
	"errors"
	"iter"
	"math"
	"strconv"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"

	"millrace.dev/pkg/source"
	"millrace.dev/pkg/source/sqltext"
	"millrace.dev/pkg/window"
)

// Describe answers the schema of q's rows; the server plans the query and reads none.
func (s *Source) Describe(ctx context.Context, q source.Query) (*arrow.Schema, error) {
	x, err := s.begin(ctx, q.Label, "")
	if err != nil {
		return nil, err
	}
	defer x.close(ctx)
	d, err := x.describe(ctx, q)
	if err != nil {
		return nil, err
	}
	return d.schema, nil
}

// Read answers the rows of q in batches of at most 16,384, in no order. A snapshot that is gone is replaced by a new one,
// for ranges are by value.
func (s *Source) Read(ctx context.Context, q source.Query) iter.Seq2[arrow.RecordBatch, error] {
	return func(yield func(arrow.RecordBatch, error) bool) {
		if err := s.read(ctx, q, func(b arrow.RecordBatch) bool { return yield(b, nil) }); err != nil {
			yield(nil, err)
		}
	}
}

// read stops without an error when each answers false.
func (s *Source) read(ctx context.Context, q source.Query, each func(arrow.RecordBatch) bool) error {
	x, err := s.begin(ctx, q.Label, q.Snapshot)
	if err != nil {
		return err
	}
	defer x.close(ctx)
	d, err := x.describe(ctx, q)
	if err != nil {
		return err
	}
	where, err := x.slice(ctx, d, q)
	if err != nil {
		return err
	}
	s.readUnder(x.snapshot)
	return s.copy(ctx, x, d, d.text(where, q.Limit), each)
}

// slice answers the condition of q's range.
func (x *session) slice(ctx context.Context, d *query, q source.Query) (string, error) {
	switch {
	case q.Range.IsAll():
		return "", nil
	case q.Range.Unit != "":
		b, err := sqltext.ParseBucket(q.Range.Unit, hash)
		return d.bucket(b, q.Model.KeyColumns), err
	}
	a, err := window.NewAxis(q.Model.Iterator, d.schema)
	if err != nil {
		return "", err //nolint:wrapcheck // classified by window
	}
	return x.where(ctx, d, a, q.Range)
}

// copy runs a SELECT whose columns are d's.
func (s *Source) copy(ctx context.Context, x *session, d *query, sql string, each func(arrow.RecordBatch) bool) error {
	r := newReader(s.settings.Allocator, d, each)
	defer r.release()
	full := "COPY (" + sql + ") TO STDOUT (FORMAT binary)"
	_, err := x.conn.PgConn().CopyTo(ctx, r, full)
	switch {
	case errors.Is(err, errEnough):
		return nil
	case err != nil:
		return classify(ctx, err, full, 1)
	}
	if err := r.end(); !errors.Is(err, errEnough) {
		return err
	}
	return nil
}

// text answers the whole statement: the model's on lines of its own, as a sub-select.
func (q *query) text(where string, limit int) string {
	reads := make([]string, len(q.columns))
	for i, c := range q.columns {
		reads[i] = c.read
	}
	if limit > 0 {
		where += " LIMIT " + strconv.Itoa(limit)
	}
	return q.probe(strings.Join(reads, ", "), where)
}

// probe answers a statement of the driver's own over the model's.
func (q *query) probe(list, where string) string {
	return "SELECT " + list + " FROM (\n" + q.sql + "\n) AS q" + where
}

// bucket answers the condition of a bucket of the keys' hash.
func (q *query) bucket(b sqltext.Bucket, keys []string) string {
	columns := make([]string, len(keys))
	for i, k := range keys {
		columns[i] = sqltext.Quote(k)
	}
	return " WHERE (hashtextextended(CAST(ROW(" + strings.Join(columns, ", ") + ") AS text), 0) & " + strconv.FormatInt(math.MaxInt64, 10) + ") % " +
		strconv.Itoa(b.Of) + " = " + strconv.Itoa(b.Index)
}

// where answers the condition of a range on the iterator. Its ends are bound to the transaction, not printed.
func (x *session) where(ctx context.Context, q *query, a window.Axis, r source.Range) (string, error) {
	name := sqltext.Quote(a.Column)
	if r.Nulls {
		return " WHERE " + name + " IS NULL", nil
	}
	high := "<"
	if r.HighClosed {
		high = "<="
	}
	var terms []string
	for _, end := range []struct{ value, operator, setting string }{{r.Low, ">=", "millrace.low"}, {r.High, high, "millrace.high"}} {
		if end.value == "" {
			continue
		}
		v, err := a.Parse(end.value)
		if err != nil {
			return "", err //nolint:wrapcheck // classified by window
		}
		if err := x.bind(ctx, end.setting, v.SQL()); err != nil {
			return "", err
		}
		terms = append(terms, name+" "+end.operator+" CAST(current_setting('"+end.setting+"') AS "+q.columns[a.Index].own+")")
	}
	if len(terms) == 0 {
		return "", nil
	}
	return " WHERE " + strings.Join(terms, " AND "), nil
}
