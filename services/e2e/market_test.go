package e2e_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/testenv"
)

// market is a PostgreSQL warehouse with the customers of warehouse, each with 6,000 bytes more that nobody maps. Millrace
// reads it through a relay, as a user of its own.
type market struct {
	*relay
	admin string // URL
	user  string
	more  string // further settings of the connection
}

// newMarket answers a market with the customers 1 to n.
func newMarket(t *testing.T, n int) *market {
	t.Helper()
	s := &market{admin: testenv.Postgres(t), user: "reader_" + strings.ToLower(rand.Text()[:10])}
	u, err := url.Parse(s.admin)
	require.NoError(t, err)
	s.relay = newRelay(t, u.Host)
	s.exec(t, `CREATE TABLE customers (id BIGINT PRIMARY KEY, email TEXT, first_name TEXT, plan TEXT, visits INTEGER, updated_at TIMESTAMP, etl_batch TEXT)`,
		fmt.Sprintf(`INSERT INTO customers SELECT i, 'User' || i || '@Example.com', 'First' || (i %% 100), (ARRAY['free','pro'])[1 + i %% 2], i %% 50,
			TIMESTAMP '2024-01-01' + i * INTERVAL '1 second', repeat('x', 6000) FROM generate_series(1, %d) AS t(i)`, n),
		`CREATE TABLE nap (seconds DOUBLE PRECISION)`, `INSERT INTO nap VALUES (0)`,
		`ANALYZE`, `CREATE ROLE `+s.user+` LOGIN PASSWORD 'first'`, `GRANT SELECT ON ALL TABLES IN SCHEMA public TO `+s.user)
	t.Cleanup(func() {
		s.open()
		s.exec(t, "DROP OWNED BY "+s.user, "DROP ROLE "+s.user)
	})
	return s
}

// exec runs statements as the warehouse's administrator.
func (s *market) exec(t *testing.T, statements ...string) {
	t.Helper()
	execAt(t, s.admin, statements...)
}

// execAt runs statements in the database of a URL.
func execAt(t *testing.T, at string, statements ...string) {
	t.Helper()
	withConn(t, at, func(ctx context.Context, c *pgx.Conn) {
		for _, sql := range statements {
			_, err := c.Exec(ctx, sql)
			require.NoError(t, err, sql)
		}
	})
}

// count answers the number that a query selects.
func (s *market) count(t *testing.T, sql string, args ...any) int64 {
	t.Helper()
	var n int64
	withConn(t, s.admin, func(ctx context.Context, c *pgx.Conn) { require.NoError(t, c.QueryRow(ctx, sql, args...).Scan(&n)) })
	return n
}

func withConn(t *testing.T, at string, f func(ctx context.Context, c *pgx.Conn)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // cleanups use it, too
	defer cancel()
	c, err := pgx.Connect(ctx, at)
	require.NoError(t, err)
	defer func() { require.NoError(t, c.Close(ctx)) }()
	f(ctx, c)
}

// active answers how many statements of Millrace run in the warehouse.
func (s *market) active(t *testing.T) int64 {
	t.Helper()
	return s.count(t, "SELECT count(*) FROM pg_stat_activity WHERE usename = $1 AND state = 'active'", s.user)
}

// hangUp ends every session of Millrace, as an administrator does.
func (s *market) hangUp(t *testing.T) {
	t.Helper()
	s.count(t, "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = $1", s.user)
}

// documents answers the resources of a sync of the customers; password is the connection's.
func (s *market) documents(t *testing.T, id, password string) string {
	t.Helper()
	host, port, err := net.SplitHostPort(s.addr)
	require.NoError(t, err)
	u, err := url.Parse(s.admin)
	require.NoError(t, err)
	text := warehouse{path: "HERE"}.documents(id, asIs)
	return strings.Replace(text, "duckdb: {path: HERE}", fmt.Sprintf("postgres: {host: %s, port: %s, database: %s, user: %s, password: %s, sslmode: disable%s}",
		host, port, u.Path[1:], s.user, password, s.more), 1)
}

// sleepy makes every read of a document's customers take as long as the table nap says, before the first row.
func sleepy(documents string) string {
	return strings.Replace(documents, "sql: SELECT * FROM customers",
		"sql: SELECT c.* FROM customers c, (SELECT pg_sleep(seconds) AS slept FROM nap) n WHERE n.slept IS NOT NULL", 1)
}
