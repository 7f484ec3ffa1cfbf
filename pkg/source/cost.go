package source

import (
	"context"

	"millrace.dev/pkg/fault"
)

// Cost is what queries cost, as far as the warehouse says it. What it does not say is nil, which is not zero.
type Cost struct {
	BytesScanned *int64 // that the queries went through
	BytesBilled  *int64 // that they are billed for: rounded up, say, or none where the warehouse had the result
}

// IsZero says whether nothing is known.
func (c Cost) IsZero() bool { return c == Cost{} }

// Add answers what both cost together, as far as it is known of either.
func (c Cost) Add(d Cost) Cost {
	return Cost{BytesScanned: addKnown(c.BytesScanned, d.BytesScanned), BytesBilled: addKnown(c.BytesBilled, d.BytesBilled)}
}

func addKnown(a, b *int64) *int64 {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	sum := *a + *b
	return &sum
}

// Meter is the power of a source whose warehouse says what queries cost. Both methods are of the queries of this source
// since it was opened; they only grow, and may be called at any time, also beside reads.
type Meter interface {
	// Estimated answers what the queries were estimated to cost before they ran, those apart that were refused for it.
	Estimated() Cost
	// Cost answers what the queries cost that ran to their end. A source that reads the same rows again pays again.
	Cost() Cost
}

// Estimator is the power of a source whose warehouse estimates what a query would cost, without running it and for nothing.
type Estimator interface {
	// Estimate answers what reading all rows of q's model would cost; q's range, bounds and limit are not looked at. No Meter
	// counts it.
	Estimate(ctx context.Context, q Query) (Cost, error)
}

// Within is nil where queries that are estimated to go through so many bytes stay within Query.MaxBytesScanned, else the
// fault that refuses them (Precondition BUDGET_EXCEEDED).
func (q Query) Within(estimate int64) error {
	if q.MaxBytesScanned <= 0 || estimate <= q.MaxBytesScanned {
		return nil
	}
	return fault.New(fault.Precondition, fault.ReasonBudgetExceeded,
		"the run is estimated to scan %d bytes, and budget.bytes_scanned of its sync is %d; raise it, or read less: fewer columns, a partition, an incremental sync",
		estimate, q.MaxBytesScanned)
}
