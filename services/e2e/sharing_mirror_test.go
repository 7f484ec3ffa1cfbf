//go:build cgo && duckdb_arrow

package e2e_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/source/sharing/sharingtest"
)

// newShareLedger answers a table with n rows in a share with its history and its feed of changes.
func newShareLedger(t *testing.T, n int) (*ledger, *sharingtest.Peer) {
	t.Helper()
	p := sharingtest.Start(t, sharingtest.Options{PageFiles: 2})
	x := &ledger{columns: []string{"plan", "city"}, rows: make(map[int]map[string]string, n), next: 1, engine: "native"}
	x.connection = fmt.Sprintf("delta_sharing: {share: %s, schema: %s, profile: '%s'}", sharingtest.Share, sharingtest.Schema, p.Profile())
	x.exec = func(t *testing.T, statements ...string) { p.Exec(t, strings.Join(statements, ";")) }
	x.begin(t, n)
	return x, p
}

// TestMirrorsOfAShareThroughTheirHistories edits a table at random, has reads fail and find nothing, and has the feed lose
// its files: after each run the platform has the table and nothing else, and each change was counted once.
func TestMirrorsOfAShareThroughTheirHistories(t *testing.T) {
	t.Parallel()
	m := startOne(t, databases{}).in("share")
	r := rand.New(rand.NewPCG(17, 3)) //nolint:gosec // a test's own history
	x, p := newShareLedger(t, 1000)
	x.play(t, m, nil)
	for i := range 7 {
		before := x.copy()
		x.edit(t, r)
		switch i {
		case 1:
			x.fail(t, m)
		case 3:
			x.empty(t, m)
		case 5:
			p.Vacuum(t, "people")
		}
		x.play(t, m, before)
	}
}

// TestAMirrorOfAShareReadsWhatHasChanged changes few rows of many, over several versions of the table: these are read, once
// each, and by either engine, whichever was there before. A feed whose files are not there any more is told of, everything
// is read anew and recognised, and the next run goes by the feed again.
func TestAMirrorOfAShareReadsWhatHasChanged(t *testing.T) {
	t.Parallel()
	m := startOne(t, databases{}).in("few")
	x, p := newShareLedger(t, 1000)
	var before map[int]map[string]string
	change := func(value string) {
		before = x.copy()
		x.exec(t, "UPDATE people SET plan = 'passing' WHERE id % 100 = 50")
		x.exec(t, "UPDATE people SET plan = '"+value+"' WHERE id % 100 = 50", fmt.Sprintf("DELETE FROM people WHERE id IN (%d, %d)", x.next-1, x.next-2))
		for id := range x.rows {
			if id%100 == 50 {
				x.rows[id]["plan"] = value
			}
		}
		delete(x.rows, x.next-1)
		delete(x.rows, x.next-2)
		x.insert(t, 3)
	}
	for n, engine := range []string{"native", "row_index", "native"} {
		x.engine = engine
		x.play(t, m, before)
		for i := range 2 {
			change(fmt.Sprint(engine, n, i))
			p.ExpireLinks()
			got := x.play(t, m, before)
			if engine == "row_index" {
				require.EqualValues(t, len(x.rows), got.GetCounts().GetRead())
			} else {
				require.EqualValues(t, 13, got.GetCounts().GetRead(), "ten that changed and three that came")
			}
			require.EqualValues(t, 2, got.GetCounts().GetDeleted())
			require.Empty(t, got.GetNotices())
		}
		before = x.copy()
	}
	change("lost")
	p.Vacuum(t, "people")
	got := x.play(t, m, before)
	require.EqualValues(t, len(x.rows), got.GetCounts().GetRead())
	require.Len(t, got.GetNotices(), 1)
	require.Contains(t, got.GetNotices()[0], "cannot be read any more")
	require.Zero(t, m.run(t, "people").GetCounts().GetRead(), "nothing has changed")
	change("found")
	got = x.play(t, m, before)
	require.EqualValues(t, 13, got.GetCounts().GetRead())
	require.Empty(t, got.GetNotices())
}

// TestAMirrorOfAShareWithoutAFeedFails tells what the provider does, and writes nothing.
func TestAMirrorOfAShareWithoutAFeedFails(t *testing.T) {
	m := startOne(t, databases{}).in("feedless")
	x, p := newShareLedger(t, 10)
	p.Set("people", sharingtest.Table{NoFeed: true})
	m.apply(t, "", x.documents())
	got := m.end(t, m.trigger(t, "people"))
	require.Contains(t, got.GetError().GetMessage(), "delta.enableChangeDataFeed = true")
	require.Empty(t, m.stored(t))
	x.engine = "row_index"
	x.play(t, m, nil)
}
