package scheduler_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
	"millrace.dev/pkg/id"
)

// forget makes the store what it was before anything of a part came.
func (s *ingestionService) forget(runID string, part uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, _ := id.ParseRun(runID)
	delete(s.applied, id.Part{Run: r, Part: part})
	delete(s.fences, id.Part{Run: r, Part: part})
}

func TestWhatARestoredStoreHasLostIsReadAgainBeforeTheRunCloses(t *testing.T) {
	onBoth(t, func(t *testing.T, sql string) {
		m := start(t, sql, quick())
		r := m.trigger(&schedulerv1.TriggerRunRequest{})
		m.plan("20", "10", "20")
		a, b := m.lease(), m.lease()
		m.whole(a, 2)
		m.store.forget(r.GetId(), a.GetPart())
		m.whole(b, 1)
		again := m.lease()
		require.Equal(t, a.GetPart(), again.GetPart(), "the fence before the close has found it")
		require.EqualValues(t, 2, again.GetEpoch())
		require.Zero(t, m.part(r.GetId(), a.GetPart()).GetTries(), "the warehouse is not at fault")
		m.whole(again, 2)
		end := m.reaches(r.GetId(), schedulerv1.RunState_RUN_STATE_SUCCEEDED)
		require.EqualValues(t, 9, end.GetCounts().GetCreated())
		require.True(t, end.GetCertificate().GetBalanced())
	})
}

func TestEpochsThatARestoredDatabaseDoesNotKnowOfAreNotUsedAgain(t *testing.T) {
	m := start(t, "sqlite:"+t.TempDir()+"/c.db", quick())
	r, l := m.running("10")
	later := result(l, 0, 0, 0, 3, 0, true)
	later.Batch.Epoch = 4
	require.True(t, m.store.commit(later), "of a lease that the copy lacks")
	m.release(l)
	next := m.lease()
	require.EqualValues(t, 5, next.GetEpoch())
	m.whole(next, 1)
	end := m.reaches(r.GetId(), schedulerv1.RunState_RUN_STATE_SUCCEEDED)
	require.EqualValues(t, 3, end.GetCounts().GetRead())
}
