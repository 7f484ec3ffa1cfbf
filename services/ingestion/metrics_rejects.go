package ingestion

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"millrace.dev/pkg/record"
)

// maxRejectLabels bounds how many rules rejects are told apart by, so that no mapping makes the scrape grow.
const maxRejectLabels = 1000

// otherRule stands for the rules beyond that.
const otherRule = "other"

// rejectCounter counts rejects by the rule that made them. Safe for concurrent use.
type rejectCounter struct {
	total *prometheus.CounterVec

	mu    sync.Mutex
	known map[rejectLabels]prometheus.Counter
}

// rejectLabels are the labels of a series.
type rejectLabels struct{ workspace, sync, stage, rule string }

// count counts the rejects of a batch that was just committed.
func (c *rejectCounter) count(o record.Origin, rejects []record.Reject) {
	if len(rejects) == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range rejects {
		c.of(rejectLabels{string(o.Workspace), o.SyncID, string(rejects[i].Stage), rejects[i].Rule}).Inc()
	}
}

// of answers the series of some labels, or that of all others.
func (c *rejectCounter) of(l rejectLabels) prometheus.Counter {
	if known, ok := c.known[l]; ok {
		return known
	}
	if len(c.known) >= maxRejectLabels {
		return c.total.WithLabelValues("", "", "", otherRule)
	}
	series := c.total.WithLabelValues(l.workspace, l.sync, l.stage, l.rule)
	c.known[l] = series
	return series
}
