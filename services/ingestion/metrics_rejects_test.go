package ingestion

import (
	"fmt"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/record"
)

func TestRejectsAreCountedByRuleWithinABound(t *testing.T) {
	m, err := newMetrics(prometheus.NewRegistry())
	require.NoError(t, err)
	o := record.Origin{Workspace: "w", SyncID: "s"}
	m.rejects.count(o, []record.Reject{{Stage: record.StageMap, Rule: "rules[0]"}, {Stage: record.StageIngest, Rule: "no_identity"}, {Stage: record.StageMap, Rule: "rules[0]"}})
	require.InDelta(t, 2, testutil.ToFloat64(m.rejects.total.WithLabelValues("w", "s", string(record.StageMap), "rules[0]")), 0)
	for i := range 2 * maxRejectLabels {
		m.rejects.count(o, []record.Reject{{Stage: record.StageMap, Rule: fmt.Sprintf("rules[%d]", i)}})
	}
	require.Equal(t, maxRejectLabels+1, testutil.CollectAndCount(m.rejects.total))
	require.InDelta(t, 3, testutil.ToFloat64(m.rejects.total.WithLabelValues("w", "s", string(record.StageMap), "rules[0]")), 0, "who is known counts on")
	require.InDelta(t, maxRejectLabels+1, testutil.ToFloat64(m.rejects.total.WithLabelValues("", "", "", otherRule)), 0)
}
