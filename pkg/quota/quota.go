// Package quota is the seam to counters that the replicas of a service share: how often something may happen in a time.
// Drivers stand in folders below; package quotatest holds the suite that each of them passes.
package quota

import (
	"context"
	"time"

	"millrace.dev/pkg/fault"
)

// MaxLimit is the largest limit; a driver may remember each take.
const MaxLimit = 10_000

// Limiter counts takes. Safe for concurrent use, by any number of processes where the driver is shared.
type Limiter interface {
	// Take takes one of the `limit` that key may have in any span of the length `per` (a sliding window). Where there is
	// none left it takes nothing and answers how long to wait for the next. The decision is atomic. Limit and length may
	// change from call to call; what was taken before counts. STORE_UNAVAILABLE where the counters can not be reached.
	Take(ctx context.Context, key string, limit int, per time.Duration) (ok bool, retryAfter time.Duration, err error)
	// Close frees what the driver opened. No Take may be under way.
	Close() error
}

// Check answers INVALID_ARGUMENT for a limit that no driver can hold.
func Check(limit int, per time.Duration) error {
	if limit < 1 || limit > MaxLimit || per < time.Millisecond {
		return fault.New(fault.Invalid, fault.ReasonInvalidArgument, "a limit is 1 to %d in at least a millisecond, not %d in %s", MaxLimit, limit, per)
	}
	return nil
}
