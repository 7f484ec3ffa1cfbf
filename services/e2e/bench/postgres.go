//go:build cgo && duckdb_arrow

package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	"github.com/jackc/pgx/v5"
	_ "github.com/jackc/pgx/v5/stdlib" // reads the source back
)

// runPostgres measures users from a PostgreSQL table to the PostgreSQL store, both on one server.
func runPostgres(ctx context.Context, b bench, w workload, n int64) (_ []figures, err error) {
	dir := filepath.Join(b.dir, "postgres")
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	server, err := startPostgres(ctx, dir)
	if err != nil {
		return nil, fmt.Errorf("a PostgreSQL server: %w", err)
	}
	defer func() { err = errors.Join(err, server.stop()) }()
	source, err := server.database(ctx, "source")
	if err != nil {
		return nil, err
	}
	store, err := server.database(ctx, "store")
	if err != nil {
		return nil, err
	}
	if err := fillPostgres(ctx, source, n, b.options.seed); err != nil {
		return nil, err
	}
	documents, err := postgresConnection(source)
	if err != nil {
		return nil, err
	}
	return b.in(ctx, w.letter, n, []string{"--store", store}, func(s *scene) ([]figures, error) {
		if err := s.apply(ctx, documents+usersDocuments); err != nil {
			return nil, err
		}
		f, err := s.measured(ctx, s.id, "users", account{read: n, created: n}, func() (verified, error) {
			return verifyUsers(ctx, s.system, n, fmt.Sprintf("customer_id %% %d = 7", step(n)), func() (*sql.DB, error) { return sql.Open("pgx", source) })
		})
		return []figures{f}, err
	})
}

// fillPostgres makes the users of usersSelect in PostgreSQL's words.
func fillPostgres(ctx context.Context, source string, n, seed int64) (err error) {
	conn, err := pgx.Connect(ctx, source)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close(ctx)) }()
	const table = `CREATE TABLE users AS SELECT i AS customer_id, 'user' || i || '@example.com' AS email,
		'First' || abs(hashint8extended(i, %[2]d) %% 1000) AS first_name, 'Last' || abs(hashint8extended(i, %[2]d + 1) %% 5000) AS last_name,
		(ARRAY['London','Paris','Berlin','Madrid','Rome'])[1 + abs(hashint8extended(i, 2) %% 5)] AS city,
		(ARRAY['free','pro','enterprise'])[1 + abs(hashint8extended(i, 3) %% 3)] AS plan,
		(abs(hashint8extended(i, 4) %% 100000) / 100.0)::float8 AS ltv, abs(hashint8extended(i, 5) %% 500)::int AS visits,
		timestamp '2024-01-01' + i * interval '1 second' AS updated_at, i %% 2 = 0 AS active FROM generate_series(1::bigint, %[1]d) AS t(i)`
	for _, statement := range []string{fmt.Sprintf(table, n, seed), "CREATE INDEX ON users (updated_at)", "ANALYZE users"} {
		if _, err := conn.Exec(ctx, statement); err != nil {
			return fmt.Errorf("generate: %w", err)
		}
	}
	return nil
}

// postgresConnection answers the document of a connection to a URL.
func postgresConnection(address string) (string, error) {
	u, err := url.Parse(address)
	if err != nil {
		return "", fmt.Errorf("the server's address: %w", err)
	}
	password, _ := u.User.Password()
	port := u.Port()
	if port == "" {
		port = "5432"
	}
	return fmt.Sprintf("kind: Connection\nid: bench\npostgres: {host: %s, port: %s, database: %s, user: %s, password: %q, sslmode: disable}\n---",
		u.Hostname(), port, filepath.Base(u.Path), u.User.Username(), password), nil
}
