package scheduler_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	configv1 "millrace.dev/gen/millrace/config/v1"
	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
	"millrace.dev/services/scheduler"
)

// mirroring answers a scheduler with a mirror by diff, whose later versions have other engines.
func mirroring(t *testing.T, sql string, later ...configv1.MirrorEngine) *mesh {
	t.Helper()
	m := start(t, sql, twice())
	m.config.mu.Lock()
	m.config.engines = map[int64]configv1.MirrorEngine{1: configv1.MirrorEngine_MIRROR_ENGINE_DIFF}
	for i, e := range later {
		m.config.engines[int64(i+2)] = e
	}
	m.config.mu.Unlock()
	m.version(1)
	return m
}

// twice is quick, and gives up after two tries.
func twice() scheduler.Settings {
	set := quick()
	set.LeftoverTries = 2
	return set
}

// version makes the mirror what it is at a version.
func (m *mesh) version(n int64) {
	y := proto.CloneOf(m.config.get("orders"))
	y.Mode, y.Version = configv1.Mode_MODE_MIRROR, n
	m.config.put(y)
}

// mirrored plays a whole run whose rows the warehouse keeps.
func (m *mesh) mirrored(state string) *schedulerv1.Run {
	m.t.Helper()
	r := m.trigger(&schedulerv1.TriggerRunRequest{}).GetId()
	m.compared(state)
	m.whole(m.lease(), 1)
	return m.reaches(r, schedulerv1.RunState_RUN_STATE_SUCCEEDED)
}

// leftover answers what is to be dropped now; nil: nothing is.
func (m *mesh) leftover() *schedulerv1.Leftover {
	m.t.Helper()
	got, err := m.work.LeaseLeftover(m.t.Context(), &schedulerv1.LeaseLeftoverRequest{Worker: "w1"})
	require.NoError(m.t, err)
	return got.GetLeftover()
}

// left waits for something to be dropped.
func (m *mesh) left() *schedulerv1.Leftover {
	m.t.Helper()
	var l *schedulerv1.Leftover
	m.until("something is left over", func() bool { l = m.leftover(); return l != nil })
	return l
}

// dropped tells how a try ended; message: why it failed.
func (m *mesh) dropped(l *schedulerv1.Leftover, message string) {
	m.t.Helper()
	req := &schedulerv1.ReportLeftoverRequest{SyncUid: l.GetSyncUid(), SyncVersion: l.GetSyncVersion(), Try: l.GetTry(), ByHand: "the tables m_x_*"}
	if message != "" {
		req.Error = &schedulerv1.RunError{Reason: "WAREHOUSE_DENIED", Message: message}
	}
	_, err := m.work.ReportLeftover(m.t.Context(), req)
	require.NoError(m.t, err)
}

// TestWhatADeletedMirrorKeptIsDropped deletes a mirror by diff while it runs: once that is over a worker is told what to drop,
// again in another process where it could not, until it could.
func TestWhatADeletedMirrorKeptIsDropped(t *testing.T) {
	onBoth(t, func(t *testing.T, sql string) {
		m := mirroring(t, sql)
		uid := m.config.get("orders").GetUid()
		m.mirrored("one")
		m.never("its next run needs it", func() bool { return m.leftover() != nil })
		open := m.trigger(&schedulerv1.TriggerRunRequest{}).GetId()
		m.compared("two")
		m.config.remove("orders")
		m.never("a run is open", func() bool { return m.leftover() != nil })
		m.whole(m.lease(), 1)
		last := m.reaches(open, schedulerv1.RunState_RUN_STATE_SUCCEEDED)

		l := m.left()
		require.Equal(t, []any{"default", "orders", uid, int64(1), last.GetRunNo(), int64(1)},
			[]any{l.GetWorkspace(), l.GetSync(), l.GetSyncUid(), l.GetSyncVersion(), l.GetLastRunNo(), l.GetTry()})
		m.dropped(l, "no")
		m.stop()
		m = m.another(twice())
		again := m.left()
		require.EqualValues(t, 2, again.GetTry())
		m.dropped(l, "") // told late, of a try that another has followed
		m.dropped(again, "")
		m.dropped(again, "no")
		m.never("it is dropped", func() bool { return m.leftover() != nil })
		require.Empty(t, m.run(open).GetNotices())
	})
}

// TestWhatCannotBeDroppedIsTold gives up after so many tries, whether a worker told how they ended or died, and says what to
// drop by hand.
func TestWhatCannotBeDroppedIsTold(t *testing.T) {
	onBoth(t, func(t *testing.T, sql string) {
		for _, told := range []bool{true, false} {
			m := mirroring(t, sql)
			last := m.mirrored("one")
			m.config.remove("orders")
			for range 2 {
				if l := m.left(); told {
					m.dropped(l, "may not drop them")
				}
			}
			var notices string
			m.until("the run says so", func() bool {
				require.Nil(t, m.leftover())
				notices = strings.Join(m.run(last.GetId()).GetNotices(), "\n")
				return notices != ""
			})
			if told {
				require.Contains(t, notices, "may not drop them; drop by hand the tables m_x_*")
			} else {
				require.Contains(t, notices, "no worker has told how the last try ended; drop by hand")
			}
			m.never("it is given up", func() bool { return m.leftover() != nil })
			m.stop()
		}
	})
}

// TestWhatAMirrorKeptBeforeItsEngineWasSwapped is left over at once, without a run of the new engine; by diff again the next
// run has nothing to compare with.
func TestWhatAMirrorKeptBeforeItsEngineWasSwapped(t *testing.T) {
	onBoth(t, func(t *testing.T, sql string) {
		diff, index := configv1.MirrorEngine_MIRROR_ENGINE_DIFF, configv1.MirrorEngine_MIRROR_ENGINE_ROW_INDEX
		m := mirroring(t, sql, diff, index, diff, index)
		m.mirrored("one")
		m.version(2)
		m.never("it keeps them there as before", func() bool { return m.leftover() != nil })
		second := m.mirrored("two")
		m.version(3)
		l := m.left()
		require.Equal(t, []int64{2, second.GetRunNo()}, []int64{l.GetSyncVersion(), l.GetLastRunNo()})
		m.dropped(l, "")

		m.version(4)
		third := m.trigger(&schedulerv1.TriggerRunRequest{}).GetId()
		require.Nil(t, m.compared("three").GetBase(), "what it would be compared with is dropped")
		m.whole(m.lease(), 1)
		m.reaches(third, schedulerv1.RunState_RUN_STATE_SUCCEEDED)
		m.version(5)
		fourth := m.trigger(&schedulerv1.TriggerRunRequest{}) // swapped and run at once
		l = m.left()
		require.Equal(t, []int64{4, fourth.GetRunNo() - 1}, []int64{l.GetSyncVersion(), l.GetLastRunNo()}, "the new run hinders nothing")
	})
}
