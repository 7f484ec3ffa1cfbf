package storetest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/record"
	"millrace.dev/pkg/record/recordtest"
)

// metamorphic splits one random history into batches in several ways, in several orders and with repetitions, and holds
// the digests of what comes of it against each other. No two row keys share an identity; a row key keeps its identities
// and which of its attributes are set, and each of its versions differs from the others (an equal one that is met first
// leaves its own row time, because an unchanged row writes nothing but its entry).
func metamorphic(t *testing.T, open Opener) {
	t.Helper()
	const seeds, ways = 3, 4
	for seed := range uint64(seeds) {
		rows := history(rand.New(rand.NewPCG(seed, 7))) //nolint:gosec // a test's own history
		want := ""
		for way := range ways {
			t.Run(fmt.Sprintf("history %d way %d", seed, way), func(t *testing.T) {
				h := start(t, open(t))
				h.play(rand.New(rand.NewPCG(seed, uint64(100+way))), rows, way) //nolint:gosec // as above
				got := Digest(t, h)
				if want == "" {
					want = got
				}
				require.Equal(t, want, got)
			})
		}
	}
}

type historyRow struct {
	recordtest.Row
	kind record.Kind
	sync string
	run  int64
}

// history makes versions of rows, oldest first.
func history(rnd *rand.Rand) []historyRow {
	var out []historyRow
	for k := range 60 {
		r := historyRow{kind: record.Users, sync: []string{"crm", "shop"}[k%2]}
		key := fmt.Sprint("k", k)
		set := rnd.IntN(8)
		for version := range 1 + rnd.IntN(3) {
			r.run = int64(1 + version)
			r.Row = recordtest.Row{Key: key, Time: day(10*version + rnd.IntN(9)), Identities: map[string]string{"customer_id": key}}
			if k%5 == 0 {
				r.kind, r.sync = record.Events, "web"
				r.EventType = "custom_event"
				r.Data = map[string]any{"timestamp_unixtime_ms": int64(1000 * rnd.IntN(3)), "event_name": fmt.Sprint("version ", version)}
			} else {
				r.Identities["email"] = key + "@x.org"
				r.Attributes = map[string]any{"version": version}
				for b, name := range []string{"a", "b", "c"} {
					if set&(1<<b) != 0 {
						r.Attributes[name] = fmt.Sprint(rnd.IntN(3))
					}
				}
			}
			out = append(out, r)
		}
	}
	return out
}

// play ingests a history. Way 0 is in order, a batch a run; others are shuffled, cut anywhere, and partly repeated.
func (h *harness) play(rnd *rand.Rand, rows []historyRow, way int) {
	rows = slices.Clone(rows)
	if way > 0 {
		for range len(rows) / 3 {
			rows = append(rows, rows[rnd.IntN(len(rows))])
		}
		rnd.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
	}
	seq := uint32(0)
	for len(rows) > 0 {
		n := min(len(rows), 1+rnd.IntN(20))
		part := rows[:n]
		rows = rows[n:]
		type group struct {
			kind record.Kind
			sync string
			run  int64
		}
		groups := map[group][]recordtest.Row{}
		var order []group
		for _, r := range part {
			g := group{r.kind, r.sync, r.run}
			if groups[g] == nil {
				order = append(order, g)
			}
			groups[g] = append(groups[g], r.Row)
		}
		for _, g := range order {
			o := originOf(g.sync, g.run, uint32(1+rnd.IntN(2)), 1, seq) //nolint:gosec // few
			seq++
			b := batch{recordtest.Batch(g.kind, groups[g], recordtest.Options{}), o}
			out, err := h.ingest(b)
			require.NoError(h.t, err)
			require.False(h.t, out.Repeated)
			if way > 1 {
				out, err = h.ingest(b)
				require.NoError(h.t, err)
				require.True(h.t, out.Repeated)
			}
		}
	}
}
