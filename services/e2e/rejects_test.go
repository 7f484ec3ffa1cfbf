package e2e_test

import (
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	ingestionv1 "millrace.dev/gen/millrace/ingestion/v1"
	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
	"millrace.dev/pkg/fault"
)

// theirs answers the customers' documents with a rule for visits, one for ltv and one for the customer id.
func theirs(w warehouse, visits, ltv, customer string) string {
	d := strings.Replace(w.documents("customers", asIs), "- {column: visits, to: visits}", "- "+visits+"\n      - "+ltv, 1)
	return strings.Replace(d, "- {column: id, to: customer_id, type: string}", "- "+customer, 1)
}

// asFirst answers documents whose mapping meets three kinds of bad rows: the mapper rejects two of them, and the store
// refuses whom the mapping calls none.
func asFirst(w warehouse) string {
	return theirs(w, "{column: visits, to: visits, type: integer}", "{column: ltv, to: ltv, type: decimal}",
		`{expression: "row.plan == 'none' ? 'none' : string(row.id)", to: customer_id}`)
}

// asMended answers documents whose mapping takes all of them, and makes the same of the good rows.
func asMended(w warehouse) string {
	return theirs(w, `{expression: "row.visits == 'many' ? 99 : int(row.visits)", to: visits}`,
		`{expression: "row.ltv == 'cheap' ? '0.50' : row.ltv", to: ltv, type: decimal}`, "{column: id, to: customer_id, type: string}")
}

const customersWithRejects = 3_000

// newBadWarehouse answers a warehouse of customers of whom one percent each is bad in another way.
func newBadWarehouse(t *testing.T) warehouse {
	t.Helper()
	w := newWarehouse(t, customersWithRejects)
	w.exec(t, `ALTER TABLE customers ALTER visits TYPE TEXT`, `ALTER TABLE customers ADD COLUMN ltv TEXT DEFAULT '1.50'`,
		`UPDATE customers SET visits = 'many' WHERE id % 100 = 1`,
		`UPDATE customers SET ltv = 'cheap' WHERE id % 100 = 2`,
		`UPDATE customers SET plan = 'none', email = NULL WHERE id % 100 = 3`)
	return w
}

// replayedRejects: bad rows of three kinds are rejected, counted, exported, and brought in by a replay once the mapping is
// mended.
func replayedRejects(t *testing.T, m mesh) { replayed(t, m, newBadWarehouse(t)) }

func replayed(t *testing.T, m mesh, w warehouse) {
	t.Helper()
	const n = customersWithRejects
	m.apply(t, "", asFirst(w))
	first := m.end(t, m.trigger(t, "customers"))
	requireState(t, first, schedulerv1.RunState_RUN_STATE_PARTIALLY_SUCCEEDED)
	require.EqualValues(t, 60, first.GetCounts().GetRejected())
	require.EqualValues(t, 30, first.GetCounts().GetRefused())
	require.EqualValues(t, n-90, first.GetCounts().GetCreated())
	requireRejects(t, m, first.GetId())

	m.apply(t, "", asMended(w))
	w.exec(t, `UPDATE customers SET visits = '7', updated_at = TIMESTAMP '2024-02-01' WHERE id = 201`)
	meanwhile := m.run(t, "customers")
	require.EqualValues(t, 18+1, meanwhile.GetCounts().GetCreated(), "bad rows within the lookback, and a newer version of another")

	replay := m.replay(t, first.GetId())
	requireState(t, replay, schedulerv1.RunState_RUN_STATE_SUCCEEDED)
	require.Equal(t, schedulerv1.Lane_LANE_HISTORY, replay.GetLane())
	require.Equal(t, first.GetId(), replay.GetReplayOf())
	require.EqualValues(t, 90, replay.GetCounts().GetRead())
	require.EqualValues(t, 90-19, replay.GetCounts().GetCreated())
	require.EqualValues(t, 19, replay.GetCounts().GetUnchanged(), "what came meanwhile is the same or newer")
	require.InDelta(t, 7, m.profile(t, "customer_id", 201).GetUserAttributes().GetFields()["visits"].GetNumberValue(), 0, "the newer version stays")
	require.Equal(t, replay.GetId(), m.profile(t, "customer_id", 101).GetProvenance()["visits"].GetRun())
	after := m.digest(t)
	require.EqualValues(t, n, after.GetProfiles())

	again := m.replay(t, first.GetId())
	require.EqualValues(t, 90, again.GetCounts().GetUnchanged(), "%v", again.GetCounts())
	require.EqualValues(t, n, m.run(t, "customers", full).GetCounts().GetUnchanged(), "the warehouse brings the replayed rows again")
	require.Equal(t, after.GetDigest(), m.digest(t).GetDigest())
	_, err := m.ingestion.ReplayRejects(t.Context(), &ingestionv1.ReplayRejectsRequest{Workspace: m.workspace, Run: replay.GetId()})
	require.Equal(t, fault.ReasonRunState, fault.ReasonOf(fault.FromStatus(err)), "it has no rejects")
}

// requireRejects checks what is listed, counted and exported of the rejects.
func requireRejects(t *testing.T, m mesh, run string) {
	t.Helper()
	list, err := m.ingestion.ListRejects(t.Context(), &ingestionv1.ListRejectsRequest{Workspace: m.workspace, Run: run, PageSize: 10})
	require.NoError(t, err)
	require.Len(t, list.GetRejects(), 10)
	counts := map[string]int64{}
	for _, c := range list.GetByReason() {
		counts[c.GetStage()+" "+c.GetColumn()] += c.GetRejects()
	}
	require.Equal(t, map[string]int64{"map visits": 30, "map ltv": 30, "ingest ": 30}, counts)

	rows := m.export(t, run)
	require.Len(t, rows, 90)
	require.Equal(t, "many", rows["101"]["visits"])
	require.Equal(t, "cheap", rows["102"]["ltv"])
	require.Equal(t, "none", rows["103"]["plan"], "the row of a refused record, too")
	require.Nil(t, rows["103"]["email"])
	require.InDelta(t, 103, rows["103"]["id"], 0)
}

// TestAReplayLeavesWhatTheMendedMappingWouldHaveMade compares a store after rejects, a mended mapping and a replay with one
// that the mended mapping filled from the beginning.
func TestAReplayLeavesWhatTheMendedMappingWouldHaveMade(t *testing.T) {
	w := newBadWarehouse(t)
	one := allInOne(t).in("shop")
	replayed(t, one, w)

	other := allInOne(t).in("shop")
	other.apply(t, "", asMended(w))
	require.EqualValues(t, customersWithRejects, other.run(t, "customers").GetCounts().GetCreated())
	require.Equal(t, other.digest(t).GetDigest(), one.digest(t).GetDigest())
}

// export answers the rows of a run's rejects by their key.
func (m mesh) export(t *testing.T, run string) map[string]map[string]any {
	t.Helper()
	stream, err := m.ingestion.ExportRejects(t.Context(), &ingestionv1.ExportRejectsRequest{Workspace: m.workspace, Run: run})
	require.NoError(t, err)
	out := map[string]map[string]any{}
	for {
		r, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return out
		}
		require.NoError(t, err)
		for _, x := range r.GetRejects() {
			var row map[string]any
			require.NoError(t, json.Unmarshal(x.GetRow(), &row), "the row of %v", x.GetReject())
			out[x.GetReject().GetKeyValues()[0]] = row
		}
	}
}

// replay replays the rejects of a run and answers the replay at its end.
func (m mesh) replay(t *testing.T, run string) *schedulerv1.Run {
	t.Helper()
	r, err := m.ingestion.ReplayRejects(t.Context(), &ingestionv1.ReplayRejectsRequest{Workspace: m.workspace, Run: run})
	require.NoError(t, err)
	return m.end(t, r.GetRun().GetId())
}
