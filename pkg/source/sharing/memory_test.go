//go:build cgo && duckdb_arrow

package sharing_test

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

	"millrace.dev/pkg/source"
	"millrace.dev/pkg/source/sharing"
	"millrace.dev/pkg/source/sharing/sharingtest"
)

func TestMemoryIsGivenBack(t *testing.T) {
	p := largePeer(t, sharingtest.Options{})
	p.Exec(t, "CREATE TABLE deep AS SELECT i AS id, [i, NULL] AS list, {'a': 'x' || i} AS doc, TIMESTAMPTZ '2026-01-01 00:00:00+00' + INTERVAL (i) SECOND AS ts FROM range(50000) AS g(i)")
	mem := memory.NewCheckedAllocator(memory.DefaultAllocator)
	s := openWith(t, sharing.Settings{Allocator: mem, PartRows: 10_000}, p.Connection())
	require.Len(t, values(t, s, table("large")), 200_000)
	require.Len(t, values(t, s, table("deep")), 50_000)
	require.Len(t, values(t, s, by("deep", "ts", "timestamp", source.Range{Low: "2026-01-01T00:00:01Z", High: "2026-01-01T10:00:00Z"})), 35_999)
	limited := table("large")
	limited.Limit = 7
	require.Len(t, values(t, s, limited), 7)
	planOf(t, s, by("deep", "ts", "timestamp", source.Range{}), 4)
	for _, err := range s.Read(t.Context(), table("large")) {
		require.NoError(t, err)
		break
	}
	for _, f := range []*sharingtest.Fault{{Cut: true}, {Status: http.StatusForbidden}, {Mangle: func(b []byte) []byte { return make([]byte, len(b)) }}} {
		p.Intercept(func(call string, n int) *sharingtest.Fault {
			if call == "file" && n > 4 {
				return f
			}
			return nil
		})
		_, err := read(t.Context(), s, table("large"))
		require.Error(t, err)
	}
	mem.AssertSize(t, 0)
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

// A table of a million rows of 200 bytes is read in the memory of a few row groups, however many files are in hand.
func TestABigTableIsReadInLittleMemory(t *testing.T) {
	p := sharingtest.Start(t, sharingtest.Options{})
	p.Exec(t, "CREATE TABLE wide AS SELECT i AS id, md5(CAST(i AS VARCHAR)) || repeat('x', 168) AS text FROM range(1000000) AS g(i)")
	mem := &peak{Allocator: memory.DefaultAllocator}
	s := openWith(t, sharing.Settings{Allocator: mem, MaxInFlight: 4 << 20}, p.Connection())
	rows := int64(0)
	for b, err := range s.Read(t.Context(), table("wide")) {
		require.NoError(t, err)
		rows += b.NumRows()
	}
	require.EqualValues(t, 1_000_000, rows)
	require.Less(t, mem.most.Load(), int64(48<<20))
	require.Zero(t, mem.held.Load())
}

// customers makes a table of some rows.
func customers(rows int) string {
	return strings.Replace(allCustomers, "ALL", strconv.Itoa(rows), 1)
}

const allCustomers = `CREATE TABLE customers AS SELECT i AS customer_id, 'user' || i || '@example.com' AS email, 'First' || (i % 1000) AS first_name, 'Last' || (i % 5000) AS last_name,
'London' AS city, 'pro' AS plan, CAST(i % 100000 / 100.0 AS DECIMAL(12,2)) AS ltv, i % 500 AS visits, TIMESTAMPTZ '2025-01-01 00:00:00+00' + INTERVAL (i) SECOND AS updated_at,
i % 2 = 0 AS active FROM range(ALL) AS g(i)`

// heapNow answers the bytes of the process's heap, the peer's among them.
func heapNow() uint64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// BenchmarkRead reads 500,000 and 10,000,000 rows in eight files, one after the other and beside one another. The peer shares
// the machine.
func BenchmarkRead(b *testing.B) {
	for _, rows := range []int{500_000, 10_000_000} {
		p := sharingtest.Start(b, sharingtest.Options{})
		p.Exec(b, customers(rows))
		for name, n := range map[string]int{"one file at a time": 1, "four files at a time": 4} {
			b.Run(name+"/"+strconv.Itoa(rows), func(b *testing.B) {
				mem := &peak{Allocator: memory.DefaultAllocator}
				benchmarkRead(b, openWith(b, sharing.Settings{Allocator: mem, Parallel: n}, p.Connection()), mem, rows)
			})
		}
	}
}

func benchmarkRead(b *testing.B, s source.Source, mem *peak, rows int) {
	b.Helper()
	n, start, heap := int64(0), time.Now(), uint64(0)
	for b.Loop() {
		for r, err := range s.Read(b.Context(), table("customers")) {
			require.NoError(b, err)
			n += r.NumRows()
			heap = max(heap, heapNow())
		}
	}
	require.Zero(b, n%int64(rows))
	b.ReportMetric(float64(n)/time.Since(start).Seconds(), "rows/s")
	b.ReportMetric(float64(mem.most.Load())/(1<<20), "peak-Arrow-MiB")
	b.ReportMetric(float64(heap)/(1<<20), "peak-heap-MiB")
}
