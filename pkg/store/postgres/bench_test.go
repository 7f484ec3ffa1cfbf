package postgres_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/stretchr/testify/require"
	"github.com/zeebo/xxh3"
	"golang.org/x/sync/errgroup"

	"millrace.dev/pkg/profile"
	"millrace.dev/pkg/record"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/store/postgres"
	"millrace.dev/pkg/testenv"
)

const batchRows = 16 << 10

// users answers batch number n of a table of users: two identities and seven attributes a row.
func users(n int) record.Batch {
	mem := memory.DefaultAllocator
	b16 := &arrow.FixedSizeBinaryType{ByteWidth: 16}
	names := []string{"first", "last", "city", "plan"}
	ids := arrow.StructOf(
		arrow.Field{Name: "customer_id", Type: arrow.BinaryTypes.String, Nullable: true},
		arrow.Field{Name: "email", Type: arrow.BinaryTypes.String, Nullable: true})
	attributes := make([]arrow.Field, 0, 7)
	for _, a := range names {
		attributes = append(attributes, arrow.Field{Name: a, Type: arrow.BinaryTypes.String, Nullable: true})
	}
	for _, a := range []string{"ltv", "visits", "age"} {
		attributes = append(attributes, arrow.Field{Name: a, Type: arrow.PrimitiveTypes.Int64, Nullable: true})
	}
	schema := arrow.NewSchema([]arrow.Field{
		{Name: record.ColumnRow, Type: arrow.PrimitiveTypes.Int32},
		{Name: record.ColumnKey, Type: b16},
		{Name: record.ColumnHash, Type: b16},
		{Name: record.ColumnRecordHash, Type: b16},
		{Name: record.ColumnTime, Type: &arrow.TimestampType{Unit: arrow.Nanosecond, TimeZone: "UTC"}, Nullable: true},
		{Name: record.ColumnBelowLow, Type: arrow.FixedWidthTypes.Boolean},
		{Name: record.ColumnKeyValues, Type: arrow.BinaryTypes.String},
		{Name: record.ColumnIdentities, Type: ids},
		{Name: record.ColumnAttributes, Type: arrow.StructOf(attributes...)},
	}, nil)
	rb := array.NewRecordBuilder(mem, schema)
	defer rb.Release()
	for i := range batchRows {
		x := n*batchRows + i
		var k [8]byte
		binary.BigEndian.PutUint64(k[:], uint64(x))
		for c, seed := range []uint64{1, 2, 3} {
			h := xxh3.Hash128Seed(k[:], seed).Bytes()
			rb.Field(1 + c).(*array.FixedSizeBinaryBuilder).Append(h[:])
		}
		rb.Field(0).(*array.Int32Builder).Append(int32(i))
		rb.Field(4).(*array.TimestampBuilder).Append(arrow.Timestamp(1_700_000_000_000_000_000 + int64(x)))
		rb.Field(5).(*array.BooleanBuilder).Append(false)
		rb.Field(6).(*array.StringBuilder).Append(fmt.Sprint(x))
		is := rb.Field(7).(*array.StructBuilder)
		is.Append(true)
		is.FieldBuilder(0).(*array.StringBuilder).Append(fmt.Sprint(x))
		is.FieldBuilder(1).(*array.StringBuilder).Append(fmt.Sprintf("u%d@example.com", x))
		as := rb.Field(8).(*array.StructBuilder)
		as.Append(true)
		for f := range names {
			as.FieldBuilder(f).(*array.StringBuilder).Append(fmt.Sprintf("value %d", (x+f)%1000))
		}
		for f := range 3 {
			as.FieldBuilder(len(names) + f).(*array.Int64Builder).Append(int64(x % (100 * (f + 1))))
		}
	}
	return record.Batch{Kind: record.Users, Record: rb.NewRecordBatch()}
}

// BenchmarkUsers brings new users in as two workers do: row index, two identities and a profile a row. cpu-µs/row is
// what this process takes of it, look and commit are a worker's waits.
func BenchmarkUsers(b *testing.B) {
	s := open(b, testenv.Postgres(b))
	o := origin()
	scope := profile.Scope{Workspace: "default", Environment: resource.Prod}
	var batches []record.Batch
	for n := range b.N {
		batches = append(batches, users(n))
	}
	var next, look, commit atomic.Int64
	before := cpu(b)
	b.ResetTimer()
	var g errgroup.Group
	for range 2 {
		g.Go(func() error {
			for n := next.Add(1) - 1; n < int64(b.N); n = next.Add(1) - 1 {
				o := o
				o.Batch.Seq = uint32(n)
				if err := bring(b.Context(), s, o, scope, batches[n], &look, &commit); err != nil {
					return err
				}
			}
			return nil
		})
	}
	require.NoError(b, g.Wait())
	rows := float64(b.N * batchRows)
	b.ReportMetric(rows/b.Elapsed().Seconds(), "rows/s")
	b.ReportMetric(float64((cpu(b)-before).Microseconds())/rows, "cpu-µs/row")
	b.ReportMetric(float64(look.Load())/rows/1e3, "look-µs/row")
	b.ReportMetric(float64(commit.Load())/rows/1e3, "commit-µs/row")
	b.ReportMetric(0, "ns/op")
}

func bring(ctx context.Context, s *postgres.Store, o record.Origin, scope profile.Scope, batch record.Batch, look, commit *atomic.Int64) error {
	keys := profile.KeysOf(batch, o, scope, profile.Rules{})
	t := time.Now()
	st, err := s.Look(ctx, keys)
	if err != nil {
		return err
	}
	look.Add(int64(time.Since(t)))
	e := profile.Decide(batch, keys, st, profile.Rules{})
	t = time.Now()
	_, err = s.Commit(ctx, e)
	commit.Add(int64(time.Since(t)))
	return err
}

// cpu answers the processor time that this process has used.
func cpu(tb testing.TB) time.Duration {
	var u syscall.Rusage
	require.NoError(tb, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
