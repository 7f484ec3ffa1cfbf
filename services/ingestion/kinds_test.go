package ingestion

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/timestamppb"

	configv1 "millrace.dev/gen/millrace/config/v1"
	ingestionv1 "millrace.dev/gen/millrace/ingestion/v1"
	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/record"
	"millrace.dev/pkg/record/recordtest"
)

// another lets the world's sync be of a data model and a mode, as version 2, 3, … of the sync.
func (w *world) another(sync string, m *configv1.DataModel, mode configv1.Mode) {
	w.peers.mu.Lock()
	defer w.peers.mu.Unlock()
	w.sync, w.run = id.NewSync(), id.NewRun()
	w.peers.snapshot = &configv1.SyncSnapshot{
		Version: 1, DataModel: m,
		Sync: &configv1.Sync{Meta: &configv1.Meta{Id: sync, Uid: w.sync.String()}, DataModel: m.GetMeta().GetId(), Mode: mode},
	}
	w.peers.models = append(w.peers.models, m)
}

// brings ingests rows as one batch of a run, and answers its counts.
func (w *world) brings(kind record.Kind, runNo int64, rows ...recordtest.Row) *schedulerv1.Counts {
	w.t.Helper()
	o := w.origin(len(rows))
	o.RunNo, o.SyncID, o.Full = runNo, w.peers.snapshot.GetSync().GetMeta().GetId(), true
	require.NoError(w.t, w.handle(w.message(o, recordtest.Batch(kind, rows, recordtest.Options{}))))
	return w.report().GetCounts()
}

func day(n int) time.Time { return time.Date(2026, 1, n, 0, 0, 0, 0, time.UTC) }

func TestAnAttributeKeepsTheTypeThatItCameWithFirst(t *testing.T) {
	for policy, want := range map[string]struct {
		visits  any
		refused int64
	}{"widen": {1.5, 0}, "reject": {3.0, 1}, "text": {"1.5", 0}} {
		t.Run(policy, func(t *testing.T) {
			w := newWorld(t, nil)
			w.settings.AttributeConflict = policy
			w.another("people", &configv1.DataModel{Meta: &configv1.Meta{Id: "people"}, RecordKind: configv1.RecordKind_RECORD_KIND_USERS}, configv1.Mode_MODE_FULL)
			person := func(n int, visits any) recordtest.Row {
				return recordtest.Row{Key: "ann", Time: day(n), Identities: map[string]string{"customer_id": "ann"}, Attributes: map[string]any{"visits": visits}}
			}
			w.brings(record.Users, 1, person(1, 3))
			c := w.brings(record.Users, 2, person(2, 1.5))
			require.Equal(t, want.refused, c.GetRefused())
			p, err := w.profile("customer_id", "ann")
			require.NoError(t, err)
			require.Equal(t, want.visits, p.GetUserAttributes().AsMap()["visits"])
		})
	}
}

func companies() *configv1.DataModel {
	return &configv1.DataModel{
		Meta: &configv1.Meta{Id: "companies"}, RecordKind: configv1.RecordKind_RECORD_KIND_GROUPS, KeyColumns: []string{"id"}, GroupType: "company",
	}
}

func company(key string, at time.Time, attributes map[string]any) recordtest.Row {
	return recordtest.Row{Key: key, Time: at, Identities: map[string]string{"company": key}, Attributes: attributes}
}

func TestAGroupIsKnownByItsTypeAndIDAndKeepsTheNewestOfEachAttribute(t *testing.T) {
	w := newWorld(t, nil)
	w.another("companies", companies(), configv1.Mode_MODE_INCREMENTAL)
	c := w.brings(record.Groups, 1, company("acme", day(2), map[string]any{"plan": "gold", "seats": 5}), company("0", day(1), map[string]any{"plan": "free"}))
	require.EqualValues(t, 2, c.GetCreated())
	c = w.brings(record.Groups, 2, company("acme", day(3), map[string]any{"plan": "platinum", "seats": nil}), company("0", day(1), map[string]any{"plan": "free"}))
	require.EqualValues(t, 1, c.GetUpdated())
	require.EqualValues(t, 1, c.GetUnchanged())

	r, err := w.client.GetGroup(t.Context(), &ingestionv1.GetGroupRequest{GroupType: "company", GroupId: "acme"})
	require.NoError(t, err)
	g := r.GetGroup()
	require.Equal(t, "company", g.GetGroupType())
	require.Equal(t, "acme", g.GetGroupId())
	require.Equal(t, map[string]any{"plan": "platinum", "seats": 5.0}, g.GetAttributes().AsMap())
	require.Equal(t, "companies", g.GetProvenance()["plan"].GetSync())
	require.True(t, day(3).Equal(g.GetProvenance()["plan"].GetRowTime().AsTime()))

	l, err := w.client.ListGroups(t.Context(), &ingestionv1.ListGroupsRequest{GroupType: "company"})
	require.NoError(t, err)
	require.Len(t, l.GetGroups(), 2, "an id of zero is an id")

	people, err := w.client.ListProfiles(t.Context(), &ingestionv1.ListProfilesRequest{})
	require.NoError(t, err)
	require.Empty(t, people.GetProfiles(), "groups are no people")
	_, err = w.client.GetGroup(t.Context(), &ingestionv1.GetGroupRequest{GroupType: "team", GroupId: "acme"})
	require.Equal(t, fault.NotFound, fault.ClassOf(fault.FromStatus(err)))
	_, err = w.client.GetGroup(t.Context(), &ingestionv1.GetGroupRequest{GroupType: "company"})
	require.Equal(t, fault.Invalid, fault.ClassOf(fault.FromStatus(err)))
}

func TestMembersOfAGroupAreThoseWhoseAttributeStillNamesIt(t *testing.T) {
	w := newWorld(t, nil)
	w.another("people", &configv1.DataModel{Meta: &configv1.Meta{Id: "people"}, RecordKind: configv1.RecordKind_RECORD_KIND_USERS}, configv1.Mode_MODE_FULL)
	w.peers.models = append(w.peers.models, companies())
	person := func(key string, at time.Time, of any) recordtest.Row {
		return recordtest.Row{Key: key, Time: at, Identities: map[string]string{"customer_id": key}, Attributes: map[string]any{"company": of}}
	}
	w.brings(record.Users, 1, person("ann", day(1), "acme"), person("bob", day(1), "acme"), person("cid", day(1), "beta"), person("dan", day(1), nil))
	members := func(group string) (out []string) {
		r, err := w.client.ListGroupMembers(t.Context(), &ingestionv1.ListGroupMembersRequest{GroupType: "company", GroupId: group})
		require.NoError(t, err)
		for _, p := range r.GetProfiles() {
			out = append(out, p.GetIdentities()[0].GetValue())
		}
		return out
	}
	require.ElementsMatch(t, []string{"ann", "bob"}, members("acme"))
	require.Equal(t, []string{"cid"}, members("beta"))
	w.brings(record.Users, 2, person("bob", day(2), "beta"))
	require.Equal(t, []string{"ann"}, members("acme"))
	require.ElementsMatch(t, []string{"bob", "cid"}, members("beta"))
	require.Empty(t, members("nobody's"))
}

func TestAGroupIsPreviewedAsAGroup(t *testing.T) {
	w := newWorld(t, nil)
	w.another("companies", companies(), configv1.Mode_MODE_FULL)
	m := w.message(w.origin(1), recordtest.Batch(record.Groups, []recordtest.Row{company("acme", day(1), map[string]any{"plan": "gold"})}, recordtest.Options{}))
	r, err := w.client.PreviewRecords(t.Context(), &ingestionv1.PreviewRecordsRequest{Snapshot: w.peers.snapshot, Records: m.Body})
	require.NoError(t, err)
	require.Equal(t, "created", r.GetRecords()[0].GetEffect())
	require.Nil(t, r.GetRecords()[0].GetProfile())
	require.Equal(t, "acme", r.GetRecords()[0].GetGroup().GetGroupId())
	require.Equal(t, map[string]any{"plan": "gold"}, r.GetRecords()[0].GetGroup().GetAttributes().AsMap())
}

func products(enrich ...string) *configv1.DataModel {
	return &configv1.DataModel{
		Meta: &configv1.Meta{Id: "products"}, RecordKind: configv1.RecordKind_RECORD_KIND_LOOKUP, KeyColumns: []string{"sku"}, Enrich: enrich,
	}
}

func product(key, title string) recordtest.Row {
	return recordtest.Row{Key: key, Attributes: map[string]any{"title": title}}
}

// title answers the title of a product, "" where the table has none.
func (w *world) title(sku string) string {
	w.t.Helper()
	r, err := w.client.GetLookupRow(w.t.Context(), &ingestionv1.GetLookupRowRequest{DataModel: "products", KeyValues: []string{sku}})
	if fault.ClassOf(fault.FromStatus(err)) == fault.NotFound {
		return ""
	}
	require.NoError(w.t, err)
	require.Equal(w.t, []string{sku}, r.GetRow().GetKeyValues())
	return r.GetRow().GetRow().GetFields()["title"].GetStringValue()
}

func TestRowsOfALookupTableAreSeenAllAtOnceWhenTheRunHasSucceeded(t *testing.T) {
	w := newWorld(t, nil)
	w.another("products", products(), configv1.Mode_MODE_FULL)
	c := w.brings(record.Lookup, 1, product("a", "Kite"), product("b", "Ball"))
	require.EqualValues(t, 2, c.GetCreated())
	require.Empty(t, w.title("a"), "the run is open")
	w.peers.succeed(&schedulerv1.Run{RunNo: 1})
	require.Equal(t, "Kite", w.title("a"))

	w.run = id.NewRun()
	c = w.brings(record.Lookup, 2, product("a", "Kite"), product("c", "Dart"))
	require.EqualValues(t, 1, c.GetCreated())
	require.EqualValues(t, 1, c.GetUnchanged())
	require.Equal(t, "Ball", w.title("b"), "run 2 is open, or has failed")
	require.Empty(t, w.title("c"))

	w.run = id.NewRun()
	w.brings(record.Lookup, 3, product("a", "Red kite"))
	w.peers.succeed(&schedulerv1.Run{RunNo: 3})
	require.Equal(t, "Red kite", w.title("a"))
	require.Empty(t, w.title("b"), "what the run did not read is gone")
	require.Empty(t, w.title("c"), "nor is there what a failed run brought")

	w.run = id.NewRun()
	c = w.brings(record.Lookup, 4, product("b", "Ball"), product("b", "Ball"))
	require.EqualValues(t, 1, c.GetCreated(), "it was not in the table")
	require.EqualValues(t, 1, c.GetCollapsed())
}

func TestARetriedRunFillsTheTableThatTheFailedOneBegan(t *testing.T) {
	w := newWorld(t, nil)
	w.another("products", products(), configv1.Mode_MODE_FULL)
	w.brings(record.Lookup, 1, product("a", "Kite"))
	failed := w.run
	w.run = id.NewRun()
	o := w.origin(1)
	o.RunNo, o.SyncID, o.Full, o.Retried = 2, "products", true, []record.RetriedRun{{RunNo: 1, Run: failed}}
	require.NoError(t, w.handle(w.message(o, recordtest.Batch(record.Lookup, []recordtest.Row{product("b", "Ball")}, recordtest.Options{}))))
	w.report()
	w.peers.succeed(&schedulerv1.Run{RunNo: 2, RetryOf: failed.String()})
	require.Equal(t, "Kite", w.title("a"))
	require.Equal(t, "Ball", w.title("b"))
}

func TestEventsShowTheLookupRowsThatTheirFieldsName(t *testing.T) {
	w := newWorld(t, nil)
	w.another("products", products("data.custom_attributes.sku"), configv1.Mode_MODE_FULL)
	w.brings(record.Lookup, 1, product("a", "Kite"), product("7", "Ball"))
	w.peers.succeed(&schedulerv1.Run{RunNo: 1})
	table := w.peers.snapshot

	w.another("orders", &configv1.DataModel{Meta: &configv1.Meta{Id: "orders"}, RecordKind: configv1.RecordKind_RECORD_KIND_EVENTS}, configv1.Mode_MODE_FULL)
	event := func(key string, at int, sku any) recordtest.Row {
		return recordtest.Row{
			Key: key, Identities: map[string]string{"customer_id": "ann"}, EventType: "custom_event",
			Data: map[string]any{"timestamp_unixtime_ms": day(at).UnixMilli(), "custom_attributes": map[string]any{"sku": sku}},
		}
	}
	w.brings(record.Events, 1, event("1", 1, "a"))
	w.brings(record.Events, 1, event("2", 2, 7), event("3", 3, 8), event("4", 4, nil))
	w.peers.snapshot = table
	r, err := w.client.ListProfileEvents(t.Context(), &ingestionv1.ListProfileEventsRequest{Identity: &ingestionv1.Identity{Type: "customer_id", Value: "ann"}})
	require.NoError(t, err)
	var got []string
	for _, e := range r.GetEvents() {
		got = append(got, e.GetLookups()["products"].GetFields()["title"].GetStringValue())
	}
	require.Equal(t, []string{"", "", "Ball", "Kite"}, got, "newest first")
}

func TestAProfileAsOfATimeIsWhatItsHistorySays(t *testing.T) {
	w := newWorld(t, nil)
	w.another("plans", &configv1.DataModel{
		Meta: &configv1.Meta{Id: "plans"}, RecordKind: configv1.RecordKind_RECORD_KIND_PROFILE_HISTORY, KeyColumns: []string{"id", "since"}, StartTime: "since",
	}, configv1.Mode_MODE_FULL)
	version := func(start int, attributes map[string]any) recordtest.Row {
		return recordtest.Row{
			Key: recordtest.KeyValues("m-19", day(start).String()), Start: day(start), Identities: map[string]string{"customer_id": "m-19"}, Attributes: attributes,
		}
	}
	c := w.brings(record.History, 1,
		version(20, map[string]any{"plan": "inactive", "mrr": nil}), version(1, map[string]any{"plan": "free", "mrr": 0}), version(10, map[string]any{"plan": "gold", "mrr": 30}))
	require.EqualValues(t, 3, c.GetCreated())
	at := func(as time.Time) map[string]any {
		r, err := w.client.GetProfile(t.Context(), &ingestionv1.GetProfileRequest{
			Identity: &ingestionv1.Identity{Type: "customer_id", Value: "m-19"}, AsOf: timestamppb.New(as),
		})
		require.NoError(t, err)
		require.Equal(t, "m-19", r.GetProfile().GetIdentities()[0].GetValue())
		return r.GetProfile().GetUserAttributes().AsMap()
	}
	require.Empty(t, at(day(1).Add(-time.Second)))
	require.Equal(t, map[string]any{"plan": "free", "mrr": 0.0}, at(day(1)), "a version holds from its start on")
	require.Equal(t, map[string]any{"plan": "free", "mrr": 0.0}, at(day(10).Add(-time.Second)))
	require.Equal(t, map[string]any{"plan": "gold", "mrr": 30.0}, at(day(15)))
	require.Equal(t, map[string]any{"plan": "inactive"}, at(day(400)), "the last version has no end, and holds as a whole")

	now, err := w.profile("customer_id", "m-19")
	require.NoError(t, err)
	require.Empty(t, now.GetUserAttributes().GetFields(), "histories are read by time")
	c = w.brings(record.History, 2, version(10, map[string]any{"plan": "silver", "mrr": 20}))
	require.EqualValues(t, 1, c.GetUpdated())
	require.Equal(t, map[string]any{"plan": "silver", "mrr": 20.0}, at(day(15)))
	e, err := w.client.ListProfileEvents(t.Context(), &ingestionv1.ListProfileEventsRequest{Identity: &ingestionv1.Identity{Type: "customer_id", Value: "m-19"}})
	require.NoError(t, err)
	require.Empty(t, e.GetEvents(), "versions are no events of the person")
}

func TestAGroupHasAHistoryToo(t *testing.T) {
	w := newWorld(t, nil)
	w.another("seats", &configv1.DataModel{
		Meta: &configv1.Meta{Id: "seats"}, RecordKind: configv1.RecordKind_RECORD_KIND_PROFILE_HISTORY, KeyColumns: []string{"company", "since"}, StartTime: "since", GroupType: "company",
	}, configv1.Mode_MODE_FULL)
	w.brings(record.History, 1, recordtest.Row{Key: "1", Start: day(1), Identities: map[string]string{"company": "acme"}, Attributes: map[string]any{"seats": 5}})
	r, err := w.client.GetGroup(t.Context(), &ingestionv1.GetGroupRequest{GroupType: "company", GroupId: "acme", AsOf: timestamppb.New(day(2))})
	require.NoError(t, err)
	require.Equal(t, map[string]any{"seats": 5.0}, r.GetGroup().GetAttributes().AsMap())
}
