package wire_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"runtime/metrics"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/wire"
)

// manyFields is how many fields foreign's schema has, a number that stands nowhere else in it.
const manyFields = 77

// foreign answers the stream of a schema as warehouses send them, less its end.
func foreign(t testing.TB) []byte {
	t.Helper()
	said := arrow.MetadataFrom(map[string]string{"SqlName": "STRING", "JsonType": `"string"`})
	fields := make([]arrow.Field, manyFields)
	for i := range fields {
		fields[i] = arrow.Field{Name: strings.Repeat("x", i%3), Type: arrow.BinaryTypes.String, Metadata: said}
	}
	fields[0].Type = arrow.SparseUnionOf([]arrow.Field{{Name: "a", Type: arrow.PrimitiveTypes.Int8}}, []arrow.UnionTypeCode{0})
	fields[1].Type = arrow.FixedWidthTypes.MonthInterval
	fields[2].Type = arrow.StructOf(arrow.Field{Name: "t", Type: &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "Europe/London"}})
	return schemaStream(t, arrow.NewSchema(fields, nil))
}

func schemaStream(t testing.TB, s *arrow.Schema) []byte {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, ipc.NewWriter(&b, ipc.WithSchema(s)).Close())
	return b.Bytes()[:b.Len()-8]
}

// claiming answers foreign's stream with a count of 2^30 fields.
func claiming(t testing.TB) []byte {
	t.Helper()
	whole, found := foreign(t), 0
	for at := 8; at+4 <= len(whole); at += 4 {
		if binary.LittleEndian.Uint32(whole[at:]) == manyFields {
			binary.LittleEndian.PutUint32(whole[at:], 1<<30)
			found++
		}
	}
	require.Equal(t, 1, found)
	return whole
}

// readSchema reads a checked schema, and answers what that took.
func readSchema(stream io.Reader) (s *arrow.Schema, taken uint64, err error) {
	before := allocated()
	stream, err = wire.Schema(stream, limit)
	if err == nil {
		s, err = schemaOf(stream)
	}
	return s, allocated() - before, err
}

// allocated answers how many bytes the process has ever taken. Unlike runtime.ReadMemStats it does not stop the process,
// so that it can be asked for each of many numbers.
func allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// schemaOf reads a schema with Arrow's reader, which panics on some that are none.
func schemaOf(stream io.Reader) (s *arrow.Schema, err error) {
	defer func() {
		if recover() != nil {
			err = errors.New("no schema")
		}
	}()
	r, err := ipc.NewReader(stream)
	if err != nil {
		return nil, err
	}
	defer r.Release()
	return r.Schema(), nil
}

func TestASchemaFromElsewhereIsReadWithWhatFollows(t *testing.T) {
	whole := foreign(t)
	for _, data := range [][]byte{whole, whole[4:]} { // the form before Arrow 0.15 has no mark
		stream, err := wire.Schema(iotest.OneByteReader(bytes.NewReader(append(slices.Clone(data), "rest"...))), limit)
		require.NoError(t, err)
		all, err := io.ReadAll(stream)
		require.NoError(t, err)
		require.Equal(t, append(slices.Clone(data), "rest"...), all)
		s, _, err := readSchema(bytes.NewReader(data))
		require.NoError(t, err)
		require.Equal(t, manyFields, s.NumFields())
	}
	wide := make([]arrow.Field, 10_000)
	for i := range wide {
		wide[i] = arrow.Field{Type: arrow.PrimitiveTypes.Int8, Metadata: arrow.MetadataFrom(map[string]string{"a": "", "b": "", "c": "", "d": ""})}
	}
	_, err := wire.Schema(bytes.NewReader(schemaStream(t, arrow.NewSchema(wide, nil))), 16<<20)
	require.NoError(t, err, "a table of many columns of which much is said")
}

func TestASchemaThatClaimsAThousandMillionFieldsTakesLittleMemory(t *testing.T) {
	hostile := claiming(t)
	_, taken, err := readSchema(bytes.NewReader(hostile))
	require.ErrorContains(t, err, "metadata")
	require.Less(t, taken, uint64(limit))
	_, _, err = readSchema(bytes.NewReader([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}))
	require.ErrorContains(t, err, "do not fit", "more metadata than the limit")
	_, taken, err = readSchema(bytes.NewReader([]byte{0xff, 0xff, 0xff, 0xff, 0, 0, 8, 0}))
	require.ErrorContains(t, err, "do not fit", "less metadata than is claimed")
	require.Less(t, taken, uint64(limit))
}

func TestNumbersInASchemaFromElsewhereAreNotBelieved(t *testing.T) {
	whole := foreign(t)
	refused := 0
	for at := 0; at+4 <= len(whole); at += 4 {
		for _, n := range []uint32{0, 1 << 16, 1 << 30, 1<<31 - 1, 1 << 31, 1<<32 - 1} {
			broken := slices.Clone(whole)
			binary.LittleEndian.PutUint32(broken[at:], n)
			_, taken, err := readSchema(bytes.NewReader(broken))
			require.Less(t, taken, uint64(4*limit), "%d at %d", n, at)
			if err != nil {
				refused++
			}
		}
	}
	require.Positive(t, refused)
	for n := range whole {
		_, _, err := readSchema(bytes.NewReader(whole[:n]))
		require.Error(t, err, "%d bytes of %d", n, len(whole))
	}
}

func TestWhatHindersReadingASchemaIsTold(t *testing.T) {
	cut := errors.New("cut off")
	for _, n := range []int{0, 6, 100} {
		_, err := wire.Schema(io.MultiReader(bytes.NewReader(foreign(t)[:n]), iotest.ErrReader(cut)), limit)
		require.ErrorIs(t, err, cut)
	}
}

func TestWhatAStreamFromElsewhereClaimsIsLimited(t *testing.T) {
	all := wire.Limits{Metadata: 1 << 20, Body: 1 << 20, Piece: 1 << 20}
	for name, c := range map[string]struct {
		changed func(wire.Limits) wire.Limits
		refused bool
	}{
		"nothing more":            {func(l wire.Limits) wire.Limits { return l }, false},
		"metadata of a message":   {func(l wire.Limits) wire.Limits { l.Metadata = 100; return l }, true},
		"body of a message":       {func(l wire.Limits) wire.Limits { l.Body = 100; return l }, true},
		"values when they unpack": {func(l wire.Limits) wire.Limits { l.Piece = 8 << 10; return l }, true},
	} {
		before := allocated()
		rows, err := readRows(packed(t), c.changed(all))
		require.Less(t, allocated()-before, uint64(8<<20), name)
		if c.refused {
			require.Error(t, err, name)
			require.Zero(t, rows, name)
		} else {
			require.NoError(t, err, name)
			require.EqualValues(t, packedRows, rows, name)
		}
	}
}

const packedRows = 10_000

// packed answers a stream of one batch that is compressed well.
func packed(t testing.TB) []byte {
	t.Helper()
	b := array.NewInt64Builder(memory.DefaultAllocator)
	for i := range packedRows {
		b.Append(int64(i / 100))
	}
	schema := arrow.NewSchema([]arrow.Field{{Name: "n", Type: arrow.PrimitiveTypes.Int64}}, nil)
	var out bytes.Buffer
	w := ipc.NewWriter(&out, ipc.WithSchema(schema), ipc.WithLZ4())
	require.NoError(t, w.Write(array.NewRecordBatch(schema, []arrow.Array{b.NewArray()}, packedRows)))
	require.NoError(t, w.Close())
	return out.Bytes()
}

// readRows reads a stream to its end, or to where it cannot be read.
func readRows(data []byte, l wire.Limits) (rows int64, err error) {
	defer func() {
		if recover() != nil {
			err = errors.New("no stream")
		}
	}()
	r, err := wire.Reader(bytes.NewReader(data), memory.DefaultAllocator, l)
	if err != nil {
		return 0, err
	}
	defer r.Release()
	for r.Next() {
		rows += r.RecordBatch().NumRows()
	}
	return rows, r.Err()
}

// FuzzSchema looks for schemas from elsewhere that are read with more memory than a few times their size.
func FuzzSchema(f *testing.F) {
	f.Add(foreign(f))
	f.Add(foreign(f)[4:])
	f.Add(claiming(f))
	f.Fuzz(func(t *testing.T, data []byte) {
		stream, err := wire.Schema(bytes.NewReader(data), limit)
		if err != nil {
			return
		}
		_, _ = schemaOf(stream) // it ends
	})
}
