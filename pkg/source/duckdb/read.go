//go:build cgo && duckdb_arrow

package duckdb

import (
	"context"
	"iter"
	"strconv"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	engine "github.com/duckdb/duckdb-go-bindings"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/source"
	"millrace.dev/pkg/source/sqltext"
	"millrace.dev/pkg/window"
)

// Describe answers the schema of q's rows; the engine plans the query and reads none.
func (s *Source) Describe(ctx context.Context, q source.Query) (*arrow.Schema, error) {
	c, err := s.db.connect()
	if err != nil {
		return nil, err
	}
	defer c.close()
	d, err := c.describe(ctx, q)
	if err != nil {
		return nil, err
	}
	return d.schema, nil
}

// Read answers the rows of q in batches of at most 2,048, in no order, in the engine's own memory.
func (s *Source) Read(ctx context.Context, q source.Query) iter.Seq2[arrow.RecordBatch, error] {
	return func(yield func(arrow.RecordBatch, error) bool) {
		if err := s.read(ctx, q, yield); err != nil {
			yield(nil, err)
		}
	}
}

// read stops without an error when yield answers false.
func (s *Source) read(ctx context.Context, q source.Query, yield func(arrow.RecordBatch, error) bool) error {
	c, err := s.db.connect()
	if err != nil {
		return err
	}
	defer c.close()
	if err := s.unchanged(ctx, c, q.Snapshot); err != nil {
		return err
	}
	stmt, schema, err := c.open(ctx, q)
	if err != nil {
		return err
	}
	defer stmt.close()
	stopped := false
	err = stmt.run(ctx, func(b arrow.RecordBatch) bool {
		named := array.NewRecordBatch(schema, b.Columns(), b.NumRows())
		defer named.Release()
		stopped = !yield(named, nil)
		return !stopped
	})
	if stopped {
		return nil
	}
	if fault.ClassOf(err) == fault.Cancelled && err != nil {
		return err
	}
	if changed := s.unchanged(ctx, c, q.Snapshot); changed != nil {
		return changed // whatever the read made of it
	}
	return err
}

// open prepares the reading of q, bound to its range. The statement is the caller's.
func (c *conn) open(ctx context.Context, q source.Query) (*statement, *arrow.Schema, error) {
	d, err := c.describe(ctx, q)
	if err != nil {
		return nil, nil, err
	}
	where, args, err := c.slice(ctx, d, q)
	if err != nil {
		return nil, nil, err
	}
	defer destroyValues(args)
	stmt, err := c.prepareBound(ctx, d.text(where, q.Limit), args)
	return stmt, d.schema, err
}

// slice answers the condition of q's range.
func (c *conn) slice(ctx context.Context, d *query, q source.Query) (string, []engine.Value, error) {
	switch {
	case q.Range.IsAll():
		return "", nil, nil
	case q.Range.Unit != "":
		by, err := c.hash(ctx)
		if err != nil {
			return "", nil, err
		}
		b, err := sqltext.ParseBucket(q.Range.Unit, by)
		return d.bucket(b, q.Model.KeyColumns), nil, err
	}
	a, err := window.NewAxis(q.Model.Iterator, d.schema)
	if err != nil {
		return "", nil, err
	}
	return d.where(a, q.Range)
}

// hash names the engine's hash: it may be another one in the next version.
func (c *conn) hash(ctx context.Context) (string, error) {
	row, err := c.one(ctx, "SELECT CAST(version() AS VARCHAR)")
	if err != nil {
		return "", err
	}
	return "hash of DuckDB " + row[0], nil
}

func limitText(limit int) string {
	if limit <= 0 {
		return ""
	}
	return " LIMIT " + strconv.Itoa(limit)
}
