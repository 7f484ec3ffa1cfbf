// Package postgres keeps the platform's data in a database that speaks the PostgreSQL protocol.
//
// Any number of processes may work on one database. A batch is looked up in one round of set-wise queries and written
// in one transaction, by COPY where a row is known to be new and by sorted upserts elsewhere; what two commits both
// want is decided by unique keys, and the loser is told to look again. Tables stand in a schema of their own,
// millrace_store.
package postgres

import (
	"context"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/lifeline"
	"millrace.dev/pkg/profile"
	"millrace.dev/pkg/store"
)

var _ store.Store = (*Store)(nil)

// DefaultMaxConns is how many connections a store holds at most, unless Options say otherwise.
const DefaultMaxConns = 8

// Options are what an operator sets.
type Options struct {
	MaxConns int // 0: DefaultMaxConns
}

// Store is a platform store in PostgreSQL. Safe for concurrent use.
type Store struct {
	pool   *pgxpool.Pool
	scopes *dictionary[profile.Scope]
	syncs  *dictionary[id.Sync]
}

// Open connects to the database of url and brings its schema up to date; processes that start together wait for one
// another. Unavailable when it can not be reached or refuses the user, Precondition when the schema was made by a newer
// version.
func Open(ctx context.Context, url string, o Options) (*Store, error) {
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, &fault.Error{
			Class: fault.Invalid, Reason: fault.ReasonInvalidArgument, Field: "store", Err: err,
			Message: "the store's URL can not be read; it has the form postgres://user:password@host:port/database",
		}
	}
	cfg.MaxConns = DefaultMaxConns
	if o.MaxConns > 0 {
		cfg.MaxConns = int32(min(o.MaxConns, 1<<16)) //nolint:gosec // bounded on this line
	}
	if cfg.ConnConfig.RuntimeParams["application_name"] == "" {
		cfg.ConnConfig.RuntimeParams["application_name"] = "millrace"
	}
	cfg.ConnConfig.DialFunc = lifeline.Dialer().DialContext
	cfg.AfterConnect = prepare
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, classify(ctx, "connect", err)
	}
	if err := migrate(ctx, pool); err != nil {
		pool.Close()
		return nil, err
	}
	return &Store{
		pool: pool,
		scopes: newDictionary(
			`SELECT id FROM millrace_store.scopes WHERE workspace = $1 AND environment = $2 AND space = $3`,
			`INSERT INTO millrace_store.scopes (workspace, environment, space) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`,
			func(s profile.Scope) []any { return []any{string(s.Workspace), string(s.Environment), s.Space} }),
		syncs: newDictionary(
			`SELECT id FROM millrace_store.syncs WHERE uid = $1`,
			`INSERT INTO millrace_store.syncs (uid) VALUES ($1) ON CONFLICT DO NOTHING`,
			func(s id.Sync) []any { return []any{[16]byte(s)} }),
	}, nil
}

// prepare lets no commit be answered before it is on disk (a server's stronger setting stays), and compiles no query:
// that takes longer than a batch's round. What a server does not know is left alone.
func prepare(ctx context.Context, c *pgx.Conn) error {
	_, err := c.Exec(ctx, `SELECT set_config(name, value, false)
		FROM (VALUES ('synchronous_commit', 'off', 'on'), ('jit', 'on', 'off')) AS v(name, bad, value)
		WHERE current_setting(name, true) = bad`)
	if err != nil {
		return err //nolint:wrapcheck // the pool hands it to the caller, who classifies it
	}
	return nil
}

// Close closes all connections.
func (s *Store) Close() error {
	s.pool.Close()
	return nil
}

// answerWithin bounds Look and Commit. A line on which what is small passes and what is large does not keeps a connection
// that waits for an answer: nothing that it has sent is unacknowledged.
const answerWithin = time.Minute

// bounded answers ctx with that bound.
func bounded(ctx context.Context, what string) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, answerWithin, fault.New(fault.Unavailable, fault.ReasonStoreUnavailable,
		"store: %s: PostgreSQL has not answered for %s; see what it is busy with, and that large packets pass the line", what, answerWithin))
}

// with lends a connection to f.
func (s *Store) with(ctx context.Context, what string, f func(c *pgconn.PgConn) error) error {
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return classify(ctx, what, err)
	}
	defer conn.Release()
	if err := f(conn.Conn().PgConn()); err != nil {
		return classify(ctx, what, err)
	}
	return nil
}

// tx runs f in one transaction, committed when f answers nil.
func (s *Store) tx(ctx context.Context, what string, f func(c *pgconn.PgConn) error) error {
	return s.with(ctx, what, func(c *pgconn.PgConn) error {
		if err := simple(ctx, c, "BEGIN"); err != nil {
			return err
		}
		if err := f(c); err != nil {
			if rerr := simple(ctx, c, "ROLLBACK"); rerr != nil {
				// The pool destroys a connection that is left inside a transaction, which ends it as well.
				return err
			}
			return err
		}
		return simple(ctx, c, "COMMIT")
	})
}

// dictionary gives small numbers to the names of a table, and remembers them. There are as many as resources.
type dictionary[K comparable] struct {
	find, add string
	args      func(K) []any

	mu    sync.Mutex
	known map[K]int32
}

func newDictionary[K comparable](find, add string, args func(K) []any) *dictionary[K] {
	return &dictionary[K]{find: find, add: add, args: args, known: map[K]int32{}}
}

// number answers the number of k, or -1 where it has none; with create, it is given one.
func (d *dictionary[K]) number(ctx context.Context, p *pgxpool.Pool, k K, create bool) (int32, error) {
	d.mu.Lock()
	n, ok := d.known[k]
	d.mu.Unlock()
	if ok {
		return n, nil
	}
	n, err := d.lookup(ctx, p, k)
	if err != nil || (n < 0 && !create) {
		return n, err
	}
	if n < 0 {
		if _, err := p.Exec(ctx, d.add, d.args(k)...); err != nil {
			return 0, classify(ctx, "number a name", err)
		}
		if n, err = d.lookup(ctx, p, k); err != nil {
			return 0, err
		}
	}
	d.mu.Lock()
	d.known[k] = n
	d.mu.Unlock()
	return n, nil
}

func (d *dictionary[K]) lookup(ctx context.Context, p *pgxpool.Pool, k K) (int32, error) {
	rows, err := p.Query(ctx, d.find, d.args(k)...)
	if err != nil {
		return 0, classify(ctx, "look a name up", err)
	}
	defer rows.Close()
	n := int32(-1)
	for rows.Next() {
		if err := rows.Scan(&n); err != nil {
			return 0, classify(ctx, "look a name up", err)
		}
	}
	if err := rows.Err(); err != nil {
		return 0, classify(ctx, "look a name up", err)
	}
	return n, nil
}
