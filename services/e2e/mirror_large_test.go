package e2e_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	configv1 "millrace.dev/gen/millrace/config/v1"
	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
	"millrace.dev/pkg/fault"
)

// The documents of a mirror of the customers of a warehouse.
func (w warehouse) mirrorDocuments(id, more string) string {
	return strings.Replace(w.documents(id, asIs), "mode: incremental\nlookback: 10m", "mode: mirror"+more, 1)
}

// TestAMirrorOfAHundredThousandRows deletes, updates and inserts in a table of 100,000 rows. Where more would be deleted
// than the default guard allows, the run is held before anything is deleted, with what it found. A run that is cancelled
// in the middle and retried counts what an undisturbed one does.
func TestAMirrorOfAHundredThousandRows(t *testing.T) {
	t.Parallel()
	const n = 100_000
	m := allInOne(t).in("large")
	w := newWarehouse(t, n)
	m.apply(t, "", w.mirrorDocuments("customers", ""))
	first := m.run(t, "customers")
	requireWanted(t, wanted{created: n}, first)

	w.exec(t, "DELETE FROM customers WHERE id % 500 = 0", "UPDATE customers SET plan = 'gold' WHERE id % 200 = 1", "UPDATE customers SET etl_batch = 2")
	w.add(t, n+1, n+301)
	w.add(t, n+1, n+101)
	second := m.run(t, "customers")
	require.EqualValues(t, 100, second.GetCounts().GetCollapsed(), "equal rows are one")
	requireWanted(t, wanted{created: 300, updated: 500, unchanged: n - 200 - 500 + 100, deleted: 200}, second)
	require.Len(t, m.known(t), n+100)

	w.exec(t, "ALTER TABLE customers ADD COLUMN etl_note TEXT", "DELETE FROM customers WHERE id % 3 = 0")
	m.apply(t, "", strings.Replace(w.mirrorDocuments("customers", ""), "- {ignore: etl_batch}", "- {ignore: etl_batch}\n  - {ignore: etl_note}", 1))
	held := m.end(t, m.trigger(t, "customers"))
	require.Equal(t, schedulerv1.RunState_RUN_STATE_HELD, held.GetState())
	require.Equal(t, fault.ReasonGuardBreached.Word(), held.GetHold().GetReason())
	require.Contains(t, held.GetHold().GetMessage(), "of 100100 known rows would be deleted")
	require.Len(t, m.known(t), n+100, "nothing was deleted")
	_, err := m.scheduler.CancelRun(t.Context(), &schedulerv1.CancelRunRequest{Workspace: m.workspace, Id: held.GetId()})
	require.NoError(t, err)
	require.Equal(t, schedulerv1.RunState_RUN_STATE_CANCELLED, m.end(t, held.GetId()).GetState())
	res, err := m.scheduler.RetryRun(t.Context(), &schedulerv1.RetryRunRequest{Workspace: m.workspace, Id: held.GetId()})
	require.NoError(t, err)
	again := m.end(t, res.GetRun().GetId())
	require.Equal(t, fault.ReasonGuardBreached.Word(), again.GetHold().GetReason())
	done := m.approved(t, again)
	requireState(t, done, schedulerv1.RunState_RUN_STATE_SUCCEEDED)
	left := m.known(t)
	require.EqualValues(t, n+100-len(left), done.GetCounts().GetDeleted())
	require.EqualValues(t, 0, done.GetCounts().GetUpdated(), "columns that are ignored change nothing")
	require.NotContains(t, left, 3)
	require.Equal(t, "gold", m.profile(t, "customer_id", 1).GetUserAttributes().GetFields()["plan"].GetStringValue())
}

// TestAGuardedMirrorMakesADryPass sets a guard of its own: the whole run is rehearsed, and nothing is written before it
// is let go on.
func TestAGuardedMirrorMakesADryPass(t *testing.T) {
	const n = 2000
	m := startOne(t, databases{}).in("guarded")
	w := newWarehouse(t, n)
	m.apply(t, "", w.mirrorDocuments("customers", "\nguard: {deletes: {max_percent: 1, min_rows: 10}}"))
	requireWanted(t, wanted{created: n}, m.run(t, "customers"))
	w.exec(t, "DELETE FROM customers WHERE id <= 100", "UPDATE customers SET plan = 'gold' WHERE id > 1900")
	held := m.end(t, m.trigger(t, "customers"))
	require.Equal(t, fault.ReasonGuardBreached.Word(), held.GetHold().GetReason())
	require.Len(t, m.known(t), n)
	require.NotEqual(t, "gold", m.profile(t, "customer_id", 2000).GetUserAttributes().GetFields()["plan"].GetStringValue(), "nothing was written")
	requireWanted(t, wanted{updated: 100, unchanged: n - 200, deleted: 100}, m.approved(t, held))
	require.Len(t, m.known(t), n-100)
}

// TestAMirrorWithOtherKeysIsResynced changes the key columns of a mirror: nothing that is known would be recognised. The
// run ends without an effect and says what to do; a resync leads out.
func TestAMirrorWithOtherKeysIsResynced(t *testing.T) {
	const n = 500
	m := startOne(t, databases{}).in("keys")
	w := newWarehouse(t, n)
	m.apply(t, "", w.mirrorDocuments("customers", ""))
	m.run(t, "customers")
	before := m.digest(t).GetDigest()
	w.exec(t, "DELETE FROM customers WHERE id > 400")
	m.apply(t, "", strings.Replace(w.mirrorDocuments("customers", ""), "key_columns: [id]", "key_columns: [id, email]", 1))
	failed := m.end(t, m.trigger(t, "customers"))
	require.Equal(t, schedulerv1.RunState_RUN_STATE_FAILED, failed.GetState())
	require.Equal(t, fault.ReasonResyncRequired.Word(), failed.GetError().GetReason())
	require.Equal(t, before, m.digest(t).GetDigest())
	eventually(t, "the sync says so", func() bool {
		return m.sync(t, "customers").GetStatus() == configv1.SyncStatus_SYNC_STATUS_RESYNC_REQUIRED
	})
	require.Contains(t, m.sync(t, "customers").GetStatusNextStep(), "millrace syncs resync customers")
	done := m.run(t, "customers", func(r *schedulerv1.TriggerRunRequest) { r.Resync = true })
	requireWanted(t, wanted{created: 400, deleted: n}, done)
	require.Len(t, m.known(t), 400)
	eventually(t, "the sync is healthy", func() bool {
		return m.sync(t, "customers").GetStatus() == configv1.SyncStatus_SYNC_STATUS_HEALTHY
	})
	requireWanted(t, wanted{unchanged: 400}, m.run(t, "customers"))
}

// TestAMirroredRowTakesItsProfileWithIt mirrors customers that another sync knows as well.
func TestAMirroredRowTakesItsProfileWithIt(t *testing.T) {
	m := startOne(t, databases{}).in("beside")
	crm, shop := newWarehouse(t, 20), newWarehouse(t, 10)
	m.apply(t, "", crm.documents("crm", "{column: plan, to: tier}"))
	m.run(t, "crm")
	m.apply(t, "", shop.mirrorDocuments("shop", ""))
	m.run(t, "shop")
	shop.exec(t, "DELETE FROM customers WHERE id = 4")
	requireWanted(t, wanted{unchanged: 9, deleted: 1}, m.run(t, "shop"))
	p := m.profile(t, "customer_id", 4)
	require.Contains(t, p.GetUserAttributes().GetFields(), "tier", "what the other sync brought")
	require.NotContains(t, p.GetUserAttributes().GetFields(), "plan")
	m.apply(t, "", shop.mirrorDocuments("shop", "\non_delete: delete_profile"))
	shop.exec(t, "DELETE FROM customers WHERE id = 5")
	requireWanted(t, wanted{unchanged: 8, deleted: 1}, m.run(t, "shop"))
	left := m.known(t)
	require.Contains(t, left, 4)
	require.NotContains(t, left, 5)
}
