package bigquery

import (
	"context"
	"time"

	bq "google.golang.org/api/bigquery/v2"

	"millrace.dev/pkg/source"
	"millrace.dev/pkg/source/bigquery/googlesql"
	"millrace.dev/pkg/window"
)

// Plan runs the query once, for the window where the model has an iterator, and cuts the result into streams, one for
// each PartRows rows. The watermark is looked up before, so that no row at or below it is left out of the result. Rows
// are counted, bytes are what BigQuery estimates that the query reads.
func (s *Source) Plan(ctx context.Context, q source.Query, want int) (source.Plan, error) {
	d, err := s.describe(ctx, q)
	if err != nil {
		return source.Plan{}, err
	}
	p := planner{s: s, q: q, d: d, want: want}
	plan := source.Plan{Counted: !varies(d.sql)}
	where, params, err := "", []*bq.QueryParameter(nil), error(nil)
	if it := q.Model.Iterator; it.Column != "" {
		if p.axis, err = window.NewAxis(it, d.schema); err != nil {
			return plan, err //nolint:wrapcheck // classified by window
		}
		if !q.Full {
			if where, params, err = p.window(ctx, &plan); err != nil {
				return plan, err
			}
			if where == "" {
				return plan, nil // no value is in the window
			}
		}
	}
	return plan, p.materialise(ctx, where, params, &plan)
}

// planner plans one query.
type planner struct {
	s    *Source
	q    source.Query
	d    *query
	axis window.Axis
	want int
}

// materialise runs the query and makes parts of the streams of its result.
func (p *planner) materialise(ctx context.Context, where string, params []*bq.QueryParameter, plan *source.Plan) error {
	got, err := p.s.run(ctx, request{sql: p.d.text(where, 0), params: params, label: p.q.Label, shift: 1, within: p.q.Within})
	if err != nil {
		return err
	}
	plan.EstimatedRows, plan.EstimatedBytes, plan.Replan = got.rows, got.bytes, true
	if plan.SnapshotTime.IsZero() {
		plan.SnapshotTime = got.start
	}
	session, err := p.s.session(ctx, got.table, p.parts(got.rows))
	if err != nil {
		return err
	}
	snap, err := snapshotOf(session.GetName(), names(session))
	if err != nil {
		return err
	}
	if (got.rows == 0) != (len(snap.streams) == 0) {
		return unreadable("a read session")
	}
	plan.Snapshot, plan.Parts = snap.String(), snap.units()
	return nil
}

// parts answers how many streams `rows` rows are worth; one where the model has nothing that parts go by.
func (p *planner) parts(rows int64) int {
	if p.q.Model.Iterator.Column == "" && len(p.q.Model.KeyColumns) == 0 {
		return 1
	}
	return int(max(1, min(int64(p.want), (rows+p.s.settings.PartRows-1)/p.s.settings.PartRows)))
}

// window looks the largest iterator value up and answers the condition of the window below it; "" where it is empty, and
// then it sets the plan's part.
func (p *planner) window(ctx context.Context, plan *source.Plan) (string, []*bq.QueryParameter, error) {
	most, err := p.most(ctx, plan)
	if err != nil {
		return "", nil, err
	}
	b, err := p.axis.Bounds(p.q, plan.SnapshotTime)
	if err != nil {
		return "", nil, err //nolint:wrapcheck // classified by window
	}
	if err := p.future(ctx, b, most, plan); err != nil {
		return "", nil, err
	}
	w := p.axis.Window(b, most)
	plan.Watermark, plan.Parts = w.Watermark.String(), p.axis.Ranges(w, nil)
	nulls := p.q.Model.Iterator.ReadNulls && plan.NullIterator > 0
	where := ""
	var params []*bq.QueryParameter
	if !w.IsEmpty() {
		if where, params, err = p.d.within(p.axis, plan.Parts[0]); err != nil {
			return "", nil, err
		}
	}
	isNull := googlesql.Quote(p.axis.Column) + " IS NULL"
	switch {
	case where != "" && nulls:
		where = " WHERE (" + where + ") OR " + isNull
	case nulls:
		where = " WHERE " + isNull
	case where != "":
		where = " WHERE " + where
	}
	return where, params, nil
}

// most answers the largest iterator value, counts the rows that have none, and sets the instant of both.
func (p *planner) most(ctx context.Context, plan *source.Plan) (window.Value, error) {
	name := googlesql.Quote(p.axis.Column)
	list := "CAST(UNIX_MICROS(CURRENT_TIMESTAMP()) AS STRING) AS c0, CAST(COUNTIF(" + name + " IS NULL) AS STRING) AS c1, CAST(MAX(" + name + ") AS STRING) AS c2"
	row, err := p.one(ctx, request{sql: p.d.probe(list, ""), label: p.q.Label, shift: 1, within: p.q.Within}, 3)
	if err != nil {
		return window.Value{}, err
	}
	micros, err := number(row[0])
	if err != nil {
		return window.Value{}, err
	}
	plan.SnapshotTime = time.UnixMicro(micros).UTC()
	if plan.NullIterator, err = number(row[1]); err != nil || row[2] == "" {
		return window.Value{}, err
	}
	return p.axis.Parse(row[2]) //nolint:wrapcheck // classified by window
}

// future counts the rows beyond the largest value that the window may hold.
func (p *planner) future(ctx context.Context, b window.Bounds, most window.Value, plan *source.Plan) error {
	edge := p.axis.Future(b, most)
	if edge.IsZero() {
		return nil
	}
	const name = "millrace_edge"
	row, err := p.one(ctx, request{
		sql:    p.d.probe("CAST(COUNTIF("+googlesql.Quote(p.axis.Column)+" > @"+name+") AS STRING) AS c0", ""),
		params: []*bq.QueryParameter{p.d.bound(p.axis, edge, name)}, label: p.q.Label, shift: 1, within: p.q.Within,
	}, 1)
	if err != nil {
		return err
	}
	plan.FutureRows, err = number(row[0])
	return err
}

// one answers the one row of a statement, of so many columns.
func (p *planner) one(ctx context.Context, r request, columns int) ([]string, error) {
	rows, err := p.s.texts(ctx, r)
	if err != nil {
		return nil, err
	}
	if len(rows) != 1 || len(rows[0]) != columns {
		return nil, unreadable("a small query")
	}
	return rows[0], nil
}
