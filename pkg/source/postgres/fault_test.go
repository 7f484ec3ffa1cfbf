package postgres

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/fault"
)

// TestEachCodeOfTheServerHasItsClass holds what a run does about each fault that a warehouse may have: wait, try again,
// or fail at once for its owner to mend.
func TestEachCodeOfTheServerHasItsClass(t *testing.T) {
	for code, want := range map[string]struct {
		class  fault.Class
		reason fault.Reason
	}{
		"08006": {fault.Unavailable, fault.ReasonWarehouseUnavailable}, // connection failure
		"57P01": {fault.Unavailable, fault.ReasonWarehouseUnavailable}, // shutdown, or terminated by an administrator
		"57P02": {fault.Unavailable, fault.ReasonWarehouseUnavailable}, // crash of another backend
		"57P03": {fault.Unavailable, fault.ReasonWarehouseUnavailable}, // starting up
		"53100": {fault.Unavailable, fault.ReasonWarehouseUnavailable}, // disk full
		"58030": {fault.Unavailable, fault.ReasonWarehouseUnavailable}, // I/O error
		"XX000": {fault.Unavailable, fault.ReasonWarehouseUnavailable},

		"53300": {fault.Throttled, fault.ReasonWarehouseThrottled}, // too many connections

		"57014": {fault.Unavailable, fault.ReasonQueryInterrupted}, // statement timeout
		"53200": {fault.Unavailable, fault.ReasonQueryInterrupted}, // out of memory
		"53400": {fault.Unavailable, fault.ReasonQueryInterrupted}, // temp_file_limit
		"55P03": {fault.Unavailable, fault.ReasonQueryInterrupted}, // lock timeout
		"40001": {fault.Unavailable, fault.ReasonQueryInterrupted}, // conflict with a standby's recovery
		"40P01": {fault.Unavailable, fault.ReasonQueryInterrupted}, // deadlock
		"25P03": {fault.Unavailable, fault.ReasonQueryInterrupted}, // idle in a transaction for too long
		"25P04": {fault.Unavailable, fault.ReasonQueryInterrupted}, // transaction_timeout

		"28P01": {fault.Denied, fault.ReasonWarehouseDenied}, // wrong or expired password
		"28000": {fault.Denied, fault.ReasonWarehouseDenied}, // pg_hba.conf
		"42501": {fault.Denied, fault.ReasonWarehouseDenied}, // insufficient privilege
		"3D000": {fault.NotFound, fault.ReasonNotFound},

		"42601": {fault.Invalid, fault.ReasonQueryInvalid}, // syntax
		"42P01": {fault.Invalid, fault.ReasonQueryInvalid}, // no such table
		"0A000": {fault.Invalid, fault.ReasonQueryInvalid}, // not supported
		"54001": {fault.Invalid, fault.ReasonQueryInvalid}, // too complex
		"25006": {fault.Invalid, fault.ReasonQueryInvalid}, // it writes
		"22012": {fault.Precondition, fault.ReasonQueryInvalid},
		"P0001": {fault.Precondition, fault.ReasonQueryInvalid}, // RAISE
		"3F000": {fault.Precondition, fault.ReasonQueryInvalid},
	} {
		p := &pgconn.PgError{Code: code, Message: "it says 'a secret'"}
		err := classify(t.Context(), p, "", 0)
		require.Equal(t, want.class, fault.ClassOf(err), code)
		require.Equal(t, want.reason, fault.ReasonOf(err), code)
		require.NotContains(t, fault.As(err).Message, "secret", code)
	}
}

func TestALostConnectionAndTheEndOfAContextAreTold(t *testing.T) {
	require.NoError(t, classify(t.Context(), nil, "", 0))
	for _, lost := range []error{io.ErrUnexpectedEOF, &net.OpError{Op: "read", Err: errors.New("connection reset by peer")}, garbled()} {
		err := classify(t.Context(), lost, "", 0)
		require.Equal(t, fault.Unavailable, fault.ClassOf(err))
		require.Equal(t, fault.ReasonWarehouseUnavailable, fault.ReasonOf(err))
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	require.Equal(t, fault.Cancelled, fault.ClassOf(classify(ended, &pgconn.PgError{Code: "57014"}, "", 0)), "our own cancel is no time-out")
}

func TestAUserCalledPasswordIsNoWrongPassword(t *testing.T) {
	config, err := pgx.ParseConfig("host=127.0.0.1 port=1 user=password_reader database=SASL sslmode=disable")
	require.NoError(t, err)
	_, err = pgx.ConnectConfig(t.Context(), config)
	require.Equal(t, fault.Unavailable, fault.ClassOf(connectFault(t.Context(), err)))
	require.False(t, unfitting(err))
}
