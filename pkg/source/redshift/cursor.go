package redshift

import (
	"context"
	"errors"
	"strconv"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

const (
	batchRows  = 16384
	batchBytes = 8 << 20
)

// errEnough ends a read whose receiver wants no more.
var errEnough = errors.New("no more rows are wanted")

// rows takes rows as the protocol writes them, and hands batches on. Used by one goroutine.
type rows struct {
	d        *query
	builders []array.Builder
	decoders []decoder
	each     func(arrow.RecordBatch) bool

	n     int
	bytes int
}

func newRows(mem memory.Allocator, d *query, each func(arrow.RecordBatch) bool) *rows {
	r := &rows{d: d, each: each}
	for _, c := range d.columns {
		b := array.NewBuilder(mem, c.typ)
		r.builders, r.decoders = append(r.builders, b), append(r.decoders, decoderOf(c, b))
	}
	r.reserve()
	return r
}

func (r *rows) reserve() {
	for _, b := range r.builders {
		b.Reserve(batchRows)
	}
}

func (r *rows) release() {
	for _, b := range r.builders {
		b.Release()
	}
}

// fetch reads a statement, whose columns are d's, through a cursor. It stops without an error when each answers false.
func (x *session) fetch(ctx context.Context, d *query, sql string, each func(arrow.RecordBatch) bool) error {
	declare := "DECLARE millrace_rows CURSOR FOR " + sql
	if err := x.one(ctx, declare); err != nil {
		return classify(ctx, err, declare, 1)
	}
	r := newRows(x.s.settings.Allocator, d, each)
	defer r.release()
	next := "FETCH FORWARD " + strconv.Itoa(x.s.settings.FetchRows) + " FROM millrace_rows"
	for {
		n, err := r.take(ctx, x, next)
		if err == nil && n < x.s.settings.FetchRows {
			err = r.flush()
			if err == nil {
				return nil
			}
		}
		switch {
		case errors.Is(err, errEnough):
			return nil
		case err != nil:
			return classify(ctx, err, "", 0)
		}
	}
}

// small reads a small result of a statement, whose columns are d's.
func (x *session) small(ctx context.Context, d *query, sql string, each func(arrow.RecordBatch) bool) error {
	r := newRows(x.s.settings.Allocator, d, each)
	defer r.release()
	_, err := r.take(ctx, x, sql)
	if err == nil {
		err = r.flush()
	}
	if errors.Is(err, errEnough) {
		return nil
	}
	return classify(ctx, err, sql, 1)
}

// one runs exactly one statement without rows.
func (x *session) one(ctx context.Context, sql string) error {
	_, err := x.conn.PgConn().ExecParams(ctx, sql, nil, nil, nil, nil).Close()
	return err //nolint:wrapcheck // classified by the caller
}

// take appends the rows of one statement and answers how many they are.
func (r *rows) take(ctx context.Context, x *session, sql string) (n int, err error) {
	result := x.conn.PgConn().ExecParams(ctx, sql, nil, nil, nil, nil)
	for err == nil && result.NextRow() {
		n++
		err = r.append(result.Values())
	}
	if err != nil {
		_ = x.conn.PgConn().Conn().Close() // what else comes is of no interest, and could be long
		_, _ = result.Close()
		return n, err
	}
	_, err = result.Close()
	return n, err //nolint:wrapcheck // classified by the caller
}

// append appends one row, and hands the batch on when it is full.
func (r *rows) append(values [][]byte) error {
	if len(values) != len(r.decoders) {
		return errColumns()
	}
	for i, v := range values {
		r.bytes += len(v)
		switch {
		case v == nil:
			r.builders[i].AppendNull()
		case !r.decoders[i](v):
			return undecodable(r.d.columns[i])
		}
	}
	if r.n++; r.n >= batchRows || r.bytes >= batchBytes {
		return r.flush()
	}
	return nil
}

// flush hands on what there is.
func (r *rows) flush() error {
	if r.n == 0 {
		return nil
	}
	columns := make([]arrow.Array, len(r.builders))
	for i, b := range r.builders {
		columns[i] = b.NewArray()
	}
	batch := array.NewRecordBatch(r.d.schema, columns, int64(r.n))
	for _, c := range columns {
		c.Release()
	}
	defer batch.Release()
	r.n, r.bytes = 0, 0
	if !r.each(batch) {
		return errEnough
	}
	r.reserve()
	return nil
}
