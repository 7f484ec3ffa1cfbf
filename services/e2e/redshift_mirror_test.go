package e2e_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/source/redshift/redshifttest"
)

// newShiftLedger answers a table with n rows in a Redshift that lets snapshots be kept, mirrored by diff: through cursors, or
// by UNLOAD.
func newShiftLedger(t *testing.T, n int, unload bool) (*ledger, *redshifttest.Peer) {
	t.Helper()
	t.Setenv("AWS_ACCESS_KEY_ID", redshifttest.AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", redshifttest.SecretKey)
	s := redshifttest.Start(t, redshifttest.Options{StateSchema: "kept"})
	c := s.Unloading().Redshift
	x := &ledger{columns: []string{"plan", "city"}, rows: make(map[int]map[string]string, n), next: 1, engine: "diff"}
	more := ""
	if unload {
		more = fmt.Sprintf(", region: %s, unload_bucket: %s, unload_prefix: %s, unload_role: '%s', s3_endpoint: '%s'", c.Region, c.UnloadBucket, c.UnloadPrefix, c.UnloadRole, c.S3Endpoint)
	}
	x.connection = fmt.Sprintf("redshift: {host: %s, port: %d, database: %s, user: %s, password: '%s', sslmode: disable, state_schema: kept%s}", c.Host, c.Port, c.Database, c.User, c.Password.Plain, more)
	x.exec = func(t *testing.T, statements ...string) { s.Exec(t, strings.Join(statements, ";")) }
	x.begin(t, n)
	return x, s
}

// lose drops all snapshots.
func lose(t *testing.T, s *redshifttest.Peer) {
	t.Helper()
	s.Exec(t, `DO $$ DECLARE n text; BEGIN FOR n IN SELECT tablename FROM pg_tables WHERE schemaname = 'kept' LOOP EXECUTE 'DROP TABLE kept.' || quote_ident(n); END LOOP; END $$`)
}

// TestMirrorsOfRedshiftThroughTheirHistories edits a table at random, has reads fail and find nothing, and has the snapshot
// lost: after each run the platform has the table and nothing else, and each change was counted once.
func TestMirrorsOfRedshiftThroughTheirHistories(t *testing.T) {
	for way, unload := range map[string]bool{"by cursor": false, "by unload": true} {
		t.Run(way, func(t *testing.T) {
			m := startOne(t, databases{}).in("shift")
			r := rand.New(rand.NewPCG(23, 5)) //nolint:gosec // a test's own history
			x, s := newShiftLedger(t, 1000, unload)
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
					lose(t, s)
				}
				got := x.play(t, m, before)
				if i == 5 {
					require.Contains(t, strings.Join(got.GetNotices(), "\n"), "the snapshot of the last run is gone")
				}
			}
			require.Eventually(t, func() bool { return len(s.Objects()) == 0 }, time.Minute, 10*time.Millisecond, "the bucket is left empty")
		})
	}
}

// TestAMirrorOfRedshiftReadsWhatHasChanged updates, inserts and deletes few rows of many: these are read, and nothing else.
// Where the snapshot was lost, everything is read once and found as it is; and the engine can be swapped.
func TestAMirrorOfRedshiftReadsWhatHasChanged(t *testing.T) {
	m := startOne(t, databases{}).in("few")
	x, s := newShiftLedger(t, 1000, true)
	x.play(t, m, nil)
	before := x.copy()
	x.exec(t, "UPDATE people SET plan = 'new' WHERE id % 100 = 7", "DELETE FROM people WHERE id > 998")
	for id := range x.rows {
		if id%100 == 7 {
			x.rows[id]["plan"] = "new"
		}
	}
	delete(x.rows, 999)
	delete(x.rows, 1000)
	x.next = 1001
	x.insert(t, 5)
	got := x.play(t, m, before)
	require.EqualValues(t, 15, got.GetCounts().GetRead())
	require.EqualValues(t, 2, got.GetCounts().GetDeleted())
	require.Equal(t, "new", m.profile(t, "customer_id", 7).GetUserAttributes().GetFields()["plan"].GetStringValue())
	require.Zero(t, m.run(t, "people").GetCounts().GetRead(), "nothing has changed")

	lose(t, s)
	got = x.play(t, m, x.copy())
	require.EqualValues(t, len(x.rows), got.GetCounts().GetUnchanged())
	require.Contains(t, strings.Join(got.GetNotices(), "\n"), "the snapshot of the last run is gone")
	require.Zero(t, m.run(t, "people").GetCounts().GetRead(), "it is kept again")

	for _, engine := range []string{"row_index", "diff"} {
		x.engine = engine
		require.EqualValues(t, len(x.rows), x.play(t, m, x.copy()).GetCounts().GetUnchanged(), engine)
	}
	require.Zero(t, m.run(t, "people").GetCounts().GetRead())
}
