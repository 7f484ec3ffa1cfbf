package e2e_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/source/snowflake/snowflaketest"
)

// newSnowflakeLedger answers a table with n rows in an account of Snowflake that tracks its changes and lets snapshots be
// kept.
func newSnowflakeLedger(t *testing.T, n int) (*ledger, *snowflaketest.Server) {
	t.Helper()
	s := snowflaketest.New(t, snowflaketest.Options{Track: true, Writes: []string{"MILLRACE"}, InlineRows: 50, ChunkRows: 700})
	at := s.Connection()
	x := &ledger{columns: []string{"plan", "city"}, rows: make(map[int]map[string]string, n), next: 1}
	x.connection = fmt.Sprintf("snowflake: {account: %s, warehouse: SYNC_WH, database: MARTS, schema: PUBLIC, role: SYNC_R, user: SYNC_U, token: 'a token', host: %s, port: %d, protocol: http}",
		at.Account, at.Host, at.Port)
	x.exec = func(t *testing.T, statements ...string) { s.Exec(t, strings.Join(statements, ";")) }
	x.begin(t, n)
	return x, s
}

// TestMirrorsOfSnowflakeThroughTheirHistories edits a table at random, has reads fail and find nothing, and has Snowflake
// lose what it kept: after each run the platform has the table and nothing else, and each change was counted once.
func TestMirrorsOfSnowflakeThroughTheirHistories(t *testing.T) {
	t.Parallel()
	for _, engine := range []string{"diff", "native"} {
		t.Run(engine, func(t *testing.T) {
			m := startOne(t, databases{}).in("snow")
			r := rand.New(rand.NewPCG(17, uint64(len(engine)))) //nolint:gosec // a test's own history
			x, s := newSnowflakeLedger(t, 1000)
			x.engine = engine
			x.play(t, m, nil)
			for i := range 6 {
				before := x.copy()
				x.edit(t, r)
				switch i {
				case 1:
					x.fail(t, m)
				case 3:
					x.empty(t, m)
				case 5:
					s.Forget()
				}
				x.play(t, m, before)
			}
		})
	}
}

// TestAMirrorOfSnowflakeReadsWhatHasChanged changes few rows of many: these are read, and by either engine, whichever was
// there before. What Snowflake no longer keeps is told, and read anew.
func TestAMirrorOfSnowflakeReadsWhatHasChanged(t *testing.T) {
	t.Parallel()
	m := startOne(t, databases{}).in("few")
	x, s := newSnowflakeLedger(t, 1000)
	var before map[int]map[string]string
	for n, engine := range []string{"native", "diff", "row_index", "native"} {
		x.engine = engine
		x.play(t, m, before)
		for i := range 2 {
			before = x.copy()
			value := fmt.Sprint(engine, n, i)
			x.exec(t, "UPDATE people SET plan = '"+value+"' WHERE id % 100 = 7", fmt.Sprintf("DELETE FROM people WHERE id IN (%d, %d)", x.next-1, x.next-2))
			for id := range x.rows {
				if id%100 == 7 {
					x.rows[id]["plan"] = value
				}
			}
			delete(x.rows, x.next-1)
			delete(x.rows, x.next-2)
			x.next -= 2
			got := x.play(t, m, before)
			if engine == "row_index" {
				require.EqualValues(t, len(x.rows), got.GetCounts().GetRead())
			} else {
				require.EqualValues(t, 10, got.GetCounts().GetRead(), engine)
			}
			require.EqualValues(t, 2, got.GetCounts().GetDeleted())
			require.Empty(t, got.GetNotices())
		}
		before = x.copy()
	}
	s.Forget()
	got := x.play(t, m, before)
	require.EqualValues(t, len(x.rows), got.GetCounts().GetUnchanged())
	require.Len(t, got.GetNotices(), 1)
	require.Contains(t, got.GetNotices()[0], "no longer has the changes since")
	require.Zero(t, m.run(t, "people").GetCounts().GetRead(), "nothing has changed")
}
