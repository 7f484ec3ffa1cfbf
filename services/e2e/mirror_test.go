package e2e_test

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	ingestionv1 "millrace.dev/gen/millrace/ingestion/v1"
	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/testenv"
)

// mirrored is a table in a DuckDB file with what it has, as a mirror must have it: by id, the attributes in words.
type mirrored struct {
	path    string
	columns []string // beside the id
	rows    map[int]map[string]string
	next    int
}

func newMirrored(t *testing.T) *mirrored {
	t.Helper()
	return &mirrored{path: filepath.Join(t.TempDir(), "table.duckdb"), columns: []string{"plan", "city"}, rows: map[int]map[string]string{}, next: 1}
}

func (x *mirrored) documents(more string) string {
	return fmt.Sprintf(`kind: Connection
id: warehouse
duckdb: {path: %s}
---
kind: DataModel
id: people
connection: warehouse
record_kind: users
table: people
key_columns: [id]
---
kind: Mapping
id: people
rules:
  - object: user_identities
    rules:
      - {column: id, to: customer_id, type: string}
  - {column: $unmapped, to: "user_attributes.*"}
---
kind: Sync
id: people
data_model: people
mapping: people
mode: mirror
drift: {added: map}
state: active
%s`, x.path, more)
}

// write writes the table anew, its columns and rows in the order of a permutation: a table that is dropped and made again
// with the same rows has not changed.
func (x *mirrored) write(t *testing.T, r *rand.Rand) {
	t.Helper()
	db, err := sql.Open("duckdb", x.path)
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	names := append([]string{"id"}, x.columns...)
	r.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	text := "CREATE OR REPLACE TABLE people ("
	for i, n := range names {
		typ := " VARCHAR"
		if n == "id" {
			typ = " BIGINT"
		}
		if i > 0 {
			text += ", "
		}
		text += n + typ
	}
	text += ")"
	_, err = db.ExecContext(t.Context(), text)
	require.NoError(t, err)
	ids := make([]int, 0, len(x.rows))
	for id := range x.rows {
		ids = append(ids, id)
	}
	r.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
	var values []string
	for _, id := range ids {
		v := make([]string, len(names))
		for i, n := range names {
			switch value, ok := x.rows[id][n]; {
			case n == "id":
				v[i] = fmt.Sprint(id)
			case ok:
				v[i] = "'" + value + "'"
			default:
				v[i] = "NULL"
			}
		}
		values = append(values, "("+strings.Join(v, ", ")+")")
	}
	if len(values) > 0 {
		_, err = db.ExecContext(t.Context(), "INSERT INTO people VALUES "+strings.Join(values, ", "))
		require.NoError(t, err)
	}
}

// wanted is what a run must count.
type wanted struct{ created, updated, unchanged, deleted int64 }

// edit changes the table at random and answers what a run must count.
func (x *mirrored) edit(r *rand.Rand) wanted {
	before := map[int]map[string]string{}
	for id, row := range x.rows {
		before[id] = maps.Clone(row)
	}
	for range r.IntN(20) {
		x.rows[x.next] = map[string]string{"plan": "free"}
		x.next++
	}
	switch r.IntN(5) {
	case 0:
		if len(x.columns) < 4 {
			x.columns = append(x.columns, fmt.Sprint("extra", x.next))
		}
	case 1:
		if len(x.columns) > 1 {
			gone := x.columns[len(x.columns)-1]
			x.columns = x.columns[:len(x.columns)-1]
			for _, row := range x.rows {
				delete(row, gone)
			}
		}
	}
	for id, row := range x.rows {
		switch r.IntN(12) {
		case 0:
			delete(x.rows, id)
		case 1:
			row[x.columns[r.IntN(len(x.columns))]] = fmt.Sprint("v", r.IntN(3))
		case 2:
			delete(row, x.columns[r.IntN(len(x.columns))])
		}
	}
	var w wanted
	for id, row := range x.rows {
		switch old, ok := before[id]; {
		case !ok:
			w.created++
		case maps.Equal(old, row):
			w.unchanged++
		default:
			w.updated++
		}
	}
	for id := range before {
		if x.rows[id] == nil {
			w.deleted++
		}
	}
	return w
}

// stored answers what the platform has of the table.
func (m mesh) stored(t *testing.T) map[int]map[string]string {
	t.Helper()
	out := map[int]map[string]string{}
	m.eachProfile(t, func(p *ingestionv1.Profile) {
		require.Len(t, p.GetIdentities(), 1)
		id := customerOf(t, p)
		out[id] = map[string]string{}
		for name, v := range p.GetUserAttributes().GetFields() {
			out[id][name] = v.GetStringValue()
		}
	})
	return out
}

// known answers the customers that the platform has.
func (m mesh) known(t *testing.T) map[int]bool {
	t.Helper()
	out := map[int]bool{}
	m.eachProfile(t, func(p *ingestionv1.Profile) { out[customerOf(t, p)] = true })
	return out
}

func customerOf(t *testing.T, p *ingestionv1.Profile) int {
	t.Helper()
	require.Equal(t, "customer_id", p.GetIdentities()[0].GetType())
	id, err := strconv.Atoi(p.GetIdentities()[0].GetValue())
	require.NoError(t, err)
	return id
}

// eachProfile passes every profile on.
func (m mesh) eachProfile(t *testing.T, each func(*ingestionv1.Profile)) {
	t.Helper()
	for token := ""; ; {
		res, err := m.ingestion.ListProfiles(t.Context(), &ingestionv1.ListProfilesRequest{Workspace: m.workspace, PageSize: 1000, PageToken: token})
		require.NoError(t, err)
		for _, p := range res.GetProfiles() {
			each(p)
		}
		if token = res.GetNextPageToken(); token == "" {
			return
		}
	}
}

func requireWanted(t *testing.T, want wanted, r *schedulerv1.Run) {
	t.Helper()
	requireState(t, r, schedulerv1.RunState_RUN_STATE_SUCCEEDED)
	c := r.GetCounts()
	got := wanted{c.GetCreated(), c.GetUpdated(), c.GetUnchanged(), c.GetDeleted()}
	require.Equal(t, want, got)
	require.Equal(t, want.deleted, c.GetAbsent())
}

// TestAMirrorIsEqualToItsTableAfterEachRun plays random histories of a table over both stores: inserts, updates, deletes,
// columns that come, go and change places, the table dropped and made again, reads that fail and reads that find nothing.
// After each run the platform has the table and nothing else, and the run has counted each change once.
func TestAMirrorIsEqualToItsTableAfterEachRun(t *testing.T) {
	t.Parallel()
	for name, d := range map[string]databases{"pebble": {}, "postgres": {store: testenv.Postgres(t)}} {
		t.Run(name, func(t *testing.T) {
			m := startOne(t, d).in("mirror")
			r := rand.New(rand.NewPCG(7, 9)) //nolint:gosec // a test's own history
			x := newMirrored(t)
			for x.next <= 400 {
				x.rows[x.next] = map[string]string{"plan": "free", "city": "Rome"}
				x.next++
			}
			x.write(t, r)
			m.apply(t, "", x.documents("guard: {deletes: {max_percent: 90, min_rows: 1000}}\n"))
			requireWanted(t, wanted{created: 400}, m.run(t, "people"))
			for range 10 {
				w := x.edit(r)
				x.write(t, r)
				requireWanted(t, w, m.through(t))
				require.Equal(t, x.rows, m.stored(t))
			}
			m.failedRead(t, x, r)
			m.emptyRead(t, x, r)
		})
	}
}

// through starts a run and lets it go on past what a column that was dropped holds it for.
func (m mesh) through(t *testing.T) *schedulerv1.Run {
	t.Helper()
	r := m.end(t, m.trigger(t, "people"))
	for r.GetState() == schedulerv1.RunState_RUN_STATE_HELD {
		require.Equal(t, fault.ReasonSchemaDrift.Word(), r.GetHold().GetReason())
		r = m.approved(t, r)
	}
	return r
}

// approved lets a held run go on and answers its end.
func (m mesh) approved(t *testing.T, r *schedulerv1.Run) *schedulerv1.Run {
	t.Helper()
	_, err := m.scheduler.ApproveRun(t.Context(), &schedulerv1.ApproveRunRequest{Workspace: m.workspace, Id: r.GetId()})
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	return m.until(ctx, t, r.GetId(), over)
}

// failedRead drops the table: the run fails and deletes nothing.
func (m mesh) failedRead(t *testing.T, x *mirrored, r *rand.Rand) {
	t.Helper()
	db, err := sql.Open("duckdb", x.path)
	require.NoError(t, err)
	_, err = db.ExecContext(t.Context(), "DROP TABLE people")
	require.NoError(t, err)
	require.NoError(t, db.Close())
	failed := m.end(t, m.trigger(t, "people"))
	require.Equal(t, schedulerv1.RunState_RUN_STATE_FAILED, failed.GetState())
	require.Equal(t, x.rows, m.stored(t))
	x.write(t, r)
	requireWanted(t, wanted{unchanged: int64(len(x.rows))}, m.run(t, "people"))
}

// emptyRead empties the table: the run is held, and deletes what is known once that is approved.
func (m mesh) emptyRead(t *testing.T, x *mirrored, r *rand.Rand) {
	t.Helper()
	was := maps.Clone(x.rows)
	clear(x.rows)
	x.write(t, r)
	held := m.end(t, m.trigger(t, "people"))
	require.Equal(t, schedulerv1.RunState_RUN_STATE_HELD, held.GetState())
	require.Equal(t, fault.ReasonEmptyRead.Word(), held.GetHold().GetReason())
	require.Equal(t, was, m.stored(t))
	requireWanted(t, wanted{deleted: int64(len(was))}, m.approved(t, held))
	require.Empty(t, m.stored(t))
}
