package sourcetest

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/record"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/source"
)

const people = `CREATE TABLE people (id BIGINT NOT NULL, name VARCHAR, score DOUBLE PRECISION, ts TIMESTAMP);
INSERT INTO people VALUES (1, 'Ann', 1.5, '2026-01-01 00:00:00'), (2, 'Bob', NULL, '2026-01-02 00:00:00.000001'),
(3, NULL, -0.25, '2026-01-02 00:00:00.000001'), (4, '', 0, '2026-01-03 00:00:00'), (5, 'Zoë 🙂', 3, NULL);`

func describe(t *testing.T, h Harness) {
	s := h.open(t, people)
	for _, m := range []resource.DataModel{{SQL: "SELECT id, name, score, ts FROM people"}, {Table: "people"}} {
		got, err := s.Describe(t.Context(), source.Query{Model: m})
		require.NoError(t, err)
		require.Equal(t, 4, got.NumFields())
		require.Equal(t, h.has(arrow.INT64), typeOf(t, got, "id").ID())
		require.Equal(t, arrow.STRING, typeOf(t, got, "name").ID())
		require.Equal(t, arrow.FLOAT64, typeOf(t, got, "score").ID())
		require.Equal(t, &arrow.TimestampType{Unit: arrow.Microsecond}, typeOf(t, got, "ts"))
		for _, f := range got.Fields() {
			own, ok := f.Metadata.GetValue(source.MetaType)
			require.True(t, ok && own != "", "%s has no warehouse type", f.Name)
		}
	}
}

func readsEveryRow(t *testing.T, h Harness) {
	s := h.open(t)
	sum, n := int64(0), int64(0)
	for b, err := range s.Read(t.Context(), sql("SELECT i AS id, 'row ' || CAST(i AS VARCHAR) AS name FROM generate_series(1, 200000) AS g(i)")) {
		require.NoError(t, err)
		n += b.NumRows()
		for i := range int(b.NumRows()) {
			id, err := strconv.ParseInt(b.Column(0).ValueStr(i), 10, 64)
			require.NoError(t, err)
			require.Equal(t, "row "+b.Column(0).ValueStr(i), b.Column(1).ValueStr(i))
			sum += id
		}
	}
	require.EqualValues(t, 200000, n)
	require.EqualValues(t, 200000*200001/2, sum)
}

// types checks extremes of each type that warehouses share.
func types(t *testing.T, h Harness) {
	s := h.open(t, people)
	for _, c := range []struct {
		sql   string
		id    arrow.Type
		want  string
		other []string
	}{
		{sql: "CAST(TRUE AS BOOLEAN)", id: arrow.BOOL, want: "true"},
		{sql: "CAST(-32768 AS SMALLINT)", id: arrow.INT16, want: "-32768"},
		{sql: "CAST(2147483647 AS INTEGER)", id: arrow.INT32, want: "2147483647"},
		{sql: "CAST('-9223372036854775808' AS BIGINT)", id: arrow.INT64, want: "-9223372036854775808"},
		{sql: "CAST(9007199254740993 AS BIGINT)", id: arrow.INT64, want: "9007199254740993"},
		{sql: "CAST('1.5' AS REAL)", id: arrow.FLOAT32, want: "1.5"},
		{sql: "CAST('NaN' AS DOUBLE PRECISION)", id: arrow.FLOAT64, want: "NaN"},
		{sql: "CAST('-Infinity' AS DOUBLE PRECISION)", id: arrow.FLOAT64, want: "-Inf"},
		{sql: "CAST('2.2250738585072014e-308' AS DOUBLE PRECISION)", id: arrow.FLOAT64, want: "2.2250738585072014e-308"},
		{sql: "CAST('7.00' AS DECIMAL(10,2))", id: arrow.DECIMAL128, want: "7.00", other: []string{"7"}},
		{sql: "CAST('-0.00012300' AS DECIMAL(20,8))", id: arrow.DECIMAL128, want: "-0.00012300", other: []string{"-0.000123", "-0.000123"}},
		{sql: "CAST('99999999999999999999999999999999999999' AS DECIMAL(38,0))", id: arrow.DECIMAL128, want: "99999999999999999999999999999999999999"},
		{sql: "CAST('-9.9999999999999999999999999999999999999' AS DECIMAL(38,37))", id: arrow.DECIMAL128, want: "-9.9999999999999999999999999999999999999"},
		{sql: "CAST('' AS VARCHAR)", id: arrow.STRING, want: ""},
		{sql: "CAST('äß 🙂 é\r\n\t\"''' AS VARCHAR)", id: arrow.STRING, want: "äß 🙂 é\r\n\t\"'"},
		{sql: "CAST('0001-01-01' AS DATE)", id: arrow.DATE32, want: "0001-01-01"},
		{sql: "CAST('9999-12-31' AS DATE)", id: arrow.DATE32, want: "9999-12-31"},
		{sql: "CAST('0001-01-01 00:00:00' AS TIMESTAMP)", id: arrow.TIMESTAMP, want: "0001-01-01T00:00:00"},
		{sql: "CAST('9999-12-31 23:59:59.999999' AS TIMESTAMP)", id: arrow.TIMESTAMP, want: "9999-12-31T23:59:59.999999"},
		{sql: "CAST('2026-01-01 00:00:00+14' AS TIMESTAMPTZ)", id: arrow.TIMESTAMP, want: "2025-12-31T10:00:00Z"},
		{sql: "CAST('23:59:59.5' AS TIME)", id: arrow.STRING, want: "23:59:59.5"},
		{sql: "CAST('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11' AS UUID)", id: arrow.STRING, want: "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"},
		{sql: "CAST(NULL AS BIGINT)", id: arrow.INT64, want: "(null)"},
		{sql: "CAST(NULL AS DECIMAL(9,2))", id: arrow.DECIMAL128, want: "(null)"},
		{sql: "CAST(NULL AS TIMESTAMPTZ)", id: arrow.TIMESTAMP, want: "(null)"},
		{sql: "CAST(NULL AS VARCHAR)", id: arrow.STRING, want: "(null)"},
		{sql: "CAST(NULL AS BYTEA)", id: arrow.BINARY, want: "(null)"},
	} {
		q := sql("SELECT " + c.sql + " AS v")
		schema, err := s.Describe(t.Context(), q)
		require.NoError(t, err, c.sql)
		require.Equal(t, h.has(c.id), typeOf(t, schema, "v").ID(), c.sql)
		got := rows(t, s, q)
		require.Len(t, got, 1, c.sql)
		require.Contains(t, append(c.other, c.want), got[0][0], c.sql)
	}
	for b, err := range s.Read(t.Context(), sql("SELECT CAST('\\x00ff' AS BYTEA) AS v WHERE 1 = 0")) {
		require.NoError(t, err)
		require.Equal(t, arrow.BINARY, b.Column(0).DataType().ID())
	}
}

func nested(t *testing.T, h Harness) {
	s := h.open(t)
	q := sql(`SELECT CAST('{"b": [1, null], "a": "x"}' AS JSON) AS doc, ARRAY[1, 2, NULL] AS list`)
	schema, err := s.Describe(t.Context(), q)
	require.NoError(t, err)
	for _, f := range schema.Fields() {
		require.Equal(t, arrow.STRING, f.Type.ID(), f.Name)
		mark, _ := f.Metadata.GetValue(record.MetaJSON)
		require.Equal(t, "true", mark, f.Name)
	}
	got := rows(t, s, q)
	require.JSONEq(t, `{"b": [1, null], "a": "x"}`, got[0][0])
	require.JSONEq(t, `[1, 2, null]`, got[0][1])
}

func ranges(t *testing.T, h Harness) {
	s := h.open(t, people)
	const two = "2026-01-02T00:00:00.000001"
	for _, c := range []struct {
		name string
		r    source.Range
		want []string
	}{
		{"everything", source.Range{}, []string{"1", "2", "3", "4", "5"}},
		{"low is in it", source.Range{Low: two}, []string{"2", "3", "4"}},
		{"open high is not in it", source.Range{High: two}, []string{"1"}},
		{"closed high is in it", source.Range{High: two, HighClosed: true}, []string{"1", "2", "3"}},
		{"a point", source.Range{Low: two, High: two, HighClosed: true}, []string{"2", "3"}},
		{"an empty range", source.Range{Low: two, High: two}, nil},
		{"a microsecond above", source.Range{Low: "2026-01-02T00:00:00.000002"}, []string{"4"}},
		{"no iterator value", source.Range{Nulls: true}, []string{"5"}},
	} {
		got := rows(t, s, by("SELECT id, ts FROM people", "ts", "timestamp", c.r))
		require.ElementsMatch(t, c.want, first(got), c.name)
	}
	days := "SELECT id, CAST(ts AS DATE) AS day FROM people"
	require.ElementsMatch(t, []string{"2", "3"}, first(rows(t, s, by(days, "day", "date", source.Range{Low: "2026-01-02", High: "2026-01-03"}))))
	zoned := "SELECT 1 AS id, CAST('2026-01-01 01:00:00+01' AS TIMESTAMPTZ) AS ts"
	require.Len(t, rows(t, s, by(zoned, "ts", "timestamp", source.Range{Low: "2026-01-01T00:00:00Z", High: "2026-01-01T00:00:00Z", HighClosed: true})), 1)
	numbers := "SELECT id, CAST(id AS DECIMAL(9,2)) / 1 AS ignored, CAST(score AS DECIMAL(9,2)) AS n FROM people"
	require.ElementsMatch(t, []string{"1", "5"}, first(rows(t, s, by(numbers, "n", "decimal", source.Range{Low: "1.50"}))))
	_, err := read(t.Context(), t, s, by("SELECT id, ts FROM people", "ts", "timestamp", source.Range{Low: "2026-01-01' OR TRUE --"}))
	require.Equal(t, fault.ReasonIteratorInvalid, fault.ReasonOf(err))
}

func nanoseconds(t *testing.T, h Harness) {
	s := h.open(t, `CREATE TABLE n (id BIGINT, ts TIMESTAMP_NS);
INSERT INTO n VALUES (1, '2026-01-01 00:00:00.000000001'), (2, '2026-01-01 00:00:00.000000002'), (3, '2026-01-01 00:00:00.000000003');`)
	q := by("SELECT id, ts FROM n", "ts", "timestamp", source.Range{Low: "2026-01-01T00:00:00.000000002"})
	require.ElementsMatch(t, []string{"2", "3"}, first(rows(t, s, q)))
	q.Range = source.Range{High: "2026-01-01T00:00:00.000000002", HighClosed: true}
	require.ElementsMatch(t, []string{"1", "2"}, first(rows(t, s, q)))
	require.Equal(t, "2026-01-01T00:00:00.000000003", planOf(t, s, q, 1).Watermark)
}

func integers38(t *testing.T, h Harness) {
	s := h.open(t, `CREATE TABLE big (id BIGINT, n DECIMAL(38,0));
INSERT INTO big VALUES (1, 99999999999999999999999999999999999997), (2, 99999999999999999999999999999999999998), (3, 99999999999999999999999999999999999999);`)
	q := by("SELECT id, n FROM big", "n", "integer", source.Range{Low: "99999999999999999999999999999999999998"})
	require.ElementsMatch(t, []string{"2", "3"}, first(rows(t, s, q)))
	require.Equal(t, strings.Repeat("9", 38), planOf(t, s, q, 1).Watermark)
}

func emptyResult(t *testing.T, h Harness) {
	s := h.open(t, people)
	require.Empty(t, rows(t, s, sql("SELECT * FROM people WHERE id < 0")))
}

func limit(t *testing.T, h Harness) {
	s := h.open(t)
	q := sql("SELECT i FROM generate_series(1, 100000) AS g(i)")
	q.Limit = 7
	require.Len(t, rows(t, s, q), 7)
}

const endless = "SELECT a.i * 1000000 + b.i AS n FROM generate_series(1, 1000000) AS a(i) CROSS JOIN generate_series(1, 1000000) AS b(i)"

func stopMidRead(t *testing.T, h Harness) {
	s := h.open(t)
	for _, err := range s.Read(t.Context(), sql(endless)) {
		require.NoError(t, err)
		break
	}
	require.Len(t, rows(t, s, sql("SELECT 1 AS one")), 1)
}

func cancelMidRead(t *testing.T, h Harness) {
	s := h.open(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var last error
	for _, err := range s.Read(ctx, sql(endless)) {
		if err != nil {
			require.NoError(t, last, "nothing comes after an error")
			last = err
			continue
		}
		cancel()
	}
	require.Equal(t, fault.Cancelled, fault.ClassOf(last), "%v", last)
	require.Len(t, rows(t, s, sql("SELECT 1 AS one")), 1)
}

func cancelBeforeTheFirstRow(t *testing.T, h Harness) {
	s := h.open(t)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(cancel)
	defer wg.Wait()
	var last error
	for _, err := range s.Read(ctx, sql("SELECT count(*) AS n FROM ("+endless+") AS e")) {
		last = err
	}
	require.Equal(t, fault.Cancelled, fault.ClassOf(last), "%v", last)
}

// faultMidRead fails on a late row: rows that came before must not look like all of them.
func faultMidRead(t *testing.T, h Harness) {
	s := h.open(t)
	got, err := read(t.Context(), t, s, sql("SELECT CAST(CASE WHEN i = 150000 THEN 'secret' ELSE '1' END AS INTEGER) AS n FROM generate_series(1, 300000) AS g(i)"))
	require.Error(t, err)
	require.Less(t, len(got), 300000)
	require.NotContains(t, err.Error(), "secret")
	require.True(t, fault.ClassOf(err).Permanent(), "%v", err)
}

func concurrent(t *testing.T, h Harness) {
	s := h.open(t, people)
	var wg sync.WaitGroup
	counts := make([]int, 8)
	errs := make([]error, len(counts))
	for i := range counts {
		wg.Go(func() {
			for b, err := range s.Read(t.Context(), sql("SELECT p.id FROM people AS p CROSS JOIN generate_series(1, 1000) AS g(i)")) {
				if err != nil {
					errs[i] = err
					return
				}
				counts[i] += int(b.NumRows())
			}
		})
	}
	wg.Wait()
	for i, n := range counts {
		require.NoError(t, errs[i])
		require.Equal(t, 5000, n)
	}
}
