package databricks

import (
	"bytes"
	"encoding/binary"
	"runtime"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/fault"
)

// fileFields is how many columns aFile has, a number that stands nowhere else in its schema.
const fileFields = 77

// aFile answers a result file of one row; `claimed` stands where its schema says how many columns it has.
func aFile(t testing.TB, claimed uint32) []byte {
	t.Helper()
	fields := make([]arrow.Field, fileFields)
	columns := make([]arrow.Array, fileFields)
	for i := range fields {
		fields[i] = arrow.Field{Name: "c", Type: arrow.BinaryTypes.String, Nullable: true}
		b := array.NewStringBuilder(memory.DefaultAllocator)
		b.Append("text")
		columns[i] = b.NewArray()
	}
	schema := arrow.NewSchema(fields, nil)
	var out bytes.Buffer
	w := ipc.NewWriter(&out, ipc.WithSchema(schema))
	require.NoError(t, w.Write(array.NewRecordBatch(schema, columns, 1)))
	require.NoError(t, w.Close())
	data := out.Bytes()
	size := int(binary.LittleEndian.Uint32(data[4:]))
	found := 0
	for at := 8; at < 8+size; at += 4 {
		if binary.LittleEndian.Uint32(data[at:]) == fileFields {
			binary.LittleEndian.PutUint32(data[at:], claimed)
			found++
		}
	}
	require.Equal(t, 1, found)
	return data
}

func TestAFileThatClaimsAThousandMillionColumnsTakesLittleMemory(t *testing.T) {
	s := Settings{Allocator: memory.DefaultAllocator, MaxReply: 1 << 20}
	rows := int64(0)
	count := func(b arrow.RecordBatch) bool { rows += b.NumRows(); return true }
	require.NoError(t, decode(s, bytes.NewReader(aFile(t, fileFields)), 1, count))
	require.EqualValues(t, 1, rows)
	hostile := aFile(t, 1<<30)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	err := decode(s, bytes.NewReader(hostile), 1, count)
	runtime.ReadMemStats(&after)
	require.Equal(t, fault.Unavailable, fault.ClassOf(err))
	require.ErrorContains(t, err, "malformed")
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(1<<20))
	require.EqualValues(t, 1, rows)
}

// The last message of the file says that 2^40 bytes follow it.
func TestAMessageThatClaimsMoreThanAFileMayHaveTakesLittleMemory(t *testing.T) {
	s := Settings{Allocator: memory.DefaultAllocator, MaxReply: 1 << 20}
	data := aFile(t, fileFields)
	at := 8 + int(binary.LittleEndian.Uint32(data[4:])) // behind the schema
	size := int(binary.LittleEndian.Uint32(data[at+4:]))
	metadata := data[at+8 : at+8+size]
	body := uint64(len(data) - at - 8 - size - 8) // less the end of the stream
	found := 0
	for i := 0; i+8 <= size; i += 4 {
		if binary.LittleEndian.Uint64(metadata[i:]) == body {
			binary.LittleEndian.PutUint64(metadata[i:], 1<<40)
			found++
		}
	}
	require.Equal(t, 1, found)
	err := decode(s, bytes.NewReader(data), 1, func(arrow.RecordBatch) bool { return true })
	require.Equal(t, fault.Unavailable, fault.ClassOf(err))
	require.ErrorContains(t, err, "malformed")
}

// A batch of a column of NULL has no bytes, whatever number of rows it claims.
func TestABatchThatClaimsMoreRowsThanAFileMayHaveIsRefused(t *testing.T) {
	schema := arrow.NewSchema([]arrow.Field{{Name: "n", Type: arrow.Null, Nullable: true}}, nil)
	const most = 1 << 20
	for rows, fits := range map[int]bool{most: true, 1 << 56: false} {
		var out bytes.Buffer
		w := ipc.NewWriter(&out, ipc.WithSchema(schema))
		require.NoError(t, w.Write(array.NewRecordBatch(schema, []arrow.Array{array.NewNull(rows)}, int64(rows))))
		require.NoError(t, w.Close())
		got := int64(0)
		err := decode(Settings{Allocator: memory.DefaultAllocator, MaxReply: most / 8}, &out, -1, func(b arrow.RecordBatch) bool { got += b.NumRows(); return true })
		if fits {
			require.NoError(t, err)
			require.EqualValues(t, rows, got)
			continue
		}
		require.Equal(t, fault.Unavailable, fault.ClassOf(err))
		require.ErrorContains(t, err, "malformed")
		require.Zero(t, got)
	}
}

// FuzzFile reads what may stand in a result file: nothing crashes or takes memory beyond measure, and what is handed on
// can be read.
func FuzzFile(f *testing.F) {
	f.Add(aFile(f, fileFields))
	f.Add(aFile(f, 1<<30))
	f.Add(aFile(f, fileFields)[:100])
	f.Fuzz(func(t *testing.T, data []byte) {
		s := Settings{Allocator: memory.DefaultAllocator, MaxReply: 1 << 20}
		err := decode(s, bytes.NewReader(data), -1, func(b arrow.RecordBatch) bool {
			for _, c := range b.Columns() {
				for i := range min(c.Len(), 100) {
					_ = c.ValueStr(i)
				}
			}
			return true
		})
		if err != nil {
			require.NotEqual(t, fault.Internal, fault.ClassOf(err))
		}
	})
}
