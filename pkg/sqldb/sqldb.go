// Package sqldb is the control plane's SQL: one way to speak to SQLite (embedded, pure Go) and to PostgreSQL, with the
// same statements and the same migrations.
//
// Statements use ? placeholders. Instants are stored as BIGINT microseconds since the Unix epoch (see Micros).
// Errors come out classified: STORE_UNAVAILABLE for a database that is busy, gone or full, ALREADY_EXISTS for a broken
// unique key.
package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite" // the SQLite driver of database/sql

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/lifeline"
)

const (
	busyTimeout  = 5 * time.Second
	retryElapsed = 20 * time.Second
	maxConns     = 8
)

// DB is a database of one or more services. Safe for concurrent use.
type DB struct {
	db       *sql.DB
	postgres bool
}

// Option changes how a database is opened.
type Option int

// Relaxed lets SQLite's commits return before the disk has them: a power loss may take the last ones, and leaves the
// database whole. It is for what may be lost, such as traces. PostgreSQL is as its operator has set it up.
const Relaxed Option = 1

// Open connects to sqlite:PATH (the file and its folder are made where they are missing) or postgres://…, and answers
// once the database does. Callers Close it.
func Open(ctx context.Context, url string, options ...Option) (*DB, error) {
	var (
		d   *DB
		err error
	)
	switch {
	case strings.HasPrefix(url, "sqlite:"):
		d, err = openSQLite(strings.TrimPrefix(url, "sqlite:"), slices.Contains(options, Relaxed))
	case strings.HasPrefix(url, "postgres://"), strings.HasPrefix(url, "postgresql://"):
		d, err = openPostgres(url)
	default:
		return nil, fault.New(fault.Invalid, fault.ReasonInvalidArgument,
			"the database's address has neither the form sqlite:PATH nor postgres://…; correct --sql, or --trace-database for traces")
	}
	if err != nil {
		return nil, classify("open the database", err)
	}
	if err := d.db.PingContext(ctx); err != nil {
		return nil, errors.Join(classify("reach the database", err), d.db.Close())
	}
	return d, nil
}

func openPostgres(url string) (*DB, error) {
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, err //nolint:wrapcheck // classified by Open
	}
	cfg.DialFunc = lifeline.Dialer().DialContext
	db := stdlib.OpenDB(*cfg)
	db.SetMaxOpenConns(maxConns)
	return &DB{db: db, postgres: true}, nil
}

func openSQLite(path string, relaxed bool) (*DB, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of %s: %w", path, err)
	}
	synchronous := "FULL"
	if relaxed {
		synchronous = "NORMAL"
	}
	dsn := fmt.Sprintf("file:%s?_pragma=journal_mode(WAL)&_pragma=synchronous(%s)&_pragma=busy_timeout(%d)&_pragma=foreign_keys(1)&_txlock=immediate",
		path, synchronous, busyTimeout.Milliseconds())
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	db.SetMaxOpenConns(maxConns)
	return &DB{db: db}, nil
}

// Close ends all connections.
func (d *DB) Close() error {
	if err := d.db.Close(); err != nil {
		return classify("close the database", err)
	}
	return nil
}

// Postgres says whether the database is PostgreSQL.
func (d *DB) Postgres() bool { return d.postgres }

// Micros answers t as it is stored: microseconds since the Unix epoch, 0 for the zero time.
func Micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// Time reads what Micros wrote, in UTC.
func Time(micros int64) time.Time {
	if micros == 0 {
		return time.Time{}
	}
	return time.UnixMicro(micros).UTC()
}

// Querier is what DB and Tx have in common.
type Querier interface {
	Exec(ctx context.Context, query string, args ...any) (int64, error)
	Query(ctx context.Context, scan func(Row) error, query string, args ...any) error
	QueryRow(ctx context.Context, query string, args ...any) Row
	Now(ctx context.Context) (time.Time, error)
}

var (
	_ Querier = (*DB)(nil)
	_ Querier = (*Tx)(nil)
)

// Row is one row of an answer. Scan answers NotFound where QueryRow found none.
type Row interface{ Scan(dest ...any) error }

// Exec runs a statement and answers how many rows it touched.
func (d *DB) Exec(ctx context.Context, query string, args ...any) (int64, error) {
	return exec(ctx, d.db, d.bind(query), args)
}

// Query hands each row to scan, in order, and frees the cursor. An error of scan ends it and is answered.
func (d *DB) Query(ctx context.Context, scan func(Row) error, query string, args ...any) error {
	return each(ctx, d.db, scan, d.bind(query), args)
}

// QueryRow answers the first row.
func (d *DB) QueryRow(ctx context.Context, query string, args ...any) Row {
	return row{d.db.QueryRowContext(ctx, d.bind(query), args...)}
}

// Now answers the database's clock, by which leases go.
func (d *DB) Now(ctx context.Context) (time.Time, error) { return now(ctx, d, d.postgres) }

// Tx is a transaction.
type Tx struct {
	tx       *sql.Tx
	postgres bool
}

// Tx runs f in a transaction that is serializable against every other writer, and commits it when f answers nil. f may
// run several times, when the database was busy or two transactions met; it must have no effect of its own.
func (d *DB) Tx(ctx context.Context, f func(tx *Tx) error) error {
	policy := backoff.NewExponentialBackOff()
	policy.InitialInterval, policy.MaxInterval = 2*time.Millisecond, 500*time.Millisecond
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		err := d.once(ctx, f)
		if err != nil && !transient(err) {
			return struct{}{}, backoff.Permanent(err)
		}
		return struct{}{}, err
	}, backoff.WithBackOff(policy), backoff.WithMaxElapsedTime(retryElapsed))
	var p *backoff.PermanentError
	if errors.As(err, &p) {
		err = p.Err
	}
	return err
}

func (d *DB) once(ctx context.Context, f func(tx *Tx) error) error {
	opts := &sql.TxOptions{}
	if d.postgres {
		opts.Isolation = sql.LevelSerializable
	}
	tx, err := d.db.BeginTx(ctx, opts)
	if err != nil {
		return classify("begin", err)
	}
	if err := f(&Tx{tx: tx, postgres: d.postgres}); err != nil {
		if rerr := tx.Rollback(); rerr != nil && !errors.Is(rerr, sql.ErrTxDone) {
			return errors.Join(err, classify("roll back", rerr))
		}
		return err
	}
	if err := tx.Commit(); err != nil {
		return classify("commit", err)
	}
	return nil
}

// Exec runs a statement and answers how many rows it touched.
func (t *Tx) Exec(ctx context.Context, query string, args ...any) (int64, error) {
	return exec(ctx, t.tx, bind(query, t.postgres), args)
}

// Query hands each row to scan, in order, and frees the cursor. No other statement of t may run meanwhile.
func (t *Tx) Query(ctx context.Context, scan func(Row) error, query string, args ...any) error {
	return each(ctx, t.tx, scan, bind(query, t.postgres), args)
}

// QueryRow answers the first row.
func (t *Tx) QueryRow(ctx context.Context, query string, args ...any) Row {
	return row{t.tx.QueryRowContext(ctx, bind(query, t.postgres), args...)}
}

// Now answers the database's clock, by which leases go.
func (t *Tx) Now(ctx context.Context) (time.Time, error) { return now(ctx, t, t.postgres) }

func now(ctx context.Context, q interface {
	QueryRow(ctx context.Context, query string, args ...any) Row
}, postgres bool) (time.Time, error) {
	text := "SELECT CAST(ROUND((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER) * 1000"
	if postgres {
		text = "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)"
	}
	var micros int64
	if err := q.QueryRow(ctx, text).Scan(&micros); err != nil {
		return time.Time{}, err
	}
	return Time(micros), nil
}

type handle interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

func exec(ctx context.Context, h handle, query string, args []any) (int64, error) {
	res, err := h.ExecContext(ctx, query, args...)
	if err != nil {
		return 0, classify("write", err)
	}
	n, err := res.RowsAffected()
	if err != nil {
		return 0, classify("write", err)
	}
	return n, nil
}

func each(ctx context.Context, h handle, scan func(Row) error, query string, args []any) (err error) {
	rows, err := h.QueryContext(ctx, query, args...)
	if err != nil {
		return classify("read", err)
	}
	defer func() {
		if cerr := rows.Close(); err == nil && cerr != nil {
			err = classify("read", cerr)
		}
	}()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return classify("read", err)
	}
	return nil
}

type row struct{ r *sql.Row }

func (r row) Scan(dest ...any) error {
	if err := r.r.Scan(dest...); err != nil {
		return classify("read", err)
	}
	return nil
}

func (d *DB) bind(query string) string { return bind(query, d.postgres) }

// bind writes ? as $1, $2 … for PostgreSQL. Statements hold no ? inside quotes.
func bind(query string, postgres bool) string {
	if !postgres || !strings.Contains(query, "?") {
		return query
	}
	var b strings.Builder
	n := 0
	for i := range len(query) {
		if query[i] != '?' {
			b.WriteByte(query[i])
			continue
		}
		n++
		fmt.Fprintf(&b, "$%d", n)
	}
	return b.String()
}
