package schedule

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"time"
)

// Limit is at most N in every span of Per.
type Limit struct {
	N   int
	Per time.Duration
}

// IsZero says whether there is no limit.
func (l Limit) IsZero() bool { return l == Limit{} }

var (
	errEvery = errors.New("not an interval; write hourly, daily, weekly, monthly or a duration such as 15m, 2h or 1d")
	errLimit = errors.New("not a limit; write a count from 1 to 10000 and a span, such as 5/h, 100/d or 10/15m")
)

const (
	day      = 24 * time.Hour
	maxLimit = 10_000
)

// ParseLimit reads a count and a span: 5/h, 100/d, 10/15m. The empty text is no limit.
func ParseLimit(s string) (Limit, error) {
	if s == "" {
		return Limit{}, nil
	}
	count, span, ok := strings.Cut(s, "/")
	n, err := strconv.ParseInt(count, 10, 32)
	if !ok || err != nil || n < 1 || n > maxLimit || count[0] == '+' {
		return Limit{}, errLimit
	}
	if span != "" && (span[0] < '0' || span[0] > '9') {
		span = "1" + span
	}
	per, err := duration(span)
	if err != nil {
		return Limit{}, errLimit
	}
	return Limit{N: int(n), Per: per}, nil
}

// parseStep reads an interval of fixed length.
func parseStep(every string) (time.Duration, error) {
	switch every {
	case "hourly":
		return time.Hour, nil
	case "daily":
		return day, nil
	case "weekly":
		return 7 * day, nil
	}
	d, err := duration(every)
	if err != nil {
		return 0, errEvery
	}
	return d, nil
}

// duration reads one or more whole numbers with a unit of s, m, h or d, more than nothing in all.
func duration(s string) (time.Duration, error) {
	var total time.Duration
	for s != "" {
		n := strings.IndexFunc(s, func(r rune) bool { return r < '0' || r > '9' })
		if n <= 0 {
			return 0, errEvery
		}
		count, err := strconv.ParseInt(s[:n], 10, 64)
		each := map[byte]time.Duration{'s': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': day}[s[n]]
		if err != nil || each == 0 || count > int64((math.MaxInt64-total)/each) {
			return 0, errEvery
		}
		total += time.Duration(count) * each
		s = s[n+1:]
	}
	if total <= 0 || total > maxSpan {
		return 0, errEvery
	}
	return total, nil
}
