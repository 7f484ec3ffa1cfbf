//go:build cgo && duckdb_arrow

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
	"millrace.dev/pkg/sqldb"
)

const (
	consoleAsked  = 300   // times that a page is asked for
	consoleAnswer = 200.0 // milliseconds in which it is to be whole
)

// runConsole measures how long the console takes for its pages of runs and of syncs where the scheduler's tables hold n runs,
// in SQLite and in PostgreSQL.
func runConsole(ctx context.Context, b bench, w workload, n int64) (_ []figures, err error) {
	embedded, err := b.in(ctx, w.letter+"-sqlite", n, nil, func(s *scene) ([]figures, error) {
		return s.console(ctx, b, "sqlite:"+filepath.Join(s.data, "control.db"))
	})
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(b.dir, "postgres")
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	server, err := startPostgres(ctx, dir)
	if err != nil {
		return nil, fmt.Errorf("a PostgreSQL server: %w", err)
	}
	defer func() { err = errors.Join(err, server.stop()) }()
	control, err := server.database(ctx, "control")
	if err != nil {
		return nil, err
	}
	apart, err := b.in(ctx, w.letter+"-postgres", n, []string{"--sql", control}, func(s *scene) ([]figures, error) {
		return s.console(ctx, b, control)
	})
	return append(embedded, apart...), err
}

// console makes the runs and measures the pages that show the newest.
func (s *scene) console(ctx context.Context, b bench, control string) ([]figures, error) {
	if err := makeUsers(ctx, s.source, 1_000, b.options.seed); err != nil {
		return nil, err
	}
	if err := s.apply(ctx, duckdbConnection(s.source)+usersDocuments); err != nil {
		return nil, err
	}
	run, _, err := s.sync(ctx, "users")
	if err != nil {
		return nil, err
	}
	if err := repeatRun(ctx, control, run.GetId(), s.n-1); err != nil {
		return nil, err
	}
	if err := s.countRuns(ctx); err != nil {
		return nil, err
	}
	var out []figures
	for _, page := range []string{"runs", "syncs"} {
		took := make([]float64, consoleAsked)
		for i := range took {
			if took[i], err = s.page(ctx, "/w/default/"+page, run.GetId()); err != nil {
				return nil, err
			}
		}
		f := figures{ID: s.id + "-" + page, Rows: s.n, P50: quantile(took, 0.5), P95: quantile(took, 0.95), P99: quantile(took, 0.99), Max: slices.Max(took), Verified: verified{Rows: s.n, Balanced: true}}
		f.Goals = []goal{atMost("p99 ms", f.P99, consoleAnswer)}
		out = append(out, f)
	}
	return out, nil
}

// page asks for a page of the console, which must show a text, and answers the milliseconds until it is whole.
func (s *system) page(ctx context.Context, path, shows string) (float64, error) {
	began := time.Now()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.http+path, nil)
	if err != nil {
		return 0, fmt.Errorf("ask for %s: %w", path, err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, fmt.Errorf("ask for %s: %w", path, err)
	}
	text, err := io.ReadAll(res.Body)
	if err := errors.Join(err, res.Body.Close()); err != nil {
		return 0, fmt.Errorf("read %s: %w", path, err)
	}
	took := milliseconds(time.Since(began))
	if res.StatusCode != http.StatusOK || !strings.Contains(string(text), shows) {
		return 0, fmt.Errorf("%s answers %s and %d bytes without %s", path, res.Status, len(text), shows) //nolint:err113 // for people
	}
	return took, nil
}

// countRuns holds that there are as many runs as there should be.
func (s *scene) countRuns(ctx context.Context) error {
	var found int64
	for token := ""; ; {
		res, err := s.scheduler.ListRuns(ctx, &schedulerv1.ListRunsRequest{PageSize: 1000, PageToken: token})
		if err != nil {
			return fmt.Errorf("list the runs: %w", err)
		}
		found += int64(len(res.GetRuns()))
		if token = res.GetNextPageToken(); token == "" {
			break
		}
	}
	if found != s.n {
		return fmt.Errorf("%d runs are listed, and there should be %d", found, s.n) //nolint:err113 // for people
	}
	return nil
}

// runColumns are those of a run in the scheduler's tables, and what a repeated run has in them instead of what it repeats:
// a name of its own, an earlier minute, and of twenty one has failed.
var runColumns = []struct{ name, instead string }{ //nolint:gochecknoglobals // a table
	{"id", "'01900000-0000-7000-8000-' || CAST(100000000000 + n.i AS TEXT)"},
	{"workspace", ""}, {"sync_id", ""}, {"sync_uid", ""}, {"sync_version", ""},
	{"run_no", "run_no + n.i"},
	{"lane", ""}, {"reason", ""},
	{"state", "CASE WHEN n.i % 20 = 0 THEN 'failed' ELSE state END"},
	{"is_open", ""}, {"closing", ""}, {"faults_sync", ""}, {"full_read", ""}, {"incremental", ""}, {"checkpoint", ""}, {"retried", ""}, {"traceparent", ""},
	{"create_time", "create_time - n.i * 60000000"}, {"start_time", "start_time - n.i * 60000000"},
	{"plan_time", "plan_time - n.i * 60000000"}, {"end_time", "end_time - n.i * 60000000"},
	{"plan", ""}, {"watermark", ""}, {"low_edge", ""}, {"snapshot", ""}, {"estimated_rows", ""}, {"null_iterator", ""},
	{"account", ""}, {"error_reason", ""}, {"error_message", ""}, {"connection", ""}, {"facts", ""},
}

// repeatRun puts n runs beside one that has ended, as the scheduler would have kept them.
func repeatRun(ctx context.Context, control, run string, n int64) (err error) {
	db, err := sqldb.Open(ctx, control)
	if err != nil {
		return fmt.Errorf("open the control tables: %w", err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	var names, values []string
	for _, c := range runColumns {
		value := c.instead
		if value == "" {
			value = c.name
		}
		names, values = append(names, c.name), append(values, value)
	}
	return db.Tx(ctx, func(tx *sqldb.Tx) error { //nolint:wrapcheck // classified
		_, err := tx.Exec(ctx, "WITH RECURSIVE n(i) AS (SELECT CAST(1 AS BIGINT) UNION ALL SELECT i + 1 FROM n WHERE i < ?) INSERT INTO scheduler_runs ("+
			strings.Join(names, ", ")+") SELECT "+strings.Join(values, ", ")+" FROM scheduler_runs CROSS JOIN n WHERE id = ?", n, run)
		if err != nil {
			return fmt.Errorf("repeat the run: %w", err)
		}
		if _, err = tx.Exec(ctx, "UPDATE scheduler_syncs SET last_run_no = last_run_no + ?", n); err != nil {
			return fmt.Errorf("count the runs of the sync: %w", err)
		}
		return nil
	})
}
