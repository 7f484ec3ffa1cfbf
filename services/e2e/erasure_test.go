package e2e_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	ingestionv1 "millrace.dev/gen/millrace/ingestion/v1"
	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
	"millrace.dev/pkg/fault"
)

// erases erases a person and answers the erasure when it is done.
func (m mesh) erases(t *testing.T, typ, value string) *ingestionv1.Erasure {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ask := &ingestionv1.EraseProfileRequest{Workspace: m.workspace, Identity: &ingestionv1.Identity{Type: typ, Value: value}}
	begun, err := m.ingestion.EraseProfile(ctx, ask)
	require.NoError(t, err)
	e := begun.GetErasure()
	for ; e.GetState() != "done"; pause(ctx, 50*time.Millisecond) {
		r, err := m.ingestion.GetErasure(ctx, &ingestionv1.GetErasureRequest{Workspace: m.workspace, Id: e.GetId()})
		require.NoError(t, err)
		e = r.GetErasure()
	}
	again, err := m.ingestion.EraseProfile(ctx, ask)
	require.NoError(t, err)
	require.Equal(t, e.String(), again.GetErasure().String(), "asking again answers the same erasure")
	return e
}

// erasedFrom answers how much was removed from a place, and how the place stands.
func erasedFrom(e *ingestionv1.Erasure, place string) (int64, string) {
	for _, p := range e.GetPlaces() {
		if p.GetPlace() == place {
			return p.GetRemoved(), p.GetState()
		}
	}
	return -1, ""
}

// gone says that nobody is known by an identity.
func (m mesh) gone(t *testing.T, typ, value string) {
	t.Helper()
	_, err := m.ingestion.GetProfile(t.Context(), &ingestionv1.GetProfileRequest{Workspace: m.workspace, Identity: &ingestionv1.Identity{Type: typ, Value: value}})
	require.Equal(t, fault.ReasonNotFound, fault.ReasonOf(fault.FromStatus(err)))
}

// rejectedOf answers how many rejects of a run are listed.
func (m mesh) rejectedOf(t *testing.T, run string) int {
	t.Helper()
	r, err := m.ingestion.ListRejects(t.Context(), &ingestionv1.ListRejectsRequest{Workspace: m.workspace, Run: run, PageSize: 1000})
	require.NoError(t, err)
	return len(r.GetRejects())
}

// erasedPeople: somebody whose row came in and somebody whose row was rejected are erased. Neither comes back: not when
// everything is read again, not when the import is deleted and read anew.
func erasedPeople(t *testing.T, m mesh) {
	const n = customersWithRejects
	w := newBadWarehouse(t)
	m.apply(t, "", asFirst(w))
	first := m.end(t, m.trigger(t, "customers"))
	requireState(t, first, schedulerv1.RunState_RUN_STATE_PARTIALLY_SUCCEEDED)
	require.Equal(t, 90, m.rejectedOf(t, first.GetId()))
	mpid := m.profile(t, "customer_id", 5).GetMpid()

	e := m.erases(t, "email", "user5@example.com")
	require.EqualValues(t, 3, e.GetBlocked(), "both identities and the profile's id")
	for place, want := range map[string]int64{"profiles": 1, "identities": 2, "row_index": 1, "rejects": 0} {
		removed, state := erasedFrom(e, place)
		require.Equal(t, want, removed, place)
		require.Equal(t, "cleared", state, place)
	}
	m.gone(t, "customer_id", "5")
	m.gone(t, "mpid", mpid)
	e = m.erases(t, "customer_id", "201")
	removed, _ := erasedFrom(e, "rejects")
	require.EqualValues(t, 1, removed)
	require.Equal(t, 89, m.rejectedOf(t, first.GetId()))
	require.NotContains(t, m.export(t, first.GetId()), "201")

	again := m.end(t, m.trigger(t, "customers", full))
	requireState(t, again, schedulerv1.RunState_RUN_STATE_PARTIALLY_SUCCEEDED)
	require.EqualValues(t, 1, again.GetCounts().GetProtected())
	require.EqualValues(t, 60, again.GetCounts().GetRejected(), "counted as what they are")
	require.EqualValues(t, n-90-1, again.GetCounts().GetUnchanged())
	require.Equal(t, 89, m.rejectedOf(t, again.GetId()), "the reject of who was erased is not kept")
	m.gone(t, "email", "user5@example.com")
	whole := m.digest(t)

	require.EqualValues(t, n-90-1, m.deletes(t, "customers", "").GetRows())
	m.apply(t, "", asMended(w))
	anew := m.run(t, "customers", full)
	require.EqualValues(t, 2, anew.GetCounts().GetProtected())
	require.EqualValues(t, n-2, anew.GetCounts().GetCreated())
	m.gone(t, "customer_id", "5")
	m.gone(t, "customer_id", "201")
	require.Equal(t, whole.GetProfiles()+90-1, m.digest(t).GetProfiles())
}
