package postgres

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"millrace.dev/pkg/fault"
)

//go:embed migrations/*.sql
var migrations embed.FS

// migrationLock is the advisory lock under which the schema is changed.
const migrationLock = 0x6d696c6c72616365

// migrate applies the migrations that the database lacks, all of them in one transaction.
func migrate(ctx context.Context, pool *pgxpool.Pool) error {
	err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1)`, int64(migrationLock)); err != nil {
			return fmt.Errorf("lock: %w", err)
		}
		const ground = `CREATE SCHEMA IF NOT EXISTS millrace_store;
			CREATE TABLE IF NOT EXISTS millrace_store.migrations (
				version integer PRIMARY KEY, applied timestamptz NOT NULL DEFAULT now());`
		if _, err := tx.Exec(ctx, ground); err != nil {
			return fmt.Errorf("make the schema: %w", err)
		}
		var have int
		if err := tx.QueryRow(ctx, `SELECT coalesce(max(version), 0) FROM millrace_store.migrations`).Scan(&have); err != nil {
			return fmt.Errorf("read the version: %w", err)
		}
		return apply(ctx, tx, have)
	})
	if err != nil {
		return classify(ctx, "bring the schema up to date", err)
	}
	return nil
}

// apply runs the migrations above version have, in order.
func apply(ctx context.Context, tx pgx.Tx, have int) error {
	files, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return fmt.Errorf("list migrations: %w", err)
	}
	newest := 0
	for _, f := range files { // Glob answers names in order
		digits, _, _ := strings.Cut(strings.TrimPrefix(f, "migrations/"), "_")
		if newest, err = strconv.Atoi(digits); err != nil {
			return fmt.Errorf("migration %s has no number: %w", f, err)
		}
		if newest <= have {
			continue
		}
		text, err := fs.ReadFile(migrations, f)
		if err != nil {
			return fmt.Errorf("read migration: %w", err)
		}
		if _, err := tx.Exec(ctx, string(text)); err != nil {
			return fmt.Errorf("migration %d: %w", newest, err)
		}
		if _, err := tx.Exec(ctx, `INSERT INTO millrace_store.migrations (version) VALUES ($1)`, newest); err != nil {
			return fmt.Errorf("note migration %d: %w", newest, err)
		}
	}
	if have > newest {
		return fault.New(fault.Precondition, fault.ReasonStoreUnavailable,
			"the store's schema has version %d, this program knows %d; start the newer program", have, newest)
	}
	return nil
}
