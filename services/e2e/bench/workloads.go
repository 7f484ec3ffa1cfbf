//go:build cgo && duckdb_arrow

package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"time"

	configv1 "millrace.dev/gen/millrace/config/v1"
	ingestionv1 "millrace.dev/gen/millrace/ingestion/v1"
	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
)

// bench is what workloads share.
type bench struct {
	dir     string
	options options
}

// workload is one row of the table of workloads.
type workload struct {
	letter, title string
	rows          []int64
	run           func(ctx context.Context, b bench, w workload) ([]figures, error)
}

func workloads(full bool) []workload {
	users, events := []int64{2_000_000}, []int64{2_000_000}
	if full {
		users, events = []int64{2_000_000, 10_000_000, 50_000_000}, []int64{10_000_000}
	}
	return []workload{
		{"U", "U: users from DuckDB", users, runUsers},
		{"E", "E: events from DuckDB", events, runEvents},
		{"P", "P: users from PostgreSQL to the PostgreSQL store", []int64{2_000_000}, runPostgres},
		{"L", "L: latency of small runs and previews", []int64{200}, runLatency},
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

func runUsers(ctx context.Context, b bench, w workload) ([]figures, error) {
	var all []figures
	for _, n := range w.rows {
		path := filepath.Join(b.dir, fmt.Sprintf("users-%d.duckdb", n))
		if err := makeUsers(ctx, path, n, b.options.seed); err != nil {
			return nil, err
		}
		f, err := b.load(ctx, fmt.Sprintf("U-%dM", n/1_000_000), "users", duckdbConnection(path)+usersDocuments, n, func(s *system) (verified, error) {
			return verifyUsers(ctx, s, n, duckUsers(path))
		})
		if err != nil {
			return nil, err
		}
		all = append(all, f)
	}
	return all, nil
}

func runEvents(ctx context.Context, b bench, w workload) ([]figures, error) {
	var all []figures
	for _, n := range w.rows {
		path := filepath.Join(b.dir, fmt.Sprintf("events-%d.duckdb", n))
		if err := makeEvents(ctx, path, n, b.options.seed); err != nil {
			return nil, err
		}
		f, err := b.load(ctx, fmt.Sprintf("E-%dM", n/1_000_000), "events", duckdbConnection(path)+eventsDocuments, n, func(s *system) (verified, error) {
			return verifyEvents(ctx, s, n, path)
		})
		if err != nil {
			return nil, err
		}
		all = append(all, f)
	}
	return all, nil
}

// load measures one run of a sync over a fresh data folder, and verifies what it left.
func (b bench) load(ctx context.Context, id, sync, documents string, n int64, verify func(*system) (verified, error), flags ...string) (_ figures, err error) {
	s, err := start(ctx, b.options.bin, filepath.Join(b.dir, id), flags...)
	if err != nil {
		return figures{}, err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	if err := s.apply(ctx, documents); err != nil {
		return figures{}, err
	}
	cpu, err := s.cpu()
	if err != nil {
		return figures{}, err
	}
	idle, err := s.busy(ctx)
	if err != nil {
		return figures{}, err
	}
	run, took, err := s.sync(ctx, sync)
	if err != nil {
		return figures{}, err
	}
	f := figures{ID: id, Rows: n, Seconds: took.Seconds(), RowsPerSecond: float64(n) / took.Seconds()}
	used, err := s.cpu()
	if err != nil {
		return figures{}, err
	}
	f.CPU = (used - cpu) / float64(n) * 1e6
	if f.Stages, err = s.shares(ctx, idle); err != nil {
		return figures{}, err
	}
	if f.PeakRSS, err = s.peakRSS(); err != nil {
		return figures{}, err
	}
	if f.Disk, err = s.disk(); err != nil {
		return figures{}, err
	}
	say(fmt.Sprintf("%s: %.1f s, verifying.", id, f.Seconds))
	if f.Verified, err = verify(s); err != nil {
		return figures{}, fmt.Errorf("the result is wrong: %w", err)
	}
	f.Verified.Rows, f.Verified.Balanced = run.GetCounts().GetCreated(), run.GetCertificate().GetBalanced()
	if f.Verified.Rows != n || !f.Verified.Balanced || run.GetCertificate().GetRowsDigest() != run.GetCertificate().GetAccountedDigest() {
		return figures{}, fmt.Errorf("the run's account is wrong: %v", run) //nolint:err113 // for people
	}
	return f, nil
}

// shares answers how the time that stages were at work since idle divides among them.
func (s *system) shares(ctx context.Context, idle map[string]float64) (map[string]float64, error) {
	now, err := s.busy(ctx)
	if err != nil {
		return nil, err
	}
	var sum float64
	for k := range now {
		now[k] -= idle[k]
		sum += now[k]
	}
	for k, v := range now {
		if now[k] = v / sum; sum == 0 || v/sum < 0.005 {
			delete(now, k)
		}
	}
	return now, nil
}

// runLatency measures small runs on an idle system: from the trigger to the moment at which the row's profile is
// readable; and previews.
func runLatency(ctx context.Context, b bench, w workload) (_ []figures, err error) {
	path := filepath.Join(b.dir, "latency.duckdb")
	if err := makeUsers(ctx, path, 1_000, b.options.seed); err != nil {
		return nil, err
	}
	s, err := start(ctx, b.options.bin, filepath.Join(b.dir, "latency"))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	if err := s.apply(ctx, duckdbConnection(path)+usersDocuments); err != nil {
		return nil, err
	}
	if _, _, err := s.sync(ctx, "users"); err != nil {
		return nil, err
	}
	n := int(w.rows[0])
	runs, previews := make([]float64, n), make([]float64, n/2)
	for i := range runs {
		key := 10_000 + i
		if err := execute(ctx, path, fmt.Sprintf("INSERT INTO users SELECT * REPLACE (%d AS customer_id, 'new%d@example.com' AS email, TIMESTAMP '2024-02-01' + INTERVAL (%d) SECOND AS updated_at) FROM users WHERE customer_id = 1", key, key, i)); err != nil {
			return nil, err
		}
		if runs[i], err = s.readable(ctx, key); err != nil {
			return nil, err
		}
	}
	for i := range previews {
		began := time.Now()
		if _, err := s.config.PreviewSync(ctx, &configv1.PreviewSyncRequest{Id: "users", Limit: 10}); err != nil {
			return nil, fmt.Errorf("preview: %w", err)
		}
		previews[i] = milliseconds(time.Since(began))
	}
	ok := verified{Rows: int64(n), Balanced: true}
	return []figures{
		{ID: "L-run", Rows: int64(n), P50: quantile(runs, 0.5), P99: quantile(runs, 0.99), Verified: ok},
		{ID: "L-preview", Rows: int64(n / 2), P50: quantile(previews, 0.5), P99: quantile(previews, 0.99), Verified: verified{Rows: int64(n / 2), Balanced: true}},
	}, nil
}

// readable triggers a run and answers the milliseconds until the customer's profile can be read, once the run has ended.
func (s *system) readable(ctx context.Context, customer int) (float64, error) {
	began := time.Now()
	res, err := s.scheduler.TriggerRun(ctx, &schedulerv1.TriggerRunRequest{Sync: "users"})
	if err != nil {
		return 0, fmt.Errorf("trigger: %w", err)
	}
	for {
		_, err := s.ingestion.GetProfile(ctx, &ingestionv1.GetProfileRequest{Identity: &ingestionv1.Identity{Type: "customer_id", Value: fmt.Sprint(customer)}})
		if err == nil {
			break
		}
		if time.Since(began) > time.Minute {
			return 0, fmt.Errorf("the profile does not come: %w", err)
		}
		timer := time.NewTimer(time.Millisecond)
		select {
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		case <-timer.C:
		}
	}
	took := milliseconds(time.Since(began))
	stream, err := s.scheduler.WatchRun(ctx, &schedulerv1.WatchRunRequest{Id: res.GetRun().GetId()})
	if err != nil {
		return 0, fmt.Errorf("watch: %w", err)
	}
	for {
		m, err := stream.Recv()
		if err != nil {
			return 0, fmt.Errorf("watch: %w", err)
		}
		if m.GetRun().GetEndTime() != nil {
			return took, nil
		}
	}
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func quantile(v []float64, q float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[min(len(v)-1, int(math.Ceil(q*float64(len(v))))-1)]
}
