//go:build cgo && duckdb_arrow

package bigquerytest

import (
	"fmt"
	"strconv"
	"strings"

	bq "google.golang.org/api/bigquery/v2"
)

// fieldOf answers a column as BigQuery's schemas have it, by its type as DuckDB writes it.
func fieldOf(name, typ string) *bq.TableFieldSchema {
	f := &bq.TableFieldSchema{Name: name, Mode: "NULLABLE"}
	if tag, ok := strings.CutPrefix(typ, "UNION("); ok {
		tag, _, _ = strings.Cut(tag, " ")
		typ = strings.ToUpper(strings.Trim(tag, `"`))
	}
	switch {
	case strings.HasSuffix(typ, "]"):
		inner := fieldOf(name, typ[:strings.LastIndexByte(typ, '[')])
		inner.Mode = "REPEATED"
		return inner
	case strings.HasPrefix(typ, "STRUCT"), strings.HasPrefix(typ, "MAP"):
		f.Type = "RECORD"
		return f
	case strings.HasPrefix(typ, "DECIMAL"):
		if p, s := digits(typ); s > 9 || p-s > 29 {
			f.Type, f.Precision, f.Scale = "BIGNUMERIC", int64(p), int64(s)
		} else {
			f.Type = "NUMERIC"
		}
		return f
	}
	f.Type = plain(typ)
	switch typ {
	case "RANGE_DATE":
		f.Type, f.RangeElementType = "RANGE", &bq.TableFieldSchemaRangeElementType{Type: "DATE"}
	case "PICOS":
		twelve := int64(12)
		f.Type, f.TimestampPrecision = "TIMESTAMP", &twelve
	}
	return f
}

func digits(decimal string) (precision, scale int) {
	fmt.Sscanf(decimal, "DECIMAL(%d,%d)", &precision, &scale) //nolint:errcheck,gosec // DuckDB writes it so
	return precision, scale
}

func plain(typ string) string {
	switch typ {
	case "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER":
		return "INTEGER"
	case "FLOAT", "DOUBLE":
		return "FLOAT"
	case "HUGEINT", "UBIGINT":
		return "NUMERIC"
	case "BLOB":
		return "BYTES"
	case "TIMESTAMP":
		return "DATETIME"
	case "TIMESTAMP WITH TIME ZONE":
		return "TIMESTAMP"
	case "BOOLEAN", "DATE", "TIME", "JSON", "INTERVAL", "BIGNUMERIC", "GEOGRAPHY":
		return typ
	}
	return "STRING"
}

// wire answers how a column is read so that DuckDB's Arrow is BigQuery's.
func wire(f *bq.TableFieldSchema) string {
	cast := func(to string) string { return "CAST(" + ident(f.Name) + " AS " + to + ")" }
	switch f.Type {
	case "INTEGER":
		return cast("BIGINT")
	case "FLOAT":
		return cast("DOUBLE")
	case "NUMERIC":
		return cast("DECIMAL(38,9)")
	case "BOOLEAN", "BYTES", "DATE", "DATETIME", "TIMESTAMP":
		return ident(f.Name)
	}
	return cast("VARCHAR")
}

// list answers a select list of fields in their wire form, under names that no other column has.
func list(fields []*bq.TableFieldSchema) string {
	out := make([]string, len(fields))
	for i, f := range fields {
		out[i] = wire(f) + " AS w" + strconv.Itoa(i)
	}
	return strings.Join(out, ", ")
}
