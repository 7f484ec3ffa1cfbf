package sourcetest

import (
	"fmt"
	"slices"
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
