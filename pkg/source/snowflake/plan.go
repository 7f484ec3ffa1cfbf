package snowflake

import (
	"context"
	"strconv"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"

	"millrace.dev/pkg/source"
	"millrace.dev/pkg/source/sqltext"
	"millrace.dev/pkg/window"
)

// sampleRows is how many iterator values the bounds of parts are guessed from.
const sampleRows = 20_000

// Plan takes the warehouse's time for a snapshot, and fixes in it the watermark and the parts: ranges of the iterator
// with about as many rows each, or buckets of the keys' hash, one part for each PartRows rows. Rows are counted in the
// snapshot where each table of the query can be read as it was; else parts read what is there when they are read.
func (s *Source) Plan(ctx context.Context, q source.Query, want int) (plan source.Plan, err error) {
	x, err := s.take(ctx)
	if err != nil {
		return source.Plan{}, err
	}
	defer func() { s.give(x, err) }()
	plan = source.Plan{Parts: []source.Range{{}}}
	d, err := x.describe(ctx, q)
	if err != nil {
		return plan, err
	}
	if plan.SnapshotTime, err = x.now(ctx, q.Label); err != nil {
		return plan, err
	}
	pinned, err := x.pin(ctx, d, plan.SnapshotTime)
	if err != nil {
		return plan, err
	}
	if plan.Snapshot = d.snapshot; !pinned {
		plan.Snapshot = "live"
	}
	plan.Counted = pinned && !d.varies()
	p := planner{x: x, q: q, d: d, want: want}
	err = p.plan(ctx, &plan)
	return plan, err
}

// planner plans one query in one session.
type planner struct {
	x    *session
	q    source.Query
	d    *query
	axis window.Axis
	want int
}

func (p *planner) plan(ctx context.Context, plan *source.Plan) (err error) {
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

// hash names the warehouse's hash of values.
const hash = "hash of Snowflake"

// buckets cuts everything by a hash of the keys, where there are any.
func (p *planner) buckets(ctx context.Context, plan *source.Plan) (err error) {
	if plan.EstimatedRows, err = p.count(ctx, ""); err != nil {
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
	per := p.x.s.settings.PartRows
	return int(min(int64(p.want), (rows+per-1)/per))
}

// full cuts everything; rows without an iterator value are a part of their own where there are others.
func (p *planner) full(ctx context.Context, plan *source.Plan) (err error) {
	if plan.EstimatedRows, err = p.count(ctx, ""); err != nil {
		return err
	}
	bounds, err := p.bounds(ctx, plan.EstimatedRows, "", nil)
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
	most, err := p.values(ctx, p.d.command("MAX("+name+")", "", 0))
	if err != nil {
		return err
	}
	var largest window.Value
	if len(most) > 0 {
		largest = most[0]
	}
	if edge := p.axis.Future(b, largest); !edge.IsZero() {
		if plan.FutureRows, err = p.count(ctx, " WHERE "+name+" > "+p.d.placeholder(p.axis), bound(edge)); err != nil {
			return err
		}
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

// cut counts the rows of a window and makes its parts.
func (p *planner) cut(ctx context.Context, w window.Window, plan *source.Plan) error {
	where, binds, err := p.d.where(p.axis, plan.Parts[0])
	if err != nil {
		return err
	}
	if plan.EstimatedRows, err = p.count(ctx, where, binds...); err != nil {
		return err
	}
	bounds, err := p.bounds(ctx, plan.EstimatedRows, where, binds)
	plan.Parts = p.axis.Ranges(w, bounds)
	return err
}

// count answers how many of the model's rows meet a condition.
func (p *planner) count(ctx context.Context, where string, binds ...string) (int64, error) {
	return p.x.count(ctx, p.d.command("COUNT(*)", where, 0, binds...))
}

// bounds answers iterator values that cut about `rows` rows into parts of about the same size; none where one part does.
func (p *planner) bounds(ctx context.Context, rows int64, where string, binds []string) ([]window.Value, error) {
	n := p.parts(rows)
	if n <= 1 {
		return nil, nil
	}
	name := sqltext.Quote(p.axis.Column)
	quantiles := make([]string, 0, n-1)
	for i := range n - 1 {
		quantiles = append(quantiles, "PERCENTILE_DISC("+strconv.FormatFloat(float64(i+1)/float64(n), 'f', 6, 64)+") WITHIN GROUP (ORDER BY "+name+")")
	}
	and := " WHERE "
	if where != "" {
		and = where + " AND "
	}
	share := strconv.FormatFloat(min(1, sampleRows/float64(rows)), 'f', 9, 64)
	return p.values(ctx, p.d.command(strings.Join(quantiles, ", "), and+"UNIFORM(0::FLOAT, 1::FLOAT, RANDOM()) < "+share, 0, binds...))
}

// values answers the iterator values that a statement selects, without NULLs.
func (p *planner) values(ctx context.Context, c command) ([]window.Value, error) {
	var out []window.Value
	err := p.x.rows(ctx, c, func(b arrow.RecordBatch) bool {
		for i := range int(b.NumRows()) {
			for _, c := range b.Columns() {
				if v := p.axis.Value(c, i); !v.IsZero() {
					out = append(out, v)
				}
			}
		}
		return true
	})
	return out, err
}

// count answers the number that a statement selects.
func (x *session) count(ctx context.Context, c command) (int64, error) {
	row, err := x.one(ctx, c)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(row[0], 10, 64)
	if err != nil {
		return 0, malformed()
	}
	return n, nil
}
