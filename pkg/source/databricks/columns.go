package databricks

import (
	"context"
	"strconv"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/record"
	"millrace.dev/pkg/source"
	"millrace.dev/pkg/source/sqltext"
)

// query is a model's statement, looked at.
type query struct {
	sql     string
	columns []column
	schema  *arrow.Schema
}

// column is one of a query: its name, and its type as the warehouse names it and as it is read.
type column struct {
	name, own string
	kind
}

// item answers the column as one of a select list over `from`, which may be empty.
func (c column) item(from string) string {
	if from != "" {
		return c.value(from+"."+quote(c.name)) + " AS " + quote(c.name)
	}
	return c.read(quote(c.name))
}

// items answers the select list of columns.
func items(columns []column, from string) string {
	out := make([]string, len(columns))
	for i, c := range columns {
		out[i] = c.item(from)
	}
	return strings.Join(out, ", ")
}

// schemaOf answers the schema that columns are read by.
func schemaOf(columns []column) *arrow.Schema {
	fields := make([]arrow.Field, len(columns))
	for i, c := range columns {
		fields[i] = c.field(c.name, c.own)
	}
	return arrow.NewSchema(fields, nil)
}

// describe asks the warehouse for the columns of a statement. It is analysed as the sub-select that it will be, and not
// run: what is not one SELECT is refused there.
func (x *session) describe(ctx context.Context, sql string) (*query, error) {
	rows, err := x.texts(ctx, "DESCRIBE QUERY SELECT * FROM (\n"+sql+"\n) AS q")
	if err != nil {
		return nil, err
	}
	out := &query{sql: sql}
	var names []string
	var vs []fault.Violation
	for _, row := range rows {
		if len(row) < 2 {
			return nil, malformed()
		}
		name, own := row[0], row[1]
		names = append(names, name)
		k, ok := kindOf(own)
		if !ok {
			vs = append(vs, fault.Violation{Field: "sql", Message: "column " + quote(name) + " has the type " + own + ", which is not read", Fix: "CAST it to STRING in the query, or leave it out"})
		}
		out.columns = append(out.columns, column{name: name, own: own, kind: k})
	}
	if err := sqltext.SameNames(names); err != nil {
		return nil, err //nolint:wrapcheck // classified
	}
	if err := fault.Of(fault.ReasonQueryInvalid, vs); err != nil {
		return nil, err //nolint:wrapcheck // classified
	}
	if len(out.columns) == 0 {
		return nil, queryInvalid("the query is no SELECT of columns; write one SELECT (WITH is fine)")
	}
	out.schema = schemaOf(out.columns)
	return out, nil
}

// kind is how values of a type are read (README.md has the table).
type kind struct {
	typ  arrow.DataType
	json bool
	text bool // cast to STRING by the warehouse
}

// jsonOptions make JSON text of nested values lose nothing: NULL fields stay, instants keep their microseconds.
const jsonOptions = `map('ignoreNullFields', 'false', 'timestampFormat', 'yyyy-MM-dd\'T\'HH:mm:ss.SSSSSSXXX', 'timestampNTZFormat', 'yyyy-MM-dd\'T\'HH:mm:ss.SSSSSS')`

// read answers the expression of the select list for a quoted column.
func (k kind) read(name string) string {
	if value := k.value(name); value != name {
		return value + " AS " + name
	}
	return name
}

// value answers the expression that a column is read by.
func (k kind) value(name string) string {
	switch {
	case k.json:
		return "to_json(" + name + ", " + jsonOptions + ")"
	case k.text:
		return "CAST(" + name + " AS STRING)"
	}
	return name
}

func (k kind) field(name, own string) arrow.Field {
	meta := map[string]string{source.MetaType: own}
	if k.json {
		meta[record.MetaJSON] = "true"
	}
	return arrow.Field{Name: name, Type: k.typ, Nullable: true, Metadata: arrow.MetadataFrom(meta)}
}

// kindOf answers how a type is read, false where it is not.
func kindOf(own string) (kind, bool) {
	name, rest := strings.ToLower(own), ""
	if i := strings.IndexAny(name, "(<: "); i >= 0 {
		name, rest = name[:i], name[i:]
	}
	switch name {
	case "boolean":
		return kind{typ: arrow.FixedWidthTypes.Boolean}, true
	case "tinyint", "byte":
		return kind{typ: arrow.PrimitiveTypes.Int8}, true
	case "smallint", "short":
		return kind{typ: arrow.PrimitiveTypes.Int16}, true
	case "int", "integer":
		return kind{typ: arrow.PrimitiveTypes.Int32}, true
	case "bigint", "long":
		return kind{typ: arrow.PrimitiveTypes.Int64}, true
	case "float", "real":
		return kind{typ: arrow.PrimitiveTypes.Float32}, true
	case "double":
		return kind{typ: arrow.PrimitiveTypes.Float64}, true
	case "decimal", "numeric", "dec":
		p, s, ok := digits(rest)
		return kind{typ: &arrow.Decimal128Type{Precision: p, Scale: s}}, ok
	case "string", "varchar", "char":
		return kind{typ: arrow.BinaryTypes.String}, true
	case "binary":
		return kind{typ: arrow.BinaryTypes.Binary}, true
	case "date":
		return kind{typ: arrow.FixedWidthTypes.Date32}, true
	case "timestamp", "timestamp_ltz":
		return kind{typ: &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"}}, true
	case "timestamp_ntz":
		return kind{typ: &arrow.TimestampType{Unit: arrow.Microsecond}}, true
	case "array", "map", "struct", "variant":
		return kind{typ: arrow.BinaryTypes.String, json: true}, !strings.Contains(rest, "interval")
	case "void", "null", "time":
		return kind{typ: arrow.BinaryTypes.String, text: true}, true
	}
	return kind{typ: arrow.BinaryTypes.String}, false // interval, geography, geometry, object and what is to come
}

// digits reads "(38,10)".
func digits(s string) (precision, scale int32, ok bool) {
	p, rest, _ := strings.Cut(strings.Trim(s, "() "), ",")
	n, err := strconv.ParseInt(strings.TrimSpace(p), 10, 32)
	if err != nil {
		return 10, 0, s == "" // the default
	}
	m, _ := strconv.ParseInt(strings.TrimSpace(rest), 10, 32)
	return int32(n), int32(m), n >= 1 && n <= 38 && m >= 0 && m <= n
}
