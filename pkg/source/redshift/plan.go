package redshift

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"

	"millrace.dev/pkg/source"
	"millrace.dev/pkg/source/sqltext"
	"millrace.dev/pkg/window"
)

const (
	// sampleRows is how many iterator values the bounds of parts are guessed from.
	sampleRows = 20_000
	// guessedText is how many bytes a value without a fixed width is taken for in estimates.
	guessedText = 24
)

// Plan fixes the watermark in one transaction. Where a bucket is given, it unloads the window in the same transaction, and
// parts are shares of the files, which lie there until Close or the next Plan. Else parts are ranges of the iterator with
// about as many rows each, or buckets of the keys' hash, one for each PartRows rows, and each is read as it is then.
func (s *Source) Plan(ctx context.Context, q source.Query, want int) (source.Plan, error) {
	plan := source.Plan{Parts: []source.Range{{}}}
	x, err := s.begin(ctx, q.Label)
	if err != nil {
		return plan, err
	}
	defer x.close(ctx)
	if plan.SnapshotTime, err = x.now(ctx); err != nil {
		return plan, err
	}
	p := planner{x: x, q: q, want: want}
	if p.d, err = x.describe(ctx, q); err != nil {
		return plan, err
	}
	err = p.plan(ctx, &plan)
	return plan, err
}

// planner plans one query in one transaction.
type planner struct {
	x    *session
	q    source.Query
	d    *query
	axis window.Axis
	want int
}

func (p *planner) plan(ctx context.Context, plan *source.Plan) error {
	var err error
	if p.q.Model.Iterator.Column != "" {
		if p.axis, err = window.NewAxis(p.q.Model.Iterator, p.d.schema); err != nil {
			return err //nolint:wrapcheck // classified by window
		}
	}
	switch unloads := p.x.s.address.Unloads(); {
	case p.axis.Column != "" && !p.q.Full:
		return p.window(ctx, plan)
	case unloads:
		return p.unload(ctx, plan, "")
	case p.axis.Column != "":
		return p.full(ctx, plan)
	}
	return p.buckets(ctx, plan)
}

// now answers the warehouse's clock at the beginning of the transaction.
func (x *session) now(ctx context.Context) (time.Time, error) {
	n, err := x.number(ctx, "SELECT CAST(EXTRACT(epoch FROM GETDATE()) AS BIGINT)")
	return time.Unix(n, 0).UTC(), err
}

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
	each := p.x.s.settings.PartRows
	return int(min(int64(p.want), (rows+each-1)/each))
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

// window finds the largest iterator value and reads, or cuts, the window below it.
func (p *planner) window(ctx context.Context, plan *source.Plan) error {
	b, err := p.axis.Bounds(p.q, plan.SnapshotTime)
	if err != nil {
		return err //nolint:wrapcheck // classified by window
	}
	name := sqltext.Quote(p.axis.Column)
	if plan.NullIterator, err = p.count(ctx, " WHERE "+name+" IS NULL"); err != nil {
		return err
	}
	largest, err := p.largest(ctx)
	if err != nil {
		return err
	}
	if edge := p.axis.Future(b, largest); !edge.IsZero() {
		c, err := p.d.constant(p.axis, edge)
		if err != nil {
			return err
		}
		if plan.FutureRows, err = p.count(ctx, " WHERE "+name+" > "+c); err != nil {
			return err
		}
	}
	w := p.axis.Window(b, largest)
	plan.Watermark, plan.Parts = w.Watermark.String(), p.axis.Ranges(w, nil)
	if p.x.s.address.Unloads() {
		return p.unloadWindow(ctx, w, plan)
	}
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

// largest answers the largest iterator value, none where there is no row.
func (p *planner) largest(ctx context.Context) (window.Value, error) {
	most, err := p.values(ctx, p.d.probe("max("+sqltext.Quote(p.axis.Column)+") AS v", ""))
	if err != nil || len(most) == 0 {
		return window.Value{}, err
	}
	return most[0], nil
}

// unloadWindow unloads a window, and the rows without an iterator value where the model reads them.
func (p *planner) unloadWindow(ctx context.Context, w window.Window, plan *source.Plan) error {
	nulls := p.q.Model.Iterator.ReadNulls && plan.NullIterator > 0
	none := sqltext.Quote(p.axis.Column) + " IS NULL"
	switch {
	case w.IsEmpty() && !nulls:
		return nil
	case w.IsEmpty():
		return p.unload(ctx, plan, " WHERE "+none)
	}
	where, err := p.d.where(p.axis, plan.Parts[0])
	if err != nil {
		return err
	}
	if nulls && where != "" {
		where = " WHERE (" + strings.TrimPrefix(where, " WHERE ") + ") OR " + none
	}
	if !p.q.Model.Iterator.ReadNulls && where == "" {
		where = " WHERE NOT " + none
	}
	return p.unload(ctx, plan, where)
}

// unload unloads the rows of a condition and makes parts of the files.
func (p *planner) unload(ctx context.Context, plan *source.Plan, where string) error {
	u, err := p.x.unload(ctx, p.q.Label, p.d.text(where, 0))
	if err != nil {
		return p.x.s.abandon(ctx, u.place, err)
	}
	plan.EstimatedRows, plan.EstimatedBytes = u.rows, u.bytes
	plan.Counted, plan.Replan = !sqltext.Varies(p.d.sql), true
	plan.Snapshot = snapshot{Place: u.place, Rows: u.rows}.String()
	n := p.parts(u.rows)
	if p.axis.Column == "" && len(p.q.Model.KeyColumns) == 0 {
		n = 1
	}
	plan.Parts = u.parts(n)
	return p.x.s.replace(ctx, u.place)
}

// abandon removes what an attempt that ended by err left, and answers err.
func (s *Source) abandon(ctx context.Context, place string, err error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeWait)
	defer cancel()
	_ = s.remove(ctx, place) // the fault that is told is err; the bucket's lifecycle rule takes what is left
	return err
}

// replace keeps a plan's files in the place of those of the plan before, which are removed.
func (s *Source) replace(ctx context.Context, place string) error {
	return s.remove(ctx, s.hold(place))
}

// count answers how many of the model's rows meet a condition.
func (p *planner) count(ctx context.Context, where string) (int64, error) {
	return p.x.number(ctx, p.d.probe("count(*)", where))
}

// cut counts the rows of a window and makes its parts.
func (p *planner) cut(ctx context.Context, w window.Window, plan *source.Plan) error {
	where, err := p.d.where(p.axis, plan.Parts[0])
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

// estimate counts rows and guesses their bytes.
func (p *planner) estimate(ctx context.Context, where string, plan *source.Plan) error {
	width := int64(0)
	for _, f := range p.d.schema.Fields() {
		if fixed, ok := f.Type.(arrow.FixedWidthDataType); ok {
			width += int64(max(1, fixed.BitWidth()/8))
		} else {
			width += guessedText
		}
	}
	var err error
	plan.EstimatedRows, err = p.count(ctx, where)
	plan.EstimatedBytes = plan.EstimatedRows * width
	return err
}

// bounds answers iterator values that cut about `rows` rows into parts of about the same size; none where one part does.
func (p *planner) bounds(ctx context.Context, rows int64, where string) ([]window.Value, error) {
	n := p.parts(rows)
	if n <= 1 {
		return nil, nil
	}
	name := sqltext.Quote(p.axis.Column)
	some := " WHERE " + name + " IS NOT NULL AND RANDOM() < " + strconv.FormatFloat(min(1, sampleRows/float64(rows)), 'f', 9, 64)
	if where != "" {
		some = where + " AND" + strings.TrimPrefix(some, " WHERE")
	}
	return p.values(ctx, "SELECT max(v) AS v FROM (SELECT v, NTILE("+strconv.Itoa(n)+") OVER (ORDER BY v) AS t FROM ("+p.d.probe(name+" AS v", some)+
		") AS s) AS n WHERE t < "+strconv.Itoa(n)+" GROUP BY t ORDER BY 1")
}

// values answers the iterator values that a statement of one column selects, without NULLs.
func (p *planner) values(ctx context.Context, sql string) ([]window.Value, error) {
	c := p.d.columns[p.axis.Index]
	one := &query{columns: []column{c}, schema: schemaOf([]column{c})}
	var out []window.Value
	err := p.x.small(ctx, one, sql, func(b arrow.RecordBatch) bool {
		for i := range int(b.NumRows()) {
			if v := p.axis.Value(b.Column(0), i); !v.IsZero() {
				out = append(out, v)
			}
		}
		return true
	})
	return out, err
}
