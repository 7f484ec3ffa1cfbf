package scheduler_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
)

// A run of as many parts as one may have, two of them in work when everything is killed: those two are given out again,
// the finished ones never, the others for the first time. That is one row in twenty read twice at most.
func TestAfterAKillOnlyTheUnfinishedPartsAreReadAgain(t *testing.T) {
	const parts, finished, inWork = 48, 20, 2
	set := quick()
	set.Lease = 5 * time.Second // so that a part in work is soon lost, and one that is worked on is not
	m := start(t, "sqlite:"+t.TempDir()+"/c.db", set)
	r := m.trigger(&schedulerv1.TriggerRunRequest{})
	var highs []string
	for i := range parts {
		highs = append(highs, strconv.Itoa(i+1))
	}
	m.plan(strconv.Itoa(parts), highs...)
	for range finished {
		m.whole(m.lease(), 1)
	}
	for range inWork {
		require.NoError(t, m.published(m.lease(), 0, 3))
	}
	m.stop()

	o := m.another(quick())
	again := 0
	for range parts - finished {
		l := o.lease()
		if l.GetEpoch() > 1 {
			again++
			require.LessOrEqual(t, l.GetPart(), uint32(finished+inWork), "a part that was in work")
		}
		require.Greater(t, l.GetPart(), uint32(finished), "a finished part is never given out again")
		o.whole(l, 1)
	}
	done := o.reaches(r.GetId(), schedulerv1.RunState_RUN_STATE_SUCCEEDED)
	require.Equal(t, inWork, again)
	require.LessOrEqual(t, 20*again, parts, "one row in twenty")
	require.EqualValues(t, 3*parts, done.GetCounts().GetRead())
	require.True(t, done.GetCertificate().GetBalanced())
}
