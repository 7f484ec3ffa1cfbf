//go:build cgo && duckdb_arrow

package bigquery_test

import (
	"testing"

	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/source/bigquery"
	"millrace.dev/pkg/source/bigquery/bigquerytest"
)

// BenchmarkRead reads the parts of one plan: four streams of the peer, one after the other and beside one another. Rows
// have a key, a text, a decimal and an instant. The peer shares the machine.
func BenchmarkRead(b *testing.B) {
	const rows = 1_000_000
	peer := bigquerytest.Start(b)
	peer.SetBatch(16_384)
	peer.Exec(b, `CREATE TABLE big AS SELECT i AS id, 'customer number ' || i AS name, CAST(i / 7 AS DECIMAL(12,2)) AS total,
		TIMESTAMPTZ '2026-01-01 00:00:00+00' + INTERVAL (i) SECOND AS seen FROM range(1000000) t(i)`)
	for _, streams := range []int{1, 4} {
		b.Run(map[int]string{1: "one stream", 4: "four streams"}[streams], func(b *testing.B) {
			mem := &most{Allocator: memory.NewGoAllocator()}
			s := open(b, peer, bigquery.Settings{Streams: streams, Allocator: mem})
			for b.Loop() {
				n := int64(0)
				for batch, err := range s.Read(b.Context(), model("SELECT id, name, total, seen FROM big")) {
					require.NoError(b, err)
					n += batch.NumRows()
				}
				require.EqualValues(b, rows, n)
			}
			b.ReportMetric(float64(rows*b.N)/b.Elapsed().Seconds(), "rows/s")
			b.ReportMetric(float64(mem.peak.Load())/(1<<20), "MiB-arrow")
		})
	}
}
