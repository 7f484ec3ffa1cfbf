package ingestion

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	ingestionv1 "millrace.dev/gen/millrace/ingestion/v1"
	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/record"
	"millrace.dev/pkg/row"
	"millrace.dev/pkg/secret"
	"millrace.dev/pkg/store"
	"millrace.dev/pkg/testenv"
	"millrace.dev/pkg/wire"
)

// rejectedBatch is two users, the second of whom the store refuses, and a row that the mapper rejected. The rows of all
// three came along: the first might have been refused.
func rejectedBatch(t *testing.T) record.Batch {
	t.Helper()
	b := usersBatch(user{"1", "a@example.com", "Ann", 100}, user{"", "", "Nobody", 100})
	hashes := b.Record.Column(record.PosHash).(*array.FixedSizeBinary)
	b.Rejects = []record.Reject{{
		Row: 2, Key: id.Row{9}, Hash: sumOf("third"), KeyValues: "7" + record.KeySeparator + "x", Column: "age", Stage: record.StageMap,
		Rule: "rules[1]", Reason: "the text is no integer",
	}}
	b.Kept = keptOf(t, []row.Hash{row.FromBytes(hashes.Value(0)), row.FromBytes(hashes.Value(1)), sumOf("third")},
		`[{"id":1,"age":"first-secret"},{"id":null,"age":"second-secret"},{"id":7,"age":"third-secret"}]`)
	return b
}

// keptOf answers rows with those hashes, as they came with a batch.
func keptOf(t *testing.T, hashes []row.Hash, rows string) record.Kept {
	t.Helper()
	s := arrow.NewSchema([]arrow.Field{{Name: "id", Type: arrow.PrimitiveTypes.Int64, Nullable: true}, text("age")}, nil)
	rec, _, err := array.RecordFromJSON(memory.NewGoAllocator(), s, strings.NewReader(rows))
	require.NoError(t, err)
	sums := array.NewFixedSizeBinaryBuilder(memory.NewGoAllocator(), &arrow.FixedSizeBinaryType{ByteWidth: 16})
	below := array.NewBooleanBuilder(memory.NewGoAllocator())
	at := make([]int32, len(hashes))
	for i, h := range hashes {
		b := h.Bytes()
		sums.Append(b[:])
		below.Append(false)
		at[i] = int32(i)
	}
	all := sums.NewArray()
	fields := append(s.Fields(),
		arrow.Field{Name: row.ColumnKey, Type: all.DataType()}, arrow.Field{Name: row.ColumnHash, Type: all.DataType()},
		arrow.Field{Name: row.ColumnTime, Type: &arrow.TimestampType{Unit: arrow.Nanosecond, TimeZone: "UTC"}, Nullable: true},
		arrow.Field{Name: row.ColumnBelowLow, Type: arrow.FixedWidthTypes.Boolean})
	times := array.MakeArrayOfNull(memory.NewGoAllocator(), fields[4].Type, len(hashes))
	cols := append(rec.Columns(), all, all, times, below.NewArray())
	return record.Kept{Rows: row.Batch{Record: array.NewRecordBatch(arrow.NewSchema(fields, nil), cols, int64(len(hashes)))}, At: at}
}

func (w *world) export(workspace string) ([]*ingestionv1.ExportedReject, error) {
	w.t.Helper()
	stream, err := w.client.ExportRejects(w.t.Context(), &ingestionv1.ExportRejectsRequest{Workspace: workspace, Run: w.run.String()})
	require.NoError(w.t, err)
	var out []*ingestionv1.ExportedReject
	for {
		r, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return out, err
		}
		out = append(out, r.GetRejects()...)
	}
}

func TestRejectsAreListedCountedAndExportedWithTheirRows(t *testing.T) {
	w := newWorld(t, nil)
	require.NoError(t, w.handle(w.message(w.origin(3), rejectedBatch(t))))
	counts := w.report().GetCounts()
	require.Equal(t, []int64{3, 1, 2, 1, 1}, []int64{counts.GetRead(), counts.GetRejected(), counts.GetMapped(), counts.GetCreated(), counts.GetRefused()})

	r, err := w.client.ListRejects(t.Context(), &ingestionv1.ListRejectsRequest{Run: w.run.String(), PageSize: 1})
	require.NoError(t, err)
	require.Len(t, r.GetRejects(), 1)
	require.Len(t, r.GetByReason(), 2)
	require.Equal(t, []string{"ingest", "", "no_identity"}, []string{r.GetByReason()[0].GetStage(), r.GetByReason()[0].GetColumn(), r.GetByReason()[0].GetRule()})
	require.Equal(t, []string{"map", "age", "rules[1]", "the text is no integer"},
		[]string{r.GetByReason()[1].GetStage(), r.GetByReason()[1].GetColumn(), r.GetByReason()[1].GetRule(), r.GetByReason()[1].GetReason()})
	require.EqualValues(t, 1, r.GetByReason()[1].GetRejects())
	r, err = w.client.ListRejects(t.Context(), &ingestionv1.ListRejectsRequest{Run: w.run.String(), PageSize: 1, PageToken: r.GetNextPageToken()})
	require.NoError(t, err)
	require.Len(t, r.GetRejects(), 1)
	require.Empty(t, r.GetByReason(), "on the first page only")
	require.Equal(t, []string{"7", "x"}, r.GetRejects()[0].GetKeyValues())

	rows, err := w.export("")
	require.NoError(t, err)
	require.Len(t, rows, 2)
	require.Equal(t, "ingest", rows[0].GetReject().GetStage())
	require.JSONEq(t, `{"id":null,"age":"second-secret"}`, string(rows[0].GetRow()), "the row of a refused record is kept, too")
	require.JSONEq(t, `{"id":7,"age":"third-secret"}`, string(rows[1].GetRow()))

	r, err = w.client.ListRejects(t.Context(), &ingestionv1.ListRejectsRequest{Run: w.run.String(), Workspace: "other"})
	require.NoError(t, err)
	require.Empty(t, r.GetRejects(), "another workspace's run")
	require.Empty(t, r.GetByReason())
	rows, err = w.export("other")
	require.NoError(t, err)
	require.Empty(t, rows)
}

func TestTheCommitSaysInItsSpanWhatItRefused(t *testing.T) {
	w := newWorld(t, nil)
	m := w.message(w.origin(3), rejectedBatch(t))
	require.NoError(t, w.handle(m))
	require.NoError(t, w.handle(m), "delivered again, it refuses nothing more")
	var refused []int64
	for _, s := range w.spans.Ended() {
		for _, a := range s.Attributes() {
			if a.Key == "millrace.refused" {
				refused = append(refused, a.Value.AsInt64())
			}
		}
	}
	require.Equal(t, []int64{1}, refused)
}

func TestOnlyTheRowsOfRejectsAreKept(t *testing.T) {
	w := newWorld(t, nil)
	o := w.origin(3)
	require.NoError(t, w.handle(w.message(o, rejectedBatch(t))))
	body, err := w.unseal(t.Context(), o.Batch)
	require.NoError(t, err)
	from, rows, err := wire.DecodeRows(body, 1<<20)
	require.NoError(t, err)
	require.EqualValues(t, 2, rows.Record.NumRows(), "the row of the record that was brought in is not")
	require.Equal(t, o.SnapshotTime.UTC(), from.SnapshotTime)
	require.Equal(t, o.RunNo, from.RunNo)
}

// TestNoStoreHoldsARejectedRowInTheClear looks through everything that the stores write. What is in the clear by design
// says that looking finds something.
func TestNoStoreHoldsARejectedRowInTheClear(t *testing.T) {
	url := testenv.Postgres(t)
	dir := t.TempDir()
	for name, c := range map[string]struct {
		url  string
		dump func(t *testing.T) string
	}{
		"pebble":   {"pebble:" + dir, func(t *testing.T) string { return filesOf(t, dir) }},
		"postgres": {url, func(t *testing.T) string { return tablesOf(t, url) }},
	} {
		t.Run(name, func(t *testing.T) {
			st, err := openStore(t.Context(), c.url, Settings{}, slog.New(slog.DiscardHandler))
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, st.Close()) })
			w := newWorld(t, func(store.Store) store.Store { return st })
			require.NoError(t, w.handle(w.message(w.origin(3), rejectedBatch(t))))
			rows, err := w.export("")
			require.NoError(t, err)
			require.Contains(t, string(rows[1].GetRow()), "third-secret")

			all := c.dump(t)
			require.Contains(t, all, "the text is no integer")
			for _, s := range []string{"first-secret", "second-secret", "third-secret"} {
				require.NotContains(t, all, s)
				require.NotContains(t, all, hex.EncodeToString([]byte(s)))
			}
		})
	}
}

// filesOf answers all that stands in the files of a folder; what was just written is in a log without compression.
func filesOf(t *testing.T, dir string) string {
	t.Helper()
	var all strings.Builder
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		all.Write(b)
		return err
	}))
	return all.String()
}

// tablesOf answers the text of every row of the store's tables.
func tablesOf(t *testing.T, url string) string {
	t.Helper()
	c, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	defer func() { require.NoError(t, c.Close(context.WithoutCancel(t.Context()))) }()
	texts := func(query string) []string {
		rows, err := c.Query(t.Context(), query)
		require.NoError(t, err)
		out, err := pgx.CollectRows(rows, pgx.RowTo[string])
		require.NoError(t, err)
		return out
	}
	var all []string
	for _, table := range texts(`SELECT table_name::text FROM information_schema.tables WHERE table_schema = 'millrace_store'`) {
		all = append(all, texts(fmt.Sprintf(`SELECT t::text FROM millrace_store.%s AS t`, table))...)
	}
	return strings.Join(all, "\n")
}

func TestRowsSealedWithAnotherKeySetAreToldClearly(t *testing.T) {
	w := newWorld(t, nil)
	require.NoError(t, w.handle(w.message(w.origin(3), rejectedBatch(t))))
	w.peers.end()
	var err error
	w.keys, err = secret.Open(t.Context(), "file:"+filepath.Join(t.TempDir(), "other.json"))
	require.NoError(t, err)
	_, err = w.export("")
	require.Equal(t, fault.ReasonSecretUnreadable, fault.ReasonOf(err))
	require.ErrorContains(t, err, "were sealed with another key set; start ingestion with the key set of then")
	_, err = w.client.ReplayRejects(t.Context(), &ingestionv1.ReplayRejectsRequest{Run: w.run.String()})
	require.Equal(t, fault.ReasonSecretUnreadable, fault.ReasonOf(err))
	r, err := w.client.ListRejects(t.Context(), &ingestionv1.ListRejectsRequest{Run: w.run.String()})
	require.NoError(t, err)
	require.Len(t, r.GetRejects(), 2, "what is in the clear is listed all the same")
}

func TestAReplayIsAskedForWhenThereIsSomethingToReplay(t *testing.T) {
	w := newWorld(t, nil)
	replay := func() (*schedulerv1.Run, error) {
		r, err := w.client.ReplayRejects(t.Context(), &ingestionv1.ReplayRejectsRequest{Run: w.run.String()})
		return r.GetRun(), err
	}
	_, err := replay()
	require.ErrorContains(t, err, "is still open; replay its rejects when it is over")
	w.peers.end()
	_, err = replay()
	require.ErrorContains(t, err, "has no rejects, or they have expired")

	b := rejectedBatch(t)
	b.Kept = record.Kept{}
	require.NoError(t, w.handle(w.message(w.origin(3), b)))
	_, err = replay()
	require.ErrorContains(t, err, "no row is kept of the rejects of run")
	require.Equal(t, fault.Precondition, fault.ClassOf(err))
	require.Empty(t, w.peers.triggered)

	require.NoError(t, w.handle(w.message(w.origin(3), rejectedBatch(t))))
	r, err := replay()
	require.NoError(t, err)
	require.Equal(t, w.run.String(), r.GetReplayOf())
	require.Len(t, w.peers.triggered, 1)
	require.Equal(t, schedulerv1.RunReason_RUN_REASON_REPLAY, w.peers.triggered[0].GetReason())
	require.Equal(t, "customers", w.peers.triggered[0].GetSync())

	stream, err := w.client.ReadRejectedRows(t.Context(), &ingestionv1.ReadRejectedRowsRequest{Run: w.run.String()})
	require.NoError(t, err)
	m, err := stream.Recv()
	require.NoError(t, err)
	_, rows, err := wire.DecodeRows(m.GetRows(), 1<<20)
	require.NoError(t, err)
	require.EqualValues(t, 2, rows.Record.NumRows())
	_, err = stream.Recv()
	require.ErrorIs(t, err, io.EOF, "one envelope for the batch that has rows")
}

func TestAnExportOfManyRejectsComesInBoundedMessages(t *testing.T) {
	w := newWorld(t, nil)
	const n = 1200
	b := record.Batch{Kind: record.Users, Record: usersBatch().Record}
	hashes := make([]row.Hash, n)
	var rows []string
	for i := range n {
		hashes[i] = sumOf(fmt.Sprint(i))
		b.Rejects = append(b.Rejects, record.Reject{Row: int32(i), Hash: hashes[i], Stage: record.StageMap, Rule: "rules[0]", Reason: "no number"})
		rows = append(rows, fmt.Sprintf(`{"id":%d,"age":%q}`, i, strings.Repeat("x", 3000)))
	}
	b.Kept = keptOf(t, hashes, "["+strings.Join(rows, ",")+"]")
	require.NoError(t, w.handle(w.message(w.origin(n), b)))
	stream, err := w.client.ExportRejects(t.Context(), &ingestionv1.ExportRejectsRequest{Run: w.run.String()})
	require.NoError(t, err)
	got := 0
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		size := 0
		for _, x := range m.GetRejects() {
			require.Contains(t, string(x.GetRow()), fmt.Sprintf(`"id":%d,`, got))
			size += len(x.GetRow())
			got++
		}
		require.LessOrEqual(t, size, exportBytes)
	}
	require.Equal(t, n, got)
}

// expiring is a store that has a number of old rejects and nothing else.
type expiring struct {
	store.Store
	mu     sync.Mutex
	old    int
	before []time.Time
	fails  int
}

// seen answers how many old rejects are left, and what was asked for so far.
func (e *expiring) seen() (old int, before []time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.old, slices.Clone(e.before)
}

func (e *expiring) more(n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.old += n
}

func (e *expiring) Expire(_ context.Context, before time.Time, limit int) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.fails > 0 {
		e.fails--
		return 0, fault.New(fault.Unavailable, fault.ReasonStoreUnavailable, "away")
	}
	e.before = append(e.before, before)
	n := min(e.old, limit)
	e.old -= n
	return n, nil
}

func TestOldRejectsAreRemovedFromTimeToTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := &expiring{old: 2500, fails: 1}
		s := &Service{log: slog.New(slog.DiscardHandler), store: st, settings: Settings{KeepRejects: 30 * 24 * time.Hour}}
		ctx, stop := context.WithCancel(t.Context())
		start, done := time.Now(), make(chan struct{})
		go func() { defer close(done); s.expire(ctx) }()
		synctest.Wait()
		old, _ := st.seen()
		require.Equal(t, 2500, old, "the store was away")
		<-time.After(expireEvery + time.Second)
		synctest.Wait()
		old, before := st.seen()
		require.Zero(t, old)
		require.Len(t, before, 3, "in steps")
		require.Equal(t, start.Add(expireEvery-30*24*time.Hour), before[0])
		st.more(1)
		<-time.After(expireEvery)
		synctest.Wait()
		old, _ = st.seen()
		require.Zero(t, old)
		stop()
		<-done
	})
}
