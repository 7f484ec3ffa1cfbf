//go:build cgo && duckdb_arrow

package extractor_test

import (
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/app"
	"millrace.dev/services/extractor"
)

// BenchmarkPart reads a million rows of ten columns and publishes them to an embedded broker; run it with -benchtime 1x.
func BenchmarkPart(b *testing.B) {
	m := newMesh(b, func(_ *app.Env, s *extractor.Settings) { s.Window = 8 })
	m.warehouse(`CREATE TABLE people AS SELECT i AS customer_id, 'user'||i||'@example.com' AS email, 'First'||(i%1000) AS first_name, 'Last'||(i%5000) AS last_name, ['London','Paris','Berlin','Madrid','Rome'][1+i%5] AS city, ['free','pro','enterprise'][1+i%3] AS plan, (i%100000)/100.0::double AS ltv, i%500 AS visits, TIMESTAMP '2025-01-01' + INTERVAL (i) SECOND AS updated_at, (i%2=0) AS active FROM range(1000000) t(i)`)
	part := m.planned()[0]
	for b.Loop() {
		start, before := time.Now(), cpu(b)
		done := m.work(part)
		require.Nil(b, done.GetError())
		b.ReportMetric(float64(done.GetRows())/time.Since(start).Seconds(), "rows/s")
		b.ReportMetric(float64((cpu(b)-before).Nanoseconds())/float64(done.GetRows()), "cpu-ns/row")
		b.ReportMetric(float64(done.GetBatches()), "batches")
		part.Epoch++
	}
}

func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
