package extractor

import (
	"iter"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/arrow/util"
)

const (
	// rawLimit bounds the bytes of a batch before they are compressed.
	rawLimit = 8 << 20
	// fill is how much of the payload cap a batch is made for, in percent; rows differ.
	fill = 85
)

// gather cuts and joins the batches of a read to batches for the wire, in Go's memory: the source's own memory is free
// again when the next batch comes. What it yields is the receiver's.
func (p *part) gather(batches iter.Seq2[arrow.RecordBatch, error]) iter.Seq2[gathered, error] {
	return func(yield func(gathered, error) bool) {
		g := gathering{since: time.Now()}
		defer g.drop()
		for b, err := range batches {
			if err != nil {
				yield(gathered{}, err)
				return
			}
			for from, each := int64(0), 1+util.TotalRecordSize(b)/max(1, b.NumRows()); from < b.NumRows(); {
				room := min(p.rowsPerBatch()-g.rows, (rawLimit-g.bytes)/each)
				if room <= 0 && g.rows > 0 {
					if !g.flush(yield) {
						return
					}
					continue
				}
				to := min(b.NumRows(), from+max(1, room))
				g.add(b, from, to, each)
				from = to
			}
		}
		if g.rows > 0 {
			g.flush(yield)
		}
	}
}

// rowsPerBatch answers how many rows the next batch is to have, by what the last ones took.
func (p *part) rowsPerBatch() int64 {
	n := int64(p.settings.BatchRows)
	if each := p.rowBytes.Load(); each > 0 {
		n = min(n, p.lease.plan.payloadCap*fill/100/each)
	}
	return max(1, n)
}

// gathering is what a batch is being joined from.
type gathering struct {
	parts []arrow.RecordBatch
	rows  int64
	bytes int64
	since time.Time
}

// add takes rows of b, which have about `each` bytes.
func (g *gathering) add(b arrow.RecordBatch, from, to, each int64) {
	if from == 0 && to == b.NumRows() {
		b.Retain()
		g.parts = append(g.parts, b)
	} else {
		g.parts = append(g.parts, b.NewSlice(from, to))
	}
	g.rows += to - from
	g.bytes += (to - from) * each
}

// flush joins what there is and hands it on; false: no more is wanted.
func (g *gathering) flush(yield func(gathered, error) bool) bool {
	rec, err := join(g.parts, g.rows)
	out := gathered{record: rec, bytes: g.bytes, since: g.since}
	g.drop()
	g.rows, g.bytes, g.since = 0, 0, time.Now()
	if err != nil {
		yield(gathered{}, internal("join batches", err))
		return false
	}
	return yield(out, nil)
}

func (g *gathering) drop() {
	for _, b := range g.parts {
		b.Release()
	}
	g.parts = g.parts[:0]
}

// join answers the rows of parts as one batch in Go's memory.
func join(parts []arrow.RecordBatch, rows int64) (arrow.RecordBatch, error) {
	columns := make([]arrow.Array, parts[0].NumCols())
	pieces := make([]arrow.Array, len(parts))
	for f := range columns {
		for i, b := range parts {
			pieces[i] = b.Column(f)
		}
		col, err := array.Concatenate(pieces, memory.DefaultAllocator)
		if err != nil {
			return nil, err //nolint:wrapcheck // wrapped by flush
		}
		columns[f] = col
	}
	return array.NewRecordBatch(parts[0].Schema(), columns, rows), nil
}
