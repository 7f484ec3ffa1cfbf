//go:build cgo && duckdb_arrow

package snowflake_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/source"
	"millrace.dev/pkg/source/snowflake/snowflaketest"
)

// follower looks at the changes of a query again and again.
type follower struct {
	source.ChangeReader
	q source.ChangeQuery
}

func follow(t *testing.T, s *snowflaketest.Server, e resource.MirrorEngine, sql string, compared ...string) *follower {
	t.Helper()
	r, ok := source.As[source.ChangeReader](open(t, s))
	require.True(t, ok)
	f := &follower{ChangeReader: r, q: source.ChangeQuery{Query: model(sql), Engine: e, Owner: "owner", Compared: compared}}
	f.q.Model.KeyColumns = []string{"ID"}
	return f
}

func (f *follower) changes(ctx context.Context) (source.Changes, error) {
	f.q.Attempt.Run++
	return f.Changes(ctx, f.q, 4)
}

// next makes a state, reads what is changed and what is gone by the first column, and goes on from there.
func (f *follower) next(t *testing.T) (c source.Changes, rows, gone []string) {
	t.Helper()
	c, err := f.changes(t.Context())
	require.NoError(t, err)
	q := f.q
	q.Since = c.Since
	for b, err := range f.ReadChanges(t.Context(), q, c.State, c.Parts[0]) {
		require.NoError(t, err)
		rows = append(rows, firstOf(b)...)
	}
	if c.Since != "" {
		for b, err := range f.ReadGone(t.Context(), q, c.State) {
			require.NoError(t, err)
			gone = append(gone, firstOf(b)...)
		}
	}
	require.Len(t, rows, int(c.Changed))
	require.Len(t, gone, int(c.Gone))
	f.q.Since = c.State
	return c, rows, gone
}

const people = "CREATE TABLE people (id BIGINT, plan VARCHAR, n BIGINT); INSERT INTO people SELECT i, 'free', i FROM generate_series(1, 40) AS g(i)"

func tracked(t *testing.T) *snowflaketest.Server {
	t.Helper()
	s := snowflaketest.New(t, snowflaketest.Options{Fold: true, Track: true})
	s.Exec(t, people)
	return s
}

// TestAFeedIsLost lets a feed of changes not tell everything, in each way that is known: the reason is told, everything is
// read, and the next run goes on by changes.
func TestAFeedIsLost(t *testing.T) {
	for name, c := range map[string]struct {
		by     func(t *testing.T, s *snowflaketest.Server, f *follower)
		reason string
	}{
		"its retention has passed by": {func(_ *testing.T, s *snowflaketest.Server, _ *follower) { s.Forget() }, "no longer has the changes"},
		"the table was made again": {func(t *testing.T, s *snowflaketest.Server, _ *follower) {
			s.Exec(t, "DROP TABLE people; "+people)
		}, "made again"},
		"an older table has its name": {func(t *testing.T, s *snowflaketest.Server, _ *follower) {
			s.Exec(t, "ALTER TABLE people RENAME TO gone; ALTER TABLE older RENAME TO people")
		}, "another one has its name"},
		"a column has come with a default": {func(t *testing.T, s *snowflaketest.Server, _ *follower) {
			s.Exec(t, "ALTER TABLE people ADD COLUMN city VARCHAR DEFAULT 'Rome'")
		}, "was altered"},
		"columns have changed names": {func(t *testing.T, s *snowflaketest.Server, _ *follower) {
			s.Exec(t, "ALTER TABLE people RENAME COLUMN n TO m")
			s.Exec(t, "ALTER TABLE people ADD COLUMN n BIGINT")
		}, "was altered"},
		"tracking was off": {func(t *testing.T, s *snowflaketest.Server, _ *follower) {
			s.Exec(t, "ALTER TABLE people SET CHANGE_TRACKING = FALSE")
			s.Exec(t, "UPDATE people SET n = 0; ALTER TABLE people SET CHANGE_TRACKING = TRUE")
		}, "was altered"},
		"the query is another one": {func(_ *testing.T, _ *snowflaketest.Server, f *follower) {
			f.q.Model.SQL = "SELECT id, UPPER(plan) AS plan, n FROM people"
		}, "another one"},
		"the state is no instant": {func(_ *testing.T, _ *snowflaketest.Server, f *follower) { f.q.Since = "nonsense" }, "not known"},
		"the rows do not add up": {func(_ *testing.T, _ *snowflaketest.Server, f *follower) {
			f.q.Since = source.State(strings.Replace(string(f.q.Since), "of 40 rows", "of 41 rows", 1))
		}, "do not lead from 41 rows to 40"},
	} {
		t.Run(name, func(t *testing.T) {
			s := snowflaketest.New(t, snowflaketest.Options{Fold: true, Track: true})
			s.Exec(t, strings.ReplaceAll(people, "people", "older"))
			s.Exec(t, people)
			f := follow(t, s, resource.Native, "SELECT id, plan, n FROM people", "PLAN", "N")
			f.next(t)
			c.by(t, s, f)
			got, rows, _ := f.next(t)
			require.Contains(t, got.Lost, c.reason)
			require.Empty(t, got.Since)
			require.Len(t, rows, 40)
			s.Exec(t, "UPDATE people SET plan = 'pro' WHERE id = 7; DELETE FROM people WHERE id = 8")
			got, rows, gone := f.next(t)
			require.Empty(t, got.Lost)
			require.Equal(t, []string{"7"}, rows)
			require.Equal(t, []string{"8"}, gone)
		})
	}
}

// TestAFeedGoesByTheRow follows a query with a WHERE and expressions: a row that leaves the WHERE is gone, one that enters
// it is new, and one that is written again as it was is neither.
func TestAFeedGoesByTheRow(t *testing.T) {
	s := tracked(t)
	f := follow(t, s, resource.Native, "SELECT p.id AS id, -- the plan in capitals\n UPPER(plan) AS plan\nFROM people AS p -- FROM here\nWHERE n > 10 AND plan IS DISTINCT FROM 'none'", "PLAN")
	_, rows, _ := f.next(t)
	require.Len(t, rows, 30)
	s.Exec(t, "UPDATE people SET n = 1 WHERE id = 20; UPDATE people SET n = 99 WHERE id = 5; UPDATE people SET plan = 'none' WHERE id = 21; UPDATE people SET plan = 'FREE', n = 77 WHERE id = 22")
	s.Exec(t, "DELETE FROM people WHERE id = 23; INSERT INTO people VALUES (23, 'free', 23); INSERT INTO people VALUES (50, 'x', 50); DELETE FROM people WHERE id = 50")
	c, rows, gone := f.next(t)
	require.Empty(t, c.Lost)
	require.Equal(t, []string{"5"}, rows)
	require.ElementsMatch(t, []string{"20", "21"}, gone)
	for _, r := range s.Statements() {
		require.True(t, strings.HasPrefix(r.SQL, "SELECT") || strings.HasPrefix(r.SQL, "WITH"), "nothing is written: %s", r.SQL)
	}
}

// TestAFeedOfAnotherTableIsNotRead lets a table take the place of the one that a plan found: its parts are planned again.
func TestAFeedOfAnotherTableIsNotRead(t *testing.T) {
	s := tracked(t)
	f := follow(t, s, resource.Native, "SELECT id, plan, n FROM people", "PLAN", "N")
	f.next(t)
	c, err := f.changes(t.Context())
	require.NoError(t, err)
	s.Exec(t, "DROP TABLE people; "+people)
	for _, err := range f.ReadChanges(t.Context(), f.q, c.State, source.Range{}) {
		require.Equal(t, fault.ReasonSourceChanged, fault.ReasonOf(err), "%v", err)
	}
	for _, err := range f.ReadGone(t.Context(), f.q, c.State) {
		require.Equal(t, fault.ReasonSourceChanged, fault.ReasonOf(err), "%v", err)
	}
}

func TestUntrackedChangesAreRefused(t *testing.T) {
	s := snowflaketest.New(t, snowflaketest.Options{Fold: true})
	s.Exec(t, people)
	f := follow(t, s, resource.Native, "SELECT id, plan FROM people", "PLAN")
	_, err := f.changes(t.Context())
	require.Equal(t, fault.Precondition, fault.ClassOf(err), "%v", err)
	require.ErrorContains(t, err, "ALTER TABLE people SET CHANGE_TRACKING = TRUE")
	s.Exec(t, "ALTER TABLE people SET CHANGE_TRACKING = TRUE")
	_, rows, _ := f.next(t)
	require.Len(t, rows, 40)
	s.Exec(t, "ALTER TABLE people SET DATA_RETENTION_TIME_IN_DAYS = 0")
	_, err = f.changes(t.Context())
	require.Equal(t, fault.Precondition, fault.ClassOf(err), "%v", err)
	require.ErrorContains(t, err, "ALTER TABLE people SET DATA_RETENTION_TIME_IN_DAYS = 2")
}

// TestQueriesWithoutAFeedAreRefused has each kind of query of which the changes of one table do not tell everything.
func TestQueriesWithoutAFeedAreRefused(t *testing.T) {
	s := tracked(t)
	s.Exec(t, "CREATE TABLE other (id BIGINT); CREATE VIEW seen AS SELECT id, plan, n FROM people; CREATE MACRO twice(x) AS 2 * x")
	for _, sql := range []string{
		"SELECT DISTINCT id FROM people",
		"SELECT id FROM people GROUP BY id",
		"SELECT id FROM people ORDER BY id LIMIT 5",
		"SELECT id FROM people WHERE n > 1 ORDER BY id",
		"SELECT id FROM people UNION ALL SELECT id FROM other",
		"SELECT id FROM people WHERE n > 1 UNION ALL SELECT id FROM other",
		"SELECT p.id FROM people AS p JOIN other AS o ON o.id = p.id",
		"SELECT p.id FROM people AS p, other AS o",
		"SELECT id FROM people WHERE id IN (SELECT id FROM other)",
		"SELECT id, (SELECT COUNT(*) FROM other) AS c FROM people",
		"SELECT id, COUNT(*) OVER () AS c FROM people",
		"SELECT MAX(id) AS id FROM people",
		"WITH p AS (SELECT id FROM people) SELECT id FROM p",
		"SELECT id FROM (SELECT id FROM people) AS p",
		"SELECT id, CURRENT_DATE AS d FROM people",
		"SELECT id FROM people WHERE n < DATE_PART('day', CURRENT_TIMESTAMP())",
		"SELECT id, RANDOM() AS r FROM people",
		"SELECT id, twice(n) AS n FROM people",
		"SELECT id FROM seen",
		"SELECT 1 AS id",
	} {
		_, err := follow(t, s, resource.Native, sql).changes(t.Context())
		require.Equal(t, fault.ReasonQueryInvalid, fault.ReasonOf(err), "%s: %v", sql, err)
		require.ErrorContains(t, err, "row_index", sql)
	}
	for _, sql := range []string{
		"SELECT * FROM people", "select ID, PLAN from people;", `SELECT "ID" FROM "PEOPLE"`, "SELECT p.* FROM people p", "SELECT id FROM \"main\".people WHERE (n > 1 OR NOT plan IN ('a', 'b'))",
		"SELECT id, COALESCE(plan, 'none') AS plan, n::VARCHAR AS n, CASE WHEN n > 1 THEN 'many' END AS c FROM people",
	} {
		f := follow(t, s, resource.Native, sql)
		f.next(t)
		c, rows, _ := f.next(t)
		require.Empty(t, c.Lost, sql)
		require.Empty(t, rows, sql)
	}
}

// TestAFeedThatHardlyReachesBackIsToldOf lets more than half of the time pass for which changes are kept.
func TestAFeedThatHardlyReachesBackIsToldOf(t *testing.T) {
	s := tracked(t)
	f := follow(t, s, resource.Native, "SELECT id, plan FROM people", "PLAN")
	f.next(t)
	s.Exec(t, "UPDATE people SET plan = 'pro' WHERE id = 1")
	since := f.q.Since
	for hours, told := range map[time.Duration]bool{11: false, 13: true} {
		f.q.Since = since
		s.Age(hours * time.Hour)
		word, rest, _ := strings.Cut(strings.TrimPrefix(string(since), "at "), " ")
		at, err := time.Parse(time.RFC3339Nano, word)
		require.NoError(t, err)
		f.q.Since = source.State("at " + at.Add(-hours*time.Hour).Format(time.RFC3339Nano) + " " + rest)
		c, rows, _ := f.next(t)
		require.Equal(t, []string{"1"}, rows)
		require.Equal(t, told, c.Notice != "", c.Notice)
		if told {
			require.Contains(t, c.Notice, "DATA_RETENTION_TIME_IN_DAYS")
		}
		s.Age(-hours * time.Hour)
	}
}
