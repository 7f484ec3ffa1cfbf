//go:build cgo && duckdb_arrow

package sharing_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/source"
	"millrace.dev/pkg/source/sharing"
	"millrace.dev/pkg/source/sharing/sharingtest"
)

const people = `CREATE TABLE people (id BIGINT NOT NULL, ts TIMESTAMPTZ);
INSERT INTO people VALUES (1, '2026-01-01 00:00:00+00'), (2, '2026-01-02 00:00:00.000001+00'), (3, '2026-01-02 00:00:00.000001+00'), (4, '2026-01-03 00:00:00.000999+00'), (5, NULL)`

// servers are those that planning and reading must come to the same on.
func servers() map[string]sharingtest.Options {
	return map[string]sharingtest.Options{
		"one file": {}, "a file for each row": {FileRows: 1}, "no statistics": {FileRows: 2, NoStats: true}, "no history": {FileRows: 2, NoHistory: true, NoEnd: true},
	}
}

func TestRangesAreExact(t *testing.T) {
	const two = "2026-01-02T00:00:00.000001Z"
	for name, o := range servers() {
		p := sharingtest.Start(t, o)
		p.Exec(t, people)
		s := open(t, p)
		for _, c := range []struct {
			r    source.Range
			want []string
		}{
			{source.Range{}, []string{"1", "2", "3", "4", "5"}},
			{source.Range{Low: two}, []string{"2", "3", "4"}},
			{source.Range{High: two}, []string{"1"}},
			{source.Range{High: two, HighClosed: true}, []string{"1", "2", "3"}},
			{source.Range{Low: two, High: two, HighClosed: true}, []string{"2", "3"}},
			{source.Range{Low: two, High: two}, nil},
			{source.Range{Low: "2026-01-02T00:00:00.000002Z"}, []string{"4"}},
			{source.Range{Low: "2026-01-03T00:00:00.000999Z"}, []string{"4"}},
			{source.Range{Low: "2026-01-03T00:00:00.001Z"}, nil},
			{source.Range{Nulls: true}, []string{"5"}},
		} {
			require.ElementsMatch(t, c.want, values(t, s, by("people", "ts", "timestamp", c.r)), "%s: %+v", name, c.r)
		}
		_, err := read(t.Context(), s, by("people", "ts", "timestamp", source.Range{Low: "2026-01-01' OR TRUE --"}))
		require.Equal(t, fault.ReasonIteratorInvalid, fault.ReasonOf(err))
	}
}

func TestPlansByInstants(t *testing.T) {
	for name, o := range servers() {
		t.Run(name, func(t *testing.T) {
			p := sharingtest.Start(t, o)
			p.Exec(t, people)
			s := open(t, p)
			q := by("people", "ts", "timestamp", source.Range{})
			plan := planOf(t, s, q, 1)
			require.Equal(t, "version 0", plan.Snapshot)
			require.Equal(t, "2026-01-03T00:00:00.000999Z", plan.Watermark, "statistics say 2026-01-03T00:00:00.000Z")
			require.EqualValues(t, 1, plan.NullIterator)
			require.EqualValues(t, 4, plan.EstimatedRows)
			require.True(t, plan.Counted)
			require.WithinDuration(t, time.Now(), plan.SnapshotTime, time.Hour)
			require.ElementsMatch(t, []string{"1", "2", "3", "4"}, readPlan(t, s, q, plan))

			q.Low, q.Lookback = "2026-01-02T00:00:00.000002Z", time.Microsecond
			plan = planOf(t, s, q, 1)
			require.EqualValues(t, 3, plan.EstimatedRows)
			require.ElementsMatch(t, []string{"2", "3", "4"}, readPlan(t, s, q, plan))

			q.Low, q.Lookback = "", 0
			q.From, q.Until = time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC), time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
			plan = planOf(t, s, q, 1)
			require.Equal(t, "2026-01-02T12:00:00Z", plan.Watermark)
			require.ElementsMatch(t, []string{"2", "3"}, readPlan(t, s, q, plan))

			q.From, q.Until, q.Model.Iterator.ReadNulls = time.Time{}, time.Time{}, true
			plan = planOf(t, s, q, 1)
			require.EqualValues(t, 5, plan.EstimatedRows)
			require.ElementsMatch(t, []string{"1", "2", "3", "4", "5"}, readPlan(t, s, q, plan))

			q.Model.Iterator.ReadNulls, q.Low = false, "2026-02-01T00:00:00Z"
			plan = planOf(t, s, q, 1)
			require.Empty(t, plan.Watermark, "the watermark does not go back")
			require.Zero(t, plan.EstimatedRows)
			require.Empty(t, readPlan(t, s, q, plan))

			for _, where := range []string{"id < 0", "ts IS NULL"} {
				p.Exec(t, "CREATE OR REPLACE TABLE none AS SELECT * FROM people WHERE "+where)
				q = by("none", "ts", "timestamp", source.Range{})
				plan = planOf(t, s, q, 1)
				require.Empty(t, plan.Watermark, "no rows, no move")
				require.Empty(t, readPlan(t, s, q, plan))
			}
		})
	}
}

// A checkpoint is a row's own value to the last digit, whatever the statistics cut away.
func TestIteratorsAreLossless(t *testing.T) {
	for name, o := range servers() {
		p := sharingtest.Start(t, o)
		s := open(t, p)
		for i, c := range []struct {
			sql  string
			typ  resource.IteratorType
			a, b string
			c    string
		}{
			{"TIMESTAMPTZ", resource.IteratorTimestamp, "2026-01-01T00:00:00.123455Z", "2026-01-01T00:00:00.123456Z", "2026-01-01T00:00:00.123457Z"},
			{"DATE", resource.IteratorDate, "2024-02-28", "2024-02-29", "2024-03-01"},
			{"SMALLINT", resource.IteratorInteger, "-32768", "0", "32767"},
			{"BIGINT", resource.IteratorInteger, "9007199254740992", "9007199254740993", "9007199254740994"},
			{"DECIMAL(38,0)", resource.IteratorInteger, "-" + strings.Repeat("9", 38), strings.Repeat("9", 37) + "8", strings.Repeat("9", 38)},
			{"DECIMAL(38,10)", resource.IteratorDecimal, "1234567890123456789012345678.0123456788", "1234567890123456789012345678.0123456789", "1234567890123456789012345678.0123456790"},
		} {
			for _, partition := range []string{"", "v"} {
				table := fmt.Sprintf("t%d%s", i, partition)
				p.Set(table, sharingtest.Table{Partition: partition})
				p.Exec(t, fmt.Sprintf("CREATE TABLE %s (id BIGINT, v %s); INSERT INTO %s VALUES (1, '%s'), (2, '%s'), (3, '%s')", table, c.sql, table, c.a, c.b, c.c))
				q := by(table, "v", c.typ, source.Range{})
				plan := planOf(t, s, q, 1)
				require.Equal(t, c.c, plan.Watermark, "%s %s", name, c.sql)
				require.Len(t, readPlan(t, s, q, plan), 3)
				q.Low = c.b
				require.ElementsMatch(t, []string{"2", "3"}, readPlan(t, s, q, planOf(t, s, q, 1)), c.sql)
				q.Low = c.c
				require.Equal(t, []string{"3"}, readPlan(t, s, q, planOf(t, s, q, 1)), c.sql)
			}
		}
	}
}

const many = "CREATE TABLE many AS SELECT i AS id, CASE WHEN i % 10 = 0 THEN NULL ELSE i // 3 END AS n, hash(i) % 1000000 AS mixed FROM range(1, 5001) AS g(i); ALTER TABLE many ALTER mixed TYPE BIGINT"

func TestPlansCount(t *testing.T) {
	for name, o := range servers() {
		if o.FileRows > 0 {
			o.FileRows *= 500
		}
		p := sharingtest.Start(t, o)
		p.Exec(t, many)
		s := openWith(t, sharing.Settings{PartRows: 1000}, p.Connection())
		q := by("many", "n", "integer", source.Range{})
		counted := func(what string) {
			t.Helper()
			plan := planOf(t, s, q, 4)
			require.True(t, plan.Counted, "%s %s", name, what)
			require.Len(t, readPlan(t, s, q, plan), int(plan.EstimatedRows), "%s %s", name, what)
		}
		counted("all")
		q.Model.Iterator.ReadNulls = true
		counted("with nulls")
		q.Low = "700"
		counted("from a checkpoint")
		q.Low = "999999999"
		counted("nothing new")
		q.Full = true
		counted("full")
		q.Model.Iterator, q.Model.KeyColumns = resource.Iterator{}, []string{"id"}
		counted("full by keys")
		q.Model.KeyColumns = nil
		counted("full without keys")
	}
}

// Parts by value begin where files do, so that each file is read by one part or two. A window over files that all overlap is
// one part, for more would read every file again.
func TestPartsFollowFiles(t *testing.T) {
	p := sharingtest.Start(t, sharingtest.Options{FileRows: 500})
	p.Exec(t, many)
	s := openWith(t, sharing.Settings{PartRows: 1000}, p.Connection())
	q := by("many", "n", "integer", source.Range{})
	plan := planOf(t, s, q, 4)
	require.Len(t, plan.Parts, 4)
	p.Intercept(nil)
	readPlan(t, s, q, plan)
	require.LessOrEqual(t, p.Calls()["file"], 10+3, "ten files, and three bounds")

	q = by("many", "mixed", "integer", source.Range{})
	plan = planOf(t, s, q, 4)
	require.Len(t, plan.Parts, 1)
	require.Len(t, readPlan(t, s, q, plan), 5000)

	none := sharingtest.Start(t, sharingtest.Options{FileRows: 500, NoStats: true})
	none.Exec(t, many)
	q = by("many", "n", "integer", source.Range{})
	require.Len(t, planOf(t, openWith(t, sharing.Settings{PartRows: 1000}, none.Connection()), q, 4).Parts, 1)
}

// The server is told of a range in both of the protocol's forms; it need not listen.
func TestPredicateHints(t *testing.T) {
	p := sharingtest.Start(t, sharingtest.Options{})
	p.Exec(t, people)
	s := open(t, p)
	values(t, s, by("people", "ts", "timestamp", source.Range{Low: "2026-01-02T00:00:00Z", High: "2026-01-03T00:00:00Z"}))
	values(t, s, by("people", "id", "integer", source.Range{Low: "3"}))
	values(t, s, by("people", "ts", "timestamp", source.Range{Nulls: true}))
	q := p.Queries()
	require.Equal(t, []string{"ts >= '2026-01-02T00:00:00Z'", "ts <= '2026-01-03T00:00:00Z'"}, q[0].Hints)
	require.JSONEq(t, `{"op":"and","children":[
		{"op":"greaterThanOrEqual","children":[{"op":"column","name":"ts","valueType":"timestamp"},{"op":"literal","value":"2026-01-02T00:00:00Z","valueType":"timestamp"}]},
		{"op":"lessThanOrEqual","children":[{"op":"column","name":"ts","valueType":"timestamp"},{"op":"literal","value":"2026-01-03T00:00:00Z","valueType":"timestamp"}]}]}`, q[0].JSON)
	require.Equal(t, []string{"id >= 3"}, q[1].Hints)
	require.JSONEq(t, `{"op":"greaterThanOrEqual","children":[{"op":"column","name":"id","valueType":"long"},{"op":"literal","value":"3","valueType":"long"}]}`, q[1].JSON)
	require.Empty(t, q[2].Hints)
	require.Contains(t, q[0].Agent, "millrace:test/sync/run", "the run's label goes with the request")
}

// A table is read in the version of its plan, however often it is written meanwhile.
func TestATableIsReadInThePlansVersion(t *testing.T) {
	p := sharingtest.Start(t, sharingtest.Options{FileRows: 1000})
	p.Exec(t, many)
	s := openWith(t, sharing.Settings{PartRows: 1000}, p.Connection())
	full := table("many")
	full.Full, full.Model.KeyColumns = true, []string{"id"}
	plan, window := planOf(t, s, full, 4), by("many", "n", "integer", source.Range{})
	require.True(t, plan.Replan, "files of one version do not go with those of another")
	byValue := planOf(t, s, window, 4)
	require.False(t, byValue.Replan)
	p.Exec(t, "DELETE FROM many WHERE id > 10")
	require.Len(t, readPlan(t, s, full, plan), 5000)
	require.Len(t, readPlan(t, s, window, byValue), 4500)
	require.Equal(t, "version 0", s.(source.Renewer).ReadUnder()) //nolint:forcetypeassert // it has the power
}

// Where a share has no history, ranges by value go on in the newest version, and parts that are files are planned again.
func TestAVersionThatIsGone(t *testing.T) {
	p := sharingtest.Start(t, sharingtest.Options{FileRows: 1000, NoHistory: true})
	p.Exec(t, many)
	s := openWith(t, sharing.Settings{PartRows: 1000}, p.Connection())
	full := table("many")
	full.Full, full.Model.KeyColumns = true, []string{"id"}
	plan, window := planOf(t, s, full, 4), by("many", "n", "integer", source.Range{})
	byValue := planOf(t, s, window, 4)
	require.Len(t, readPlan(t, s, full, plan), 5000, "the newest version is the plan's")
	p.Exec(t, "DELETE FROM many WHERE id > 10")
	require.Len(t, readPlan(t, s, window, byValue), 9)
	require.Equal(t, "version 1", s.(source.Renewer).ReadUnder()) //nolint:forcetypeassert // it has the power
	full.Snapshot, full.Range = plan.Snapshot, plan.Parts[0]
	_, err := read(t.Context(), s, full)
	require.Equal(t, fault.ReasonSourceChanged, fault.ReasonOf(err))
}

func TestKeysAreNotCounted(t *testing.T) {
	_, ok := source.As[source.Keys](open(t, sharingtest.Start(t, sharingtest.Options{})))
	require.False(t, ok)
}
