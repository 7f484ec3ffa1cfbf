package wire_test

import (
	"encoding/binary"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/stretchr/testify/require"
	"github.com/zeebo/xxh3"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/row"
	"millrace.dev/pkg/wire"
)

// FuzzDecode mends the checksum of what it is given, so that the fuzzer gets past it.
func FuzzDecode(f *testing.F) {
	asRows, err := wire.EncodeRows(origin(), rows(f))
	require.NoError(f, err)
	asRecords, err := wire.EncodeRecords(origin(), records(f))
	require.NoError(f, err)
	f.Add(asRows)
	f.Add(asRecords)
	f.Add([]byte("MR"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) >= 12 {
			binary.BigEndian.PutUint64(data[4:], xxh3.Hash(data[12:]))
		}
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
