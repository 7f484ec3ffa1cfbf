package sqldb

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"millrace.dev/pkg/fault"
)

// migrationLock is the PostgreSQL advisory lock under which migrations run, one process at a time.
const migrationLock = 0x6d696c6c72616365

// Migrate brings the tables that `name` owns up to date. fsys holds NNNN_what.sql files; each runs once, in the order
// of its number, in a transaction of its own, on either database; comments stand on lines of their own, and no
// statement has a semicolon or a question mark inside quotes. Several processes may call it at once. A database
// that is ahead of the files is refused.
func (d *DB) Migrate(ctx context.Context, fsys fs.FS, name string) error {
	files, err := fs.Glob(fsys, "*.sql")
	if err != nil {
		return fmt.Errorf("list migrations of %s: %w", name, err)
	}
	slices.Sort(files)
	unlock, err := d.lockMigrations(ctx)
	if err != nil {
		return fmt.Errorf("prepare migrations of %s: %w", name, err)
	}
	defer unlock()
	if _, err := d.Exec(ctx, "CREATE TABLE IF NOT EXISTS schema_versions (name TEXT PRIMARY KEY, version BIGINT NOT NULL)"); err != nil {
		return fmt.Errorf("prepare migrations of %s: %w", name, err)
	}
	for _, f := range files {
		if err := d.Tx(ctx, func(tx *Tx) error { return tx.migrate(ctx, fsys, name, f) }); err != nil {
			return fmt.Errorf("migration %s of %s: %w", f, name, err)
		}
	}
	return d.checkVersion(ctx, name, len(files))
}

// lockMigrations holds the lock until the function it answers is called. It is a session's and not a transaction's: a
// serializable transaction that waited for it would not see what the one before it has done.
func (d *DB) lockMigrations(ctx context.Context) (func(), error) {
	if !d.postgres {
		return func() {}, nil // a SQLite transaction is the only writer from its begin on
	}
	conn, err := d.db.Conn(ctx)
	if err != nil {
		return nil, classify("migrate", err)
	}
	if _, err := conn.ExecContext(ctx, "SELECT pg_advisory_lock($1)", int64(migrationLock)); err != nil {
		return nil, errors.Join(classify("migrate", err), conn.Close())
	}
	return func() {
		// Where the unlock fails the session is broken, and its end frees the lock.
		if _, err := conn.ExecContext(context.WithoutCancel(ctx), "SELECT pg_advisory_unlock($1)", int64(migrationLock)); err != nil {
			_ = conn.Raw(func(any) error { return driver.ErrBadConn }) // takes it out of the pool
		}
		_ = conn.Close()
	}, nil
}

func (t *Tx) migrate(ctx context.Context, fsys fs.FS, name, file string) error {
	number, _, _ := strings.Cut(file, "_")
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil {
		return fault.New(fault.Internal, fault.ReasonInternal, "migration %s has no number", file)
	}
	var have int64
	if err := t.QueryRow(ctx, "SELECT COALESCE(MAX(version), 0) FROM schema_versions WHERE name = ?", name).Scan(&have); err != nil {
		return err
	}
	if n <= have {
		return nil
	}
	text, err := fs.ReadFile(fsys, file)
	if err != nil {
		return fmt.Errorf("read %s: %w", file, err)
	}
	for stmt := range strings.SplitSeq(stripComments(string(text)), ";") {
		if strings.TrimSpace(stmt) == "" {
			continue
		}
		if _, err := t.Exec(ctx, stmt); err != nil {
			return err
		}
	}
	_, err = t.Exec(ctx, "INSERT INTO schema_versions (name, version) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET version = excluded.version", name, n)
	return err
}

func stripComments(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(strings.TrimSpace(line), "--") {
			b.WriteString(line)
		}
	}
	return b.String()
}

func (d *DB) checkVersion(ctx context.Context, name string, files int) error {
	var have int64
	if err := d.QueryRow(ctx, "SELECT COALESCE(MAX(version), 0) FROM schema_versions WHERE name = ?", name).Scan(&have); err != nil {
		return err
	}
	if have > int64(files) {
		return fault.New(fault.Precondition, fault.ReasonStoreUnavailable,
			"the tables of %s have version %d and this program knows %d; run the newer program", name, have, files)
	}
	return nil
}
