package snowflake

import (
	"bytes"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/fault"
)

// FuzzChunk reads what may stand in a chunk: nothing crashes or takes memory beyond measure, and what is handed
// on can be read.
func FuzzChunk(f *testing.F) {
	mem := memory.DefaultAllocator
	columns := []column{
		columnOf("n", "fixed", 38, 2, 0, ""), columnOf("s", "text", 0, 0, 0, ""), columnOf("b", "boolean", 0, 0, 0, ""),
		columnOf("t", "timestamp_ntz", 0, 9, 0, ""), columnOf("x", "binary", 0, 0, 0, ""),
	}
	arrays := []arrow.Array{
		int64s(mem, 7), of(mem, array.NewStringBuilder, func(b *array.StringBuilder) { b.Append("text"); b.AppendNull() }),
		of(mem, array.NewBooleanBuilder, func(b *array.BooleanBuilder) { b.Append(true); b.AppendNull() }), moment(mem, false, year9999, 0),
		of(mem, func(m memory.Allocator) *array.BinaryBuilder {
			return array.NewBinaryBuilder(m, arrow.BinaryTypes.Binary)
		}, func(b *array.BinaryBuilder) { b.Append([]byte{0}); b.AppendNull() }),
	}
	fields := make([]arrow.Field, len(arrays))
	for i, a := range arrays {
		fields[i] = arrow.Field{Name: columns[i].name, Type: a.DataType(), Nullable: true}
	}
	schema := arrow.NewSchema(fields, nil)
	var buf bytes.Buffer
	w := ipc.NewWriter(&buf, ipc.WithSchema(schema))
	require.NoError(f, w.Write(array.NewRecordBatch(schema, arrays, 2)))
	require.NoError(f, w.Close())
	f.Add(buf.Bytes(), int64(2))
	f.Add(buf.Bytes()[:buf.Len()/2], int64(2))
	f.Add([]byte{}, int64(0))
	f.Fuzz(func(t *testing.T, data []byte, rows int64) {
		s := &Source{settings: Settings{MaxChunk: 64 << 20}.withDefaults()}
		got := int64(0)
		d := decoder{x: &session{s: s}, columns: columns, schema: schemaOf(columns), each: func(b arrow.RecordBatch) bool {
			got += b.NumRows()
			for _, c := range b.Columns() {
				for i := range c.Len() {
					_ = c.ValueStr(i)
				}
			}
			return true
		}}
		if _, err := d.stream(chunk{data: data, rows: rows}); err != nil {
			require.NotEqual(t, fault.Internal, fault.ClassOf(err))
			return
		}
		require.Equal(t, rows, got)
	})
}
