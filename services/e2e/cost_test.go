package e2e_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	configv1 "millrace.dev/gen/millrace/config/v1"
	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/source/bigquery/bigquerytest"
)

// jobs answers how many queries the peer was asked to run, dry runs apart.
func jobs(peer *bigquerytest.Server) int {
	n := 0
	for _, c := range peer.Calls("jobs.insert") {
		if !c.Dry {
			n++
		}
	}
	return n
}

// A run says what its queries were estimated to cost and what they did; a budget below the estimate refuses the next run
// with it before the query is paid for, and a raised one lets it through.
func TestARunSaysWhatItCostsAndABudgetRefusesIt(t *testing.T) {
	const n = 5000
	peer := bigQuery(t, n)
	m := startOne(t, databases{}).in("cost")
	documents := bigQueryDocuments(t, peer)
	m.apply(t, "", documents)
	preview, err := m.config.PreviewSync(t.Context(), &configv1.PreviewSyncRequest{Workspace: m.workspace, Id: "orders", Limit: 1})
	require.NoError(t, err)
	require.Positive(t, preview.GetEstimatedBytesScanned())
	first := m.run(t, "orders")
	cost, estimated := first.GetCost().GetBytesScanned(), first.GetEstimatedCost().GetBytesScanned()
	require.Positive(t, estimated)
	require.LessOrEqual(t, preview.GetEstimatedBytesScanned(), estimated, "the run looks at the iterator beside")
	require.Equal(t, estimated, cost, "the peer reads what it says that it would")
	require.Greater(t, first.GetCost().GetBytesBilled(), cost, "BigQuery rounds up")
	require.NotNil(t, first.GetCost().BytesScanned)

	budget := func(size string) string {
		return strings.Replace(documents, "schedule: {on_demand: {}}", "schedule: {on_demand: {}}\nbudget: {bytes_scanned: "+size+"}", 1)
	}
	m.apply(t, "", budget("1KB"))
	paid := jobs(peer)
	refused := m.end(t, m.trigger(t, "orders"))
	require.Equal(t, schedulerv1.RunState_RUN_STATE_FAILED, refused.GetState())
	require.Equal(t, fault.ReasonBudgetExceeded.Word(), refused.GetError().GetReason())
	require.Contains(t, refused.GetError().GetMessage(), "budget.bytes_scanned of its sync is 1000")
	require.Zero(t, refused.GetCounts().GetRead())
	require.Nil(t, refused.GetCost(), "nothing was paid for")
	require.Equal(t, paid, jobs(peer))
	eventually(t, "the sync is faulted", func() bool {
		return m.sync(t, "orders").GetStatus() == configv1.SyncStatus_SYNC_STATUS_FAULTED
	})
	require.Contains(t, m.sync(t, "orders").GetStatusNextStep(), "raise the sync's budget")

	m.apply(t, "", budget("1GB"))
	again := m.run(t, "orders", full)
	require.Equal(t, schedulerv1.RunState_RUN_STATE_SUCCEEDED, again.GetState())
	require.EqualValues(t, n, again.GetCounts().GetUnchanged())
	require.Equal(t, cost, again.GetCost().GetBytesScanned())
	eventually(t, "the sync is healthy again", func() bool {
		return m.sync(t, "orders").GetStatus() == configv1.SyncStatus_SYNC_STATUS_HEALTHY
	})
}
