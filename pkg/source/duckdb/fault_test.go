//go:build cgo && duckdb_arrow

package duckdb

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/fault"
)

// TestEachKindOfTheEngineHasItsClass holds what a run does about each fault of DuckDB.
func TestEachKindOfTheEngineHasItsClass(t *testing.T) {
	for text, want := range map[string]struct {
		class  fault.Class
		reason fault.Reason
	}{
		"INTERRUPT Error: Interrupted!":                                  {fault.Cancelled, fault.ReasonCancelled},
		"IO Error: Could not read from file 'secret'":                    {fault.Unavailable, fault.ReasonWarehouseUnavailable},
		"Out of Memory Error: failed to allocate 'secret'":               {fault.Unavailable, fault.ReasonQueryInterrupted},
		"FATAL Error: database has been invalidated":                     {fault.Unavailable, fault.ReasonWarehouseUnavailable},
		"Parser Error: syntax error at or near 'secret'":                 {fault.Invalid, fault.ReasonQueryInvalid},
		"Catalog Error: Table with name x does not exist":                {fault.Invalid, fault.ReasonQueryInvalid},
		"Permission Error: Scanning 'secret' is disabled":                {fault.Invalid, fault.ReasonQueryInvalid},
		"Conversion Error: Could not convert string 'secret' to INT32":   {fault.Precondition, fault.ReasonQueryInvalid},
		`{"exception_type":"IO","exception_message":"no 'secret' file"}`: {fault.Unavailable, fault.ReasonWarehouseUnavailable},
	} {
		err := queryFault(text)
		require.Equal(t, want.class, fault.ClassOf(err), text)
		require.Equal(t, want.reason, fault.ReasonOf(err), text)
		require.NotContains(t, fault.As(err).Message, "secret", text)
	}
	for text, want := range map[string]fault.Reason{
		"IO Error: Could not set lock on file":          fault.ReasonWarehouseLocked,
		"IO Error: Cannot open file: Permission denied": fault.ReasonWarehouseDenied,
		"IO Error: No space left on device":             fault.ReasonWarehouseUnavailable,
	} {
		require.Equal(t, want, fault.ReasonOf(openFault(text)), text)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	require.Equal(t, fault.Cancelled, fault.ClassOf((&conn{}).fault(ended, "IO Error: x")), "the end of the caller's context comes first")
}
