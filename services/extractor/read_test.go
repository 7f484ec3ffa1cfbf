//go:build cgo && duckdb_arrow

package extractor_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
	"millrace.dev/pkg/app"
	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/row"
	"millrace.dev/pkg/telemetry"
	"millrace.dev/services/extractor"
)

func TestARunIsPlannedAndItsRowsPassedOn(t *testing.T) {
	m := newMesh(t)
	m.warehouse(people)
	parts := m.planned()
	require.Len(t, parts, 1)
	require.Equal(t, "2026-01-01T13:53:19", m.plan.GetWatermark())
	require.EqualValues(t, 50000, m.plan.GetEstimatedRows())
	require.EqualValues(t, 50000, m.plan.GetCountedRows())
	require.False(t, m.plan.GetCompleteRead(), "a window is not everything")
	require.Equal(t, []string{"customer_id"}, m.plan.GetKeyColumns())
	require.Equal(t, m.bus.PayloadCap(), m.plan.GetPayloadCap())
	require.NotEmpty(t, m.plan.GetSchemaFingerprint())
	require.NotEmpty(t, m.plan.GetSnapshot())

	done := m.work(parts[0])
	require.Nil(t, done.GetError())
	require.EqualValues(t, 50000, done.GetRows())
	require.Equal(t, m.plan.GetSnapshot(), done.GetSnapshot())
	require.Len(t, m.reports, int(done.GetBatches()))

	seen, seqs := map[id.Row]bool{}, map[uint32]bool{}
	for _, b := range m.collect(int(done.GetBatches())) {
		require.LessOrEqual(t, int64(b.bytes), m.plan.GetPayloadCap())
		require.Equal(t, b.Record.NumRows(), b.Rows)
		require.True(t, b.Last)
		require.Equal(t, "people", b.SyncID)
		require.EqualValues(t, 7, b.RunNo)
		require.EqualValues(t, 3, b.Origin.Batch.Epoch)
		seqs[b.Origin.Batch.Seq] = true
		r := m.reports[b.Origin.Batch.String()]
		require.NotNil(t, r)
		require.Equal(t, b.Rows, r.GetRows())
		digest := row.Digest(b.Hashes()).Bytes()
		require.Equal(t, digest[:], r.GetDigest())
		for i := range b.Keys().Len() {
			seen[id.Row(b.Keys().Value(i))] = true
		}
		at := b.Record.Column(3).(*array.Timestamp)
		require.Equal(t, at.Value(0).ToTime(arrow.Microsecond), b.Times().Value(0).ToTime(arrow.Nanosecond))
		require.False(t, b.BelowLow().Value(0))
		require.Contains(t, b.header["traceparent"], r.GetTraceId(), "the batch travels in its trace")
		require.ElementsMatch(t, []string{telemetry.SpanRead, telemetry.SpanPublish, telemetry.SpanReport}, names(m.spans.Ended(), r.GetTraceId()))
	}
	require.Len(t, seen, 50000)
	for i := range done.GetBatches() {
		require.True(t, seqs[i], "seq %d", i)
	}
	for _, s := range m.spans.Ended() {
		if s.Name() == telemetry.SpanRead {
			require.Len(t, s.Links(), 1)
			require.Equal(t, "0af7651916cd43dd8448eb211c80319c", s.Links()[0].SpanContext.TraceID().String())
		}
	}
}

func TestRowsBelowTheLowEdgeAreMarked(t *testing.T) {
	m := newMesh(t)
	m.warehouse(people)
	m.snapshot.Sync.Lookback = 10 * time.Second
	checkpoint := func(l *schedulerv1.PartLease) { l.Checkpoint = "2026-01-01T13:53:00" }
	parts := m.planned(checkpoint)
	require.Equal(t, "2026-01-01T13:53:00", m.plan.GetLowEdge())
	done := m.work(parts[0])
	require.EqualValues(t, 30, done.GetRows(), "from ten seconds below the checkpoint on")
	below := 0
	for _, b := range m.collect(int(done.GetBatches())) {
		for i := range int(b.Rows) {
			if b.BelowLow().Value(i) {
				below++
			}
		}
	}
	require.Equal(t, 10, below)

	full := func(l *schedulerv1.PartLease) { checkpoint(l); l.Full = true }
	m.planned(full)
	require.Empty(t, m.plan.GetLowEdge())
	require.Empty(t, m.plan.GetParts()[0].GetLow())
}

func TestModeFullNeedsNoIterator(t *testing.T) {
	m := newMesh(t)
	m.warehouse(people)
	m.snapshot.Sync.Mode, m.snapshot.DataModel.Iterator = resource.Full, resource.Iterator{}
	parts := m.planned()
	require.Empty(t, m.plan.GetWatermark())
	done := m.work(parts[0])
	require.EqualValues(t, 50000, done.GetRows())
	for _, b := range m.collect(int(done.GetBatches())) {
		require.True(t, b.Full)
		require.Equal(t, b.Times().Len(), b.Times().NullN())
	}
}

// A backfill reads [from, until], whatever checkpoint, lookback and bounds the sync has.
func TestABackfillReadsItsRange(t *testing.T) {
	m := newMesh(t)
	m.warehouse(people)
	m.snapshot.Sync.Lookback, m.snapshot.Sync.From = time.Hour, time.Date(2026, 1, 1, 13, 0, 0, 0, time.UTC)
	at := func(h, s int) *timestamppb.Timestamp {
		return timestamppb.New(time.Date(2026, 1, 1, h, 0, s, 0, time.UTC))
	}
	for _, c := range []struct {
		from, until *timestamppb.Timestamp
		rows        int64
	}{
		{at(1, 0), at(1, 9), 10},
		{nil, at(0, 9), 10},
		{at(13, 3190), nil, 10},
		{at(14, 0), at(15, 0), 0},
		{at(0, 5), at(0, 5), 1},
	} {
		parts := m.planned(func(l *schedulerv1.PartLease) { l.From, l.Until, l.Epoch = c.from, c.until, l.Epoch+uint32(c.rows) })
		require.Empty(t, m.plan.GetLowEdge(), "no row is late")
		require.Equal(t, c.rows, m.plan.GetCountedRows())
		require.Zero(t, m.plan.GetFutureRows())
		require.Equal(t, c.rows, m.work(parts[0]).GetRows())
	}
}

// In mode full without iterator, parts are ranges of an ordered key, or buckets of the keys' hash.
func TestModeFullIsCutByItsKeys(t *testing.T) {
	m := newMesh(t, func(_ *app.Env, s *extractor.Settings) { s.PartRows = 10000 })
	m.warehouse(people)
	m.snapshot.Sync.Mode, m.snapshot.DataModel.Iterator = resource.Full, resource.Iterator{}
	for keys, cut := range map[string]func(*schedulerv1.PartRange) bool{
		"customer_id": func(r *schedulerv1.PartRange) bool { return r.GetLow() != "" || r.GetHigh() != "" || r.GetNulls() },
		"email":       func(r *schedulerv1.PartRange) bool { return r.GetUnit() != "" },
	} {
		m.snapshot.DataModel.KeyColumns = []string{keys}
		parts := m.planned()
		require.GreaterOrEqual(t, len(parts), 5, keys)
		require.True(t, m.plan.GetCompleteRead())
		require.EqualValues(t, 50000, m.plan.GetCountedRows())
		rows, batches := int64(0), 0
		for _, p := range parts {
			require.True(t, cut(p.GetRange()), "%s: %s", keys, p.GetRange())
			p.Epoch += uint32(len(keys)) // other batches each time
			done := m.work(p)
			require.Nil(t, done.GetError())
			require.Equal(t, m.plan.GetSnapshot(), done.GetSnapshot())
			rows, batches = rows+done.GetRows(), batches+int(done.GetBatches())
		}
		require.EqualValues(t, 50000, rows, keys)
		seen := map[id.Row]bool{}
		for _, b := range m.collect(batches) {
			for i := range b.Keys().Len() {
				seen[id.Row(b.Keys().Value(i))] = true
			}
		}
		require.Len(t, seen, 50000, keys)
	}
}

func TestRowsThatCompressBadlyAreCutToThePayloadCap(t *testing.T) {
	m := newMesh(t)
	m.warehouse(`CREATE TABLE people AS SELECT i AS customer_id, TIMESTAMP '2026-01-01' + INTERVAL (i) SECOND AS updated_at, string_agg(md5(CAST(i * 1000 + j AS VARCHAR)), '') AS noise FROM range(3000) AS a(i) CROSS JOIN range(60) AS b(j) GROUP BY ALL`)
	done := m.work(m.planned()[0])
	require.Nil(t, done.GetError())
	require.EqualValues(t, 3000, done.GetRows())
	require.Greater(t, done.GetBatches(), uint32(3))
	rows := int64(0)
	for _, b := range m.collect(int(done.GetBatches())) {
		require.LessOrEqual(t, int64(b.bytes), m.plan.GetPayloadCap())
		rows += b.Rows
	}
	require.EqualValues(t, 3000, rows)
}

func TestARowAboveThePayloadCapEndsTheRun(t *testing.T) {
	m := newMesh(t)
	m.warehouse(`CREATE TABLE people AS SELECT 1 AS customer_id, TIMESTAMP '2026-01-01' AS updated_at, string_agg(md5(CAST(j AS VARCHAR)), '') AS noise FROM range(100000) AS b(j)`)
	done := m.work(m.planned()[0])
	require.Equal(t, fault.ReasonLimitExceeded.Word(), done.GetError().GetReason())
	require.True(t, done.GetPermanent())
}

func TestWhatIsWrongWithASyncEndsItsPlan(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*resource.Snapshot)
		reason fault.Reason
	}{
		"no SELECT":          {func(s *resource.Snapshot) { s.DataModel.SQL = "DROP TABLE people" }, fault.ReasonQueryInvalid},
		"no such table":      {func(s *resource.Snapshot) { s.DataModel.SQL = "SELECT * FROM nobody" }, fault.ReasonQueryInvalid},
		"no iterator":        {func(s *resource.Snapshot) { s.DataModel.Iterator = resource.Iterator{} }, fault.ReasonIteratorInvalid},
		"iterator of a kind": {func(s *resource.Snapshot) { s.DataModel.Iterator.Type = resource.IteratorDate }, fault.ReasonIteratorInvalid},
		"column not mapped": {func(s *resource.Snapshot) {
			s.Mapping = &resource.Mapping{Rules: []resource.Rule{{Column: "gone", To: "user_attributes.x"}}}
		}, fault.ReasonMappingInvalid},
		"no such file": {func(s *resource.Snapshot) { s.Connection.DuckDB.Path = filepath.Join(t.TempDir(), "none.duckdb") }, fault.ReasonFileNotFound},
		"secret of other keys": {func(s *resource.Snapshot) {
			s.Connection = resource.Connection{Postgres: &resource.Postgres{Host: "127.0.0.1", Password: resource.Secret{Sealed: []byte("x")}}}
		}, fault.ReasonSecretUnreadable},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMesh(t)
			m.warehouse(people)
			c.change(&m.snapshot)
			done := m.work(m.lease(0))
			require.Equal(t, c.reason.Word(), done.GetError().GetReason(), done.GetError().GetMessage())
			require.True(t, done.GetPermanent())
			require.Nil(t, m.plan)
		})
	}
}

func TestFilesOutsideTheRootsAreNotRead(t *testing.T) {
	roots := t.TempDir()
	m := newMesh(t, func(e *app.Env, s *extractor.Settings) {
		e.Shared.FilesAnywhere, s.FilesRoots = false, []string{roots}
	})
	m.warehouse(people)
	done := m.work(m.lease(0))
	require.Equal(t, fault.ReasonPathForbidden.Word(), done.GetError().GetReason())
	require.True(t, done.GetPermanent())
	inside := filepath.Join(roots, "shop.duckdb")
	execute(t, inside, people)
	m.snapshot.Connection.DuckDB.Path = inside
	require.Nil(t, m.work(m.lease(0)).GetError())
}

func TestASourceThatChangedIsPlannedAgain(t *testing.T) {
	m := newMesh(t)
	path := m.warehouse(people)
	parts := m.planned()
	execute(t, path, "UPDATE people SET visits = 0 WHERE customer_id = 1")
	done := m.work(parts[0])
	require.True(t, done.GetReplan())
	require.Equal(t, fault.ReasonSourceChanged.Word(), done.GetError().GetReason())
	parts = m.planned()
	execute(t, path, "ALTER TABLE people ADD COLUMN more INTEGER")
	require.True(t, m.work(parts[0]).GetReplan())
}

const endless = "SELECT a.i * 1000000 + b.i AS customer_id, TIMESTAMP '2026-01-01' AS updated_at FROM range(100000000) AS a(i), range(1000000) AS b(i)"

// endlessPart is a part that nobody reads to its end.
func (m *mesh) endlessPart() *schedulerv1.PartLease {
	m.warehouse(people)
	m.snapshot.DataModel.SQL = "SELECT CAST(1 AS BIGINT) AS customer_id, TIMESTAMP '2026-01-01' AS updated_at"
	l := m.planned()[0]
	m.snapshot.DataModel.SQL = endless
	l.Range = &schedulerv1.PartRange{}
	return l
}

func TestAStoppingExtractorGivesItsPartBack(t *testing.T) {
	m := newMesh(t)
	m.give(m.endlessPart())
	<-m.reported
	m.stop()
	done := m.completed()
	require.True(t, done.GetReleased())
	require.Nil(t, done.GetError())
	<-m.ended
}

func TestALostLeaseEndsTheReading(t *testing.T) {
	m := newMesh(t)
	l := m.endlessPart()
	m.answer = func(*schedulerv1.HeartbeatPartRequest) (*schedulerv1.HeartbeatPartResponse, error) {
		return nil, fault.New(fault.Conflict, fault.ReasonFenced, "over")
	}
	m.give(l)
	<-m.reported
	m.snapshot.DataModel.SQL = "SELECT * FROM people"
	m.give(m.lease(0)) // the slot is free again
	require.EqualValues(t, 0, m.completed().GetPart(), "nothing is told of the part that was lost")
}

func TestACancelledRunEndsTheReading(t *testing.T) {
	m := newMesh(t)
	l := m.endlessPart()
	m.answer = func(r *schedulerv1.HeartbeatPartRequest) (*schedulerv1.HeartbeatPartResponse, error) {
		return &schedulerv1.HeartbeatPartResponse{Cancel: true}, nil
	}
	done := m.work(l)
	require.True(t, done.GetReleased())
	require.Nil(t, done.GetError())
}

func TestTheLeaseSaysHowOftenToBeat(t *testing.T) {
	m := newMesh(t)
	l := m.endlessPart()
	l.Life = durationpb.New(300 * time.Millisecond)
	const many = 40 // at the usual pace they would take longer than the test waits
	beats := make(chan struct{}, many)
	m.answer = func(*schedulerv1.HeartbeatPartRequest) (*schedulerv1.HeartbeatPartResponse, error) {
		select {
		case beats <- struct{}{}:
			return &schedulerv1.HeartbeatPartResponse{}, nil
		default:
			return &schedulerv1.HeartbeatPartResponse{Cancel: true}, nil
		}
	}
	m.give(l)
	var done *schedulerv1.CompletePartRequest
	for late := time.After(time.Minute); done == nil; {
		select {
		case done = <-m.done:
		case m.leases <- l: // the machine stood still for longer than the lease's life; the part is leased again
		case <-late:
			require.Fail(t, "the part is not completed")
		}
	}
	require.True(t, done.GetReleased())
	require.Len(t, beats, many)
}
