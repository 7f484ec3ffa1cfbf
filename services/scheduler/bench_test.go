package scheduler_test

import (
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
	"millrace.dev/pkg/testenv"
)

// BenchmarkReports is one batch per iteration: reported as published and as ingested, 32 callers at once.
func BenchmarkReports(b *testing.B) {
	for name, sql := range map[string]func() string{
		"sqlite":   func() string { return "sqlite:" + filepath.Join(b.TempDir(), "c.db") },
		"postgres": func() string { return testenv.Postgres(b) },
	} {
		b.Run(name, func(b *testing.B) {
			m := start(b, sql(), quick())
			m.trigger(&schedulerv1.TriggerRunRequest{})
			m.plan("10", "10")
			l := m.lease()
			var (
				seq atomic.Int64
				wg  sync.WaitGroup
			)
			b.ResetTimer()
			for range 32 {
				wg.Go(func() {
					for {
						i := seq.Add(1) - 1
						if i >= int64(b.N) {
							return
						}
						if err := m.published(l, uint32(i), 3); err != nil {
							b.Error(err)
						}
						if err := m.ingested(result(l, uint32(i), 0, 0, 3, 0, true)); err != nil {
							b.Error(err)
						}
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			require.EqualValues(b, 3*b.N, m.run(l.GetRun()).GetIngestedRows())
		})
	}
}
