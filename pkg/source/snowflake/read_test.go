//go:build cgo && duckdb_arrow

package snowflake_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"runtime/metrics"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/source"
	"millrace.dev/pkg/source/snowflake"
	"millrace.dev/pkg/source/snowflake/snowflaketest"
)

// like answers a server whose names and timestamps are as Snowflake's own.
func like(t testing.TB, o snowflaketest.Options) *snowflaketest.Server {
	t.Helper()
	o.Fold, o.TimestampScale = true, 9
	return snowflaketest.New(t, o)
}

func TestTimestampsOfEveryYear(t *testing.T) {
	s := like(t, snowflaketest.Options{})
	const sql = "SELECT CAST('9999-12-31 23:59:59.999999' AS TIMESTAMP_NTZ) AS a, CAST('0001-01-01 00:00:00+00' AS TIMESTAMP_LTZ) AS b"
	for b, err := range open(t, s).Read(t.Context(), model(sql)) {
		require.NoError(t, err)
		require.Equal(t, "A", b.ColumnName(0))
		require.Equal(t, "9999-12-31T23:59:59.999999", b.Column(0).ValueStr(0))
		require.Equal(t, "0001-01-01T00:00:00Z", b.Column(1).ValueStr(0))
	}
	exact := open(t, s, func(c *resource.Snowflake) { c.Timestamps = resource.Nanoseconds })
	for _, err := range exact.Read(t.Context(), model(sql)) {
		require.Equal(t, fault.Precondition, fault.ClassOf(err))
		require.ErrorContains(t, err, `column "A" of type TIMESTAMP_NTZ(9)`)
	}
}

func TestTables(t *testing.T) {
	s := like(t, snowflaketest.Options{})
	s.Exec(t, `CREATE TABLE people (id BIGINT NOT NULL, name VARCHAR, price DECIMAL(10,2)); CREATE TABLE "Odd name" (a INTEGER);
CREATE VIEW seen AS SELECT id FROM people; CREATE SCHEMA "Elsewhere"; CREATE TABLE "Elsewhere".people (z INTEGER)`)
	src := open(t, s)
	list := func(prefix string) map[string][]source.Column {
		out := map[string][]source.Column{}
		for table, err := range src.(source.Browser).Tables(t.Context(), prefix) {
			require.NoError(t, err)
			out[table.Name] = table.Columns
			_, err := src.Describe(t.Context(), source.Query{Model: resource.DataModel{Table: table.Name}})
			require.NoError(t, err, "a listed name can be used as it is: %s", table.Name)
		}
		return out
	}
	all := list("")
	require.Len(t, all, 4)
	require.Equal(t, []source.Column{{Name: "ID", Type: "NUMBER(38,0)"}, {Name: "NAME", Type: "VARCHAR", Nullable: true}, {Name: "PRICE", Type: "NUMBER(10,2)", Nullable: true}}, all["PEOPLE"])
	require.Len(t, all[`"Odd name"`], 1)
	require.Len(t, all["SEEN"], 1)
	require.Len(t, all[`"Elsewhere".PEOPLE`], 1)
	require.Len(t, list("peo"), 2)
	require.Len(t, list("elsewhere.p"), 1)
}

func TestPartsShareTheSnapshotOfThePlan(t *testing.T) {
	s := like(t, snowflaketest.Options{})
	s.Exec(t, "CREATE TABLE t AS SELECT i AS id FROM generate_series(1, 10) AS g(i)")
	src := open(t, s)
	q := model("SELECT id FROM t")
	q.Model.Iterator = resource.Iterator{Column: "ID", Type: resource.IteratorInteger}
	p, err := src.(source.Planner).Plan(t.Context(), q, 4)
	require.NoError(t, err)
	require.Equal(t, "10", p.Watermark)
	require.True(t, p.Counted)
	s.Exec(t, "INSERT INTO t VALUES (5)")
	s.Exec(t, "DELETE FROM t WHERE id = 1")

	q.Snapshot, q.Range = p.Snapshot, p.Parts[0]
	reader := open(t, s)
	require.Len(t, values(t, reader, q), 10, "as it was when the run was planned")
	require.Equal(t, p.Snapshot, reader.(source.Renewer).ReadUnder())

	s.Forget()
	got := values(t, reader, q)
	require.Len(t, got, 10, "parts by value go on with what is there")
	require.NotContains(t, got, "1")
	require.NotEqual(t, p.Snapshot, reader.(source.Renewer).ReadUnder(), "and say so")
	require.NotEmpty(t, reader.(source.Renewer).ReadUnder())
}

// A table whose past the warehouse does not have is read as it is, and nothing is claimed of the count.
func TestWhatHasNoPastIsReadAsItIs(t *testing.T) {
	s := like(t, snowflaketest.Options{})
	s.Exec(t, "CREATE TABLE t AS SELECT i AS id FROM generate_series(1, 10) AS g(i); CREATE VIEW v AS SELECT id FROM t")
	src := open(t, s)
	for _, sql := range []string{"SELECT id FROM v", "SELECT i AS id FROM generate_series(1, 10) AS g(i)"} {
		q := model(sql)
		q.Full = true
		p, err := src.(source.Planner).Plan(t.Context(), q, 4)
		require.NoError(t, err)
		require.False(t, p.Counted, sql)
		require.EqualValues(t, 10, p.EstimatedRows)
		q.Snapshot = p.Snapshot
		require.Len(t, values(t, src, q), 10)
		require.NotEqual(t, p.Snapshot, src.(source.Renewer).ReadUnder())
	}
}

func TestValuesAreBoundAndQueriesTagged(t *testing.T) {
	s := snowflaketest.New(t, snowflaketest.Options{})
	s.Exec(t, "CREATE TABLE t AS SELECT i AS id FROM generate_series(1, 10) AS g(i)")
	q := model("SELECT id FROM t")
	q.Model.Iterator = resource.Iterator{Column: "id", Type: resource.IteratorInteger}
	q.Range = source.Range{Low: "4711", High: "4712"}
	require.Empty(t, values(t, open(t, s), q))
	statements := s.Statements()
	last := statements[len(statements)-1]
	require.Equal(t, []string{"4711", "4712"}, last.Binds)
	require.NotContains(t, last.SQL, "471")
	for _, x := range statements {
		require.Equal(t, "millrace:test/sync/run", x.Tag)
	}
}

func TestNothingIsWritten(t *testing.T) {
	s := snowflaketest.New(t, snowflaketest.Options{})
	s.Exec(t, "CREATE TABLE t (id INTEGER)")
	src := open(t, s)
	for _, sql := range []string{"DELETE FROM t", "SELECT 1 AS a; DELETE FROM t", "WITH x AS (SELECT 1) INSERT INTO t SELECT 1"} {
		for _, err := range src.Read(t.Context(), model(sql)) {
			require.Equal(t, fault.ReasonQueryInvalid, fault.ReasonOf(err), sql)
		}
	}
	for _, x := range s.Statements() {
		require.NotContains(t, x.SQL, "DELETE", "it was not even sent")
	}
}

const thousands = "SELECT i, 'row ' || CAST(i AS VARCHAR) AS s, CAST(i AS DECIMAL(12,2)) AS d FROM generate_series(1, 60000) AS g(i)"

func TestStopMidRead(t *testing.T) {
	src := open(t, snowflaketest.New(t, snowflaketest.Options{ChunkRows: 5000}))
	for _, err := range src.Read(t.Context(), model(thousands)) {
		require.NoError(t, err)
		break
	}
	require.Equal(t, []string{"1"}, values(t, src, model("SELECT 1 AS a")))
}

func TestCancelMidRead(t *testing.T) {
	src := open(t, snowflaketest.New(t, snowflaketest.Options{ChunkRows: 5000}))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var last error
	for _, err := range src.Read(ctx, model(thousands)) {
		require.NoError(t, last, "nothing comes after an error")
		if last = err; err == nil {
			cancel()
		}
	}
	require.Equal(t, fault.Cancelled, fault.ClassOf(last), "%v", last)
	require.Equal(t, []string{"1"}, values(t, src, model("SELECT 1 AS a")))
}

// A statement ends in the warehouse when its reader gives up.
func TestCancelReachesTheWarehouse(t *testing.T) {
	s := snowflaketest.New(t, snowflaketest.Options{Poll: true})
	src := open(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s.Intercept(func(_ http.ResponseWriter, r *http.Request, _ string) bool {
		if strings.HasSuffix(r.URL.Path, "/result") {
			cancel() // the statement runs
		}
		return false
	})
	const endless = "SELECT COUNT(*) AS n FROM generate_series(1, 1000000) AS a(i) CROSS JOIN generate_series(1, 1000000) AS b(i) WHERE (a.i * b.i) % 7 = 3"
	for _, err := range src.Read(ctx, model(endless)) {
		require.Equal(t, fault.Cancelled, fault.ClassOf(err), "%v", err)
	}
	require.Zero(t, s.Running())
	aborted := false
	for _, r := range s.Requests() {
		aborted = aborted || r.Path == "/queries/v1/abort-request"
	}
	require.True(t, aborted)
}

func TestResultsAreFetchedWhereTheyAreReady(t *testing.T) {
	s := snowflaketest.New(t, snowflaketest.Options{Poll: true, Gzip: true, ChunkRows: 7000})
	require.Len(t, values(t, open(t, s), model(thousands)), 60000)
}

func TestMemoryIsGivenBack(t *testing.T) {
	mem := memory.NewCheckedAllocator(memory.DefaultAllocator)
	defer mem.AssertSize(t, 0)
	s := like(t, snowflaketest.Options{ChunkRows: 5000})
	src := openWith(t, snowflake.Settings{Allocator: mem}, s, func(c *resource.Snowflake) { c.Timestamps = resource.Nanoseconds })
	for _, err := range src.Read(t.Context(), model(thousands)) {
		require.NoError(t, err)
		break
	}
	n := int64(0)
	for b, err := range src.Read(t.Context(), model(thousands)) {
		require.NoError(t, err)
		n += b.NumRows()
	}
	require.EqualValues(t, 60000, n)
	late := "SELECT i, CAST(CASE WHEN i = 40000 THEN '9999-01-01' ELSE '2026-01-01' END AS TIMESTAMP_NTZ) AS t FROM generate_series(1, 60000) AS g(i)"
	var last error
	for _, err := range src.Read(t.Context(), model(late)) {
		last = err
	}
	require.Equal(t, fault.Precondition, fault.ClassOf(last))
}

// peak is an allocator that knows how much was out at most.
type peak struct {
	memory.Allocator
	now, most atomic.Int64
}

func (p *peak) note(n int) {
	now := p.now.Add(int64(n))
	for m := p.most.Load(); now > m && !p.most.CompareAndSwap(m, now); m = p.most.Load() {
	}
}

func (p *peak) Allocate(n int) []byte { p.note(n); return p.Allocator.Allocate(n) }

func (p *peak) Reallocate(n int, b []byte) []byte {
	p.note(n - len(b))
	return p.Allocator.Reallocate(n, b)
}

func (p *peak) Free(b []byte) { p.note(-len(b)); p.Allocator.Free(b) }

// However long a result is, a few chunks of it are in memory, and a few are fetched ahead.
func TestMemoryIsBounded(t *testing.T) {
	mem := &peak{Allocator: memory.DefaultAllocator}
	s := snowflaketest.New(t, snowflaketest.Options{ChunkRows: 10_000})
	src := openWith(t, snowflake.Settings{Allocator: mem, Ahead: 2}, s)
	chunks := func() (n int) {
		for _, r := range s.Requests() {
			if strings.HasPrefix(r.Path, "/chunks/") {
				n++
			}
		}
		return n
	}
	rows, bytes := int64(0), int64(0)
	for b, err := range src.Read(t.Context(), model("SELECT i, 'a text of some length, number ' || CAST(i AS VARCHAR) AS s FROM generate_series(1, 600000) AS g(i)")) {
		require.NoError(t, err)
		rows += b.NumRows()
		for _, c := range b.Columns() {
			for _, buf := range c.Data().Buffers() {
				if buf != nil {
					bytes += int64(buf.Len())
				}
			}
		}
		done := int((rows - b.NumRows()) / 10_000) // of those before this one
		require.LessOrEqual(t, chunks(), done+4, "fetched ahead")
	}
	require.EqualValues(t, 600_000, rows)
	require.Less(t, mem.most.Load(), bytes/10, "of %d bytes", bytes)
}

func BenchmarkRead(b *testing.B) {
	for _, rows := range []int{500_000, 10_000_000} {
		b.Run(strconv.Itoa(rows), func(b *testing.B) { benchmarkRead(b, rows) })
	}
}

// heap answers the bytes of objects on Go's heap: of the driver, its client, and the server beside them.
func heap() uint64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

func benchmarkRead(b *testing.B, rows int) {
	b.Helper()
	s := like(b, snowflaketest.Options{ChunkRows: 50_000})
	s.Exec(b, fmt.Sprintf(`CREATE TABLE users AS SELECT CAST(i AS BIGINT) AS customer_id, 'user' || i || '@example.com' AS email, 'First' || (i %% 1000) AS first_name, 'Last' || (i %% 5000) AS last_name,
['London','Paris','Berlin'][1 + i %% 3] AS city, ['free','pro'][1 + i %% 2] AS plan, CAST((i %% 100000) / 100.0 AS DECIMAL(12,2)) AS ltv, i %% 500 AS visits,
TIMESTAMP '2025-01-01' + INTERVAL (i) SECOND AS updated_at, i %% 2 = 0 AS active FROM generate_series(1, %d) AS g(i)`, rows))
	mem := &peak{Allocator: memory.DefaultAllocator}
	src := openWith(b, snowflake.Settings{Allocator: mem}, s)
	// The warehouse's own work comes before the first row.
	for b.Loop() {
		var start time.Time
		n, most := int64(0), uint64(0)
		for r, err := range src.Read(b.Context(), model("SELECT * FROM users")) {
			require.NoError(b, err)
			if n == 0 {
				start = time.Now()
			}
			n += r.NumRows()
			most = max(most, heap())
		}
		require.EqualValues(b, rows, n)
		b.ReportMetric(float64(n)/time.Since(start).Seconds(), "rows/s")
		b.ReportMetric(float64(mem.most.Load())/(1<<20), "MiB-arrow-peak")
		b.ReportMetric(float64(most)/(1<<20), "MiB-heap-peak")
	}
}

// TestAgainstAnAccount reads from a real account, where MILLRACE_TEST_SNOWFLAKE_DSN says how: the connection's block as
// JSON, such as {"account": "myorg-acc1", "warehouse": "W", "database": "D", "role": "R", "user": "U", "token": "…"}.
func TestAgainstAnAccount(t *testing.T) {
	dsn := os.Getenv("MILLRACE_TEST_SNOWFLAKE_DSN")
	if dsn == "" {
		t.Log("not reached: no account of Snowflake, for MILLRACE_TEST_SNOWFLAKE_DSN is not set")
		return
	}
	c := account(t, dsn)
	src, err := snowflake.New(snowflake.Settings{}).Open(t.Context(), resource.Connection{Snowflake: &c})
	require.NoError(t, err)
	defer func() { require.NoError(t, src.Close()) }()
	for _, step := range src.Check(t.Context()) {
		require.True(t, step.OK, "%s: %s", step.Name, step.Message)
	}
	schema, err := src.Describe(t.Context(), model("SELECT 1::NUMBER(5,0) AS A, '9999-12-31 23:59:59'::TIMESTAMP_NTZ AS B, PARSE_JSON('{}') AS C"))
	require.NoError(t, err)
	require.Equal(t, arrow.INT64, schema.Field(0).Type.ID())
	require.Equal(t, []string{"9999-12-31T23:59:59"}, values(t, src, model("SELECT '9999-12-31 23:59:59'::TIMESTAMP_NTZ AS B")))
	require.Len(t, values(t, src, model("SELECT SEQ4() AS A, RANDSTR(100, RANDOM()) AS B FROM TABLE(GENERATOR(ROWCOUNT => 500000))")), 500000)
}
