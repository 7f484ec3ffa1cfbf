package pebble_test

import (
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/stretchr/testify/require"
	"github.com/zeebo/xxh3"

	"millrace.dev/pkg/id"
	"millrace.dev/pkg/profile"
	"millrace.dev/pkg/record"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/row"
	"millrace.dev/pkg/store/pebble"
)

const batchRows = 16 << 10

// scatter spreads numbers over all of their width, one to one.
func scatter(n uint64) uint64 {
	n ^= n >> 31
	n *= 0x7fb5d329728ea185
	n ^= n >> 27
	n *= 0x81dadef4bc2dd44d
	return n ^ n>>33
}

// benchUsers answers batch number n of a table of users: two scattered identities and seven attributes a row.
func benchUsers(n int, version uint64) record.Batch {
	mem := memory.DefaultAllocator
	var keys, hashes, records []byte
	positions, late := array.NewInt32Builder(mem), array.NewBooleanBuilder(mem)
	times := array.NewTimestampBuilder(mem, &arrow.TimestampType{Unit: arrow.Nanosecond, TimeZone: "UTC"})
	keyValues, customer, email := array.NewStringBuilder(mem), array.NewStringBuilder(mem), array.NewStringBuilder(mem)
	texts := make([]*array.StringBuilder, 4)
	for i := range texts {
		texts[i] = array.NewStringBuilder(mem)
	}
	ltv, visits, active := array.NewFloat64Builder(mem), array.NewInt64Builder(mem), array.NewBooleanBuilder(mem)
	var b [16]byte
	for i := range batchRows {
		x := n*batchRows + i
		who := strconv.FormatUint(scatter(uint64(x)), 36)
		binary.LittleEndian.PutUint64(b[:], uint64(x))
		k := xxh3.Hash128(b[:8]).Bytes()
		binary.LittleEndian.PutUint64(b[8:], version)
		h := xxh3.Hash128(b[:]).Bytes()
		keys, hashes, records = append(keys, k[:]...), append(hashes, h[:]...), append(records, h[:]...)
		positions.Append(int32(i))
		late.Append(false)
		times.Append(arrow.Timestamp(1_700_000_000_000_000_000 + int64(x)*1e6 + int64(version)))
		keyValues.Append(who)
		customer.Append(who)
		email.Append("user" + who + "@example.com")
		texts[0].Append("First" + strconv.Itoa(x%1000))
		texts[1].Append("Last" + strconv.Itoa(x%5000))
		texts[2].Append([]string{"London", "Paris", "Berlin", "Madrid", "Rome"}[x%5])
		texts[3].Append([]string{"free", "pro", "enterprise"}[x%3])
		ltv.Append(float64(x%100000) / 100)
		visits.Append(int64(x % 500))
		active.Append(x%2 == 0)
	}
	ids := structOf([]string{"customer_id", "email"}, customer.NewArray(), email.NewArray())
	body := structOf([]string{"$firstname", "$lastname", "$city", "plan", "ltv", "visits", "active"},
		texts[0].NewArray(), texts[1].NewArray(), texts[2].NewArray(), texts[3].NewArray(), ltv.NewArray(), visits.NewArray(), active.NewArray())
	cols := []arrow.Array{
		positions.NewArray(), row.Fixed16(keys), row.Fixed16(hashes), row.Fixed16(records), times.NewArray(), late.NewArray(),
		keyValues.NewArray(), ids, body,
	}
	fields := make([]arrow.Field, len(cols))
	for i, c := range cols {
		fields[i] = arrow.Field{Name: strconv.Itoa(i), Type: c.DataType(), Nullable: true}
	}
	return record.Batch{Kind: record.Users, Record: array.NewRecordBatch(arrow.NewSchema(fields, nil), cols, batchRows)}
}

// benchEvents answers batch number n of a table of events: of a hundred thousand people, ten fields each.
func benchEvents(n int, version uint64) record.Batch {
	users := benchUsers(n, version).Record
	mem := memory.DefaultAllocator
	customer, typ, name := array.NewStringBuilder(mem), array.NewStringBuilder(mem), array.NewStringBuilder(mem)
	at := array.NewInt64Builder(mem)
	for i := range batchRows {
		x := n*batchRows + i
		customer.Append("customer-" + strconv.FormatUint(scatter(uint64(x))%100_000, 10))
		typ.Append("custom_event")
		name.Append([]string{"viewed", "added", "bought"}[x%3])
		at.Append(1_700_000_000_000 + int64(x))
	}
	cols := append([]arrow.Array{}, users.Columns()...)
	cols[record.PosIdentities] = structOf([]string{"customer_id"}, customer.NewArray())
	data := structOf([]string{"event_name", "timestamp_unixtime_ms", "custom_attributes"}, name.NewArray(), at.NewArray(), cols[record.PosBody])
	cols[record.PosBody] = structOf([]string{"event_type", "data"}, typ.NewArray(), data)
	fields := make([]arrow.Field, len(cols))
	for i, c := range cols {
		fields[i] = arrow.Field{Name: strconv.Itoa(i), Type: c.DataType(), Nullable: true}
	}
	return record.Batch{Kind: record.Events, Record: array.NewRecordBatch(arrow.NewSchema(fields, nil), cols, batchRows)}
}

func structOf(names []string, cols ...arrow.Array) arrow.Array {
	fields := make([]arrow.Field, len(cols))
	data := make([]arrow.ArrayData, len(cols))
	for i, c := range cols {
		fields[i] = arrow.Field{Name: names[i], Type: c.DataType(), Nullable: true}
		data[i] = c.Data()
	}
	return array.NewStructData(array.NewData(arrow.StructOf(fields...), cols[0].Len(), []*memory.Buffer{nil}, data, 0, 0))
}

func benchOrigin(run int64, seq int) record.Origin {
	o := record.Origin{
		Workspace: id.DefaultWorkspace, SyncID: "customers", SyncVersion: 1, RunNo: run, SnapshotTime: time.Unix(1_800_000_000, 0),
		Rows: batchRows, Last: true, Model: "customers", Provider: "duckdb",
	}
	o.Sync[0], o.Batch.Run[0], o.Batch.Run[15], o.Batch.Part, o.Batch.Epoch, o.Batch.Seq = 7, 9, byte(run), 1, 1, uint32(seq)
	return o
}

const ofThread = 1 // RUSAGE_THREAD

// cpu answers the processor time of the process, or of the thread: on a shared machine the only times that mean anything.
func cpu(who int) time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(who, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// rss answers the process's peak of resident memory in MiB, from the system's own account.
func rss(b *testing.B) float64 {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(text), "VmHWM:")
	var kib float64
	_, err = fmt.Sscan(rest, &kib)
	require.NoError(b, err)
	return kib / 1024
}

func benchScope() profile.Scope {
	return profile.Scope{Workspace: id.DefaultWorkspace, Environment: resource.Prod}
}

// load times Look, Decide and Commit of one batch an iteration. CPU is of the whole process, flushes and compactions
// included, less what making the batches takes.
func load(b *testing.B, s *pebble.Store, table func(n int, version uint64) record.Batch, run int64, batches int, version uint64) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	c0 := cpu(syscall.RUSAGE_SELF)
	for n := range 8 {
		table(n, 0)
	}
	making := (cpu(syscall.RUSAGE_SELF) - c0) / (8 * batchRows)
	var look, decide, commit time.Duration
	n := 0
	c0 = cpu(syscall.RUSAGE_SELF)
	b.ResetTimer()
	for b.Loop() {
		b.StopTimer()
		batch := table(n%batches, version*uint64(1+n/batches))
		b.StartTimer()
		t0 := cpu(ofThread)
		k := profile.KeysOf(batch, benchOrigin(run, n), benchScope(), profile.Rules{})
		st, err := s.Look(b.Context(), k)
		require.NoError(b, err)
		t1 := cpu(ofThread)
		e := profile.Decide(batch, k, st, profile.Rules{})
		t2 := cpu(ofThread)
		_, err = s.Commit(b.Context(), e)
		require.NoError(b, err)
		look, decide, commit = look+t1-t0, decide+t2-t1, commit+cpu(ofThread)-t2
		n++
	}
	b.StopTimer()
	rows := float64(n * batchRows)
	b.ReportMetric(float64((cpu(syscall.RUSAGE_SELF)-c0).Nanoseconds())/rows-float64(making), "cpu-ns/row")
	b.ReportMetric(float64(look.Nanoseconds())/rows, "look-ns/row")
	b.ReportMetric(float64(decide.Nanoseconds())/rows, "decide-ns/row")
	b.ReportMetric(float64(commit.Nanoseconds())/rows, "commit-ns/row")
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/rows, "ns/row")
	b.ReportMetric(rss(b), "rss-MiB")
	b.ReportMetric(0, "ns/op")
	total := s.Metrics().Total()
	b.ReportMetric(total.WriteAmp(), "write-amp")
	if testing.Verbose() {
		b.Log("\n" + s.Metrics().String())
	}
}

func openBench(b *testing.B) *pebble.Store {
	s, err := pebble.Open(b.Context(), b.TempDir(), pebble.Options{})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, s.Close()) })
	return s
}

// BenchmarkNewRows loads users that are all new; an iteration is a batch of 16,384 rows.
func BenchmarkNewRows(b *testing.B) {
	load(b, openBench(b), benchUsers, 1, math.MaxInt32, 0)
}

// BenchmarkNewEvents loads events that are all new, of people who come again and again.
func BenchmarkNewEvents(b *testing.B) {
	load(b, openBench(b), benchEvents, 1, math.MaxInt32, 0)
}

// BenchmarkUnchangedRows ingests again, batch after batch, what a load of 1,048,576 rows has left: all of it is looked up
// and nothing is written.
func BenchmarkUnchangedRows(b *testing.B) {
	s := openBench(b)
	const batches = 64
	fill(b, s, batches)
	load(b, s, benchUsers, 2, batches, 0)
}

// BenchmarkUpdatedRows ingests new versions of the same rows.
func BenchmarkUpdatedRows(b *testing.B) {
	s := openBench(b)
	const batches = 64
	fill(b, s, batches)
	load(b, s, benchUsers, 2, batches, 1)
}

func fill(b *testing.B, s *pebble.Store, batches int) {
	b.Helper()
	for n := range batches {
		batch := benchUsers(n, 0)
		k := profile.KeysOf(batch, benchOrigin(1, n), benchScope(), profile.Rules{})
		st, err := s.Look(b.Context(), k)
		require.NoError(b, err)
		_, err = s.Commit(b.Context(), profile.Decide(batch, k, st, profile.Rules{}))
		require.NoError(b, err)
	}
}
