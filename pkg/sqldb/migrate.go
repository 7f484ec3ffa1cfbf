package sqldb

import (
	"context"
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
	create := func(tx *Tx) error {
		if err := tx.lockMigrations(ctx); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "CREATE TABLE IF NOT EXISTS schema_versions (name TEXT PRIMARY KEY, version BIGINT NOT NULL)")
		return err
	}
	if err := d.Tx(ctx, create); err != nil {
		return fmt.Errorf("prepare migrations of %s: %w", name, err)
	}
	for _, f := range files {
		if err := d.Tx(ctx, func(tx *Tx) error { return tx.migrate(ctx, fsys, name, f) }); err != nil {
			return fmt.Errorf("migration %s of %s: %w", f, name, err)
		}
	}
	return d.checkVersion(ctx, name, len(files))
}

func (t *Tx) lockMigrations(ctx context.Context) error {
	if !t.postgres {
		return nil // a SQLite transaction is the only writer from its begin on
	}
	_, err := t.Exec(ctx, "SELECT pg_advisory_xact_lock(?)", int64(migrationLock))
	return err
}

func (t *Tx) migrate(ctx context.Context, fsys fs.FS, name, file string) error {
	number, _, _ := strings.Cut(file, "_")
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil {
		return fault.New(fault.Internal, fault.ReasonInternal, "migration %s has no number", file)
	}
	if err := t.lockMigrations(ctx); err != nil {
		return err
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
