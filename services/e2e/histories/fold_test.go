package histories_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
)

// fold is the oracle: what the platform must hold after each run, and what the run must count, by the words of the design
// and by nothing of the code.
type fold struct {
	h          history
	entries    map[int64]entry
	checkpoint *int64
}

// entry is what a key's row became.
type entry struct {
	content string
	ts      int64
	version version
	// times are the row times that what is stored may have, by the order in which equal rows came; noTime for none.
	times []int64
}

// version orders the rows of a key.
type version struct{ time, run int64 }

const noTime = int64(-1)

// after says whether v is newer. The rows of the test have no two versions that differ by their hash only.
func (v version) after(o version, full bool) bool {
	if full {
		return v.run > o.run || v.run == o.run && v.time > o.time
	}
	return v.time > o.time || v.time == o.time && v.run > o.run
}

// counts is what a run counts, in the order of countNames.
type counts [11]int64

const (
	cRead = iota
	cRejected
	cMapped
	cCreated
	cUpdated
	cUnchanged
	cRefused
	cLate
	cCollapsed
	cUnattributed
	cNulls
)

func countNames() []string {
	return []string{"read", "rejected", "mapped", "created", "updated", "unchanged", "refused", "late_rows", "collapsed", "unattributed", "null_iterator"}
}

func countsOf(c *schedulerv1.Counts) counts {
	return counts{
		c.GetRead(), c.GetRejected(), c.GetMapped(), c.GetCreated(), c.GetUpdated(), c.GetUnchanged(), c.GetRefused(),
		c.GetLateRows(), c.GetCollapsed(), c.GetUnattributed(), c.GetNullIterator(),
	}
}

// expected is what a run may count: for repeated keys the order of reading has a say.
type expected struct{ least, most counts }

func (e expected) differs(got counts) string {
	var out []string
	for i, name := range countNames() {
		if got[i] < e.least[i] || got[i] > e.most[i] {
			out = append(out, fmt.Sprintf("%s is %d, want %d to %d", name, got[i], e.least[i], e.most[i]))
		}
	}
	return strings.Join(out, "; ")
}

// run takes over what a run reads of rows, and answers what it counts.
func (f *fold) run(no int64, rows map[int]sourceRow, everything bool) expected {
	incremental := f.h.mode == "incremental"
	low, high, late := f.window(rows, everything)
	groups := map[int64][]sourceRow{}
	var sure counts
	for _, id := range slices.Sorted(maps.Keys(rows)) {
		r := rows[id]
		switch {
		case !incremental:
		case r.tick == none:
			if f.h.nulls == "skip" {
				sure[cNulls]++
				continue
			}
		case high == nil, low != nil && f.h.iterator.at(r.tick) < *low, f.h.iterator.at(r.tick) > *high:
			continue
		}
		sure[cRead]++
		if !r.good() {
			sure[cRejected]++
			continue
		}
		sure[cMapped]++
		groups[r.key] = append(groups[r.key], r)
	}
	e := expected{sure, sure}
	for _, key := range slices.Sorted(maps.Keys(groups)) {
		f.group(&e, no, key, groups[key], late)
	}
	if incremental && high != nil && (low == nil || *low <= *high) && (f.checkpoint == nil || *f.checkpoint <= *high) {
		f.checkpoint = high
	}
	return e
}

// window answers what an incremental run reads, both ends in it, and below which value a row is late.
func (f *fold) window(rows map[int]sourceRow, everything bool) (low, high, late *int64) {
	for _, r := range rows {
		if r.tick == none || f.h.iterator.name == "" {
			continue
		}
		if at := f.h.iterator.at(r.tick); high == nil || at > *high {
			high = &at
		}
	}
	if f.h.mode != "incremental" || everything || f.checkpoint == nil {
		return nil, high, nil
	}
	from := *f.checkpoint - f.h.lookback*f.h.iterator.unit()
	return &from, high, f.checkpoint
}

// group judges the rows of a key in every order in which they may come.
func (f *fold) group(e *expected, no, key int64, rows []sourceRow, late *int64) {
	was, known := f.entries[key]
	var least, most counts
	var ends []entry
	for i, order := range orders(len(rows)) {
		x, there, c := was, known, counts{}
		for _, at := range order {
			x, there = f.judge(&c, x, there, no, rows[at], late)
		}
		if i == 0 {
			least, most = c, c
		}
		for n := range c {
			least[n], most[n] = min(least[n], c[n]), max(most[n], c[n])
		}
		if there {
			ends = append(ends, x)
		}
	}
	for n := range least {
		e.least[n] += least[n]
		e.most[n] += most[n]
	}
	if len(ends) == 0 {
		return
	}
	end := ends[0]
	end.times = nil
	for _, x := range ends {
		end.times = append(end.times, x.times...)
	}
	slices.Sort(end.times)
	end.times = slices.Compact(end.times)
	f.entries[key] = end
}

// judge answers what a row makes of its key's entry, and counts it.
func (f *fold) judge(c *counts, was entry, known bool, no int64, r sourceRow, late *int64) (entry, bool) {
	v, time := version{snapshots + no, no}, noTime
	if f.h.iterator.timed && r.tick != none {
		time = f.h.iterator.time(f.h.iterator.at(r.tick))
		v.time = time
	}
	own := known && was.version.run == no
	same := known && was.content == r.content(f.h.kind)
	newer := !known || v.after(was.version, f.h.mode == "full")
	switch {
	case same || !newer:
		c[cUnchanged]++
		if own {
			c[cCollapsed]++
		}
		if same && newer && time != noTime && time > was.version.time {
			was.version = v
		}
		return was, known
	case f.h.kind == "users" && r.key == 0:
		c[cRefused]++
		return was, known
	case own:
		c[cUnchanged]++
		c[cCollapsed]++
	default:
		if known {
			c[cUpdated]++
		} else {
			c[cCreated]++
		}
		if late != nil && r.tick != none && f.h.iterator.at(r.tick) < *late {
			c[cLate]++
		}
		if r.key == 0 {
			c[cUnattributed]++
		}
	}
	return entry{content: r.content(f.h.kind), ts: r.ts, version: v, times: []int64{time}}, true
}

// snapshots is the time of rows without one, behind every other; that of a later run is later.
const snapshots = int64(1) << 62

// orders answers every order of n things.
func orders(n int) [][]int {
	if n == 1 {
		return [][]int{{0}}
	}
	var out [][]int
	for _, o := range orders(n - 1) {
		for at := range n {
			out = append(out, slices.Insert(slices.Clone(o), at, n-1))
		}
	}
	return out
}
