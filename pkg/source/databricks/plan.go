package databricks

import (
	"context"
	"strconv"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"

	"millrace.dev/pkg/fault"
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

// Plan fixes the version of a model's table, the watermark in it and the parts: ranges of the iterator with about as many
// rows each, or buckets of the keys' hash, one part for each PartRows rows. Rows are counted; they are what the parts have
// where the model is a table with versions. Bytes are guessed from the columns' types.
func (s *Source) Plan(ctx context.Context, q source.Query, want int) (source.Plan, error) {
	plan := source.Plan{Parts: []source.Range{{}}}
	sql, err := selectOf(q.Model)
	if err != nil {
		return plan, err
	}
	x, err := s.session(ctx, q.Label)
	if err != nil {
		return plan, err
	}
	defer x.close()
	p := planner{s: s, x: x, q: q, want: want}
	if plan.SnapshotTime, err = x.now(ctx); err != nil {
		return plan, err
	}
	if plan.Snapshot, err = x.version(ctx, q.Model); err != nil {
		return plan, err
	}
	p.d, err = x.describe(ctx, under(sql, plan.Snapshot, q.Model))
	if err != nil && plan.Snapshot != "" && fault.ClassOf(err).Permanent() { // such as a table with row filters
		plan.Snapshot = ""
		p.d, err = x.describe(ctx, sql)
	}
	if err != nil {
		return plan, err
	}
	plan.Counted = plan.Snapshot != ""
	err = p.plan(ctx, &plan)
	return plan, err
}

// planner plans one query in one session.
type planner struct {
	s    *Source
	x    *session
	q    source.Query
	d    *query
	axis window.Axis
	want int
}

func (p *planner) plan(ctx context.Context, plan *source.Plan) error {
	if p.q.Model.Iterator.Column == "" {
		return p.buckets(ctx, plan)
	}
	var err error
	if p.axis, err = window.NewAxis(p.q.Model.Iterator, p.d.schema); err != nil {
		return err //nolint:wrapcheck // classified by window
	}
	if p.q.Full {
		return p.full(ctx, plan)
	}
	return p.window(ctx, plan)
}

// buckets cuts everything by a hash of the keys, where there are any.
func (p *planner) buckets(ctx context.Context, plan *source.Plan) error {
	if err := p.estimate(ctx, "", nil, plan); err != nil {
		return err
	}
	if len(p.q.Model.KeyColumns) > 0 {
		plan.Parts = buckets(p.s.settings.parts(plan.EstimatedRows, p.want))
	}
	return nil
}

// buckets answers n buckets of the keys' hash, or one part of everything.
func buckets(n int) []source.Range {
	if n <= 1 {
		return []source.Range{{}}
	}
	out := make([]source.Range, n)
	for i := range out {
		out[i].Unit = sqltext.Bucket{Index: i, Of: n, By: hash}.String()
	}
	return out
}

// parts answers how many parts `rows` rows are worth, at most `want`.
func (s Settings) parts(rows int64, want int) int {
	return int(min(int64(want), (rows+s.PartRows-1)/s.PartRows))
}

// full cuts everything; rows without an iterator value are a part of their own where there are others.
func (p *planner) full(ctx context.Context, plan *source.Plan) error {
	if err := p.estimate(ctx, "", nil, plan); err != nil {
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
	name := quote(p.axis.Column)
	if plan.NullIterator, err = p.count(ctx, " WHERE "+name+" IS NULL", nil); err != nil {
		return err
	}
	most, err := p.values(ctx, p.d.probe("max("+name+") AS v", ""), nil)
	if err != nil {
		return err
	}
	var largest window.Value
	if len(most) > 0 {
		largest = most[0]
	}
	if edge := p.axis.Future(b, largest); !edge.IsZero() {
		term, arg := p.d.bound(p.axis, "millrace_low", edge)
		if plan.FutureRows, err = p.count(ctx, " WHERE "+name+" > "+term, []parameter{arg}); err != nil {
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
	where, args, err := p.d.where(p.axis, plan.Parts[0])
	if err != nil {
		return err
	}
	if err := p.estimate(ctx, where, args, plan); err != nil {
		return err
	}
	bounds, err := p.bounds(ctx, plan.EstimatedRows, where, args)
	plan.Parts = p.axis.Ranges(w, bounds)
	return err
}

// count answers how many of the model's rows meet a condition.
func (p *planner) count(ctx context.Context, where string, args []parameter) (int64, error) {
	return p.x.number(ctx, p.d.probe("count(*) AS n", where), args...)
}

// number answers the one number of a statement.
func (x *session) number(ctx context.Context, sql string, args ...parameter) (int64, error) {
	rows, err := x.texts(ctx, sql, args...)
	if err != nil {
		return 0, err
	}
	if len(rows) != 1 || len(rows[0]) != 1 {
		return 0, malformed()
	}
	n, err := strconv.ParseInt(rows[0][0], 10, 64)
	if err != nil {
		return 0, malformed()
	}
	return n, nil
}

// estimate counts rows and guesses their bytes.
func (p *planner) estimate(ctx context.Context, where string, args []parameter, plan *source.Plan) error {
	width := int64(0)
	for _, f := range p.d.schema.Fields() {
		if fixed, ok := f.Type.(arrow.FixedWidthDataType); ok {
			width += int64(max(1, fixed.BitWidth()/8))
		} else {
			width += guessedText
		}
	}
	var err error
	plan.EstimatedRows, err = p.count(ctx, where, args)
	plan.EstimatedBytes = plan.EstimatedRows * width
	return err
}

// bounds answers iterator values that cut about `rows` rows into parts of about the same size; none where one part does.
func (p *planner) bounds(ctx context.Context, rows int64, where string, args []parameter) ([]window.Value, error) {
	n := p.s.settings.parts(rows, p.want)
	if n <= 1 {
		return nil, nil
	}
	name := quote(p.axis.Column)
	some := " WHERE " + name + " IS NOT NULL AND rand() < " + strconv.FormatFloat(min(1, sampleRows/float64(rows)), 'f', 9, 64)
	if where != "" {
		some = where + " AND" + strings.TrimPrefix(some, " WHERE")
	}
	sample := p.d.probe(name+" AS v", some)
	return p.values(ctx, "SELECT max(v) AS v FROM (SELECT v, ntile("+strconv.Itoa(n)+") OVER (ORDER BY v) AS t FROM ("+sample+") AS s) AS n WHERE t < "+
		strconv.Itoa(n)+" GROUP BY t", args)
}

// values answers the iterator values that a statement of one column selects, without NULLs.
func (p *planner) values(ctx context.Context, sql string, args []parameter) ([]window.Value, error) {
	one := arrow.NewSchema([]arrow.Field{p.d.schema.Field(p.axis.Index)}, nil)
	var out []window.Value
	err := p.x.read(ctx, sql, args, one, func(b arrow.RecordBatch) bool {
		for i := range int(b.NumRows()) {
			if v := p.axis.Value(b.Column(0), i); !v.IsZero() {
				out = append(out, v)
			}
		}
		return true
	})
	return out, err
}
