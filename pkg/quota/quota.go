// Package quota is the seam to limits that processes share: at most so many in every span of time, by key. Drivers stand
// in folders below; package quotatest holds the suite that each of them passes.
package quota

import (
	"context"
	"time"
)

// Limiter counts what is taken. Safe for concurrent use.
type Limiter interface {
	// Take takes one under key and answers 0, unless n were taken within the last `per`: then it takes nothing and
	// answers how long until one fits. n and per are at least 1. Unavailable where the counters cannot be reached;
	// then it may have taken one or not.
	Take(ctx context.Context, key string, n int, per time.Duration) (wait time.Duration, err error)
	// Close frees what the limiter holds. No other call may be under way.
	Close() error
}
