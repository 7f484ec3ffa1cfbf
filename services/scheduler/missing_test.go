package scheduler_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
)

func TestARunThatCannotCloseNamesPartAndBatches(t *testing.T) {
	set := quick()
	set.LossWindow = time.Millisecond // said at once; the part is kept, since nobody sees the streams empty
	m := start(t, "sqlite:"+t.TempDir()+"/c.db", set)
	r := m.trigger(&schedulerv1.TriggerRunRequest{})
	m.plan("20", "20")
	l := m.lease()
	for seq := range uint32(5) {
		require.NoError(t, m.published(l, seq, 3))
	}
	require.NoError(t, m.ingested(result(l, 1, 0, 0, 3, 0, true)))
	require.NoError(t, m.ingested(result(l, 4, 0, 0, 2, 0, false)))
	require.Empty(t, m.part(r.GetId(), 1).GetMissing(), "it is not read to its end")
	require.NoError(t, m.complete(l, 5, 15))
	require.Equal(t, []string{"batch 0 is not ingested", "batches 2 to 3 are not ingested", "batch 4 is ingested in part"}, m.part(r.GetId(), 1).GetMissing())
	m.until("the run says so", func() bool { return len(m.run(r.GetId()).GetWaitingFor()) == 1 })
	require.Contains(t, m.run(r.GetId()).GetWaitingFor()[0], "part 1: batch 0 is not ingested, and 2 more spans; it is read again")
	for _, seq := range []uint32{0, 2, 3} {
		require.NoError(t, m.ingested(result(l, seq, 0, 0, 3, 0, true)))
	}
	require.NoError(t, m.ingested(result(l, 4, 1, 2, 1, 0, true)))
	require.Empty(t, m.reaches(r.GetId(), runSucceeded).GetWaitingFor())
}

func TestTheCertificateOutlivesTheBatches(t *testing.T) {
	set := quick()
	set.KeepBatches = time.Nanosecond
	m := start(t, "sqlite:"+t.TempDir()+"/c.db", set)
	r := m.trigger(&schedulerv1.TriggerRunRequest{})
	done := m.succeeds(r.GetId(), "10")
	m.stop()
	m.up(set) // batches are forgotten at the start and from time to time
	m.until("batches are forgotten", func() bool {
		resp, err := m.runs.ListBatches(t.Context(), &schedulerv1.ListBatchesRequest{Run: r.GetId()})
		require.NoError(t, err)
		return len(resp.GetBatches()) == 0
	})
	resp, err := m.runs.GetRunCertificate(t.Context(), &schedulerv1.GetRunCertificateRequest{Id: r.GetId()})
	require.NoError(t, err)
	require.Equal(t, done.GetCertificate().String(), resp.GetCertificate().String())
	require.Equal(t, done.GetCounts().String(), resp.GetCounts().String())
}
