//go:build cgo && duckdb_arrow

package sharing_test

import (
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/record"
	"millrace.dev/pkg/source"
	"millrace.dev/pkg/source/sharing/sharingtest"
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
	utc, text := &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"}, arrow.BinaryTypes.String
	return []cell{
		{"TRUE", "boolean", arrow.FixedWidthTypes.Boolean, "true"},
		{"CAST(NULL AS BOOLEAN)", "boolean", arrow.FixedWidthTypes.Boolean, "(null)"},
		{"CAST(-128 AS TINYINT)", "byte", arrow.PrimitiveTypes.Int8, "-128"},
		{"CAST(32767 AS SMALLINT)", "short", arrow.PrimitiveTypes.Int16, "32767"},
		{"CAST(-2147483648 AS INTEGER)", "integer", arrow.PrimitiveTypes.Int32, "-2147483648"},
		{"CAST('-9223372036854775808' AS BIGINT)", "long", arrow.PrimitiveTypes.Int64, "-9223372036854775808"},
		{"CAST('9223372036854775807' AS BIGINT)", "long", arrow.PrimitiveTypes.Int64, "9223372036854775807"},
		{"CAST('NaN' AS FLOAT)", "float", arrow.PrimitiveTypes.Float32, "NaN"},
		{"CAST('3.4028235e38' AS FLOAT)", "float", arrow.PrimitiveTypes.Float32, "3.4028235e+38"},
		{"CAST('-Infinity' AS DOUBLE)", "double", arrow.PrimitiveTypes.Float64, "-Inf"},
		{"CAST('-0.0' AS DOUBLE)", "double", arrow.PrimitiveTypes.Float64, "-0"},
		{"CAST('5e-324' AS DOUBLE)", "double", arrow.PrimitiveTypes.Float64, "5e-324"},
		{"CAST('" + nines + "' AS DECIMAL(38,0))", "decimal(38,0)", &arrow.Decimal128Type{Precision: 38}, nines},
		{"CAST('-0." + nines + "' AS DECIMAL(38,38))", "decimal(38,38)", &arrow.Decimal128Type{Precision: 38, Scale: 38}, "-0." + nines},
		{"CAST('1.5' AS DECIMAL(2,1))", "decimal(2,1)", &arrow.Decimal128Type{Precision: 2, Scale: 1}, "1.5"},
		{"CAST(NULL AS DECIMAL(9,2))", "decimal(9,2)", &arrow.Decimal128Type{Precision: 9, Scale: 2}, "(null)"},
		{"''", "string", text, ""},
		{"CAST(NULL AS VARCHAR)", "string", text, "(null)"},
		{"'äß 🙂 é' || chr(13) || chr(10) || chr(9)", "string", text, "äß 🙂 é\r\n\t"},
		{`'\x00\xff'::BLOB`, "binary", arrow.BinaryTypes.Binary, "AP8="},
		{"CAST('0001-01-01' AS DATE)", "date", arrow.FixedWidthTypes.Date32, "0001-01-01"},
		{"CAST('9999-12-31' AS DATE)", "date", arrow.FixedWidthTypes.Date32, "9999-12-31"},
		{"CAST('0001-01-01 00:00:00+00' AS TIMESTAMPTZ)", "timestamp", utc, "0001-01-01T00:00:00Z"},
		{"CAST('9999-12-31 23:59:59.999999+00' AS TIMESTAMPTZ)", "timestamp", utc, "9999-12-31T23:59:59.999999Z"},
		{"CAST('2026-01-01 00:00:00+14' AS TIMESTAMPTZ)", "timestamp", utc, "2025-12-31T10:00:00Z"},
		{"[1, NULL]", "array<integer>", text, "[1,null]"},
		{"[['a'], []]", "array<array<string>>", text, `[["a"],[]]`},
		{"MAP {'k': 1, 'l': NULL}", "map<string,integer>", text, `{"k":1,"l":null}`},
		{"MAP {7: DATE '2026-01-02'}", "map<integer,date>", text, `{"7":"2026-01-02"}`},
		{"{'a': 1, 'b': CAST(NULL AS VARCHAR)}", "struct<a:integer,b:string>", text, `{"a":1,"b":null}`},
		{"{'t': TIMESTAMPTZ '2026-01-02 03:04:05.000006+00', 'd': CAST('7.00' AS DECIMAL(9,2)), 'f': CAST('NaN' AS DOUBLE), 'x': '\\x00\\xff'::BLOB, 'y': TRUE, 's': CAST(0.5 AS FLOAT)}",
			"struct<t:timestamp,d:decimal(9,2),f:double,x:binary,y:boolean,s:float>", text,
			`{"t":"2026-01-02T03:04:05.000006Z","d":7.00,"f":"NaN","x":"AP8=","y":true,"s":0.5}`},
		{"[{'a': MAP {'q\"': [1]}}]", "array<struct<a:map<string,array<integer>>>>", text, `[{"a":{"q\"":[1]}}]`},
		{"CAST(NULL AS INTEGER[])", "array<integer>", text, "(null)"},
	}
}

func TestTypes(t *testing.T) {
	p := sharingtest.Start(t, sharingtest.Options{})
	s := open(t, p)
	for _, c := range cells() {
		name, err := p.Materialize(t, "SELECT "+c.expr+" AS v")
		require.NoError(t, err, c.expr)
		schema, err := s.Describe(t.Context(), table(name))
		require.NoError(t, err, c.expr)
		f := schema.Field(0)
		own, _ := f.Metadata.GetValue(source.MetaType)
		require.Equal(t, c.own, own, c.expr)
		require.True(t, arrow.TypeEqual(c.typ, f.Type), "%s is %s", c.expr, f.Type)
		_, json := f.Metadata.GetValue(record.MetaJSON)
		require.Equal(t, strings.Contains(c.own, "<"), json, c.expr)
		require.Equal(t, []string{c.want}, values(t, s, table(name)), c.expr)
	}
}

// The values of partitions stand in no file.
func TestPartitionsHaveTheirType(t *testing.T) {
	p := sharingtest.Start(t, sharingtest.Options{})
	s := open(t, p)
	for kind, want := range map[string][]string{
		"BOOLEAN":       {"(null)", "false", "true"},
		"TINYINT":       {"(null)", "-128", "127"},
		"BIGINT":        {"(null)", "-9223372036854775808", "9223372036854775807"},
		"DOUBLE":        {"(null)", "-0.5", "1e+100"},
		"DECIMAL(38,2)": {"(null)", "-7.25", "999999999999999999999999999999999999.99"},
		"VARCHAR":       {"(null)", "a b", "größe"},
		"DATE":          {"(null)", "0001-01-01", "9999-12-31"},
		"TIMESTAMPTZ":   {"(null)", "2026-01-02T03:04:05Z", "2026-01-02T03:04:05.000006Z"},
	} {
		name := "part_" + strings.ToLower(strings.NewReplacer("(", "_", ")", "", ",", "_").Replace(kind))
		p.Set(name, sharingtest.Table{Partition: "v"})
		rows := []string{"(NULL, 1)"}
		for _, v := range want[1:] {
			rows = append(rows, "('"+v+"', 2)")
		}
		p.Exec(t, "CREATE TABLE "+name+" (v "+kind+", n INTEGER); INSERT INTO "+name+" VALUES "+strings.Join(rows, ", "))
		require.ElementsMatch(t, want, values(t, s, table(name)), kind)
		only := table(name)
		only.Model.Table, only.Model.SQL = "", "SELECT v FROM "+name
		require.ElementsMatch(t, want, values(t, s, only), "%s, without a column of the files", kind)
	}
}

// A column that came into the table later is NULL in older files, and a wider type than a file's is the same value.
func TestFilesOlderThanTheTable(t *testing.T) {
	p := sharingtest.Start(t, sharingtest.Options{})
	p.Exec(t, "CREATE TABLE grown AS SELECT 1 AS id, CAST(7 AS SMALLINT) AS n, CAST(0.5 AS FLOAT) AS x")
	s := open(t, p)
	p.Alter("grown", "later", "string")
	p.Alter("grown", "n", "long")
	p.Alter("grown", "x", "double")
	var got []string
	for b, err := range s.Read(t.Context(), table("grown")) {
		require.NoError(t, err)
		for _, c := range b.Columns() {
			got = append(got, c.ValueStr(0))
		}
	}
	require.Equal(t, []string{"1", "7", "0.5", "(null)"}, got)
	p.Alter("grown", "id", "date")
	_, err := read(t.Context(), s, table("grown"))
	require.Equal(t, fault.Precondition, fault.ClassOf(err))
	require.ErrorContains(t, err, `column "id" comes as int32 in a file`)
}

// What the protocol does not carry is refused by name before anything is read, all of it at once.
func TestTypesThatAreNotRead(t *testing.T) {
	p := sharingtest.Start(t, sharingtest.Options{})
	p.Exec(t, "CREATE TABLE odd AS SELECT 1 AS fine, TIMESTAMP '2026-01-01' AS wall, INTERVAL 1 DAY AS span, {'a': TIMESTAMP '2026-01-01'} AS deep, [INTERVAL 1 DAY] AS list")
	p.Intercept(nil)
	s := open(t, p)
	_, err := s.Describe(t.Context(), table("odd"))
	require.Equal(t, fault.ReasonQueryInvalid, fault.ReasonOf(err))
	require.ErrorContains(t, err, `column "wall" is of type TIMESTAMP_NTZ, which Delta Sharing does not carry`)
	require.ErrorContains(t, err, `column "span" is an interval`)
	require.ErrorContains(t, err, `column "deep" has within it field "a", which is of type TIMESTAMP_NTZ`)
	require.ErrorContains(t, err, `column "list" has within it what is an interval`)
	require.NotContains(t, err.Error(), "fine")
	q := source.Query{}
	q.Model.SQL = "SELECT fine FROM odd"
	require.Equal(t, []string{"1"}, values(t, s, q), "the others can be read")
	require.Equal(t, 1, p.Calls()["file"])
}

func TestATableAndItsColumnsAreDescribed(t *testing.T) {
	p := sharingtest.Start(t, sharingtest.Options{})
	p.Exec(t, "CREATE TABLE people (id BIGINT NOT NULL, name VARCHAR, score DOUBLE, ts TIMESTAMPTZ)")
	s := open(t, p)
	for text, want := range map[string][]string{
		"SELECT * FROM people": {"id", "name", "score", "ts"},
		"select name, `id` AS \"Key\", SCORE s from sales.people -- all": {"name", "Key", "s"},
		"SELECT ts\n FROM Shop.\"sales\" . people /* ; */;":              {"ts"},
	} {
		q := source.Query{}
		q.Model.SQL = text
		got, err := s.Describe(t.Context(), q)
		require.NoError(t, err, text)
		var names []string
		for _, f := range got.Fields() {
			names = append(names, f.Name)
		}
		require.Equal(t, want, names, text)
	}
	for _, name := range []string{"people", "sales.people", `"shop"."sales"."people"`, "PEOPLE"} {
		_, err := s.Describe(t.Context(), table(name))
		require.NoError(t, err, name)
	}
}

// A model that asks for more than columns is refused with the line, and told what to do.
func TestModelsThatNeedAnEngine(t *testing.T) {
	p := sharingtest.Start(t, sharingtest.Options{})
	p.Exec(t, "CREATE TABLE people AS SELECT 1 AS id, 'Ann' AS name")
	s := open(t, p)
	for text, line := range map[string]string{
		"SELECT id FROM people WHERE id = 1":                  "line 1",
		"SELECT id\nFROM people\nORDER BY id":                 "line 3",
		"SELECT id,\nupper(name) FROM people":                 "line 2",
		"SELECT DISTINCT id FROM people":                      "line 1",
		"SELECT 'Ann' FROM people":                            "line 1",
		"SELECT id, FROM people":                              "line 1",
		"SELECT id FROM people, people":                       "line 1",
		"SELECT id FROM (SELECT 1)":                           "line 1",
		"WITH x AS (SELECT 1) SELECT id FROM people":          "line 1",
		"SELECT id FROM elsewhere.sales.people":               "another share",
		"SELECT id FROM a.b.c.d":                              "names no table",
		"SELECT id FROM \"..\"":                               "dots alone",
		"SELECT id, name AS x, nobody\n, nothing FROM people": `line 2: column "nothing"`,
		"SELECT id FROM people TABLESAMPLE (10 PERCENT)":      "line 1",
		"VALUES (1)": "line 1",
	} {
		q := source.Query{}
		q.Model.SQL = text
		_, err := s.Describe(t.Context(), q)
		require.Equal(t, fault.ReasonQueryInvalid, fault.ReasonOf(err), text)
		require.ErrorContains(t, err, line, text)
		require.NotContains(t, err.Error(), "'Ann'", text)
	}
}

func TestColumnsHaveDifferentNames(t *testing.T) {
	p := sharingtest.Start(t, sharingtest.Options{})
	p.Exec(t, "CREATE TABLE people AS SELECT 1 AS id, 'Ann' AS name")
	for _, text := range []string{"SELECT id, id FROM people", "SELECT id, name AS \"ID\" FROM people"} {
		q := source.Query{}
		q.Model.SQL = text
		_, err := open(t, p).Describe(t.Context(), q)
		require.Equal(t, fault.ReasonQueryInvalid, fault.ReasonOf(err), text)
		require.ErrorContains(t, err, `"id"`, text)
	}
}
