package resource

import (
	"errors"
	"math"
	"strconv"
	"time"
)

var errDuration = errors.New("not a duration; write a whole number and a unit, such as 90s, 10m, 2h or 7d")

// unit answers the length of a duration's unit, 0 where there is no such unit.
func unit(s string) time.Duration {
	switch s {
	case "ns":
		return time.Nanosecond
	case "us":
		return time.Microsecond
	case "ms":
		return time.Millisecond
	case "s":
		return time.Second
	case "m":
		return time.Minute
	case "h":
		return time.Hour
	case "d":
		return 24 * time.Hour
	default:
		return 0
	}
}

// ParseDuration reads a duration such as 90s, 10m, 2h, 7d or 1h30m: whole numbers with a unit (ns us ms s m h d), none
// of them negative, or a bare 0. A day has 24 hours.
func ParseDuration(s string) (time.Duration, error) {
	if s == "0" {
		return 0, nil
	}
	if s == "" {
		return 0, errDuration
	}
	var total time.Duration
	for s != "" {
		n := span(s, func(c byte) bool { return c >= '0' && c <= '9' })
		u := n + span(s[n:], func(c byte) bool { return c >= 'a' && c <= 'z' })
		count, err := strconv.ParseInt(s[:n], 10, 64)
		each := unit(s[n:u])
		if err != nil || each == 0 || count > int64((math.MaxInt64-total)/each) {
			return 0, errDuration
		}
		total += time.Duration(count) * each
		s = s[u:]
	}
	return total, nil
}

// span answers how many leading bytes of s satisfy f.
func span(s string, f func(byte) bool) int {
	for i := range len(s) {
		if !f(s[i]) {
			return i
		}
	}
	return len(s)
}

// FormatDuration answers d in its largest whole unit, as ParseDuration reads it; "" for zero and below.
func FormatDuration(d time.Duration) string {
	if d <= 0 {
		return ""
	}
	for _, u := range []string{"d", "h", "m", "s", "ms", "us"} {
		if d%unit(u) == 0 {
			return strconv.FormatInt(int64(d/unit(u)), 10) + u
		}
	}
	return strconv.FormatInt(int64(d), 10) + "ns"
}
