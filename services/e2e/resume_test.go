package e2e_test

import (
	"context"
	"os"
	"path/filepath"
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

// TestAKilledFirstLoadReadsLittleTwice kills the one-process form in the middle of a first load, when a tenth of its rows is in
// and parts are being read, and starts it again. Parts that were read to their end are not read again; those that were in work, and only
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
	m.until(ctx, t, id, func(r *schedulerv1.Run) bool {
		require.False(t, over(r), "the run ended before it could be killed")
		return r.GetIngestedRows() >= int64(n)/10
	})
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

	twice, parts := int64(0), 0
	for token := ""; ; {
		resp, err := m.scheduler.ListParts(t.Context(), &schedulerv1.ListPartsRequest{Run: id, PageToken: token})
		require.NoError(t, err)
		for _, p := range resp.GetParts() {
			if p.GetPart() == 0 {
				continue
			}
			parts++
			if p.GetEpoch() > 1 {
				twice += p.GetCounts().GetRead()
			}
		}
		if token = resp.GetNextPageToken(); token == "" {
			break
		}
	}
	t.Logf("%d rows in %d parts; killed at a tenth after %v; %d rows (%.1f %%) read twice; whole %v after the kill",
		n, parts, killed.Sub(began).Round(time.Second), twice, 100*float64(twice)/float64(n), time.Since(killed).Round(time.Second))
	require.Positive(t, twice, "nothing was in work when it was killed")
	require.LessOrEqual(t, twice*100, int64(n)*mostTwice)
}
