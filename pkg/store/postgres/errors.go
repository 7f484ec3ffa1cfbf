package postgres

import (
	"context"
	"errors"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"millrace.dev/pkg/fault"
)

// classify gives an error of the driver its class. What is classified already, and the end of ctx, pass through. The
// message names the step and the server's code, never its text, which may quote values.
func classify(ctx context.Context, what string, err error) error {
	var own *fault.Error
	if errors.As(err, &own) {
		return err
	}
	if ctx.Err() != nil {
		return fault.As(context.Cause(ctx))
	}
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return ofCode(what, pg, err)
	}
	// No answer from the server: not reached, gone, or cut off.
	return &fault.Error{
		Class: fault.Unavailable, Reason: fault.ReasonStoreUnavailable, Err: err,
		Message: "store: " + what + ": PostgreSQL can not be reached; see that it runs and takes connections",
	}
}

func ofCode(what string, pg *pgconn.PgError, err error) error {
	e := &fault.Error{Err: err, Message: "store: " + what + ": PostgreSQL error " + pg.Code}
	switch {
	case pg.Code == "23505", strings.HasPrefix(pg.Code, "40"), pg.Code == "55P03":
		// unique key, serialization, deadlock, lock not available
		return changed(what, err)
	case pg.Code == "53100":
		e.Class, e.Reason = fault.Unavailable, fault.ReasonStoreUnavailable
		e.Message = "store: " + what + ": PostgreSQL's disk is full; free space, the work goes on by itself"
	case strings.HasPrefix(pg.Code, "28"), pg.Code == "42501", pg.Code == "3D000":
		// The rows are not at fault: they wait until the operator has mended it.
		e.Class, e.Reason = fault.Unavailable, fault.ReasonStoreUnavailable
		e.Message += ": the user, its privileges or the database is missing; check the store's URL and grants"
	case strings.HasPrefix(pg.Code, "53"), strings.HasPrefix(pg.Code, "57"), strings.HasPrefix(pg.Code, "08"),
		strings.HasPrefix(pg.Code, "58"), pg.Code == "25006":
		// resources, operator's intervention, connection, system, a standby that takes no writes
		e.Class, e.Reason = fault.Unavailable, fault.ReasonStoreUnavailable
	default:
		e.Class, e.Reason = fault.Internal, fault.ReasonInternal
	}
	return e
}

// changed is the answer to a commit that lost against another one.
func changed(what string, err error) error {
	return &fault.Error{
		Class: fault.Conflict, Reason: fault.ReasonCommitConflict, Err: err,
		Message: "store: " + what + ": what was looked up has changed since; look and decide again",
	}
}
