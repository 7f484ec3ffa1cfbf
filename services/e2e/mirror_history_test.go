package e2e_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/testenv"
)

// ledger is a table in a warehouse with what it has, as a mirror must have it: by id, the attributes in words.
type ledger struct {
	connection string // as a document has it
	exec       func(t *testing.T, statements ...string)
	engine     string
	columns    []string // beside the id
	rows       map[int]map[string]string
	next       int
	names      int                    // of columns that were added
	kept       func(t *testing.T) int // snapshots' tables in the schema millrace; nil: it is no database server
}

// newLedger answers a table with n rows in a DuckDB file or in PostgreSQL.
func newLedger(t *testing.T, provider string, n int) *ledger {
	t.Helper()
	x := &ledger{columns: []string{"plan", "city"}, rows: make(map[int]map[string]string, n), next: 1, engine: "row_index"}
	switch provider {
	case "duckdb":
		w := warehouse{path: t.TempDir() + "/ledger.duckdb"}
		x.connection, x.exec = fmt.Sprintf("duckdb: {path: %s}", w.path), w.exec
	case "postgres":
		at := testenv.Postgres(t)
		u, err := url.Parse(at)
		require.NoError(t, err)
		password, _ := u.User.Password()
		x.connection = fmt.Sprintf("postgres: {host: %s, port: %s, database: %s, user: %s, password: '%s', sslmode: disable}",
			u.Hostname(), u.Port(), u.Path[1:], u.User.Username(), password)
		x.kept = func(t *testing.T) (n int) {
			withConn(t, at, func(ctx context.Context, c *pgx.Conn) {
				require.NoError(t, c.QueryRow(ctx, "SELECT count(*) FROM pg_tables WHERE schemaname = 'millrace'").Scan(&n))
			})
			return n
		}
		x.exec = func(t *testing.T, statements ...string) {
			withConn(t, at, func(ctx context.Context, c *pgx.Conn) {
				for _, s := range statements {
					require.NoError(t, c.PgConn().Exec(ctx, s).Close())
				}
			})
		}
	}
	x.begin(t, n)
	return x
}

// begin makes the table with n rows.
func (x *ledger) begin(t *testing.T, n int) {
	t.Helper()
	x.exec(t, "CREATE TABLE people (id BIGINT, plan VARCHAR, city VARCHAR)")
	x.insert(t, n)
}

func (x *ledger) documents() string {
	return fmt.Sprintf(`kind: Connection
id: warehouse
%s
---
kind: DataModel
id: people
connection: warehouse
record_kind: users
table: people
key_columns: [id]
---
kind: Mapping
id: people
rules:
  - object: user_identities
    rules:
      - {column: id, to: customer_id, type: string}
  - {column: $unmapped, to: "user_attributes.*"}
---
kind: Sync
id: people
data_model: people
mapping: people
mode: mirror
mirror_engine: %s
drift: {added: map}
guard: {deletes: {max_percent: 100, min_rows: 1000000}}
state: active
`, x.connection, x.engine)
}

// insert adds n rows.
func (x *ledger) insert(t *testing.T, n int) {
	t.Helper()
	x.exec(t, fmt.Sprintf("INSERT INTO people (id, %[1]s) SELECT i, 'v' || (i %% 3), NULLIF('c' || (i %% 5), 'c0') FROM generate_series(%[2]d, %[3]d) AS g(i)",
		strings.Join(x.columns[:2], ", "), x.next, x.next+n-1))
	for range n {
		row := map[string]string{x.columns[0]: fmt.Sprint("v", x.next%3)}
		if x.next%5 != 0 {
			row[x.columns[1]] = fmt.Sprint("c", x.next%5)
		}
		x.rows[x.next] = row
		x.next++
	}
}

// edit changes the table at random, in a few of all ways.
func (x *ledger) edit(t *testing.T, r *rand.Rand) {
	t.Helper()
	for range 1 + r.IntN(3) {
		by, rest := 20+r.IntN(300), r.IntN(20)
		some := func(f func(id int)) {
			for id := range x.rows {
				if id%by == rest {
					f(id)
				}
			}
		}
		where := fmt.Sprintf(" WHERE id %% %d = %d", by, rest)
		column := x.columns[r.IntN(len(x.columns))]
		switch r.IntN(7) {
		case 0:
			x.insert(t, 1+r.IntN(400))
		case 1:
			x.exec(t, "DELETE FROM people"+where)
			some(func(id int) { delete(x.rows, id) })
		case 2, 3:
			v := fmt.Sprint("w", r.IntN(3))
			x.exec(t, fmt.Sprintf("UPDATE people SET %s = '%s'%s", column, v, where))
			some(func(id int) { x.rows[id][column] = v })
		case 4:
			x.exec(t, fmt.Sprintf("UPDATE people SET %s = NULL%s", column, where))
			some(func(id int) { delete(x.rows[id], column) })
		case 5:
			x.names++
			added := fmt.Sprint("extra", x.names)
			x.exec(t, "ALTER TABLE people ADD COLUMN "+added+" VARCHAR", fmt.Sprintf("UPDATE people SET %s = 'x'%s", added, where))
			x.columns = append(x.columns, added)
			some(func(id int) { x.rows[id][added] = "x" })
		case 6:
			x.again(t, r)
		}
	}
}

// again makes the table anew with its columns in another order, and without one that was added.
func (x *ledger) again(t *testing.T, r *rand.Rand) {
	t.Helper()
	if last := len(x.columns) - 1; last >= 2 {
		for _, row := range x.rows {
			delete(row, x.columns[last])
		}
		x.columns = x.columns[:last]
	}
	order := append([]string{"id"}, x.columns...)
	r.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	x.exec(t, "CREATE TABLE anew AS SELECT "+strings.Join(order, ", ")+" FROM people", "DROP TABLE people", "ALTER TABLE anew RENAME TO people")
}

// play runs the sync and requires that it did what was to be done, and nothing else.
func (x *ledger) play(t *testing.T, m mesh, before map[int]map[string]string) *schedulerv1.Run {
	t.Helper()
	m.apply(t, "", x.documents())
	got := m.through(t)
	requireState(t, got, schedulerv1.RunState_RUN_STATE_SUCCEEDED)
	w := changesOf(before, x.rows)
	c := got.GetCounts()
	require.Equal(t, wanted{created: w.created, updated: w.updated, deleted: w.deleted}, wanted{created: c.GetCreated(), updated: c.GetUpdated(), deleted: c.GetDeleted()})
	require.Equal(t, w.deleted, c.GetAbsent())
	require.Contains(t, []int64{0, w.unchanged}, c.GetUnchanged(), "what has not changed is read with everything else, or not at all")
	require.True(t, got.GetCertificate().GetBalanced())
	require.Equal(t, x.rows, m.stored(t))
	return got
}

// changesOf answers what must be counted between two states of the table.
func changesOf(before, after map[int]map[string]string) (w wanted) {
	for id, row := range after {
		switch old, ok := before[id]; {
		case !ok:
			w.created++
		case maps.Equal(old, row):
			w.unchanged++
		default:
			w.updated++
		}
	}
	for id := range before {
		if after[id] == nil {
			w.deleted++
		}
	}
	return w
}

func (x *ledger) copy() map[int]map[string]string {
	out := make(map[int]map[string]string, len(x.rows))
	for id, row := range x.rows {
		out[id] = maps.Clone(row)
	}
	return out
}

// TestMirrorsOfAHundredThousandRowsThroughTheirHistories edits a table of 100,000 rows at random: rows come, change and
// go, columns come and go and change places, the table is dropped and made again; reads fail and find nothing; and the
// engine is another one now and then. After each run the platform has the table and nothing else, and each change was
// counted once.
func TestMirrorsOfAHundredThousandRowsThroughTheirHistories(t *testing.T) {
	t.Parallel()
	steps := 4
	if n, err := strconv.Atoi(os.Getenv("MILLRACE_EDITS")); err == nil {
		steps = n
	}
	for _, c := range []struct{ provider, engine string }{{"duckdb", "row_index"}, {"duckdb", "diff"}, {"postgres", "row_index"}, {"postgres", "diff"}} {
		t.Run(c.provider+" "+c.engine, func(t *testing.T) {
			m := allInOne(t).in("history")
			r := rand.New(rand.NewPCG(11, uint64(len(c.provider)))) //nolint:gosec // a test's own history
			x := newLedger(t, c.provider, 100_000)
			x.engine = c.engine
			x.play(t, m, nil)
			for i := range steps {
				before := x.copy()
				x.edit(t, r)
				switch i % 4 {
				case 1:
					x.fail(t, m)
				case 3:
					x.empty(t, m)
				}
				x.play(t, m, before)
			}
		})
	}
}

// fail runs the sync while the table is not there: nothing happens.
func (x *ledger) fail(t *testing.T, m mesh) {
	t.Helper()
	before := m.digest(t).GetDigest()
	x.exec(t, "ALTER TABLE people RENAME TO elsewhere")
	require.Equal(t, schedulerv1.RunState_RUN_STATE_FAILED, m.end(t, m.trigger(t, "people")).GetState())
	require.Equal(t, before, m.digest(t).GetDigest())
	x.exec(t, "ALTER TABLE elsewhere RENAME TO people")
}

// empty runs the sync while the table has no rows: the run is held, and dropped.
func (x *ledger) empty(t *testing.T, m mesh) {
	t.Helper()
	before := m.digest(t).GetDigest()
	x.exec(t, "ALTER TABLE people RENAME TO elsewhere", "CREATE TABLE people AS SELECT * FROM elsewhere WHERE 1 = 0")
	run := m.end(t, m.trigger(t, "people"))
	for run.GetHold().GetReason() == fault.ReasonSchemaDrift.Word() && run.GetState() == schedulerv1.RunState_RUN_STATE_HELD {
		run = m.approved(t, run)
	}
	require.Equal(t, fault.ReasonEmptyRead.Word(), run.GetHold().GetReason())
	_, err := m.scheduler.DropRun(t.Context(), &schedulerv1.DropRunRequest{Workspace: m.workspace, Id: run.GetId()})
	require.NoError(t, err)
	require.Equal(t, schedulerv1.RunState_RUN_STATE_CANCELLED, m.end(t, run.GetId()).GetState())
	require.Equal(t, before, m.digest(t).GetDigest())
	x.exec(t, "DROP TABLE people", "ALTER TABLE elsewhere RENAME TO people")
}

// TestTheEngineOfAMirrorIsSwapped swaps there and back: nothing is written by a swap, and changes meanwhile are found by
// whichever engine is there.
func TestTheEngineOfAMirrorIsSwapped(t *testing.T) {
	t.Parallel()
	for _, provider := range []string{"duckdb", "postgres"} {
		t.Run(provider, func(t *testing.T) {
			m := startOne(t, databases{}).in("swap")
			r := rand.New(rand.NewPCG(5, 6)) //nolint:gosec // a test's own history
			x := newLedger(t, provider, 3000)
			x.play(t, m, nil)
			for i := range 5 {
				before, digest := x.copy(), m.digest(t).GetDigest()
				x.engine = []string{"diff", "row_index"}[i/2%2]
				if i%2 == 0 { // the first run of the engine
					got := x.play(t, m, before)
					require.EqualValues(t, len(x.rows), got.GetCounts().GetUnchanged(), "everything is recognised")
					require.Equal(t, digest, m.digest(t).GetDigest())
					continue
				}
				x.edit(t, r)
				x.play(t, m, before)
			}
		})
	}
}

// TestAMirrorByDiffGoesByWhatThePlatformHas lets runs end otherwise than well, and takes away what they brought: the next
// run makes the platform equal to the table all the same.
func TestAMirrorByDiffGoesByWhatThePlatformHas(t *testing.T) {
	t.Parallel()
	m := startOne(t, databases{}).in("astray")
	x := newLedger(t, "duckdb", 3000)
	x.engine = "diff"
	x.play(t, m, nil)

	// A run that has written and is cancelled, and a table that is then what it was before.
	before := x.copy()
	x.exec(t, "UPDATE people SET plan = 'wrong' WHERE id <= 1500", "DELETE FROM people WHERE id > 1500")
	m.apply(t, "", strings.Replace(x.documents(), "max_percent: 100, min_rows: 1000000", "max_percent: 1, min_rows: 1", 1))
	held := m.end(t, m.trigger(t, "people"))
	require.Equal(t, fault.ReasonGuardBreached.Word(), held.GetHold().GetReason())
	require.Contains(t, held.GetHold().GetMessage(), "of 3000 known rows would be deleted", "the rows of the table are what is guarded")
	m.drop(t, held)
	m.apply(t, "", strings.Replace(x.documents(), "guard: {deletes: {max_percent: 100, min_rows: 1000000}}\n", "", 1))
	held = m.end(t, m.trigger(t, "people"))
	require.Equal(t, fault.ReasonGuardBreached.Word(), held.GetHold().GetReason())
	m.drop(t, held)
	require.Equal(t, "wrong", m.profile(t, "customer_id", 1).GetUserAttributes().GetFields()["plan"].GetStringValue(), "updates were written before")
	x.exec(t, "DROP TABLE people", "CREATE TABLE people (id BIGINT, plan VARCHAR, city VARCHAR)")
	x.next = 1
	x.insert(t, 3000)
	m.apply(t, "", x.documents())
	back := m.through(t)
	require.EqualValues(t, 1500, back.GetCounts().GetUpdated())
	require.Equal(t, before, m.stored(t))

	// What one sync brought is deleted.
	x.play(t, m, before)
	m.deletes(t, "people", "")
	require.Empty(t, m.stored(t))
	x.play(t, m, nil)

	// Everything is read where that is asked for, and found as it is.
	all := m.run(t, "people", full)
	require.EqualValues(t, 3000, all.GetCounts().GetUnchanged())
	none := m.run(t, "people")
	require.Zero(t, none.GetCounts().GetRead())

	// Rows that were rejected are read again by a mapping that takes them.
	x.exec(t, "INSERT INTO people VALUES (NULL, 'x', 'y')")
	part := m.end(t, m.trigger(t, "people"))
	requireState(t, part, schedulerv1.RunState_RUN_STATE_PARTIALLY_SUCCEEDED)
	require.EqualValues(t, 1, part.GetCounts().GetRead())
	require.Zero(t, m.run(t, "people").GetCounts().GetRead(), "nothing has changed")
	m.apply(t, "", strings.Replace(x.documents(), "  - {column: $unmapped", "  - {static: 1, to: user_attributes.fixed}\n  - {column: $unmapped", 1))
	changed := m.end(t, m.trigger(t, "people"))
	require.EqualValues(t, 3001, changed.GetCounts().GetRead())
	require.EqualValues(t, 3000, changed.GetCounts().GetUpdated(), "a mapping that has changed is applied to all rows")
}

// drop ends a held run.
func (m mesh) drop(t *testing.T, r *schedulerv1.Run) {
	t.Helper()
	_, err := m.scheduler.DropRun(t.Context(), &schedulerv1.DropRunRequest{Workspace: m.workspace, Id: r.GetId()})
	require.NoError(t, err)
	require.Equal(t, schedulerv1.RunState_RUN_STATE_CANCELLED, m.end(t, r.GetId()).GetState())
}
