package fault_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	faultv1 "millrace.dev/gen/millrace/fault/v1"
	"millrace.dev/pkg/fault"
)

func TestEveryClassAndReasonTravelsThereAndBack(t *testing.T) {
	for c := fault.Internal; c <= fault.Cancelled; c++ {
		for n := range faultv1.Reason_name {
			if n == 0 {
				continue
			}
			in := fault.New(c, fault.Reason(n), "table %s is gone", "t").WithRetry(time.Second).With("run", "r1")
			in.Field = "sql"
			out := fault.As(fault.FromStatus(fault.ToStatus(in)))
			require.Equal(t, c, out.Class)
			require.Equal(t, fault.Reason(n), out.Reason)
			require.Equal(t, time.Second, out.RetryAfter)
			require.Equal(t, "sql", out.Field)
			require.Equal(t, map[string]string{"run": "r1"}, out.Metadata)
			if c != fault.Internal || out.Reason != fault.ReasonInternal {
				require.Equal(t, in.Message, out.Message)
			}
		}
	}
}

func TestEveryReasonHasAWord(t *testing.T) {
	for n := range faultv1.Reason_name {
		if n == 0 {
			continue
		}
		r := fault.Reason(n)
		require.Equal(t, r, fault.ParseReason(r.Word()))
		require.Equal(t, r, fault.ParseReason(r.String()))
	}
}

func TestViolationsTravelWithTheirPlaces(t *testing.T) {
	vs := []fault.Violation{
		{File: "a b.yaml", Line: 3, Column: 7, Kind: "Sync", ID: "s", Field: "mode", Message: `unknown mode "x"`, Fix: "use incremental or full"},
		{Field: "sql", Message: "is missing"},
	}
	out := fault.As(fault.FromStatus(fault.ToStatus(fault.Of(fault.ReasonInvalidArgument, vs))))
	require.Equal(t, fault.Invalid, out.Class)
	require.Equal(t, vs, out.Violations)
	require.Equal(t, `a b.yaml:3:7 Sync s mode: unknown mode "x"; use incremental or full`, vs[0].String())
}

func TestTheCauseOfAnInternalErrorStaysAtHome(t *testing.T) {
	st, _ := status.FromError(fault.ToStatus(fmt.Errorf("password is hunter2: %w", errors.New("boom"))))
	require.Equal(t, codes.Internal, st.Code())
	require.NotContains(t, st.Message(), "hunter2")
}

func TestNoViolationsAreNoError(t *testing.T) {
	require.NoError(t, fault.Of(fault.ReasonInvalidArgument, nil))
}
