//go:build cgo && duckdb_arrow

package duckdb

import (
	"context"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	engine "github.com/duckdb/duckdb-go-bindings"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/record"
	"millrace.dev/pkg/source"
	"millrace.dev/pkg/source/sqltext"
	"millrace.dev/pkg/window"
)

// query is a model's statement, looked at: its columns, and how each is read.
type query struct {
	sql    string
	schema *arrow.Schema
	reads  []string // expressions of the select list, one per column
}

// describe prepares q's statement without running it.
func (c *conn) describe(ctx context.Context, q source.Query) (*query, error) {
	sql, err := sqltext.Select(q.Model)
	if err != nil {
		return nil, err
	}
	own, err := c.prepare(ctx, sql)
	if err != nil {
		return nil, err
	}
	defer own.close()
	if own.parameters() > 0 {
		return nil, fault.New(fault.Invalid, fault.ReasonQueryInvalid, "the query has parameters; write their values into it")
	}
	names, types := own.columns()
	defer destroy(types)
	if err := sqltext.SameNames(names); err != nil {
		return nil, err
	}
	out := &query{sql: sql}
	var vs []fault.Violation
	kinds := make([]kind, len(names))
	for i, n := range names {
		kinds[i] = kindOf(types[i])
		if kinds[i].unsupported {
			vs = append(vs, fault.Violation{Field: "sql", Message: "column " + sqltext.Quote(n) + " has the type " + kinds[i].name + ", which is not read", Fix: "cast it to VARCHAR, or leave it out"})
		}
		out.reads = append(out.reads, kinds[i].read(sqltext.Quote(n)))
	}
	if err := fault.Of(fault.ReasonQueryInvalid, vs); err != nil {
		return nil, err
	}
	wrapped, err := c.prepare(ctx, out.text("", 0))
	if err != nil {
		return nil, err
	}
	defer wrapped.close()
	plain, err := wrapped.schema()
	if err != nil {
		return nil, err
	}
	fields := make([]arrow.Field, len(names))
	for i, f := range plain.Fields() {
		meta := map[string]string{source.MetaType: kinds[i].name}
		if kinds[i].json {
			meta[record.MetaJSON] = "true"
		}
		fields[i] = arrow.Field{Name: names[i], Type: f.Type, Nullable: true, Metadata: arrow.MetadataFrom(meta)}
	}
	out.schema = arrow.NewSchema(fields, nil)
	return out, nil
}

// text answers the whole statement: the model's on lines of its own, as a sub-select.
func (q *query) text(where string, limit int) string {
	return "SELECT " + strings.Join(q.reads, ", ") + " FROM (\n" + q.sql + "\n) AS q" + where + limitText(limit)
}

// probe answers a statement of the driver's own over the model's.
func (q *query) probe(list, where string) string {
	return "SELECT " + list + " FROM (\n" + q.sql + "\n) AS q" + where
}

// where answers the condition of a range on the iterator, with its values in the order of its parameters.
func (q *query) where(a window.Axis, r source.Range) (string, []engine.Value, error) {
	column := sqltext.Quote(a.Column)
	if r.Nulls {
		return " WHERE " + column + " IS NULL", nil, nil
	}
	var terms []string
	var args []engine.Value
	for _, end := range []struct{ at, op string }{{r.Low, ">="}, {r.High, upper(r)}} {
		if end.at == "" {
			continue
		}
		v, err := a.Parse(end.at)
		if err != nil {
			destroyValues(args)
			return "", nil, err
		}
		cast, arg := q.bound(a, v)
		terms, args = append(terms, column+" "+end.op+" "+cast), append(args, arg)
	}
	if len(terms) == 0 {
		return "", nil, nil
	}
	return " WHERE " + strings.Join(terms, " AND "), args, nil
}

// bucket answers the condition of a bucket of the keys' hash.
func (q *query) bucket(b sqltext.Bucket, keys []string) string {
	columns := make([]string, len(keys))
	for i, k := range keys {
		columns[i] = sqltext.Quote(k)
	}
	return " WHERE hash(" + strings.Join(columns, ", ") + ") % " + strconv.Itoa(b.Of) + " = " + strconv.Itoa(b.Index)
}

func upper(r source.Range) string {
	if r.HighClosed {
		return "<="
	}
	return "<"
}

// bound answers a parameter of the column's own type and v as its value.
func (q *query) bound(a window.Axis, v window.Value) (string, engine.Value) {
	sec, nsec := v.Unix()
	switch t := q.schema.Field(a.Index).Type.(type) {
	case *arrow.Date32Type:
		return "?", engine.CreateDate(engine.NewDate(int32(sec))) //nolint:gosec // a date's days
	case *arrow.TimestampType:
		n := raw(sec, nsec, t.Unit.Multiplier())
		switch {
		case t.TimeZone != "":
			return "?", engine.CreateTimestampTZ(engine.NewTimestamp(n))
		case t.Unit == arrow.Second:
			return "?", engine.CreateTimestampS(engine.NewTimestampS(n))
		case t.Unit == arrow.Millisecond:
			return "?", engine.CreateTimestampMS(engine.NewTimestampMS(n))
		case t.Unit == arrow.Microsecond:
			return "?", engine.CreateTimestamp(engine.NewTimestamp(n))
		default:
			return "?", engine.CreateTimestampNS(engine.NewTimestampNS(n))
		}
	}
	f := q.schema.Field(a.Index)
	name, _ := f.Metadata.GetValue(source.MetaType)
	return "CAST(? AS " + name + ")", text(v.String())
}

// raw answers an instant in steps of unit, at most what an int64 holds.
func raw(sec int64, nsec int32, unit time.Duration) int64 {
	per := int64(time.Second / unit)
	switch edge := math.MaxInt64/per - 1; {
	case sec > edge:
		return math.MaxInt64
	case sec < -edge:
		return math.MinInt64 + 1
	}
	return sec*per + int64(nsec)/int64(unit)
}
