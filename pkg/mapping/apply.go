package mapping

import (
	"encoding/binary"
	"math"
	"slices"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"millrace.dev/pkg/id"
	"millrace.dev/pkg/record"
	"millrace.dev/pkg/row"
)

// ApplyTally is Apply, and answers what was done to values that passed.
func (p *Program) ApplyTally(b row.Batch) (record.Batch, Tally) { return p.ApplyUntil(b, time.Time{}) }

// ApplyUntil is ApplyTally for rows that were read when no event after an instant can have happened; zero: any may have.
func (p *Program) ApplyUntil(b row.Batch, until time.Time) (record.Batch, Tally) {
	c := &call{rec: b.Record, n: int(b.Record.NumRows()), until: math.MaxInt64}
	if !until.IsZero() {
		c.until = until.UnixMilli()
	}
	values := make([]arrow.Array, len(p.leaves))
	for i, l := range p.leaves {
		values[i] = l.eval(c)
	}
	p.checkRows(c, values)
	keys := p.keyValues(c)
	hashes := p.recordHashes(c, values)
	system := b.Record.Columns()[b.Columns():]
	out := record.Batch{Kind: p.kind, Rejects: p.rejects(c, keys, system), Kept: p.kept(c, values)}
	k := c.keep()
	for i := range values {
		values[i] = k.filter(values[i])
	}
	cols := make([]arrow.Array, record.NumColumns)
	cols[record.PosRow] = k.positions()
	cols[record.PosKey] = k.filter(system[0])
	cols[record.PosHash] = k.filter(system[1])
	cols[record.PosRecordHash] = k.hashes(hashes)
	cols[record.PosTime] = k.filter(system[2])
	cols[record.PosBelowLow] = k.filter(system[3])
	cols[record.PosKeyValues] = k.filter(keys)
	cols[record.PosIdentities] = p.identityColumn(values, k.rows)
	cols[record.PosBody] = p.build(p.body, p.schema.Field(record.PosBody).Type, values, k.rows)
	out.Record = array.NewRecordBatch(p.schema, cols, int64(k.rows))
	return out, c.tally
}

// keyValues answers the canonical key values, joined.
func (p *Program) keyValues(c *call) arrow.Array {
	if len(p.keys) == 1 {
		switch col := c.rec.Column(p.keys[0]).(type) {
		case *array.String:
			return col
		case *array.Int64:
			return c.columnText(p.keys[0])
		}
	}
	t := newTexts(c.n, 16*len(p.keys))
	for i := range c.n {
		for k, at := range p.keys {
			if k > 0 {
				t.data = append(t.data, record.KeySeparator...)
			}
			t.data = row.AppendCanonicalText(t.data, c.rec.Column(at), i)
		}
		t.end()
	}
	return t.array()
}

// recordHashes answers the hash over op, identities and mapped fields, without row time.
func (p *Program) recordHashes(c *call, values []arrow.Array) []row.Hash {
	sums := make([]row.Hash, c.n)
	for i := range sums {
		sums[i] = p.fixedHash
	}
	for k, l := range p.leaves {
		if l.static != nil {
			continue
		}
		row.AddColumn(sums, l.path, values[k])
		if !l.clears || values[k].NullN() == 0 {
			continue
		}
		for i := range sums {
			if values[k].IsNull(i) {
				sums[i] = sums[i].Add(l.clearHash)
			}
		}
	}
	return sums
}

// rejects answers the rows at fault, in their order.
func (p *Program) rejects(c *call, keys arrow.Array, system []arrow.Array) []record.Reject {
	if len(c.faults) == 0 {
		return nil
	}
	rows := make([]int, 0, len(c.faults))
	for i := range c.faults {
		rows = append(rows, i)
	}
	slices.Sort(rows)
	text := keys.(*array.String)                    //nolint:forcetypeassert // key values are text
	rowKeys := system[0].(*array.FixedSizeBinary)   //nolint:forcetypeassert // by row.Batch
	rowHashes := system[1].(*array.FixedSizeBinary) //nolint:forcetypeassert // by row.Batch
	out := make([]record.Reject, len(rows))
	for k, i := range rows {
		f := c.faults[i]
		out[k] = record.Reject{
			Row: int32(i), Key: id.Row(rowKeys.Value(i)), Hash: row.FromBytes(rowHashes.Value(i)), //nolint:gosec // a batch is small
			Column: f.column, Stage: record.StageMap, Rule: f.rule, Reason: f.reason,
		}
		if text.IsValid(i) {
			out[k].KeyValues = text.Value(i)
		}
	}
	return out
}

// keep says which rows become records: as ranges of rows that follow one another, nil where all do.
type keep struct {
	n, rows int
	runs    [][2]int64
}

func (c *call) keep() keep {
	k := keep{n: c.n, rows: c.n - len(c.faults)}
	if len(c.faults) == 0 {
		return k
	}
	k.runs = [][2]int64{}
	for i := 0; i < c.n; {
		if _, bad := c.faults[i]; bad {
			i++
			continue
		}
		from := i
		for ; i < c.n; i++ {
			if _, bad := c.faults[i]; bad {
				break
			}
		}
		k.runs = append(k.runs, [2]int64{int64(from), int64(i)})
	}
	return k
}

// filter answers the values of the rows that are kept.
func (k keep) filter(in arrow.Array) arrow.Array {
	if k.runs == nil {
		return in
	}
	return pick(in, k.runs)
}

// pick answers the values in the ranges, in their order.
func pick(in arrow.Array, runs [][2]int64) arrow.Array {
	if len(runs) == 0 {
		return array.NewSlice(in, 0, 0)
	}
	parts := make([]arrow.Array, len(runs))
	for i, r := range runs {
		parts[i] = array.NewSlice(in, r[0], r[1])
	}
	if len(parts) == 1 {
		return parts[0]
	}
	out, err := array.Concatenate(parts, memory.DefaultAllocator)
	if err != nil { // slices of one array always go together
		return array.NewSlice(in, 0, 0)
	}
	return out
}

// each calls f for the rows that are kept.
func (k keep) each(f func(i int)) {
	if k.runs == nil {
		for i := range k.n {
			f(i)
		}
		return
	}
	for _, r := range k.runs {
		for i := r[0]; i < r[1]; i++ {
			f(int(i))
		}
	}
}

func (k keep) positions() arrow.Array {
	out := make([]int32, 0, k.rows)
	k.each(func(i int) { out = append(out, int32(i)) }) //nolint:gosec // a batch is small
	return plainFixed(arrow.PrimitiveTypes.Int32, len(out), arrow.Int32Traits.CastToBytes(out))
}

func (k keep) hashes(sums []row.Hash) arrow.Array {
	out := make([]byte, 0, 16*k.rows)
	k.each(func(i int) {
		out = binary.BigEndian.AppendUint64(out, sums[i].Hi)
		out = binary.BigEndian.AppendUint64(out, sums[i].Lo)
	})
	return plainFixed(hashType(), k.rows, out)
}

func hashType() arrow.DataType { return &arrow.FixedSizeBinaryType{ByteWidth: 16} }

func plainFixed(t arrow.DataType, n int, values []byte) arrow.Array {
	return array.MakeFromData(array.NewData(t, n, []*memory.Buffer{nil, memory.NewBufferBytes(values)}, nil, 0, 0))
}
