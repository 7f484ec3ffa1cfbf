package e2e_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
)

// mostTwice is how many of a hundred rows of a first load may be read twice after a kill.
const mostTwice = 5

// firstLoadRows answers how many rows a first load has, MILLRACE_FIRST_LOAD or else a few, and for how many a part is
// planned, so that both come in as many parts.
func firstLoadRows(t *testing.T) (rows, part int) {
	t.Helper()
	const few = 480_000
	text := os.Getenv("MILLRACE_FIRST_LOAD")
	if text == "" {
		return few, few / 48
	}
	n, err := strconv.Atoi(text)
	require.NoError(t, err, "MILLRACE_FIRST_LOAD")
	return n, 500_000
}

// TestAKilledFirstLoadReadsLittleTwice kills the one-process form in the middle of a first load, when half of its parts are read, and
// starts it again. Parts that were read to their end are not read again; those that were in work, and only
// those, have a second lease. A part counts as read twice as a whole.
func TestAKilledFirstLoadReadsLittleTwice(t *testing.T) {
	n, part := firstLoadRows(t)
	w := newWarehouse(t, n)
	c := newChild(t, "millrace", "up", "--data", filepath.Join(t.TempDir(), "data"), "--http", "none", "--extractor-part-rows", strconv.Itoa(part))
	conn := dial(t, c.addr)
	m := clients(conn, conn, conn)
	c.start(t)
	c.ready(t)
	m.apply(t, "", w.documents("customers", asIs))
	began := time.Now()
	id := m.trigger(t, "customers")
	ctx, cancel := context.WithTimeout(t.Context(), patience+time.Duration(n)*200*time.Microsecond)
	defer cancel()
	for !m.halfRead(t, id) {
		require.NoError(t, ctx.Err())
		pause(ctx, 50*time.Millisecond)
	}
	c.kill(t)
	killed := time.Now()
	c.start(t)
	c.ready(t)
	r := m.until(ctx, t, id, over)
	requireState(t, r, schedulerv1.RunState_RUN_STATE_SUCCEEDED)
	require.EqualValues(t, n, r.GetCounts().GetRead())
	require.EqualValues(t, n, r.GetCounts().GetCreated(), "lost or doubled")
	require.EqualValues(t, n, r.GetCertificate().GetSourceRows())
	require.True(t, r.GetCertificate().GetBalanced())
	require.Equal(t, r.GetCertificate().GetRowsDigest(), r.GetCertificate().GetAccountedDigest())

	twice, parts := int64(0), m.partsAbove0(t, id)
	for _, p := range parts {
		if p.GetEpoch() > 1 {
			twice += p.GetCounts().GetRead()
		}
	}
	t.Logf("%d rows in %d parts; killed after %v, when half of them were read; %d rows (%.1f %%) read twice; whole %v after the kill",
		n, len(parts), killed.Sub(began).Round(time.Second), twice, 100*float64(twice)/float64(n), time.Since(killed).Round(time.Second))
	require.Positive(t, twice, "nothing was in work when it was killed")
	require.LessOrEqual(t, twice*100, int64(n)*mostTwice)
}

// partsAbove0 answers the parts of a run but for its planning.
func (m mesh) partsAbove0(t *testing.T, id string) []*schedulerv1.Part {
	t.Helper()
	return slices.DeleteFunc(m.allParts(t, id), func(p *schedulerv1.Part) bool { return p.GetPart() == 0 })
}

// halfRead says whether half of a run's parts are read to their end.
func (m mesh) halfRead(t *testing.T, id string) bool {
	t.Helper()
	parts := m.partsAbove0(t, id)
	read := 0
	for _, p := range parts {
		if p.GetState() == schedulerv1.PartState_PART_STATE_EXTRACTED || p.GetState() == schedulerv1.PartState_PART_STATE_COMPLETE {
			read++
		}
	}
	return len(parts) > 0 && 2*read >= len(parts)
}
