package sharing

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/file"
	parquetmeta "github.com/apache/arrow-go/v18/parquet/metadata"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/wire"
)

const (
	// batchRows bounds the rows of a batch.
	batchRows = 16_384
	// tailBytes is how much of a file's end is read for its footer at first.
	tailBytes = 64 << 10
	// maxFooter bounds a footer.
	maxFooter = 64 << 20
	// gapBytes is what may lie between two column chunks that are downloaded as one range.
	gapBytes = 256 << 10
	// slackBytes is what old writers leave out of a chunk's length.
	slackBytes = 128
	trailer    = 8
	// fileRows bounds the rows that a file may claim: where none of its columns is read, no bytes hold it to them.
	fileRows = math.MaxInt32
)

// stored is a Parquet file whose footer was read.
type stored struct {
	file *listed
	meta *parquetmeta.FileMetaData
	// whole is all of a small file: it came with the footer.
	whole []byte
}

// open reads a file's footer.
func (k *links) open(ctx context.Context, f *listed) (*stored, error) {
	tail := make([]byte, min(f.size, tailBytes))
	if err := k.fetch(ctx, f, f.size-int64(len(tail)), tail); err != nil {
		return nil, err
	}
	if len(tail) < trailer {
		return nil, malformed("a file of the table")
	}
	footer := int64(binary.LittleEndian.Uint32(tail[len(tail)-trailer:])) + trailer
	if footer > f.size || footer > maxFooter {
		return nil, malformed("a file of the table")
	}
	if footer > int64(len(tail)) {
		tail = make([]byte, footer)
		if err := k.fetch(ctx, f, f.size-footer, tail); err != nil {
			return nil, err
		}
	}
	out := &stored{file: f}
	if int64(len(tail)) == f.size {
		out.whole = tail
	}
	err := guarded(func() error {
		parts := &ranges{size: f.size, parts: []part{{at: f.size - int64(len(tail)), data: tail}}}
		r, err := file.NewParquetReader(parts, file.WithReadProps(readerProperties(maxFooter)))
		if err != nil {
			return malformed("a file of the table")
		}
		out.meta = r.MetaData()
		return nil
	})
	return out, err
}

// readerProperties answers how files are read: no page takes more than so many bytes when it is unpacked. What the reader
// pools is Go's memory, for it is given back by the collector.
func readerProperties(most int64) *parquet.ReaderProperties {
	p := parquet.NewReaderProperties(wire.Capped(memory.DefaultAllocator, most))
	p.BufferedStreamEnabled = true
	return p
}

// guarded runs a call of the Parquet reader, whose panics over malformed files are not the process's.
func guarded(call func() error) (err error) {
	defer func() {
		if recover() != nil {
			err = malformed("a file of the table")
		}
	}()
	return call()
}

// group is one row group of a file, and which of its column chunks are read.
type group struct {
	of     *stored
	index  int
	leaves []int
	spans  []span
	bytes  int64
	rows   int64
}

// span is a range of a file.
type span struct{ from, to int64 }

// groups answers the row groups of a file with the chunks of some of its columns.
func (f *stored) groups(names []string, most int64) ([]group, error) {
	var out []group
	err := guarded(func() error {
		leaves, left := f.leaves(names), int64(fileRows)
		for i := range f.meta.NumRowGroups() {
			g := group{of: f, index: i, leaves: leaves, rows: f.meta.RowGroup(i).NumRows()}
			if left -= g.rows; g.rows < 0 || left < 0 {
				return malformed("a file of the table")
			}
			if err := g.place(most); err != nil {
				return err
			}
			out = append(out, g)
		}
		return nil
	})
	return out, err
}

// leaves answers the leaf columns of top-level columns by their names, as far as the file has them.
func (f *stored) leaves(names []string) []int {
	var out []int
	for i := range f.meta.Schema.NumColumns() {
		top := f.meta.Schema.Column(i).ColumnPath()[0]
		if slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, top) }) {
			out = append(out, i)
		}
	}
	return out
}

// place finds where the chunks of a group stand.
func (g *group) place(most int64) error {
	rg := g.of.meta.RowGroup(g.index)
	for _, leaf := range g.leaves {
		c, err := rg.ColumnChunk(leaf)
		if err != nil {
			return malformed("a file of the table")
		}
		from := c.DataPageOffset()
		if d := c.DictionaryPageOffset(); c.HasDictionaryPage() && d > 0 && d < from {
			from = d
		}
		n := c.TotalCompressedSize()
		if from < 0 || n < 0 || n > g.of.file.size || from+n > g.of.file.size {
			return malformed("a file of the table")
		}
		g.spans = append(g.spans, span{from, min(from+n+slackBytes, g.of.file.size)})
	}
	g.spans = joined(g.spans)
	for _, s := range g.spans {
		g.bytes += s.to - s.from
	}
	if g.bytes > most {
		return fault.New(fault.Precondition, fault.ReasonQueryInvalid, "a file of the table has a row group of %d bytes, and %d are taken; have the table rewritten with smaller row groups", g.bytes, most)
	}
	return nil
}

// joined answers spans in order, near ones as one.
func joined(spans []span) []span {
	slices.SortFunc(spans, func(a, b span) int { return int(a.from - b.from) })
	var out []span
	for _, s := range spans {
		if n := len(out); n > 0 && s.from <= out[n-1].to+gapBytes {
			out[n-1].to = max(out[n-1].to, s.to)
			continue
		}
		out = append(out, s)
	}
	return out
}

// download reads a group's chunks. The caller frees them.
func (k *links) download(ctx context.Context, g group) (*ranges, error) {
	out := &ranges{size: g.of.file.size}
	if g.of.whole != nil {
		out.whole = g.of.whole
		return out, nil
	}
	for _, s := range g.spans {
		data := k.s.settings.Allocator.Allocate(int(s.to - s.from))
		out.parts = append(out.parts, part{at: s.from, data: data})
		if err := k.fetch(ctx, g.of.file, s.from, data); err != nil {
			out.free(k.s.settings.Allocator)
			return nil, err
		}
	}
	return out, nil
}

// decodeGroup calls each with the batches of a downloaded group, whose columns have the file's own names, until it answers
// false. Without columns it has rows alone. A batch is each's for the call only.
func (s *Source) decodeGroup(ctx context.Context, g group, parts *ranges, each func(arrow.RecordBatch, int64) (bool, error)) error {
	if len(g.leaves) == 0 {
		for left := g.rows; left > 0; left -= batchRows {
			if more, err := each(nil, min(left, batchRows)); err != nil || !more {
				return err
			}
		}
		return nil
	}
	return guarded(func() error {
		r, err := file.NewParquetReader(parts, file.WithReadProps(readerProperties(s.settings.MaxReply)), file.WithMetadata(g.of.meta))
		if err != nil {
			return malformed("a file of the table")
		}
		fr, err := pqarrow.NewFileReader(r, pqarrow.ArrowReadProperties{BatchSize: batchRows}, s.settings.Allocator)
		if err != nil {
			return malformed("a file of the table")
		}
		rr, err := fr.GetRecordReader(ctx, g.leaves, []int{g.index})
		if err != nil {
			return malformed("a file of the table")
		}
		defer rr.Release()
		rows := int64(0)
		for rr.Next() {
			b := rr.RecordBatch()
			rows += b.NumRows()
			if more, err := each(b, b.NumRows()); err != nil || !more {
				return err
			}
		}
		switch err := rr.Err(); {
		case ctx.Err() != nil:
			return fault.As(ctx.Err())
		case err != nil && strings.Contains(err.Error(), "INT96"):
			return fault.New(fault.Precondition, fault.ReasonQueryInvalid, "a file has an instant that its form, INT96, cannot hold in nanoseconds; have the table written with timestamps in microseconds")
		case err != nil && !errors.Is(err, io.EOF), rows != g.rows:
			return malformed("a file of the table")
		}
		return nil
	})
}

// part is a range of a file, downloaded.
type part struct {
	at   int64
	data []byte
}

// ranges are the downloaded parts of a file; reading outside of them is an error.
type ranges struct {
	size  int64
	parts []part
	whole []byte // in the place of parts
	pos   int64
}

func (r *ranges) free(mem memory.Allocator) {
	for _, p := range r.parts {
		mem.Free(p.data)
	}
	r.parts = nil
}

// ReadAt answers bytes that were downloaded.
func (r *ranges) ReadAt(to []byte, at int64) (int, error) {
	parts := r.parts
	if r.whole != nil {
		parts = []part{{data: r.whole}}
	}
	for _, p := range parts {
		if at >= p.at && at < p.at+int64(len(p.data)) {
			n := copy(to, p.data[at-p.at:])
			if n < len(to) {
				return n, io.EOF
			}
			return n, nil
		}
	}
	return 0, io.ErrUnexpectedEOF
}

// Seek is what the reader asks the file's size by.
func (r *ranges) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekStart:
		r.pos = offset
	case io.SeekCurrent:
		r.pos += offset
	default:
		r.pos = r.size + offset
	}
	return r.pos, nil
}
