package sqldb

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/fault"
)

// TestEachFaultOfTheControlDatabaseHasItsClass holds that whatever the operator can mend is waited for: no run is at
// fault for its control database.
func TestEachFaultOfTheControlDatabaseHasItsClass(t *testing.T) {
	for code, want := range map[string]struct {
		class fault.Class
		again bool // at once, in a new transaction
	}{
		"23505": {fault.Conflict, false},
		"40001": {fault.Unavailable, true},
		"40P01": {fault.Unavailable, true},
		"08006": {fault.Unavailable, false},
		"53100": {fault.Unavailable, false},
		"53300": {fault.Unavailable, false},
		"55P03": {fault.Unavailable, false},
		"57014": {fault.Unavailable, false},
		"57P01": {fault.Unavailable, false},
		"57P03": {fault.Unavailable, false},
		"58030": {fault.Unavailable, false},
		"25006": {fault.Unavailable, false},
		"28P01": {fault.Unavailable, false},
		"42501": {fault.Unavailable, false},
		"3D000": {fault.Unavailable, false},
		"42P01": {fault.Internal, false},
		"22012": {fault.Internal, false},
		"":      {fault.Internal, false},
	} {
		err := classify("store a run", &pgconn.PgError{Code: code, Message: "a row value"})
		require.Equal(t, want.class, fault.ClassOf(err), code)
		require.Equal(t, want.again, transient(err), code)
		require.NotContains(t, fault.As(err).Message, "row value")
	}
	require.Equal(t, fault.NotFound, fault.ClassOf(classify("look", sql.ErrNoRows)))
	require.Equal(t, fault.Unavailable, fault.ClassOf(classify("commit", io.ErrUnexpectedEOF)), "nobody knows whether it is committed")
	require.Equal(t, fault.Unavailable, fault.ClassOf(classify("look", context.DeadlineExceeded)))
	require.Equal(t, fault.Cancelled, fault.ClassOf(classify("look", fmt.Errorf("pool: %w", context.Canceled))))
}
