package postgres

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/source"
	"millrace.dev/pkg/source/sqltext"
	"millrace.dev/pkg/window"
)

// sampleRows is how many iterator values the bounds of parts are guessed from.
const sampleRows = 20_000

// Plan exports a snapshot, which lives until Close or the next Plan, and fixes in it the watermark and the parts: ranges
// of the iterator with about as many rows each, or buckets of the keys' hash, one part for each PartRows rows. Rows are
// counted in the snapshot, bytes estimated. What keeps the snapshot reads no table, so that it is in nobody's way.
func (s *Source) Plan(ctx context.Context, q source.Query, want int) (source.Plan, error) {
	keeper, err := s.begin(ctx, q.Label, "")
	if err != nil {
		return source.Plan{}, err
	}
	plan, err := s.planIn(ctx, keeper, q, want)
	if err != nil {
		keeper.close(ctx)
		return source.Plan{}, err
	}
	s.hold(keeper)
	return plan, nil
}

// planIn plans in the snapshot that the keeper's transaction exports.
func (s *Source) planIn(ctx context.Context, keeper *session, q source.Query, want int) (source.Plan, error) {
	plan := source.Plan{Parts: []source.Range{{}}}
	var at time.Time
	if err := keeper.conn.QueryRow(ctx, "SELECT pg_export_snapshot(), transaction_timestamp()").Scan(&plan.Snapshot, &at); err != nil {
		return plan, classify(ctx, err, "", 0)
	}
	plan.SnapshotTime = at.UTC()
	x, err := s.begin(ctx, q.Label, plan.Snapshot)
	if err != nil {
		return plan, err
	}
	defer x.close(ctx)
	p := planner{s: s, x: x, q: q, want: want}
	err = p.plan(ctx, &plan)
	return plan, err
}

// planner plans one query in one transaction.
type planner struct {
	s    *Source
	x    *session
	q    source.Query
	d    *query
	axis window.Axis
	want int
}

func (p *planner) plan(ctx context.Context, plan *source.Plan) error {
	var err error
	if p.d, err = p.x.describe(ctx, p.q); err != nil {
		return err
	}
	plan.Counted = !sqltext.Varies(p.d.sql)
	if p.q.Model.Iterator.Column == "" {
		return p.buckets(ctx, plan)
	}
	if p.axis, err = window.NewAxis(p.q.Model.Iterator, p.d.schema); err != nil {
		return err //nolint:wrapcheck // classified by window
	}
	if p.q.Full {
		return p.full(ctx, plan)
	}
	return p.window(ctx, plan)
}

// hash names the server's hash of texts.
const hash = "hash of PostgreSQL"

// buckets cuts everything by a hash of the keys, where there are any.
func (p *planner) buckets(ctx context.Context, plan *source.Plan) error {
	if err := p.estimate(ctx, "", plan); err != nil {
		return err
	}
	n := p.parts(plan.EstimatedRows)
	if n <= 1 || len(p.q.Model.KeyColumns) == 0 {
		return nil
	}
	plan.Parts = plan.Parts[:0]
	for i := range n {
		plan.Parts = append(plan.Parts, source.Range{Unit: sqltext.Bucket{Index: i, Of: n, By: hash}.String()})
	}
	return nil
}

// parts answers how many parts `rows` rows are worth.
func (p *planner) parts(rows int64) int {
	return int(min(int64(p.want), (rows+p.s.settings.PartRows-1)/p.s.settings.PartRows))
}

// full cuts everything; rows without an iterator value are a part of their own where there are others.
func (p *planner) full(ctx context.Context, plan *source.Plan) error {
	if err := p.estimate(ctx, "", plan); err != nil {
		return err
	}
	bounds, err := p.bounds(ctx, plan.EstimatedRows, "")
	if err != nil || len(bounds) == 0 {
		return err
	}
	plan.Parts = append(window.Cut(window.Value{}, window.Value{}, bounds), source.Range{Nulls: true})
	return nil
}

// window finds the largest iterator value and cuts the window below it.
func (p *planner) window(ctx context.Context, plan *source.Plan) error {
	b, err := p.axis.Bounds(p.q, plan.SnapshotTime)
	if err != nil {
		return err //nolint:wrapcheck // classified by window
	}
	name := sqltext.Quote(p.axis.Column)
	if plan.NullIterator, err = p.count(ctx, " WHERE "+name+" IS NULL"); err != nil {
		return err
	}
	most, err := p.values(ctx, p.d.probe("CAST(max("+name+") AS "+p.own()+")", ""))
	if err != nil {
		return err
	}
	var largest window.Value
	if len(most) > 0 {
		largest = most[0]
	}
	if err := p.future(ctx, b, largest, plan); err != nil {
		return err
	}
	w := p.axis.Window(b, largest)
	plan.Watermark, plan.Parts = w.Watermark.String(), p.axis.Ranges(w, nil)
	if !w.IsEmpty() {
		if err := p.cut(ctx, w, plan); err != nil {
			return err
		}
	}
	if p.q.Model.Iterator.ReadNulls {
		plan.Parts = append(plan.Parts, source.Range{Nulls: true})
		plan.EstimatedRows += plan.NullIterator
	}
	return nil
}

func (p *planner) own() string { return p.d.columns[p.axis.Index].own }

// future counts the rows beyond the largest value that the window may hold.
func (p *planner) future(ctx context.Context, b window.Bounds, most window.Value, plan *source.Plan) error {
	edge := p.axis.Future(b, most)
	if edge.IsZero() {
		return nil
	}
	if err := p.x.bind(ctx, "millrace.low", edge.SQL()); err != nil {
		return err
	}
	var err error
	plan.FutureRows, err = p.count(ctx, " WHERE "+sqltext.Quote(p.axis.Column)+" > CAST(current_setting('millrace.low') AS "+p.own()+")")
	return err
}

// count answers how many of the model's rows meet a condition.
func (p *planner) count(ctx context.Context, where string) (n int64, err error) {
	sql := p.d.probe("count(*)", where)
	if err := p.x.conn.QueryRow(ctx, sql).Scan(&n); err != nil {
		return 0, classify(ctx, err, sql, 1)
	}
	return n, nil
}

// cut counts the rows of a window and makes its parts.
func (p *planner) cut(ctx context.Context, w window.Window, plan *source.Plan) error {
	where, err := p.x.where(ctx, p.d, p.axis, plan.Parts[0])
	if err != nil {
		return err
	}
	if err := p.estimate(ctx, where, plan); err != nil {
		return err
	}
	bounds, err := p.bounds(ctx, plan.EstimatedRows, where)
	plan.Parts = p.axis.Ranges(w, bounds)
	return err
}

// estimate counts rows and asks the server's planner for their bytes.
func (p *planner) estimate(ctx context.Context, where string, plan *source.Plan) error {
	var text []byte
	sql := "EXPLAIN (FORMAT JSON) " + p.d.text(where, 0)
	if err := p.x.conn.QueryRow(ctx, sql).Scan(&text); err != nil {
		return classify(ctx, err, sql, 1)
	}
	var doc []struct {
		Plan struct {
			Width float64 `json:"Plan Width"`
		} `json:"Plan"`
	}
	if err := json.Unmarshal(text, &doc); err != nil || len(doc) != 1 {
		return fault.New(fault.Unavailable, fault.ReasonWarehouseUnavailable, "the database explains no plan; try again")
	}
	var err error
	plan.EstimatedRows, err = p.count(ctx, where)
	plan.EstimatedBytes = int64(float64(plan.EstimatedRows) * doc[0].Plan.Width)
	return err
}

// bounds answers iterator values that cut about `rows` rows into parts of about the same size; none where one part does.
func (p *planner) bounds(ctx context.Context, rows int64, where string) ([]window.Value, error) {
	n := p.parts(rows)
	if n <= 1 {
		return nil, nil
	}
	quantiles := make([]string, 0, n-1)
	for i := range n - 1 {
		quantiles = append(quantiles, strconv.FormatFloat(float64(i+1)/float64(n), 'f', 6, 64))
	}
	name := sqltext.Quote(p.axis.Column)
	some := " WHERE random() < " + strconv.FormatFloat(min(1, sampleRows/float64(rows)), 'f', 9, 64)
	if where != "" {
		some = where + " AND" + strings.TrimPrefix(some, " WHERE")
	}
	return p.values(ctx, "SELECT CAST(unnest(percentile_disc(ARRAY["+strings.Join(quantiles, ", ")+"]) WITHIN GROUP (ORDER BY "+name+")) AS "+p.own()+") FROM ("+p.d.probe(name, some)+") AS s")
}

// values answers the iterator values that a statement of one column selects, without NULLs.
func (p *planner) values(ctx context.Context, sql string) ([]window.Value, error) {
	c := p.d.columns[p.axis.Index]
	one := &query{columns: []column{c}, schema: schemaOf([]column{c})}
	var out []window.Value
	err := p.s.copy(ctx, p.x, one, sql, func(b arrow.RecordBatch) bool {
		for i := range int(b.NumRows()) {
			if v := p.axis.Value(b.Column(0), i); !v.IsZero() {
				out = append(out, v)
			}
		}
		return true
	})
	return out, err
}
