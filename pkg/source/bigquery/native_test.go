//go:build cgo && duckdb_arrow

package bigquery_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/source"
	"millrace.dev/pkg/source/bigquery"
	"millrace.dev/pkg/source/bigquery/bigquerytest"
	"millrace.dev/pkg/source/sourcetest"
)

// told is how long it takes until BigQuery tells a change.
const told = 11 * time.Minute

// tracked answers a project whose tables keep the history of their changes.
func tracked(t testing.TB, statements ...string) *bigquerytest.Server {
	t.Helper()
	peer := bigquerytest.Start(t)
	peer.TrackChanges()
	for _, s := range statements {
		edit(t, peer, s)
	}
	return peer
}

// edit runs statements and lets the time pass until they are told.
func edit(t testing.TB, peer *bigquerytest.Server, statements string) {
	t.Helper()
	peer.Exec(t, statements)
	peer.Pass(told)
}

func TestNative(t *testing.T) {
	const instants = "a state is an instant, of which nothing is kept that could be dropped: TestAHistoryIsLost"
	sourcetest.RunChanges(t, sourcetest.Harness{
		Driver:   speaker{bigquery.New(quick())},
		Engine:   resource.Native,
		PartRows: 1000,
		New: func(t *testing.T) sourcetest.Warehouse {
			s := tracked(t)
			return sourcetest.Warehouse{Connection: s.Connection(t), Exec: func(t *testing.T, sql string) { edit(t, s, sql) }}
		},
		Exceptions: map[string]string{
			"Columns":                     "no history tells what altering a table did to its rows: TestAHistoryIsLost has everything read",
			"UnconfirmedStatesAreDropped": instants, "TheBaseIsGone": instants, "Drop": instants, "Clear": instants,
			"NamesOfChangesAreQuoted": "BigQuery refuses most of the suite's names for columns: TestNamesOfChanges has those that it takes",
		},
	})
}

// follower looks at the changes of a query again and again.
type follower struct {
	*bigquery.Source
	peer *bigquerytest.Server
	q    source.ChangeQuery
}

func follow(t testing.TB, peer *bigquerytest.Server, sql string, compared ...string) *follower {
	t.Helper()
	f := &follower{Source: open(t, peer, quick()), peer: peer, q: source.ChangeQuery{Query: model(sql), Engine: resource.Native, Owner: "owner", Compared: compared}}
	f.q.Model.KeyColumns = []string{"id"}
	return f
}

func (f *follower) changes(ctx context.Context) (source.Changes, error) {
	f.q.Attempt.Run++
	return f.Changes(ctx, f.q, 1)
}

// next makes a state, reads what is changed and what is gone by the first column, and goes on from there.
func (f *follower) next(t *testing.T) (c source.Changes, rows, gone []string) {
	t.Helper()
	c, err := f.changes(t.Context())
	require.NoError(t, err)
	q := f.q
	q.Since = c.Since
	for _, p := range c.Parts {
		for b, err := range f.ReadChanges(t.Context(), q, c.State, p) {
			require.NoError(t, err)
			for i := range int(b.NumRows()) {
				rows = append(rows, strings.Clone(b.Column(0).ValueStr(i)))
			}
		}
	}
	if c.Since != "" {
		for b, err := range f.ReadGone(t.Context(), q, c.State) {
			require.NoError(t, err)
			for i := range int(b.NumRows()) {
				gone = append(gone, strings.Clone(b.Column(0).ValueStr(i)))
			}
		}
	}
	require.Len(t, rows, int(c.Changed))
	require.Len(t, gone, int(c.Gone))
	f.q.Since = c.State
	return c, rows, gone
}

const (
	people   = "CREATE TABLE people (id BIGINT, plan VARCHAR, n BIGINT); INSERT INTO people SELECT i, 'free', i FROM generate_series(1, 40) AS g(i)"
	ofPeople = "SELECT id, plan, n FROM people"
)

// TestAHistoryIsLost lets the history of changes not tell everything, in each way that is known: the reason is told,
// everything is read, and the next run goes on by changes.
func TestAHistoryIsLost(t *testing.T) {
	for name, c := range map[string]struct {
		by     func(t *testing.T, f *follower)
		reason string
	}{
		"seven days have passed by": {func(_ *testing.T, f *follower) { f.peer.Pass(7 * 24 * time.Hour) }, "the data set keeps those of 7d"},
		"so have two, where the data set keeps no more": {func(_ *testing.T, f *follower) {
			f.peer.SetTimeTravel(48 * time.Hour)
			f.peer.Pass(49 * time.Hour)
		}, "the data set keeps those of 2d"},
		"the table was made again": {func(t *testing.T, f *follower) {
			edit(t, f.peer, "DROP TABLE people; "+people)
		}, "made again"},
		"an older table has its name": {func(t *testing.T, f *follower) {
			edit(t, f.peer, "ALTER TABLE people RENAME TO gone; ALTER TABLE older RENAME TO people")
		}, "another one has its name"},
		"a column has come": {func(t *testing.T, f *follower) {
			edit(t, f.peer, "ALTER TABLE people ADD COLUMN city VARCHAR DEFAULT 'Rome'")
		}, "columns were altered"},
		"columns have changed names": {func(t *testing.T, f *follower) {
			edit(t, f.peer, "ALTER TABLE people RENAME COLUMN n TO m")
			edit(t, f.peer, "ALTER TABLE people ADD COLUMN n BIGINT")
		}, "columns were altered"},
		"a column has another type": {func(t *testing.T, f *follower) {
			edit(t, f.peer, "ALTER TABLE people ALTER n TYPE DECIMAL(20, 2)")
		}, "columns were altered"},
		"the history was off": {func(t *testing.T, f *follower) {
			edit(t, f.peer, "ALTER TABLE people SET OPTIONS (enable_change_history = FALSE)")
			edit(t, f.peer, "UPDATE people SET n = 0")
			edit(t, f.peer, "ALTER TABLE people SET OPTIONS (enable_change_history = TRUE)")
		}, "does not tell the changes"},
		"a transaction of several statements was committed": {func(t *testing.T, f *follower) {
			f.peer.ExecTransaction(t, "UPDATE people SET n = 0 WHERE id = 1; DELETE FROM people WHERE id = 2; INSERT INTO people VALUES (41, 'free', 41)")
			f.peer.Pass(told)
		}, "multi-statement transaction"},
		"an update has changed a key, and it is not told which": {func(t *testing.T, f *follower) {
			f.peer.HidePreimages()
			edit(t, f.peer, "UPDATE people SET id = 50 WHERE id = 5")
		}, "do not lead from 40 rows to 40"},
		"the query is another one": {func(_ *testing.T, f *follower) {
			f.q.Model.SQL = "SELECT id, UPPER(plan) AS plan, n FROM people"
		}, "another one"},
		"another column counts": {func(_ *testing.T, f *follower) {
			f.q.Compared, f.q.Added = []string{"plan"}, []string{"n"}
		}, "columns count that did not"},
		"the state is no instant": {func(_ *testing.T, f *follower) { f.q.Since = "nonsense" }, "not known"},
		"the rows do not add up": {func(_ *testing.T, f *follower) {
			f.q.Since = source.State(strings.Replace(string(f.q.Since), "of 40 rows", "of 41 rows", 1))
		}, "do not lead from 41 rows to 40"},
	} {
		t.Run(name, func(t *testing.T) {
			peer := tracked(t, strings.ReplaceAll(people, "people", "older"), people)
			f := follow(t, peer, ofPeople, "plan", "n")
			f.next(t)
			c.by(t, f)
			got, rows, _ := f.next(t)
			require.Contains(t, got.Lost, c.reason)
			require.Empty(t, got.Since)
			require.Len(t, rows, 40)
			edit(t, peer, "UPDATE people SET plan = 'pro' WHERE id = 7; DELETE FROM people WHERE id = 8")
			f.q.Compared, f.q.Added = []string{"plan", "n"}, nil
			got, rows, gone := f.next(t)
			require.Empty(t, got.Lost)
			require.Equal(t, []string{"7"}, rows)
			require.Equal(t, []string{"8"}, gone)
		})
	}
}

// TestAHistoryGoesByTheRow follows a query with a WHERE and expressions: a row that leaves the WHERE is gone, one that
// enters it is new, and one that is written again as it was is neither; whether or not rows are told as they were.
func TestAHistoryGoesByTheRow(t *testing.T) {
	for name, hide := range map[string]func(*bigquerytest.Server){
		"with preimages": func(*bigquerytest.Server) {}, "without": (*bigquerytest.Server).HidePreimages,
	} {
		t.Run(name, func(t *testing.T) {
			peer := tracked(t, people)
			hide(peer)
			f := follow(t, peer, "SELECT p.id AS id, -- the plan in capitals\n UPPER(plan) AS plan\nFROM people AS p -- FROM here\nWHERE n > 10 AND plan IS DISTINCT FROM 'none'", "plan")
			_, rows, _ := f.next(t)
			require.Len(t, rows, 30)
			for _, s := range []string{
				"UPDATE people SET n = 1 WHERE id = 20; UPDATE people SET n = 99 WHERE id = 5; UPDATE people SET plan = 'none' WHERE id = 21; UPDATE people SET plan = 'FREE', n = 77 WHERE id = 22",
				"DELETE FROM people WHERE id = 23", "INSERT INTO people VALUES (23, 'free', 23); INSERT INTO people VALUES (50, 'x', 50)", "DELETE FROM people WHERE id = 50",
			} {
				edit(t, peer, s)
			}
			c, rows, gone := f.next(t)
			require.Empty(t, c.Lost)
			require.Equal(t, []string{"5"}, rows)
			require.ElementsMatch(t, []string{"20", "21"}, gone)
			for _, ran := range queries(peer) {
				require.True(t, strings.HasPrefix(ran.SQL, "SELECT"), "nothing is written: %s", ran.SQL)
			}
			require.Empty(t, peer.Calls("datasets.insert"))
			require.Empty(t, peer.Calls("tables.delete"))
		})
	}
}

// TestChangesAreToldTenMinutesLater edits a table: the edit is not seen before BigQuery tells it, and then once.
func TestChangesAreToldTenMinutesLater(t *testing.T) {
	peer := tracked(t, people)
	f := follow(t, peer, ofPeople, "plan", "n")
	f.next(t)
	peer.Exec(t, "UPDATE people SET plan = 'pro' WHERE id = 1")
	for _, wait := range []time.Duration{0, 5 * time.Minute, 4 * time.Minute} {
		peer.Pass(wait)
		c, rows, _ := f.next(t)
		require.Empty(t, c.Lost)
		require.Empty(t, rows)
	}
	peer.Pass(2 * time.Minute)
	c, rows, _ := f.next(t)
	require.Empty(t, c.Lost)
	require.Equal(t, []string{"1"}, rows)
	_, rows, _ = f.next(t)
	require.Empty(t, rows)
}

// TestWhatIsTooYoungIsWaitedFor makes and alters a table within the ten minutes of which nothing is told: the run is asked
// to wait, and goes on then.
func TestWhatIsTooYoungIsWaitedFor(t *testing.T) {
	peer := tracked(t)
	peer.Exec(t, people)
	f := follow(t, peer, "SELECT * FROM people", "plan", "n")
	waits := func(what string) {
		_, err := f.changes(t.Context())
		require.Equal(t, fault.Throttled, fault.ClassOf(err), "%v", err)
		require.ErrorContains(t, err, what)
		require.Positive(t, fault.As(err).RetryAfter)
		require.LessOrEqual(t, fault.As(err).RetryAfter, told)
		peer.Pass(told)
		_, rows, _ := f.next(t)
		require.Len(t, rows, 40)
	}
	waits("was made less than ten minutes ago")
	peer.Exec(t, "ALTER TABLE people ADD COLUMN city VARCHAR")
	waits("was altered less than ten minutes ago")
}

// TestAHistoryOfDaysIsAskedForByTheDay lets five days pass, with a change on each: BigQuery tells one day at a time.
func TestAHistoryOfDaysIsAskedForByTheDay(t *testing.T) {
	peer := tracked(t, people)
	f := follow(t, peer, ofPeople, "plan", "n")
	first, _, _ := f.next(t)
	require.Empty(t, first.Notice)
	for _, id := range []string{"1", "2", "3", "4", "5"} {
		edit(t, peer, "UPDATE people SET plan = 'pro' WHERE id = "+id)
		peer.Pass(24*time.Hour - told)
	}
	c, rows, _ := f.next(t)
	require.Empty(t, c.Lost)
	require.ElementsMatch(t, []string{"1", "2", "3", "4", "5"}, rows)
	require.Contains(t, c.Notice, "run more often")
	calls := 0
	for _, ran := range queries(peer) {
		calls = max(calls, strings.Count(ran.SQL, "CHANGES("))
	}
	require.Equal(t, 6, calls, "of a day each, and what is left")
	edit(t, peer, "UPDATE people SET plan = 'free' WHERE id = 1")
	c, rows, _ = f.next(t)
	require.Equal(t, []string{"1"}, rows)
	require.Empty(t, c.Notice)
}

// TestAResultThatHasExpiredIsFoundAgain reads a state a day later than it was made.
func TestAResultThatHasExpiredIsFoundAgain(t *testing.T) {
	peer := tracked(t, people)
	f := follow(t, peer, ofPeople, "plan", "n")
	f.next(t)
	since := f.q.Since
	edit(t, peer, "UPDATE people SET plan = 'pro' WHERE id = 1; DELETE FROM people WHERE id = 2")
	c, _, _ := f.next(t)
	f.q.Since = since
	peer.Pass(25 * time.Hour)
	for _, err := range f.ReadChanges(t.Context(), f.q, c.State, source.Range{}) {
		require.Equal(t, fault.ReasonSourceChanged, fault.ReasonOf(err), "%v", err)
	}
	for _, err := range f.ReadGone(t.Context(), f.q, c.State) {
		require.Equal(t, fault.ReasonSourceChanged, fault.ReasonOf(err), "%v", err)
	}
	c, rows, gone := f.next(t)
	require.Empty(t, c.Lost, "the instant is still known")
	require.Equal(t, []string{"1"}, rows)
	require.Equal(t, []string{"2"}, gone)
	for _, odd := range []source.State{"nonsense", source.Kept{Owner: "owner", Rows: 1}.State(), source.State(strings.Replace(string(c.State), "changes in", "everything in", 1)),
		source.State(strings.Replace(string(c.State), "changes in ", "changes in elsewhere/", 1))} {
		for _, err := range f.ReadChanges(t.Context(), f.q, odd, source.Range{}) {
			require.Equal(t, fault.ReasonSourceChanged, fault.ReasonOf(err), "%v", err)
		}
	}
}

func TestTablesWithoutAHistoryAreRefused(t *testing.T) {
	peer := bigquerytest.Start(t)
	edit(t, peer, people)
	f := follow(t, peer, ofPeople, "plan", "n")
	refused := func(words ...string) {
		t.Helper()
		_, err := f.changes(t.Context())
		require.Equal(t, fault.ReasonQueryInvalid, fault.ReasonOf(err), "%v", err)
		require.True(t, fault.ClassOf(err).Permanent(), "%v", err)
		for _, w := range words {
			require.ErrorContains(t, err, w)
		}
	}
	refused("ALTER TABLE people SET OPTIONS (enable_change_history = TRUE)", "row_index")
	peer.TrackChanges()
	edit(t, peer, "ALTER TABLE people SET OPTIONS (enable_change_history = TRUE)")
	f.next(t)
	peer.Exec(t, "ALTER TABLE people SET OPTIONS (partition_expiration_days = 30)")
	refused("partitions of people expire")
	peer.Exec(t, "ALTER TABLE people SET OPTIONS (partition_expiration_days = NULL)")
	f.next(t)
	peer.Exec(t, "CREATE VIEW seen AS SELECT * FROM people")
	f.q.Model.SQL = "SELECT id, plan, n FROM seen"
	refused("seen is a view", "row_index")
}

// TestQueriesWithoutAHistoryAreRefused has each kind of query of which the changes of one table do not tell everything.
func TestQueriesWithoutAHistoryAreRefused(t *testing.T) {
	peer := tracked(t, people, "CREATE TABLE other (id BIGINT); CREATE MACRO twice(x) AS 2 * x")
	f := follow(t, peer, "")
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
		"SELECT id FROM people WHERE n < EXTRACT(DAY FROM CURRENT_TIMESTAMP())",
		"SELECT id, RAND() AS r FROM people",
		"SELECT id, twice(n) AS n FROM people",
		"SELECT id, `twice`(n) AS n FROM people",
		"SELECT id FROM UNNEST(GENERATE_ARRAY(1, 5)) AS id",
		"SELECT 1 AS id",
	} {
		f.q.Model.SQL = sql
		_, err := f.changes(t.Context())
		require.Equal(t, fault.ReasonQueryInvalid, fault.ReasonOf(err), "%s: %v", sql, err)
		require.ErrorContains(t, err, "row_index", sql)
	}
	for _, sql := range []string{
		"SELECT * FROM people", "select id, plan from people;", "SELECT `id` FROM `people`", "SELECT p.* FROM people p", "SELECT people.id FROM people",
		"SELECT id FROM marts.people WHERE (n > 1 OR NOT plan IN ('a', 'b'))", "SELECT id FROM `acme-test.marts.people`", "SELECT id FROM `acme-test`.marts.`people` AS `p q` WHERE n > 3",
		"SELECT id, COALESCE(plan, 'none') AS plan, SAFE_CAST(n AS STRING) AS n, CASE WHEN n > 1 THEN 'many' END AS c FROM people",
		"SELECT id, EXTRACT(DAY FROM TIMESTAMP '2026-01-01 00:00:00+00') AS d, n IS DISTINCT FROM 3 AS three FROM people # all of them",
	} {
		f := follow(t, peer, sql)
		f.next(t)
		edit(t, peer, "UPDATE people SET plan = plan WHERE id = 7")
		c, rows, _ := f.next(t)
		require.Empty(t, c.Lost, sql)
		require.Empty(t, rows, sql)
	}
	f = follow(t, peer, "SELECT * FROM people")
	f.q.Model.KeyColumns = nil
	_, err := f.changes(t.Context())
	require.ErrorContains(t, err, "key columns")
}

// TestNamesOfAHistory compares columns whose names BigQuery takes, and that stand for something else in the driver's text.
func TestNamesOfAHistory(t *testing.T) {
	names := []string{"k 1", "größe", "select", "100%s", "k", "v", "n", "millrace_part", "k0"}
	peer := tracked(t, `CREATE TABLE odd ("`+strings.Join(names, `" BIGINT, "`)+`" BIGINT); INSERT INTO odd VALUES (1, 0, 0, 0, 0, 0, 0, 0, 0)`)
	f := follow(t, peer, "SELECT * FROM odd", names[2:]...)
	f.q.Model.KeyColumns = names[:2]
	f.next(t)
	for _, n := range names[2:] {
		edit(t, peer, `UPDATE odd SET "`+n+`" = 1`)
		c, rows, _ := f.next(t)
		require.Empty(t, c.Lost)
		require.Len(t, rows, 1, n)
	}
	edit(t, peer, "DELETE FROM odd")
	_, _, gone := f.next(t)
	require.Equal(t, []string{"1"}, gone)
}

// TestABudgetBoundsTheReadOfAHistory lets a run read less than its statements would together.
func TestABudgetBoundsTheReadOfAHistory(t *testing.T) {
	peer := tracked(t, people)
	f := follow(t, peer, ofPeople, "plan", "n")
	f.q.MaxBytesScanned = 1
	_, err := f.changes(t.Context())
	require.Equal(t, fault.ReasonBudgetExceeded, fault.ReasonOf(err), "%v", err)
	f.q.MaxBytesScanned = 40 * 3 * 8
	f.next(t)
	edit(t, peer, "DELETE FROM people WHERE id = 1")
	_, err = f.changes(t.Context())
	require.Equal(t, fault.ReasonBudgetExceeded, fault.ReasonOf(err), "%v", err)
}

// TestAnAccountThatMayNotLookIsTold denies what native looks at beside the query.
func TestAnAccountThatMayNotLookIsTold(t *testing.T) {
	peer := tracked(t, people)
	f := follow(t, peer, ofPeople, "plan", "n")
	peer.Fail(bigquerytest.Fault{Method: "tables.get", Times: 1, Status: 403, Reason: "accessDenied"})
	_, err := f.changes(t.Context())
	require.Equal(t, fault.ReasonWarehouseDenied, fault.ReasonOf(err), "%v", err)
	require.ErrorContains(t, err, "roles/bigquery.dataViewer")
	peer.Fail(bigquerytest.Fault{Method: "datasets.get", Times: 1, Status: 403, Reason: "accessDenied"})
	_, rows, _ := f.next(t)
	require.Len(t, rows, 40, "how long the past is kept is not needed")
}
