//go:build cgo && duckdb_arrow

package main

import (
	"fmt"
	"strconv"
	"strings"
)

// parseSizes reads numbers of rows such as 200k, 2M and 1500.
func parseSizes(text string) ([]int64, error) {
	var out []int64
	for word := range strings.SplitSeq(text, ",") {
		digits, unit := word, int64(1)
		for suffix, factor := range map[string]int64{"k": 1_000, "M": 1_000_000} {
			if rest, ok := strings.CutSuffix(word, suffix); ok {
				digits, unit = rest, factor
			}
		}
		n, err := strconv.ParseInt(digits, 10, 32)
		if err != nil || n <= 0 {
			return nil, fmt.Errorf("%q is no size; write numbers of rows such as 200k,2M", word) //nolint:err113 // for people
		}
		out = append(out, n*unit)
	}
	return out, nil
}

// sizeText writes a number of rows as parseSizes reads it.
func sizeText(n int64) string {
	switch {
	case n%1_000_000 == 0:
		return fmt.Sprintf("%dM", n/1_000_000)
	case n%1_000 == 0:
		return fmt.Sprintf("%dk", n/1_000)
	default:
		return strconv.FormatInt(n, 10)
	}
}
