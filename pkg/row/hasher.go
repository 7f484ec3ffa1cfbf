package row

import (
	"strconv"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
)

// Hasher hashes rows of one schema. Safe for concurrent use.
type Hasher struct {
	names []string
	keys  []int
}

// NewHasher prepares for a source's schema (without system columns). Invalid KEY_INVALID names every key column that
// the schema lacks.
func NewHasher(s *arrow.Schema, keyColumns []string) (*Hasher, error) {
	h := &Hasher{}
	for _, f := range s.Fields() {
		h.names = append(h.names, f.Name)
	}
	var missing []fault.Violation
	for _, k := range keyColumns {
		at := s.FieldIndices(k)
		if len(at) != 1 {
			missing = append(missing, fault.Violation{Field: "key_columns", Message: "key column " + strconv.Quote(k) + " is not selected", Fix: "select it, once"})
			continue
		}
		h.keys = append(h.keys, at[0])
	}
	if len(missing) > 0 {
		return nil, fault.Of(fault.ReasonKeyInvalid, missing)
	}
	return h, nil
}

// Hash answers, by position, the row key and the hash over all columns of rec, whose schema is the hasher's. A row's
// key is the hash of its key values by their position in the key, or the row hash where there are no key columns.
func (h *Hasher) Hash(rec arrow.RecordBatch) ([]id.Row, []Hash) {
	n := int(rec.NumRows())
	hashes := make([]Hash, n)
	for f, name := range h.names {
		AddColumn(hashes, name, rec.Column(f))
	}
	of := hashes
	if len(h.keys) > 0 {
		of = make([]Hash, n)
		for i, f := range h.keys {
			AddColumn(of, "\x00key"+strconv.Itoa(i), rec.Column(f))
		}
	}
	keys := make([]id.Row, n)
	for i := range keys {
		keys[i] = of[i].Bytes()
	}
	return keys, hashes
}

// Seal adds the system columns behind the columns of rec. rowTime is timestamp[ns, UTC], belowLow is bool; all four have
// the length of rec. The batch keeps references to what it is given.
func Seal(rec arrow.RecordBatch, keys []id.Row, hashes []Hash, rowTime, belowLow arrow.Array) Batch {
	keyBytes, hashBytes := make([]byte, 0, 16*len(keys)), make([]byte, 0, 16*len(hashes))
	for _, k := range keys {
		keyBytes = append(keyBytes, k[:]...)
	}
	for _, h := range hashes {
		b := h.Bytes()
		hashBytes = append(hashBytes, b[:]...)
	}
	keyArray, hashArray := Fixed16(keyBytes), Fixed16(hashBytes)
	defer keyArray.Release()
	defer hashArray.Release()
	fields := append([]arrow.Field{}, rec.Schema().Fields()...)
	fields = append(fields,
		arrow.Field{Name: ColumnKey, Type: keyArray.DataType()},
		arrow.Field{Name: ColumnHash, Type: hashArray.DataType()},
		arrow.Field{Name: ColumnTime, Type: rowTime.DataType(), Nullable: true},
		arrow.Field{Name: ColumnBelowLow, Type: belowLow.DataType()},
	)
	cols := append([]arrow.Array{}, rec.Columns()...)
	cols = append(cols, keyArray, hashArray, rowTime, belowLow)
	return Batch{Record: array.NewRecordBatch(arrow.NewSchema(fields, nil), cols, rec.NumRows())}
}

// Fixed16 answers fixed_size_binary[16] over b, whose length is a multiple of 16 and which it keeps.
func Fixed16(b []byte) *array.FixedSizeBinary {
	t := &arrow.FixedSizeBinaryType{ByteWidth: 16}
	data := array.NewData(t, len(b)/16, []*memory.Buffer{nil, memory.NewBufferBytes(b)}, nil, 0, 0)
	defer data.Release()
	return array.NewFixedSizeBinaryData(data)
}

// Keys answers the row keys of b.
func (b Batch) Keys() *array.FixedSizeBinary { return b.system(0).(*array.FixedSizeBinary) }

// Hashes answers the row hashes of b.
func (b Batch) Hashes() *array.FixedSizeBinary { return b.system(1).(*array.FixedSizeBinary) }

// Times answers the row times of b.
func (b Batch) Times() *array.Timestamp { return b.system(2).(*array.Timestamp) }

// BelowLow answers which rows of b are below the low edge.
func (b Batch) BelowLow() *array.Boolean { return b.system(3).(*array.Boolean) }

func (b Batch) system(n int) arrow.Array { return b.Record.Column(b.Columns() + n) }

// Digest answers the wrapping sum of row hashes.
func Digest(hashes *array.FixedSizeBinary) Hash {
	var sum Hash
	for i := range hashes.Len() {
		sum = sum.Add(FromBytes(hashes.Value(i)))
	}
	return sum
}

// DigestOf answers the wrapping sum of hashes.
func DigestOf(hashes []Hash) Hash {
	var sum Hash
	for _, h := range hashes {
		sum = sum.Add(h)
	}
	return sum
}
