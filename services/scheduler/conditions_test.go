package scheduler

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/run"
)

// wrong answers conditions that began at an instant.
func wrong(at time.Time, events ...resource.AlertEvent) conditions {
	out := conditions{}
	for _, e := range events {
		out[e] = at
	}
	return out
}

func TestWhatTheEndOfARunChanges(t *testing.T) {
	const (
		failed, partial, held   = resource.AlertFailed, resource.AlertPartiallySucceeded, resource.AlertHeld
		faulted, late           = resource.AlertFaulted, resource.AlertLate
		unchanged, healthy, ill = resource.SyncStatus(""), resource.Healthy, resource.Faulted
	)
	type list = []resource.AlertEvent
	begun := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name                string
		was                 list
		run                 runRow
		status              resource.SyncStatus
		mended              bool
		before, after, kept list
	}{
		{"a first failure", nil, runRow{Lane: live, State: run.Failed}, unchanged, false, nil, list{failed}, list{failed}},
		{"the next one", list{failed}, runRow{Lane: live, State: run.Failed}, unchanged, false, list{failed}, list{failed}, list{failed}},
		{"one that faults the sync", list{failed, late}, runRow{Lane: live, State: run.Failed}, ill, false, list{failed, late}, list{faulted, failed, late}, list{faulted, failed, late}},
		{"keys that have changed fault it too", nil, runRow{Lane: live, State: run.Failed}, resource.ResyncRequired, false, nil, list{faulted, failed}, list{faulted, failed}},
		{"a success by hand", list{faulted, failed, late}, runRow{Lane: live, State: run.Succeeded}, healthy, false, list{faulted, failed, late}, list{late}, list{late}},
		{"rejects", list{failed}, runRow{Lane: live, State: run.PartiallySucceeded}, unchanged, false, list{failed}, list{partial}, list{partial}},
		{"no rejects any more", list{partial}, runRow{Lane: live, State: run.Succeeded}, unchanged, false, list{partial}, nil, nil},
		{"a held run that is dropped", list{failed, held}, runRow{Lane: live, State: run.Cancelled, Facts: runFacts{Hold: &hold{}}}, healthy, false, list{failed, held}, list{failed}, list{failed}},
		{"a cancelled run", list{failed}, runRow{Lane: live, State: run.Cancelled}, unchanged, false, list{failed}, list{failed}, list{failed}},

		{"a backfill fails beside a live lane that does", list{failed}, runRow{Lane: history, State: run.Failed}, healthy, false, nil, list{failed}, list{failed}},
		{"a backfill fails beside one that does not", nil, runRow{Lane: history, State: run.Failed}, healthy, false, nil, list{failed}, nil},
		{"a backfill faults the sync", nil, runRow{Lane: history, State: run.Failed}, ill, false, nil, list{faulted, failed}, list{faulted}},
		{"a backfill succeeds", nil, runRow{Lane: history, State: run.Succeeded}, unchanged, false, nil, nil, nil},
		{"a retry of a backfill that failed succeeds", nil, runRow{Lane: history, State: run.Succeeded}, healthy, true, list{failed}, nil, nil},
		{"and the live lane fails still", list{failed}, runRow{Lane: history, State: run.Succeeded}, unchanged, true, list{failed}, list{failed}, list{failed}},
		{"a backfill has rejects", list{partial}, runRow{Lane: history, State: run.PartiallySucceeded}, unchanged, false, nil, list{partial}, list{partial}},
		{"a held backfill is dropped", nil, runRow{Lane: history, State: run.Cancelled, Facts: runFacts{Hold: &hold{}}}, healthy, false, list{held}, nil, nil},
		{"a backfill is cancelled that was approved", nil, runRow{Lane: history, State: run.Cancelled, Facts: runFacts{Hold: &hold{Reason: "guard_breached"}, Approved: []string{"guard_breached"}}}, healthy, false, nil, nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.run.EndTime = begun.Add(time.Hour)
			was := wrong(begun, c.was...)
			got := closing(was, c.run, c.status, c.mended)
			require.Equal(t, c.before, got.before.list())
			require.Equal(t, c.after, got.after.list())
			require.Equal(t, c.kept, got.kept.list())
			for _, e := range c.was {
				if since, ok := got.kept[e]; ok {
					require.Equal(t, begun, since, "%s goes on since it began", e)
				}
			}
		})
	}
}

func TestWhatAHoldChanges(t *testing.T) {
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	held := []resource.AlertEvent{resource.AlertHeld}
	for _, l := range []lane{live, history} {
		begins := holding(nil, runRow{Lane: l}, at)
		require.Empty(t, begins.before.list())
		require.Equal(t, held, begins.after.list())
		ends := approving(begins.kept, runRow{Lane: l}, at)
		require.Equal(t, held, ends.before.list())
		require.Empty(t, ends.after.list())
		require.Empty(t, ends.kept.list())
	}
}

func TestDataIsLateByItsGoal(t *testing.T) {
	now := time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)
	y := scheduledSync{State: resource.Active, Freshness: 2 * time.Hour, ActiveSince: now.Add(-24 * time.Hour)}
	fresh := func(at time.Time) syncRow { return syncRow{Facts: syncFacts{Fresh: at}} }
	require.True(t, late(y, syncRow{}, now), "nothing has come in since it became active")
	require.True(t, late(y, fresh(now.Add(-2*time.Hour-time.Second)), now))
	require.False(t, late(y, fresh(now.Add(-2*time.Hour)), now))
	require.True(t, late(y, fresh(now.AddDate(1, 0, 0)), now), "what a wrong clock stamped is not believed")

	y.ActiveSince = now.Add(-time.Hour)
	require.False(t, late(y, fresh(now.Add(-20*time.Hour)), now), "it was paused; its time counts from its activation")
	y.ActiveSince = time.Time{}
	require.False(t, late(y, syncRow{}, now))
	y.ActiveSince, y.Freshness = now.Add(-24*time.Hour), 0
	require.False(t, late(y, syncRow{}, now), "it has no goal")
	y.Freshness, y.State = time.Hour, resource.Paused
	require.False(t, late(y, syncRow{}, now))
}

func TestTriesOfAnAlertWaitLongerEachTime(t *testing.T) {
	for n, most := range map[int64]time.Duration{1: 5 * time.Second, 2: 10 * time.Second, 5: 80 * time.Second, 50: time.Hour} {
		for range 20 {
			d := alertWait(5*time.Second, n, 0)
			require.GreaterOrEqual(t, d, most/2)
			require.LessOrEqual(t, d, most)
		}
	}
	require.Equal(t, 10*time.Minute, alertWait(time.Second, 1, 10*time.Minute), "as long as the receiver asks for")
	require.Equal(t, time.Hour, alertWait(time.Second, 1, 10*time.Hour))
}
