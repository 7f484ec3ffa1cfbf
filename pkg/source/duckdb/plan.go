//go:build cgo && duckdb_arrow

package duckdb

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	engine "github.com/duckdb/duckdb-go-bindings"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/source"
	"millrace.dev/pkg/source/sqltext"
	"millrace.dev/pkg/window"
)

// sampleRows is how many iterator values the bounds of parts are guessed from.
const sampleRows = 20_000

// Plan fixes the files' snapshot, and in it the watermark and the parts: ranges of the iterator with about as many rows
// each, or buckets of the keys' hash, one part for each PartRows rows. Rows are counted.
func (s *Source) Plan(ctx context.Context, q source.Query, want int) (source.Plan, error) {
	c, err := s.db.connect()
	if err != nil {
		return source.Plan{}, err
	}
	defer c.close()
	name, size, err := s.snapshot(ctx, c)
	if err != nil {
		return source.Plan{}, err
	}
	if err := c.exec(ctx, "BEGIN TRANSACTION"); err != nil {
		return source.Plan{}, err
	}
	p := planner{c: c, q: q, want: want, partRows: s.settings.PartRows}
	plan, err := p.plan(ctx)
	if err != nil {
		return source.Plan{}, err
	}
	plan.Snapshot, plan.Replan = name, true
	if s.place.shape != databaseFile && q.Low == "" {
		plan.EstimatedBytes = size
	}
	return plan, s.unchanged(ctx, c, name)
}

// planner plans one query on a connection that has a transaction open; the connection's end ends that too.
type planner struct {
	c        *conn
	q        source.Query
	d        *query
	axis     window.Axis
	want     int
	partRows int64
}

func (p *planner) plan(ctx context.Context) (source.Plan, error) {
	d, err := p.c.describe(ctx, p.q)
	if err != nil {
		return source.Plan{}, err
	}
	p.d = d
	row, err := p.c.one(ctx, "SELECT CAST(epoch_us(now()) AS VARCHAR)")
	if err != nil {
		return source.Plan{}, err
	}
	micros, err := number(row[0])
	if err != nil {
		return source.Plan{}, err
	}
	plan := source.Plan{SnapshotTime: time.UnixMicro(micros).UTC(), Parts: []source.Range{{}}}
	plan.Counted = !sqltext.Varies(d.sql)
	if p.q.Model.Iterator.Column == "" {
		return plan, p.buckets(ctx, &plan)
	}
	if p.axis, err = window.NewAxis(p.q.Model.Iterator, d.schema); err != nil {
		return plan, err
	}
	if p.q.Full {
		return plan, p.full(ctx, &plan)
	}
	return plan, p.window(ctx, &plan)
}

// buckets cuts everything by a hash of the keys, where there are any.
func (p *planner) buckets(ctx context.Context, plan *source.Plan) error {
	var err error
	if plan.EstimatedRows, err = p.count(ctx, "", nil); err != nil {
		return err
	}
	n := p.parts(plan.EstimatedRows)
	if n <= 1 || len(p.q.Model.KeyColumns) == 0 {
		return nil
	}
	by, err := p.c.hash(ctx)
	if err != nil {
		return err
	}
	plan.Parts = plan.Parts[:0]
	for i := range n {
		plan.Parts = append(plan.Parts, source.Range{Unit: sqltext.Bucket{Index: i, Of: n, By: by}.String()})
	}
	return nil
}

// full cuts everything; rows without an iterator value are a part of their own where there are others.
func (p *planner) full(ctx context.Context, plan *source.Plan) error {
	var err error
	if plan.EstimatedRows, err = p.count(ctx, "", nil); err != nil {
		return err
	}
	bounds, err := p.bounds(ctx, plan.EstimatedRows, "", nil)
	if err != nil || len(bounds) == 0 {
		return err
	}
	plan.Parts = append(window.Cut(window.Value{}, window.Value{}, bounds), source.Range{Nulls: true})
	return nil
}

// window finds the largest iterator value and the rows of the window below it.
func (p *planner) window(ctx context.Context, plan *source.Plan) error {
	b, err := p.axis.Bounds(p.q, plan.SnapshotTime)
	if err != nil {
		return err
	}
	most, err := p.most(ctx, plan)
	if err != nil {
		return err
	}
	if err := p.future(ctx, b, most, plan); err != nil {
		return err
	}
	w := p.axis.Window(b, most)
	plan.Watermark = w.Watermark.String()
	plan.Parts = p.axis.Ranges(w, nil)
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
	defer destroyValues(args)
	if plan.EstimatedRows, err = p.count(ctx, where, args); err != nil {
		return err
	}
	bounds, err := p.bounds(ctx, plan.EstimatedRows, where, args)
	plan.Parts = p.axis.Ranges(w, bounds)
	return err
}

// future counts the rows beyond the largest value that the window may hold.
func (p *planner) future(ctx context.Context, b window.Bounds, most window.Value, plan *source.Plan) error {
	edge := p.axis.Future(b, most)
	if edge.IsZero() {
		return nil
	}
	cast, arg := p.d.bound(p.axis, edge)
	args := []engine.Value{arg}
	defer destroyValues(args)
	var err error
	plan.FutureRows, err = p.count(ctx, " WHERE "+sqltext.Quote(p.axis.Column)+" > "+cast, args)
	return err
}

// count answers how many of the model's rows meet a condition.
func (p *planner) count(ctx context.Context, where string, args []engine.Value) (int64, error) {
	row, err := p.c.one(ctx, p.d.probe("CAST(count(*) AS VARCHAR)", where), args...)
	if err != nil {
		return 0, err
	}
	return number(row[0])
}

// most answers the largest iterator value, and counts the rows that have none.
func (p *planner) most(ctx context.Context, plan *source.Plan) (window.Value, error) {
	column := sqltext.Quote(p.axis.Column)
	row, err := p.c.one(ctx, p.d.probe("CAST(count(*) - count("+column+") AS VARCHAR)", ""))
	if err != nil {
		return window.Value{}, err
	}
	if plan.NullIterator, err = number(row[0]); err != nil {
		return window.Value{}, err
	}
	values, err := p.values(ctx, p.d.probe("max("+column+") AS "+column, ""), nil)
	if err != nil || len(values) == 0 {
		return window.Value{}, err
	}
	return values[0], nil
}

// bounds answers iterator values that cut about `rows` rows into parts of about the same size; none where one part does.
func (p *planner) bounds(ctx context.Context, rows int64, where string, args []engine.Value) ([]window.Value, error) {
	n := p.parts(rows)
	if n <= 1 {
		return nil, nil
	}
	quantiles := make([]string, 0, n-1)
	for i := range n - 1 {
		quantiles = append(quantiles, strconv.FormatFloat(float64(i+1)/float64(n), 'f', 6, 64))
	}
	column := sqltext.Quote(p.axis.Column)
	sample := "SELECT " + column + " FROM (\n" + p.d.sql + "\n) AS q" + where + " USING SAMPLE " + strconv.Itoa(sampleRows)
	return p.values(ctx, "SELECT unnest(quantile_disc("+column+", ["+strings.Join(quantiles, ", ")+"])) AS "+column+" FROM ("+sample+") AS s", args)
}

// parts answers how many parts `rows` rows are worth.
func (p *planner) parts(rows int64) int {
	return int(min(int64(p.want), (rows+p.partRows-1)/p.partRows))
}

// values answers the iterator values that a statement of one column selects, without NULLs.
func (p *planner) values(ctx context.Context, sql string, args []engine.Value) ([]window.Value, error) {
	stmt, err := p.c.prepareBound(ctx, sql, args)
	if err != nil {
		return nil, err
	}
	defer stmt.close()
	var out []window.Value
	err = stmt.run(ctx, func(b arrow.RecordBatch) bool {
		for i := range int(b.NumRows()) {
			if v := p.axis.Value(b.Column(0), i); !v.IsZero() {
				out = append(out, v)
			}
		}
		return true
	})
	return out, err
}

func number(s string) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, fault.New(fault.Internal, fault.ReasonInternal, "DuckDB answered no number: %w", err)
	}
	return n, nil
}
