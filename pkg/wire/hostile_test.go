package wire_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/row"
	"millrace.dev/pkg/wire"
)

// refused holds that a section behind a valid checksum is an error, for which little memory was taken.
func refused(t *testing.T, stream []byte, what string) {
	t.Helper()
	asRows, err := wire.EncodeRows(origin(), rows(t))
	require.NoError(t, err)
	require.Equal(t, asRows, envelope(asRows, 1, sections(asRows)...), "the envelope is as its sender makes it")
	data := envelope(asRows, 1, sections(asRows)[0], stream)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, _, err = wire.DecodeRows(data, limit)
	runtime.ReadMemStats(&after)
	require.Equal(t, fault.ReasonBatchQuarantined, fault.ReasonOf(err), what)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(2*limit), what)
}

// stream answers the Arrow section of a whole envelope of rows.
func stream(t *testing.T) []byte {
	t.Helper()
	asRows, err := wire.EncodeRows(origin(), rows(t))
	require.NoError(t, err)
	return slices.Clone(sections(asRows)[1])
}

func TestAStreamThatIsCutOffAnywhereIsRefused(t *testing.T) {
	whole := stream(t)
	for n := range whole {
		refused(t, whole[:n], fmt.Sprintf("%d bytes of %d", n, len(whole)))
	}
	refused(t, append(whole, 0), "a byte behind the end")
	refused(t, slices.Concat(whole, whole), "two streams")
}

func TestLengthsOfMessagesAreNotBelieved(t *testing.T) {
	for _, n := range []uint32{1, 1 << 20, 1<<31 - 1, 1 << 31, 1<<32 - 1} {
		whole := stream(t)
		binary.LittleEndian.PutUint32(whole[4:], n)
		refused(t, whole, fmt.Sprintf("metadata of %d bytes", n))
		binary.LittleEndian.PutUint32(whole, n)
		refused(t, whole, "a stream of the old form")
	}
}

// Whatever four or eight bytes of the metadata are set to, decoding ends with a batch or an error.
func TestNumbersInMetadataAreNotBelieved(t *testing.T) {
	whole := stream(t)
	asRows, err := wire.EncodeRows(origin(), rows(t))
	require.NoError(t, err)
	head := sections(asRows)[0]
	for at := 0; at+8 <= len(whole); at += 4 {
		for _, n := range []uint64{0, 1<<32 - 1, 1 << 31, 1<<63 - 1, 1 << 63, 1<<64 - 1, 1 << 40, 0x7fffffff} {
			for _, width := range []int{4, 8} {
				broken := slices.Clone(whole)
				var b [8]byte
				binary.LittleEndian.PutUint64(b[:], n)
				copy(broken[at:at+width], b[:])
				open(t, envelope(asRows, 1, head, broken))
			}
		}
	}
}

// nested answers a type that many lists deep.
func nested(depth int) arrow.DataType {
	t := arrow.PrimitiveTypes.Int64
	for range depth {
		t = arrow.ListOf(t)
	}
	return t
}

func TestSchemasAreBounded(t *testing.T) {
	write := func(fields ...arrow.Field) []byte {
		var b bytes.Buffer
		system := rows(t).Record.Schema().Fields()
		fields = append(slices.Clone(fields), system[len(system)-row.SystemColumns:]...)
		s := arrow.NewSchema(fields, nil)
		w := ipc.NewWriter(&b, ipc.WithSchema(s), ipc.WithLZ4())
		r := array.NewRecordBuilder(memory.DefaultAllocator, s)
		require.NoError(t, w.Write(r.NewRecordBatch()))
		require.NoError(t, w.Close())
		return b.Bytes()
	}
	many := make([]arrow.Field, 20_000)
	for i := range many {
		many[i] = arrow.Field{Name: strings.Repeat("x", i%3), Type: arrow.PrimitiveTypes.Int8}
	}
	for what, fields := range map[string][]arrow.Field{
		"many columns": many, "deep": {{Name: "n", Type: nested(40)}},
		"a union":         {{Name: "u", Type: arrow.SparseUnionOf([]arrow.Field{{Name: "a", Type: arrow.PrimitiveTypes.Int8}}, []arrow.UnionTypeCode{0})}},
		"very wide bytes": {{Name: "b", Type: &arrow.FixedSizeBinaryType{ByteWidth: 1 << 30}}},
		"a run":           {{Name: "r", Type: arrow.RunEndEncodedOf(arrow.PrimitiveTypes.Int32, arrow.BinaryTypes.String)}},
	} {
		refused(t, write(fields...), what)
	}
	asRows, err := wire.EncodeRows(origin(), rows(t))
	require.NoError(t, err)
	_, _, err = wire.DecodeRows(envelope(asRows, 1, sections(asRows)[0], write(arrow.Field{Name: "n", Type: nested(20)})), limit)
	require.NoError(t, err, "what is within the bounds is read")
}

func TestBuffersThatClaimMoreThanTheLimitAreRefused(t *testing.T) {
	whole := stream(t)
	changed := 0
	for at := 0; at+8 <= len(whole); at += 8 {
		// A compressed buffer begins with its size; here it is that of what follows.
		if n := binary.LittleEndian.Uint64(whole[at:]); n == 0 || n > 64 {
			continue
		}
		for _, size := range []uint64{10 << 30, 1 << 40, 1<<63 - 1} {
			broken := slices.Clone(whole)
			binary.LittleEndian.PutUint64(broken[at:], size)
			refused(t, broken, fmt.Sprintf("%d at %d", size, at))
			changed++
		}
	}
	require.Positive(t, changed)
}
