package sourcetest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/source"
)

func planOf(t *testing.T, s source.Source, q source.Query, want int) source.Plan {
	t.Helper()
	p, ok := source.As[source.Planner](s)
	require.True(t, ok, "the source plans")
	got, err := p.Plan(t.Context(), q, want)
	require.NoError(t, err)
	require.NotEmpty(t, got.Parts)
	require.False(t, got.SnapshotTime.IsZero())
	return got
}

// readPlan answers the ids that a plan's parts read, in no order.
func readPlan(t *testing.T, s source.Source, q source.Query, p source.Plan) []string {
	t.Helper()
	var out []string
	for _, r := range p.Parts {
		q.Snapshot, q.Range = p.Snapshot, r
		out = append(out, first(rows(t, s, q))...)
	}
	return out
}

func plan(t *testing.T, h Harness) {
	s := h.open(t, people)
	q := by("SELECT id, ts FROM people", "ts", "timestamp", source.Range{})

	p := planOf(t, s, q, 1)
	require.Equal(t, "2026-01-03T00:00:00", p.Watermark)
	require.EqualValues(t, 1, p.NullIterator)
	require.WithinDuration(t, time.Now(), p.SnapshotTime, time.Hour)
	require.ElementsMatch(t, []string{"1", "2", "3", "4"}, readPlan(t, s, q, p))

	q.Low, q.Lookback = "2026-01-02T00:00:00.000002", time.Microsecond
	require.ElementsMatch(t, []string{"2", "3", "4"}, readPlan(t, s, q, planOf(t, s, q, 1)))

	q.Low, q.Lookback = "", 0
	q.From, q.Until = time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC), time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	p = planOf(t, s, q, 1)
	require.Equal(t, "2026-01-02T12:00:00", p.Watermark)
	require.ElementsMatch(t, []string{"2", "3"}, readPlan(t, s, q, p))

	q.From, q.Until, q.Model.Iterator.ReadNulls = time.Time{}, time.Time{}, true
	require.ElementsMatch(t, []string{"1", "2", "3", "4", "5"}, readPlan(t, s, q, planOf(t, s, q, 1)))

	future := by("SELECT 1 AS id, CAST('9999-01-01' AS TIMESTAMP) AS ts", "ts", "timestamp", source.Range{})
	p = planOf(t, s, future, 1)
	require.Less(t, p.Watermark, "9000")
	require.Empty(t, readPlan(t, s, future, p))
}

func planOfNothing(t *testing.T, h Harness) {
	s := h.open(t, people)
	for _, where := range []string{"id < 0", "ts IS NULL"} {
		q := by("SELECT id, ts FROM people WHERE "+where, "ts", "timestamp", source.Range{})
		p := planOf(t, s, q, 1)
		require.Empty(t, p.Watermark, "no rows, no move")
		require.Empty(t, readPlan(t, s, q, p))
	}
	q := by("SELECT id, ts FROM people", "ts", "timestamp", source.Range{})
	q.Low = "2026-02-01T00:00:00"
	p := planOf(t, s, q, 1)
	require.Empty(t, p.Watermark, "the watermark does not go back")
	require.Empty(t, readPlan(t, s, q, p))
}

func manyRows(h Harness) string {
	return fmt.Sprintf(`CREATE TABLE many AS SELECT i AS id, CASE WHEN i %% 10 = 0 THEN NULL ELSE CAST(i / 3 AS BIGINT) END AS n FROM generate_series(1, %d) AS g(i);`, 5*h.PartRows)
}

func parts(t *testing.T, h Harness) {
	s := h.open(t, manyRows(h))
	q := by("SELECT id, n FROM many", "n", "integer", source.Range{})
	q.Model.Iterator.ReadNulls = true
	p := planOf(t, s, q, 4)
	require.Greater(t, len(p.Parts), 2, "a large window is cut")
	require.LessOrEqual(t, len(p.Parts), 5)
	require.Equal(t, h.PartRows/2, p.NullIterator)
	requireOnce(t, 5*h.PartRows, readPlan(t, s, q, p))
	require.LessOrEqual(t, len(planOf(t, s, q, 1).Parts), 2)
}

func fullParts(t *testing.T, h Harness) {
	s := h.open(t, manyRows(h))
	q := by("SELECT id, n FROM many", "n", "integer", source.Range{})
	q.Full = true
	p := planOf(t, s, q, 4)
	require.Empty(t, p.Watermark)
	require.Greater(t, len(p.Parts), 2)
	requireOnce(t, 5*h.PartRows, readPlan(t, s, q, p))
	q.Model.Iterator = resource.Iterator{}
	requireOnce(t, 5*h.PartRows, readPlan(t, s, q, planOf(t, s, q, 4)))
}

// buckets cuts a read of everything without iterator by its keys, NULLs among them.
func buckets(t *testing.T, h Harness) {
	s := h.open(t, fmt.Sprintf(`CREATE TABLE keyed AS SELECT i AS id, CASE WHEN i %% 7 = 0 THEN NULL ELSE 'key ' || CAST(i / 2 AS VARCHAR) END AS k,
CASE WHEN i %% 5 = 0 THEN NULL ELSE CAST(i AS DECIMAL(12,2)) END AS d FROM generate_series(1, %d) AS g(i);`, 5*h.PartRows))
	for _, keys := range [][]string{{"k"}, {"d"}, {"k", "d"}, {"id"}} {
		q := sql("SELECT id, k, d FROM keyed")
		q.Full, q.Model.KeyColumns = true, keys
		p := planOf(t, s, q, 4)
		require.Len(t, p.Parts, 4, "%v", keys)
		for _, r := range p.Parts {
			require.Contains(t, r.Unit, " of 4 ", "%v", keys)
		}
		requireOnce(t, 5*h.PartRows, readPlan(t, s, q, p))
		require.Len(t, planOf(t, s, q, 1).Parts, 1)

		q.Snapshot, q.Range = p.Snapshot, source.Range{Unit: "something else"}
		_, err := read(t.Context(), t, s, q)
		require.Equal(t, fault.ReasonSourceChanged, fault.ReasonOf(err), "a slice of another driver is planned again")
	}
	q := sql("SELECT id FROM keyed")
	q.Full = true
	require.Len(t, planOf(t, s, q, 4).Parts, 1, "without keys nothing is cut")
}

// plansCount counts exactly what the parts of a plan read, but for queries that differ each time.
func plansCount(t *testing.T, h Harness) {
	s := h.open(t, manyRows(h))
	q := by("SELECT id, n FROM many", "n", "integer", source.Range{})
	counted := func(q source.Query) {
		t.Helper()
		p := planOf(t, s, q, 4)
		require.True(t, p.Counted)
		require.Len(t, readPlan(t, s, q, p), int(p.EstimatedRows))
	}
	counted(q)
	q.Model.Iterator.ReadNulls = true
	counted(q)
	q.Low = "700"
	counted(q)
	q.Low = "999999999"
	counted(q)
	q.Full = true
	counted(q)
	q.Model.Iterator, q.Model.KeyColumns = resource.Iterator{}, []string{"id"}
	counted(q)
	q.Model.KeyColumns = nil
	counted(q)
	for _, text := range []string{"SELECT id FROM many WHERE CURRENT_DATE > CAST('2020-01-01' AS DATE)", "SELECT id FROM many WHERE random() < 0.5"} {
		varying := sql(text)
		varying.Full = true
		require.False(t, planOf(t, s, varying, 4).Counted, text)
	}
}

func futureRows(t *testing.T, h Harness) {
	s := h.open(t, `CREATE TABLE ahead (id BIGINT, ts TIMESTAMPTZ);
INSERT INTO ahead VALUES (1, '2026-01-01 00:00:00+00'), (2, '9999-01-01 00:00:00+00'), (3, '9998-01-01 00:00:00+00'), (4, NULL);`)
	q := by("SELECT id, ts FROM ahead", "ts", "timestamp", source.Range{})
	p := planOf(t, s, q, 1)
	require.EqualValues(t, 2, p.FutureRows)
	require.EqualValues(t, 1, p.EstimatedRows)
	require.Equal(t, []string{"1"}, readPlan(t, s, q, p))

	q.Until = time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)
	require.Zero(t, planOf(t, s, q, 1).FutureRows, "the window ends before")

	q.Until, q.Delay = time.Time{}, time.Since(time.Date(2025, 12, 31, 0, 0, 0, 0, time.UTC))
	p = planOf(t, s, q, 1)
	require.EqualValues(t, 3, p.FutureRows, "what has not settled is left to a later run")
	require.Empty(t, readPlan(t, s, q, p))

	q.Full, q.Delay = true, 0
	p = planOf(t, s, q, 1)
	require.Zero(t, p.FutureRows)
	require.Len(t, readPlan(t, s, q, p), 4, "a read of everything leaves nothing out")
}

// lossless plans by each type of iterator from a checkpoint that is a row's own value to the last digit.
func lossless(t *testing.T, h Harness) {
	s := h.open(t)
	for _, c := range []struct {
		sql  string // of the type, of three values in ascending order
		typ  resource.IteratorType
		a, b string
		c    string
	}{
		{"TIMESTAMP", resource.IteratorTimestamp, "2026-01-01T00:00:00.123455", "2026-01-01T00:00:00.123456", "2026-01-01T00:00:00.123457"},
		{"TIMESTAMPTZ", resource.IteratorTimestamp, "2026-01-01T00:00:00.123455Z", "2026-01-01T00:00:00.123456Z", "2026-01-01T00:00:00.123457Z"},
		{"DATE", resource.IteratorDate, "2024-02-28", "2024-02-29", "2024-03-01"},
		{"SMALLINT", resource.IteratorInteger, "-32768", "0", "32767"},
		{"BIGINT", resource.IteratorInteger, "9007199254740992", "9007199254740993", "9007199254740994"},
		{"DECIMAL(38,0)", resource.IteratorInteger, "-99999999999999999999999999999999999999", "99999999999999999999999999999999999998", "99999999999999999999999999999999999999"},
		{"DECIMAL(38,10)", resource.IteratorDecimal, "1234567890123456789012345678.0123456788", "1234567890123456789012345678.0123456789", "1234567890123456789012345678.0123456790"},
	} {
		var rows []string
		for i, v := range []string{c.a, c.b, c.c} {
			rows = append(rows, fmt.Sprintf("SELECT %d AS id, CAST('%s' AS %s) AS at", i+1, v, c.sql))
		}
		q := by(strings.Join(rows, " UNION ALL "), "at", c.typ, source.Range{})
		p := planOf(t, s, q, 1)
		require.Equal(t, c.c, p.Watermark, c.sql)
		require.Len(t, readPlan(t, s, q, p), 3, c.sql)

		q.Low = c.b
		require.ElementsMatch(t, []string{"2", "3"}, readPlan(t, s, q, planOf(t, s, q, 1)), c.sql)
		q.Low = c.c
		p = planOf(t, s, q, 1)
		require.ElementsMatch(t, []string{"3"}, readPlan(t, s, q, p), "%s: the row at the checkpoint is seen again", c.sql)
		require.Equal(t, c.c, p.Watermark, c.sql)
	}
}

func requireOnce(t *testing.T, n int64, ids []string) {
	t.Helper()
	seen := map[string]bool{}
	for _, id := range ids {
		require.False(t, seen[id], "row %s is read twice", id)
		seen[id] = true
	}
	require.Len(t, seen, int(n))
}

func iterators(t *testing.T, h Harness) {
	s := h.open(t, people)
	p, _ := source.As[source.Planner](s)
	for _, q := range []source.Query{
		by("SELECT id FROM people", "ts", "timestamp", source.Range{}),
		by("SELECT id, ts FROM people", "ts", "date", source.Range{}),
		by("SELECT id, score FROM people", "score", "decimal", source.Range{}),
		by("SELECT id, name FROM people", "name", "timestamp", source.Range{}),
	} {
		_, err := p.Plan(t.Context(), q, 1)
		require.Equal(t, fault.ReasonIteratorInvalid, fault.ReasonOf(err))
	}
}

func tables(t *testing.T, h Harness) {
	s := h.open(t, people, `CREATE TABLE "Odd name" (a INTEGER); CREATE VIEW seen AS SELECT id FROM people;`)
	b, ok := source.As[source.Browser](s)
	require.True(t, ok)
	got := map[string][]source.Column{}
	for table, err := range b.Tables(t.Context(), "") {
		require.NoError(t, err)
		got[table.Name] = table.Columns
		_, err := s.Describe(t.Context(), source.Query{Model: resource.DataModel{Table: table.Name}})
		require.NoError(t, err, "a listed name can be used as it is: %s", table.Name)
	}
	require.Len(t, got, 3)
	require.Len(t, got["people"], 4)
	require.Equal(t, "id", got["people"][0].Name)
	require.False(t, got["people"][0].Nullable)
	require.NotEmpty(t, got["people"][0].Type)
	require.Len(t, got["seen"], 1)
	n := 0
	for table, err := range b.Tables(t.Context(), "peo") {
		require.NoError(t, err)
		require.Equal(t, "people", table.Name)
		n++
	}
	require.Equal(t, 1, n)
}

func keys(t *testing.T, h Harness) {
	s := h.open(t, people)
	k, ok := source.As[source.Keys](s)
	require.True(t, ok)
	for _, c := range []struct {
		columns []string
		want    source.KeyFaults
	}{
		{[]string{"id"}, source.KeyFaults{}},
		{[]string{"ts"}, source.KeyFaults{Nulls: 1, Repeated: 1}},
		{[]string{"name", "ts"}, source.KeyFaults{Nulls: 2}},
	} {
		q := sql("SELECT id, name, ts FROM people")
		q.Model.KeyColumns = c.columns
		got, err := k.CheckKeys(t.Context(), q)
		require.NoError(t, err)
		require.Equal(t, c.want, got, "%v", c.columns)
	}
}

func check(t *testing.T, h Harness) {
	steps := h.open(t).Check(t.Context())
	require.NotEmpty(t, steps)
	for _, s := range steps {
		require.True(t, s.OK, "%s: %s", s.Name, s.Message)
	}
	require.True(t, slices.ContainsFunc(steps, func(s source.CheckStep) bool { return s.Name == "run query" }))
}

func setup(t *testing.T, h Harness) {
	d, ok := h.Driver.(source.Setup)
	require.True(t, ok)
	text, err := d.Setup(h.New(t).Connection)
	require.NoError(t, err)
	require.NotEmpty(t, text)
}
