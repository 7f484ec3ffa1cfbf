package trace

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/sqldb"
)

const spanColumns = "trace_id, span_id, parent_id, service, name, kind, start_ns, end_ns, failed, reason, attributes, links"

const insertChunk = 50 // spans of one statement

// insertSpans writes spans; those that are there already are left as they are.
func insertSpans(ctx context.Context, tx *sqldb.Tx, spans []span) error {
	for len(spans) > 0 {
		n := min(len(spans), insertChunk)
		args := make([]any, 0, 12*n)
		for _, s := range spans[:n] {
			attributes, err := encode(s.Attributes)
			if err != nil {
				return err
			}
			links, err := encode(s.Links)
			if err != nil {
				return err
			}
			args = append(args, s.TraceID, s.SpanID, s.ParentID, s.Service, s.Name, int64(s.Kind), s.Start, s.End, flag(s.Failed), s.Reason, attributes, links)
		}
		rows := strings.TrimSuffix(strings.Repeat("(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?), ", n), ", ")
		if _, err := tx.Exec(ctx, "INSERT INTO trace_spans ("+spanColumns+") VALUES "+rows+" ON CONFLICT DO NOTHING", args...); err != nil {
			return err //nolint:wrapcheck // classified by sqldb
		}
		spans = spans[n:]
	}
	return nil
}

// loadSpans answers the spans of a trace in the order of their starts.
func loadSpans(ctx context.Context, q sqldb.Querier, traceID string) ([]span, error) {
	var out []span
	err := q.Query(ctx, func(row sqldb.Row) error {
		var (
			s                 span
			k, failed         int64
			attributes, links string
		)
		if err := row.Scan(&s.TraceID, &s.SpanID, &s.ParentID, &s.Service, &s.Name, &k, &s.Start, &s.End, &failed, &s.Reason, &attributes, &links); err != nil {
			return err //nolint:wrapcheck // classified by sqldb
		}
		s.Kind, s.Failed = kind(k), failed != 0
		if err := decodeAttributes(attributes, &s); err != nil {
			return err
		}
		if err := decode(links, &s.Links); err != nil {
			return err
		}
		out = append(out, s)
		return nil
	}, "SELECT "+spanColumns+" FROM trace_spans WHERE trace_id = ?", traceID)
	byStart(out)
	return out, err //nolint:wrapcheck // classified by sqldb
}

// decodeAttributes reads attributes so that whole numbers stay whole.
func decodeAttributes(text string, s *span) error {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&s.Attributes); err != nil {
		return corrupt(err)
	}
	for k, v := range s.Attributes {
		n, ok := v.(json.Number)
		if !ok {
			continue
		}
		if whole, err := n.Int64(); err == nil {
			s.Attributes[k] = whole
		} else if s.Attributes[k], err = n.Float64(); err != nil {
			return corrupt(err)
		}
	}
	return nil
}

const summaryColumns = `trace_id, workspace, kind, state, reason, sync_id, sync_uid, feed, run, part, batch, run_trace, start_ns, end_ns,
	slowest_stage, stages, services, spans, dropped, bytes, complete, rejects`

func scanSummary(row sqldb.Row) (summary, error) {
	var (
		t                summary
		stages, services string
		complete         int64
	)
	err := row.Scan(&t.TraceID, &t.Workspace, &t.Kind, &t.State, &t.Reason, &t.SyncID, &t.SyncUID, &t.Feed, &t.Run, &t.Part, &t.Batch, &t.RunTrace,
		&t.Start, &t.End, &t.Slowest, &stages, &services, &t.Spans, &t.Dropped, &t.Bytes, &complete, &t.Rejects)
	if err != nil {
		return t, err //nolint:wrapcheck // classified by sqldb
	}
	t.Complete = complete != 0
	if err := decode(stages, &t.Stages); err != nil {
		return t, err
	}
	return t, decode(services, &t.Services)
}

// summaries answers the traces that a condition selects.
func summaries(ctx context.Context, q sqldb.Querier, where string, args ...any) ([]summary, error) {
	var out []summary
	err := q.Query(ctx, func(row sqldb.Row) error {
		t, err := scanSummary(row)
		out = append(out, t)
		return err
	}, "SELECT "+summaryColumns+" FROM trace_traces "+where, args...)
	return out, err //nolint:wrapcheck // classified by sqldb
}

// loadSummary answers what is known of a trace, and whether anything is.
func loadSummary(ctx context.Context, q sqldb.Querier, traceID string) (summary, bool, error) {
	found, err := summaries(ctx, q, "WHERE trace_id = ?", traceID)
	if err != nil || len(found) == 0 {
		return summary{}, false, err
	}
	return found[0], true, nil
}

// saveSummary writes what follows from a trace's spans; the configurations judge it anew.
func saveSummary(ctx context.Context, tx *sqldb.Tx, t summary, now time.Time) error {
	stages, err := encode(t.Stages)
	if err != nil {
		return err
	}
	services, err := encode(t.Services)
	if err != nil {
		return err
	}
	args := []any{
		t.TraceID, t.Workspace, t.Kind, t.State, t.Reason, t.SyncID, t.SyncUID, t.Feed, t.Run, t.Part, t.Batch, t.RunTrace, t.Start, t.End,
		t.Slowest, stages, services, t.Spans, t.Dropped, t.Bytes, flag(t.Complete), t.Rejects, t.End - t.Start, sqldb.Micros(now),
	}
	columns := strings.Split(summaryColumns+", duration_ns, write_time", ",")
	sets := make([]string, 0, len(columns))
	for _, c := range columns[1:] {
		c = strings.TrimSpace(c)
		sets = append(sets, c+" = excluded."+c)
	}
	_, err = tx.Exec(ctx, "INSERT INTO trace_traces ("+strings.Join(columns, ",")+", settled) VALUES (?"+strings.Repeat(", ?", len(args)-1)+", 0)"+
		" ON CONFLICT (trace_id) DO UPDATE SET settled = 0, "+strings.Join(sets, ", "), args...)
	return err //nolint:wrapcheck // classified by sqldb
}

// configsOf answers the configurations of a workspace by id, those after one, at most limit.
func configsOf(ctx context.Context, q sqldb.Querier, workspace, after string, limit int) ([]config, error) {
	var out []config
	err := q.Query(ctx, func(row sqldb.Row) error {
		var body string
		if err := row.Scan(&body); err != nil {
			return err //nolint:wrapcheck // classified by sqldb
		}
		var c config
		err := decode(body, &c)
		out = append(out, c)
		return err
	}, "SELECT body FROM trace_configs WHERE workspace = ? AND id > ? ORDER BY id LIMIT ?", workspace, after, limit)
	return out, err //nolint:wrapcheck // classified by sqldb
}

func flag(v bool) int64 {
	if v {
		return 1
	}
	return 0
}

func encode(v any) (string, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return "", fault.New(fault.Internal, fault.ReasonInternal, "write a trace: %w", err)
	}
	return string(b), nil
}

func decode(text string, into any) error {
	if err := json.Unmarshal([]byte(text), into); err != nil {
		return corrupt(err)
	}
	return nil
}

func corrupt(err error) error {
	return fault.New(fault.Internal, fault.ReasonInternal, "a stored trace can not be read: %w", fmt.Errorf("decode: %w", err))
}
