package redshift_test

import (
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/source"
	"millrace.dev/pkg/source/redshift/redshifttest"
)

// cell is a value of a type, and what it is read as.
type cell struct {
	expr, own string
	typ       arrow.DataType
	want      string
}

func cells() []cell {
	micro, zoned := &arrow.TimestampType{Unit: arrow.Microsecond}, &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"}
	text := arrow.BinaryTypes.String
	return []cell{
		{"CAST(FALSE AS BOOLEAN)", "boolean", arrow.FixedWidthTypes.Boolean, "false"},
		{"CAST(-32768 AS SMALLINT)", "smallint", arrow.PrimitiveTypes.Int16, "-32768"},
		{"CAST(-2147483648 AS INTEGER)", "integer", arrow.PrimitiveTypes.Int32, "-2147483648"},
		{"CAST('9223372036854775807' AS BIGINT)", "bigint", arrow.PrimitiveTypes.Int64, "9223372036854775807"},
		{"CAST('-3.4028235e38' AS REAL)", "real", arrow.PrimitiveTypes.Float32, "-3.4028235e+38"},
		{"CAST('1.7976931348623157e308' AS DOUBLE PRECISION)", "double precision", arrow.PrimitiveTypes.Float64, "1.7976931348623157e+308"},
		{"CAST('Infinity' AS DOUBLE PRECISION)", "double precision", arrow.PrimitiveTypes.Float64, "+Inf"},
		{"CAST('-99999999999999999999999999999999999999' AS DECIMAL(38,0))", "numeric(38,0)", &arrow.Decimal128Type{Precision: 38}, "-99999999999999999999999999999999999999"},
		{"CAST('9.9999999999999999999999999999999999999' AS DECIMAL(38,37))", "numeric(38,37)", &arrow.Decimal128Type{Precision: 38, Scale: 37}, "9.9999999999999999999999999999999999999"},
		{"CAST('-0.01' AS DECIMAL(18,2))", "numeric(18,2)", &arrow.Decimal128Type{Precision: 18, Scale: 2}, "-0.01"},
		{"CAST('ab' AS CHAR(4))", "character(4)", text, "ab  "},
		{"CAST('Zoë 🙂' AS VARCHAR(20))", "character varying(20)", text, "Zoë 🙂"},
		{"CAST('0001-01-01' AS DATE)", "date", arrow.FixedWidthTypes.Date32, "0001-01-01"},
		{"CAST('9999-12-31 23:59:59.999999' AS TIMESTAMP)", "timestamp without time zone", micro, "9999-12-31T23:59:59.999999"},
		{"CAST('1969-12-31 23:59:59.999999' AS TIMESTAMP)", "timestamp without time zone", micro, "1969-12-31T23:59:59.999999"},
		{"CAST('2026-01-01 00:00:00.000001+14' AS TIMESTAMPTZ)", "timestamp with time zone", zoned, "2025-12-31T10:00:00.000001Z"},
		{"CAST('23:59:59.999999' AS TIME)", "time without time zone", text, "23:59:59.999999"},
		{"CAST('12:00:00+02' AS TIMETZ)", "time with time zone", text, "12:00:00+02"},
		{"INTERVAL '1 day 02:03:04'", "interval day to second", text, "1 day 02:03:04"},
		{"CAST(TO_VARBYTE('00ff', 'hex') AS VARBYTE)", "binary varying", arrow.BinaryTypes.Binary, "AP8="},
		{"CAST(TO_VARBYTE('', 'hex') AS VARBYTE)", "binary varying", arrow.BinaryTypes.Binary, ""},
		{`JSON_PARSE('{"a": [1, null, 0.1], "b": "ü\"x"}')`, "super", text, `{"a": [1, null, 0.1], "b": "ü\"x"}`},
		{`JSON_PARSE('"text"')`, "super", text, `"text"`},
		{"CAST(NULL AS SUPER)", "super", text, "(null)"},
		{"CAST(NULL AS DECIMAL(9,2))", "numeric(9,2)", &arrow.Decimal128Type{Precision: 9, Scale: 2}, "(null)"},
		{"ST_AsText(CAST('(1,2)' AS GEOMETRY))", "text", text, "POINT(1 2)"},
	}
}

func TestTypesOfRedshift(t *testing.T) {
	signIn(t)
	p := redshifttest.Start(t, redshifttest.Options{})
	byCursor, byFiles := open(t, p.Connection()), open(t, p.Unloading())
	for _, c := range cells() {
		q := model("SELECT " + c.expr + " AS v")
		schema, err := byCursor.Describe(t.Context(), q)
		require.NoError(t, err, c.expr)
		require.True(t, arrow.TypeEqual(c.typ, schema.Field(0).Type), "%s is %s", c.expr, schema.Field(0).Type)
		own, _ := schema.Field(0).Metadata.GetValue(source.MetaType)
		require.Equal(t, c.own, own, c.expr)
		require.Equal(t, []string{c.want}, values(t, byCursor, q), c.expr)
		got, err := through(t, byFiles, q)
		require.NoError(t, err, c.expr)
		require.Equal(t, []string{c.want}, got, "%s, by files", c.expr)
	}
}

// What has no form as a value is refused by its name, with what to choose instead.
func TestTypesThatAreNotRead(t *testing.T) {
	p := redshifttest.Start(t, redshifttest.Options{})
	s := open(t, p.Connection())
	_, err := s.Describe(t.Context(), model("SELECT CAST('(1,2)' AS GEOMETRY) AS place, 1 AS id, CAST('a' AS HLLSKETCH) AS sketch, CAST('((0,0),(1,1))' AS GEOGRAPHY) AS area"))
	require.Equal(t, fault.ReasonQueryInvalid, fault.ReasonOf(err))
	text := err.Error()
	for _, v := range fault.As(err).Violations {
		text += v.String()
	}
	for _, part := range []string{`"place"`, "geometry", `ST_AsText("place")`, `"sketch"`, "hllsketch", `"area"`, "geography"} {
		require.Contains(t, text, part)
	}
	require.NotContains(t, text, `"id"`)
}

// serve runs a server until t ends and answers its address.
func serve(t *testing.T, s *http.Server) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close(); <-done })
	return l.Addr().String()
}

// Statements run in a READ ONLY transaction, bounded in time, under the run's name.
func TestStatementsAreBoundAndNamed(t *testing.T) {
	signIn(t)
	p := redshifttest.Start(t, redshifttest.Options{})
	s := open(t, p.Unloading())
	_, err := through(t, s, model("SELECT 1 AS id"))
	require.NoError(t, err)
	var all []string
	for _, x := range p.Statements() {
		all = append(all, x.SQL)
		if strings.HasPrefix(x.SQL, "UNLOAD") {
			require.Equal(t, "millrace:test/sync/run", x.Group)
			require.Contains(t, x.SQL, "'s3://"+redshifttest.Bucket+"/staging/test/sync/run/")
		}
	}
	require.Contains(t, all, "BEGIN READ ONLY")
	require.Contains(t, all[0], "SET statement_timeout TO 3600000")
	require.NotEmpty(t, p.Objects())
	require.NoError(t, s.Close())
	require.Empty(t, p.Objects())

	for _, sql := range []string{"SELECT nextval('s') AS x", "SELECT set_config('transaction_read_only', 'off', true) AS x, sneak() AS y"} {
		p.Exec(t, "CREATE SEQUENCE IF NOT EXISTS s; CREATE TABLE IF NOT EXISTS t (id int); CREATE OR REPLACE FUNCTION sneak() RETURNS int LANGUAGE sql VOLATILE AS 'INSERT INTO t VALUES (1) RETURNING id'")
		_, err := read(t.Context(), s, model(sql))
		require.True(t, fault.ClassOf(err).Permanent(), "%v", err)
	}
}
