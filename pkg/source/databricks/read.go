package databricks

import (
	"context"
	"iter"
	"strconv"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"

	"millrace.dev/pkg/source"
	"millrace.dev/pkg/source/sqltext"
	"millrace.dev/pkg/window"
)

// Describe answers the schema of q's rows; the warehouse analyses the query and reads none.
func (s *Source) Describe(ctx context.Context, q source.Query) (*arrow.Schema, error) {
	sql, err := selectOf(q.Model)
	if err != nil {
		return nil, err
	}
	x, err := s.session(ctx, q.Label)
	if err != nil {
		return nil, err
	}
	defer x.close()
	d, err := x.describe(ctx, sql)
	if err != nil {
		return nil, err
	}
	return d.schema, nil
}

// Read answers the rows of q in batches of at most 16,384, in no order. A table is read in the version that the plan
// names; where that is gone, in the newest, for ranges are by value.
func (s *Source) Read(ctx context.Context, q source.Query) iter.Seq2[arrow.RecordBatch, error] {
	return func(yield func(arrow.RecordBatch, error) bool) {
		if err := s.read(ctx, q, func(b arrow.RecordBatch) bool { return yield(b, nil) }); err != nil {
			yield(nil, err)
		}
	}
}

// read stops without an error when each answers false.
func (s *Source) read(ctx context.Context, q source.Query, each func(arrow.RecordBatch) bool) error {
	x, err := s.session(ctx, q.Label)
	if err != nil {
		return err
	}
	defer x.close()
	d, err := s.at(ctx, x, q)
	if err != nil {
		return err
	}
	where, args, err := d.slice(q)
	if err != nil {
		return err
	}
	return x.read(ctx, d.text(where, q.Limit), args, d.schema, each)
}

// read runs a statement and hands its batches on under a schema; those with other columns are SOURCE_CHANGED.
func (x *session) read(ctx context.Context, sql string, args []parameter, schema *arrow.Schema, each func(arrow.RecordBatch) bool) error {
	var unfit error
	err := x.run(ctx, sql, args, func(b arrow.RecordBatch) bool {
		fitted, err := fit(x.setting, schema, b)
		if err != nil {
			unfit = err
			return false
		}
		defer fitted.Release()
		return each(fitted)
	})
	if unfit != nil {
		return unfit
	}
	return err
}

// slice answers the condition of q's range, and what is bound in it.
func (d *query) slice(q source.Query) (string, []parameter, error) {
	switch {
	case q.Range.IsAll():
		return "", nil, nil
	case q.Range.Unit != "":
		b, err := sqltext.ParseBucket(q.Range.Unit, hash)
		return bucket(b, q.Model.KeyColumns, ""), nil, err //nolint:wrapcheck // classified
	}
	a, err := window.NewAxis(q.Model.Iterator, d.schema)
	if err != nil {
		return "", nil, err //nolint:wrapcheck // classified by window
	}
	return d.where(a, q.Range)
}

// text answers the whole statement: the model's on lines of its own, as a sub-select.
func (d *query) text(where string, limit int) string {
	if limit > 0 {
		where += " LIMIT " + strconv.Itoa(limit)
	}
	return d.probe(items(d.columns, ""), where)
}

// probe answers a statement of the driver's own over the model's.
func (d *query) probe(list, where string) string {
	return "SELECT " + list + " FROM (\n" + d.sql + "\n) AS q" + where
}

// hash names the warehouse's hash of keys.
const hash = "xxhash64 of Databricks"

// bucket answers the condition of a bucket of the hash of key columns; `of` stands before their names.
func bucket(b sqltext.Bucket, keys []string, of string) string {
	columns := make([]string, len(keys))
	for i, k := range keys {
		columns[i] = of + quote(k)
	}
	return " WHERE pmod(xxhash64(" + strings.Join(columns, ", ") + "), " + strconv.Itoa(b.Of) + ") = " + strconv.Itoa(b.Index)
}

// where answers the condition of a range on the iterator. Its ends are bound, not printed.
func (d *query) where(a window.Axis, r source.Range) (string, []parameter, error) {
	name := quote(a.Column)
	if r.Nulls {
		return " WHERE " + name + " IS NULL", nil, nil
	}
	high := "<"
	if r.HighClosed {
		high = "<="
	}
	var terms []string
	var args []parameter
	for _, end := range []struct{ value, operator, name string }{{r.Low, ">=", "millrace_low"}, {r.High, high, "millrace_high"}} {
		if end.value == "" {
			continue
		}
		v, err := a.Parse(end.value)
		if err != nil {
			return "", nil, err //nolint:wrapcheck // classified by window
		}
		term, arg := d.bound(a, end.name, v)
		terms, args = append(terms, name+" "+end.operator+" "+term), append(args, arg)
	}
	if len(terms) == 0 {
		return "", nil, nil
	}
	return " WHERE " + strings.Join(terms, " AND "), args, nil
}

// bound answers a parameter of the iterator's own type, and v as its value.
func (d *query) bound(a window.Axis, name string, v window.Value) (string, parameter) {
	return "CAST(:" + name + " AS " + d.columns[a.Index].own + ")", parameter{name: name, text: v.SQL()}
}
