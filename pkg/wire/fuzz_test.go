package wire_test

import (
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/row"
	"millrace.dev/pkg/wire"
)

// FuzzDecode looks for bytes that decoding does not answer with an error. The checksum stays as it is: behind it stands
// metadata that Arrow takes at its word.
func FuzzDecode(f *testing.F) {
	asRows, err := wire.EncodeRows(origin(), rows(f))
	require.NoError(f, err)
	asRecords, err := wire.EncodeRecords(origin(), records(f))
	require.NoError(f, err)
	f.Add(asRows)
	f.Add(asRecords)
	f.Add([]byte("MR"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, b, err := wire.DecodeRows(data, 1<<20); err == nil {
			touch(b.Record)
			row.Digest(b.Hashes())
		} else {
			require.Equal(t, fault.Invalid, fault.ClassOf(err))
		}
		if _, b, err := wire.DecodeRecords(data, 1<<20); err == nil {
			touch(b.Record)
		} else {
			require.Equal(t, fault.Invalid, fault.ClassOf(err))
		}
	})
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
