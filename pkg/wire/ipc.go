package wire

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"millrace.dev/pkg/fault"
)

// maxRows bounds the rows of a batch: columns without buffers could claim any number.
const maxRows = 1 << 22

// appender is an io.Writer that appends.
type appender struct{ b []byte }

func (a *appender) Write(p []byte) (int, error) {
	a.b = append(a.b, p...)
	return len(p), nil
}

// appendIPC appends rec as an IPC stream of one batch, nothing for nil.
func appendIPC(out []byte, rec arrow.RecordBatch) ([]byte, error) {
	if rec == nil {
		return out, nil
	}
	a := &appender{b: out}
	w := ipc.NewWriter(a, ipc.WithSchema(rec.Schema()), ipc.WithLZ4())
	if err := errors.Join(w.Write(rec), w.Close()); err != nil {
		return nil, fault.New(fault.Internal, fault.ReasonInternal, "encode a batch: %w", err)
	}
	return a.b, nil
}

// decode reads the one batch of an IPC stream and checks that no later access can leave its buffers.
func decode(b []byte, max int64) (rec arrow.RecordBatch, err error) {
	defer func() {
		if p := recover(); p != nil {
			rec, err = nil, badIPC(fmt.Errorf("%v", p))
		}
	}()
	if err := verify(b, max); err != nil {
		return nil, badIPC(err)
	}
	r, err := ipc.NewReader(bytes.NewReader(b), ipc.WithAllocator(&bounded{left: max}))
	if err != nil {
		return nil, badIPC(err)
	}
	defer r.Release()
	rec, err = r.Read()
	if err != nil {
		return nil, badIPC(err)
	}
	rec.Retain()
	if rec.NumRows() > maxRows {
		return nil, bad("claims more rows than a batch may have")
	}
	for i, col := range rec.Columns() {
		if int64(col.Len()) != rec.NumRows() {
			return nil, bad("has columns of different lengths")
		}
		if err := validate(col); err != nil {
			return nil, badIPC(fmt.Errorf("column %d: %w", i, err))
		}
	}
	if _, err := r.Read(); !errors.Is(err, io.EOF) {
		return nil, bad("has more than one part in a section")
	}
	return rec, nil
}

func badIPC(cause error) error {
	e := fault.New(fault.Invalid, fault.ReasonBatchQuarantined, "the batch holds no readable Arrow data")
	e.Err = cause
	return e
}

// validate checks the buffers of col and of its children against its length.
func validate(col arrow.Array) error {
	data := col.Data()
	if data.DataType().ID() == arrow.NULL { // has no buffers
		return nil
	}
	if bitmap := data.Buffers()[0]; bitmap != nil && bitmap.Len() > 0 && bitmap.Len()*8 < data.Offset()+data.Len() {
		return errors.New("validity bitmap is too short")
	}
	if t, ok := data.DataType().(arrow.FixedWidthDataType); ok && data.DataType().ID() != arrow.DICTIONARY && data.Len() > 0 {
		if buf := data.Buffers()[1]; buf == nil || buf.Len()*8 < (data.Offset()+data.Len())*t.BitWidth() {
			return errors.New("values are too short")
		}
	}
	if err := validateOffsets(col); err != nil {
		return err
	}
	return validateChildren(col)
}

// validateOffsets checks what points into a column's values. Texts are the most of a batch and are checked here, less
// their encoding, which whoever wrote them has checked.
func validateOffsets(col arrow.Array) error {
	if c, ok := col.(*array.String); ok {
		if c.Len() == 0 {
			return nil
		}
		offsets := c.ValueOffsets()
		if c.Validate() != nil || !slices.IsSorted(offsets) || offsets[0] < 0 {
			return errors.New("offsets do not fit")
		}
		return nil
	}
	if v, ok := col.(interface{ ValidateFull() error }); ok && v.ValidateFull() != nil {
		return errors.New("offsets do not fit") // Arrow's own text may hold a value
	}
	return nil
}

func validateChildren(col arrow.Array) error {
	switch c := col.(type) {
	case *array.Struct:
		for f := range c.NumField() {
			if err := validate(c.Field(f)); err != nil {
				return err
			}
		}
	case *array.Dictionary:
		if err := validate(c.Dictionary()); err != nil {
			return err
		}
		for i := range c.Len() {
			if c.IsValid(i) && (c.GetValueIndex(i) < 0 || c.GetValueIndex(i) >= c.Dictionary().Len()) {
				return errors.New("index outside the dictionary")
			}
		}
	case array.ListLike:
		return validate(c.ListValues())
	}
	return nil
}

// errMemory is what decoding panics with when a batch claims more memory than its limit; decode recovers it.
var errMemory = errors.New("batch claims more memory than its limit")

// bounded gives out Go's memory up to a limit.
type bounded struct {
	memory.GoAllocator
	left int64
}

func (b *bounded) take(n int) {
	if b.left -= int64(n); n < 0 || b.left < 0 {
		panic(errMemory) //nolint:forbidigo // the allocator's interface has no error; decode recovers
	}
}

// Allocate answers size bytes.
func (b *bounded) Allocate(size int) []byte {
	b.take(size)
	return b.GoAllocator.Allocate(size)
}

// Reallocate answers size bytes that begin with old.
func (b *bounded) Reallocate(size int, old []byte) []byte {
	b.take(size - len(old))
	return b.GoAllocator.Reallocate(size, old)
}

// Free gives b back.
func (b *bounded) Free(old []byte) {
	b.left += int64(len(old))
	b.GoAllocator.Free(old)
}

func goMemory() memory.Allocator { return memory.NewGoAllocator() }
