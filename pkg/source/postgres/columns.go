package postgres

import (
	"context"
	"math"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/record"
	"millrace.dev/pkg/source"
	"millrace.dev/pkg/source/sqltext"
)

// column is a column of a model, and how it is read (README.md has the table).
type column struct {
	name string
	own  string // its type as the server prints it
	oid  uint32
	typ  arrow.DataType
	read string // expression of the select list
	json bool
}

// query is a model's statement, looked at.
type query struct {
	sql     string
	columns []column
	schema  *arrow.Schema
}

// describe prepares q's statement without running it.
func (x *session) describe(ctx context.Context, q source.Query) (*query, error) {
	sql, err := sqltext.Select(q.Model)
	if err != nil {
		return nil, err
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
	names := make([]string, len(d.Fields))
	for i, f := range d.Fields {
		names[i] = f.Name
	}
	if err := sqltext.SameNames(names); err != nil {
		return nil, err
	}
	out := &query{sql: sql}
	if out.columns, err = x.columns(ctx, d.Fields); err != nil {
		return nil, err
	}
	wrapped := out.text("", 0)
	if _, err := x.conn.PgConn().Prepare(ctx, "", wrapped, nil); err != nil {
		return nil, classify(ctx, err, wrapped, 1)
	}
	out.schema = schemaOf(out.columns)
	return out, nil
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

const typesSQL = `SELECT f.n::int4, format_type(t.oid, f.m), t.typtype::text, t.typcategory::text
FROM unnest($1::int8[], $2::int4[]) WITH ORDINALITY AS f(o, m, n) JOIN pg_type AS t ON t.oid = f.o::oid`

// columns asks the server what types the fields have.
func (x *session) columns(ctx context.Context, fields []pgconn.FieldDescription) ([]column, error) {
	oids, mods := make([]int64, len(fields)), make([]int32, len(fields))
	out := make([]column, len(fields))
	for i, f := range fields {
		oids[i], mods[i] = int64(f.DataTypeOID), f.TypeModifier
	}
	rows, err := x.conn.Query(ctx, typesSQL, oids, mods)
	if err != nil {
		return nil, classify(ctx, err, "", 0)
	}
	defer rows.Close()
	for rows.Next() {
		var n int32
		var own, kind, category string
		if err := rows.Scan(&n, &own, &kind, &category); err != nil {
			return nil, classify(ctx, err, "", 0)
		}
		out[n-1] = columnOf(fields[n-1], own, kind, category)
	}
	return out, classify(ctx, rows.Err(), "", 0)
}

func columnOf(f pgconn.FieldDescription, own, kind, category string) column {
	name := sqltext.Quote(f.Name)
	c := column{name: f.Name, own: own, oid: f.DataTypeOID, read: name, typ: native(f)}
	switch {
	case f.DataTypeOID == pgtype.JSONOID || f.DataTypeOID == pgtype.JSONBOID:
		c.json = true
	case c.typ != nil:
	case category == "A" || kind == "c" || f.DataTypeOID == pgtype.RecordOID:
		c.typ, c.json, c.oid, c.read = arrow.BinaryTypes.String, true, pgtype.TextOID, "CAST(to_json("+name+") AS text) AS "+name
	default:
		c.typ, c.oid, c.read = arrow.BinaryTypes.String, pgtype.TextOID, "CAST("+name+" AS text) AS "+name
	}
	return c
}

// native answers the Arrow type of a field that is read from its binary form, nil for others.
func native(f pgconn.FieldDescription) arrow.DataType {
	switch f.DataTypeOID {
	case pgtype.BoolOID:
		return arrow.FixedWidthTypes.Boolean
	case pgtype.Int2OID:
		return arrow.PrimitiveTypes.Int16
	case pgtype.Int4OID:
		return arrow.PrimitiveTypes.Int32
	case pgtype.Int8OID:
		return arrow.PrimitiveTypes.Int64
	case pgtype.OIDOID:
		return arrow.PrimitiveTypes.Uint32
	case pgtype.Float4OID:
		return arrow.PrimitiveTypes.Float32
	case pgtype.Float8OID:
		return arrow.PrimitiveTypes.Float64
	case pgtype.DateOID:
		return arrow.FixedWidthTypes.Date32
	case pgtype.TimestampOID:
		return &arrow.TimestampType{Unit: arrow.Microsecond}
	case pgtype.TimestamptzOID:
		return &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"}
	case pgtype.ByteaOID:
		return arrow.BinaryTypes.Binary
	case pgtype.TextOID, pgtype.VarcharOID, pgtype.BPCharOID, pgtype.NameOID, pgtype.QCharOID, pgtype.UUIDOID, pgtype.JSONOID, pgtype.JSONBOID, pgtype.UnknownOID:
		return arrow.BinaryTypes.String
	case pgtype.NumericOID:
		if p, s, ok := digits(f.TypeModifier); ok {
			return &arrow.Decimal128Type{Precision: p, Scale: s}
		}
		return arrow.BinaryTypes.String
	default:
		return nil
	}
}

// digits answers the declared precision and scale of a numeric; false where there are none that a decimal128 has.
func digits(modifier int32) (precision, scale int32, ok bool) {
	const head, maxPrecision = 4, 38
	if modifier < head {
		return 0, 0, false
	}
	modifier -= head
	precision = modifier >> 16 & math.MaxUint16
	scale = modifier & 0x7ff
	if scale > 0x3ff { // eleven bits with a sign
		scale -= 0x800
	}
	return precision, scale, precision <= maxPrecision && scale >= 0 && scale <= precision
}
