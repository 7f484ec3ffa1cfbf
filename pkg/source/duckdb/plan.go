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
// each, one more part for each PartRows rows.
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
	if p.q.Model.Iterator.Column == "" {
		row, err := p.c.one(ctx, d.probe("CAST(count(*) AS VARCHAR)", ""))
		if err != nil {
			return plan, err
		}
		plan.EstimatedRows, err = number(row[0])
		return plan, err
	}
	if p.axis, err = window.NewAxis(p.q.Model.Iterator, d.schema); err != nil {
		return plan, err
	}
	if p.q.Full {
		return plan, p.full(ctx, &plan)
	}
	return plan, p.window(ctx, &plan)
}

// full cuts everything; rows without an iterator value are a part of their own where there are others.
func (p *planner) full(ctx context.Context, plan *source.Plan) error {
	row, err := p.c.one(ctx, p.d.probe("CAST(count(*) AS VARCHAR)", ""))
	if err != nil {
		return err
	}
	if plan.EstimatedRows, err = number(row[0]); err != nil {
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
	row, err := p.c.one(ctx, p.d.probe("CAST(count(*) AS VARCHAR)", where), args...)
	if err != nil {
		return err
	}
	if plan.EstimatedRows, err = number(row[0]); err != nil {
		return err
	}
	bounds, err := p.bounds(ctx, plan.EstimatedRows, where, args)
	plan.Parts = p.axis.Ranges(w, bounds)
	return err
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
	n := min(int64(p.want), 1+rows/p.partRows)
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
