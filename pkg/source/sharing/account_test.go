//go:build cgo && duckdb_arrow

package sharing_test

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/source"
	"millrace.dev/pkg/source/sharing"
)

const (
	profileVariable = "MILLRACE_TEST_DELTA_SHARING_PROFILE"
	shareVariable   = "MILLRACE_TEST_DELTA_SHARING_SHARE"
	schemaVariable  = "MILLRACE_TEST_DELTA_SHARING_SCHEMA"
)

// TestRealServer tests a real share where the environment names the path of a profile file, and of it a share and a schema:
// each table is described, planned and read as far as a thousand rows, or refused with a reason.
func TestRealServer(t *testing.T) {
	path := os.Getenv(profileVariable)
	if path == "" {
		t.Logf("%s is not set: no real server was reached", profileVariable)
		return
	}
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	c := resource.Connection{DeltaSharing: &resource.DeltaSharing{
		Share: os.Getenv(shareVariable), Schema: os.Getenv(schemaVariable), Profile: resource.Secret{Plain: string(text)},
	}}
	s := openWith(t, sharing.Settings{}, c)
	for _, step := range s.Check(t.Context()) {
		require.True(t, step.OK, "%s: %s", step.Name, step.Message)
	}
	b, _ := source.As[source.Browser](s)
	read1000 := 0
	for found, err := range b.Tables(t.Context(), "") {
		require.NoError(t, err)
		q := table(found.Name)
		if _, err := s.Describe(t.Context(), q); err != nil {
			require.Equal(t, fault.ReasonQueryInvalid, fault.ReasonOf(err), "%s: %v", found.Name, err)
			continue
		}
		plan := planOf(t, s, q, 4)
		q.Snapshot, q.Limit = plan.Snapshot, 1000
		require.Len(t, values(t, s, q), int(min(1000, plan.EstimatedRows)), found.Name)
		read1000++
	}
	require.NotZero(t, read1000, "no table of the share can be read")
}
