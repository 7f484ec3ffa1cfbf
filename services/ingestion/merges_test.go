package ingestion

import (
	"testing"

	"github.com/stretchr/testify/require"

	configv1 "millrace.dev/gen/millrace/config/v1"
	ingestionv1 "millrace.dev/gen/millrace/ingestion/v1"
	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/identity"
	"millrace.dev/pkg/wire"
)

// graph makes the world's service work by strategy graph, with so many customers to a profile.
func (w *world) graph(customers string) {
	w.t.Helper()
	s, err := identity.NewRules(identity.Options{Strategy: "graph", Limits: []string{"customer_id=" + customers}})
	require.NoError(w.t, err)
	w.rules.Strategy = s
}

func email(value string) *ingestionv1.Identity {
	return &ingestionv1.Identity{Type: "email", Value: value}
}

func TestMergesAreListedAndUndone(t *testing.T) {
	w := newWorld(t, nil)
	w.graph("2")
	require.NoError(t, w.handle(w.users(user{"1", "ann@example.com", "Ann", 100}, user{"2", "bob@example.com", "Bob", 200})))
	ann, err := w.profile("customer_id", "1")
	require.NoError(t, err)
	bob, err := w.profile("customer_id", "2")
	require.NoError(t, err)
	require.NoError(t, w.handle(w.users(user{"2", "ann@example.com", "Both", 300})))

	both, err := w.profile("customer_id", "2")
	require.NoError(t, err)
	require.Equal(t, ann.GetMpid(), both.GetMpid(), "the older profile survives")
	require.Len(t, both.GetIdentities(), 4)
	old, err := w.client.GetProfile(t.Context(), &ingestionv1.GetProfileRequest{Mpid: bob.GetMpid()})
	require.NoError(t, err)
	require.Equal(t, both.GetMpid(), old.GetProfile().GetMpid(), "the old id leads to the survivor")
	all, err := w.client.ListProfiles(t.Context(), &ingestionv1.ListProfilesRequest{})
	require.NoError(t, err)
	require.Len(t, all.GetProfiles(), 1)
	require.Len(t, all.GetProfiles()[0].GetIdentities(), 4)

	listed, err := w.client.ListMerges(t.Context(), &ingestionv1.ListMergesRequest{Identity: email("bob@example.com")})
	require.NoError(t, err)
	require.Len(t, listed.GetMerges(), 1)
	m := listed.GetMerges()[0]
	require.Equal(t, "merged", m.GetKind())
	require.Equal(t, "graph", m.GetRule())
	require.Equal(t, "ann@example.com", m.GetGlue().GetValue())
	require.Equal(t, []string{bob.GetMpid()}, m.GetOthers())
	require.Equal(t, []string{"2"}, m.GetKeyValues())
	require.NotNil(t, m.GetCreateTime())
	require.Nil(t, m.GetUndoTime())

	for range 2 { // the second changes nothing
		undone, err := w.client.UndoMerge(t.Context(), &ingestionv1.UndoMergeRequest{Merge: m.GetId()})
		require.NoError(t, err)
		require.NotNil(t, undone.GetMerge().GetUndoTime())
	}
	back, err := w.profile("customer_id", "2")
	require.NoError(t, err)
	require.Equal(t, bob.GetMpid(), back.GetMpid())
	require.Equal(t, "Bob", back.GetUserAttributes().AsMap()["name"])

	require.NoError(t, w.handle(w.users(user{"2", "ann@example.com", "Again", 400})))
	again, err := w.profile("customer_id", "2")
	require.NoError(t, err)
	require.Equal(t, bob.GetMpid(), again.GetMpid(), "the same value does not glue them again")
	listed, err = w.client.ListMerges(t.Context(), &ingestionv1.ListMergesRequest{Identity: email("ann@example.com")})
	require.NoError(t, err)
	require.Len(t, listed.GetMerges(), 2)
	require.Equal(t, "stopped", listed.GetMerges()[1].GetKind())
	require.Equal(t, "unmerged", listed.GetMerges()[1].GetRule())

	_, err = w.client.UndoMerge(t.Context(), &ingestionv1.UndoMergeRequest{Merge: listed.GetMerges()[1].GetId()})
	require.Equal(t, fault.Precondition, fault.ClassOf(err))
	_, err = w.client.UndoMerge(t.Context(), &ingestionv1.UndoMergeRequest{Merge: "00112233445566778899aabbccddeeff"})
	require.Equal(t, fault.NotFound, fault.ClassOf(err))
	for _, bad := range []string{"", "1", "x"} {
		_, err = w.client.UndoMerge(t.Context(), &ingestionv1.UndoMergeRequest{Merge: bad})
		require.Equal(t, fault.Invalid, fault.ClassOf(err), bad)
	}
}

func TestAPreviewShowsWhatBecomesOfIdentities(t *testing.T) {
	w := newWorld(t, nil)
	w.graph("2")
	require.NoError(t, w.handle(w.users(user{"1", "ann@example.com", "Ann", 100}, user{"2", "bob@example.com", "Bob", 200}, user{"3", "cid@example.com", "Cid", 300})))
	before := w.digest()
	o := w.origin(3)
	o.Batch.Run, o.RunNo = id.NewRun(), 2
	body, err := wire.EncodeRecords(o, usersBatch(
		user{"2", "ann@example.com", "Both", 400}, user{"3", "ann@example.com", "Three", 500}, user{"4", "dan@example.com", "Dan", 600}))
	require.NoError(t, err)
	r, err := w.client.PreviewRecords(t.Context(), &ingestionv1.PreviewRecordsRequest{Snapshot: &configv1.SyncSnapshot{Feed: &configv1.Feed{}}, Records: body})
	require.NoError(t, err)

	first := r.GetRecords()[0]
	require.Equal(t, "merged", first.GetIdentity().GetOutcome())
	require.Equal(t, "ann@example.com", first.GetIdentity().GetMerges()[0].GetGlue().GetValue())
	require.Len(t, first.GetProfile().GetIdentities(), 4, "as it would be")
	second := r.GetRecords()[1].GetIdentity()
	require.Equal(t, "attached", second.GetOutcome())
	require.Equal(t, "stopped", second.GetMerges()[0].GetKind())
	require.Equal(t, "customer_id 2 ever", second.GetMerges()[0].GetLimit())
	require.Equal(t, "left", second.GetIdentities()[1].GetFate())
	require.Equal(t, "limit", second.GetIdentities()[1].GetRule())
	require.Equal(t, "created", r.GetRecords()[2].GetIdentity().GetOutcome())
	require.Equal(t, "bound", r.GetRecords()[2].GetIdentity().GetIdentities()[0].GetFate())

	f := r.GetFigures()
	require.Equal(t, []int64{1, 2, 1, 2}, []int64{f.GetCreates(), f.GetUpdates(), f.GetMerges(), f.GetLargestCluster()})
	require.Equal(t, "ann@example.com", f.GetGlue().GetValue())
	require.Equal(t, before, w.digest(), "nothing was written")
}

func TestSettingsOfIdentitiesAreCheckedAtOnce(t *testing.T) {
	_, err := Settings{
		BlockedIdentities: []string{"^("}, IdentityStrategy: "graph", IdentityLogin: []string{"email"}, IdentityLimits: []string{"email=no"},
	}.rules()
	require.Equal(t, fault.Invalid, fault.ClassOf(err))
	require.Len(t, fault.As(err).Violations, 3)
	r, err := Settings{}.rules()
	require.NoError(t, err)
	require.Equal(t, identity.BestMatch, r.Strategy.Strategy(), "by default a row goes where it always went")
}
