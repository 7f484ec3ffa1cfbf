package protocol

import (
	"slices"

	"github.com/zeebo/xxh3"
)

// Result is what Explore found.
type Result struct {
	States int
	Depth  int            // steps of the longest shortest way to a state
	Trace  *Trace         // nil: everything holds
	Whole  bool           // every state was seen
	Taken  map[string]int // how often each step of the table led from one state to another
}

// Explore goes through the states of w, breadth first, until it has seen them all, or `limit` of them, or one in which
// something does not hold. It is deterministic.
func (w *World) Explore(limit int) (Result, error) {
	g := graph{World: w, seen: map[xxh3.Uint128]uint32{}, limit: limit, taken: make([]int, len(w.steps))}
	res := g.walk()
	res.Taken = map[string]int{}
	for i, n := range g.taken {
		res.Taken[w.steps[i].name] = n
	}
	if res.Trace == nil && res.Whole {
		res.Trace = g.stuck()
	}
	return res, w.err
}

// graph is the states seen so far. States are kept by hash; where one came from leads back to the first.
type graph struct {
	*World
	limit  int
	seen   map[xxh3.Uint128]uint32
	from   []uint32 // by state: the state before
	nth    []uint16 // by state: which of the followers of that one it is
	ends   []bool   // by state: no run is open
	first  []uint32 // by state: where its edges begin
	edges  []uint32
	taken  []int // by step
	buffer []byte
}

// walk goes through the states level by level.
func (g *graph) walk() Result {
	start := g.begin()
	g.add(&start, 0, 0)
	level, at := []state{start}, uint32(0)
	for depth := 0; ; depth++ {
		var after []state
		for i := range level {
			var bad *Trace
			n := uint16(0)
			g.first = append(g.first, uint32(len(g.edges))) //nolint:gosec // below 4 billion
			g.follow(&level[i], func(step int, t *state, _ about, broken Invariant) {
				g.taken[step]++
				if broken != "" && bad == nil {
					bad = g.trace(at, int(n), broken)
				}
				to, fresh := g.add(t, at, n)
				g.edges = append(g.edges, to)
				if fresh {
					after = append(after, *t)
				}
				n++
			})
			if bad != nil {
				return Result{States: len(g.from), Depth: depth + 1, Trace: bad}
			}
			at++
		}
		switch {
		case len(after) == 0:
			return Result{States: len(g.from), Depth: depth, Whole: true}
		case len(g.from) >= g.limit:
			return Result{States: len(g.from), Depth: depth + 1}
		}
		level = after
	}
}

// add answers the number of a state, and whether it is new.
func (g *graph) add(s *state, from uint32, nth uint16) (uint32, bool) {
	g.buffer = s.append(g.buffer[:0])
	h := xxh3.Hash128(g.buffer)
	if at, ok := g.seen[h]; ok {
		return at, false
	}
	at := uint32(len(g.from)) //nolint:gosec // below 4 billion
	g.seen[h] = at
	g.from, g.nth, g.ends = append(g.from, from), append(g.nth, nth), append(g.ends, !g.open(s))
	return at, true
}

// trace answers the way to a state, and the nth step from it.
func (g *graph) trace(at uint32, nth int, broken Invariant) *Trace {
	way := []int{nth}
	for ; at != 0; at = g.from[at] {
		way = append(way, int(g.nth[at]))
	}
	slices.Reverse(way)
	out := &Trace{Broken: broken}
	s := g.begin()
	for _, nth := range way {
		n := 0
		var then state
		g.follow(&s, func(step int, t *state, about about, _ Invariant) {
			if n == nth {
				then = *t
				out.Steps = append(out.Steps, g.steps[step].name+about.String())
			}
			n++
		})
		s = then
	}
	return out
}

// stuck answers the way to a state from which no state is reached in which the run has ended, nil where there is none.
func (g *graph) stuck() *Trace {
	into := make([]uint32, len(g.from)+1) // how many edges lead to each state, then where they begin
	for _, to := range g.edges {
		into[to+1]++
	}
	for i := 1; i < len(into); i++ {
		into[i] += into[i-1]
	}
	back, fill := make([]uint32, len(g.edges)), slices.Clone(into)
	g.first = append(g.first, uint32(len(g.edges))) //nolint:gosec // below 4 billion
	for at := range g.from {
		for _, to := range g.edges[g.first[at]:g.first[at+1]] {
			back[fill[to]] = uint32(at) //nolint:gosec // below 4 billion
			fill[to]++
		}
	}
	var todo []uint32
	good := slices.Clone(g.ends)
	for at, end := range g.ends {
		if end {
			todo = append(todo, uint32(at)) //nolint:gosec // below 4 billion
		}
	}
	for len(todo) > 0 {
		at := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		for _, before := range back[into[at]:into[at+1]] {
			if !good[before] {
				good[before] = true
				todo = append(todo, before)
			}
		}
	}
	if at := slices.Index(good, false); at >= 0 {
		return g.trace(g.from[at], int(g.nth[at]), EveryRunEnds)
	}
	return nil
}
