package redshift

import (
	"bytes"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	"github.com/stretchr/testify/require"
)

// TestAPageThatUnpacksToMoreThanAFileIsRefused: a file of a few kilobytes takes no more memory than one may have.
func TestAPageThatUnpacksToMoreThanAFileIsRefused(t *testing.T) {
	s := arrow.NewSchema([]arrow.Field{{Name: "n", Type: arrow.PrimitiveTypes.Int64}}, nil)
	q := &query{schema: s}
	set := Settings{FileMiB: 5, Allocator: memory.DefaultAllocator}
	for rows, fits := range map[int]bool{1 << 20: true, int(set.maxFile()/8) + 1: false} {
		b := array.NewInt64Builder(memory.DefaultAllocator)
		b.AppendValues(make([]int64, rows), nil)
		var file bytes.Buffer
		w, err := pqarrow.NewFileWriter(s, &file, parquet.NewWriterProperties(parquet.WithDictionaryDefault(false), parquet.WithMaxRowGroupLength(int64(rows)),
			parquet.WithDataPageSize(1<<30), parquet.WithCompression(compress.Codecs.Zstd)), pqarrow.DefaultWriterProps())
		require.NoError(t, err)
		require.NoError(t, w.Write(array.NewRecordBatch(s, []arrow.Array{b.NewArray()}, int64(rows))))
		require.NoError(t, w.Close())
		require.Less(t, file.Len(), 1<<20)
		got := 0
		_, err = q.decode(t.Context(), set, file.Bytes(), int64(rows), func(b arrow.RecordBatch) bool { got += int(b.NumRows()); return true })
		if fits {
			require.NoError(t, err)
			require.Equal(t, rows, got)
			continue
		}
		require.ErrorContains(t, err, "malformed")
		require.Zero(t, got)
	}
}
