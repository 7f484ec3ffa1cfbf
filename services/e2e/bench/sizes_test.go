//go:build cgo && duckdb_arrow

package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSizes(t *testing.T) {
	got, err := parseSizes("1500,200k,2M")
	require.NoError(t, err)
	require.Equal(t, []int64{1500, 200_000, 2_000_000}, got)
	for _, n := range got {
		again, err := parseSizes(sizeText(n))
		require.NoError(t, err)
		require.Equal(t, []int64{n}, again)
	}
	for _, text := range []string{"", "2m", "0", "-1M", "2M,"} {
		_, err := parseSizes(text)
		require.ErrorContains(t, err, "is no size", text)
	}
}
