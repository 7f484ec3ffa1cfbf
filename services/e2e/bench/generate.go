//go:build cgo && duckdb_arrow

package main

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/duckdb/duckdb-go/v2"
)

// usersSelect makes users from row numbers: ten columns, two of them identities.
const usersSelect = `SELECT i AS customer_id, 'user' || i || '@example.com' AS email, 'First' || (hash(i, %[2]d) %% 1000) AS first_name,
	'Last' || (hash(i, %[2]d, 1) %% 5000) AS last_name, ['London','Paris','Berlin','Madrid','Rome'][CAST(1 + hash(i, 2) %% 5 AS INTEGER)] AS city,
	['free','pro','enterprise'][CAST(1 + hash(i, 3) %% 3 AS INTEGER)] AS plan, (hash(i, %[2]d, 4) %% 100000) / 100.0::DOUBLE AS ltv, CAST(hash(i, 5) %% 500 AS INTEGER) AS visits,
	TIMESTAMP '2024-01-01' + INTERVAL (i) SECOND AS updated_at, i %% 2 = 0 AS active FROM range(1, %[1]d + 1) t(i)`

// eventsSelect makes events of a hundred thousand customers: twelve columns.
const eventsSelect = `SELECT i AS event_id, CAST(1 + hash(i, %[2]d) %% 100000 AS BIGINT) AS customer_id, ['viewed','added','bought'][CAST(1 + hash(i, 1) %% 3 AS INTEGER)] AS name,
	TIMESTAMP '2024-01-01' + INTERVAL (i) SECOND AS at, TIMESTAMP '2024-01-01' + INTERVAL (i + 60) SECOND AS loaded_at,
	CAST((hash(i, %[2]d, 2) %% 100000) / 100.0 AS DECIMAL(10, 2)) AS amount, ['EUR','GBP','USD'][CAST(1 + hash(i, 3) %% 3 AS INTEGER)] AS currency,
	'sku-' || (hash(i, 4) %% 20000) AS sku, CAST(hash(i, 5) %% 9 AS INTEGER) AS quantity, ['web','app'][CAST(1 + hash(i, 6) %% 2 AS INTEGER)] AS channel,
	'/page/' || (hash(i, 7) %% 500) AS page, hash(i, 8) %% 4 = 0 AS gift FROM range(%[1]d) t(i)`

func makeUsers(ctx context.Context, path string, n, seed int64) error {
	return execute(ctx, path, fmt.Sprintf("CREATE TABLE users AS "+usersSelect, n, seed))
}

func makeEvents(ctx context.Context, path string, n, seed int64) error {
	return execute(ctx, path, fmt.Sprintf("CREATE TABLE events AS "+eventsSelect, n, seed))
}

// connect opens a database file for as long as f takes.
func connect(ctx context.Context, path string, f func(driver.Conn) error) error {
	connector, err := duckdb.NewConnector(path, nil)
	if err != nil {
		return fmt.Errorf("open %s: %w", path, err)
	}
	conn, err := connector.Connect(ctx)
	if err != nil {
		return errors.Join(fmt.Errorf("connect to %s: %w", path, err), connector.Close())
	}
	return errors.Join(f(conn), conn.Close(), connector.Close())
}

func execute(ctx context.Context, path string, statements ...string) error {
	return connect(ctx, path, func(c driver.Conn) error {
		for _, s := range append([]string{"SET memory_limit = '1GB'"}, statements...) {
			if _, err := c.(driver.ExecerContext).ExecContext(ctx, s, nil); err != nil {
				return fmt.Errorf("generate: %w", err)
			}
		}
		return nil
	})
}

// scan reads a query as Arrow batches of about 16k rows in Go's memory.
func scan(ctx context.Context, path, query string) ([]arrow.RecordBatch, error) {
	var out []arrow.RecordBatch
	err := connect(ctx, path, func(c driver.Conn) error {
		a, err := duckdb.NewArrowFromConn(c)
		if err != nil {
			return fmt.Errorf("arrow: %w", err)
		}
		r, err := a.QueryContext(ctx, query)
		if err != nil {
			return fmt.Errorf("read: %w", err)
		}
		defer r.Release()
		var pending []arrow.RecordBatch
		for r.Next() {
			b := r.RecordBatch()
			b.Retain()
			if pending = append(pending, b); len(pending) == 8 {
				if out, err = join(out, pending); err != nil {
					return err
				}
				pending = pending[:0]
			}
		}
		if len(pending) > 0 {
			out, err = join(out, pending)
		}
		return errors.Join(err, r.Err())
	})
	return out, err
}

// join copies batches into one and frees them.
func join(out, parts []arrow.RecordBatch) ([]arrow.RecordBatch, error) {
	cols := make([]arrow.Array, parts[0].NumCols())
	var rows int64
	for f := range cols {
		of := make([]arrow.Array, len(parts))
		for i, p := range parts {
			of[i] = p.Column(f)
		}
		c, err := array.Concatenate(of, memory.NewGoAllocator())
		if err != nil {
			return nil, fmt.Errorf("concatenate: %w", err)
		}
		cols[f] = c
	}
	for _, p := range parts {
		rows += p.NumRows()
		p.Release()
	}
	return append(out, array.NewRecordBatch(parts[0].Schema(), cols, rows)), nil
}
