//go:build cgo && duckdb_arrow

package databricks_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/source"
	"millrace.dev/pkg/source/databricks/databrickstest"
)

// follower looks at the changes of a query again and again.
type follower struct {
	source.ChangeReader
	q source.ChangeQuery
}

func follow(t *testing.T, p *databrickstest.Peer, sql string, compared ...string) *follower {
	t.Helper()
	r, ok := source.As[source.ChangeReader](open(t, p))
	require.True(t, ok)
	f := &follower{ChangeReader: r, q: source.ChangeQuery{Query: model(sql), Engine: resource.Native, Owner: "owner", Compared: compared}}
	f.q.Model.KeyColumns = []string{"id"}
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
		for i := range int(b.NumRows()) {
			rows = append(rows, strings.Clone(b.Column(0).ValueStr(i)))
		}
	}
	for b, err := range f.ReadGone(t.Context(), q, c.State) {
		require.NoError(t, err)
		for i := range int(b.NumRows()) {
			gone = append(gone, strings.Clone(b.Column(0).ValueStr(i)))
		}
	}
	require.Len(t, rows, int(c.Changed))
	require.Len(t, gone, int(c.Gone))
	f.q.Since = c.State
	return c, rows, gone
}

const (
	makePeople = "CREATE TABLE people AS SELECT i AS id, 'free' AS plan, i AS n FROM generate_series(1, 40) AS g(i)"
	feedOn     = "ALTER TABLE people SET TBLPROPERTIES (delta.enableChangeDataFeed = true)"
	feedOff    = "ALTER TABLE people SET TBLPROPERTIES (delta.enableChangeDataFeed = false)"
)

func fed(t *testing.T) *databrickstest.Peer {
	t.Helper()
	p := databrickstest.Start(t, databrickstest.Options{ChangeFeed: true})
	p.Exec(t, makePeople)
	return p
}

// TestAFeedIsLost lets a feed of changes not tell everything, in each way that is known: the reason is told, everything is
// read, and the next run goes on by changes.
func TestAFeedIsLost(t *testing.T) {
	exec := func(statements ...string) func(*testing.T, *databrickstest.Peer, *follower) {
		return func(t *testing.T, p *databrickstest.Peer, _ *follower) {
			for _, s := range statements {
				p.Exec(t, s)
			}
		}
	}
	since := func(old, now string) func(*testing.T, *databrickstest.Peer, *follower) {
		return func(t *testing.T, _ *databrickstest.Peer, f *follower) {
			was := string(f.q.Since)
			f.q.Since = source.State(strings.Replace(was, old, now, 1))
			require.NotEqual(t, was, string(f.q.Since))
		}
	}
	for name, c := range map[string]struct {
		by     func(*testing.T, *databrickstest.Peer, *follower)
		reason string
	}{
		"its changes were vacuumed": {func(t *testing.T, p *databrickstest.Peer, _ *follower) {
			p.Exec(t, "UPDATE people SET n = 5 WHERE id = 5")
			p.Vacuum(t)
		}, "no longer has the changes since version 2"},
		"the table was made again":    {exec("DROP TABLE people; " + makePeople), "made again"},
		"the table was replaced":      {exec(strings.Replace(makePeople, "CREATE", "CREATE OR REPLACE", 1)), "made again"},
		"an older table has its name": {exec("ALTER TABLE people RENAME TO gone; ALTER TABLE older RENAME TO people"), "another one has its name"},
		"columns have changed names":  {exec("ALTER TABLE people RENAME COLUMN n TO m", "ALTER TABLE people ADD COLUMN n BIGINT"), "was altered since version 2"},
		"a column has gone":           {exec("UPDATE people SET n = 0", "ALTER TABLE people DROP COLUMN other"), "was altered"},
		"the feed was off":            {exec(feedOff, "UPDATE people SET n = 0", feedOn), "was not on all the time since version 2"},
		"the query is another one": {func(_ *testing.T, _ *databrickstest.Peer, f *follower) {
			f.q.Model.SQL = "SELECT id, upper(plan) AS plan, n FROM people"
		}, "another one"},
		"the state is no version":                         {since("version 2", "nonsense"), "not known"},
		"the table has gone back":                         {since("version 2", "version 99"), "gone back from version 99 to 2"},
		"the version was never there":                     {since("version 2", "version 1"), "no longer has the changes since version 1"},
		"the rows do not add up":                          {since("of 40 rows", "of 41 rows"), "do not lead from 41 rows to 40"},
		"DELTA_CHANGE_DATA_FILE_NOT_FOUND":                {broken("42K03"), "no longer has the changes"},
		"DELTA_FILE_NOT_FOUND_DETAILED":                   {broken("42K03"), "no longer has the changes"},
		"DELTA_TRUNCATED_TRANSACTION_LOG":                 {broken("42K03"), "no longer has the changes"},
		"DELTA_VERSIONS_NOT_CONTIGUOUS":                   {broken("KD00C"), "no longer has the changes"},
		"DELTA_VERSION_NOT_CONTIGUOUS":                    {broken("KD00C"), "no longer has the changes"},
		"DELTA_VERSION_NOT_FOUND":                         {broken("22003"), "no longer has the changes"},
		"DELTA_NO_RECREATABLE_HISTORY_FOUND":              {broken("KD006"), "no longer has the changes"},
		"FAILED_READ_FILE.DBR_FILE_NOT_EXIST":             {broken("KD001"), "no longer has the changes"},
		"DELTA_MISSING_CHANGE_DATA":                       {broken("KD002"), "was not on"},
		"DELTA_SOMETHING_TO_COME":                         {broken("XXKDS"), "cannot be read (the warehouse cannot answer now: DELTA_SOMETHING_TO_COME"},
		"CAST_INVALID_INPUT":                              {broken("22018"), "CAST_INVALID_INPUT"},
		"DELTA_UNSUPPORTED_FEATURES_ARE_TO_COME":          {broken("0AKDC"), "cannot be read"},
		"DELTA_CHANGE_DATA_FEED_INCOMPATIBLE_DATA_SCHEMA": {broken("0AKDC"), "was altered"},
	} {
		t.Run(name, func(t *testing.T) {
			p := databrickstest.Start(t, databrickstest.Options{ChangeFeed: true})
			p.Exec(t, strings.ReplaceAll(makePeople, "people", "older"))
			p.Exec(t, strings.Replace(makePeople, "i AS n", "i AS n, 0 AS other", 1))
			f := follow(t, p, "SELECT id, plan, n FROM people", "plan", "n")
			f.next(t)
			c.by(t, p, f)
			got, rows, _ := f.next(t)
			require.Contains(t, got.Lost, c.reason)
			require.Empty(t, got.Since)
			require.Len(t, rows, 40)
			p.BreakFeeds("", "")
			p.Exec(t, "UPDATE people SET plan = 'pro' WHERE id = 7; DELETE FROM people WHERE id = 8")
			got, rows, gone := f.next(t)
			require.Empty(t, got.Lost)
			require.Equal(t, []string{"7"}, rows)
			require.Equal(t, []string{"8"}, gone)
		})
	}
}

// broken has a change come, and the feed end with the condition that the test is named by.
func broken(state string) func(*testing.T, *databrickstest.Peer, *follower) {
	return func(t *testing.T, p *databrickstest.Peer, _ *follower) {
		p.Exec(t, "UPDATE people SET n = 0 WHERE id = 1")
		_, condition, _ := strings.Cut(t.Name(), "/")
		p.BreakFeeds(condition, state)
	}
}

// TestAFeedThatPassesByItselfIsTriedAgain keeps the base where the warehouse fails, or refuses the principal.
func TestAFeedThatPassesByItselfIsTriedAgain(t *testing.T) {
	p := fed(t)
	f := follow(t, p, "SELECT id, plan FROM people", "plan")
	f.next(t)
	p.Exec(t, "UPDATE people SET plan = 'pro' WHERE id = 7")
	for state, class := range map[string]fault.Class{"XX000": fault.Unavailable, "57000": fault.Unavailable, "42501": fault.Denied} {
		p.BreakFeeds("SOMETHING_ELSE", state)
		_, err := f.changes(t.Context())
		require.Equal(t, class, fault.ClassOf(err), "%s: %v", state, err)
	}
	p.BreakFeeds("", "")
	_, rows, _ := f.next(t)
	require.Equal(t, []string{"7"}, rows)
}

// TestAFeedGoesByTheRow follows a query with a WHERE and expressions over several versions: a row that leaves the WHERE is
// gone, one that enters it is new, and one that is written again as it was, or came and went, is neither.
func TestAFeedGoesByTheRow(t *testing.T) {
	p := fed(t)
	f := follow(t, p, "SELECT p.id AS id, -- the plan in capitals\n upper(plan) AS plan\nFROM shop . `sales`.people AS p -- FROM here\nWHERE n > 10 AND plan IS DISTINCT FROM 'none'", "plan")
	_, rows, _ := f.next(t)
	require.Len(t, rows, 30)
	for _, sql := range []string{
		"UPDATE people SET n = 1 WHERE id = 20; UPDATE people SET n = 99 WHERE id = 5", "UPDATE people SET plan = 'none' WHERE id = 21",
		"UPDATE people SET plan = 'FREE', n = 77 WHERE id = 22", "DELETE FROM people WHERE id = 23", "INSERT INTO people VALUES (50, 'x', 50)",
		"INSERT INTO people VALUES (23, 'free', 23)", "DELETE FROM people WHERE id = 50", "UPDATE people SET plan = 'x' WHERE id = 30", "UPDATE people SET plan = 'free' WHERE id = 30",
		"UPDATE people SET plan = 'y' WHERE id = 31", "UPDATE people SET plan = 'z' WHERE id = 31", "INSERT INTO people VALUES (60, 'x', 60)", "UPDATE people SET plan = 'y' WHERE id = 60",
	} {
		p.Exec(t, sql)
	}
	c, rows, gone := f.next(t)
	require.Empty(t, c.Lost)
	require.ElementsMatch(t, []string{"5", "31", "60"}, rows)
	require.ElementsMatch(t, []string{"20", "21"}, gone)
	for _, s := range p.Statements() {
		word, _, _ := strings.Cut(s.SQL, " ")
		require.Contains(t, []string{"SELECT", "WITH", "DESCRIBE", "SHOW"}, word, "nothing is written: %s", s.SQL)
	}
}

// TestColumnsThatCome adds columns, of which some count: what a table had before has NULL in them, and nothing else is read.
func TestColumnsThatCome(t *testing.T) {
	p := fed(t)
	f := follow(t, p, "SELECT * FROM people", "plan", "n")
	f.next(t)
	p.Exec(t, "ALTER TABLE people ADD COLUMN note VARCHAR; UPDATE people SET note = 'x' WHERE id = 1")
	c, rows, _ := f.next(t)
	require.Empty(t, c.Lost)
	require.Empty(t, rows, "a column that does not count")
	p.Exec(t, "ALTER TABLE people ADD COLUMN city VARCHAR")
	p.Exec(t, "UPDATE people SET city = 'Rome' WHERE id = 2; UPDATE people SET n = 0 WHERE id = 3")
	f.q.Added = []string{"city"}
	c, rows, _ = f.next(t)
	require.Empty(t, c.Lost)
	require.ElementsMatch(t, []string{"2", "3"}, rows)
	f.q.Compared, f.q.Added = append(f.q.Compared, "city"), nil
	_, rows, _ = f.next(t)
	require.Empty(t, rows)
	f.q.Added = []string{"note"}
	_, rows, _ = f.next(t)
	require.Equal(t, []string{"1"}, rows, "one that was there, and counts from now on")
}

// TestAStateIsReadInItsVersion lets the table go on, and its past go, between the plan and the parts.
func TestAStateIsReadInItsVersion(t *testing.T) {
	p := fed(t)
	f := follow(t, p, "SELECT id, plan, n FROM people", "plan", "n")
	f.next(t)
	p.Exec(t, "UPDATE people SET plan = 'pro' WHERE id = 7; DELETE FROM people WHERE id = 8")
	c, err := f.changes(t.Context())
	require.NoError(t, err)
	read := func() (n int64, err error) {
		for b, err := range f.ReadChanges(t.Context(), f.q, c.State, source.Range{}) {
			if err != nil {
				return n, err
			}
			n += b.NumRows()
		}
		for b, err := range f.ReadGone(t.Context(), f.q, c.State) {
			if err != nil {
				return n, err
			}
			n += b.NumRows()
		}
		return n, nil
	}
	p.Exec(t, "UPDATE people SET plan = 'other'; DELETE FROM people WHERE id < 7")
	n, err := read()
	require.NoError(t, err)
	require.EqualValues(t, 2, n)
	for _, change := range []func(){
		func() { p.Exec(t, "ALTER TABLE people RENAME COLUMN n TO m") },
		func() { p.Vacuum(t) },
		func() { p.Exec(t, "DROP TABLE people; "+makePeople) },
	} {
		change()
		_, err := read()
		require.Equal(t, fault.ReasonSourceChanged, fault.ReasonOf(err), "%v", err)
	}
}

// TestAnotherTableIsNotTakenForTheFirst exchanges the table while it is looked at or read, for one that has a version of the
// number too: what has that one's rows is not believed.
func TestAnotherTableIsNotTakenForTheFirst(t *testing.T) {
	p := databrickstest.Start(t, databrickstest.Options{ChangeFeed: true})
	p.Exec(t, strings.ReplaceAll(makePeople, "people", "older"))
	p.Exec(t, makePeople)
	f := follow(t, p, "SELECT id, plan, n FROM people", "plan", "n")
	exchangeAfter := func(statement string) {
		seen, done := len(p.Statements()), false
		p.Intercept(func(call string, _ int) *databrickstest.Fault {
			if said := p.Statements(); !done && call == "ExecuteStatement" && len(said) > seen && strings.HasPrefix(said[len(said)-1].SQL, statement) {
				done = true
				p.Exec(t, "ALTER TABLE people RENAME TO between; ALTER TABLE older RENAME TO people; ALTER TABLE between RENAME TO older")
			}
			return nil
		})
	}
	exchangeAfter("DESCRIBE HISTORY")
	_, err := f.changes(t.Context())
	require.Equal(t, fault.ReasonSourceChanged, fault.ReasonOf(err), "%v", err)

	p.Intercept(nil)
	c, err := f.changes(t.Context())
	require.NoError(t, err)
	exchangeAfter("DESCRIBE QUERY")
	rows := int64(0)
	for b, err2 := range f.ReadChanges(t.Context(), f.q, c.State, source.Range{}) {
		if err = err2; err == nil {
			rows += b.NumRows()
		}
	}
	require.EqualValues(t, 40, rows, "another table's")
	require.Equal(t, fault.ReasonSourceChanged, fault.ReasonOf(err), "%v", err)
	p.Intercept(nil)
}

func TestTablesWithoutAFeedAreRefused(t *testing.T) {
	p := databrickstest.Start(t, databrickstest.Options{})
	p.Exec(t, makePeople)
	f := follow(t, p, "SELECT id, plan FROM people", "plan")
	_, err := f.changes(t.Context())
	require.Equal(t, fault.Precondition, fault.ClassOf(err), "%v", err)
	require.ErrorContains(t, err, "ALTER TABLE people SET TBLPROPERTIES (delta.enableChangeDataFeed = true)")
	p.Exec(t, feedOn)
	_, rows, _ := f.next(t)
	require.Len(t, rows, 40)
	f.q.Engine = resource.Diff
	_, err = f.changes(t.Context())
	require.Equal(t, fault.Invalid, fault.ClassOf(err), "%v", err)
	f.q.Engine, f.q.Model.KeyColumns = resource.Native, nil
	_, err = f.changes(t.Context())
	require.Equal(t, fault.Invalid, fault.ClassOf(err), "%v", err)
}

// TestQueriesWithoutAFeedAreRefused has each kind of query of which the changes of one table do not tell everything.
func TestQueriesWithoutAFeedAreRefused(t *testing.T) {
	p := fed(t)
	p.Exec(t, "CREATE TABLE other (id BIGINT); CREATE VIEW seen AS SELECT id, plan, n FROM people; CREATE MACRO twice(x) AS 2 * x")
	for _, sql := range []string{
		"SELECT DISTINCT id FROM people",
		"SELECT id FROM people GROUP BY id",
		"SELECT id FROM people ORDER BY id LIMIT 5",
		"SELECT id FROM people WHERE n > 1 ORDER BY id",
		"SELECT id FROM people UNION ALL SELECT id FROM other",
		"SELECT id FROM people WHERE n > 1 UNION ALL SELECT id FROM other",
		"SELECT id FROM people WHERE n > 1 |> LIMIT 5",
		"SELECT id FROM people TABLESAMPLE (10 PERCENT)",
		"SELECT id FROM people VERSION AS OF 1",
		"SELECT id FROM people@v1",
		"SELECT id FROM a.b.c.people",
		"SELECT id FROM people.",
		"SELECT p.id FROM people AS p JOIN other AS o ON o.id = p.id",
		"SELECT p.id FROM people AS p, other AS o",
		"SELECT id FROM people WHERE id IN (SELECT id FROM other)",
		"SELECT id FROM people WHERE id IN (TABLE other)",
		"SELECT id FROM people WHERE EXISTS (FROM other)",
		"SELECT id, (SELECT count(*) FROM other) AS c FROM people",
		"SELECT id, count(*) OVER () AS c FROM people",
		"SELECT max(id) AS id FROM people",
		"WITH p AS (SELECT id FROM people) SELECT id FROM p",
		"SELECT id FROM (SELECT id FROM people) AS p",
		"SELECT id, current_date AS d FROM people",
		"SELECT id FROM people WHERE n < day(current_timestamp())",
		"SELECT id FROM people WHERE n < day(DATE 'today')",
		"SELECT id, rand() AS r FROM people",
		"SELECT id, twice(n) AS n FROM people",
		"SELECT id, `twice`(n) AS n FROM people",
		"SELECT id, sales.upper(plan) AS plan FROM people",
		"SELECT id FROM table_changes('people', 1)",
		"SELECT id FROM people; DROP TABLE people",
		"SELECT id FROM seen",
		"SELECT FROM people",
		"SELECT 1 AS id",
	} {
		_, err := follow(t, p, sql).changes(t.Context())
		require.Equal(t, fault.ReasonQueryInvalid, fault.ReasonOf(err), "%s: %v", sql, err)
		require.ErrorContains(t, err, "row_index", sql)
	}
	for _, sql := range []string{
		"SELECT * FROM people", "select ID AS id, plan from people;", "SELECT `id` FROM `people`", "SELECT p.* FROM people p", "SELECT people.id FROM sales.people WHERE (people.n > 1 OR NOT plan IN ('a', 'b'))",
		`SELECT id, coalesce(plan, 'none; FROM "x"') AS plan, n::STRING AS n, CASE WHEN n > 1 THEN 'many' END AS c FROM people WHERE DATE '2026-01-01' > CAST(NULL AS DATE) OR plan IS NOT DISTINCT FROM r'free'`,
	} {
		f := follow(t, p, sql)
		f.next(t)
		c, rows, _ := f.next(t)
		require.Empty(t, c.Lost, sql)
		require.Empty(t, rows, sql)
	}
}

// TestAFeedThatHardlyReachesBackIsToldOf lets more than half of the time pass for which VACUUM leaves changes alone.
func TestAFeedThatHardlyReachesBackIsToldOf(t *testing.T) {
	p := fed(t)
	f := follow(t, p, "SELECT id, plan FROM people", "plan")
	c, _, _ := f.next(t)
	p.Exec(t, "UPDATE people SET plan = 'pro' WHERE id = 1")
	at := c.Time.Format(time.RFC3339Nano)
	for _, x := range []struct {
		keeps string
		ago   time.Duration
		told  string
	}{
		{"", 3 * 24 * time.Hour, ""}, {"", 4 * 24 * time.Hour, "after 7d"}, {"interval 30 days", 4 * 24 * time.Hour, ""}, {"interval 2 weeks", 8 * 24 * time.Hour, "after 14d"},
		{"INTERVAL 6 HOURS", 4 * time.Hour, "after 6h"}, {"for ever", 1000 * time.Hour, ""},
	} {
		if x.keeps != "" {
			p.Exec(t, "ALTER TABLE people SET TBLPROPERTIES (delta.deletedFileRetentionDuration = "+x.keeps+")")
		}
		f.q.Since = source.State(strings.Replace(string(c.State), at, c.Time.Add(-x.ago).Format(time.RFC3339Nano), 1))
		got, rows, _ := f.next(t)
		require.Equal(t, []string{"1"}, rows)
		require.Equal(t, x.told != "", got.Notice != "", "%+v: %s", x, got.Notice)
		require.Contains(t, got.Notice, x.told)
	}
}
