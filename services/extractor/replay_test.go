//go:build cgo && duckdb_arrow

package extractor_test

import (
	"testing"

	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"

	ingestionv1 "millrace.dev/gen/millrace/ingestion/v1"
	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/record"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/row"
	"millrace.dev/pkg/wire"
)

// ReadRejectedRows answers what a test says that ingestion has kept.
func (s *scheduler) ReadRejectedRows(r *ingestionv1.ReadRejectedRowsRequest, stream grpc.ServerStreamingServer[ingestionv1.ReadRejectedRowsResponse]) error {
	if s.gate != nil {
		s.gate <- struct{}{}
		<-s.gate
	}
	for _, e := range s.kept[r.GetRun()] {
		if err := stream.Send(&ingestionv1.ReadRejectedRowsResponse{Rows: e}); err != nil {
			return err
		}
	}
	return nil
}

// values has a row for each i with a value of every kind that the driver gives, at its limits.
const values = `CREATE OR REPLACE TABLE people AS SELECT i AS customer_id, 'user' || i || '@example.com' AS email,
	CASE i % 3 WHEN 0 THEN NULL WHEN 1 THEN '' ELSE 'x' END AS note,
	CASE WHEN i % 2 = 0 THEN 9223372036854775807 ELSE -9223372036854775808 END AS big, 18446744073709551615::UBIGINT AS unsigned,
	99999999999999999999999999999999999999::DECIMAL(38, 0) AS d38, (i || '.000000001')::DECIMAL(38, 9) AS d9,
	CASE i % 3 WHEN 0 THEN 'nan'::DOUBLE WHEN 1 THEN '-infinity'::DOUBLE ELSE 0.1 END AS f, i % 2 = 0 AS flag,
	'\x00\xFF'::BLOB AS bin, '{"a": [1, 2.50, null]}'::JSON AS doc, TIMESTAMP_NS '2026-01-01 00:00:00.123456789' AS ns,
	TIMESTAMPTZ '2026-01-01 00:00:00.5+02' AS tz, DATE '0001-01-01' AS d, TIME '23:59:59.999999' AS t,
	['a', NULL, ''] AS l, {'a': i, 'b': NULL} AS s, MAP {'k': i} AS m, 'a'::ENUM('a', 'b') AS e,
	TIMESTAMP '2026-01-01' + INTERVAL (i) SECOND AS updated_at FROM range(1000) AS g(i)`

// kept makes every third row of a batch what ingestion kept of its rejects.
func kept(t *testing.T, b taken) []byte {
	t.Helper()
	var at []int32
	for i := int32(0); int64(i) < b.Record.NumRows(); i += 3 {
		at = append(at, i)
	}
	body, err := wire.EncodeRows(b.Origin, record.Keep(b.Batch, at).Rows)
	require.NoError(t, err)
	return body
}

func replays(old id.Run) func(*schedulerv1.PartLease) {
	return func(l *schedulerv1.PartLease) { l.ReplayOf, l.RunNo, l.Epoch = old.String(), 9, l.Epoch+1 }
}

// A replayed row is the row that the warehouse gave: values, types, key, hash and row time.
func TestARowThatIsReplayedIsTheRowThatWasRead(t *testing.T) {
	m := newMesh(t)
	path := m.warehouse(values)
	done := m.work(m.planned()[0])
	require.Nil(t, done.GetError(), "%v", done.GetError())
	old := id.NewRun()
	var want int64
	byKey := map[id.Row]taken{}
	for _, b := range m.collect(int(done.GetBatches())) {
		m.kept = map[string][][]byte{old.String(): append(m.kept[old.String()], kept(t, b))}
		for i := range int(b.Record.NumRows()) {
			byKey[id.Row(b.Keys().Value(i))] = taken{Origin: b.Origin, Batch: row.Batch{Record: b.Record.NewSlice(int64(i), int64(i)+1)}}
		}
		want += (b.Record.NumRows() + 2) / 3
	}
	remove(t, path) // nothing is read from the warehouse

	part := m.planned(replays(old))
	require.Len(t, part, 1)
	require.Equal(t, "rejects of run "+old.String(), m.plan.GetSnapshot())
	require.Equal(t, want, m.plan.GetEstimatedRows())
	require.Empty(t, m.plan.GetWatermark())
	done = m.work(part[0])
	require.Nil(t, done.GetError(), "%v", done.GetError())
	require.Equal(t, want, done.GetRows())
	require.Equal(t, m.plan.GetSnapshot(), done.GetSnapshot())
	for _, b := range m.collect(int(done.GetBatches())) {
		require.EqualValues(t, 9, b.RunNo)
		require.EqualValues(t, 7, b.ReadRunNo, "the run that read it")
		for i := range int(b.Record.NumRows()) {
			was, ok := byKey[id.Row(b.Keys().Value(i))]
			require.True(t, ok, "the key that it had")
			is := b.Record.NewSlice(int64(i), int64(i)+1)
			require.True(t, array.RecordApproxEqual(was.Record, is, array.WithNaNsEqual(true)), "system columns and all\n%v\n%v", was.Record, is)
			require.Equal(t, was.SnapshotTime, b.SnapshotTime)
			want--
		}
	}
	require.Zero(t, want)
}

func TestReplaysThatCannotBeAreRefusedClearly(t *testing.T) {
	m := newMesh(t)
	m.warehouse(people)
	done := m.work(m.planned()[0])
	old := id.NewRun()
	b := m.collect(int(done.GetBatches()))[0]

	l := m.lease(0)
	replays(old)(l)
	done = m.work(l)
	require.Equal(t, "run_state", done.GetError().GetReason())
	require.Contains(t, done.GetError().GetMessage(), "no row of the rejects of run "+old.String()+" is kept any more")
	require.True(t, done.GetPermanent())

	m.kept = map[string][][]byte{old.String(): {kept(t, b)}}
	m.snapshot.Mapping = &resource.Mapping{Rules: []resource.Rule{
		{Column: "customer_id", To: "user_identities.customer_id"}, {Column: "added_since", To: "user_attributes.a"}, {Ignore: "email"}, {Ignore: "visits"},
	}}
	l = m.lease(0)
	replays(old)(l)
	done = m.work(l)
	require.Equal(t, "mapping_invalid", done.GetError().GetReason())
	require.Contains(t, done.GetError().GetMessage(), "do not fit the sync as it is now")
	require.Contains(t, done.GetError().GetMessage(), "added_since")
	require.True(t, done.GetPermanent())
}

// Asked to stop, a replay gives its part back and begins anew under the next lease.
func TestAReplayThatIsStoppedIsGivenBack(t *testing.T) {
	m := newMesh(t)
	m.warehouse(people)
	done := m.work(m.planned()[0])
	old := id.NewRun()
	b := m.collect(int(done.GetBatches()))[0]
	m.kept = map[string][][]byte{old.String(): {kept(t, b)}}
	parts := m.planned(replays(old))
	m.gate = make(chan struct{})
	m.give(parts[0])
	<-m.gate // it reads
	m.stop()
	m.gate <- struct{}{}
	require.True(t, m.completed().GetReleased())
}
