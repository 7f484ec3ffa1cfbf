package bigquery

import (
	"bytes"
	"errors"
	"io"
	"math/big"

	"cloud.google.com/go/bigquery/storage/apiv1/storagepb"
	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/wire"
)

// maxBatch bounds the memory of one batch; BigQuery's are much smaller.
const maxBatch = 512 << 20

// decoder makes batches of the messages of one stream, which is not trusted.
type decoder struct {
	query  *query
	mem    memory.Allocator
	schema []byte
}

// batch answers a message's batch with the described schema, nil where it has no rows. The caller releases it.
func (d *decoder) batch(m *storagepb.ReadRowsResponse) (arrow.RecordBatch, error) {
	if s := m.GetArrowSchema().GetSerializedSchema(); len(s) > 0 {
		d.schema = s
	}
	data := m.GetArrowRecordBatch().GetSerializedRecordBatch()
	if len(data) == 0 {
		return nil, nil //nolint:nilnil // nothing came
	}
	if len(d.schema) == 0 {
		return nil, unreadable("a read of rows")
	}
	rec, err := d.decode(data)
	if err != nil {
		return nil, err
	}
	defer rec.Release()
	if rec.NumRows() == 0 {
		return nil, nil //nolint:nilnil // nothing came
	}
	return d.fit(rec)
}

// decode reads a record batch. Whatever the bytes are, it ends, within bounds and with arrays that lie in their buffers.
func (d *decoder) decode(data []byte) (rec arrow.RecordBatch, err error) {
	most := min(maxBatch, 1<<16+256*int64(len(data))) // LZ4 makes nothing smaller than a 255th
	mem := &bound{Allocator: d.mem, left: 2 * most}
	defer func() {
		if p := recover(); p != nil {
			rec, err = nil, unreadable("a read of rows")
		}
	}()
	schema, data, err := wire.Messages(framed(d.schema), framed(data), most)
	if err != nil {
		return nil, unreadable("a read of rows")
	}
	r, err := ipc.NewReader(io.MultiReader(bytes.NewReader(schema), bytes.NewReader(data)), ipc.WithAllocator(mem))
	if err != nil {
		return nil, unreadable("a read of rows")
	}
	defer r.Release()
	rec, err = r.Read()
	if err != nil {
		return nil, unreadable("a read of rows")
	}
	for _, col := range rec.Columns() {
		if int64(col.Len()) != rec.NumRows() || validate(col) != nil {
			return nil, unreadable("a read of rows")
		}
	}
	rec.Retain()
	return rec, nil
}

// framed answers a message with the mark that Arrow's messages begin with since 0.15.
func framed(b []byte) []byte {
	mark := []byte{0xff, 0xff, 0xff, 0xff}
	if len(b) < len(mark) || bytes.HasPrefix(b, mark) {
		return b
	}
	return append(mark, b...)
}

var errBuffers = errors.New("a column reaches beyond its buffers") //nolint:gochecknoglobals // a sentinel

// validate checks the buffers of a flat column against its length.
func validate(col arrow.Array) error {
	data := col.Data()
	n := data.Offset() + data.Len()
	if len(data.Buffers()) < 2 || data.Len() == 0 {
		return nil
	}
	if nulls := data.Buffers()[0]; nulls != nil && nulls.Len() > 0 && nulls.Len()*8 < n {
		return errBuffers
	}
	if t, ok := data.DataType().(arrow.FixedWidthDataType); ok {
		if b := data.Buffers()[1]; b == nil || b.Len()*8 < n*t.BitWidth() {
			return errBuffers
		}
		return nil
	}
	offsets, size := []int32(nil), 0
	switch c := col.(type) {
	case *array.String:
		offsets, size = c.ValueOffsets(), buffered(data)
	case *array.Binary:
		offsets, size = c.ValueOffsets(), buffered(data)
	default:
		return errBuffers
	}
	if len(offsets) != data.Len()+1 {
		return errBuffers
	}
	last := int32(0)
	for _, o := range offsets {
		if o < last || int(o) > size {
			return errBuffers
		}
		last = o
	}
	return nil
}

func buffered(d arrow.ArrayData) int {
	if len(d.Buffers()) < 3 || d.Buffers()[2] == nil {
		return 0
	}
	return d.Buffers()[2].Len()
}

// fit answers rec with the described schema; a result of other columns is none of the described query.
func (d *decoder) fit(rec arrow.RecordBatch) (arrow.RecordBatch, error) {
	if int(rec.NumCols()) != len(d.query.columns) {
		return nil, changed()
	}
	columns := make([]arrow.Array, 0, rec.NumCols())
	defer func() {
		for _, c := range columns {
			c.Release()
		}
	}()
	for i, col := range rec.Columns() {
		want := d.query.columns[i].typ
		switch {
		case arrow.TypeEqual(col.DataType(), want):
			col.Retain()
			columns = append(columns, col)
		case arrow.IsDecimal(col.DataType().ID()) && want.ID() == arrow.DECIMAL128:
			c, err := rescaled(d.mem, col, want.(*arrow.Decimal128Type)) //nolint:forcetypeassert // by its id
			if err != nil {
				return nil, err
			}
			columns = append(columns, c)
		default:
			return nil, changed()
		}
	}
	return array.NewRecordBatch(d.query.schema, columns, rec.NumRows()), nil
}

func changed() error {
	return fault.New(fault.Unavailable, fault.ReasonSourceChanged, "the result has other columns than the query; the run is planned again")
}

// rescaled answers a column of decimals with another precision and scale, exactly.
func rescaled(mem memory.Allocator, col arrow.Array, to *arrow.Decimal128Type) (arrow.Array, error) {
	from := col.DataType().(arrow.DecimalType).GetScale() //nolint:forcetypeassert // by its id
	if from < 0 || from > 2*maxDigits {
		return nil, changed()
	}
	b := array.NewDecimal128Builder(mem, to)
	defer b.Release()
	for i := range col.Len() {
		if col.IsNull(i) {
			b.AppendNull()
			continue
		}
		n, ok := shifted(digitsOf(col, i), to.Scale-from)
		if !ok || len(new(big.Int).Abs(n).String()) > int(to.Precision) {
			return nil, changed()
		}
		b.Append(decimal128.FromBigInt(n))
	}
	return b.NewArray(), nil
}

func digitsOf(col arrow.Array, i int) *big.Int {
	switch c := col.(type) {
	case *array.Decimal128:
		return c.Value(i).BigInt()
	case *array.Decimal256:
		return c.Value(i).BigInt()
	}
	return new(big.Int)
}

// shifted answers n times ten to the power of by; false where digits would be lost.
func shifted(n *big.Int, by int32) (*big.Int, bool) {
	if by >= 0 {
		return n.Mul(n, new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(by)), nil)), true
	}
	rest := new(big.Int)
	n, rest = new(big.Int).QuoRem(n, new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(-by)), nil), rest)
	return n, rest.Sign() == 0
}

// bound gives out another allocator's memory up to a limit.
type bound struct {
	memory.Allocator
	left int64
}

var errMemory = errors.New("a batch claims more memory than it may") //nolint:gochecknoglobals // a sentinel

func (b *bound) take(n int) {
	if b.left -= int64(n); n < 0 || b.left < 0 {
		panic(errMemory) //nolint:forbidigo // the allocator's interface has no error; decode recovers
	}
}

// Allocate answers size bytes.
func (b *bound) Allocate(size int) []byte {
	b.take(size)
	return b.Allocator.Allocate(size)
}

// Reallocate answers size bytes that begin with old.
func (b *bound) Reallocate(size int, old []byte) []byte {
	b.take(max(0, size-len(old)))
	return b.Allocator.Reallocate(size, old)
}
