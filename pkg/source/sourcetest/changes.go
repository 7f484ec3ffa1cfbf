package sourcetest

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sort"
	"strings"
	"sync"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/source"
)

// RunChanges runs what every source with the power of a ChangeReader must do.
func RunChanges(t *testing.T, h Harness) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, Harness)
	}{
		{"EverythingIsNewAtFirst", allNew},
		{"InsertsUpdatesDeletes", edits},
		{"NullsAndValuesOfAllTypes", changedTypes},
		{"TextIsComparedByItsBytes", changedText},
		{"KeysWithNull", nullKeys},
		{"RepeatedKeys", repeatedKeys},
		{"Columns", changedColumns},
		{"PartsCoverTheChangesOnce", changedParts},
		{"ReadTwiceItIsTheSame", readTwice},
		{"UnconfirmedStatesAreDropped", unconfirmed},
		{"AnOldAttemptDropsNothingNewer", oldAttempt},
		{"TheBaseIsGone", baseGone},
		{"Drop", dropState},
		{"Clear", clearStates},
		{"OwnersBesideOneAnother", owners},
		{"NamesOfChangesAreQuoted", changedNames},
		{"TheQueryIsRefused", changesRefused},
		{"RandomHistories", histories},
	} {
		t.Run(test.name, func(t *testing.T) {
			if reason, ok := h.Exceptions[test.name]; ok {
				t.Logf("left out: %s", reason)
				return
			}
			test.run(t, h)
		})
	}
}

// watched is a query whose changes are looked for again and again, by one owner.
type watched struct {
	h    Harness
	w    Warehouse
	q    source.ChangeQuery
	runs int64
}

// seen is what one look found.
type seen struct {
	source.Changes
	rows, gone []string // values joined, in order
}

const things = `CREATE TABLE things (id BIGINT, name VARCHAR, n BIGINT);
INSERT INTO things VALUES (1, 'a', 1), (2, 'b', NULL), (3, NULL, 3), (4, '', 4);`

// watch watches a table by its keys, all other named columns compared.
func watch(t *testing.T, h Harness, fill, text string, keys []string, compared ...string) *watched {
	t.Helper()
	w := h.New(t)
	w.Exec(t, fill)
	x := &watched{h: h, w: w, q: source.ChangeQuery{Query: sql(text), Engine: h.Engine, Owner: "0123456789abcdef01234567", Compared: compared}}
	x.q.Model.KeyColumns = keys
	return x
}

func watchThings(t *testing.T, h Harness) *watched {
	t.Helper()
	return watch(t, h, things, "SELECT id, name, n FROM things", []string{"id"}, "name", "n")
}

// with calls f with the open source.
func (x *watched) with(t *testing.T, f func(s source.Source, r source.ChangeReader)) {
	s, err := x.h.Driver.Open(t.Context(), x.w.Connection)
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	r, ok := source.As[source.ChangeReader](s)
	require.True(t, ok, "the source finds changes")
	f(s, r)
}

// look makes a state by the next attempt and reads what has changed. It does not become the base.
func (x *watched) look(t *testing.T) seen {
	x.runs++
	x.q.Attempt = source.Attempt{Run: x.runs, Epoch: 1}
	var out seen
	x.with(t, func(_ source.Source, r source.ChangeReader) {
		c, err := r.Changes(t.Context(), x.q, 4)
		require.NoError(t, err)
		require.NotEmpty(t, c.State)
		require.NotEmpty(t, c.Parts)
		out = x.read(t, r, c)
	})
	return out
}

// next is look, and what it found becomes the base.
func (x *watched) next(t *testing.T) seen {
	out := x.look(t)
	x.q.Since = out.State
	return out
}

func (x *watched) read(t *testing.T, r source.ChangeReader, c source.Changes) seen {
	out := seen{Changes: c}
	q := x.q
	q.Since = c.Since
	for _, p := range c.Parts {
		for b, err := range r.ReadChanges(t.Context(), q, c.State, p) {
			require.NoError(t, err)
			out.rows = append(out.rows, joined(b)...)
		}
	}
	if c.Since != "" {
		for b, err := range r.ReadGone(t.Context(), q, c.State) {
			require.NoError(t, err)
			for i, k := range q.Model.KeyColumns {
				require.Equal(t, k, b.ColumnName(i))
			}
			out.gone = append(out.gone, joined(b)...)
		}
	}
	require.Len(t, out.rows, int(c.Changed), "as many rows as were counted")
	require.Len(t, out.gone, int(c.Gone), "as many keys as were counted")
	sort.Strings(out.rows)
	sort.Strings(out.gone)
	return out
}

func joined(b arrow.RecordBatch) []string {
	out := make([]string, b.NumRows())
	for i := range out {
		values := make([]string, b.NumCols())
		for c := range values {
			values[c] = strings.Clone(b.Column(c).ValueStr(i))
		}
		out[i] = strings.Join(values, "|")
	}
	return out
}

func allNew(t *testing.T, h Harness) {
	x := watchThings(t, h)
	got := x.next(t)
	require.EqualValues(t, 4, got.Rows)
	require.Empty(t, got.Since)
	require.Empty(t, got.Lost)
	require.False(t, got.Time.IsZero())
	require.Equal(t, []string{"1|a|1", "2|b|(null)", "3|(null)|3", "4||4"}, got.rows)
	again := x.next(t)
	require.Equal(t, got.State, again.Since)
	require.EqualValues(t, 4, again.Rows)
	require.Empty(t, again.rows)
	require.Empty(t, again.gone)
}

func edits(t *testing.T, h Harness) {
	x := watchThings(t, h)
	x.next(t)
	x.w.Exec(t, `INSERT INTO things VALUES (5, 'new', NULL); DELETE FROM things WHERE id = 1; UPDATE things SET n = 2 WHERE id = 2;
UPDATE things SET name = '' WHERE id = 3; UPDATE things SET n = n WHERE id = 4;`)
	got := x.next(t)
	require.EqualValues(t, 4, got.Rows)
	require.Equal(t, []string{"2|b|2", "3||3", "5|new|(null)"}, got.rows)
	require.Equal(t, []string{"1"}, got.gone)
	x.w.Exec(t, "UPDATE things SET name = NULL WHERE id = 4; INSERT INTO things VALUES (1, 'a', 1)")
	got = x.next(t)
	require.Equal(t, []string{"1|a|1", "4|(null)|4"}, got.rows)
	require.Empty(t, got.gone)
	x.w.Exec(t, "DELETE FROM things")
	got = x.next(t)
	require.EqualValues(t, 0, got.Rows)
	require.Equal(t, []string{"1", "2", "3", "4", "5"}, got.gone)
	require.Empty(t, x.next(t).gone)
	x.w.Exec(t, "DROP TABLE things; "+things)
	require.Len(t, x.next(t).rows, 4)
}

// changedTypes changes one value of each type to another, to NULL and back, and sees each of it.
func changedTypes(t *testing.T, h Harness) {
	for _, c := range []struct{ typ, a, b string }{
		{"BOOLEAN", "TRUE", "FALSE"}, {"SMALLINT", "0", "1"}, {"INTEGER", "0", "1"}, {"BIGINT", "0", "-1"},
		{"REAL", "0", "0.5"}, {"DOUBLE PRECISION", "'NaN'", "'-Infinity'"}, {"DECIMAL(20,8)", "0", "0.00000001"}, {"DECIMAL(38,0)", "0", "99999999999999999999999999999999999999"},
		{"VARCHAR", "''", "' '"}, {"BYTEA", `'\x00'`, `'\x0000'`}, {"DATE", "'0001-01-01'", "'9999-12-31'"},
		{"TIMESTAMP", "'2026-01-01 00:00:00'", "'2026-01-01 00:00:00.000001'"}, {"TIMESTAMPTZ", "'2026-01-01 00:00:00+00'", "'2026-01-01 00:00:00+01'"},
		{"TIME", "'00:00:00'", "'00:00:00.000001'"}, {"INTERVAL", "'1 hour'", "'2 hours'"},
		{"UUID", "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'", "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a12'"},
		{"JSON", "'{}'", "'[]'"}, {"BIGINT[]", "ARRAY[1]", "ARRAY[1, NULL]"},
	} {
		a, b := "CAST("+c.a+" AS "+c.typ+")", "CAST("+c.b+" AS "+c.typ+")"
		x := watch(t, h, "CREATE TABLE v (id BIGINT, v "+c.typ+"); INSERT INTO v VALUES (1, "+a+"), (2, "+b+"), (3, NULL)", "SELECT id, v FROM v", []string{"id"}, "v")
		require.Len(t, x.next(t).rows, 3, c.typ)
		require.Empty(t, x.next(t).rows, "%s: nothing has changed", c.typ)
		x.w.Exec(t, "UPDATE v SET v = "+b+" WHERE id = 1; UPDATE v SET v = NULL WHERE id = 2; UPDATE v SET v = "+a+" WHERE id = 3")
		require.Len(t, x.next(t).rows, 3, "%s: everything has changed", c.typ)
		require.Empty(t, x.next(t).rows, c.typ)
	}
}

// changedText changes what some comparisons of text do not see.
func changedText(t *testing.T, h Harness) {
	x := watch(t, h, "CREATE TABLE v (id VARCHAR, v VARCHAR); INSERT INTO v VALUES ('a', 'x'), ('b', 'é'), ('c', 'x'), ('d', '1,2')", "SELECT id, v FROM v", []string{"id"}, "v")
	x.next(t)
	x.w.Exec(t, "UPDATE v SET v = 'X' WHERE id = 'a'; UPDATE v SET v = 'e\u0301' WHERE id = 'b'; UPDATE v SET v = 'x ' WHERE id = 'c'; UPDATE v SET id = 'D' WHERE id = 'd'")
	got := x.next(t)
	require.Len(t, got.rows, 4)
	require.Equal(t, []string{"d"}, got.gone)
	pairs := watch(t, h, "CREATE TABLE p (a VARCHAR, b VARCHAR); INSERT INTO p VALUES ('x', 'yz'), ('1', '23')", "SELECT a, b FROM p", []string{"a", "b"})
	pairs.next(t)
	pairs.w.Exec(t, "UPDATE p SET a = 'xy', b = 'z' WHERE a = 'x'; UPDATE p SET a = '12', b = '3' WHERE a = '1'")
	got = pairs.next(t)
	require.Equal(t, []string{"12|3", "xy|z"}, got.rows)
	require.Equal(t, []string{"1|23", "x|yz"}, got.gone)
}

// nullKeys has rows without a key: they are read where they are new, and nobody is said to be gone by them.
func nullKeys(t *testing.T, h Harness) {
	x := watchThings(t, h)
	x.next(t)
	x.w.Exec(t, "INSERT INTO things VALUES (NULL, 'x', 1), (NULL, 'y', 2)")
	require.Equal(t, []string{"(null)|x|1", "(null)|y|2"}, x.next(t).rows)
	require.Empty(t, x.next(t).rows)
	x.w.Exec(t, "DELETE FROM things WHERE id IS NULL; DELETE FROM things WHERE id = 4")
	got := x.next(t)
	require.Empty(t, got.rows)
	require.Equal(t, []string{"4"}, got.gone)
}

// repeatedKeys has keys with several rows: all rows of a key come where one of them has changed, and repeats of one row
// are no change.
func repeatedKeys(t *testing.T, h Harness) {
	x := watchThings(t, h)
	x.next(t)
	x.w.Exec(t, "INSERT INTO things VALUES (1, 'a', 1), (2, 'other', 5)")
	require.Equal(t, []string{"2|b|(null)", "2|other|5"}, x.next(t).rows)
	require.Empty(t, x.next(t).rows)
	x.w.Exec(t, "DELETE FROM things WHERE id = 2 AND n IS NULL")
	got := x.next(t)
	require.Equal(t, []string{"2|other|5"}, got.rows)
	require.Empty(t, got.gone)
	x.w.Exec(t, "DELETE FROM things WHERE id = 1")
	require.Equal(t, []string{"1"}, x.next(t).gone)
	x.w.Exec(t, "INSERT INTO things SELECT 9, 'many', 9 FROM generate_series(1, 20000)")
	require.Len(t, x.next(t).rows, 20000)
	require.Empty(t, x.next(t).rows, "many repeats cost no more than many rows")
}

// changedColumns adds, drops and reorders columns, of which some do not count.
func changedColumns(t *testing.T, h Harness) {
	x := watch(t, h, things, "SELECT * FROM things", []string{"id"}, "name", "n")
	x.next(t)
	x.w.Exec(t, "ALTER TABLE things ADD COLUMN note VARCHAR; UPDATE things SET note = 'x' WHERE id = 1")
	require.Empty(t, x.next(t).rows, "a column that does not count")
	x.w.Exec(t, "ALTER TABLE things ADD COLUMN city VARCHAR; UPDATE things SET city = 'Rome' WHERE id = 2")
	x.q.Added = []string{"city"}
	require.Equal(t, []string{"2|b|(null)|(null)|Rome"}, x.next(t).rows)
	x.q.Compared, x.q.Added = []string{"name", "n", "city"}, nil
	require.Empty(t, x.next(t).rows)
	x.w.Exec(t, "UPDATE things SET city = 'Bari' WHERE id = 2")
	x.q.Model.SQL = "SELECT city, n, id, name FROM things"
	require.Equal(t, []string{"Bari|(null)|2|b"}, x.next(t).rows, "in another order, less one that does not count")
	x.q.Compared = []string{"name", "n"}
	x.w.Exec(t, "ALTER TABLE things DROP COLUMN city")
	x.q.Model.SQL = "SELECT n, id, name FROM things"
	require.Empty(t, x.next(t).rows)
}

func changedParts(t *testing.T, h Harness) {
	x := watch(t, h, fmt.Sprintf("CREATE TABLE many AS SELECT i AS id, i AS n FROM generate_series(1, %d) AS g(i)", 5*h.PartRows), "SELECT id, n FROM many", []string{"id"}, "n")
	got := x.next(t)
	require.Len(t, got.Parts, 4)
	require.Len(t, got.rows, int(5*h.PartRows))
	require.Len(t, slices.Compact(got.rows), int(5*h.PartRows), "each row once")
	x.w.Exec(t, fmt.Sprintf("UPDATE many SET n = -n WHERE id %% 2 = 0; DELETE FROM many WHERE id %% 5 = 1; INSERT INTO many SELECT i, i FROM generate_series(%d, %d) AS g(i)", 5*h.PartRows+1, 6*h.PartRows))
	got = x.next(t)
	require.Len(t, got.Parts, 3)
	require.Len(t, got.gone, int(h.PartRows))
	require.Len(t, got.rows, int(2*h.PartRows+h.PartRows))
	require.Len(t, slices.Compact(got.rows), len(got.rows), "each row once")
	q := x.q
	x.with(t, func(_ source.Source, r source.ChangeReader) {
		for _, err := range r.ReadChanges(t.Context(), q, got.State, source.Range{Unit: "something else"}) {
			require.Equal(t, fault.ReasonSourceChanged, fault.ReasonOf(err))
		}
	})
}

// readTwice reads a state again after the table has moved on, and makes it anew by the same attempt.
func readTwice(t *testing.T, h Harness) {
	x := watchThings(t, h)
	x.next(t)
	x.w.Exec(t, "UPDATE things SET n = 10 WHERE id = 1; DELETE FROM things WHERE id = 2")
	got := x.look(t)
	x.w.Exec(t, "UPDATE things SET n = 11 WHERE id IN (1, 3); DELETE FROM things WHERE id = 4")
	x.with(t, func(_ source.Source, r source.ChangeReader) {
		again := x.read(t, r, got.Changes)
		require.Equal(t, got.rows, again.rows)
		require.Equal(t, got.gone, again.gone)
	})
	x.runs--
	again := x.look(t)
	require.Equal(t, []string{"1|a|11", "3|(null)|11"}, again.rows)
	require.Equal(t, []string{"2", "4"}, again.gone)
}

// unconfirmed makes a state that never becomes the base: the next one is compared with the base, and drops it.
func unconfirmed(t *testing.T, h Harness) {
	x := watchThings(t, h)
	x.next(t)
	x.w.Exec(t, "UPDATE things SET n = 10 WHERE id = 1")
	failed := x.look(t)
	x.w.Exec(t, "UPDATE things SET n = 1 WHERE id = 1; UPDATE things SET n = 5 WHERE id = 4")
	require.Equal(t, []string{"4||5"}, x.look(t).rows)
	x.requireGone(t, failed.State)
}

func (x *watched) drop(t *testing.T, s source.State) {
	t.Helper()
	k, ok := x.h.Driver.(source.StateKeeper)
	require.True(t, ok, "the driver keeps states")
	require.NoError(t, k.Drop(t.Context(), x.w.Connection, s))
}

func (x *watched) requireGone(t *testing.T, s source.State) {
	t.Helper()
	x.with(t, func(_ source.Source, r source.ChangeReader) {
		q, n := x.q, 0
		q.Since = ""
		for _, err := range r.ReadChanges(t.Context(), q, s, source.Range{}) {
			require.Equal(t, fault.ReasonSourceChanged, fault.ReasonOf(err), "%v", err)
			n++
		}
		require.Equal(t, 1, n)
	})
}

// oldAttempt lets an attempt that was thought dead make its state after a newer one.
func oldAttempt(t *testing.T, h Harness) {
	x := watchThings(t, h)
	x.next(t)
	x.w.Exec(t, "UPDATE things SET n = 10 WHERE id = 1")
	x.runs = 8
	newer := x.look(t)
	x.runs = 7
	x.look(t)
	x.with(t, func(_ source.Source, r source.ChangeReader) {
		require.Equal(t, newer.rows, x.read(t, r, newer.Changes).rows)
	})
}

func baseGone(t *testing.T, h Harness) {
	x := watchThings(t, h)
	base := x.next(t)
	x.drop(t, base.State)
	got := x.next(t)
	require.Empty(t, got.Since)
	require.NotEmpty(t, got.Lost)
	require.Len(t, got.rows, 4)
	for _, odd := range []source.State{"nonsense", source.Kept{Owner: x.q.Owner, Attempt: x.q.Attempt, Rows: 99}.State(), source.Kept{Owner: "other", Rows: 4}.State()} {
		x.q.Since = odd
		got := x.look(t)
		require.NotEmpty(t, got.Lost, odd)
		require.Len(t, got.rows, 4)
	}
}

func dropState(t *testing.T, h Harness) {
	x := watchThings(t, h)
	got := x.next(t)
	x.drop(t, got.State)
	x.drop(t, got.State) // it may be gone
	x.drop(t, "nonsense")
	x.requireGone(t, got.State)
}

// clearStates clears an owner's states up to an attempt: later ones stay, and so do those of others.
func clearStates(t *testing.T, h Harness) {
	x := watchThings(t, h)
	first := x.next(t)
	x.w.Exec(t, "UPDATE things SET n = 10 WHERE id = 1")
	second := x.next(t)
	require.Equal(t, []string{"1|a|10"}, second.rows)
	var beside source.Changes
	x.with(t, func(_ source.Source, r source.ChangeReader) {
		q := x.q
		q.Owner, q.Attempt, q.Since = "0123456789abcdef", source.Attempt{Run: 1, Epoch: 1}, ""
		var err error
		beside, err = r.Changes(t.Context(), q, 1)
		require.NoError(t, err)
	})
	k, ok := h.Driver.(source.StateKeeper)
	require.True(t, ok, "the driver keeps states")
	clearUpTo := func(run int64) {
		require.NoError(t, k.Clear(t.Context(), x.w.Connection, x.q.Owner, source.Attempt{Run: run, Epoch: math.MaxUint32}))
	}
	requireKept := func(s source.State) {
		x.with(t, func(_ source.Source, r source.ChangeReader) {
			require.Len(t, x.read(t, r, source.Changes{State: s, Changed: 4, Parts: []source.Range{{}}}).rows, 4)
		})
	}
	clearUpTo(1)
	x.requireGone(t, first.State)
	requireKept(second.State)
	clearUpTo(2)
	clearUpTo(2) // it may be gone
	x.requireGone(t, second.State)
	requireKept(beside.State)
	require.Contains(t, k.Whereabouts(x.w.Connection, x.q.Owner), x.q.Owner)
}

// owners look at one table at once.
func owners(t *testing.T, h Harness) {
	x := watchThings(t, h)
	var wg sync.WaitGroup
	found, errs := make([]source.Changes, 4), make([]error, 4)
	x.with(t, func(_ source.Source, r source.ChangeReader) {
		for i := range found {
			wg.Go(func() {
				q := x.q
				q.Owner, q.Attempt = fmt.Sprint("owner", i), source.Attempt{Run: 1, Epoch: 1}
				found[i], errs[i] = r.Changes(t.Context(), q, 1)
			})
		}
		wg.Wait()
		for i := range found {
			require.NoError(t, errs[i])
			require.Len(t, x.read(t, r, found[i]).rows, 4)
		}
	})
}

func changedNames(t *testing.T, h Harness) {
	names := []string{`k 1`, `q"uote`, `dot.ted`, `semi;colon`, `select`, `größe`, `k1`, `g`, `k`, `v`, `100%s`}
	var columns, zeros []string
	for _, n := range names {
		columns = append(columns, `"`+strings.ReplaceAll(n, `"`, `""`)+`"`)
		zeros = append(zeros, "0")
	}
	fill := "CREATE TABLE odd (" + strings.Join(columns, " BIGINT, ") + " BIGINT); INSERT INTO odd VALUES (" + strings.Join(zeros, ", ") + ")"
	x := watch(t, h, fill, "SELECT * FROM odd", []string{`q"uote`, `k 1`, `k1`}, `dot.ted`, `semi;colon`, `select`, `größe`, `g`, `k`, `v`)
	x.q.Added = []string{`100%s`}
	x.next(t)
	require.Len(t, x.next(t).rows, 1, "what is added counts as NULL before")
	x.q.Compared, x.q.Added = append(x.q.Compared, `100%s`), nil
	for _, c := range columns[2:] {
		x.w.Exec(t, "UPDATE odd SET "+c+" = 1")
		require.Len(t, x.next(t).rows, 1, c)
	}
	x.w.Exec(t, "INSERT INTO odd SELECT * FROM odd; UPDATE odd SET v = 5")
	require.Len(t, x.next(t).rows, 2)
	x.w.Exec(t, "DELETE FROM odd")
	require.Equal(t, []string{"0|0|1"}, x.next(t).gone)
}

func changesRefused(t *testing.T, h Harness) {
	x := watchThings(t, h)
	x.with(t, func(s source.Source, r source.ChangeReader) {
		for _, bad := range []string{"", "SELECT 1; DROP TABLE things", "DELETE FROM things RETURNING *", "SELECT 1 AS id) AS q; DROP TABLE things; --", "SELECT missing AS id FROM things"} {
			q := x.q
			q.Model.SQL, q.Attempt = bad, source.Attempt{Run: 1, Epoch: 1}
			_, err := r.Changes(t.Context(), q, 1)
			require.Equal(t, fault.ReasonQueryInvalid, fault.ReasonOf(err), "%q: %v", bad, err)
		}
		require.Len(t, rows(t, s, sql("SELECT * FROM things")), 4)
	})
}

// histories edits a small table at random and holds what is found against a comparison of the rows themselves.
func histories(t *testing.T, h Harness) {
	x := watch(t, h, "CREATE TABLE things (id VARCHAR, name VARCHAR, n VARCHAR)", "SELECT id, name, n FROM things", []string{"id"}, "name", "n")
	r := rand.New(rand.NewPCG(3, 5)) //nolint:gosec // a test's own history
	one := func(of ...string) string { return of[r.IntN(len(of))] }
	was := map[string][]string{}
	for range 15 {
		is := map[string][]string{}
		text := "DELETE FROM things;"
		for range r.IntN(8) {
			v := []string{one("", "1", "2", "3"), one("", " ", "a"), one("", "0")} // empty: NULL
			text += "INSERT INTO things VALUES (NULLIF('" + strings.Join(v, "', ''), NULLIF('") + "', ''));"
			for i := range v {
				v[i] = cmp.Or(v[i], "(null)")
			}
			is[v[0]] = append(is[v[0]], strings.Join(v, "|"))
		}
		x.w.Exec(t, text)
		rows, gone := differences(was, is)
		got := x.next(t)
		require.Equal(t, rows, got.rows)
		require.Equal(t, gone, got.gone)
		was = is
	}
}

// differences answers the rows of keys whose sets of rows differ, and the keys without any.
func differences(was, is map[string][]string) (rows, gone []string) {
	set := func(in []string) []string {
		out := slices.Clone(in)
		sort.Strings(out)
		return slices.Compact(out)
	}
	for k, r := range is {
		if !slices.Equal(set(was[k]), set(r)) {
			rows = append(rows, r...)
		}
	}
	for k := range was {
		if len(is[k]) == 0 && k != "(null)" {
			gone = append(gone, k)
		}
	}
	sort.Strings(rows)
	sort.Strings(gone)
	return rows, gone
}
