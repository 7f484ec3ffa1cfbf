package mapper

import (
	"slices"
	"sort"

	"github.com/apache/arrow-go/v18/arrow/array"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/record"
	"millrace.dev/pkg/row"
	"millrace.dev/pkg/wire"
)

// fragment is one message of a batch of records.
type fragment struct {
	batch id.Batch
	body  []byte
}

// cut encodes the records of rows as messages within o.PayloadCap. The cut depends on nothing but the batch, the
// program's version and the cap: pieces of equal numbers of rows, cut again where one is still too large, each with its
// first row, its rows and whether it is the last. A row whose record alone is above the cap becomes the reject
// row_too_large.
func cut(o record.Origin, rows row.Batch, b record.Batch) ([]fragment, error) {
	c := &cutter{origin: o, rows: rows, batch: b, total: rows.Record.NumRows()}
	pieces, err := c.guess()
	if err != nil {
		return nil, err
	}
	if err := c.split(0, c.total, pieces); err != nil {
		return nil, err
	}
	return c.out, nil
}

const (
	// sample is how many rows tell how large the others are.
	sample = 512
	// worthwhile is how many samples a batch must have for a guess to pay.
	worthwhile = 8
)

// guess answers in how many pieces the batch is to be encoded at first, by the size of its first rows: encoding a whole
// that is too large costs as much as encoding its pieces.
func (c *cutter) guess() (int64, error) {
	if c.total < sample*worthwhile {
		return 1, nil
	}
	body, err := wire.EncodeRecords(c.next(0, sample), between(c.batch, 0, sample))
	if err != nil {
		return 0, err //nolint:wrapcheck // classified by wire
	}
	size := int64(len(body)) * c.total / sample
	if size <= c.origin.PayloadCap {
		return 1, nil
	}
	return (size+size/10)/c.origin.PayloadCap + 1, nil
}

type cutter struct {
	origin record.Origin
	rows   row.Batch
	batch  record.Batch
	total  int64
	out    []fragment
}

// cut appends the rows [from, to) as one message or as several.
func (c *cutter) cut(from, to int64) error {
	o := c.next(from, to)
	body, err := wire.EncodeRecords(o, between(c.batch, from, to))
	if err != nil {
		return err //nolint:wrapcheck // classified by wire
	}
	size := int64(len(body))
	switch {
	case size <= o.PayloadCap:
		c.out = append(c.out, fragment{o.Batch, body})
		return nil
	case to-from <= 1:
		return c.reject(o, from, to)
	}
	// Pieces are a tenth smaller than they might be: rows differ, and a piece that is cut again costs its encoding.
	return c.split(from, to, max(2, min(size+size/10, size*2)/o.PayloadCap+1))
}

// split cuts the rows [from, to) as that many pieces of equal numbers of rows.
func (c *cutter) split(from, to, pieces int64) error {
	if from == to {
		return c.cut(from, to)
	}
	step := max(1, (to-from+pieces-1)/pieces)
	for at := from; at < to; at += step {
		if err := c.cut(at, min(at+step, to)); err != nil {
			return err
		}
	}
	return nil
}

// next answers the origin of the next fragment.
func (c *cutter) next(from, to int64) record.Origin {
	o := c.origin
	o.Batch.Fragment = uint32(len(c.out)) //nolint:gosec // no more than rows of a batch
	o.FirstRow, o.Rows, o.Last = c.origin.FirstRow+from, to-from, to == c.total
	return o
}

// reject appends the row at `at`, whose record or reject alone is above the cap, as a reject, with its row where there is
// room for it.
func (c *cutter) reject(o record.Origin, at, to int64) error {
	one := between(c.batch, at, to)
	r, ok := c.tooLarge(one, at)
	if !ok {
		return fault.New(fault.Invalid, fault.ReasonLimitExceeded, "batch %s without rows is above the payload cap of %d bytes; select fewer columns", o.Batch, o.PayloadCap)
	}
	empty := one.Record.NewSlice(0, 0)
	for _, kept := range []record.Kept{c.row(at), {}} {
		body, err := wire.EncodeRecords(o, record.Batch{Kind: one.Kind, Record: empty, Rejects: []record.Reject{r}, Kept: kept})
		if err != nil {
			return err //nolint:wrapcheck // classified by wire
		}
		if int64(len(body)) <= o.PayloadCap {
			c.out = append(c.out, fragment{o.Batch, body})
			return nil
		}
	}
	return fault.New(fault.Invalid, fault.ReasonLimitExceeded, "batch %s has columns whose names alone are above the payload cap of %d bytes; select fewer columns", o.Batch, o.PayloadCap)
}

// keyBytes bounds the key values that a reject keeps of a row that is too large.
const keyBytes = 1024

// tooLarge answers the reject of the one row of b.
func (c *cutter) tooLarge(b record.Batch, at int64) (record.Reject, bool) {
	if len(b.Rejects) == 1 {
		r := b.Rejects[0]
		r.KeyValues = clip(r.KeyValues)
		return r, true
	}
	if b.Record.NumRows() != 1 {
		return record.Reject{}, false
	}
	keys := b.Record.Column(record.PosKey).(*array.FixedSizeBinary)    //nolint:forcetypeassert // by record.Batch
	hashes := b.Record.Column(record.PosHash).(*array.FixedSizeBinary) //nolint:forcetypeassert // by record.Batch
	values := b.Record.Column(record.PosKeyValues).(*array.String)     //nolint:forcetypeassert // by record.Batch
	return record.Reject{
		Row: int32(at), Key: id.Row(keys.Value(0)), Hash: row.FromBytes(hashes.Value(0)), KeyValues: clip(values.Value(0)), //nolint:gosec // a batch is small
		Stage: record.StageMap, Rule: "row_too_large",
		Reason: "the record is larger than a message may be; leave large columns out, or shorten them in SQL",
	}, true
}

func clip(s string) string {
	if len(s) > keyBytes {
		return s[:keyBytes]
	}
	return s
}

// row answers the row at `at` as it was read.
func (c *cutter) row(at int64) record.Kept {
	return record.Kept{Rows: row.Batch{Record: c.rows.Record.NewSlice(at, at+1)}, At: []int32{int32(at)}} //nolint:gosec // a batch is small
}

// between answers what became of the rows [from, to).
func between(b record.Batch, from, to int64) record.Batch {
	rows := b.Record.Column(record.PosRow).(*array.Int32) //nolint:forcetypeassert // by record.Batch
	first := func(at int64) int64 {
		return int64(sort.Search(rows.Len(), func(i int) bool { return int64(rows.Value(i)) >= at }))
	}
	out := record.Batch{Kind: b.Kind, Record: b.Record.NewSlice(first(from), first(to))}
	lo, _ := slices.BinarySearchFunc(b.Rejects, from, func(r record.Reject, at int64) int { return int(int64(r.Row) - at) })
	hi, _ := slices.BinarySearchFunc(b.Rejects, to, func(r record.Reject, at int64) int { return int(int64(r.Row) - at) })
	out.Rejects = b.Rejects[lo:hi]
	lo, _ = slices.BinarySearchFunc(b.Filtered, from, func(r record.Filtered, at int64) int { return int(int64(r.Row) - at) })
	hi, _ = slices.BinarySearchFunc(b.Filtered, to, func(r record.Filtered, at int64) int { return int(int64(r.Row) - at) })
	out.Filtered = b.Filtered[lo:hi]
	lo, _ = slices.BinarySearchFunc(b.Kept.At, from, func(n int32, at int64) int { return int(int64(n) - at) })
	hi, _ = slices.BinarySearchFunc(b.Kept.At, to, func(n int32, at int64) int { return int(int64(n) - at) })
	out.Kept = b.Kept.Slice(lo, hi)
	return out
}
