package extractor

import (
	"iter"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"millrace.dev/pkg/id"
	"millrace.dev/pkg/row"
	"millrace.dev/pkg/wire"
)

// numbered answers rows that are numbered from `from` on.
func numbered(from, n int64) arrow.RecordBatch {
	b := array.NewInt64Builder(memory.DefaultAllocator)
	for i := range n {
		b.Append(from + i)
	}
	s := arrow.NewSchema([]arrow.Field{{Name: "n", Type: arrow.PrimitiveTypes.Int64}}, nil)
	return array.NewRecordBatch(s, []arrow.Array{b.NewArray()}, n)
}

// values appends the numbers in the first column of rec.
func values(out []int64, rec arrow.RecordBatch) []int64 {
	return append(out, rec.Column(0).(*array.Int64).Int64Values()...)
}

func sequence(n int64) []int64 {
	out := make([]int64, n)
	for i := range out {
		out[i] = int64(i)
	}
	return out
}

// However a source cuts its rows, each is gathered once, in the source's order, into batches of the wanted size.
func TestEachRowIsGatheredOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sizes := rapid.SliceOfN(rapid.Int64Range(0, 40), 0, 8).Draw(t, "batches of the source")
		p := &part{Service: &Service{settings: Settings{BatchRows: rapid.IntRange(1, 50).Draw(t, "rows of a batch")}}, lease: &lease{}}
		total := int64(0)
		var source iter.Seq2[arrow.RecordBatch, error] = func(yield func(arrow.RecordBatch, error) bool) {
			for _, n := range sizes {
				b := numbered(total, n)
				total += n
				if !yield(b, nil) {
					return
				}
				b.Release()
			}
		}
		got := []int64{}
		for g, err := range p.gather(source) {
			require.NoError(t, err)
			require.LessOrEqual(t, g.record.NumRows(), int64(p.settings.BatchRows))
			require.Positive(t, g.record.NumRows())
			got = values(got, g.record)
		}
		require.Equal(t, sequence(total), got)
	})
}

// A batch above the payload cap is cut into pieces that together hold each row once, each with the digest of its own.
func TestEachRowOfABatchAboveTheCapIsSentOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rec := numbered(0, rapid.Int64Range(1, 3000).Draw(t, "rows"))
		h, err := row.NewHasher(rec.Schema(), []string{"n"})
		require.NoError(t, err)
		p := &part{Service: &Service{}, lease: &lease{run: id.Run{1}, part: 1, epoch: 1}, hasher: h}
		p.origin.PayloadCap = rapid.Int64Range(4000, 40000).Draw(t, "payload cap")
		whole := p.seal(rec)
		pieces, err := p.cut(whole, p.next(), nil)
		require.NoError(t, err)
		var got []int64
		var sum row.Hash
		seqs := map[uint32]bool{}
		for _, x := range pieces {
			o, b, err := wire.DecodeRows(x.body, 1<<20)
			require.NoError(t, err)
			require.Equal(t, x.batch, o.Batch)
			require.Equal(t, x.rows, o.Rows)
			require.Equal(t, row.Digest(b.Hashes()), x.digest)
			require.False(t, seqs[o.Batch.Seq], "no seq twice")
			seqs[o.Batch.Seq] = true
			sum, got = sum.Add(x.digest), values(got, b.Record)
		}
		require.Equal(t, sequence(rec.NumRows()), got)
		require.Equal(t, row.Digest(whole.Hashes()), sum)
		require.Len(t, seqs, int(p.seq.Load()))
	})
}
