//go:build cgo && duckdb_arrow

package databricks_test

import (
	"net/http"
	"runtime/metrics"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/source/databricks"
	"millrace.dev/pkg/source/databricks/databrickstest"
)

func TestMemoryIsGivenBack(t *testing.T) {
	for _, o := range []databrickstest.Options{{}, {Files: true, Padding: true}} {
		mem := memory.NewCheckedAllocator(memory.DefaultAllocator)
		p := databrickstest.Start(t, o)
		s := openWith(t, databricks.Settings{Allocator: mem}, p.Connection())
		require.Len(t, values(t, s, model(many())), manyRows)
		for b, err := range s.Read(t.Context(), model(many())) {
			require.NoError(t, err)
			if b.NumRows() > 0 {
				break
			}
		}
		call := "FetchResults"
		if o.Files {
			call = "file"
		}
		for _, f := range []*databrickstest.Fault{{Cut: true}, {Status: http.StatusForbidden}, {Mangle: func(b []byte) []byte { return b[:len(b)*3/4] }}} {
			p.Intercept(on(call, 3, f))
			_, err := read(t.Context(), s, model(many()))
			require.Error(t, err)
		}
		p.Intercept(nil)
		_, err := read(t.Context(), s, model("SELECT CAST(CASE WHEN i = 150000 THEN 'x' ELSE '1' END AS INT) AS n FROM generate_series(1, 200000) AS g(i)"))
		require.True(t, fault.ClassOf(err).Permanent(), "%v", err)
		mem.AssertSize(t, 0)
	}
}

// peak is an allocator that notes the most that was held at once.
type peak struct {
	memory.Allocator
	held, most atomic.Int64
}

func (p *peak) note(n int) {
	held := p.held.Add(int64(n))
	for most := p.most.Load(); held > most && !p.most.CompareAndSwap(most, held); most = p.most.Load() {
	}
}

func (p *peak) Allocate(n int) []byte {
	p.note(n)
	return p.Allocator.Allocate(n)
}

func (p *peak) Reallocate(n int, b []byte) []byte {
	p.note(n - len(b))
	return p.Allocator.Reallocate(n, b)
}

func (p *peak) Free(b []byte) {
	p.held.Add(-int64(len(b)))
	p.Allocator.Free(b)
}

const wide = "SELECT i AS id, repeat('x', 200) AS text FROM generate_series(1, 1000000) AS g(i)"

// A result of a million rows of 200 bytes is read in the memory of a few files, and files are downloaded as they are read.
func TestABigResultIsReadInLittleMemory(t *testing.T) {
	for _, o := range []databrickstest.Options{{}, {Files: true}} {
		p := databrickstest.Start(t, o)
		mem := &peak{Allocator: memory.DefaultAllocator}
		s := openWith(t, databricks.Settings{Allocator: mem, LookAhead: 2}, p.Connection())
		p.Intercept(nil)
		rows, batches := int64(0), 0
		for b, err := range s.Read(t.Context(), model(wide)) {
			require.NoError(t, err)
			rows += b.NumRows()
			if batches++; batches == 1 && o.Files {
				require.LessOrEqual(t, p.Calls()["file"], 1+2, "the one of the description, and the look-ahead")
			}
		}
		require.EqualValues(t, 1_000_000, rows)
		require.Less(t, mem.most.Load(), int64(32<<20))
		require.Zero(t, mem.held.Load())
	}
}

// people selects some rows of ten columns.
func people(rows int) string {
	return strings.Replace(allPeople, "ALL", strconv.Itoa(rows), 1)
}

const allPeople = `SELECT i AS customer_id, concat('user', CAST(i AS STRING), '@example.com') AS email, concat('First', CAST(i % 1000 AS STRING)) AS first_name,
concat('Last', CAST(i % 5000 AS STRING)) AS last_name, 'London' AS city, 'pro' AS plan, CAST(i % 100000 / 100.0 AS DECIMAL(12,2)) AS ltv, i % 500 AS visits,
CAST('2025-01-01' AS TIMESTAMP_NTZ) AS updated_at, i % 2 = 0 AS active FROM generate_series(1, ALL) AS g(i)`

// heapNow answers the bytes of the process's heap, the peer's among them.
func heapNow() uint64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

func BenchmarkRead(b *testing.B) {
	for name, o := range map[string]databrickstest.Options{"within answers": {}, "by files": {Files: true}} {
		for _, rows := range []int{500_000, 10_000_000} {
			b.Run(name+"/"+strconv.Itoa(rows), func(b *testing.B) { benchmarkRead(b, o, rows) })
		}
	}
}

func benchmarkRead(b *testing.B, o databrickstest.Options, rows int) {
	b.Helper()
	mem := &peak{Allocator: memory.DefaultAllocator}
	s := openWith(b, databricks.Settings{Allocator: mem}, databrickstest.Start(b, o).Connection())
	n, start, heap := int64(0), time.Now(), uint64(0)
	for b.Loop() {
		for r, err := range s.Read(b.Context(), model(people(rows))) {
			require.NoError(b, err)
			n += r.NumRows()
			heap = max(heap, heapNow())
		}
	}
	require.Zero(b, n%int64(rows))
	b.ReportMetric(float64(heap)/(1<<20), "peak-heap-MiB")
	b.ReportMetric(float64(n)/time.Since(start).Seconds(), "rows/s")
	b.ReportMetric(float64(mem.most.Load())/(1<<20), "peak-Arrow-MiB")
}
