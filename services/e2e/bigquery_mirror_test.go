package e2e_test

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/source/bigquery/bigquerytest"
)

// newBigQueryLedger answers a table with n rows in a project of BigQuery that keeps the history of its changes. After each
// edit the time passes that BigQuery takes to tell it.
func newBigQueryLedger(t *testing.T, n int) (*ledger, *bigquerytest.Server) {
	t.Helper()
	s := bigquerytest.Start(t)
	s.TrackChanges()
	b := s.Connection(t).BigQuery
	x := &ledger{columns: []string{"plan", "city"}, rows: make(map[int]map[string]string, n), next: 1, engine: "diff"}
	x.connection = fmt.Sprintf("bigquery: {project_id: %s, dataset_id: %s, location: %s, service_account_id: %s, service_account_key: %s, endpoint: '%s', storage_endpoint: '%s', token_endpoint: '%s'}",
		b.ProjectID, b.DatasetID, b.Location, b.ServiceAccountID, strconv.Quote(b.ServiceAccountKey.Plain), b.Endpoint, b.StorageEndpoint, b.TokenEndpoint)
	x.exec = func(t *testing.T, statements ...string) {
		s.Exec(t, strings.Join(statements, ";"))
		s.Pass(11 * time.Minute)
	}
	x.begin(t, n)
	return x, s
}

// TestMirrorsOfBigQueryThroughTheirHistories edits a table at random, has reads fail and find nothing, and has what BigQuery
// kept expire: after each run the platform has the table and nothing else, and each change was counted once.
func TestMirrorsOfBigQueryThroughTheirHistories(t *testing.T) {
	t.Parallel()
	for engine, told := range map[string]string{"diff": "at least every two weeks", "native": "the data set keeps those of 7d"} {
		t.Run(engine, func(t *testing.T) {
			m := startOne(t, databases{}).in("big")
			r := rand.New(rand.NewPCG(19, 4)) //nolint:gosec // a test's own history
			x, s := newBigQueryLedger(t, 1000)
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
					x.play(t, m, before) // so that expiring is all that comes between
					before = x.copy()
					s.Pass(22 * 24 * time.Hour)
				}
				got := x.play(t, m, before)
				if i == 5 {
					require.Contains(t, strings.Join(got.GetNotices(), "\n"), told)
				}
			}
		})
	}
}

// TestAMirrorOfBigQueryReadsWhatHasChanged changes few rows of many: these are read, and by either engine, whichever was
// there before. A history that does not tell everything is told of, and everything is read anew.
func TestAMirrorOfBigQueryReadsWhatHasChanged(t *testing.T) {
	t.Parallel()
	m := startOne(t, databases{}).in("few")
	x, s := newBigQueryLedger(t, 1000)
	var before map[int]map[string]string
	for n, engine := range []string{"native", "diff", "row_index", "native"} {
		x.engine = engine
		x.play(t, m, before)
		for i := range 2 {
			before = x.copy()
			value := fmt.Sprint(engine, n, i)
			x.exec(t, "UPDATE people SET plan = '"+value+"' WHERE id % 100 = 7")
			x.exec(t, fmt.Sprintf("DELETE FROM people WHERE id IN (%d, %d)", x.next-1, x.next-2))
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
			require.Zero(t, m.run(t, "people").GetCounts().GetUpdated(), "nothing has changed")
		}
		before = x.copy()
	}
	s.ExecTransaction(t, "UPDATE people SET city = 'Rome' WHERE id = 7")
	s.Pass(11 * time.Minute)
	x.rows[7]["city"] = "Rome"
	got := x.play(t, m, before)
	require.EqualValues(t, len(x.rows)-1, got.GetCounts().GetUnchanged(), "everything was read")
	require.Len(t, got.GetNotices(), 1)
	require.Contains(t, got.GetNotices()[0], "multi-statement transaction")
	require.Zero(t, m.run(t, "people").GetCounts().GetRead(), "nothing has changed")
}
