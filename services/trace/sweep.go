package trace

import (
	"context"
	"strings"
	"time"

	"millrace.dev/pkg/sqldb"
)

const (
	sweepTraces = 200 // of one step
	sweepSteps  = 20  // of one sweep and reason, so that what is received does not wait for long
)

// sweep deletes traces that are old, too many or unwanted, in bounded steps; what is left over waits for the next sweep.
func (s *Service) sweep(ctx context.Context) {
	db := s.db.Load()
	if db == nil {
		return
	}
	if err := s.measure(ctx, db); err != nil {
		return // the next write says that the database is away
	}
	for range sweepSteps {
		if !s.deleteExpired(ctx, db, time.Now()) {
			break
		}
	}
	for range sweepSteps {
		if s.total.Load() <= s.settings.MaxBytes || !s.deleteOldest(ctx, db) {
			break
		}
	}
	for range sweepSteps {
		if n, err := s.settle(ctx, db, time.Now()); err != nil || n < sweepTraces {
			break
		}
	}
}

// measure counts the bytes that are kept.
func (s *Service) measure(ctx context.Context, db *sqldb.DB) error {
	var n int64
	if err := db.QueryRow(ctx, "SELECT CAST(COALESCE(SUM(bytes), 0) AS BIGINT) FROM trace_traces").Scan(&n); err != nil {
		return err //nolint:wrapcheck // classified by sqldb
	}
	s.total.Store(n)
	s.metrics.bytes.Set(float64(n))
	return nil
}

// deleteExpired deletes some of the traces that ended too long ago, and says whether there may be more.
func (s *Service) deleteExpired(ctx context.Context, db *sqldb.DB, now time.Time) bool {
	return s.deleteSome(ctx, db, "age", "WHERE end_ns < ? ORDER BY end_ns LIMIT ?", now.Add(-s.settings.Keep).UnixNano(), sweepTraces)
}

// deleteOldest deletes some of the traces that ended first, at least a tenth of what is kept where there are few, and says
// whether there may be more.
func (s *Service) deleteOldest(ctx context.Context, db *sqldb.DB) bool {
	return s.deleteSome(ctx, db, "size", "WHERE 1 = 1 ORDER BY end_ns LIMIT (SELECT CASE WHEN COUNT(*) < ? THEN COUNT(*) / 10 + 1 ELSE ? END FROM trace_traces)",
		10*sweepTraces, sweepTraces)
}

// deleteSome deletes the traces that a condition selects, and says whether there were any.
func (s *Service) deleteSome(ctx context.Context, db *sqldb.DB, why, where string, args ...any) bool {
	var gone, bytes int64
	err := db.Tx(ctx, func(tx *sqldb.Tx) error {
		gone, bytes = 0, 0
		found, err := summaries(ctx, tx, where, args...)
		if err != nil {
			return err
		}
		ids := make([]string, len(found))
		for i, t := range found {
			ids[i] = t.TraceID
			bytes += t.Bytes
		}
		gone = int64(len(ids))
		return deleteTraces(ctx, tx, ids)
	})
	if err != nil || gone == 0 {
		return false
	}
	s.metrics.deleted.WithLabelValues(why).Add(float64(gone))
	s.metrics.bytes.Set(float64(s.total.Add(-bytes)))
	return true
}

// deleteTraces deletes traces with their spans.
func deleteTraces(ctx context.Context, tx *sqldb.Tx, ids []string) error {
	if len(ids) == 0 {
		return nil
	}
	args := make([]any, len(ids))
	for i, id := range ids {
		args[i] = id
	}
	in := " WHERE trace_id IN (?" + strings.Repeat(", ?", len(ids)-1) + ")"
	for _, table := range []string{"trace_spans", "trace_traces"} {
		if _, err := tx.Exec(ctx, "DELETE FROM "+table+in, args...); err != nil {
			return err //nolint:wrapcheck // classified by sqldb
		}
	}
	return nil
}

// settle lets the configurations judge some of the traces that have been quiet for long enough, and answers how many.
func (s *Service) settle(ctx context.Context, db *sqldb.DB, now time.Time) (int, error) {
	var judged, unwanted int
	var bytes int64
	err := db.Tx(ctx, func(tx *sqldb.Tx) error {
		judged, unwanted, bytes = 0, 0, 0
		quiet, err := summaries(ctx, tx, "WHERE settled = 0 AND (write_time < ? AND complete = 1 OR write_time < ?) ORDER BY write_time LIMIT ?",
			sqldb.Micros(now.Add(-s.settings.Settle)), sqldb.Micros(now.Add(-s.settings.SettleLimit)), sweepTraces)
		if err != nil {
			return err
		}
		judged = len(quiet)
		configs := map[string][]config{}
		var drop []string
		for _, t := range quiet {
			cs, ok := configs[t.Workspace]
			if !ok {
				if cs, err = configsOf(ctx, tx, t.Workspace, "", s.settings.MaxConfigs); err != nil {
					return err
				}
				configs[t.Workspace] = cs
			}
			v := judge(cs, t)
			if !v.keep {
				drop, bytes = append(drop, t.TraceID), bytes+t.Bytes
				continue
			}
			freed, err := trim(ctx, tx, t, v.stages)
			if err != nil {
				return err
			}
			bytes += freed
		}
		unwanted = len(drop)
		return deleteTraces(ctx, tx, drop)
	})
	if err != nil {
		return 0, err //nolint:wrapcheck // classified by sqldb
	}
	s.metrics.deleted.WithLabelValues("unwanted").Add(float64(unwanted))
	s.metrics.bytes.Set(float64(s.total.Add(-bytes)))
	return judged, nil
}

// trim notes that a trace stays, deletes its spans that are beyond the stages wanted, and answers how many bytes that frees.
func trim(ctx context.Context, tx *sqldb.Tx, t summary, wanted []string) (int64, error) {
	var freed, gone int64
	if len(wanted) > 0 {
		spans, err := loadSpans(ctx, tx, t.TraceID)
		if err != nil {
			return 0, err
		}
		size := map[string]int64{}
		for i := range spans {
			size[spans[i].SpanID] = spans[i].bytes()
		}
		for _, id := range beyond(spans, wanted) {
			if _, err := tx.Exec(ctx, "DELETE FROM trace_spans WHERE trace_id = ? AND span_id = ?", t.TraceID, id); err != nil {
				return 0, err //nolint:wrapcheck // classified by sqldb
			}
			freed, gone = freed+size[id], gone+1
		}
	}
	_, err := tx.Exec(ctx, "UPDATE trace_traces SET settled = 1, spans = ?, bytes = ? WHERE trace_id = ?", t.Spans-gone, t.Bytes-freed, t.TraceID)
	return freed, err //nolint:wrapcheck // classified by sqldb
}
