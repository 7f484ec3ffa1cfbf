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
		_ = err // any, of whatever class
	})
}
