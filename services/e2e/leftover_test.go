package e2e_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	configv1 "millrace.dev/gen/millrace/config/v1"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/source"
	"millrace.dev/pkg/source/redshift"
	"millrace.dev/pkg/source/redshift/redshifttest"
)

// TestNothingIsLeftOfAMirrorByDiff swaps the engine of a mirror, and deletes one: the snapshots that it kept in the warehouse
// are dropped, and what else is there stays.
func TestNothingIsLeftOfAMirrorByDiff(t *testing.T) {
	for _, provider := range []string{"duckdb", "postgres", "redshift"} {
		t.Run(provider, func(t *testing.T) {
			if provider != "redshift" { // whose credentials are in the environment
				t.Parallel()
			}
			states := t.TempDir()
			m := startOne(t, databases{states: states}).in("left")
			var x *ledger
			kept := func() int {
				files, err := filepath.Glob(filepath.Join(states, "*.duckdb"))
				require.NoError(t, err)
				return len(files)
			}
			if provider == "redshift" {
				var s *redshifttest.Peer
				x, s = newShiftLedger(t, 300, false)
				kept = func() int { return keptIn(t, s) }
			} else if x = newLedger(t, provider, 300); x.kept != nil {
				kept = func() int { return x.kept(t) }
			}
			x.engine = "diff"
			x.play(t, m, nil)
			require.Positive(t, kept())

			x.engine = "row_index"
			m.apply(t, "", x.documents())
			eventually(t, "nothing is kept", func() bool { return kept() == 0 })
			x.play(t, m, x.copy())

			x.engine = "diff"
			x.play(t, m, x.copy())
			require.Zero(t, m.run(t, "people").GetCounts().GetRead(), "it is compared in the warehouse again")
			require.Positive(t, kept())
			_, err := m.config.DeleteSync(t.Context(), &configv1.DeleteSyncRequest{Workspace: m.workspace, Id: "people"})
			require.NoError(t, err)
			eventually(t, "nothing is kept", func() bool { return kept() == 0 })
			x.exec(t, "UPDATE people SET plan = 'still there'")
		})
	}
}

// keptIn counts the tables of snapshots in a Redshift.
func keptIn(t *testing.T, s *redshifttest.Peer) int {
	t.Helper()
	src, err := redshift.New(redshift.Settings{}).Open(t.Context(), s.Connection())
	require.NoError(t, err)
	defer func() { require.NoError(t, src.Close()) }()
	n := int64(0)
	for b, err := range src.Read(t.Context(), source.Query{Model: resource.DataModel{SQL: "SELECT tablename AS t FROM pg_tables WHERE schemaname = 'kept'"}, Label: "test"}) {
		require.NoError(t, err)
		n += b.NumRows()
	}
	return int(n)
}
