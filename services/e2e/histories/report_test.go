package histories_test

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// totals is what was done to the seeds of a mesh that have left it.
type totals struct {
	seeds    int
	runs     int64
	rows     int64 // acked
	lost     int64
	doubled  int64
	kinds    map[string]int
	recovery []time.Duration
}

func newTotals() totals { return totals{kinds: map[string]int{}} }

func (s *totals) add(p *plot) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s.seeds++
	s.runs += p.runs
	s.rows += p.rows
	s.lost += p.lost
	s.doubled += p.doubled
	for k, n := range p.kinds {
		s.kinds[k] += n
	}
	s.recovery = append(s.recovery, p.recovery...)
}

// report prints what the seeds amounted to.
func (m *mesh) report(t *testing.T) {
	t.Helper()
	gathered, err := m.metrics.Gather()
	require.NoError(t, err)
	outcomes, rows := map[string]int64{}, int64(0)
	for _, f := range gathered {
		for _, x := range f.GetMetric() {
			switch f.GetName() {
			case "millrace_ingestion_batches_total":
				outcomes[x.GetLabel()[0].GetValue()] += int64(x.GetCounter().GetValue())
			case "millrace_ingestion_rows_total":
				rows += int64(x.GetCounter().GetValue())
			}
		}
	}
	m.stage.mu.Lock()
	defer m.stage.mu.Unlock()
	all := m.stage.totals
	slices.Sort(all.recovery)
	faults := 0
	var lines []string
	for _, k := range slices.Sorted(maps.Keys(all.kinds)) {
		faults += all.kinds[k]
		lines = append(lines, fmt.Sprintf("  %6d %s", all.kinds[k], k))
	}
	verdict := ""
	if t.Failed() {
		verdict = ", FAILED"
	}
	_, _ = fmt.Fprintf(os.Stdout, "%s: seeds %d, runs %d, faults %d, rows acked %d, applied %d, duplicates absorbed %d (repeated %d, fenced %d), lost %d, doubled %d, recovery p50 %s p99 %s%s\n%s\n",
		t.Name(), all.seeds, all.runs, faults, all.rows, rows, outcomes["repeated"]+outcomes["fenced"], outcomes["repeated"], outcomes["fenced"],
		all.lost, all.doubled, quantile(all.recovery, 50), quantile(all.recovery, 99), verdict, strings.Join(lines, "\n"))
}

// quantile answers the n-th percentile of sorted durations.
func quantile(d []time.Duration, n int) time.Duration {
	if len(d) == 0 {
		return 0
	}
	return d[min(len(d)-1, len(d)*n/100)].Round(time.Millisecond)
}
