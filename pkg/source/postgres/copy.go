package postgres

import (
	"bytes"
	"encoding/binary"
	"errors"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"millrace.dev/pkg/fault"
)

const (
	batchRows  = 16384
	batchBytes = 8 << 20
)

// errEnough ends a copy whose receiver wants no more.
var errEnough = errors.New("no more rows are wanted")

// reader takes a COPY in binary form, however it is cut, and hands batches on. It is an io.Writer, used by one goroutine.
type reader struct {
	columns  []column
	schema   *arrow.Schema
	builders []array.Builder
	decoders []decoder
	each     func(arrow.RecordBatch) bool

	rest  []byte // of the row that is not whole yet
	begun bool
	ended bool
	rows  int
	bytes int
}

func newReader(mem memory.Allocator, q *query, each func(arrow.RecordBatch) bool) *reader {
	r := &reader{columns: q.columns, schema: q.schema, each: each}
	for _, c := range q.columns {
		b := array.NewBuilder(mem, c.typ)
		r.builders, r.decoders = append(r.builders, b), append(r.decoders, decoderOf(c, b))
	}
	r.reserve()
	return r
}

func (r *reader) reserve() {
	for _, b := range r.builders {
		b.Reserve(batchRows)
	}
}

func (r *reader) release() {
	for _, b := range r.builders {
		b.Release()
	}
}

// signature and what follows it: flags and the length of an extension.
const (
	signature  = "PGCOPY\n\xff\r\n\x00"
	headLength = len(signature) + 8
)

// Write takes the next bytes.
func (r *reader) Write(data []byte) (int, error) {
	in := data
	if len(r.rest) > 0 {
		r.rest = append(r.rest, data...)
		in = r.rest
	}
	at, err := r.take(in)
	if err != nil {
		return 0, err
	}
	if at == len(in) {
		r.rest = r.rest[:0]
	} else {
		r.rest = append(r.rest[:0], in[at:]...)
	}
	return len(data), nil
}

// take reads whole rows and answers how many bytes they have.
func (r *reader) take(in []byte) (at int, err error) {
	if !r.begun {
		if len(in) < headLength {
			return 0, nil
		}
		at = headLength + int(binary.BigEndian.Uint32(in[headLength-4:]))
		if !bytes.HasPrefix(in, []byte(signature)) || at != headLength {
			return 0, garbled()
		}
		r.begun = true
	}
	for len(in)-at >= 2 {
		n := int16(binary.BigEndian.Uint16(in[at:])) //nolint:gosec // bits as they are
		if n == -1 {
			r.ended = true
			return at + 2, nil
		}
		if int(n) != len(r.columns) {
			return 0, garbled()
		}
		size, ok := whole(in[at+2:], int(n))
		if !ok {
			return at, nil
		}
		if err := r.row(in[at+2 : at+2+size]); err != nil {
			return 0, err
		}
		at += 2 + size
	}
	return at, nil
}

// whole answers the length of n fields at the head of in, false where they are not all there.
func whole(in []byte, n int) (int, bool) {
	at := 0
	for range n {
		if len(in)-at < 4 {
			return 0, false
		}
		size := int(int32(binary.BigEndian.Uint32(in[at:]))) //nolint:gosec // bits as they are
		at += 4 + max(size, 0)
		if at > len(in) {
			return 0, false
		}
	}
	return at, true
}

// row appends the fields of one row, and hands the batch on when it is full.
func (r *reader) row(in []byte) error {
	r.bytes += len(in)
	for i, decode := range r.decoders {
		size := int(int32(binary.BigEndian.Uint32(in))) //nolint:gosec // bits as they are
		in = in[4:]
		if size < 0 {
			r.builders[i].AppendNull()
			continue
		}
		if !decode(in[:size]) {
			return undecodable(r.columns[i])
		}
		in = in[size:]
	}
	if r.rows++; r.rows >= batchRows || r.bytes >= batchBytes {
		return r.flush()
	}
	return nil
}

// flush hands on what there is.
func (r *reader) flush() error {
	if r.rows == 0 {
		return nil
	}
	columns := make([]arrow.Array, len(r.builders))
	for i, b := range r.builders {
		columns[i] = b.NewArray()
	}
	batch := array.NewRecordBatch(r.schema, columns, int64(r.rows))
	for _, c := range columns {
		c.Release()
	}
	defer batch.Release()
	r.rows, r.bytes = 0, 0
	if !r.each(batch) {
		return errEnough
	}
	r.reserve()
	return nil
}

// end hands on the last rows. A copy that broke off is a fault.
func (r *reader) end() error {
	if !r.ended {
		return garbled()
	}
	return r.flush()
}

func garbled() error {
	return fault.New(fault.Unavailable, fault.ReasonWarehouseUnavailable, "the database's rows came garbled or broke off; try again")
}
