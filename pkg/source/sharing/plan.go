package sharing

import (
	"context"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"golang.org/x/sync/errgroup"

	"millrace.dev/pkg/source"
	"millrace.dev/pkg/source/sqltext"
	"millrace.dev/pkg/window"
)

// countedFiles bounds the files whose iterator is read to count the rows of a window exactly.
const countedFiles = 256

// Plan fixes the version of a model's table, the watermark in it and the parts: ranges of the iterator along the bounds of
// files where files do not overlap much, or groups of files; one part for each PartRows rows. Rows are counted by the
// files' statistics, and by the iterator alone of files that lie across an edge; bytes are those of the files.
func (s *Source) Plan(ctx context.Context, q source.Query, want int) (source.Plan, error) {
	plan := source.Plan{Parts: []source.Range{{}}}
	m, err := s.modelOf(q.Model)
	if err != nil {
		return plan, err
	}
	p := planner{s: s, q: q, want: want}
	if p.l, err = s.files(ctx, m.table, q.Label, asked{column: m.iteratorOf(q.Model)}); err != nil {
		return plan, err
	}
	if p.d, err = m.describe(p.l.meta); err != nil {
		return plan, err
	}
	plan.Snapshot, plan.SnapshotTime, plan.Counted = snapshotOf(p.l.version), p.l.at, true
	if p.links, err = s.links(p.l, p.again(m)); err != nil {
		return plan, err
	}
	if err := p.plan(ctx, &plan); err != nil {
		return source.Plan{Parts: []source.Range{{}}}, err
	}
	return plan, nil
}

// planner plans one query over one listing.
type planner struct {
	s     *Source
	q     source.Query
	l     *listing
	d     *query
	links *links
	axis  window.Axis
	want  int
}

// again lists the files of the same version anew, for links that have expired.
func (p *planner) again(m model) func(context.Context) (*listing, error) {
	return func(ctx context.Context) (*listing, error) {
		l, err := p.s.files(ctx, m.table, p.q.Label, asked{})
		if err == nil && l.version != p.l.version {
			return nil, changed("%s was written while it was planned", m.table.what())
		}
		return l, err
	}
}

func (p *planner) plan(ctx context.Context, plan *source.Plan) error {
	if err := p.count(ctx); err != nil {
		return err
	}
	cut := len(p.q.Model.KeyColumns) > 0
	if p.q.Model.Iterator.Column != "" {
		var err error
		if p.axis, err = window.NewAxis(p.q.Model.Iterator, p.d.schema); err != nil {
			return err //nolint:wrapcheck // classified by window
		}
		if !p.q.Full {
			return p.window(ctx, plan)
		}
		cut = true
	}
	for _, f := range p.l.files {
		plan.EstimatedRows += f.rows
		plan.EstimatedBytes += f.size
	}
	if cut {
		p.groups(plan)
	}
	return nil
}

// groups cuts everything into groups of files.
func (p *planner) groups(plan *source.Plan) {
	n := min(p.parts(plan.EstimatedRows), len(p.l.files))
	if n <= 1 {
		return
	}
	plan.Replan, plan.Parts = true, nil
	for i := range n {
		plan.Parts = append(plan.Parts, source.Range{Unit: sqltext.Bucket{Index: i, Of: n, By: grouping}.String()})
	}
}

// parts answers how many parts `rows` rows are worth.
func (p *planner) parts(rows int64) int {
	return int(min(int64(p.want), (rows+p.s.settings.PartRows-1)/p.s.settings.PartRows))
}

// count finds how many rows each file has: by its statistics, else by its footer.
func (p *planner) count(ctx context.Context) error {
	work, inner := errgroup.WithContext(ctx)
	work.SetLimit(p.s.settings.Parallel)
	for _, f := range p.l.files {
		if f.rows >= 0 {
			continue
		}
		work.Go(func() error {
			open, err := p.links.open(inner, f)
			if err == nil {
				f.rows = open.meta.NumRows
			}
			return err
		})
	}
	return work.Wait() //nolint:wrapcheck // classified
}

// window finds the largest iterator value and cuts the window below it.
func (p *planner) window(ctx context.Context, plan *source.Plan) error {
	b, err := p.axis.Bounds(p.q, plan.SnapshotTime)
	if err != nil {
		return err //nolint:wrapcheck // classified by window
	}
	most, err := p.most(ctx, plan)
	if err != nil {
		return err
	}
	w := p.axis.Window(b, most)
	plan.Watermark, plan.Parts = w.Watermark.String(), p.axis.Ranges(w, nil)
	inside, beyond := &filter{axis: p.axis, low: w.Low, high: w.High, closed: true}, (*filter)(nil)
	if w.IsEmpty() {
		inside = nil
	}
	if edge := p.axis.Future(b, most); !edge.IsZero() {
		beyond = &filter{axis: p.axis, low: edge, after: true}
	}
	if err := p.rows(ctx, inside, beyond, plan); err != nil {
		return err
	}
	if inside != nil {
		plan.Parts = p.axis.Ranges(w, p.bounds(inside, plan.EstimatedRows))
	}
	if p.q.Model.Iterator.ReadNulls {
		plan.Parts = append(plan.Parts, source.Range{Nulls: true})
		plan.EstimatedRows += plan.NullIterator
	}
	return nil
}

func (p *planner) extent(f *listed) extent { return extentOf(p.axis, p.d.names[p.axis.Index], f) }

// most answers the largest iterator value, and counts the rows that have none. Statistics are bounds, and not always
// values: the files that may hold the largest are read, of them the iterator alone.
func (p *planner) most(ctx context.Context, plan *source.Plan) (window.Value, error) {
	var most window.Value
	see := func(v window.Value) {
		if most.IsZero() || v.Compare(most) > 0 {
			most = v
		}
	}
	var unknown, known []*listed
	for _, f := range p.l.files {
		switch e := p.extent(f); {
		case f.rows == 0:
		case e.nulls == f.rows:
			plan.NullIterator += f.rows
		case e.nulls < 0 || !e.known:
			unknown = append(unknown, f)
		default:
			plan.NullIterator += e.nulls
			known = append(known, f)
		}
	}
	if err := p.values(ctx, unknown, see, &plan.NullIterator); err != nil {
		return most, err
	}
	slices.SortStableFunc(known, func(a, b *listed) int { return p.extent(b).high.Compare(p.extent(a).high) })
	for len(known) > 0 && (most.IsZero() || p.extent(known[0]).high.Compare(most) > 0) {
		n := min(p.s.settings.Parallel, len(known))
		if _, ok := known[0].partitionOf(p.d.names[p.axis.Index]); ok {
			see(p.extent(known[0]).high)
			break
		}
		if err := p.values(ctx, known[:n], see, nil); err != nil {
			return most, err
		}
		known = known[n:]
	}
	return most, nil
}

// values calls see with the iterator's values in files, and counts the rows without one where nulls is set.
func (p *planner) values(ctx context.Context, files []*listed, see func(window.Value), nulls *int64) error {
	if len(files) == 0 {
		return nil
	}
	r := reading{s: p.s, q: p.d.only(p.axis.Index), links: p.links, files: files}
	return r.run(ctx, func(b arrow.RecordBatch) bool {
		for i := range int(b.NumRows()) {
			if v := p.axis.Value(b.Column(0), i); !v.IsZero() {
				see(v)
			} else if nulls != nil {
				*nulls++
			}
		}
		return true
	})
}

// only answers q with some of its columns, in this order.
func (q *query) only(at ...int) *query {
	out := &query{model: q.model}
	var fields []arrow.Field
	for _, i := range at {
		fields, out.names, out.deep = append(fields, q.schema.Field(i)), append(out.names, q.names[i]), append(out.deep, q.deep[i])
	}
	out.schema = arrow.NewSchema(fields, nil)
	return out
}

// rows counts the rows of the window and those beyond its edge. Of a file that lies across an end the iterator is read;
// where those are too many, half of such a file's rows are taken to be within.
func (p *planner) rows(ctx context.Context, inside, beyond *filter, plan *source.Plan) error {
	var across []*listed
	for _, f := range p.l.files {
		e := p.extent(f)
		within, sure := inside.count(f, e)
		later, sure2 := beyond.count(f, e)
		switch {
		case sure && sure2:
			plan.EstimatedRows, plan.FutureRows = plan.EstimatedRows+within, plan.FutureRows+later
		default:
			across = append(across, f)
		}
		if inside != nil && !inside.none(e) {
			plan.EstimatedBytes += f.size
		}
	}
	if len(across) > countedFiles && beyond == nil {
		plan.Counted = false
		for _, f := range across {
			plan.EstimatedRows += f.rows / 2
		}
		return nil
	}
	return p.values(ctx, across, func(v window.Value) {
		if inside != nil && inside.keeps(v) {
			plan.EstimatedRows++
		}
		if beyond != nil && beyond.keeps(v) {
			plan.FutureRows++
		}
	}, nil)
}

// count answers how many rows of a file are in the range, and whether its statistics say so for sure. A nil range has none.
func (f *filter) count(x *listed, e extent) (int64, bool) {
	switch {
	case f == nil || x.rows == 0 || e.nulls == x.rows || f.none(e):
		return 0, true
	case e.known && e.nulls >= 0 && f.keeps(e.low) && f.keeps(e.high):
		return x.rows - e.nulls, true
	}
	return 0, false
}

// bounds answers iterator values that cut about `rows` rows into parts of about the same size, each of which begins where a
// file does. None where one part does, and where the files overlap so much that the parts would read them again and again.
func (p *planner) bounds(inside *filter, rows int64) []window.Value {
	n := p.parts(rows)
	if n <= 1 {
		return nil
	}
	var in []*listed
	total := int64(0)
	for _, f := range p.l.files {
		if e := p.extent(f); !inside.none(e) {
			if !e.known {
				return nil
			}
			in = append(in, f)
			total += f.rows
		}
	}
	slices.SortStableFunc(in, func(a, b *listed) int { return p.extent(a).low.Compare(p.extent(b).low) })
	var out []window.Value
	seen := int64(0)
	for _, f := range in {
		if seen*int64(n) >= total*int64(len(out)+1) && len(out) < n-1 {
			out = append(out, p.extent(f).low)
		}
		seen += f.rows
	}
	if p.rereads(inside, in, out) {
		return nil
	}
	return out
}

// rereads says whether parts cut at bounds would read more than half of the files' bytes again.
func (p *planner) rereads(inside *filter, files []*listed, bounds []window.Value) bool {
	once, all := int64(0), int64(0)
	for _, f := range files {
		once += f.size
		e, low := p.extent(f), inside.low
		for i := range len(bounds) + 1 {
			part := filter{axis: p.axis, low: low, high: inside.high, closed: true}
			if i < len(bounds) {
				part.high, part.closed, low = bounds[i], false, bounds[i]
			}
			if !part.none(e) {
				all += f.size
			}
		}
	}
	return all*2 > once*3
}
