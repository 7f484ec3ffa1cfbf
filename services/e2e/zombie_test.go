package e2e_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
	"millrace.dev/pkg/testenv"
)

// TestF14AZombieExtractorChangesNothing stops an extractor in the middle of a part until its lease is over and another has
// read the part, then lets it go on: what it still publishes and reports has no effect.
func TestF14AZombieExtractorChangesNothing(t *testing.T) {
	t.Parallel()
	w := newWarehouse(t, faultRows)
	s := site{nats: testenv.NATSServer(t).URL, more: map[string][]string{"extractor": {"--nats-backlog", "1"}}}
	p := newPlant(t, s)
	p.apply(t, "", w.documents("customers", asIs))
	id := p.filled(t, s.nats, 1) // it waits for the mapper, with nearly all still to be read
	zombie, sched := p.byName["extractor"], p.byName["scheduler"]
	zombie.stop(t)
	p.byName["mapper"].resume(t)
	other := p.add(t, s, "extractor", "other")
	other.start(t)
	sched.says(t, "lease lost", 0)
	soon(t, "the other extractor reads the part", func() bool {
		e := epochs(t, p, id)
		return len(e) > 0 && e["1"] == 0
	})

	zombie.resume(t)
	zombie.says(t, "the lease was lost", 0)
	p.whole(t, id, faultRows)
	require.Zero(t, epochs(t, p, id)["1"], "no report of the zombie is taken")

	digest := p.digest(t).GetDigest()
	last(t, 2*time.Second) // what the zombie has on its way arrives
	require.Equal(t, digest, p.digest(t).GetDigest())
}

// epochs answers how many batches the account of a run has, by epoch: those of each part's last.
func epochs(t *testing.T, p *plant, run string) map[string]int {
	t.Helper()
	out := map[string]int{}
	for token := ""; ; {
		res, err := p.scheduler.ListBatches(t.Context(), &schedulerv1.ListBatchesRequest{Workspace: p.workspace, Run: run, PageSize: 1000, PageToken: token})
		require.NoError(t, err)
		for _, b := range res.GetBatches() {
			parts := strings.Split(b.GetId(), "/") // run, part, epoch, seq
			require.Len(t, parts, 4)
			out[parts[2]]++
		}
		if token = res.GetNextPageToken(); token == "" {
			return out
		}
	}
}
