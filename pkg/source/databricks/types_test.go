//go:build cgo && duckdb_arrow

package databricks_test

import (
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/record"
	"millrace.dev/pkg/source"
	"millrace.dev/pkg/source/databricks/databrickstest"
)

// cell is a value of a type, and what it is read as.
type cell struct {
	expr, own string
	typ       arrow.DataType
	want      string
}

// cells are the extremes of each type: the table of README.md.
func cells() []cell {
	nines := strings.Repeat("9", 38)
	utc, ntz := &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"}, &arrow.TimestampType{Unit: arrow.Microsecond}
	text := arrow.BinaryTypes.String
	return []cell{
		{"TRUE", "boolean", arrow.FixedWidthTypes.Boolean, "true"},
		{"CAST(NULL AS BOOLEAN)", "boolean", arrow.FixedWidthTypes.Boolean, "(null)"},
		{"CAST(-128 AS TINYINT)", "tinyint", arrow.PrimitiveTypes.Int8, "-128"},
		{"CAST(-32768 AS SMALLINT)", "smallint", arrow.PrimitiveTypes.Int16, "-32768"},
		{"CAST(-2147483648 AS INT)", "int", arrow.PrimitiveTypes.Int32, "-2147483648"},
		{"CAST('-9223372036854775808' AS BIGINT)", "bigint", arrow.PrimitiveTypes.Int64, "-9223372036854775808"},
		{"CAST('9223372036854775807' AS BIGINT)", "bigint", arrow.PrimitiveTypes.Int64, "9223372036854775807"},
		{"CAST('NaN' AS FLOAT)", "float", arrow.PrimitiveTypes.Float32, "NaN"},
		{"CAST('3.4028235e38' AS FLOAT)", "float", arrow.PrimitiveTypes.Float32, "3.4028235e+38"},
		{"CAST('NaN' AS DOUBLE)", "double", arrow.PrimitiveTypes.Float64, "NaN"},
		{"CAST('-Infinity' AS DOUBLE)", "double", arrow.PrimitiveTypes.Float64, "-Inf"},
		{"CAST('-0.0' AS DOUBLE)", "double", arrow.PrimitiveTypes.Float64, "-0"},
		{"CAST('5e-324' AS DOUBLE)", "double", arrow.PrimitiveTypes.Float64, "5e-324"},
		{"CAST('" + nines + "' AS DECIMAL(38,0))", "decimal(38,0)", &arrow.Decimal128Type{Precision: 38}, nines},
		{"CAST('-" + nines + "' AS DECIMAL(38,0))", "decimal(38,0)", &arrow.Decimal128Type{Precision: 38}, "-" + nines},
		{"CAST('-0." + nines + "' AS DECIMAL(38,38))", "decimal(38,38)", &arrow.Decimal128Type{Precision: 38, Scale: 38}, "-0." + nines},
		{"CAST('1.5' AS DECIMAL(2,1))", "decimal(2,1)", &arrow.Decimal128Type{Precision: 2, Scale: 1}, "1.5"},
		{"CAST(NULL AS DECIMAL(9,2))", "decimal(9,2)", &arrow.Decimal128Type{Precision: 9, Scale: 2}, "(null)"},
		{"''", "string", text, ""},
		{"CAST(NULL AS STRING)", "string", text, "(null)"},
		{`'äß 🙂 é\r\n\t"\''`, "string", text, "äß 🙂 é\r\n\t\"'"},
		{`'a\0b'`, "string", text, "a\x00b"},
		{"X'00ff'", "binary", arrow.BinaryTypes.Binary, "AP8="},
		{"X''", "binary", arrow.BinaryTypes.Binary, ""},
		{"CAST('0001-01-01' AS DATE)", "date", arrow.FixedWidthTypes.Date32, "0001-01-01"},
		{"CAST('9999-12-31' AS DATE)", "date", arrow.FixedWidthTypes.Date32, "9999-12-31"},
		{"CAST('0001-01-01 00:00:00+00:00' AS TIMESTAMP)", "timestamp", utc, "0001-01-01T00:00:00Z"},
		{"CAST('9999-12-31 23:59:59.999999+00:00' AS TIMESTAMP)", "timestamp", utc, "9999-12-31T23:59:59.999999Z"},
		{"CAST('2026-01-01 00:00:00+14:00' AS TIMESTAMP)", "timestamp", utc, "2025-12-31T10:00:00Z"},
		{"CAST('2026-03-29 02:30:00' AS TIMESTAMP)", "timestamp", utc, "2026-03-29T02:30:00Z"}, // the session's zone is UTC
		{"CAST('0001-01-01 00:00:00' AS TIMESTAMP_NTZ)", "timestamp_ntz", ntz, "0001-01-01T00:00:00"},
		{"CAST('9999-12-31 23:59:59.999999' AS TIMESTAMP_NTZ)", "timestamp_ntz", ntz, "9999-12-31T23:59:59.999999"},
		{"array(1, NULL)", "array<int>", text, "[1,null]"},
		{"array(array('a'), array())", "array<array<string>>", text, `[["a"],[]]`},
		{"map('k', 1)", "map<varchar, integer>", text, `{"k":1}`},
		{"named_struct('a', 1, 'b', CAST(NULL AS STRING))", "struct<a integer, b varchar>", text, `{"a":1,"b":null}`},
		{`parse_json('{"a":{"b":[1,2.5,"x"]}}')`, "variant", text, `{"a":{"b":[1,2.5,"x"]}}`},
		{"CAST('23:59:59.5' AS TIME)", "time(6)", text, "23:59:59.5"},
	}
}

func TestTypes(t *testing.T) {
	for _, o := range []databrickstest.Options{{}, {Files: true}} {
		s := open(t, databrickstest.Start(t, o))
		for _, c := range cells() {
			q := model("SELECT " + c.expr + " AS v")
			schema, err := s.Describe(t.Context(), q)
			require.NoError(t, err, c.expr)
			f := schema.Field(0)
			own, _ := f.Metadata.GetValue(source.MetaType)
			require.Equal(t, c.own, own, c.expr)
			require.True(t, arrow.TypeEqual(c.typ, f.Type), "%s is %s", c.expr, f.Type)
			_, json := f.Metadata.GetValue(record.MetaJSON)
			require.Equal(t, strings.ContainsAny(c.own, "<") || c.own == "variant", json, c.expr)
			require.Equal(t, []string{c.want}, values(t, s, q), c.expr)
		}
	}
}

// What has no faithful form is refused by name before anything is read.
func TestTypesThatAreNotRead(t *testing.T) {
	s := open(t, databrickstest.Start(t, databrickstest.Options{}))
	_, err := s.Describe(t.Context(), model("SELECT 1 AS fine, INTERVAL '1' DAY AS span, named_struct('a', INTERVAL '1' DAY) AS deep"))
	require.Equal(t, fault.ReasonQueryInvalid, fault.ReasonOf(err))
	require.ErrorContains(t, err, "column `span` has the type interval day to second, which is not read; CAST it to STRING")
	require.ErrorContains(t, err, "column `deep`")
	require.NotContains(t, err.Error(), "fine")
}

func TestNamesNeedQuotesOnlyWhereTheyAreOdd(t *testing.T) {
	p := databrickstest.Start(t, databrickstest.Options{})
	p.Exec(t, "CREATE TABLE \"a`b\" (x INTEGER); CREATE SCHEMA shop.other; CREATE TABLE shop.other.plain (x INTEGER)")
	s := open(t, p)
	b, _ := source.As[source.Browser](s)
	var names []string
	for table, err := range b.Tables(t.Context(), "") {
		require.NoError(t, err)
		names = append(names, table.Name)
	}
	require.ElementsMatch(t, []string{"`a``b`", "other.plain"}, names)
}
