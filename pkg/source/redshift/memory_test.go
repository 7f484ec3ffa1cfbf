package redshift_test

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

	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/source"
	"millrace.dev/pkg/source/redshift"
	"millrace.dev/pkg/source/redshift/redshifttest"
)

func TestMemoryIsGivenBack(t *testing.T) {
	signIn(t)
	for name, connection := range map[string]func(*redshifttest.Peer) resource.Connection{"by cursor": (*redshifttest.Peer).Connection, "by files": (*redshifttest.Peer).Unloading} {
		t.Run(name, func(t *testing.T) {
			mem := memory.NewCheckedAllocator(memory.DefaultAllocator)
			defer mem.AssertSize(t, 0)
			p := redshifttest.Start(t, redshifttest.Options{})
			s, err := redshift.New(redshift.Settings{Allocator: mem}).Open(t.Context(), connection(p))
			require.NoError(t, err)
			defer func() { require.NoError(t, s.Close()) }()
			got, err := through(t, s, model(many))
			require.NoError(t, err)
			require.Len(t, got, 20000)
			for _, f := range []redshifttest.Fault{{Cut: true}, {Status: http.StatusForbidden, Code: "AccessDenied"}} {
				p.Intercept(on("GetObject", 3, f))
				_, _ = through(t, s, model(many)) // either way
				p.Intercept(on("fetch", 3, f))
				_, _ = read(t.Context(), s, model(many))
			}
			p.Intercept(nil)
			q := model(many)
			q.Full = true
			plan, err := s.(source.Planner).Plan(t.Context(), q, 4)
			require.NoError(t, err)
			q.Snapshot, q.Range = plan.Snapshot, plan.Parts[0]
			for b, err := range s.Read(t.Context(), q) {
				require.NoError(t, err)
				require.NotZero(t, b.NumRows())
				break
			}
		})
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

// A result of 60 MB is read in the memory of a few batches, and files are downloaded as they are read.
func TestABigResultIsReadInLittleMemory(t *testing.T) {
	signIn(t)
	q := model("SELECT i AS id, repeat('x', 200) AS text FROM generate_series(1, 300000) AS g(i)")
	q.Full = true
	for name, connection := range map[string]func(*redshifttest.Peer) resource.Connection{"by cursor": (*redshifttest.Peer).Connection, "by files": (*redshifttest.Peer).Unloading} {
		t.Run(name, func(t *testing.T) {
			p := redshifttest.Start(t, redshifttest.Options{Slices: 12})
			mem := &peak{Allocator: memory.DefaultAllocator}
			s := openWith(t, redshift.Settings{Allocator: mem, LookAhead: 2}, connection(p))
			plan, err := s.(source.Planner).Plan(t.Context(), q, 1)
			require.NoError(t, err)
			p.Intercept(nil)
			rows, batches := int64(0), 0
			q.Snapshot, q.Range = plan.Snapshot, plan.Parts[0]
			for b, err := range s.Read(t.Context(), q) {
				require.NoError(t, err)
				rows += b.NumRows()
				if batches++; batches == 1 {
					require.LessOrEqual(t, p.Calls()["GetObject"], 1+1+2, "the manifest, the file that is read, and the look-ahead")
				}
			}
			require.EqualValues(t, 300_000, rows)
			require.Less(t, mem.most.Load(), int64(32<<20))
			require.Zero(t, mem.held.Load())
		})
	}
}

// people selects some rows of ten columns.
func people(rows int) string {
	return strings.Replace(allPeople, "ALL", strconv.Itoa(rows), 1)
}

const allPeople = `SELECT i AS customer_id, 'user' || i || '@example.com' AS email, 'First' || (i % 1000) AS first_name, 'Last' || (i % 5000) AS last_name, 'London' AS city, 'pro' AS plan,
CAST(i % 100000 / 100.0 AS DECIMAL(12,2)) AS ltv, i % 500 AS visits, CAST('2025-01-01' AS TIMESTAMP) AS updated_at, i % 2 = 0 AS active FROM generate_series(1, ALL) AS g(i)`

// heapNow answers the bytes of the process's heap, the peer's among them.
func heapNow() uint64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// BenchmarkRead reads 500,000 and 10,000,000 rows of ten columns. By files the UNLOAD, which is the peer's work, is not timed.
func BenchmarkRead(b *testing.B) {
	signIn(b)
	for name, connection := range ways() {
		for _, rows := range []int{500_000, 10_000_000} {
			b.Run(name+"/"+strconv.Itoa(rows), func(b *testing.B) {
				benchmarkRead(b, connection(redshifttest.Start(b, redshifttest.Options{Slices: 8})), rows)
			})
		}
	}
}

func benchmarkRead(b *testing.B, c resource.Connection, rows int) {
	b.Helper()
	mem := &peak{Allocator: memory.DefaultAllocator}
	s := openWith(b, redshift.Settings{Allocator: mem}, c)
	q := model(people(rows))
	q.Full = true
	plan, err := s.(source.Planner).Plan(b.Context(), q, 1)
	require.NoError(b, err)
	q.Snapshot, q.Range = plan.Snapshot, plan.Parts[0]
	n, start, heap := int64(0), time.Now(), uint64(0)
	for b.Loop() {
		for r, err := range s.Read(b.Context(), q) {
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
