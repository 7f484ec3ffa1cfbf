package redshift_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/source"
	"millrace.dev/pkg/source/redshift"
	"millrace.dev/pkg/source/redshift/redshifttest"
	"millrace.dev/pkg/source/sourcetest"
)

// ways are how rows come out of the warehouse.
func ways() map[string]func(*redshifttest.Peer) resource.Connection {
	return map[string]func(*redshifttest.Peer) resource.Connection{"by cursor": (*redshifttest.Peer).Connection, "by unload": (*redshifttest.Peer).Unloading}
}

func TestChanges(t *testing.T) {
	signIn(t)
	for way, connection := range ways() {
		t.Run(way, func(t *testing.T) {
			mem := memory.NewCheckedAllocator(memory.DefaultAllocator)
			defer mem.AssertSize(t, 0)
			sourcetest.RunChanges(t, sourcetest.Harness{
				Driver: redshift.New(redshift.Settings{PartRows: 1000, Allocator: mem}), PartRows: 1000, Engine: resource.Diff,
				New: func(t *testing.T) sourcetest.Warehouse {
					p := keeping(t)
					t.Cleanup(func() { require.Empty(t, p.Objects(), "the bucket is left empty") })
					return sourcetest.Warehouse{Connection: connection(p), Exec: func(t *testing.T, sql string) {
						p.Exec(t, strings.NewReplacer("BIGINT[]", "SUPER", "ARRAY[1]", "JSON_PARSE('[1]')", "ARRAY[1, NULL]", "JSON_PARSE('[1, null]')").Replace(sql))
					}}
				},
			})
		})
	}
}

// keeping answers a warehouse that snapshots may be kept in.
func keeping(t *testing.T) *redshifttest.Peer {
	t.Helper()
	return redshifttest.Start(t, redshifttest.Options{StateSchema: "millrace"})
}

// follower looks for the changes of a query, run after run.
type follower struct {
	source.ChangeReader
	q source.ChangeQuery
}

func follow(t *testing.T, s source.Source, sql string, keys []string, compared ...string) *follower {
	t.Helper()
	r, ok := source.As[source.ChangeReader](s)
	require.True(t, ok)
	f := &follower{ChangeReader: r, q: source.ChangeQuery{Query: model(sql), Engine: resource.Diff, Owner: "keeper", Compared: compared}}
	f.q.Model.KeyColumns = keys
	return f
}

func (f *follower) changes(t *testing.T) (source.Changes, error) {
	t.Helper()
	f.q.Attempt.Run++
	return f.Changes(t.Context(), f.q, 4) //nolint:wrapcheck // under test
}

// next answers what has changed: the rows of new and changed keys and the keys that are gone, values joined.
func (f *follower) next(t *testing.T) (c source.Changes, rows, gone []string) {
	t.Helper()
	c, err := f.changes(t)
	require.NoError(t, err)
	q := f.q
	q.Since = c.Since
	for _, p := range c.Parts {
		for b, err := range f.ReadChanges(t.Context(), q, c.State, p) {
			require.NoError(t, err)
			for i := range int(b.NumRows()) {
				rows = append(rows, line(b.NumCols(), func(at int) string { return b.Column(at).ValueStr(i) }))
			}
		}
	}
	if c.Since != "" {
		for b, err := range f.ReadGone(t.Context(), q, c.State) {
			require.NoError(t, err)
			for i := range int(b.NumRows()) {
				gone = append(gone, line(b.NumCols(), func(at int) string { return b.Column(at).ValueStr(i) }))
			}
		}
	}
	f.q.Since = c.State
	slices.Sort(rows)
	return c, rows, gone
}

func line(n int64, value func(at int) string) string {
	out := make([]string, n)
	for i := range out {
		out[i] = strings.Clone(value(i))
	}
	return strings.Join(out, "|")
}

const plans = "CREATE TABLE people (id BIGINT, plan VARCHAR(20)); INSERT INTO people SELECT i, 'free' FROM generate_series(1, 40) AS g(i)"

func followPeople(t *testing.T, s source.Source) *follower {
	t.Helper()
	return follow(t, s, "SELECT id, plan FROM people", []string{"id"}, "plan")
}

func step(t *testing.T, s source.Source, name string) (source.CheckStep, bool) {
	t.Helper()
	for _, x := range s.Check(t.Context()) {
		if x.Name == name {
			return x, true
		}
	}
	return source.CheckStep{}, false
}

// TestTheStateSchema keeps snapshots as a user who may only read the data: it is told what it lacks, and does with what
// Setup says.
func TestTheStateSchema(t *testing.T) {
	p := redshifttest.Start(t, redshifttest.Options{})
	p.Exec(t, plans)
	_, there := step(t, open(t, p.Connection()), "state schema writable")
	require.False(t, there, "nobody has asked for a state schema")

	c := p.Connection()
	c.Redshift.StateSchema = "kept"
	s := open(t, c)
	requireDenied := func() {
		t.Helper()
		got, there := step(t, s, "state schema writable")
		require.True(t, there)
		require.False(t, got.OK)
		require.Contains(t, got.Message, `"kept"`)
		_, err := followPeople(t, s).changes(t)
		require.Equal(t, fault.Denied, fault.ClassOf(err), "%v", err)
		require.Equal(t, fault.ReasonWarehouseDenied, fault.ReasonOf(err))
		require.ErrorContains(t, err, `"kept"`)
		require.ErrorContains(t, err, "millrace connections setup")
		require.ErrorContains(t, err, "mirror_engine: row_index")
	}
	requireDenied() // it is not there
	p.Exec(t, "CREATE SCHEMA kept; GRANT USAGE ON SCHEMA kept TO "+p.Role())
	requireDenied() // no table may be made in it

	text, err := redshift.New(redshift.Settings{}).Setup(c)
	require.NoError(t, err)
	for _, sql := range []string{`CREATE SCHEMA IF NOT EXISTS "kept";`, `GRANT USAGE, CREATE ON SCHEMA "kept" TO "millrace_reader";`} {
		require.Contains(t, text, "--   "+sql, "it is asked for where mirrors by diff are alone")
		p.Exec(t, strings.Replace(sql, `"millrace_reader"`, p.Role(), 1))
	}
	f := followPeople(t, s)
	_, rows, _ := f.next(t)
	require.Len(t, rows, 40)
	got, _ := step(t, s, "state schema writable")
	require.Equal(t, source.CheckStep{Name: "state schema writable", OK: true}, got)
	_, there = step(t, s, "privileges")
	require.False(t, there, "its own snapshots are no data")
	p.Exec(t, "GRANT UPDATE ON people TO "+p.Role())
	_, there = step(t, s, "privileges")
	require.True(t, there)
}

// TestTheSchemaIsMadeWhereTheUserMay makes it once.
func TestTheSchemaIsMadeWhereTheUserMay(t *testing.T) {
	p := redshifttest.Start(t, redshifttest.Options{})
	p.Exec(t, plans+"; DO $$ BEGIN EXECUTE 'GRANT CREATE ON DATABASE ' || current_database() || ' TO "+p.Role()+"'; END $$")
	c := p.Connection()
	c.Redshift.StateSchema = "kept"
	s := open(t, c)
	got, _ := step(t, s, "state schema writable")
	require.True(t, got.OK, got.Message)
	f := followPeople(t, s)
	f.next(t)
	_, rows, _ := f.next(t)
	require.Empty(t, rows)
	made := 0
	for _, x := range p.Statements() {
		if strings.HasPrefix(x.SQL, "CREATE SCHEMA") {
			made++
		}
	}
	require.Equal(t, 1, made)
}

// TestSnapshotsThatCannotBeComparedWith reads everything once, says why, and goes on from there.
func TestSnapshotsThatCannotBeComparedWith(t *testing.T) {
	for says, spoil := range map[string]func(t *testing.T, p *redshifttest.Peer, f *follower, table string){
		"is gone": func(t *testing.T, p *redshifttest.Peer, _ *follower, table string) { p.Exec(t, "DROP TABLE "+table) },
		"is not whole": func(t *testing.T, p *redshifttest.Peer, _ *follower, table string) {
			p.Exec(t, "DELETE FROM "+table+" WHERE id = 7")
		},
		"has other columns": func(t *testing.T, p *redshifttest.Peer, _ *follower, table string) {
			p.Exec(t, "ALTER TABLE "+table+" ALTER COLUMN plan TYPE CHAR(20)")
		},
		"last run has other columns": func(t *testing.T, p *redshifttest.Peer, _ *follower, table string) {
			p.Exec(t, "ALTER TABLE "+table+" DROP COLUMN millrace_key_hash")
		},
		"is another user's": func(t *testing.T, p *redshifttest.Peer, _ *follower, table string) {
			p.Exec(t, "GRANT SELECT ON people TO "+p.Role()+"; REVOKE pg_read_all_data FROM "+p.Role()+"; GRANT USAGE ON SCHEMA redshift TO "+p.Role()+
				"; ALTER TABLE "+table+" OWNER TO CURRENT_USER")
		},
		"run is gone": func(_ *testing.T, _ *redshifttest.Peer, f *follower, _ string) { // a foreign one's
			f.q.Since = source.Kept{Owner: "other", Attempt: f.q.Attempt, Rows: 40}.State()
		},
	} {
		t.Run(says, func(t *testing.T) {
			p := keeping(t)
			p.Exec(t, plans)
			f := followPeople(t, open(t, p.Connection()))
			first, _, _ := f.next(t)
			k, ok := source.ParseKept(first.State)
			require.True(t, ok)
			spoil(t, p, f, "millrace."+k.Table())
			got, rows, _ := f.next(t)
			require.Contains(t, got.Lost, says)
			require.Empty(t, got.Since)
			require.Len(t, rows, 40)
			got, rows, _ = f.next(t)
			require.Empty(t, got.Lost)
			require.Empty(t, rows)
			if says == "is another user's" {
				require.Contains(t, got.Notice, "1 tables of this mirror in the schema \"millrace\" belong to another user")
				require.Error(t, redshift.New(redshift.Settings{}).Drop(t.Context(), p.Connection(), first.State), "nor can it be dropped later")
			} else {
				require.Empty(t, got.Notice)
			}
		})
	}
}

// The warehouse takes texts for equal that are read as different: with blanks at the end, or in other case where a column is
// collated so. The peer's BPCHAR is equal as Redshift's VARCHAR is.
func TestTextsThatTheWarehouseTakesForEqual(t *testing.T) {
	p := keeping(t)
	p.Exec(t, `CREATE COLLATION ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE TABLE v (id BIGINT, v BPCHAR, c VARCHAR COLLATE ci); INSERT INTO v VALUES (1, 'x', 'john'), (2, 'x', 'john'), (3, 'x', 'john');
CREATE TABLE k (k BPCHAR, c VARCHAR COLLATE ci, n BIGINT); INSERT INTO k VALUES ('x', 'john', 1), ('y', 'john', 2)`)
	s := open(t, p.Connection())
	equal, err := read(t.Context(), s, model("SELECT CAST('x' AS BPCHAR) = CAST('x ' AS BPCHAR) AND 'john' = c AND 'JOHN' = c AS e FROM v WHERE id = 1"))
	require.NoError(t, err)
	require.Equal(t, []string{"true"}, equal)

	f := follow(t, s, "SELECT id, v, c FROM v", []string{"id"}, "v", "c")
	f.next(t)
	p.Exec(t, "UPDATE v SET v = 'x ' WHERE id = 1; UPDATE v SET c = 'John' WHERE id = 2")
	_, rows, _ := f.next(t)
	require.Equal(t, []string{"1|x |john", "2|x|John"}, rows)

	f = follow(t, s, "SELECT k, c, n FROM k", []string{"k", "c"}, "n")
	f.q.Owner = "keys"
	f.next(t)
	p.Exec(t, "UPDATE k SET k = 'x ' WHERE n = 1; UPDATE k SET c = 'JOHN' WHERE n = 2")
	_, rows, gone := f.next(t)
	require.Equal(t, []string{"x |john|1", "y|JOHN|2"}, rows)
	require.ElementsMatch(t, []string{"x|john", "y|john"}, gone)
}

// TestKeysOfAllTypes names keys that are gone as they were read, whatever their type; the others are not taken for gone.
func TestKeysOfAllTypes(t *testing.T) {
	signIn(t)
	p := keeping(t)
	for way, connection := range ways() {
		s := open(t, connection(p))
		for i, k := range []struct{ typ, gone, left string }{
			{"BOOLEAN", "TRUE", "FALSE"}, {"SMALLINT", "-1", "1"}, {"BIGINT", "9223372036854775807", "0"}, {"DOUBLE PRECISION", "'-0'", "0.1"}, {"REAL", "0", "0.5"},
			{"DECIMAL(38,37)", "'9.9999999999999999999999999999999999999'", "0"}, {"NUMERIC", "1.50", "1.5000001"}, {"CHAR(4)", "'ab'", "'ac'"}, {"VARCHAR(9)", "'Zoë 🙂'", "''"},
			{"DATE", "'0001-01-01'", "'9999-12-31'"}, {"TIMESTAMP", "'1969-12-31 23:59:59.999999'", "'1970-01-01'"}, {"TIMESTAMPTZ", "'2026-01-01 00:00:00.000001+14'", "'2026-01-01'"},
			{"TIME", "'23:59:59.999999'", "'00:00:00'"}, {"TIMETZ", "'12:00:00+02'", "'10:00:00+00'"}, {"INTERVAL", "'1 day 02:03:04'", "'26:03:04'"},
			{"VARBYTE", `'\x00ff'`, `'\x'`}, {"SUPER", `'{"a": [1, null]}'`, `'"x"'`},
		} {
			name := way + " " + k.typ
			p.Exec(t, fmt.Sprintf("DROP TABLE IF EXISTS k; CREATE TABLE k (k %[1]s, n BIGINT); INSERT INTO k VALUES (CAST(%[2]s AS %[1]s), 1), (CAST(%[3]s AS %[1]s), 2), (NULL, 3)", k.typ, k.gone, k.left))
			f := follow(t, s, "SELECT k, n FROM k", []string{"k"}, "n")
			f.q.Owner = fmt.Sprint(strings.TrimPrefix(way, "by "), i)
			_, rows, _ := f.next(t)
			require.Len(t, rows, 3, name)
			was := slices.DeleteFunc(rows, func(r string) bool { return !strings.HasSuffix(r, "|1") })
			p.Exec(t, "DELETE FROM k WHERE n = 1; UPDATE k SET n = 4 WHERE n = 2")
			_, rows, gone := f.next(t)
			require.Len(t, rows, 1, name)
			require.True(t, strings.HasSuffix(rows[0], "|4"), name)
			require.Equal(t, []string{strings.TrimSuffix(was[0], "|1")}, gone, name)
			p.Exec(t, fmt.Sprintf("INSERT INTO k VALUES (CAST(%s AS %s), 1)", k.gone, k.typ))
			_, rows, gone = f.next(t)
			require.Equal(t, was, rows, name)
			require.Empty(t, gone, name)
		}
	}
}

// What is read is read in READ ONLY transactions; what is written is tables of the state schema, and nothing else could be.
func TestNothingButTheStateSchemaIsWritten(t *testing.T) {
	signIn(t)
	p := keeping(t)
	p.Exec(t, plans+"; CREATE FUNCTION sneak() RETURNS BIGINT LANGUAGE sql VOLATILE AS 'INSERT INTO people VALUES (99) RETURNING id'")
	for way, connection := range ways() {
		before := len(p.Statements())
		f := followPeople(t, open(t, connection(p)))
		f.q.Owner = strings.ReplaceAll(way, " ", "")
		f.next(t)
		p.Exec(t, "UPDATE people SET plan = plan || '+' WHERE id <= 2")
		_, rows, _ := f.next(t)
		require.Len(t, rows, 2)
		f.next(t)
		access, writes, drops := "", 0, 0
		for _, x := range p.Statements()[before:] {
			verb, _, _ := strings.Cut(x.SQL, " ")
			switch verb {
			case "BEGIN":
				access = strings.TrimPrefix(x.SQL, "BEGIN ")
			case "COMMIT", "ROLLBACK":
				access = ""
			case "CREATE":
				require.True(t, strings.HasPrefix(x.SQL, `CREATE TABLE "millrace"."m_`), x.SQL)
				require.Equal(t, "READ WRITE", access)
				require.Equal(t, "millrace:test/sync/run", x.Group)
				writes++
			case "DROP": // what the next run needs no more
				require.True(t, strings.HasPrefix(x.SQL, `DROP TABLE IF EXISTS "millrace"."m_`), x.SQL)
				require.Empty(t, access)
				drops++
			case "DECLARE", "UNLOAD":
				require.Equal(t, "READ ONLY", access)
			case "SELECT", "SET", "FETCH", "WITH":
			default:
				require.Fail(t, "another statement", x.SQL)
			}
		}
		require.Equal(t, 5, writes, "three snapshots, and twice what differs")
		require.Equal(t, 2, drops, "the first snapshot, and what differed then in the second")
	}
	_, err := follow(t, open(t, p.Connection()), "SELECT sneak() AS id", []string{"id"}).changes(t)
	require.Equal(t, fault.Denied, fault.ClassOf(err), "%v", err)
	require.ErrorContains(t, err, "people", "what was refused is the data's table, not the schema of states")
	require.Equal(t, []string{"0"}, values(t, open(t, p.Connection()), model("SELECT count(*) AS n FROM people WHERE id = 99")))
}

// A snapshot is there whole or not at all, and files of a part do not outlast it.
func TestFaultsOfChanges(t *testing.T) {
	signIn(t)
	for way, connection := range ways() {
		for name, c := range map[string]struct {
			statement string
			fault     redshifttest.Fault
		}{
			"the copy is cut off":         {`CREATE TABLE "millrace"."m_keeper_2_0" `, redshifttest.Fault{Cut: true}},
			"the comparison is cut off":   {`CREATE TABLE "millrace"."m_keeper_2_0_changes" `, redshifttest.Fault{Cut: true}},
			"the end is not heard of":     {"COMMIT", redshifttest.Fault{Cut: true}},
			"the old one cannot be freed": {`DROP TABLE IF EXISTS "millrace"."m_keeper_1_0"`, redshifttest.Fault{Cut: true}},
		} {
			t.Run(way+" "+name, func(t *testing.T) {
				p := keeping(t)
				p.Exec(t, plans)
				f := followPeople(t, open(t, connection(p)))
				first, _, _ := f.next(t)
				if strings.HasPrefix(c.statement, "DROP") {
					f.q.Since = ""
				}
				p.Exec(t, "DELETE FROM people WHERE id = 1")
				p.Intercept(func(call redshifttest.Call) *redshifttest.Fault {
					if strings.HasPrefix(call.Text, c.statement) {
						return &c.fault
					}
					return nil
				})
				_, err := f.changes(t)
				require.Equal(t, fault.Unavailable, fault.ClassOf(err), "%v", err)
				p.Intercept(nil)
				require.Equal(t, []string{"1"}, values(t, open(t, p.Connection()), model("SELECT count(*) AS n FROM pg_tables WHERE schemaname = 'millrace'")), "what the run was to be compared with, alone")
				f.q.Since = first.State
				got, rows, gone := f.next(t)
				require.Equal(t, first.State, got.Since)
				require.Empty(t, rows)
				require.Equal(t, []string{"1"}, gone)
			})
		}
	}
	p := keeping(t)
	p.Exec(t, plans)
	f := followPeople(t, open(t, p.Unloading()))
	c, err := f.changes(t)
	require.NoError(t, err)
	p.Intercept(on("GetObject", 2, redshifttest.Fault{Status: http.StatusForbidden, Code: "AccessDenied"}))
	for range 2 { // a read that fails, and one that is given up
		n := 0
		for b, err := range f.ReadChanges(t.Context(), f.q, c.State, source.Range{}) {
			if n++; err == nil {
				require.NotZero(t, b.NumRows())
				p.Intercept(nil)
				break
			}
			require.Equal(t, fault.Denied, fault.ClassOf(err), "%v", err)
		}
		require.Equal(t, 1, n)
		require.Empty(t, p.Objects(), "files of a part do not outlast it")
	}
}

// A snapshot that is still read, so that dropping it takes too long, is dropped another time.
func TestWhatIsStillReadStays(t *testing.T) {
	p := keeping(t)
	p.Exec(t, plans)
	c := p.Connection()
	f := followPeople(t, open(t, c))
	first, _, _ := f.next(t)
	waits := func(call redshifttest.Call) *redshifttest.Fault {
		if strings.HasPrefix(call.Text, "DROP TABLE") {
			return &redshifttest.Fault{Code: "57014", Text: "Query cancelled on user's request"}
		}
		return nil
	}
	p.Intercept(waits)
	require.NoError(t, redshift.New(redshift.Settings{}).Drop(t.Context(), c, first.State))
	f.q.Since = ""
	_, rows, _ := f.next(t)
	require.Len(t, rows, 40, "nobody waits for the old one")
	f.q.Attempt.Run, f.q.Since = 0, ""
	_, err := f.changes(t)
	require.Equal(t, fault.ReasonWarehouseUnavailable, fault.ReasonOf(err), "made again by the same attempt it is in the way: %v", err)
	p.Intercept(nil)
	require.NoError(t, redshift.New(redshift.Settings{}).Drop(t.Context(), c, first.State))
	p.Intercept(waits)
	all := source.Attempt{Run: 9}
	err = redshift.New(redshift.Settings{}).Clear(t.Context(), c, "keeper", all)
	require.Equal(t, fault.ReasonWarehouseLocked, fault.ReasonOf(err), "nor is it said to be gone: %v", err)
	p.Intercept(nil)
	require.Equal(t, []string{"m_keeper_2_0"}, values(t, open(t, c), model("SELECT tablename AS t FROM pg_tables WHERE schemaname = 'millrace'")))
	require.NoError(t, redshift.New(redshift.Settings{}).Clear(t.Context(), c, "keeper", all))
	require.Empty(t, values(t, open(t, c), model("SELECT tablename AS t FROM pg_tables WHERE schemaname = 'millrace'")))
}

func TestTheHashsColumnIsTheSnapshots(t *testing.T) {
	p := keeping(t)
	_, err := follow(t, open(t, p.Connection()), "SELECT 1 AS id, 2 AS millrace_key_hash", []string{"id"}).changes(t)
	require.Equal(t, fault.ReasonQueryInvalid, fault.ReasonOf(err), "%v", err)
	require.ErrorContains(t, err, "give it another with AS")
	_, err = follow(t, open(t, p.Connection()), "SELECT 1 AS id", nil).changes(t)
	require.Equal(t, fault.Invalid, fault.ClassOf(err), "%v", err)
	_, err = follow(t, open(t, p.Connection()), "SELECT 1 AS id, CAST('(1,2)' AS GEOMETRY) AS place", []string{"id"}).changes(t)
	require.Equal(t, fault.ReasonQueryInvalid, fault.ReasonOf(err), "%v", err)
}
