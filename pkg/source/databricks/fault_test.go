package databricks

import (
	"testing"

	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/fault"
)

// TestEachSQLSTATEHasItsClass holds what a run does about each state that the warehouse may answer with: wait, try again, or
// fail at once for its owner to mend.
func TestEachSQLSTATEHasItsClass(t *testing.T) {
	type is struct {
		class  fault.Class
		reason fault.Reason
	}
	down, ended := is{fault.Unavailable, fault.ReasonWarehouseUnavailable}, is{fault.Unavailable, fault.ReasonQueryInterrupted}
	query, owner := is{fault.Invalid, fault.ReasonQueryInvalid}, is{fault.Precondition, fault.ReasonQueryInvalid}
	for state, want := range map[string]is{
		"":      down,
		"0":     down,
		"08000": down,
		"08001": down,
		"08KD1": {fault.Throttled, fault.ReasonWarehouseThrottled}, // server busy
		"56K00": down,                                              // Spark Connect
		"58030": down,                                              // I/O error
		"XXKDS": down,                                              // storage of Delta
		"XXKUC": down,                                              // Unity Catalog
		"ZZ999": down,

		"28000": {fault.Denied, fault.ReasonWarehouseDenied},
		"42501": {fault.Denied, fault.ReasonWarehouseDenied},

		"HYT00": ended, // time-out
		"57KD0": ended, // time-out
		"57014": ended, // cancelled
		"HY008": ended, // cancelled
		"53200": ended, // out of memory
		"40000": ended,
		"55006": ended, // in use
		"XX000": ended, // an internal error, which is of the query for all that is known
		"XXKD0": ended, // a bad plan

		"07001": query,
		"0A000": query,
		"0AKUC": query,
		"0B000": query,
		"21000": query,
		"42601": query,
		"42P01": query,
		"42K03": query, // no such path
		"54000": query, // too large, or too complex

		"22012": owner,
		"22KD1": owner,
		"23K01": owner,
		"2D521": owner,
		"38000": owner, // an external routine fails
		"39000": owner,
		"3D000": owner,
		"55019": owner, // the object is in a state that does not allow it
		"56038": owner, // not in this environment
		"P0001": owner,

		"KD000": ended,                                          // of a data source
		"KD001": ended,                                          // a file could not be read
		"KD002": owner,                                          // unexpected version
		"KD003": owner,                                          // incorrect access to a data type
		"KD004": owner,                                          // version of Delta's protocol
		"KD005": owner,                                          // no column but partition columns
		"KD006": owner,                                          // no commits in the log
		"KD007": {fault.Unavailable, fault.ReasonSourceChanged}, // the signature changed
		"KD008": owner,                                          // no signature
		"KD009": owner,                                          // partitions do not match
		"KD00A": owner,                                          // unexpected partial scan
		"KD00B": owner,                                          // unrecognised file
		"KD00C": owner,                                          // versions are not contiguous
		"KD00D": owner,                                          // statistics required
		"KD00E": owner,                                          // a feature of the table
		"KD010": ended,                                          // an external data source fails
		"KD011": owner,                                          // no such dataflow graph
		"KDZZZ": ended,                                          // what is to come
	} {
		err := stated(state, "[SOME_CONDITION] it says 'a secret' of `main`.`t`")
		require.Equal(t, want, is{fault.ClassOf(err), fault.ReasonOf(err)}, "%q: %v", state, err)
		require.NotContains(t, err.Message, "secret", state)
	}
}
