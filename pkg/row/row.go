// Package row holds hashed Arrow batches of rows as a warehouse gave them, and the hashes by which a row is known.
//
// Hashes are 128-bit (xxh3): a wrapping sum over the non-NULL fields of H(name, canonical value), so that columns may be
// reordered and NULL columns added, and so that Arrow's width, unit and dictionary encoding do not enter (design: Two
// hashes).
package row

import (
	"encoding/binary"
	"encoding/hex"
	"math/bits"

	"github.com/apache/arrow-go/v18/arrow"
)

// The system columns that the extractor adds behind a source's own columns.
const (
	ColumnKey      = "$row_key"   // fixed_size_binary[16]: id.Row
	ColumnHash     = "$row_hash"  // fixed_size_binary[16]: Hash over all selected columns
	ColumnTime     = "$row_time"  // timestamp[ns, UTC], nullable: the iterator as an instant, saturated to the years 1677 to 2262
	ColumnBelowLow = "$below_low" // bool: the iterator is below the window's lower edge before lookback
)

// SystemColumns is how many columns the extractor adds, as the last ones of a batch.
const SystemColumns = 4

// Batch is rows as read: the source's columns, then the system columns. It is immutable once handed on.
type Batch struct {
	Record arrow.RecordBatch
}

// Columns answers how many columns of b are the source's own.
func (b Batch) Columns() int { return int(b.Record.NumCols()) - SystemColumns }

// Hash is a 128-bit hash or a wrapping sum of such hashes. The zero value is the sum of nothing.
type Hash struct{ Hi, Lo uint64 }

// Add answers the wrapping sum h + o.
func (h Hash) Add(o Hash) Hash {
	lo, carry := bits.Add64(h.Lo, o.Lo, 0)
	hi, _ := bits.Add64(h.Hi, o.Hi, carry)
	return Hash{hi, lo}
}

// Bytes answers h in big-endian order.
func (h Hash) Bytes() (b [16]byte) {
	binary.BigEndian.PutUint64(b[:8], h.Hi)
	binary.BigEndian.PutUint64(b[8:], h.Lo)
	return b
}

// FromBytes reads what Bytes wrote; b has at least 16 bytes.
func FromBytes(b []byte) Hash {
	return Hash{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:16])}
}

// String answers h in hexadecimal, 32 digits.
func (h Hash) String() string {
	b := h.Bytes()
	return hex.EncodeToString(b[:])
}
