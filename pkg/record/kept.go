package record

import (
	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"millrace.dev/pkg/row"
)

// Kept is rows as they were read: those of the rejects of a batch, and those of records that the store may refuse. They
// are kept encrypted, for people who look at them and for a replay.
type Kept struct {
	Rows row.Batch // Record is nil where there are none
	At   []int32   // their positions in the batch as read, ascending
}

// Keep answers the rows of b at ascending positions.
func Keep(b row.Batch, at []int32) Kept {
	return taken(b.Record, at, at)
}

// Len answers how many rows k has.
func (k Kept) Len() int { return len(k.At) }

// Slice answers the rows [from, to) of k.
func (k Kept) Slice(from, to int) Kept {
	if from >= to {
		return Kept{}
	}
	return Kept{Rows: row.Batch{Record: k.Rows.Record.NewSlice(int64(from), int64(to))}, At: k.At[from:to]}
}

// Only answers the rows of k whose positions are wanted.
func (k Kept) Only(wanted func(at int32) bool) Kept {
	var own, at []int32
	for i, n := range k.At {
		if wanted(n) {
			own, at = append(own, int32(i)), append(at, n) //nolint:gosec // a batch is small
		}
	}
	if len(at) == len(k.At) {
		return k
	}
	return taken(k.Rows.Record, own, at)
}

// taken answers the rows of rec at ascending positions `own`, under the positions `at`. Of types that cannot be joined,
// which no batch of rows has that was joined before, nothing is kept.
func taken(rec arrow.RecordBatch, own, at []int32) Kept {
	if len(at) == 0 {
		return Kept{}
	}
	ranges := rangesOf(own)
	cols := make([]arrow.Array, rec.NumCols())
	for i, col := range rec.Columns() {
		parts := make([]arrow.Array, len(ranges))
		for k, r := range ranges {
			parts[k] = array.NewSlice(col, r[0], r[1])
		}
		if cols[i] = parts[0]; len(parts) == 1 {
			continue
		}
		joined, err := array.Concatenate(parts, memory.DefaultAllocator)
		if err != nil {
			return Kept{}
		}
		cols[i] = joined
	}
	return Kept{Rows: row.Batch{Record: array.NewRecordBatch(rec.Schema(), cols, int64(len(at)))}, At: at}
}

// rangesOf answers ascending positions as ranges of those that follow one another.
func rangesOf(at []int32) [][2]int64 {
	var out [][2]int64
	for i := 0; i < len(at); {
		from := i
		for i++; i < len(at) && at[i] == at[i-1]+1; i++ {
			continue
		}
		out = append(out, [2]int64{int64(at[from]), int64(at[i-1]) + 1})
	}
	return out
}
