package postgres

import (
	"context"
	"io"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/fault"
)

// TestEachFaultOfTheServerHasItsClass holds that a batch is never at fault for its store: it is decided again after a
// conflict, and waits for everything that an operator can mend.
func TestEachFaultOfTheServerHasItsClass(t *testing.T) {
	for code, class := range map[string]fault.Class{
		"23505": fault.Conflict, "40001": fault.Conflict, "40P01": fault.Conflict, "40003": fault.Conflict, "55P03": fault.Conflict,
		"08006": fault.Unavailable, "53100": fault.Unavailable, "53200": fault.Unavailable, "53300": fault.Unavailable,
		"57014": fault.Unavailable, "57P01": fault.Unavailable, "57P02": fault.Unavailable, "57P03": fault.Unavailable,
		"58030": fault.Unavailable, "25006": fault.Unavailable, "28P01": fault.Unavailable, "42501": fault.Unavailable, "3D000": fault.Unavailable,
		"42601": fault.Internal, "22021": fault.Internal, "XX001": fault.Internal,
	} {
		err := classify(t.Context(), "commit", &pgconn.PgError{Code: code, Message: "a row value"})
		require.Equal(t, class, fault.ClassOf(err), code)
		require.NotContains(t, fault.As(err).Message, "row value", code)
	}
	require.Equal(t, fault.Unavailable, fault.ClassOf(classify(t.Context(), "commit", io.ErrUnexpectedEOF)))
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	require.Equal(t, fault.Cancelled, fault.ClassOf(classify(ended, "commit", &pgconn.PgError{Code: "57014"})))
}
