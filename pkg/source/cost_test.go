package source_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/source"
)

func TestWhatIsNotKnownOfACostIsNotZero(t *testing.T) {
	n := func(v int64) *int64 { return &v }
	require.True(t, source.Cost{}.Add(source.Cost{}).IsZero())
	require.False(t, source.Cost{BytesScanned: n(0)}.IsZero())
	a, b := source.Cost{BytesScanned: n(5)}, source.Cost{BytesScanned: n(7), BytesBilled: n(10)}
	for _, sum := range []source.Cost{a.Add(b), b.Add(a)} {
		require.EqualValues(t, 12, *sum.BytesScanned)
		require.EqualValues(t, 10, *sum.BytesBilled)
	}
	require.EqualValues(t, 5, *a.BytesScanned, "what is added to stays as it is")
	require.Nil(t, a.Add(a).BytesBilled)
}

func TestABudgetRefusesWithTheEstimate(t *testing.T) {
	require.NoError(t, source.Query{}.Within(1<<60), "no bound")
	q := source.Query{MaxBytesScanned: 1000}
	require.NoError(t, q.Within(1000))
	err := q.Within(1001)
	require.Equal(t, fault.Precondition, fault.ClassOf(err))
	require.Equal(t, fault.ReasonBudgetExceeded, fault.ReasonOf(err))
	require.ErrorContains(t, err, "scan 1001 bytes")
	require.ErrorContains(t, err, "is 1000;")
}
