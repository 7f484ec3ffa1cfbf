//go:build cgo && duckdb_arrow

package e2e_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/source/databricks/databrickstest"
)

// newDatabricksLedger answers a table with n rows in a warehouse of Databricks whose tables record their changes. Each
// statement is a version.
func newDatabricksLedger(t *testing.T, n int) (*ledger, *databrickstest.Peer) {
	t.Helper()
	p := databrickstest.Start(t, databrickstest.Options{ChangeFeed: true, Files: true})
	c := p.Connection().Databricks
	x := &ledger{columns: []string{"plan", "city"}, rows: make(map[int]map[string]string, n), next: 1}
	x.connection = fmt.Sprintf("databricks: {host: %s, port: %d, protocol: http, warehouse_id: %q, catalog: %s, schema: %s, client_id: %s, client_secret: %s}",
		c.Host, c.Port, c.WarehouseID, c.Catalog, c.Schema, c.ClientID, c.ClientSecret.Plain)
	x.exec = func(t *testing.T, statements ...string) {
		for _, s := range statements {
			p.Exec(t, s)
		}
	}
	x.begin(t, n)
	return x, p
}

// TestMirrorsOfDatabricksThroughTheirHistories edits a table at random, has reads fail and find nothing, and has VACUUM take
// its changes: after each run the platform has the table and nothing else, and each change was counted once.
func TestMirrorsOfDatabricksThroughTheirHistories(t *testing.T) {
	t.Parallel()
	m := startOne(t, databases{}).in("lake")
	r := rand.New(rand.NewPCG(23, 29)) //nolint:gosec // a test's own history
	x, p := newDatabricksLedger(t, 1000)
	x.engine = "native"
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
			p.Vacuum(t)
		}
		x.play(t, m, before)
	}
	require.Zero(t, p.Running(), "no statement is left behind")
}

// TestAMirrorOfDatabricksReadsWhatHasChanged changes, inserts and deletes few rows of many: these are read, whichever engine
// was there before. Changes that Databricks no longer has are told of, and everything is read anew.
func TestAMirrorOfDatabricksReadsWhatHasChanged(t *testing.T) {
	t.Parallel()
	m := startOne(t, databases{}).in("few")
	x, p := newDatabricksLedger(t, 1000)
	var before map[int]map[string]string
	for n, engine := range []string{"native", "row_index", "native"} {
		x.engine = engine
		x.play(t, m, before)
		for i := range 2 {
			before = x.copy()
			value := fmt.Sprint(engine, n, i)
			x.exec(t, "UPDATE people SET plan = '"+value+"' WHERE id % 100 = 7", fmt.Sprintf("DELETE FROM people WHERE id IN (%d, %d)", x.next-1, x.next-2))
			delete(x.rows, x.next-1)
			delete(x.rows, x.next-2)
			changed := 0
			for id := range x.rows {
				if id%100 == 7 {
					x.rows[id]["plan"] = value
					changed++
				}
			}
			x.insert(t, 3)
			got := x.play(t, m, before)
			if engine == "row_index" {
				require.EqualValues(t, len(x.rows), got.GetCounts().GetRead())
			} else {
				require.EqualValues(t, changed+3, got.GetCounts().GetRead())
			}
			require.EqualValues(t, 2, got.GetCounts().GetDeleted())
			require.Empty(t, got.GetNotices())
		}
		before = x.copy()
	}
	x.insert(t, 5)
	p.Vacuum(t)
	got := x.play(t, m, before)
	require.EqualValues(t, len(before), got.GetCounts().GetUnchanged())
	require.Len(t, got.GetNotices(), 1)
	require.Contains(t, got.GetNotices()[0], "no longer has the changes since")
	require.Zero(t, m.run(t, "people").GetCounts().GetRead(), "nothing has changed")
}
