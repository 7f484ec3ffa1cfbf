package profile_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/profile"
	"millrace.dev/pkg/record"
	"millrace.dev/pkg/record/recordtest"
)

type fixed = *array.FixedSizeBinary

const benchRows = 4096

// benchBatch has two identities and seven attributes a row.
func benchBatch() record.Batch {
	rows := make([]recordtest.Row, benchRows)
	for i := range rows {
		who := fmt.Sprintf("%x", uint32(i)*2654435761)
		rows[i] = recordtest.Row{
			Key: who, Time: time.Unix(int64(i), 0), Identities: map[string]string{"customer_id": who, "email": who + "@example.com"},
			Attributes: map[string]any{
				"first_name": fmt.Sprint("First", i%1000), "last_name": fmt.Sprint("Last", i%5000), "city": "London", "plan": "pro",
				"ltv": float64(i) / 100, "visits": i % 500, "active": i%2 == 0,
			},
		}
	}
	return recordtest.Batch(record.Users, rows, recordtest.Options{})
}

// BenchmarkDecide decides on rows that are all new, and on the same rows when they are known.
func BenchmarkDecide(b *testing.B) {
	batch, m := benchBatch(), newModel()
	k := profile.KeysOf(batch, origin(1, 1, 1, 0), scope(), profile.Rules{})
	fresh := m.look(k)
	m.commit(b, profile.Decide(batch, k, fresh, profile.Rules{}))
	known := m.look(profile.KeysOf(batch, origin(2, 1, 1, 0), scope(), profile.Rules{}))
	for name, st := range map[string]profile.State{"new": fresh, "unchanged": known} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				profile.Decide(batch, k, st, profile.Rules{})
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*benchRows), "ns/row")
		})
	}
}

// TestAllocations: what Decide allocates does not grow with rows, but for its few large slices.
func TestAllocations(t *testing.T) {
	batch := benchBatch()
	k := profile.KeysOf(batch, origin(1, 1, 1, 0), scope(), profile.Rules{})
	st := newModel().look(k)
	n := testing.AllocsPerRun(5, func() { profile.Decide(batch, k, st, profile.Rules{}) })
	require.LessOrEqual(t, n/benchRows, 0.05, "allocations a row")
	n = testing.AllocsPerRun(5, func() { profile.KeysOf(batch, origin(1, 1, 1, 0), scope(), profile.Rules{}) })
	require.LessOrEqual(t, n, 60.0)
	n = testing.AllocsPerRun(100, func() { profile.Derive(scope(), "email", "somebody@example.com", 0) })
	require.Zero(t, n)
}
