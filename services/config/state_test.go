package config_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	configv1 "millrace.dev/gen/millrace/config/v1"
	extractorv1 "millrace.dev/gen/millrace/extractor/v1"
	"millrace.dev/pkg/fault"
)

const (
	stateActive = configv1.SyncState_SYNC_STATE_ACTIVE
	statePaused = configv1.SyncState_SYNC_STATE_PAUSED
)

func (h *house) sync(t *testing.T, id string) *configv1.Sync {
	t.Helper()
	r, err := h.GetSync(t.Context(), &configv1.GetSyncRequest{Id: id})
	require.NoError(t, err)
	return r.GetSync()
}

func (h *house) snapshot(t *testing.T, sync string, version int64) *configv1.SyncSnapshot {
	t.Helper()
	r, err := h.GetSyncSnapshot(t.Context(), &configv1.GetSyncSnapshotRequest{Workspace: "default", Sync: sync, Version: version})
	require.NoError(t, err)
	return r.GetSnapshot()
}

// drafts is the example with drafts only.
func drafts(t *testing.T) string { return strings.ReplaceAll(example(t), "state: active\n", "") }

func TestActivationChecksAndThenTurnsOn(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		h.mustApply(t, drafts(t))
		require.Zero(t, h.warehouse.describes, "drafts are not checked")
		faults := []fault.Violation{{Field: "rules", Message: "leaves columns unused: x", Fix: "ignore it"}, {Field: "key_columns[0]", Message: `column "id" is not selected`, Fix: "select it"}}
		h.warehouse.script(nil, fault.Of(fault.ReasonMappingInvalid, faults))
		_, err := h.ActivateSync(t.Context(), &configv1.ActivateSyncRequest{Id: "customers"})
		e := refusal(t, err, fault.Invalid, fault.ReasonInvalidArgument)
		require.Equal(t, []string{
			"Mapping customers rules: leaves columns unused: x; ignore it", `DataModel customers key_columns[0]: column "id" is not selected; select it`,
		}, texts(e))
		require.Equal(t, configv1.SyncState_SYNC_STATE_DRAFT, h.sync(t, "customers").GetState())

		h.warehouse.script(fault.New(fault.Unavailable, fault.ReasonWarehouseLocked, "locked; close it"), nil)
		_, err = h.ActivateSync(t.Context(), &configv1.ActivateSyncRequest{Id: "customers"})
		refused(t, err, fault.Unavailable, fault.ReasonWarehouseLocked)

		h.warehouse.script(nil, nil)
		r, err := h.ActivateSync(t.Context(), &configv1.ActivateSyncRequest{Id: "customers"})
		require.NoError(t, err)
		require.Equal(t, stateActive, r.GetSync().GetState())
		require.EqualValues(t, 1, r.GetSync().GetVersion(), "a state is no new version")
		require.True(t, proto.Equal(r.GetSync(), h.sync(t, "customers")))
		require.Equal(t, stateActive, h.snapshot(t, "customers", 0).GetSync().GetState(), "what a run is started by says so too")
		_, err = h.ActivateSync(t.Context(), &configv1.ActivateSyncRequest{Id: "nobody"})
		refused(t, err, fault.NotFound, fault.ReasonNotFound)
	})
}

func TestKeysAreProbedAtActivation(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		h.mustApply(t, drafts(t))
		var asked []string
		h.warehouse.probe = func(keys []string) (*extractorv1.CheckModelResponse, error) {
			asked = keys
			return &extractorv1.CheckModelResponse{NullKeys: 2, RepeatedKeys: 3, NullIterator: 4}, nil
		}
		r, err := h.ActivateSync(t.Context(), &configv1.ActivateSyncRequest{Id: "customers"})
		require.NoError(t, err)
		require.Equal(t, []string{"id"}, asked)
		require.Equal(t, []string{
			"Sync customers: 2 rows have a NULL among the key columns id; such rows cannot be told apart",
			"Sync customers: 3 key values of id stand in more than one row; only the newest of such rows counts",
			"Sync customers: 4 rows have a NULL in the iterator updated_at; they are counted and not read",
		}, r.GetWarnings())
		h.warehouse.probe = func([]string) (*extractorv1.CheckModelResponse, error) {
			return nil, fault.New(fault.Unavailable, fault.ReasonWarehouseUnavailable, "the query took too long; try again")
		}
		a := h.mustApply(t, example(t))
		require.Equal(t, []string{"Sync orders: keys not probed: the query took too long; try again"}, a.GetWarnings())
	})
}

func TestASyncMadeActiveByUpdateIsCheckedToo(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		h.mustApply(t, drafts(t))
		h.warehouse.script(fault.New(fault.Invalid, fault.ReasonQueryInvalid, "line 1: no; mend it"), nil)
		s := h.sync(t, "customers")
		s.State = stateActive
		_, err := h.UpdateSync(t.Context(), &configv1.UpdateSyncRequest{Sync: s, UpdateMask: mask("state")})
		refused(t, err, fault.Invalid, fault.ReasonInvalidArgument)
		h.warehouse.script(nil, nil)
		r, err := h.UpdateSync(t.Context(), &configv1.UpdateSyncRequest{Sync: s, UpdateMask: mask("state")})
		require.NoError(t, err)
		require.Equal(t, stateActive, r.GetSync().GetState())
	})
}

func TestPauseAndResume(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		h.mustApply(t, drafts(t))
		_, err := h.PauseSync(t.Context(), &configv1.PauseSyncRequest{Id: "customers"})
		refused(t, err, fault.Precondition, fault.ReasonRunState)
		_, err = h.ResumeSync(t.Context(), &configv1.ResumeSyncRequest{Id: "customers"})
		refused(t, err, fault.Precondition, fault.ReasonRunState)
		_, err = h.ActivateSync(t.Context(), &configv1.ActivateSyncRequest{Id: "customers"})
		require.NoError(t, err)
		first := h.scheduled(t, "customers").GetActiveSince().AsTime()
		require.Equal(t, "shop", h.scheduled(t, "customers").GetConnection())

		_, err = h.SetSyncStatus(t.Context(), &configv1.SetSyncStatusRequest{
			Id: "customers", Status: configv1.SyncStatus_SYNC_STATUS_FAULTED, Reason: "the password expired", NextStep: "set a new one",
		})
		require.NoError(t, err)
		s := h.sync(t, "customers")
		require.Equal(t, "the password expired", s.GetStatusReason())
		require.Equal(t, "set a new one", s.GetStatusNextStep())
		require.EqualValues(t, 1, s.GetVersion())
		require.Equal(t, configv1.SyncStatus_SYNC_STATUS_FAULTED, h.scheduled(t, "customers").GetStatus())

		p, err := h.PauseSync(t.Context(), &configv1.PauseSyncRequest{Id: "customers"})
		require.NoError(t, err)
		require.Equal(t, statePaused, p.GetSync().GetState())
		require.Equal(t, configv1.SyncStatus_SYNC_STATUS_FAULTED, p.GetSync().GetStatus())
		h.warehouse.script(fault.New(fault.Unavailable, fault.ReasonWarehouseLocked, "locked; close it"), nil)
		r, err := h.ResumeSync(t.Context(), &configv1.ResumeSyncRequest{Id: "customers"})
		require.NoError(t, err)
		require.Equal(t, stateActive, r.GetSync().GetState())
		require.Equal(t, configv1.SyncStatus_SYNC_STATUS_HEALTHY, r.GetSync().GetStatus())
		require.Empty(t, r.GetSync().GetStatusReason())
		require.True(t, h.scheduled(t, "customers").GetActiveSince().AsTime().After(first), "ticks of the pause are not missed ones")

		_, err = h.SetSyncStatus(t.Context(), &configv1.SetSyncStatusRequest{Id: "customers"})
		refused(t, err, fault.Invalid, fault.ReasonInvalidArgument)
		_, err = h.SetSyncStatus(t.Context(), &configv1.SetSyncStatusRequest{Id: "nobody", Status: configv1.SyncStatus_SYNC_STATUS_HELD})
		refused(t, err, fault.NotFound, fault.ReasonNotFound)
	})
}

func (h *house) scheduled(t *testing.T, id string) *configv1.ScheduledSync {
	t.Helper()
	r, err := h.ListSchedules(t.Context(), &configv1.ListSchedulesRequest{})
	require.NoError(t, err)
	for _, s := range r.GetSyncs() {
		if s.GetId() == id {
			return s
		}
	}
	require.Fail(t, "not scheduled", id)
	return nil
}

func TestEveryChangeMakesAVersionThatStays(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		h.mustApply(t, example(t))
		first := h.snapshot(t, "customers", 0)
		require.EqualValues(t, 1, first.GetVersion())
		require.Equal(t, "crm", first.GetFeed().GetMeta().GetId())
		require.Equal(t, "customers", first.GetMapping().GetMeta().GetId())
		require.Equal(t, "/docs/shop.duckdb", first.GetConnection().GetDuckdb().GetPath())

		steps := []struct{ from, to string }{
			{"path: ./shop.duckdb", "path: ./other.duckdb"}, {"environment: prod", "environment: dev"}, {"SELECT id, email", "SELECT id, upper(email)"},
			{"to: source", "to: origin"}, {"lookback: 10m", "lookback: 20m"},
		}
		content := example(t)
		for i, step := range steps {
			content = strings.Replace(content, step.from, step.to, 1)
			h.mustApply(t, content)
			require.EqualValues(t, i+2, h.sync(t, "customers").GetVersion(), step.to)
			require.EqualValues(t, i+2, h.snapshot(t, "customers", 0).GetVersion(), step.to)
			require.EqualValues(t, i+2, h.scheduled(t, "customers").GetVersion())
		}
		require.EqualValues(t, 3, h.sync(t, "orders").GetVersion(), "connection and feed only")
		require.EqualValues(t, 2, h.snapshot(t, "customers", 0).GetMapping().GetVersion())
		require.True(t, proto.Equal(first, h.snapshot(t, "customers", 1)), "old versions never change")

		uid := h.sync(t, "customers").GetMeta().GetUid()
		require.True(t, proto.Equal(h.snapshot(t, "customers", 3), h.snapshot(t, uid, 3)))
		_, err := h.GetSyncSnapshot(t.Context(), &configv1.GetSyncSnapshotRequest{Sync: uid, Workspace: "other"})
		refused(t, err, fault.NotFound, fault.ReasonNotFound)
		_, err = h.GetSyncSnapshot(t.Context(), &configv1.GetSyncSnapshotRequest{Sync: uid, Version: 99})
		refused(t, err, fault.NotFound, fault.ReasonNotFound)
		_, err = h.DeleteSync(t.Context(), &configv1.DeleteSyncRequest{Id: "customers"})
		require.NoError(t, err)
		require.True(t, proto.Equal(first, h.snapshot(t, uid, 1)), "runs that are open still read it")
		_, err = h.GetSyncSnapshot(t.Context(), &configv1.GetSyncSnapshotRequest{Sync: "customers"})
		refused(t, err, fault.NotFound, fault.ReasonNotFound)
	})
}

func TestASyncWithoutAFeedWritesAsTheDefaultFeed(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		h.mustApply(t, "kind: Connection\nid: c\nduckdb: {path: x}\n---\nkind: DataModel\nid: m\nconnection: c\nrecord_kind: users\ntable: t\n---\nkind: Sync\nid: s\ndata_model: m\nmode: full\nstate: active\n")
		f := h.snapshot(t, "s", 0).GetFeed()
		require.Equal(t, "default", f.GetMeta().GetId())
		require.Equal(t, configv1.Environment_ENVIRONMENT_PROD, f.GetEnvironment())
		require.Equal(t, configv1.InputProtection_INPUT_PROTECTION_CREATE_AND_UPDATE, f.GetInputProtection())
		require.Nil(t, h.snapshot(t, "s", 0).GetMapping())
		own := feed("default")
		own.Environment = configv1.Environment_ENVIRONMENT_DEV
		h.createFeed(t, own)
		require.Equal(t, configv1.Environment_ENVIRONMENT_DEV, h.snapshot(t, "s", 0).GetFeed().GetEnvironment())
		require.EqualValues(t, 2, h.sync(t, "s").GetVersion())
		_, err := h.DeleteFeed(t.Context(), &configv1.DeleteFeedRequest{Id: "default"})
		require.NoError(t, err)
		require.Equal(t, configv1.Environment_ENVIRONMENT_PROD, h.snapshot(t, "s", 0).GetFeed().GetEnvironment())
	})
}

func TestSchedulesArePagedOverAllWorkspaces(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		h.mustApply(t, example(t))
		h.mustApply(t, example(t), func(r *configv1.ApplyRequest) { r.Workspace = "other" })
		seen := map[string]bool{}
		r := &configv1.ListSchedulesRequest{PageSize: 3}
		for {
			got, err := h.ListSchedules(t.Context(), r)
			require.NoError(t, err)
			for _, s := range got.GetSyncs() {
				seen[s.GetWorkspace()+"/"+s.GetId()] = true
				require.NotNil(t, s.GetActiveSince())
			}
			if r.PageToken = got.GetNextPageToken(); r.GetPageToken() == "" {
				break
			}
		}
		require.Equal(t, map[string]bool{"default/customers": true, "default/orders": true, "other/customers": true, "other/orders": true}, seen)
	})
}

func TestPreviewsGoThroughTheMeshAndWriteNothing(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		h.mustApply(t, example(t))
		p, err := h.PreviewSync(t.Context(), &configv1.PreviewSyncRequest{Id: "customers", Limit: 3})
		require.NoError(t, err)
		require.Len(t, p.GetRows(), 3)
		require.NotNil(t, p.EstimatedBytesScanned, "what the warehouse estimates, be it nothing")
		require.Equal(t, "create", p.GetRows()[0].GetEffect())
		require.Equal(t, "7", p.GetRows()[0].GetProfile().GetFields()["mpid"].GetStringValue())
		require.Equal(t, "reject", p.GetRows()[1].GetEffect())
		require.Equal(t, []string{"column id: is no number (rules[0])"}, p.GetRows()[1].GetRejects())
		require.Nil(t, p.GetRows()[1].GetProfile())
		require.Equal(t, "update", p.GetRows()[2].GetEffect())
		require.Equal(t, "9", p.GetRows()[2].GetProfile().GetFields()["mpid"].GetStringValue())

		m, err := h.PreviewDataModel(t.Context(), &configv1.PreviewDataModelRequest{Id: "orders", Limit: 2})
		require.NoError(t, err)
		require.Len(t, m.GetRows(), 2)
		require.NotNil(t, m.EstimatedBytesScanned)
		require.Equal(t, "id", m.GetColumns()[0].GetName())
		_, err = h.PreviewDataModel(t.Context(), &configv1.PreviewDataModelRequest{Id: "orders", Limit: -1})
		refused(t, err, fault.Invalid, fault.ReasonInvalidArgument)
		_, err = h.PreviewSync(t.Context(), &configv1.PreviewSyncRequest{Id: "nobody"})
		refused(t, err, fault.NotFound, fault.ReasonNotFound)

		c, err := h.TestConnection(t.Context(), &configv1.TestConnectionRequest{Id: "shop"})
		require.NoError(t, err)
		require.False(t, c.GetOk())
		require.Equal(t, "authenticate", c.GetSteps()[1].GetName())
		l, err := h.ListTables(t.Context(), &configv1.ListTablesRequest{Id: "shop", Prefix: "x_"})
		require.NoError(t, err)
		require.Equal(t, "x_orders", l.GetTables()[0].GetName())
		s, err := h.PrintSetup(t.Context(), &configv1.PrintSetupRequest{Id: "app_db"})
		require.NoError(t, err)
		require.Equal(t, "CREATE ROLE millrace", s.GetText())
	})
}
