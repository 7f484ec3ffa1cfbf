package scheduler_test

import (
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/durationpb"

	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
	"millrace.dev/pkg/fault"
)

// Reports in any order and told any number of times make the same account.
func TestTheOrderOfReportsDoesNotMatter(t *testing.T) {
	onBoth(t, func(t *testing.T, sql string) {
		m := start(t, sql, quick())
		for seed := range uint64(12) {
			dice := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // a test repeats its order
			r := m.trigger(&schedulerv1.TriggerRunRequest{})
			m.plan("10", "10")
			l := m.lease()
			reports := []func() error{func() error { return m.complete(l, 3, 12) }}
			for seq := range uint32(3) {
				one, two := result(l, seq, 0, 0, 3, 1, false), result(l, seq, 1, 3, 1, 0, true)
				reports = append(reports,
					func() error { return m.published(l, seq, 4) },
					func() error { return m.ingested(one) },
					func() error { return m.ingested(two) },
				)
			}
			again := append([]func() error(nil), reports...)
			dice.Shuffle(len(again), func(i, j int) { again[i], again[j] = again[j], again[i] })
			all := append(reports, again[:5]...)
			dice.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
			for _, f := range all {
				if err := f(); err != nil { // the run was closed before the repeat came
					require.Equal(t, fault.ReasonFenced, reasonOf(err), "seed %d", seed)
				}
			}
			end := m.reaches(r.GetId(), schedulerv1.RunState_RUN_STATE_PARTIALLY_SUCCEEDED)
			require.EqualValues(t, 12, end.GetCounts().GetRead(), "seed %d", seed)
			require.EqualValues(t, 3, end.GetCounts().GetRejected(), "seed %d", seed)
			require.EqualValues(t, 9, end.GetCounts().GetCreated(), "seed %d", seed)
			require.EqualValues(t, 3, end.GetBatches(), "seed %d", seed)
			require.True(t, end.GetCertificate().GetBalanced(), "seed %d", seed)
		}
	})
}

func TestTwoProcessesLeaseEachPartOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, sql string) {
		m := start(t, sql, quick())
		o := m.another(quick())
		r := m.trigger(&schedulerv1.TriggerRunRequest{})
		highs := []string{"1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12"}
		m.plan("12", highs...)
		var (
			wg     sync.WaitGroup
			mu     sync.Mutex
			leases []*schedulerv1.PartLease
			errs   []error
		)
		for i := range 6 {
			work := m.work
			if i%2 == 1 {
				work = o.work
			}
			wg.Go(func() {
				for {
					resp, err := work.LeasePart(t.Context(), &schedulerv1.LeasePartRequest{Worker: "w", Wait: durationpb.New(0)})
					mu.Lock()
					if err != nil {
						errs = append(errs, err)
					}
					if resp.GetLease() == nil {
						mu.Unlock()
						return
					}
					leases = append(leases, resp.GetLease())
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		require.Empty(t, errs)
		require.Len(t, leases, len(highs))
		seen := map[uint32]bool{}
		for i, l := range leases {
			require.False(t, seen[l.GetPart()])
			require.EqualValues(t, 1, l.GetEpoch())
			seen[l.GetPart()] = true
			via := m
			if i%2 == 0 {
				via = o // whoever gave the lease, either takes the reports
			}
			via.whole(l, 1)
		}
		end := m.reaches(r.GetId(), schedulerv1.RunState_RUN_STATE_SUCCEEDED)
		require.EqualValues(t, 36, end.GetCounts().GetRead())
	})
}
