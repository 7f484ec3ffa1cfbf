package sharing

import (
	"bytes"
	"runtime/metrics"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/file"
	parquetmeta "github.com/apache/arrow-go/v18/parquet/metadata"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	"github.com/apache/arrow-go/v18/parquet/schema"
	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/fault"
)

// oneValue answers a file of one page with the same number in every row.
func oneValue(t *testing.T, rows int) []byte {
	t.Helper()
	b := array.NewInt64Builder(memory.DefaultAllocator)
	b.AppendValues(make([]int64, rows), nil)
	s := arrow.NewSchema([]arrow.Field{{Name: "n", Type: arrow.PrimitiveTypes.Int64}}, nil)
	var out bytes.Buffer
	w, err := pqarrow.NewFileWriter(s, &out, parquet.NewWriterProperties(parquet.WithDictionaryDefault(false),
		parquet.WithDataPageSize(1<<30), parquet.WithCompression(compress.Codecs.Zstd)), pqarrow.DefaultWriterProps())
	require.NoError(t, err)
	require.NoError(t, w.Write(array.NewRecordBatch(s, []arrow.Array{b.NewArray()}, int64(rows))))
	require.NoError(t, w.Close())
	return out.Bytes()
}

// TestAPageThatUnpacksToMoreThanIsTakenIsRefused: a file of a few kilobytes takes no more memory than one may have.
func TestAPageThatUnpacksToMoreThanIsTakenIsRefused(t *testing.T) {
	const rows = 4 << 20
	data := oneValue(t, rows)
	require.Less(t, len(data), 1<<20)
	for most, fits := range map[int64]bool{16 << 20: false, 64 << 20: true} {
		s := &Source{settings: Settings{MaxReply: most}.withDefaults()}
		r, err := file.NewParquetReader(bytes.NewReader(data))
		require.NoError(t, err)
		f := &stored{file: &listed{size: int64(len(data))}, meta: r.MetaData(), whole: data}
		groups, err := f.groups([]string{"n"}, most)
		require.NoError(t, err)
		got, before := int64(0), allocated()
		for _, g := range groups {
			err = s.decodeGroup(t.Context(), g, &ranges{size: g.of.file.size, whole: data}, func(_ arrow.RecordBatch, n int64) (bool, error) {
				got += n
				return true, nil
			})
		}
		if fits {
			require.NoError(t, err)
			require.EqualValues(t, rows, got)
			continue
		}
		require.ErrorContains(t, err, "malformed")
		require.Zero(t, got)
		require.Less(t, allocated()-before, uint64(most))
	}
}

// allocated answers how many bytes the process has ever taken.
func allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// TestAFileWithoutAColumnClaimsNoEndOfRows: where a file lacks all columns that are read, its footer alone says how many
// rows it has.
func TestAFileWithoutAColumnClaimsNoEndOfRows(t *testing.T) {
	for _, c := range []struct {
		groups []int64
		fits   bool
	}{
		{[]int64{1000, 1000}, true},
		{[]int64{1 << 60}, false},
		{[]int64{1 << 30, 1 << 30, 1 << 30}, false},
		{[]int64{-1}, false},
	} {
		f := &stored{file: &listed{size: 1000}, meta: claiming(t, c.groups)}
		_, err := f.groups([]string{"added later"}, 1<<20)
		if c.fits {
			require.NoError(t, err, "%v", c.groups)
			continue
		}
		require.Equal(t, fault.ClassOf(malformed("")), fault.ClassOf(err), "%v", c.groups)
		require.ErrorContains(t, err, "malformed", "%v", c.groups)
	}
}

// claiming answers the footer of a file whose row groups claim so many rows.
func claiming(t *testing.T, groups []int64) *parquetmeta.FileMetaData {
	t.Helper()
	root, err := schema.NewGroupNode("schema", parquet.Repetitions.Required, schema.FieldList{schema.NewInt64Node("n", parquet.Repetitions.Required, -1)}, -1)
	require.NoError(t, err)
	b := parquetmeta.NewFileMetadataBuilder(schema.NewSchema(root), parquet.NewWriterProperties(), nil)
	for _, rows := range groups {
		g := b.AppendRowGroup()
		g.SetNumRows(int(rows))
		require.NoError(t, g.NextColumnChunk().Finish(parquetmeta.ChunkMetaInfo{NumValues: rows, DataPageOffset: 4, CompressedSize: 10, UncompressedSize: 10},
			false, false, parquetmeta.EncodingStats{}))
		require.NoError(t, g.Finish(10, -1))
	}
	m, err := b.Finish()
	require.NoError(t, err)
	return m
}
