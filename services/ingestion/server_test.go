package ingestion

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	configv1 "millrace.dev/gen/millrace/config/v1"
	ingestionv1 "millrace.dev/gen/millrace/ingestion/v1"
	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/profile"
	"millrace.dev/pkg/record"
	"millrace.dev/pkg/wire"
)

func TestEventsAreListedByProfileAndBySync(t *testing.T) {
	w := newWorld(t, nil)
	require.NoError(t, w.handle(w.users(user{"1", "a@example.com", "Ann", 100})))
	m := w.message(w.origin(3), ordersBatch(
		order{"o1", "1", "paid", 7, 100}, order{"o2", "1", "shipped", 1 << 60, 200}, order{"o3", "", "lost", 1, 150}))
	require.NoError(t, w.handle(m))
	w.report()
	counts := w.report().GetCounts()
	require.Equal(t, int64(3), counts.GetCreated())
	require.Equal(t, int64(1), counts.GetUnattributed())

	who := &ingestionv1.Identity{Type: "customer_id", Value: "1"}
	r, err := w.client.ListProfileEvents(t.Context(), &ingestionv1.ListProfileEventsRequest{Identity: who, PageSize: 1})
	require.NoError(t, err)
	require.Len(t, r.GetEvents(), 1)
	e := r.GetEvents()[0]
	require.Equal(t, "custom_event", e.GetEventType())
	require.Equal(t, "customers", e.GetSync())
	require.Equal(t, w.run.String(), e.GetRun())
	require.Equal(t, m.ID, e.GetBatch())
	require.Equal(t, map[string]any{
		"timestamp_unixtime_ms": 200000.0, "event_name": "order_shipped",
		"custom_attributes": map[string]any{"amount": "1152921504606846976"},
	}, e.GetData().AsMap())

	r, err = w.client.ListProfileEvents(t.Context(), &ingestionv1.ListProfileEventsRequest{Identity: who, PageSize: 1, PageToken: r.GetNextPageToken()})
	require.NoError(t, err)
	require.Equal(t, "order_paid", r.GetEvents()[0].GetData().AsMap()["event_name"])

	_, err = w.client.ListProfileEvents(t.Context(), &ingestionv1.ListProfileEventsRequest{
		Identity: &ingestionv1.Identity{Type: "email", Value: "a@example.com"}, PageToken: "AAAAAAAAAAAA",
	})
	require.Equal(t, fault.Invalid, fault.ClassOf(err), "a token of another list")

	all, err := w.client.ListEvents(t.Context(), &ingestionv1.ListEventsRequest{Sync: "customers", Run: w.run.String()})
	require.NoError(t, err)
	require.Len(t, all.GetEvents(), 3)
	for _, e := range all.GetEvents() {
		require.Equal(t, e.GetData().AsMap()["event_name"] == "order_lost", e.GetMpid() == "")
	}
	_, err = w.client.ListEvents(t.Context(), &ingestionv1.ListEventsRequest{})
	require.Equal(t, fault.Invalid, fault.ClassOf(err))
	_, err = w.client.ListEvents(t.Context(), &ingestionv1.ListEventsRequest{Sync: "unknown"})
	require.Equal(t, fault.NotFound, fault.ClassOf(err))
}

func TestAProfileIsFoundByIdentityAndByMPID(t *testing.T) {
	w := newWorld(t, nil)
	require.NoError(t, w.handle(w.users(user{"1", "a@example.com", "Ann", 100})))
	p, err := w.profile("customer_id", "1")
	require.NoError(t, err)
	by, err := w.client.GetProfile(t.Context(), &ingestionv1.GetProfileRequest{Mpid: p.GetMpid()})
	require.NoError(t, err)
	require.Equal(t, p.String(), by.GetProfile().String())
	q, err := w.profile("mpid", p.GetMpid())
	require.NoError(t, err)
	require.Equal(t, p.String(), q.String())

	for name, r := range map[string]*ingestionv1.GetProfileRequest{
		"nobody named": {},
		"no value":     {Identity: &ingestionv1.Identity{Type: "email"}},
		"no number":    {Mpid: "12x"},
		"named twice":  {Mpid: "12", Identity: &ingestionv1.Identity{Type: "email", Value: "x"}},
	} {
		_, err := w.client.GetProfile(t.Context(), r)
		require.Equal(t, fault.Invalid, fault.ClassOf(err), name)
	}
	_, err = w.profile("email", "secret@example.com")
	require.Equal(t, fault.NotFound, fault.ClassOf(err))
	require.NotContains(t, err.Error(), "secret")
}

func TestProfilesAreListedInPages(t *testing.T) {
	w := newWorld(t, nil)
	var rows []user
	for i := range 25 {
		rows = append(rows, user{fmt.Sprint(100 + i), "", "x", 100})
	}
	require.NoError(t, w.handle(w.users(rows...)))
	seen := map[string]bool{}
	for token, more := "", true; more; {
		r, err := w.client.ListProfiles(t.Context(), &ingestionv1.ListProfilesRequest{PageSize: 10, PageToken: token})
		require.NoError(t, err)
		for _, p := range r.GetProfiles() {
			require.False(t, seen[p.GetMpid()])
			seen[p.GetMpid()] = true
		}
		token = r.GetNextPageToken()
		more = token != ""
	}
	require.Len(t, seen, 25)
}

func TestAPreviewSaysWhatWouldBeAndWritesNothing(t *testing.T) {
	w := newWorld(t, nil)
	require.NoError(t, w.handle(w.users(user{"1", "a@example.com", "Ann", 100}, user{"2", "b@example.com", "Bob", 100})))
	w.report()
	before := w.digest()

	o := w.origin(5)
	o.Batch.Run, o.RunNo = id.NewRun(), 2
	body, err := wire.EncodeRecords(o, usersBatch(
		user{"1", "a@example.com", "Anna", 200}, user{"2", "b@example.com", "Bob", 100}, user{"3", "c@example.com", "Cid", 200},
		user{"4", "a@example.com", "Ann B", 200}, user{"", "", "Nobody", 200}))
	require.NoError(t, err)
	snapshot := &configv1.SyncSnapshot{Feed: &configv1.Feed{}}
	r, err := w.client.PreviewRecords(t.Context(), &ingestionv1.PreviewRecordsRequest{Snapshot: snapshot, Records: body})
	require.NoError(t, err)
	var effects []string
	for _, x := range r.GetRecords() {
		effects = append(effects, x.GetEffect())
	}
	require.Equal(t, []string{"updated", "unchanged", "created", "created", "refused"}, effects)
	require.Equal(t, "Bob", r.GetRecords()[1].GetProfile().GetUserAttributes().AsMap()["name"])
	require.Equal(t, "Cid", r.GetRecords()[2].GetProfile().GetUserAttributes().AsMap()["name"])
	require.Equal(t, r.GetRecords()[0].GetProfile().GetMpid(), r.GetRecords()[3].GetProfile().GetMpid(), "they share an e-mail address")
	require.Nil(t, r.GetRecords()[4].GetProfile())

	snapshot.Feed.InputProtection = configv1.InputProtection_INPUT_PROTECTION_UPDATE_ONLY
	r, err = w.client.PreviewRecords(t.Context(), &ingestionv1.PreviewRecordsRequest{Snapshot: snapshot, Records: body})
	require.NoError(t, err)
	require.Equal(t, "protected", r.GetRecords()[2].GetEffect())

	require.Equal(t, before, w.digest())
	_, err = w.profile("customer_id", "3")
	require.Equal(t, fault.NotFound, fault.ClassOf(err))
	w.silent()
}

func TestAPreviewTakesTheSyncFromItsSnapshot(t *testing.T) {
	w := newWorld(t, nil)
	require.NoError(t, w.handle(w.users(user{"1", "a@example.com", "Ann", 100})))
	w.report()
	known := w.origin(0)
	body, err := wire.EncodeRecords(record.Origin{Batch: id.Batch{Run: id.NewRun()}, Last: true}, usersBatch(user{"1", "a@example.com", "Ann", 100}, user{"2", "b@example.com", "Bob", 100}))
	require.NoError(t, err)
	r, err := w.client.PreviewRecords(t.Context(), &ingestionv1.PreviewRecordsRequest{Records: body, Snapshot: &configv1.SyncSnapshot{
		Sync: &configv1.Sync{Meta: &configv1.Meta{Id: known.SyncID, Uid: known.Sync.String()}}, Feed: &configv1.Feed{},
	}})
	require.NoError(t, err)
	require.Equal(t, "unchanged", r.GetRecords()[0].GetEffect(), "the row index of the sync knows the row")
	require.Equal(t, "created", r.GetRecords()[1].GetEffect())
	w.silent()
}

func TestValuesBecomeJSONWithoutLoss(t *testing.T) {
	for name, c := range map[string]struct {
		in   profile.Value
		want any
	}{
		"text":                {profile.Value{Kind: profile.String, Text: "1"}, "1"},
		"small integer":       {profile.Value{Kind: profile.Int, Int: 1 << 53}, 9007199254740992.0},
		"great integer":       {profile.Value{Kind: profile.Int, Int: 1<<53 + 1}, "9007199254740993"},
		"double":              {profile.Value{Kind: profile.Float, Float: 0.1}, 0.1},
		"decimal":             {profile.Value{Kind: profile.Decimal, Text: "7.00"}, "7.00"},
		"instant":             {profile.Value{Kind: profile.Instant, Int: 1_700_000_000, Nanos: 5_000_000}, "2023-11-14T22:13:20.005Z"},
		"null":                {profile.Value{Kind: profile.Cleared}, nil},
		"JSON":                {profile.Value{Kind: profile.JSON, Text: `{"a":[1,true,null]}`}, map[string]any{"a": []any{1.0, true, nil}}},
		"long number in JSON": {profile.Value{Kind: profile.JSON, Text: `[12345678901234567890,1.2345678901234567890123]`}, []any{"12345678901234567890", "1.2345678901234567890123"}},
		"no JSON at all":      {profile.Value{Kind: profile.JSON, Text: `{`}, "{"},
	} {
		require.Equal(t, c.want, toValue(c.in).AsInterface(), name)
	}
}
