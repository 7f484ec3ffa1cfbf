package wire_test

import (
	"encoding/binary"
	"slices"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/stretchr/testify/require"
	"github.com/zeebo/xxh3"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/row"
	"millrace.dev/pkg/wire"
)

// fuzzLimit bounds what decoding may take in the fuzz targets.
const fuzzLimit = 1 << 20

// headLength is that of an envelope: magic, version, kind, checksum.
const headLength = 12

// seal answers data with the magic and the version of a whole envelope, and the checksum that its sender would compute,
// so that fuzzing gets behind them.
func seal(whole, data []byte) []byte {
	if len(data) < headLength {
		return data
	}
	out := slices.Clone(data)
	copy(out, whole[:3])
	binary.BigEndian.PutUint64(out[4:], xxh3.Hash(out[headLength:]))
	return out
}

// FuzzDecode looks for envelopes that decoding does not answer with a batch that can be read to its end, or with an
// error. Each is tried as it is and with the checksum of its content.
func FuzzDecode(f *testing.F) {
	asRows, err := wire.EncodeRows(origin(), rows(f))
	require.NoError(f, err)
	asRecords, err := wire.EncodeRecords(origin(), records(f))
	require.NoError(f, err)
	f.Add(asRows)
	f.Add(asRecords)
	f.Add([]byte("MR"))
	f.Fuzz(func(t *testing.T, data []byte) {
		open(t, data)
		open(t, seal(asRows, data))
	})
}

// FuzzArrow does the same with an Arrow stream in an envelope that is otherwise whole.
func FuzzArrow(f *testing.F) {
	asRows, err := wire.EncodeRows(origin(), rows(f))
	require.NoError(f, err)
	asRecords, err := wire.EncodeRecords(origin(), records(f))
	require.NoError(f, err)
	f.Add(sections(asRows)[1])
	for _, s := range sections(asRecords)[1:] {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, stream []byte) {
		for _, whole := range [][]byte{asRows, asRecords} {
			for i := 1; i < len(sections(whole)); i++ {
				s := sections(whole)
				s[i] = stream
				open(t, envelope(whole, whole[3], s...))
			}
		}
	})
}

// sections answers the sections of a whole envelope.
func sections(data []byte) [][]byte {
	var out [][]byte
	for rest := data[headLength:]; len(rest) > 0; {
		n := binary.BigEndian.Uint32(rest)
		out, rest = append(out, rest[4:4+n]), rest[4+n:]
	}
	return out
}

// envelope answers sections as an envelope like a whole one, with the checksum of its content.
func envelope(whole []byte, kind byte, sections ...[]byte) []byte {
	out := make([]byte, headLength)
	out[3] = kind
	for _, s := range sections {
		out = binary.BigEndian.AppendUint32(out, uint32(len(s)))
		out = append(out, s...)
	}
	return seal(whole, out)
}

// open decodes data as rows and as records.
func open(t *testing.T, data []byte) {
	t.Helper()
	if _, b, err := wire.DecodeRows(data, fuzzLimit); err == nil {
		touch(b.Record)
		row.Digest(b.Hashes())
	} else {
		require.Equal(t, fault.Invalid, fault.ClassOf(err))
	}
	if _, b, err := wire.DecodeRecords(data, fuzzLimit); err == nil {
		touch(b.Record)
		require.Equal(t, b.Record.NumRows()+int64(len(b.Rejects)+len(b.Filtered)), b.Rows())
	} else {
		require.Equal(t, fault.Invalid, fault.ClassOf(err))
	}
}

// touch reads every value: what decodes must be readable to its end.
func touch(r arrow.RecordBatch) {
	sums := make([]row.Hash, r.NumRows())
	for i, c := range r.Columns() {
		row.AddColumn(sums, r.ColumnName(i), c)
		for n := range c.Len() {
			row.AppendCanonicalText(nil, c, n)
		}
	}
}
