package snowflake

import (
	"errors"
	"testing"

	client "github.com/snowflakedb/gosnowflake/v2"
	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/fault"
)

// Errors are classed by their numbers and states; of their texts a line and the name of an object are taken, no value.
func TestErrorsByNumber(t *testing.T) {
	for _, c := range []struct {
		number int
		state  string
		text   string
		class  fault.Class
		reason fault.Reason
		says   string
	}{
		{1003, "42000", "SQL compilation error:\nsyntax error line 3 at position 7 unexpected ''canary''.", fault.Invalid, fault.ReasonQueryInvalid, "line 2: syntax error"},
		{904, "42000", "SQL compilation error: error line 4 at position 2\ninvalid identifier 'NICKNAME'", fault.Invalid, fault.ReasonQueryInvalid, "line 3: invalid identifier NICKNAME"},
		{2003, "42S02", "SQL compilation error:\nObject 'D.PUBLIC.\"t x\"' does not exist or not authorized.", fault.Invalid, fault.ReasonQueryInvalid, `D.PUBLIC."t x"`},
		{2262, "42601", "canary", fault.Invalid, fault.ReasonQueryInvalid, "002262"},
		{100038, "22018", "Numeric value 'canary' is not recognized", fault.Precondition, fault.ReasonQueryInvalid, "100038"},
		{100051, "22012", "Division by zero", fault.Precondition, fault.ReasonQueryInvalid, "100051"},
		{3001, "42501", "Insufficient privileges to operate on table 'CANARY'", fault.Denied, fault.ReasonWarehouseDenied, "grant it"},
		{606, "57P03", "No active warehouse selected in the current session.", fault.Precondition, fault.ReasonWarehouseDenied, "snowflake.warehouse"},
		{604, "57014", "SQL execution canceled", fault.Unavailable, fault.ReasonQueryInterrupted, "tried again"},
		{630, "57014", "Statement reached its statement or warehouse timeout", fault.Unavailable, fault.ReasonQueryInterrupted, "statement_timeout"},
		{90073, "22000", "Warehouse cannot be resumed", fault.Throttled, fault.ReasonWarehouseThrottled, "resource monitor"},
		{707, "02000", "Time travel data is not available", fault.Unavailable, fault.ReasonSourceChanged, "planned again"},
		{390100, "08004", "Incorrect username canary", fault.Denied, fault.ReasonWarehouseDenied, "snowflake.user"},
		{390144, "08004", "JWT token is invalid. canary", fault.Denied, fault.ReasonWarehouseDenied, "RSA_PUBLIC_KEY"},
		{390189, "08004", "Role canary", fault.Denied, fault.ReasonWarehouseDenied, "snowflake.role"},
		{390201, "08004", "The requested database does not exist", fault.NotFound, fault.ReasonNotFound, "mend it"},
		{390422, "08004", "Incoming request with IP 203.0.113.9 is not allowed", fault.Denied, fault.ReasonWarehouseDenied, "network policy"},
		{394400, "08004", "Programmatic access token is invalid. canary", fault.Denied, fault.ReasonWarehouseDenied, "394400"},
		{390111, "08003", "Session no longer exists", fault.Unavailable, fault.ReasonWarehouseUnavailable, "session has ended"},
		{client.ErrFailedToPostQuery, "08006", "failed to POST. HTTP: %v, URL: %v", fault.Unavailable, fault.ReasonWarehouseUnavailable, "(HTTP 502)"},
		{300001, "XX000", "canary", fault.Unavailable, fault.ReasonWarehouseUnavailable, "300001"},
	} {
		err := &client.SnowflakeError{Number: c.number, SQLState: c.state, Message: c.text, MessageArgs: []any{502, "https://canary"}}
		got := classify(t.Context(), &call{}, err, 1)
		require.Equal(t, c.class, fault.ClassOf(got), "%d: %v", c.number, got)
		require.Equal(t, c.reason, fault.ReasonOf(got), "%d: %v", c.number, got)
		require.ErrorContains(t, got, c.says)
		require.NotContains(t, got.Error(), "canary")
		require.NotContains(t, got.Error(), "CANARY")
		require.Equal(t, c.number == codeTimeTravel, isGone(got))
	}
	lost := classify(t.Context(), &call{}, errors.New(`Post "https://host/queries?token=canary": EOF`), 0)
	require.Equal(t, fault.Unavailable, fault.ClassOf(lost))
	require.NotContains(t, lost.Error(), "canary")
}
