package e2e_test

import (
	"errors"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	ingestionv1 "millrace.dev/gen/millrace/ingestion/v1"
	"millrace.dev/pkg/fault"
)

// deletes deletes what a sync, or a run of it, brought in, and answers what went.
func (m mesh) deletes(t *testing.T, sync, run string) *ingestionv1.ImportEffects {
	t.Helper()
	stream, err := m.ingestion.DeleteImport(t.Context(), &ingestionv1.DeleteImportRequest{Workspace: m.workspace, Sync: sync, Run: run})
	require.NoError(t, err)
	var out *ingestionv1.ImportEffects
	for {
		res, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return out
		}
		require.NoError(t, err)
		out = res.GetEffects()
	}
}

// TestAnImportIsDeletedAndComesInAgain deletes one run of a sync and then all that the sync brought in. What is deleted is
// gone, and what is read again counts as created.
func TestAnImportIsDeletedAndComesInAgain(t *testing.T) {
	const n, more = 5_000, 500
	w := newWarehouse(t, n)
	m := startOne(t, databases{})
	empty := m.digest(t)
	m.apply(t, "", w.documents("customers", asIs))
	m.run(t, "customers")
	first := m.digest(t)
	w.add(t, n+1, n+more+1)
	second := m.run(t, "customers")
	require.EqualValues(t, more, second.GetCounts().GetCreated())
	whole := m.digest(t)

	e := m.deletes(t, "customers", second.GetId())
	require.EqualValues(t, more, e.GetRows())
	require.EqualValues(t, more, e.GetProfilesDeleted())
	require.Equal(t, first.GetDigest(), m.digest(t).GetDigest(), "the run is undone")
	require.EqualValues(t, more, m.run(t, "customers", full).GetCounts().GetCreated(), "its rows come in again")
	require.Equal(t, whole.GetDigest(), m.digest(t).GetDigest())

	e = m.deletes(t, "customers", "")
	require.EqualValues(t, n+more, e.GetRows())
	require.EqualValues(t, 2*(n+more), e.GetIdentities())
	require.Equal(t, empty.GetDigest(), m.digest(t).GetDigest(), "nothing of the sync is left")
	require.Zero(t, m.deletes(t, "customers", "").GetRows(), "once more deletes nothing")
	require.EqualValues(t, n+more, m.run(t, "customers", full).GetCounts().GetCreated())
	require.Equal(t, whole.GetDigest(), m.digest(t).GetDigest())

	stream, err := m.ingestion.DeleteImport(t.Context(), &ingestionv1.DeleteImportRequest{Workspace: m.workspace, Sync: "nobody"})
	require.NoError(t, err)
	_, err = stream.Recv()
	require.Equal(t, fault.ReasonNotFound, fault.ReasonOf(fault.FromStatus(err)))
}
