package extractor

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
	"millrace.dev/pkg/fault"
)

// TestOnlyAWarehouseThatDoesNotAnswerIsCalledUnreachable holds what opens a breaker: not the broker, not the control
// tables, not a query that the warehouse has ended.
func TestOnlyAWarehouseThatDoesNotAnswerIsCalledUnreachable(t *testing.T) {
	const (
		neither     = schedulerv1.FailureClass_FAILURE_CLASS_UNSPECIFIED
		throttled   = schedulerv1.FailureClass_FAILURE_CLASS_THROTTLED
		unreachable = schedulerv1.FailureClass_FAILURE_CLASS_UNAVAILABLE
	)
	for _, c := range []struct {
		class  fault.Class
		reason fault.Reason
		want   schedulerv1.FailureClass
	}{
		{fault.Throttled, fault.ReasonWarehouseThrottled, throttled},
		{fault.Unavailable, fault.ReasonWarehouseUnavailable, unreachable},
		{fault.Unavailable, fault.ReasonWarehouseLocked, unreachable},
		{fault.Unavailable, fault.ReasonQueryInterrupted, neither},
		{fault.Unavailable, fault.ReasonSourceChanged, neither},
		{fault.Unavailable, fault.ReasonBrokerUnavailable, neither},
		{fault.Unavailable, fault.ReasonStoreUnavailable, neither},
		{fault.Unavailable, fault.ReasonServiceUnavailable, neither},
		{fault.Denied, fault.ReasonWarehouseDenied, neither},
		{fault.Precondition, fault.ReasonWarehouseUnavailable, neither},
		{fault.Internal, fault.ReasonInternal, neither},
	} {
		err := fmt.Errorf("read: %w", fault.New(c.class, c.reason, "it went wrong"))
		require.Equal(t, c.want, failureOf(fault.As(err)), "%s %s", c.class, c.reason)
	}
}
