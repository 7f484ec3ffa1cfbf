package snowflake

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/record"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/source"
	"millrace.dev/pkg/source/sqltext"
)

// column is a column of a result, and how it is read (README.md has the table).
type column struct {
	name  string
	wire  string // fixed, real, text, …
	own   string // its type as the warehouse's SQL writes it
	scale int32
	typ   arrow.DataType // nil: it is not read
	json  bool
}

// maxInt64Digits is how many decimal digits every int64 has.
const maxInt64Digits = 18

// columnOf answers how a column is read.
func columnOf(name, wire string, precision, scale, length int64, timestamps string) column {
	c := column{name: name, wire: strings.ToLower(wire), scale: int32(min(max(scale, 0), 38))} //nolint:gosec // bounded
	switch c.wire {
	case "fixed":
		p := int32(min(max(precision, 1), 38)) //nolint:gosec // bounded
		c.own = fmt.Sprintf("NUMBER(%d,%d)", p, c.scale)
		if c.typ = arrow.PrimitiveTypes.Int64; c.scale > 0 || p > maxInt64Digits {
			c.typ = &arrow.Decimal128Type{Precision: p, Scale: c.scale}
		}
	case "real":
		c.own, c.typ = "FLOAT", arrow.PrimitiveTypes.Float64
	case "text":
		c.own, c.typ = "VARCHAR", arrow.BinaryTypes.String
		if length > 0 {
			c.own += "(" + strconv.FormatInt(length, 10) + ")"
		}
	case "binary":
		c.own, c.typ = "BINARY", arrow.BinaryTypes.Binary
	case "boolean":
		c.own, c.typ = "BOOLEAN", arrow.FixedWidthTypes.Boolean
	case "date":
		c.own, c.typ = "DATE", arrow.FixedWidthTypes.Date32
	case "time":
		c.own, c.typ = fmt.Sprintf("TIME(%d)", c.scale), arrow.BinaryTypes.String
	case "timestamp_ntz", "timestamp_ltz", "timestamp_tz":
		c.own, c.typ = fmt.Sprintf("%s(%d)", strings.ToUpper(c.wire), c.scale), c.instant(timestamps)
	case "variant", "object", "array":
		c.own, c.typ, c.json = strings.ToUpper(c.wire), arrow.BinaryTypes.String, true
	default:
		c.own = strings.ToUpper(wire)
	}
	return c
}

// instant answers the type of a timestamp column.
func (c column) instant(timestamps string) arrow.DataType {
	const microDigits = 6
	t := &arrow.TimestampType{Unit: arrow.Microsecond}
	if c.scale > microDigits && timestamps == resource.Nanoseconds {
		t.Unit = arrow.Nanosecond
	}
	if c.wire != "timestamp_ntz" {
		t.TimeZone = "UTC"
	}
	return t
}

func schemaOf(columns []column) *arrow.Schema {
	fields := make([]arrow.Field, len(columns))
	for i, c := range columns {
		meta := map[string]string{source.MetaType: c.own}
		if c.json {
			meta[record.MetaJSON] = "true"
		}
		t := c.typ
		if t == nil {
			t = arrow.BinaryTypes.String
		}
		fields[i] = arrow.Field{Name: c.name, Type: t, Nullable: true, Metadata: arrow.MetadataFrom(meta)}
	}
	return arrow.NewSchema(fields, nil)
}

// query is a model's statement, looked at.
type query struct {
	statement
	label    string
	columns  []column
	schema   *arrow.Schema
	snapshot string // the name of what it reads, "" where it reads what is there
	text     string // the statement, its tables as they were at the snapshot
}

// describe looks at q's statement without running it: alone, where it must be one SELECT, and as the sub-select that it
// is read as.
func (x *session) describe(ctx context.Context, q source.Query) (*query, error) {
	s, err := statementOf(q.Model)
	if err != nil {
		return nil, err
	}
	out := &query{statement: s, label: q.Label, text: s.text}
	columns, kind, err := x.columns(ctx, command{sql: s.text, label: q.Label})
	if err != nil {
		return nil, err
	}
	if kind != selects && kind != 0 { // 0: it does not say; as a sub-select nothing else compiles
		return nil, invalid("the warehouse takes the query for no SELECT; write one SELECT (WITH is fine)")
	}
	if err := readable(columns); err != nil {
		return nil, err
	}
	out.columns, out.schema = columns, schemaOf(columns)
	wrapped, _, err := x.columns(ctx, out.command(out.list(), "", 0))
	if err != nil {
		return nil, err
	}
	if !slices.EqualFunc(columns, wrapped, func(a, b column) bool { return a.name == b.name && arrow.TypeEqual(a.typ, b.typ) }) {
		return nil, invalid("the query has other columns as a sub-select than alone; write one SELECT")
	}
	return out, nil
}

// readable refuses columns that cannot be told apart or are not read, all at once.
func readable(columns []column) error {
	names := make([]string, len(columns))
	var vs []fault.Violation
	for i, c := range columns {
		if names[i] = c.name; c.typ == nil {
			vs = append(vs, fault.Violation{Field: "sql", Message: "column " + sqltext.Quote(c.name) + " has the type " + c.own + ", which is not read", Fix: "cast it to VARCHAR or VARIANT, or leave it out"})
		}
	}
	if len(names) == 0 {
		return invalid("the query is no SELECT of columns; write one SELECT (WITH is fine)")
	}
	if err := sqltext.SameNames(names); err != nil {
		return err //nolint:wrapcheck // classified by sqltext
	}
	return fault.Of(fault.ReasonQueryInvalid, vs) //nolint:wrapcheck // born classified
}

// list answers the select list that reads every column.
func (q *query) list() string {
	names := make([]string, len(q.columns))
	for i, c := range q.columns {
		names[i] = sqltext.Quote(c.name)
	}
	return strings.Join(names, ", ")
}

// command answers a statement over the model's, which stands on lines of its own.
func (q *query) command(list, where string, limit int, binds ...string) command {
	if limit > 0 {
		where += " LIMIT " + strconv.Itoa(limit)
	}
	return command{sql: "SELECT " + list + " FROM (\n" + q.text + "\n) AS " + sqltext.Quote("q") + where, binds: binds, label: q.label, before: 1}
}
