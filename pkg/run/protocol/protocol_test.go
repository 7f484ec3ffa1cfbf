package protocol_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/run/protocol"
)

// explore goes through at most `limit` states of a World.
func explore(t *testing.T, c protocol.Config, limit int) protocol.Result {
	t.Helper()
	w, err := protocol.New(c)
	require.NoError(t, err)
	res, err := w.Explore(limit)
	require.NoError(t, err)
	t.Logf("%d faults, %d runs, %d row versions, rule %d broken: %d states, %d steps deep, all of them: %t",
		c.Faults, c.Runs, c.Rows, c.Broken, res.States, res.Depth, res.Whole)
	return res
}

func holds(t *testing.T, res protocol.Result) {
	t.Helper()
	if res.Trace != nil {
		t.Fatal(res.Trace)
	}
}

// More than three million states in the long form: all of one run with a late row and any one fault, and all of two
// runs with any one fault.
func TestTheProtocolHolds(t *testing.T) {
	worlds := []protocol.Config{{Runs: 3, Rows: 3}, {Runs: 2, Rows: 4}, {Faults: 1, Runs: 1, Rows: 2}}
	if !testing.Short() {
		worlds = append(worlds, protocol.Config{Faults: 1, Runs: 2, Rows: 2}, protocol.Config{Faults: 1, Runs: 1, Rows: 3})
	}
	states := 0
	for _, c := range worlds {
		res := explore(t, c, 4_000_000)
		holds(t, res)
		require.True(t, res.Whole)
		states += res.States
	}
	if !testing.Short() {
		require.Greater(t, states, 1_000_000)
	}
	t.Logf("%d states in all", states)
}

// Faults that come together; the states are too many to see all of them, so that deadlocks are not looked for.
func TestTheProtocolHoldsUnderManyFaults(t *testing.T) {
	limit := 500_000
	if testing.Short() {
		limit = 50_000
	}
	for _, c := range []protocol.Config{{Faults: 2, Runs: 1, Rows: 2}, {Faults: 3, Runs: 2, Rows: 4}} {
		holds(t, explore(t, c, limit))
	}
}

// A step that never happens checks nothing.
func TestEveryStepIsTaken(t *testing.T) {
	res := explore(t, protocol.Config{Faults: 1, Runs: 2, Rows: 3}, 150_000)
	holds(t, res)
	for name, n := range res.Taken {
		require.Positive(t, n, name)
	}
}

// The way to a broken rule is told by the words of the protocol, and is the same each time.
func TestATraceTellsTheShortestWay(t *testing.T) {
	for range 2 {
		res := explore(t, protocol.Config{Runs: 1, Rows: 2, Broken: protocol.AckRowsLast}, 1000)
		require.NotNil(t, res.Trace)
		require.Equal(t, `"an ack means durable: a message goes only when its effect is kept" does not hold after 7 steps:
   1  the scheduler creates run 1
   2  the scheduler leases part 0, epoch 1, run 1
   3  an extractor fixes snapshot and watermark of part 0, epoch 1, run 1
   4  an extractor stores the plan of part 0, epoch 1, run 1
   5  the scheduler leases part 1, epoch 1, run 1
   6  an extractor publishes to ROWS batch 0 of part 1, epoch 1, run 1 (row a at 1)
   7  the mapper publishes to RECORDS (acks first) batch 0 of part 1, epoch 1, run 1
`, res.Trace.String())
	}
}

// Each broken rule is found out by its invariant.
func TestMutants(t *testing.T) {
	for _, m := range protocol.Mutants() {
		t.Run(m.Name, func(t *testing.T) {
			if testing.Short() && m.Costly {
				t.Logf("%s: only in the long form", m.What)
				return
			}
			for _, c := range []protocol.Config{{Runs: 2, Rows: 3}, {Faults: 1, Runs: 1, Rows: 2}} {
				c.Broken = m.Broken
				if res := explore(t, c, 1_000_000); res.Trace != nil {
					require.Equal(t, m.Caught, res.Trace.Broken, "%s", res.Trace)
					return
				}
			}
			t.Errorf("nothing finds out that %s", m.What)
		})
	}
}

func TestEveryInvariantIsNeeded(t *testing.T) {
	caught := map[protocol.Invariant]bool{protocol.StatesFollow: true} // package run's own tests hold the tables
	for _, m := range protocol.Mutants() {
		caught[m.Caught] = true
	}
	for _, i := range protocol.Invariants() {
		require.True(t, caught[i], "no mutant is caught by %q", i)
	}
}
