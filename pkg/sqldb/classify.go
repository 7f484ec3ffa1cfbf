package sqldb

import (
	"context"
	"database/sql"
	"errors"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"millrace.dev/pkg/fault"
)

const primaryCode = 0xff // SQLite's extended codes keep the primary one in the low byte

// classify makes a driver's error one of ours. Driver texts stay in the cause: they may hold values.
func classify(doing string, err error) error {
	var own *fault.Error
	if errors.As(err, &own) || errors.Is(err, context.Canceled) {
		return err
	}
	if errors.Is(err, sql.ErrNoRows) {
		return wrap(fault.NotFound, fault.ReasonNotFound, "not found", err)
	}
	var lite *sqlite.Error
	if errors.As(err, &lite) {
		return classifySQLite(doing, lite)
	}
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return classifyPostgres(doing, pg)
	}
	return wrap(fault.Unavailable, fault.ReasonStoreUnavailable, "the database cannot "+doing+"; see that it is reachable", err)
}

func classifySQLite(doing string, e *sqlite.Error) error {
	switch e.Code() {
	case sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY:
		return wrap(fault.Conflict, fault.ReasonAlreadyExists, "exists already", e)
	}
	switch e.Code() & primaryCode {
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return wrap(fault.Unavailable, fault.ReasonStoreUnavailable, "the database is locked by another process", e)
	case sqlite3.SQLITE_FULL:
		return wrap(fault.Unavailable, fault.ReasonStoreUnavailable, "the database's disk is full; free some space", e)
	case sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY:
		return wrap(fault.Unavailable, fault.ReasonStoreUnavailable, "the database's file cannot be used; see its folder's rights and disk", e)
	case sqlite3.SQLITE_INTERRUPT:
		return wrap(fault.Cancelled, fault.ReasonCancelled, "cancelled", e)
	}
	return wrap(fault.Internal, fault.ReasonInternal, "the database refused to "+doing, e)
}

func classifyPostgres(doing string, e *pgconn.PgError) error {
	if e.Code == "23505" {
		return wrap(fault.Conflict, fault.ReasonAlreadyExists, "exists already", e)
	}
	if len(e.Code) < 2 {
		return wrap(fault.Internal, fault.ReasonInternal, "the database refused to "+doing, e)
	}
	switch e.Code {
	case "53100":
		return wrap(fault.Unavailable, fault.ReasonStoreUnavailable, "the database's disk is full; free some space", e)
	case "25006":
		return wrap(fault.Unavailable, fault.ReasonStoreUnavailable, "the database takes no writes; it is read-only, or a standby", e)
	case "3D000", "42501":
		return wrap(fault.Unavailable, fault.ReasonStoreUnavailable, "the database or its user's privileges are missing; correct the grants or --sql, or --trace-database for traces", e)
	}
	switch e.Code[:2] {
	case "08", "40", "53", "55", "57", "58":
		return wrap(fault.Unavailable, fault.ReasonStoreUnavailable, "the database cannot "+doing+" now", e)
	case "28": // what is in hand is not at fault: it waits until the operator has mended it
		return wrap(fault.Unavailable, fault.ReasonStoreUnavailable, "the database refused the credentials; correct --sql, or --trace-database for traces", e)
	}
	return wrap(fault.Internal, fault.ReasonInternal, "the database refused to "+doing, e)
}

func wrap(c fault.Class, r fault.Reason, msg string, err error) error {
	return &fault.Error{Class: c, Reason: r, Message: msg, Err: err}
}

// transient says whether the same transaction may succeed when it is tried again at once.
func transient(err error) bool {
	var lite *sqlite.Error
	if errors.As(err, &lite) {
		code := lite.Code() & primaryCode
		return code == sqlite3.SQLITE_BUSY || code == sqlite3.SQLITE_LOCKED
	}
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Code == "40001" || pg.Code == "40P01"
	}
	return false
}
