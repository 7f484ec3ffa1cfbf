package resource_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"millrace.dev/pkg/resource"
)

func TestSizes(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "17": 17, "17B": 17, "500MB": 500_000_000, "10GB": 10_000_000_000, "2TiB": 2 << 40, "1KiB": 1024, "9223372036854775807": math.MaxInt64,
	} {
		got, err := resource.ParseBytes(text)
		require.NoError(t, err, text)
		require.Equal(t, want, got, text)
	}
	for _, text := range []string{"", "GB", "-1", "-1GB", "1.5GB", "1 GB", "1gb", "1GBs", "9223372036854775808", "9223373TB"} {
		_, err := resource.ParseBytes(text)
		require.Error(t, err, text)
	}
	require.Equal(t, "10GB", resource.FormatBytes(10_000_000_000))
	require.Equal(t, "1536KiB", resource.FormatBytes(3<<19))
	require.Empty(t, resource.FormatBytes(0))
}

func TestSizesAreReadAsTheyAreWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Int64Range(1, math.MaxInt64).Draw(t, "n")
		got, err := resource.ParseBytes(resource.FormatBytes(n))
		require.NoError(t, err)
		require.Equal(t, n, got)
	})
}

func TestABudgetThatNobodyCanEstimateIsSaid(t *testing.T) {
	s := resource.Snapshot{Sync: resource.Sync{Mode: resource.Full, Budget: resource.Budget{BytesScanned: 1}}}
	s.Connection.DuckDB = &resource.DuckDB{}
	require.Equal(t, []string{"budget is not used: connections of duckdb do not estimate what a query scans, only those of bigquery"}, s.Notes())
	s.Connection = resource.Connection{BigQuery: &resource.BigQuery{}}
	require.Empty(t, s.Notes())
}
