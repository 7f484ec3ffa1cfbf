//go:build cgo && duckdb_arrow

package bigquery_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/record"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/source"
	"millrace.dev/pkg/source/bigquery/bigquerytest"
)

// TestTypes has a cell of each type of BigQuery's, at its ends, as README.md's table says.
func TestTypes(t *testing.T) {
	s := open(t, bigquerytest.Start(t), checked(t))
	for _, c := range []struct {
		sql, own, typ, want string
		json                bool
	}{
		{sql: "CAST(-9223372036854775808 AS INT64)", own: "INT64", typ: "int64", want: "-9223372036854775808"},
		{sql: "CAST('9223372036854775807' AS INT64)", own: "INT64", typ: "int64", want: "9223372036854775807"},
		{sql: "CAST(9007199254740993 AS INT64)", own: "INT64", typ: "int64", want: "9007199254740993"},
		{sql: "CAST(NULL AS INT64)", own: "INT64", typ: "int64", want: "(null)"},
		{sql: "CAST('NaN' AS FLOAT64)", own: "FLOAT64", typ: "float64", want: "NaN"},
		{sql: "CAST('-inf' AS FLOAT64)", own: "FLOAT64", typ: "float64", want: "-Inf"},
		{sql: "CAST('2.2250738585072014e-308' AS FLOAT64)", own: "FLOAT64", typ: "float64", want: "2.2250738585072014e-308"},
		{sql: "CAST(TRUE AS BOOL)", own: "BOOL", typ: "bool", want: "true"},
		{sql: "CAST('' AS STRING)", own: "STRING", typ: "utf8", want: ""},
		{sql: `CAST('äß 🙂\r\n\t"\'' AS STRING)`, own: "STRING", typ: "utf8", want: "äß 🙂\r\n\t\"'"},
		{sql: `CONCAT('a', CHR(0), 'b')`, own: "STRING", typ: "utf8", want: "a\x00b"},
		{sql: "CAST(NULL AS STRING)", own: "STRING", typ: "utf8", want: "(null)"},
		{sql: `b'\x00\xff'`, own: "BYTES", typ: "binary", want: "AP8="},
		{sql: `b''`, own: "BYTES", typ: "binary", want: ""},
		{sql: "DATE '0001-01-01'", own: "DATE", typ: "date32", want: "0001-01-01"},
		{sql: "DATE '9999-12-31'", own: "DATE", typ: "date32", want: "9999-12-31"},
		{sql: "DATETIME '0001-01-01 00:00:00'", own: "DATETIME", typ: "timestamp[us]", want: "0001-01-01T00:00:00"},
		{sql: "DATETIME '9999-12-31 23:59:59.999999'", own: "DATETIME", typ: "timestamp[us]", want: "9999-12-31T23:59:59.999999"},
		{sql: "TIMESTAMP '0001-01-01 00:00:00+00'", own: "TIMESTAMP", typ: "timestamp[us, tz=UTC]", want: "0001-01-01T00:00:00Z"},
		{sql: "TIMESTAMP '2026-01-01 00:00:00+14'", own: "TIMESTAMP", typ: "timestamp[us, tz=UTC]", want: "2025-12-31T10:00:00Z"},
		{sql: "TIMESTAMP '9999-12-31 23:59:59.999999+00'", own: "TIMESTAMP", typ: "timestamp[us, tz=UTC]", want: "9999-12-31T23:59:59.999999Z"},
		{sql: "TIME '23:59:59.5'", own: "TIME", typ: "utf8", want: "23:59:59.5"},
		{sql: "NUMERIC '7'", own: "NUMERIC", typ: "decimal(38, 9)", want: "7.000000000"},
		{sql: "NUMERIC '-99999999999999999999999999999.999999999'", own: "NUMERIC", typ: "decimal(38, 9)", want: "-99999999999999999999999999999.999999999"},
		{sql: "CAST(NULL AS NUMERIC)", own: "NUMERIC", typ: "decimal(38, 9)", want: "(null)"},
		{
			sql: "BIGNUMERIC '5" + strings.Repeat("7", 37) + "." + strings.Repeat("9", 38) + "'", own: "BIGNUMERIC", typ: "utf8",
			want: "5" + strings.Repeat("7", 37) + "." + strings.Repeat("9", 38),
		},
		{sql: "BIGNUMERIC '-0." + strings.Repeat("0", 37) + "1'", own: "BIGNUMERIC", typ: "utf8", want: "-0." + strings.Repeat("0", 37) + "1"},
		{sql: "CAST(NULL AS BIGNUMERIC)", own: "BIGNUMERIC", typ: "utf8", want: "(null)"},
		{sql: "CAST('-1234567890123456789012345678.0123456789' AS BIGNUMERIC(38, 10))", own: "BIGNUMERIC(38, 10)", typ: "decimal(38, 10)", want: "-1234567890123456789012345678.0123456789"},
		{sql: `PARSE_JSON('{"b":[1,null],"a":{"deep":"x"}}')`, own: "JSON", typ: "utf8", json: true, want: `{"b":[1,null],"a":{"deep":"x"}}`},
		{sql: "PARSE_JSON('null')", own: "JSON", typ: "utf8", json: true, want: "null"},
		{sql: "CAST(NULL AS JSON)", own: "JSON", typ: "utf8", json: true, want: "(null)"},
		{sql: "[1, 2, NULL]", own: "ARRAY<INT64>", typ: "utf8", json: true, want: "[1,2,null]"},
		{sql: "{'a': 1, 'b': ['x']}", own: "STRUCT", typ: "utf8", json: true, want: `{"a":1,"b":["x"]}`},
		{sql: "[{'a': 1}]", own: "ARRAY<STRUCT>", typ: "utf8", json: true, want: `[{"a":1}]`},
		{sql: "ST_GEOGFROMTEXT('POINT(1 2)')", own: "GEOGRAPHY", typ: "utf8", want: "POINT(1 2)"},
		{sql: "RANGE_OF_DATES('[2026-01-01, UNBOUNDED)')", own: "RANGE<DATE>", typ: "utf8", want: "[2026-01-01, UNBOUNDED)"},
		{sql: "INTERVAL 3 DAY", own: "INTERVAL", typ: "utf8", want: "3 days"}, // as DuckDB writes it; BigQuery: 0-0 3 0:0:0
	} {
		q := model("SELECT " + c.sql + " AS v")
		schema, err := s.Describe(t.Context(), q)
		require.NoError(t, err, c.sql)
		f := schema.Field(0)
		own, _ := f.Metadata.GetValue(source.MetaType)
		require.Equal(t, c.own, own, c.sql)
		require.Equal(t, c.typ, f.Type.String(), c.sql)
		mark, _ := f.Metadata.GetValue(record.MetaJSON)
		require.Equal(t, c.json, mark == "true", c.sql)
		n := 0
		for b, err := range s.Read(t.Context(), q) {
			require.NoError(t, err, c.sql)
			require.True(t, schema.Equal(b.Schema()), c.sql)
			require.Equal(t, c.want, textOf(b.Column(0)), c.sql)
			n += int(b.NumRows())
		}
		require.Equal(t, 1, n, c.sql)
	}
}

// textOf answers a column's first value with all digits of its scale.
func textOf(a arrow.Array) string {
	if a.IsNull(0) {
		return a.ValueStr(0)
	}
	switch c := a.(type) {
	case *array.Decimal128:
		return c.Value(0).ToString(c.DataType().(arrow.DecimalType).GetScale())
	case *array.Decimal256:
		return c.Value(0).ToString(c.DataType().(arrow.DecimalType).GetScale())
	}
	return a.ValueStr(0)
}

func TestTypesThatAreRefused(t *testing.T) {
	s := open(t, bigquerytest.Start(t), quick())
	_, err := s.Describe(t.Context(), model("SELECT 1 AS id, PICOS('2026-01-01 00:00:00.123456789012') AS at"))
	require.Equal(t, fault.ReasonQueryInvalid, fault.ReasonOf(err))
	require.ErrorContains(t, err, `"at"`)
	require.ErrorContains(t, err, "TIMESTAMP(12)")
}

// TestIterators plans by each type of iterator from a checkpoint that is a row's own value to the last digit.
func TestIterators(t *testing.T) {
	s := open(t, bigquerytest.Start(t), quick())
	for _, c := range []struct {
		sql     string // of the type
		typ     resource.IteratorType
		a, b, c string
	}{
		{sql: "DATETIME", typ: "timestamp", a: "2026-01-01T00:00:00.123455", b: "2026-01-01T00:00:00.123456", c: "2026-01-01T00:00:00.123457"},
		{sql: "TIMESTAMP", typ: "timestamp", a: "2026-01-01T00:00:00.123455Z", b: "2026-01-01T00:00:00.123456Z", c: "2026-01-01T00:00:00.123457Z"},
		{sql: "DATE", typ: "date", a: "2024-02-28", b: "2024-02-29", c: "2024-03-01"},
		{sql: "INT64", typ: "integer", a: "9007199254740992", b: "9007199254740993", c: "9223372036854775807"},
		{sql: "NUMERIC", typ: "decimal", a: "12345678901234567890123456789.012345677", b: "12345678901234567890123456789.012345678", c: "12345678901234567890123456789.012345679"},
		{sql: "BIGNUMERIC(38, 10)", typ: "decimal", a: "1234567890123456789012345678.0123456788", b: "1234567890123456789012345678.0123456789", c: "1234567890123456789012345678.0123456790"},
		{sql: "BIGNUMERIC(38, 0)", typ: "integer", a: "-99999999999999999999999999999999999999", b: "99999999999999999999999999999999999998", c: "99999999999999999999999999999999999999"},
	} {
		var rows []string
		for i, v := range []string{c.a, c.b, c.c} {
			rows = append(rows, fmt.Sprintf("SELECT %d AS id, CAST('%s' AS %s) AS at", i+1, v, c.sql))
		}
		q := model(strings.Join(rows, " UNION ALL "))
		q.Model.Iterator = resource.Iterator{Column: "at", Type: c.typ}
		for _, low := range []struct {
			from string
			want []string
		}{{"", []string{"1", "2", "3"}}, {c.b, []string{"2", "3"}}, {c.c, []string{"3"}}} {
			q.Low, q.Snapshot, q.Range = low.from, "", source.Range{}
			plan, err := s.Plan(t.Context(), q, 1)
			require.NoError(t, err, c.sql)
			require.Equal(t, c.c, plan.Watermark, c.sql)
			q.Snapshot, q.Range = plan.Snapshot, plan.Parts[0]
			got, err := values(t.Context(), s, q)
			require.NoError(t, err, c.sql)
			require.ElementsMatch(t, low.want, got, c.sql)
		}
	}
}
