package histories_test

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"os"
	"time"

	_ "github.com/duckdb/duckdb-go/v2" // the warehouse that these tests write
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// source is the warehouse that holds a seed's table.
type source interface {
	exec(ctx context.Context, statements []string) error
	// cut disturbs the run that reads.
	cut(ctx context.Context) error
	// connection answers the block of the connection's document.
	connection() string
	drop(ctx context.Context) error
}

// file is a DuckDB file of a seed's own. It is never written in place: workers that lost their lease may still read it.
type file struct{ path string }

func (f file) exec(ctx context.Context, statements []string) error {
	next := f.path + ".next"
	if err := copyFile(f.path, next); err != nil {
		return err
	}
	db, err := sql.Open("duckdb", next)
	if err != nil {
		return err
	}
	for _, s := range append(statements, "CHECKPOINT") {
		if _, err := db.ExecContext(ctx, s); err != nil {
			_ = db.Close()
			return fmt.Errorf("write the warehouse: %w", err)
		}
	}
	if err := db.Close(); err != nil {
		return err
	}
	return os.Rename(next, f.path)
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		_ = out.Close()
		return err
	}
	return out.Close()
}

// cut touches the file: whoever reads it must take it for another.
func (f file) cut(context.Context) error {
	now := time.Now().Add(time.Second)
	return os.Chtimes(f.path, now, now)
}

func (f file) connection() string { return "duckdb: {path: " + f.path + "}" }

func (f file) drop(context.Context) error { return os.Remove(f.path) }

// database is a PostgreSQL that the seeds of a mesh share; each has a table of its own.
type database struct {
	pool      *pgxpool.Pool
	workspace string
	table     string
}

func (d database) exec(ctx context.Context, statements []string) error {
	return pgx.BeginFunc(ctx, d.pool, func(tx pgx.Tx) error {
		for _, s := range statements {
			if _, err := tx.Exec(ctx, s); err != nil {
				return fmt.Errorf("write the warehouse: %w", err)
			}
		}
		return nil
	})
}

// cut ends every connection of the seed's runs, the one that holds their snapshot included.
func (d database) cut(ctx context.Context) error {
	_, err := d.pool.Exec(ctx, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE $1", "millrace:"+d.workspace+"/%")
	return err
}

func (d database) connection() string {
	c := d.pool.Config().ConnConfig
	return fmt.Sprintf("postgres: {host: %s, port: %d, database: %s, user: %s, password: '%s', sslmode: disable}", c.Host, c.Port, c.Database, c.User, c.Password)
}

func (d database) drop(ctx context.Context) error {
	_, err := d.pool.Exec(ctx, "DROP TABLE "+d.table)
	return err
}

// documents answers the connection, model, mapping and sync of a history.
func (h history) documents(connection, table string) string {
	columns, key, rules := "k, name, amount", "", `
  - {column: k, to: user_identities.customer_id, type: string}
  - {column: name, to: user_attributes.name}
  - {column: amount, to: user_attributes.amount, type: integer}`
	if h.kind == "events" {
		columns += ", ts"
		rules = `
  - {column: k, to: user_identities.customer_id, type: string}
  - object: events
    rules:
      - {static: custom_event, to: event_type}
      - {static: other, to: data.custom_event_type}
      - {static: seen, to: data.event_name}
      - {column: ts, to: data.timestamp_unixtime_ms}
      - {column: name, to: data.custom_attributes.name}
      - {column: amount, to: data.custom_attributes.amount, type: integer}
      - {expression: "string(row.k)", to: data.custom_attributes.key}`
	}
	if h.iterator.name != "" {
		columns += ", at_"
		zone := ""
		if h.iterator.timed && h.iterator.name != "timestamptz" {
			zone = ", time_zone: UTC"
		}
		key = fmt.Sprintf("\niterator: {column: at_, type: %s, nulls: %s%s}", h.iterator.word, h.nulls, zone)
	}
	lookback := ""
	if h.lookback > 0 {
		lookback = "\nlookback: " + h.lookbackText()
	}
	return fmt.Sprintf(`
kind: Connection
id: c
%s
---
kind: DataModel
id: m
connection: c
record_kind: %s
sql: SELECT %s FROM %s
key_columns: [k]%s
---
kind: Mapping
id: m
rules:%s
---
kind: Sync
id: s
data_model: m
mapping: m
mode: %s%s
state: active
`, connection, h.kind, columns, table, key, rules, h.mode, lookback)
}
