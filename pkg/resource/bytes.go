package resource

import (
	"errors"
	"math"
	"strconv"
)

var errBytes = errors.New("not a size; write a whole number and a unit, such as 500MB, 10GB or 2TiB")

// sizes are the units of sizes, the largest first.
//
//nolint:gochecknoglobals // never changed
var sizes = []struct {
	unit  string
	bytes int64
}{
	{"TiB", 1 << 40}, {"TB", 1e12}, {"GiB", 1 << 30}, {"GB", 1e9}, {"MiB", 1 << 20}, {"MB", 1e6}, {"KiB", 1 << 10}, {"KB", 1e3}, {"B", 1},
}

// ParseBytes reads a size such as 500MB, 10GB or 2TiB: a whole number with a unit (B KB MB GB TB by thousands, KiB MiB GiB
// TiB by 1,024), or a bare number of bytes. It is not negative.
func ParseBytes(s string) (int64, error) {
	n := span(s, func(c byte) bool { return c >= '0' && c <= '9' })
	count, err := strconv.ParseInt(s[:n], 10, 64)
	if err != nil {
		return 0, errBytes
	}
	if s[n:] == "" {
		return count, nil
	}
	for _, u := range sizes {
		if u.unit == s[n:] && count <= math.MaxInt64/u.bytes {
			return count * u.bytes, nil
		}
	}
	return 0, errBytes
}

// FormatBytes answers a size in its largest whole unit, as ParseBytes reads it; "" for zero and below.
func FormatBytes(n int64) string {
	if n <= 0 {
		return ""
	}
	for _, u := range sizes {
		if n%u.bytes == 0 {
			return strconv.FormatInt(n/u.bytes, 10) + u.unit
		}
	}
	return ""
}
