package wire_test

import (
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/record"
	"millrace.dev/pkg/row"
	"millrace.dev/pkg/wire"
)

const limit = 64 << 20

func origin() record.Origin {
	return record.Origin{
		Workspace: "default", Sync: id.Sync{1}, SyncID: "customers", SyncVersion: 3, RunNo: 9, ReadRunNo: 4,
		Batch:        id.Batch{Run: id.Run{2}, Part: 1, Epoch: 2, Seq: 3, Fragment: 1},
		Retried:      []record.RetriedRun{{RunNo: 8, Run: id.Run{3}, Adopted: []uint32{1, 2}}},
		SnapshotTime: time.Unix(1, 2).UTC(), PayloadCap: 1 << 20, FirstRow: 5, Rows: 2, Last: true, Model: "customers", Provider: "duckdb",
	}
}

func recordOf(t testing.TB, s *arrow.Schema, json string) arrow.RecordBatch {
	r, _, err := array.RecordFromJSON(memory.NewGoAllocator(), s, strings.NewReader(json))
	require.NoError(t, err)
	return r
}

func rows(t testing.TB) row.Batch {
	s := arrow.NewSchema([]arrow.Field{
		{Name: "id", Type: arrow.PrimitiveTypes.Int64}, {Name: "name", Type: arrow.BinaryTypes.String, Nullable: true},
		{Name: "tags", Type: arrow.ListOf(arrow.BinaryTypes.String), Nullable: true},
	}, nil)
	rec := recordOf(t, s, `[{"id":1,"name":"Ann","tags":["a","b"]},{"id":2,"name":null,"tags":null}]`)
	h, err := row.NewHasher(s, []string{"id"})
	require.NoError(t, err)
	keys, hashes := h.Hash(rec)
	times := array.NewTimestampBuilder(memory.NewGoAllocator(), &arrow.TimestampType{Unit: arrow.Nanosecond, TimeZone: "UTC"})
	below := array.NewBooleanBuilder(memory.NewGoAllocator())
	times.AppendValues([]arrow.Timestamp{1, 2}, []bool{true, false})
	below.AppendValues([]bool{true, false}, nil)
	return row.Seal(rec, keys, hashes, times.NewArray(), below.NewArray())
}

func records(t testing.TB) record.Batch {
	sixteen := &arrow.FixedSizeBinaryType{ByteWidth: 16}
	s := arrow.NewSchema([]arrow.Field{
		{Name: record.ColumnRow, Type: arrow.PrimitiveTypes.Int32}, {Name: record.ColumnKey, Type: sixteen},
		{Name: record.ColumnHash, Type: sixteen}, {Name: record.ColumnRecordHash, Type: sixteen},
		{Name: record.ColumnTime, Type: &arrow.TimestampType{Unit: arrow.Nanosecond, TimeZone: "UTC"}, Nullable: true},
		{Name: record.ColumnBelowLow, Type: arrow.FixedWidthTypes.Boolean}, {Name: record.ColumnKeyValues, Type: arrow.BinaryTypes.String},
		{Name: record.ColumnIdentities, Type: arrow.StructOf(arrow.Field{Name: "email", Type: arrow.BinaryTypes.String, Nullable: true})},
		{Name: record.ColumnAttributes, Type: arrow.StructOf(arrow.Field{Name: "plan", Type: arrow.BinaryTypes.String, Nullable: true,
			Metadata: arrow.MetadataFrom(map[string]string{record.MetaOnNull: "clear"})})},
	}, nil)
	const zero = "AAAAAAAAAAAAAAAAAAAAAA=="
	rec := recordOf(t, s, `[{"row":0,"row_key":"`+zero+`","row_hash":"`+zero+`","record_hash":"`+zero+`","row_time":null,"below_low":false,
		"key_values":"1","identities":{"email":"a@b.c"},"user_attributes":{"plan":null}}]`)
	return record.Batch{
		Kind: record.Users, Record: rec,
		Rejects:  []record.Reject{{Row: 1, Key: id.Row{4}, Hash: row.Hash{Hi: 5, Lo: 6}, KeyValues: "2", Column: "plan", Stage: record.StageMap, Rule: "rules[0]", Reason: "no number"}},
		Filtered: []record.Filtered{{Row: 2, Key: id.Row{7}, Hash: row.Hash{Lo: 8}}},
		Kept:     record.Kept{Rows: rows(t), At: []int32{0, 1}},
	}
}

func TestRowsArriveAsTheyWereSent(t *testing.T) {
	sent := rows(t)
	data, err := wire.EncodeRows(origin(), sent)
	require.NoError(t, err)
	o, got, err := wire.DecodeRows(data, limit)
	require.NoError(t, err)
	require.Equal(t, origin(), o)
	require.True(t, array.RecordEqual(sent.Record, got.Record))
	require.Equal(t, row.Digest(sent.Hashes()), row.Digest(got.Hashes()))
}

func TestRecordsArriveWithRejectsAndFilteredRows(t *testing.T) {
	sent := records(t)
	data, err := wire.EncodeRecords(origin(), sent)
	require.NoError(t, err)
	o, got, err := wire.DecodeRecords(data, limit)
	require.NoError(t, err)
	require.Equal(t, origin(), o)
	require.True(t, array.RecordEqual(sent.Record, got.Record))
	require.True(t, sent.Record.Schema().Equal(got.Record.Schema()), "field metadata travels too")
	require.Equal(t, sent.Rejects, got.Rejects)
	require.Equal(t, sent.Filtered, got.Filtered)
	require.Equal(t, sent.Kept.At, got.Kept.At)
	require.True(t, array.RecordEqual(sent.Kept.Rows.Record, got.Kept.Rows.Record))
	require.EqualValues(t, 3, got.Rows())
	peeked, err := wire.PeekOrigin(data)
	require.NoError(t, err)
	require.Equal(t, origin(), peeked)
}

func TestOneFlippedBitAnywhereIsNoticed(t *testing.T) {
	data, err := wire.EncodeRows(origin(), rows(t))
	require.NoError(t, err)
	for i := range data {
		data[i] ^= 1 << (i % 8)
		_, _, err := wire.DecodeRows(data, limit)
		require.Error(t, err, "byte %d", i)
		require.Equal(t, fault.ReasonBatchQuarantined, fault.ReasonOf(err))
		data[i] ^= 1 << (i % 8)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	s := arrow.NewSchema([]arrow.Field{{Name: "s", Type: arrow.BinaryTypes.String}}, nil)
	rec := recordOf(t, s, `[{"s":"`+strings.Repeat("a", 1<<20)+`"}]`)
	h, err := row.NewHasher(s, nil)
	require.NoError(t, err)
	keys, hashes := h.Hash(rec)
	times := array.NewTimestampBuilder(memory.NewGoAllocator(), &arrow.TimestampType{Unit: arrow.Nanosecond, TimeZone: "UTC"})
	below := array.NewBooleanBuilder(memory.NewGoAllocator())
	times.AppendNull()
	below.Append(false)
	data, err := wire.EncodeRows(origin(), row.Seal(rec, keys, hashes, times.NewArray(), below.NewArray()))
	require.NoError(t, err)
	require.Less(t, len(data), 64<<10, "it is compressed")
	_, _, err = wire.DecodeRows(data, 512<<10)
	require.Equal(t, fault.ReasonBatchQuarantined, fault.ReasonOf(err))
	_, _, err = wire.DecodeRows(data, 4<<20)
	require.NoError(t, err)
}

func TestRowsAreNoRecords(t *testing.T) {
	data, err := wire.EncodeRows(origin(), rows(t))
	require.NoError(t, err)
	_, _, err = wire.DecodeRecords(data, limit)
	require.Equal(t, fault.ReasonBatchQuarantined, fault.ReasonOf(err))
}

func BenchmarkRowsThereAndBack(b *testing.B) {
	batch := rows(b)
	for b.Loop() {
		data, err := wire.EncodeRows(origin(), batch)
		require.NoError(b, err)
		_, _, err = wire.DecodeRows(data, limit)
		require.NoError(b, err)
	}
}
