//go:build cgo && duckdb_arrow

package bigquery_test

import (
	"fmt"
	"runtime/metrics"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/source/bigquery"
	"millrace.dev/pkg/source/bigquery/bigquerytest"
)

// BenchmarkRead reads the streams of one result, one after the other and beside one another. Rows have a key, a text, a
// decimal and an instant. The peer shares the machine, and Go's heap is that of both.
func BenchmarkRead(b *testing.B) {
	for _, rows := range []int{1_000_000, 10_000_000} {
		for _, streams := range []int{1, 4} {
			b.Run(fmt.Sprintf("%d rows by %d", rows, streams), func(b *testing.B) { benchmarkRead(b, rows, streams) })
		}
	}
}

// heap answers the bytes of objects on Go's heap.
func heap() uint64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

func benchmarkRead(b *testing.B, rows, streams int) {
	b.Helper()
	peer := bigquerytest.Start(b)
	peer.SetBatch(16_384)
	peer.Exec(b, fmt.Sprintf(`CREATE VIEW big AS SELECT i AS id, 'customer number ' || i AS name, CAST(i / 7 AS DECIMAL(12,2)) AS total,
		TIMESTAMPTZ '2026-01-01 00:00:00+00' + to_seconds(i) AS seen FROM range(%d) t(i)`, rows))
	mem := &most{Allocator: memory.NewGoAllocator()}
	s := open(b, peer, bigquery.Settings{Streams: streams, Allocator: mem})
	for b.Loop() {
		var start time.Time // the warehouse's own work comes before the first row
		n, top := int64(0), uint64(0)
		for batch, err := range s.Read(b.Context(), model("SELECT id, name, total, seen FROM big")) {
			require.NoError(b, err)
			if n == 0 {
				start = time.Now()
			}
			n += batch.NumRows()
			top = max(top, heap())
		}
		require.EqualValues(b, rows, n)
		b.ReportMetric(float64(n)/time.Since(start).Seconds(), "rows/s")
		b.ReportMetric(float64(mem.peak.Load())/(1<<20), "MiB-arrow-peak")
		b.ReportMetric(float64(top)/(1<<20), "MiB-heap-peak")
	}
}
