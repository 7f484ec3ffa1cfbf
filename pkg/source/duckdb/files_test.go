//go:build cgo && duckdb_arrow

package duckdb_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/source"
	"millrace.dev/pkg/source/duckdb"
)

func open(t *testing.T, path string) source.Source {
	t.Helper()
	s, err := duckdb.New(duckdb.Settings{}).Open(t.Context(), at(path))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

func openFails(t *testing.T, path string) error {
	t.Helper()
	_, err := duckdb.New(duckdb.Settings{}).Open(t.Context(), at(path))
	require.Error(t, err)
	return err
}

func model(sql string) source.Query { return source.Query{Model: resource.DataModel{SQL: sql}} }

// rows answers the rows of a statement, each as its values joined by commas.
func rows(t *testing.T, s source.Source, sql string) []string {
	t.Helper()
	out, err := read(t, s, model(sql))
	require.NoError(t, err)
	return out
}

func read(t *testing.T, s source.Source, q source.Query) ([]string, error) {
	var out []string
	for b, err := range s.Read(t.Context(), q) {
		if err != nil {
			return out, err
		}
		for i := range int(b.NumRows()) {
			var f []string
			for _, c := range b.Columns() {
				f = append(f, strings.Clone(c.ValueStr(i))) // the batch goes
			}
			out = append(out, strings.Join(f, ","))
		}
	}
	return out, nil
}

func write(t testing.TB, path, text string) string {
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o750))
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func TestOneFileIsTheViewFiles(t *testing.T) {
	dir := t.TempDir()
	fill(t, filepath.Join(dir, "x.duckdb"), fmt.Sprintf("COPY (SELECT 1 AS a, DATE '2026-01-01' AS d) TO '%s/p.parquet'", dir))
	for path, want := range map[string]string{
		write(t, filepath.Join(dir, "c.csv"), "a,d\n1,2026-01-01\n"):           "1,2026-01-01",
		write(t, filepath.Join(dir, "c.tsv"), "a\td\n1\t2026-01-01\n"):         "1,2026-01-01",
		write(t, filepath.Join(dir, "j.json"), `[{"a":1,"d":"2026-01-01"}]`):   "1,2026-01-01",
		write(t, filepath.Join(dir, "n.ndjson"), `{"a":1,"d":"2026-01-01"}`):   "1,2026-01-01",
		filepath.Join(dir, "p.parquet"):                                        "1,2026-01-01",
		write(t, filepath.Join(dir, "it's a file.csv"), "a,d\n1,2026-01-01\n"): "1,2026-01-01",
	} {
		require.Equal(t, []string{want}, rows(t, open(t, path), "SELECT * FROM files"), path)
	}
	parquet, err := os.ReadFile(filepath.Join(dir, "p.parquet"))
	require.NoError(t, err)
	require.Equal(t, []string{"1,2026-01-01"}, rows(t, open(t, write(t, filepath.Join(dir, "unnamed"), string(parquet))), "SELECT * FROM files"))
}

func TestEachFileOfAFolderIsAViewNamedAfterItsStem(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "orders 2026.csv"), "a\n1\n")
	write(t, filepath.Join(dir, "customers.json"), `{"a":2}`)
	write(t, filepath.Join(dir, "notes.txt"), "not data")
	write(t, filepath.Join(dir, ".hidden.csv"), "a\n3\n")
	s := open(t, dir)
	require.Equal(t, []string{"1,2"}, rows(t, s, `SELECT o.a, c.a AS b FROM "orders 2026" AS o, customers AS c`))
	write(t, filepath.Join(dir, "deep/later.csv"), "a\n9\n")
	require.Equal(t, []string{"9"}, rows(t, s, "SELECT * FROM read_csv('"+dir+"/deep/*.csv')"), "files below it may be read, later ones too")
	write(t, filepath.Join(dir, "Customers.csv"), "a\n3\n")
	require.ErrorContains(t, openFails(t, dir), "customers.json would both be the view")
}

func TestAGlobIsOneView(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "in/2026/a.csv"), "a,b\n1,x\n")
	write(t, filepath.Join(dir, "in/2027/b.csv"), "b,a\ny,2\n")
	write(t, filepath.Join(dir, "out.csv"), "a\n7\n")
	s := open(t, filepath.Join(dir, "in/*/*.csv"))
	require.ElementsMatch(t, []string{"1,x", "2,y"}, rows(t, s, "SELECT a, b FROM files"))
	write(t, filepath.Join(dir, "in/2028/c.csv"), "a,b\n3,z\n")
	require.Len(t, rows(t, s, "SELECT * FROM files"), 3, "later files belong to it")
	require.Equal(t, []string{"3,z"}, rows(t, s, "SELECT * FROM read_csv('"+dir+"/in/2028/c.csv')"))
	_, err := read(t, s, model("SELECT * FROM read_csv('"+dir+"/out.csv')"))
	require.Equal(t, fault.ReasonQueryInvalid, fault.ReasonOf(err))
	write(t, filepath.Join(dir, "mix/a.csv"), "a\n1\n")
	write(t, filepath.Join(dir, "mix/b.json"), `{"a":2}`)
	require.Equal(t, fault.Invalid, fault.ClassOf(openFails(t, filepath.Join(dir, "mix/*"))))
}

func TestWhatIsNotThereIsNotFoundAtOnce(t *testing.T) {
	dir := t.TempDir()
	for _, path := range []string{"none.csv", "none.duckdb", "none/*.parquet", "*.csv", "*", "empty"} {
		require.NoError(t, os.MkdirAll(filepath.Join(dir, "empty"), 0o750))
		err := openFails(t, filepath.Join(dir, path))
		require.Equal(t, fault.NotFound, fault.ClassOf(err), path)
		require.Equal(t, fault.ReasonFileNotFound, fault.ReasonOf(err), path)
	}
	require.Equal(t, fault.Invalid, fault.ClassOf(openFails(t, write(t, filepath.Join(dir, "x.bin"), "whatever it is"))))
	require.Equal(t, fault.Invalid, fault.ClassOf(openFails(t, "relative.csv")))
}

func TestNothingElseIsRead(t *testing.T) {
	dir := t.TempDir()
	secret := write(t, filepath.Join(dir, "secret.csv"), "a\nhidden\n")
	db := filepath.Join(dir, "db/w.duckdb")
	require.NoError(t, os.MkdirAll(filepath.Dir(db), 0o750))
	fill(t, db, "CREATE TABLE t AS SELECT 1 AS a")
	for _, path := range []string{db, write(t, filepath.Join(dir, "one/a.csv"), "a\n1\n"), filepath.Join(dir, "one"), filepath.Join(dir, "one/*.csv")} {
		s := open(t, path)
		for _, q := range []string{
			"SELECT * FROM read_csv('" + secret + "')", "SELECT * FROM '" + secret + "'", "SELECT * FROM read_text('" + secret + "')",
			"SELECT * FROM read_csv('" + dir + "/one/../secret.csv')", "SELECT * FROM glob('/etc/*')", "SELECT * FROM read_csv('https://127.0.0.1:1/x.csv')",
			"COPY (SELECT 1) TO '" + dir + "/one/out.csv'", "ATTACH '" + db + "' AS o", "SET enable_external_access = true", "INSTALL httpfs", "LOAD httpfs", "PRAGMA threads=8",
		} {
			got, err := read(t, s, model(q))
			require.Error(t, err, "%s: %s gave %v", path, q, got)
			require.NotContains(t, err.Error(), "hidden")
			require.True(t, fault.ClassOf(err).Permanent(), "%s: %v", q, err)
		}
	}
	require.NoFileExists(t, filepath.Join(dir, "one/out.csv"))
}

func TestASourceThatChangesIsPlannedAgain(t *testing.T) {
	dir := t.TempDir()
	db := filepath.Join(dir, "w.duckdb")
	fill(t, db, "CREATE TABLE t AS SELECT 1 AS a")
	for path, change := range map[string]func(){
		db: func() { fill(t, db, "INSERT INTO t VALUES (2)") },
		write(t, filepath.Join(dir, "one/a.csv"), "a\n1\n"): func() { write(t, filepath.Join(dir, "one/a.csv"), "a\n1\n22\n") },
		filepath.Join(dir, "two/*.csv"):                     func() { write(t, filepath.Join(dir, "two/b.csv"), "a\n1\n") },
		filepath.Join(dir, "one"):                           func() { write(t, filepath.Join(dir, "one/b.csv"), "a\n1\n") },
	} {
		write(t, filepath.Join(dir, "two/a.csv"), "a\n1\n")
		q := model("SELECT 1 AS a")
		func() {
			s, err := duckdb.New(duckdb.Settings{}).Open(t.Context(), at(path))
			require.NoError(t, err)
			defer func() { require.NoError(t, s.Close()) }()
			p, err := s.(source.Planner).Plan(t.Context(), q, 1)
			require.NoError(t, err)
			require.True(t, p.Replan)
			q.Snapshot = p.Snapshot
			_, err = read(t, s, q)
			require.NoError(t, err)
		}()
		change()
		_, err := read(t, open(t, path), q)
		require.Equal(t, fault.ReasonSourceChanged, fault.ReasonOf(err), path)
		require.False(t, fault.ClassOf(err).Permanent())
	}
}

func TestADatabaseThatAnotherProcessWritesIsLocked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "w.duckdb")
	cmd := exec.Command(os.Args[0], "-test.run=^TestHold$") //nolint:gosec // this test's own binary
	cmd.Env = append(os.Environ(), "MILLRACE_TEST_HOLD="+path)
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	_, err = bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	failed := openFails(t, path)
	require.Equal(t, fault.Unavailable, fault.ClassOf(failed))
	require.Equal(t, fault.ReasonWarehouseLocked, fault.ReasonOf(failed))
	require.NoError(t, in.Close())
	require.NoError(t, cmd.Wait())
	require.Equal(t, []string{"1"}, rows(t, open(t, path), "SELECT a FROM t"))
}

// TestHold is the other process of the test above: it holds a database until its input ends.
func TestHold(t *testing.T) {
	path := os.Getenv("MILLRACE_TEST_HOLD")
	if path == "" {
		return
	}
	fill(t, path, "CREATE TABLE t AS SELECT 1 AS a", func() {
		_, _ = os.Stdout.WriteString("held\n")
		_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
	})
}

func TestADatabaseThatThisProcessHasOpenForWritingIsLocked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "w.duckdb")
	fill(t, path, "CREATE TABLE t AS SELECT 1 AS a", func() {
		require.Equal(t, fault.ReasonWarehouseLocked, fault.ReasonOf(openFails(t, path)))
	})
	a, b := open(t, path), open(t, path)
	require.Equal(t, rows(t, a, "SELECT a FROM t"), rows(t, b, "SELECT a FROM t"))
}

func TestTypesOfDuckDB(t *testing.T) {
	path := filepath.Join(t.TempDir(), "w.duckdb")
	fill(t, path, "CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE TABLE t (m mood); INSERT INTO t VALUES ('ok'), (NULL);")
	s := open(t, path)
	require.ElementsMatch(t, []string{"ok", "(null)"}, rows(t, s, "SELECT m FROM t"))
	for expr, want := range map[string]string{
		"170141183460469231731687303715884105727::UHUGEINT":       "170141183460469231731687303715884105727",
		"-99999999999999999999999999999999999999::HUGEINT":        "-99999999999999999999999999999999999999",
		"18446744073709551615::UBIGINT":                           "18446744073709551615",
		"TIMESTAMP_S '2026-01-01 00:00:01'":                       "2026-01-01T00:00:01",
		"TIMESTAMP_MS '2026-01-01 00:00:01.002'":                  "2026-01-01T00:00:01.002",
		"TIMESTAMP_NS '2026-01-01 00:00:01.000000002'":            "2026-01-01T00:00:01.000000002",
		"TIMESTAMPTZ '2026-01-01 00:00:00 America/New_York'":      "2026-01-01T05:00:00Z",
		"CAST(TIMESTAMPTZ '2026-01-01 00:00:00+00' AS VARCHAR)":   "2026-01-01 00:00:00+00",
		"INTERVAL '1 year 2 days 03:04:05'":                       "1 year 2 days 03:04:05",
		"{'a': 1, 'b': [1.5, NULL]}":                              `{"a":1,"b":[1.5,null]}`,
		"MAP {'k': 1}":                                            `{"k":1}`,
		"[[1], []]":                                               `[[1],[]]`,
		"'0101'::BIT":                                             "0101",
		"'\\x00\\xFF'::BLOB":                                      "AP8=",
		"union_value(n := 1)":                                     `{"n":1}`,
		"TIMETZ '12:00:00+02'":                                    "12:00:00+02",
		"'123456789012345678901234567890123456789012345'::BIGNUM": "123456789012345678901234567890123456789012345",
		"'{\"n\": 12345678901234567890.10}'::JSON":                `{"n": 12345678901234567890.10}`,
	} {
		require.Equal(t, []string{want}, rows(t, s, "SELECT "+expr+" AS v"), expr)
	}
}

// A scan of much more than the memory limit streams.
func TestAWideScanStaysWithinItsMemory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "w.duckdb")
	fill(t, path, "CREATE TABLE t AS SELECT i, repeat(CAST(i AS VARCHAR), 100) AS wide FROM range(400000) AS g(i)")
	s, err := duckdb.New(duckdb.Settings{MemoryLimit: "64MB", Threads: 1}).Open(t.Context(), at(path))
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	n := int64(0)
	for b, err := range s.Read(t.Context(), model("SELECT * FROM t")) {
		require.NoError(t, err)
		n += b.NumRows()
	}
	require.EqualValues(t, 400000, n)
}

func BenchmarkRead(b *testing.B) {
	path := filepath.Join(b.TempDir(), "w.duckdb")
	fill(b, path, `create table users as select i as customer_id, 'user'||i||'@example.com' as email, 'First'||(i%1000) as first_name, 'Last'||(i%5000) as last_name, ['London','Paris','Berlin','Madrid','Rome'][1+i%5] as city, ['free','pro','enterprise'][1+i%3] as plan, (i%100000)/100.0::double as ltv, i%500 as visits, timestamp '2025-01-01' + interval (i) second as updated_at, (i%2=0) as active from range(1000000) t(i)`)
	s, err := duckdb.New(duckdb.Settings{}).Open(b.Context(), at(path))
	require.NoError(b, err)
	defer func() { require.NoError(b, s.Close()) }()
	for b.Loop() {
		start, n := time.Now(), int64(0)
		for r, err := range s.Read(b.Context(), model("SELECT * FROM users")) {
			require.NoError(b, err)
			n += r.NumRows()
		}
		b.ReportMetric(float64(n)/time.Since(start).Seconds(), "rows/s")
	}
}

// A file that takes another's place is read anew, whoever still reads the old one; who has the old one open neither plans
// by it nor takes its rows for those of the new one.
func TestAReplacedDatabaseIsReadAnew(t *testing.T) {
	dir := t.TempDir()
	path, next := filepath.Join(dir, "shop.duckdb"), filepath.Join(dir, "next.duckdb")
	fill(t, path, "CREATE TABLE t AS SELECT 1 AS a")
	fill(t, next, "CREATE TABLE t AS SELECT 2 AS a")
	driver := duckdb.New(duckdb.Settings{})
	open := func() source.Source {
		s, err := driver.Open(t.Context(), at(path))
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, s.Close()) })
		return s
	}
	old, same := open(), open()
	require.NoError(t, os.Rename(next, path))
	fresh := open()
	require.Equal(t, []string{"2"}, rows(t, fresh, "SELECT a FROM t"))
	plan, err := planner(t, fresh).Plan(t.Context(), model("SELECT a FROM t"), 1)
	require.NoError(t, err)

	_, err = planner(t, old).Plan(t.Context(), model("SELECT a FROM t"), 1)
	require.Equal(t, fault.ReasonSourceChanged, fault.ReasonOf(err), "%v", err)
	q := model("SELECT a FROM t")
	q.Snapshot = plan.Snapshot
	_, err = read(t, same, q)
	require.Equal(t, fault.ReasonSourceChanged, fault.ReasonOf(err), "%v", err)
	require.NoError(t, old.Close())
	require.NoError(t, same.Close())
	require.Equal(t, []string{"2"}, rows(t, open(), "SELECT a FROM t"))
}

func planner(t *testing.T, s source.Source) source.Planner {
	p, ok := source.As[source.Planner](s)
	require.True(t, ok)
	return p
}
