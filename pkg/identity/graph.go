package identity

import (
	"cmp"
	"math"
	"slices"

	"millrace.dev/pkg/id"
)

// graph takes every profile that any identity is bound to, and simulates their merge with what the row brings. Where that
// breaks a rule, the lowest-priority identity that is left of the row is demoted, and it looks again.
func (a *asking) graph() {
	present := slices.Clone(a.order)
	for {
		hits := a.hits(present)
		stop, broken := a.simulate(hits, present)
		if !broken {
			a.settle(hits, present)
			return
		}
		last := present[len(present)-1]
		present = present[:len(present)-1]
		a.out.Fates[last] = Fate{Leave, stop.Rule}
		if len(hits) > 1 {
			stop.Profiles, stop.Demoted = hits, last
			a.out.Stops = append(a.out.Stops, stop)
		}
	}
}

// hits answers the profiles that identities are bound to, ascending.
func (a *asking) hits(present []int) []id.Profile {
	var hits []id.Profile
	for _, i := range present {
		if p := a.q.Given[i].Profile; p != 0 {
			hits = append(hits, p)
		}
	}
	slices.Sort(hits)
	return slices.Compact(hits)
}

// simulate says which rule would be broken if hits became one profile that also gets what is present. What is broken
// already and gets no worse breaks nothing: a rule that is tightened counts from then on.
func (a *asking) simulate(hits []id.Profile, present []int) (Stop, bool) {
	if len(hits) > 1 {
		merges := len(hits) - 1
		for _, p := range hits {
			merges += a.holders[p].Merges
		}
		if merges > a.maxMerges {
			return Stop{Rule: RuleMergeCap}, true
		}
		if a.apart(hits, present) {
			return Stop{Rule: RuleUnmerged}, true
		}
	}
	together := tally{end: a.q.Time}
	before := tallies{}
	for _, p := range hits {
		one := tally{end: a.q.Time}
		for _, h := range a.holders[p].Held {
			one.add(h)
			together.add(h)
		}
		before = append(before, one)
	}
	for _, i := range present {
		if g := &a.q.Given[i]; g.Type != MPID {
			together.add(Held{g.Type, g.Value, a.q.Time})
		}
	}
	if n := together.all(); n > a.maxMappings && n > before.most(tally.all) {
		return Stop{Rule: RuleMappingCap}, true
	}
	for _, typ := range together.types() {
		l := a.limitOf(typ)
		count := func(t tally) int { return t.of(typ, l) }
		if n := count(together); n > l.Values && n > before.most(count) {
			return Stop{Rule: RuleLimit, Type: typ, Limit: l}, true
		}
	}
	return Stop{}, false
}

// apart says whether a value that is present would bring about a merge again that was undone.
func (a *asking) apart(hits []id.Profile, present []int) bool {
	for _, p := range hits {
		for _, x := range a.holders[p].Apart {
			bound := func(i int) bool {
				g := &a.q.Given[i]
				return g.Type == x.Type && g.Value == x.Value && g.Profile != 0
			}
			other := func(q id.Profile) bool {
				return q != p && (q == x.From || slices.Contains(a.holders[q].Members, x.From))
			}
			if slices.ContainsFunc(present, bound) && slices.ContainsFunc(hits, other) {
				return true
			}
		}
	}
	return false
}

// settle attaches the row to the oldest of hits and merges the others into it.
func (a *asking) settle(hits []id.Profile, present []int) {
	slices.SortFunc(hits, func(p, q id.Profile) int {
		return cmp.Or(cmp.Compare(age(a.holders[p]), age(a.holders[q])), cmp.Compare(p, q))
	})
	if len(hits) > 0 {
		a.out.Profile = hits[0]
		for _, p := range hits[1:] {
			a.out.Merges = append(a.out.Merges, Merge{p, max2(a.best(hits[0], present), a.best(p, present), a.order)})
		}
	}
	for _, i := range present {
		a.out.Fates[i] = Fate{Do: Keep}
		if g := &a.q.Given[i]; g.Profile == 0 && g.Type != MPID {
			a.out.Fates[i] = Fate{Do: Bind}
		}
	}
}

func age(h Holder) int64 {
	if h.Created == 0 {
		return math.MaxInt64
	}
	return h.Created
}

// best answers the highest-priority identity that is bound to p.
func (a *asking) best(p id.Profile, present []int) int {
	at := slices.IndexFunc(present, func(i int) bool { return a.q.Given[i].Profile == p })
	return present[at]
}

// max2 answers which of two stands later in order: the one that would be demoted first.
func max2(i, j int, order []int) int {
	if slices.Index(order, i) > slices.Index(order, j) {
		return i
	}
	return j
}

// tally counts values by type.
type tally struct {
	end    int64
	values map[Given]int64 // type and value → since when
}

func (t *tally) add(h Held) {
	if t.values == nil {
		t.values = map[Given]int64{}
	}
	k := Given{Type: h.Type, Value: h.Value}
	if since, there := t.values[k]; !there || h.Since < since {
		t.values[k] = h.Since
	}
}

func (t tally) all() int { return len(t.values) }

func (t tally) types() []string {
	var out []string
	for k := range t.values {
		out = append(out, k.Type)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// of counts the values of a type that came within a limit's window.
func (t tally) of(typ string, l Limit) int {
	n, length := 0, int64(l.Window.length())
	for k, since := range t.values {
		if k.Type == typ && (length == 0 || since > t.end-length) {
			n++
		}
	}
	return n
}

type tallies []tally

// most answers the greatest of what f says of each, 0 where there is none.
func (ts tallies) most(f func(tally) int) int {
	n := 0
	for _, t := range ts {
		n = max(n, f(t))
	}
	return n
}
