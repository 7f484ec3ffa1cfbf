package redshift

import (
	"context"
	"math"
	"strconv"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/record"
	"millrace.dev/pkg/source"
	"millrace.dev/pkg/source/sqltext"
)

// Types that PostgreSQL has not, by their numbers in the protocol.
const (
	oidGeometry       = 3000
	oidGeography      = 3001
	oidGeometryHex    = 3999
	oidSuper          = 4000
	oidVarbyte        = 6551
	oidHLLSketch      = 2935
	oidIntervalMonths = 1188
	oidIntervalTime   = 1190
)

// column is a column of a model, and how it is read (README.md has the table).
type column struct {
	name string
	own  string // its type as Redshift names it
	oid  uint32
	typ  arrow.DataType
	read string // expression of the select list
}

// query is a model's statement, looked at.
type query struct {
	sql     string
	columns []column
	schema  *arrow.Schema
}

// describe prepares q's statement, alone and as the sub-select that it will be, without running it.
func (x *session) describe(ctx context.Context, q source.Query) (*query, error) {
	sql, err := sqltext.Select(q.Model)
	if err != nil {
		return nil, err //nolint:wrapcheck // classified
	}
	d, err := x.conn.PgConn().Prepare(ctx, "", sql, nil)
	if err != nil {
		return nil, classify(ctx, err, sql, 0)
	}
	switch {
	case len(d.ParamOIDs) > 0:
		return nil, fault.New(fault.Invalid, fault.ReasonQueryInvalid, "the query has parameters; write their values into it")
	case len(d.Fields) == 0:
		return nil, fault.New(fault.Invalid, fault.ReasonQueryInvalid, "the query is no SELECT of columns; write one SELECT (WITH is fine)")
	}
	out := &query{sql: sql}
	if out.columns, err = columnsOf(d.Fields); err != nil {
		return nil, err
	}
	wrapped := out.text("", 0)
	if _, err := x.conn.PgConn().Prepare(ctx, "", wrapped, nil); err != nil {
		return nil, classify(ctx, err, wrapped, 1)
	}
	out.schema = schemaOf(out.columns)
	return out, nil
}

// columnsOf answers the columns of a statement, or all that are not read.
func columnsOf(fields []pgconn.FieldDescription) ([]column, error) {
	names, out := make([]string, len(fields)), make([]column, len(fields))
	var vs []fault.Violation
	for i, f := range fields {
		names[i], out[i] = f.Name, columnOf(f)
		if out[i].typ == nil {
			vs = append(vs, fault.Violation{Field: "sql", Message: "column " + sqltext.Quote(f.Name) + " has the type " + out[i].own + ", which is not read",
				Fix: refusedFix(f.DataTypeOID, sqltext.Quote(f.Name))})
		}
	}
	if err := sqltext.SameNames(names); err != nil {
		return nil, err //nolint:wrapcheck // classified
	}
	return out, fault.Of(fault.ReasonQueryInvalid, vs) //nolint:wrapcheck // classified
}

func refusedFix(oid uint32, name string) string {
	switch oid {
	case oidGeometry, oidGeography, oidGeometryHex:
		return "choose its text: ST_AsText(" + name + ") or ST_AsGeoJSON(" + name + "), or leave it out"
	case oidHLLSketch:
		return "choose its estimate: HLL_CARDINALITY(" + name + "), or leave it out"
	}
	return "CAST it to VARCHAR in the query, or leave it out"
}

func schemaOf(columns []column) *arrow.Schema {
	fields := make([]arrow.Field, len(columns))
	for i, c := range columns {
		meta := map[string]string{source.MetaType: c.own}
		if c.oid == oidSuper {
			meta[record.MetaJSON] = "true"
		}
		fields[i] = arrow.Field{Name: c.name, Type: c.typ, Nullable: true, Metadata: arrow.MetadataFrom(meta)}
	}
	return arrow.NewSchema(fields, nil)
}

func columnOf(f pgconn.FieldDescription) column {
	name := sqltext.Quote(f.Name)
	c := column{name: f.Name, oid: f.DataTypeOID, read: name}
	c.own, c.typ = typeOf(f)
	if isText(f.DataTypeOID) || f.DataTypeOID == pgtype.NumericOID && c.typ.ID() == arrow.STRING {
		c.read = "CAST(" + name + " AS VARCHAR) AS " + name
	}
	return c
}

// isText says whether a type is read as the text that the warehouse makes of it.
func isText(oid uint32) bool {
	switch oid {
	case pgtype.TimeOID, pgtype.TimetzOID, pgtype.IntervalOID, oidIntervalMonths, oidIntervalTime, pgtype.UUIDOID:
		return true
	}
	return false
}

// typeOf answers what Redshift names a type, and what it is in Arrow; nil: it is not read.
func typeOf(f pgconn.FieldDescription) (own string, typ arrow.DataType) {
	switch f.DataTypeOID {
	case pgtype.BoolOID:
		return "boolean", arrow.FixedWidthTypes.Boolean
	case pgtype.Int2OID:
		return "smallint", arrow.PrimitiveTypes.Int16
	case pgtype.Int4OID:
		return "integer", arrow.PrimitiveTypes.Int32
	case pgtype.Int8OID:
		return "bigint", arrow.PrimitiveTypes.Int64
	case pgtype.OIDOID:
		return "oid", arrow.PrimitiveTypes.Int64
	case pgtype.Float4OID:
		return "real", arrow.PrimitiveTypes.Float32
	case pgtype.Float8OID:
		return "double precision", arrow.PrimitiveTypes.Float64
	case pgtype.NumericOID:
		if p, s, ok := digits(f.TypeModifier); ok {
			return "numeric(" + strconv.Itoa(int(p)) + "," + strconv.Itoa(int(s)) + ")", &arrow.Decimal128Type{Precision: p, Scale: s}
		}
		return "numeric", arrow.BinaryTypes.String
	case pgtype.DateOID:
		return "date", arrow.FixedWidthTypes.Date32
	case pgtype.TimestampOID:
		return "timestamp without time zone", &arrow.TimestampType{Unit: arrow.Microsecond}
	case pgtype.TimestamptzOID:
		return "timestamp with time zone", &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"}
	case oidVarbyte:
		return "binary varying", arrow.BinaryTypes.Binary
	}
	return textTypeOf(f)
}

// textTypeOf is typeOf for what is text, and for what is not read.
func textTypeOf(f pgconn.FieldDescription) (own string, typ arrow.DataType) {
	for _, t := range []struct {
		oid uint32
		own string
	}{
		{pgtype.VarcharOID, "character varying" + length(f.TypeModifier)}, {pgtype.BPCharOID, "character" + length(f.TypeModifier)}, {pgtype.TextOID, "text"},
		{pgtype.NameOID, "name"}, {pgtype.QCharOID, `"char"`}, {pgtype.UnknownOID, "unknown"}, {pgtype.UUIDOID, "uuid"}, {oidSuper, "super"},
		{pgtype.TimeOID, "time without time zone"}, {pgtype.TimetzOID, "time with time zone"}, {pgtype.IntervalOID, "interval"},
		{oidIntervalMonths, "interval year to month"}, {oidIntervalTime, "interval day to second"},
	} {
		if t.oid == f.DataTypeOID {
			return t.own, arrow.BinaryTypes.String
		}
	}
	switch f.DataTypeOID {
	case oidGeometry, oidGeometryHex:
		return "geometry", nil
	case oidGeography:
		return "geography", nil
	case oidHLLSketch:
		return "hllsketch", nil
	}
	return "number " + strconv.FormatUint(uint64(f.DataTypeOID), 10), nil
}

// modifierHead is what modifiers count beside the length or the digits.
const modifierHead = 4

func length(modifier int32) string {
	if modifier <= modifierHead {
		return ""
	}
	return "(" + strconv.Itoa(int(modifier)-modifierHead) + ")"
}

// digits answers the declared precision and scale of a numeric; false where there are none.
func digits(modifier int32) (precision, scale int32, ok bool) {
	const maxPrecision = 38
	if modifier < modifierHead {
		return 0, 0, false
	}
	precision, scale = (modifier-modifierHead)>>16, (modifier-modifierHead)&math.MaxUint16
	return precision, scale, precision >= 1 && precision <= maxPrecision && scale <= precision
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
