//go:build cgo && duckdb_arrow

package main

import (
	"context"
	"fmt"
)

// bench is what workloads share.
type bench struct {
	dir     string
	options options
}

// workload is one row of the table of workloads. It is run once for each size.
type workload struct {
	letter, title string
	sized         bool    // --sizes chooses others
	quick, full   []int64 // rows, or runs
	run           func(ctx context.Context, b bench, w workload, n int64) ([]figures, error)
}

func workloads() []workload {
	const m = 1_000_000
	return []workload{
		{"U", "users from DuckDB", true, []int64{2 * m}, []int64{2 * m, 10 * m, 50 * m}, runUsers},
		{"E", "events from DuckDB", true, []int64{2 * m}, []int64{2 * m, 10 * m, 50 * m}, runEvents},
		{"I", "1 % of the users touched", true, []int64{m}, []int64{2 * m, 10 * m}, runIncremental},
		{"M", "a mirror of users, 1 % of them changed, by the row index", true, []int64{m}, []int64{2 * m, 10 * m}, runMirror("row_index")},
		{"M", "the same by what the warehouse finds", true, []int64{m}, []int64{2 * m, 10 * m}, runMirror("diff")},
		{"P", "users from PostgreSQL to the PostgreSQL store", false, []int64{2 * m}, []int64{2 * m}, runPostgres},
		{"L", "latency of small runs and previews", false, []int64{200}, []int64{200}, runLatency},
		{"T", "what tracing costs users from DuckDB", true, []int64{m}, []int64{2 * m}, runTracing},
		{"C", "the console's pages of 10,000 runs, over SQLite and PostgreSQL", false, []int64{10_000}, []int64{10_000}, runConsole},
	}
}

// sizes answers what a workload is run at.
func (w workload) sizes(o options) []int64 {
	switch {
	case w.sized && len(o.sizes) > 0:
		return o.sizes
	case o.full:
		return w.full
	default:
		return w.quick
	}
}

const usersDocuments = `
kind: DataModel
id: users
connection: bench
record_kind: users
sql: SELECT * FROM users
key_columns: [customer_id]
iterator: {column: updated_at, type: timestamp, time_zone: UTC}
---
kind: Mapping
id: users
rules:
  - object: user_identities
    rules:
      - {column: customer_id, to: customer_id, type: string}
      - {column: email, to: email, transform: [trim, lower]}
  - object: user_attributes
    rules:
      - {column: first_name, to: $firstname}
      - {column: last_name, to: $lastname}
      - {column: $unmapped, to: "*"}
---
kind: Sync
id: users
data_model: users
mapping: users
mode: incremental
state: active
`

const eventsDocuments = `
kind: DataModel
id: events
connection: bench
record_kind: events
sql: SELECT * FROM events
key_columns: [event_id]
iterator: {column: loaded_at, type: timestamp, time_zone: UTC}
---
kind: Mapping
id: events
rules:
  - {column: customer_id, to: user_identities.customer_id, type: string}
  - object: events
    rules:
      - {static: custom_event, to: event_type}
      - {static: transaction, to: data.custom_event_type}
      - {column: name, to: data.event_name}
      - {column: at, to: data.timestamp_unixtime_ms}
      - {column: $unmapped, to: data.custom_attributes.*}
---
kind: Sync
id: events
data_model: events
mapping: events
mode: incremental
state: active
`

func duckdbConnection(path string) string {
	return fmt.Sprintf("kind: Connection\nid: bench\nduckdb: {path: %s}\n---", path)
}

func runUsers(ctx context.Context, b bench, w workload, n int64) ([]figures, error) {
	return b.in(ctx, w.letter, n, nil, func(s *scene) ([]figures, error) {
		f, err := s.loadUsers(ctx, b, usersDocuments, func() (verified, error) { return s.verifyLoad(ctx) })
		f.ID = s.id
		return []figures{f}, err
	})
}

func runEvents(ctx context.Context, b bench, w workload, n int64) ([]figures, error) {
	return b.in(ctx, w.letter, n, nil, func(s *scene) ([]figures, error) {
		if err := makeEvents(ctx, s.source, n, b.options.seed); err != nil {
			return nil, err
		}
		if err := s.apply(ctx, duckdbConnection(s.source)+eventsDocuments); err != nil {
			return nil, err
		}
		f, err := s.measured(ctx, s.id, "events", account{read: n, created: n}, func() (verified, error) {
			return verifyEvents(ctx, s.system, n, s.source)
		})
		return []figures{f}, err
	})
}
