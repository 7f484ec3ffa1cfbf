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

// newBigQueryLedger answers a table with n rows in a project of BigQuery.
func newBigQueryLedger(t *testing.T, n int) (*ledger, *bigquerytest.Server) {
	t.Helper()
	s := bigquerytest.Start(t)
	b := s.Connection(t).BigQuery
	x := &ledger{columns: []string{"plan", "city"}, rows: make(map[int]map[string]string, n), next: 1, engine: "diff"}
	x.connection = fmt.Sprintf("bigquery: {project_id: %s, dataset_id: %s, location: %s, service_account_id: %s, service_account_key: %s, endpoint: '%s', storage_endpoint: '%s', token_endpoint: '%s'}",
		b.ProjectID, b.DatasetID, b.Location, b.ServiceAccountID, strconv.Quote(b.ServiceAccountKey.Plain), b.Endpoint, b.StorageEndpoint, b.TokenEndpoint)
	x.exec = func(t *testing.T, statements ...string) { s.Exec(t, strings.Join(statements, ";")) }
	x.begin(t, n)
	return x, s
}

// TestMirrorsOfBigQueryThroughTheirHistories edits a table at random, has reads fail and find nothing, and has the snapshot
// expire: after each run the platform has the table and nothing else, and each change was counted once.
func TestMirrorsOfBigQueryThroughTheirHistories(t *testing.T) {
	m := startOne(t, databases{}).in("big")
	r := rand.New(rand.NewPCG(19, 4)) //nolint:gosec // a test's own history
	x, s := newBigQueryLedger(t, 1000)
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
			s.Pass(22 * 24 * time.Hour)
		}
		got := x.play(t, m, before)
		if i == 5 {
			require.Contains(t, strings.Join(got.GetNotices(), "\n"), "at least every two weeks")
		}
	}
}

// TestAMirrorOfBigQueryReadsWhatHasChanged changes few rows of many: these are read, and nothing else.
func TestAMirrorOfBigQueryReadsWhatHasChanged(t *testing.T) {
	m := startOne(t, databases{}).in("few")
	x, _ := newBigQueryLedger(t, 1000)
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
	got := x.play(t, m, before)
	require.EqualValues(t, 10, got.GetCounts().GetRead())
	require.EqualValues(t, 2, got.GetCounts().GetDeleted())
	require.Zero(t, m.run(t, "people").GetCounts().GetRead(), "nothing has changed")
}
