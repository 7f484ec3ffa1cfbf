package e2e_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
)

const (
	runHeld      = schedulerv1.RunState_RUN_STATE_HELD
	runSucceeded = schedulerv1.RunState_RUN_STATE_SUCCEEDED
)

func (m mesh) approve(t *testing.T, id string) *schedulerv1.Run {
	t.Helper()
	_, err := m.scheduler.ApproveRun(t.Context(), &schedulerv1.ApproveRunRequest{Workspace: m.workspace, Id: id})
	require.NoError(t, err)
	return m.end(t, id)
}

// TestAGuardHoldsARunBeforeItWrites changes half of a guarded sync's rows. The dry pass finds it, nothing is written
// before the owner approves, and what he approves is counted as an unguarded run would.
func TestAGuardHoldsARunBeforeItWrites(t *testing.T) {
	const n = 20_000
	m := allInOne(t).in("guarded")
	w := newWarehouse(t, n)
	m.apply(t, "", w.documents("customers", asIs)+"guard: {updates: {max_percent: 20, min_rows: 100}}\n")
	first := m.run(t, "customers")
	require.EqualValues(t, n, first.GetCounts().GetCreated())
	require.Nil(t, first.GetHold())
	before := m.digest(t).GetDigest()

	change := "UPDATE customers SET first_name = first_name || '!', updated_at = updated_at + INTERVAL 1 DAY WHERE id % 2 = 0"
	w.exec(t, change)
	id := m.trigger(t, "customers")
	held := m.end(t, id)
	require.Equal(t, runHeld, held.GetState(), held.GetError().GetMessage())
	require.Equal(t, "guard_breached", held.GetHold().GetReason())
	require.EqualValues(t, n/2, held.GetCounts().GetUpdated(), "what the run would do")
	require.NotEmpty(t, held.GetHold().GetSamples())
	for _, x := range held.GetHold().GetSamples() {
		require.Equal(t, "updated", x.GetEffect())
		require.Len(t, x.GetKeyValues(), 1)
	}
	require.Equal(t, before, m.digest(t).GetDigest(), "nothing is written")

	done := m.approve(t, id)
	requireState(t, done, runSucceeded)
	require.EqualValues(t, n/2, done.GetCounts().GetUpdated())
	require.Equal(t, done.GetCounts().GetRead(), done.GetCounts().GetUpdated()+done.GetCounts().GetUnchanged(), "the dry pass is not counted")
	after := m.digest(t).GetDigest()
	require.NotEqual(t, before, after)

	w.exec(t, change)
	id = m.trigger(t, "customers")
	require.Equal(t, runHeld, m.end(t, id).GetState())
	dropped, err := m.scheduler.DropRun(t.Context(), &schedulerv1.DropRunRequest{Workspace: m.workspace, Id: id})
	require.NoError(t, err)
	require.Equal(t, schedulerv1.RunState_RUN_STATE_CANCELLED, dropped.GetRun().GetState())
	require.Equal(t, after, m.digest(t).GetDigest(), "a dropped run leaves the store as it was")
}

// TestACompleteReadThatFindsNothingIsHeld empties the table of a sync in mode full.
func TestACompleteReadThatFindsNothingIsHeld(t *testing.T) {
	m := allInOne(t).in("emptied")
	w := newWarehouse(t, 1000)
	m.apply(t, "", strings.Replace(w.documents("customers", asIs), "mode: incremental", "mode: full", 1))
	m.run(t, "customers")
	before := m.digest(t).GetDigest()
	w.exec(t, "DELETE FROM customers")
	id := m.trigger(t, "customers")
	held := m.end(t, id)
	require.Equal(t, runHeld, held.GetState(), held.GetError().GetMessage())
	require.Equal(t, "empty_read", held.GetHold().GetReason())
	requireState(t, m.approve(t, id), runSucceeded)
	require.Equal(t, before, m.digest(t).GetDigest(), "mode full deletes nothing")
}

// TestTooManyRejectsHoldARun maps a column of words to numbers.
func TestTooManyRejectsHoldARun(t *testing.T) {
	m := allInOne(t).in("rejected")
	w := newWarehouse(t, 2000)
	m.apply(t, "", w.documents("customers", "{column: plan, to: plan, type: integer}")+"reject_limit: {percent: 50, of: 1000}\n")
	id := m.trigger(t, "customers")
	held := m.end(t, id)
	require.Equal(t, runHeld, held.GetState(), held.GetError().GetMessage())
	require.Equal(t, "reject_limit", held.GetHold().GetReason())
	done := m.approve(t, id)
	require.Equal(t, schedulerv1.RunState_RUN_STATE_PARTIALLY_SUCCEEDED, done.GetState(), done.GetError().GetMessage())
	require.EqualValues(t, 2000, done.GetCounts().GetRejected())
	require.True(t, done.GetCertificate().GetBalanced())
}
