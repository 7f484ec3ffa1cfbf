package bigquery

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	bq "google.golang.org/api/bigquery/v2"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/record"
	"millrace.dev/pkg/source"
	"millrace.dev/pkg/source/bigquery/googlesql"
	"millrace.dev/pkg/source/sqltext"
)

// column is a column of a model, and how it is read (README.md has the table).
type column struct {
	name        string
	own         string // its type as BigQuery names it
	typ         arrow.DataType
	read        string // expression of the select list, with %s for the column; empty: as it is
	json        bool   // it becomes JSON text
	unsupported bool
}

// maxDigits is how many digits a decimal of the mesh has.
const maxDigits = 38

const (
	asText = "CAST(%s AS STRING)"
	asJSON = "IF(%s IS NULL, NULL, TO_JSON_STRING(%s))"
)

// query is a model's statement, looked at.
type query struct {
	sql     string
	columns []column
	schema  *arrow.Schema
	bytes   int64
}

// describe asks BigQuery what a model's statement is, without running it.
func (s *Source) describe(ctx context.Context, q source.Query) (*query, error) {
	sql, err := statement(q.Model)
	if err != nil {
		return nil, err
	}
	own, err := s.dryRun(ctx, request{sql: sql, label: q.Label})
	switch {
	case err != nil:
		return nil, err
	case own.StatementType != selectStatement:
		return nil, invalid("the query is no SELECT; write one SELECT (WITH is fine)")
	case len(own.UndeclaredQueryParameters) > 0:
		return nil, invalid("the query has parameters; write their values into it")
	case own.Schema == nil || len(own.Schema.Fields) == 0:
		return nil, invalid("the query selects no columns; write one SELECT")
	case slices.Contains(own.Schema.Fields, nil):
		return nil, unreadable("a dry run")
	}
	out := &query{sql: sql}
	if err := out.take(own.Schema.Fields); err != nil {
		return nil, err
	}
	wrapped, err := s.dryRun(ctx, request{sql: out.text("", 0), label: q.Label, shift: 1})
	if err != nil {
		return nil, err
	}
	if wrapped.Schema == nil || len(wrapped.Schema.Fields) != len(out.columns) || slices.Contains(wrapped.Schema.Fields, nil) || wrapped.StatementType != selectStatement {
		return nil, unreadable("a dry run")
	}
	out.bytes = wrapped.TotalBytesProcessed
	for i, f := range wrapped.Schema.Fields {
		if typ := columnOf(f).typ; out.columns[i].read == "" && typ != nil && typ.ID() == out.columns[i].typ.ID() {
			out.columns[i].typ = typ // with the digits that the result has
		}
	}
	out.schema = schemaOf(out.columns)
	return out, nil
}

// take makes columns of the fields of a result.
func (q *query) take(fields []*bq.TableFieldSchema) error {
	names := make([]string, len(fields))
	var vs []fault.Violation
	for i, f := range fields {
		names[i] = f.Name
		c := columnOf(f)
		if c.unsupported {
			vs = append(vs, fault.Violation{Field: "sql", Message: "column " + sqltext.Quote(f.Name) + " has the type " + c.own + ", which is not read", Fix: "cast it to STRING, or leave it out"})
		}
		q.columns = append(q.columns, c)
	}
	if err := sqltext.SameNames(names); err != nil {
		return err //nolint:wrapcheck // classified by sqltext
	}
	return fault.Of(fault.ReasonQueryInvalid, vs)
}

func schemaOf(columns []column) *arrow.Schema {
	fields := make([]arrow.Field, len(columns))
	for i, c := range columns {
		meta := map[string]string{source.MetaType: c.own}
		if c.json {
			meta[record.MetaJSON] = "true"
		}
		fields[i] = arrow.Field{Name: c.name, Type: c.typ, Nullable: true, Metadata: arrow.MetadataFrom(meta)}
	}
	return arrow.NewSchema(fields, nil)
}

func columnOf(f *bq.TableFieldSchema) column {
	c := column{name: f.Name, own: typeName(f)}
	switch {
	case f.Mode == "REPEATED", f.Type == "RECORD", f.Type == "STRUCT", f.Type == "JSON":
		c.typ, c.read, c.json = arrow.BinaryTypes.String, asJSON, true
		return c
	case f.TimestampPrecision != nil && *f.TimestampPrecision > 6:
		c.unsupported = true
		return c
	}
	c.typ, c.read = plainType(f)
	c.unsupported = c.typ == nil
	return c
}

// plainType answers the Arrow type of a column that is no structure, and how it is read.
func plainType(f *bq.TableFieldSchema) (arrow.DataType, string) {
	switch f.Type {
	case "INTEGER", "INT64":
		return arrow.PrimitiveTypes.Int64, ""
	case "FLOAT", "FLOAT64":
		return arrow.PrimitiveTypes.Float64, ""
	case "BOOLEAN", "BOOL":
		return arrow.FixedWidthTypes.Boolean, ""
	case "STRING":
		return arrow.BinaryTypes.String, ""
	case "BYTES":
		return arrow.BinaryTypes.Binary, ""
	case "DATE":
		return arrow.FixedWidthTypes.Date32, ""
	case "DATETIME":
		return &arrow.TimestampType{Unit: arrow.Microsecond}, ""
	case "TIMESTAMP":
		return &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"}, ""
	case "NUMERIC", "DECIMAL":
		if f.Precision <= 0 || f.Precision > maxDigits || f.Scale < 0 || f.Scale > f.Precision {
			return &arrow.Decimal128Type{Precision: maxDigits, Scale: 9}, ""
		}
		return &arrow.Decimal128Type{Precision: int32(f.Precision), Scale: int32(f.Scale)}, "" //nolint:gosec // bounded above
	case "BIGNUMERIC", "BIGDECIMAL":
		if f.Precision <= 0 || f.Precision > maxDigits || f.Scale < 0 || f.Scale > f.Precision {
			return arrow.BinaryTypes.String, asText // most of its values are no decimals of 38 digits at one scale
		}
		return &arrow.Decimal128Type{Precision: int32(f.Precision), Scale: int32(f.Scale)}, "" //nolint:gosec // bounded above
	case "TIME", "INTERVAL", "RANGE":
		return arrow.BinaryTypes.String, asText
	case "GEOGRAPHY":
		return arrow.BinaryTypes.String, "ST_ASTEXT(%s)"
	}
	return nil, ""
}

// typeName answers a column's type as BigQuery's SQL writes it.
func typeName(f *bq.TableFieldSchema) string {
	name := f.Type
	switch f.Type {
	case "INTEGER":
		name = "INT64"
	case "FLOAT":
		name = "FLOAT64"
	case "BOOLEAN":
		name = "BOOL"
	case "RECORD":
		name = "STRUCT"
	case "NUMERIC", "BIGNUMERIC":
		if f.Precision > 0 {
			name += "(" + strconv.FormatInt(f.Precision, 10) + ", " + strconv.FormatInt(f.Scale, 10) + ")"
		}
	case "TIMESTAMP":
		if f.TimestampPrecision != nil && *f.TimestampPrecision > 6 {
			name += "(" + strconv.FormatInt(*f.TimestampPrecision, 10) + ")"
		}
	case "RANGE":
		if f.RangeElementType != nil {
			name += "<" + f.RangeElementType.Type + ">"
		}
	}
	if f.Mode == "REPEATED" {
		return "ARRAY<" + name + ">"
	}
	return name
}

// alias stands for the model's rows in the driver's statements.
const alias = "millrace_q"

// text answers the whole statement: the model's on lines of its own, as a sub-select. Its columns are c0, c1 …, so that
// any name goes into a temporary table.
func (q *query) text(where string, limit int) string {
	reads := make([]string, len(q.columns))
	for i, c := range q.columns {
		reads[i] = c.reading() + " AS c" + strconv.Itoa(i)
	}
	if limit > 0 {
		where += " LIMIT " + strconv.Itoa(limit)
	}
	return q.probe(strings.Join(reads, ", "), where)
}

// reading answers the expression by which c is read.
func (c column) reading() string {
	name := googlesql.Quote(c.name)
	if c.read == "" {
		return name
	}
	return strings.ReplaceAll(c.read, "%s", name)
}

// probe answers a statement of the driver's own over the model's.
func (q *query) probe(list, where string) string {
	return "SELECT " + list + " FROM (\n" + q.sql + "\n) AS " + alias + where
}
