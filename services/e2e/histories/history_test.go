package histories_test

import (
	"math/rand/v2"
	"slices"

	"pgregory.net/rapid"
)

// history is what one seed stands for: a table, what its owner does to it before and during each run, and the faults of
// each run. It is drawn from the seed and from nothing else.
type history struct {
	seed      int
	warehouse string // duckdb or postgres
	kind      string // users or events
	mode      string // incremental or full
	iterator  iterator
	nulls     string // skip or read
	lookback  int64  // in seconds, or in days for dates
	rows      int    // at first
	values    uint64 // what the rows' values are drawn from
	steps     []step
}

// step is one run with what happens before and during it.
type step struct {
	before []change
	during []change // while the run reads
	full   bool     // the run reads everything
	faults []mishap
}

// change is something that the table's owner does to n rows.
type change struct {
	kind string
	n    int
}

// What an owner does.
const (
	adds      = "adds rows above all others"
	ties      = "adds rows that share the largest iterator value"
	comesLate = "commits rows below the watermark, inside the lookback"
	tooLate   = "commits rows far below the watermark"
	edits     = "edits rows and moves their iterator value up"
	silent    = "edits rows and leaves their iterator value"
	bumps     = "moves iterator values up and edits nothing"
	spoils    = "writes values that are no numbers"
	heals     = "writes numbers where there were none"
	blanks    = "takes iterator values away"
	repeats   = "adds rows with a key that is there"
	deletes   = "deletes rows"
)

func changes() []string {
	return []string{adds, ties, comesLate, tooLate, edits, silent, bumps, spoils, heals, blanks, repeats, deletes}
}

// leastFaults is how many faults a seed has at least.
const leastFaults = 5

// histories draws histories without their faults.
var histories = rapid.Custom(drawHistory)

func drawHistory(t *rapid.T) history {
	h := history{
		warehouse: rapid.SampledFrom([]string{"duckdb", "postgres"}).Draw(t, "warehouse"),
		kind:      rapid.SampledFrom([]string{"users", "users", "events"}).Draw(t, "kind"),
		mode:      rapid.SampledFrom([]string{"incremental", "incremental", "incremental", "full"}).Draw(t, "mode"),
		nulls:     rapid.SampledFrom([]string{"skip", "read"}).Draw(t, "nulls"),
		rows:      rapid.IntRange(1000, 1400).Draw(t, "rows"),
		values:    rapid.Uint64().Draw(t, "values"),
	}
	its := slices.DeleteFunc(iterators(), func(i iterator) bool { return i.types[h.warehouse] == "" })
	if h.mode == "full" {
		its = append(its, iterator{})
	}
	h.iterator = its[rapid.IntRange(0, len(its)-1).Draw(t, "iterator")]
	if h.iterator.timed {
		h.lookback = rapid.SampledFrom([]int64{0, 2, 30, 200}).Draw(t, "lookback")
		if h.iterator.days {
			h.lookback /= 20
		}
	}
	for i := range rapid.IntRange(3, 4).Draw(t, "runs") {
		h.steps = append(h.steps, drawStep(t, h, i))
	}
	return h
}

func drawStep(t *rapid.T, h history, i int) step {
	s := step{}
	if i > 0 {
		s.before = drawChanges(t, "before", 5)
		s.full = rapid.IntRange(0, 3).Draw(t, "full") == 0
	}
	steady := h.warehouse == "postgres" && rapid.Bool().Draw(t, "during")
	if steady {
		s.during = drawChanges(t, "during", 3)
	}
	return s
}

// disturb adds faults to the runs of a history: each sort as likely as any other, which is not how rapid draws.
func (h *history) disturb() {
	random := rand.New(rand.NewPCG(uint64(h.seed), 2))
	for i := range h.steps {
		s := &h.steps[i]
		of := kinds(h.warehouse, len(s.during) > 0)
		for range 2 + random.IntN(2) {
			k := of[random.IntN(len(of))]
			on := k.on[random.IntN(len(k.on))]
			s.faults = append(s.faults, mishap{kind: k.name, on: on, nth: 1 + random.IntN(k.most)})
		}
	}
}

// historyOf answers the history of a seed.
func historyOf(seed int) history {
	h := histories.Example(seed)
	h.seed = seed
	h.disturb()
	return h
}

func drawChanges(t *rapid.T, name string, most int) []change {
	var out []change
	for range rapid.IntRange(1, most).Draw(t, name) {
		out = append(out, change{
			kind: rapid.SampledFrom(changes()).Draw(t, "change"),
			n:    rapid.IntRange(1, 60).Draw(t, "n"),
		})
	}
	return out
}
