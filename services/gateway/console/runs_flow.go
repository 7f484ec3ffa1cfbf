package console

import (
	"fmt"
	"math"

	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
)

// The measures of the picture of an account, in its own units.
const (
	flowWidth  = 900
	flowRows   = 170 // what the most rows of a column are high
	flowColumn = 330
	nodeWidth  = 10
	nodeSlot   = 17 // so that the texts of thin nodes stand apart
	nodeGap    = 7
)

// flow is a run's account as a picture: what was read, what the mapping made of it, and what the store did with that.
// Bands join three columns of nodes; what is high has many rows.
type flow struct {
	Width, Height int
	Nodes         []node
	Bands         []band
}

// node is a figure of the account.
type node struct {
	count
	Class        string
	X, Y, W, H   float64
	TextX, TextY float64
	sent         float64 // how much of its height bands that leave it have taken
	taken        float64 // and bands that lead to it
}

// band leads rows from a node to one of the next column.
type band struct{ Class, D, Told string }

// flowOf draws the account of a run; nil where no row is in it.
func flowOf(run *schedulerv1.Run) *flow {
	c := run.GetCounts()
	sums := equationsOf(run)
	read := []count{{"read", c.GetRead()}}
	mapped := []count{{"mapped", c.GetMapped()}, {"absent", c.GetAbsent()}, {"rejected", c.GetRejected()}, {"filtered", c.GetFiltered()}, missing(sums[0])}
	stored := append(fates(c), missing(sums[1]))
	most := max(sum(read), sum(mapped), sum(stored))
	if most <= 0 {
		return nil
	}
	scale := flowRows / float64(most)
	f := &flow{Width: flowWidth}
	first := f.column(0, read, scale)
	second := f.column(1, mapped, scale)
	third := f.column(2, stored, scale)
	// What is absent was not read: it comes in at the second column.
	f.join(first, f.pick(second, func(name string) bool { return name != "absent" }), scale)
	f.join(f.pick(second, func(name string) bool { return name == "mapped" || name == "absent" }), third, scale)
	f.Height += nodeGap
	for i := range f.Nodes {
		n := &f.Nodes[i]
		n.X, n.Y, n.H = tenth(n.X), tenth(n.Y), tenth(n.H)
		n.TextX, n.TextY = tenth(n.TextX), tenth(n.TextY)
	}
	return f
}

// missing is what an equation lacks on its right side.
func missing(e equation) count {
	if e.Open {
		return count{"on the way", max(e.Short, 0)}
	}
	return count{"unaccounted", max(e.Short, 0)}
}

// column stacks nodes and answers their places among all.
func (f *flow) column(i int, counts []count, scale float64) []int {
	var out []int
	y := float64(nodeGap)
	for _, n := range counts {
		if n.Rows <= 0 {
			continue
		}
		h := max(float64(n.Rows)*scale, 2)
		slot := max(h, nodeSlot)
		x := float64(i * flowColumn)
		f.Nodes = append(f.Nodes, node{
			count: n, Class: classOf(n.Name), X: x, Y: y + (slot-h)/2, W: nodeWidth, H: h,
			TextX: x + nodeWidth + 8, TextY: y + slot/2 + 4,
		})
		out = append(out, len(f.Nodes)-1)
		y += slot + nodeGap
	}
	f.Height = max(f.Height, int(math.Ceil(y)))
	return out
}

// join leads the rows of some nodes to others, both in their order, until either has no more.
func (f *flow) join(from, to []int, scale float64) {
	give, want := int64(0), int64(0)
	for len(from) > 0 && len(to) > 0 {
		a, b := &f.Nodes[from[0]], &f.Nodes[to[0]]
		if give == 0 {
			give = a.Rows
		}
		if want == 0 {
			want = b.Rows
		}
		rows := min(give, want)
		f.Bands = append(f.Bands, bandOf(a, b, rows, scale))
		if give -= rows; give == 0 {
			from = from[1:]
		}
		if want -= rows; want == 0 {
			to = to[1:]
		}
	}
}

// bandOf draws rows from a to b below what bands between others take already.
func bandOf(a, b *node, rows int64, scale float64) band {
	thick := float64(rows) * scale
	x1, x2 := a.X+a.W, b.X
	y1, y2 := a.Y+a.sent, b.Y+b.taken
	a.sent, b.taken = a.sent+thick, b.taken+thick
	thick = max(thick, 0.8)
	mid := (x1 + x2) / 2
	return band{
		Class: b.Class, Told: a.Name + " to " + b.Name + ": " + number(rows) + " rows",
		D: fmt.Sprintf("M%.1f %.1fC%.1f %.1f %.1f %.1f %.1f %.1fV%.1fC%.1f %.1f %.1f %.1f %.1f %.1fZ",
			x1, y1, mid, y1, mid, y2, x2, y2, y2+thick, mid, y2+thick, mid, y1+thick, x1, y1+thick),
	}
}

// pick answers those of some nodes whose names are wanted.
func (f *flow) pick(nodes []int, wanted func(name string) bool) []int {
	var out []int
	for _, i := range nodes {
		if wanted(f.Nodes[i].Name) {
			out = append(out, i)
		}
	}
	return out
}

// classOf answers the class that colours a figure.
func classOf(name string) string {
	switch name {
	case "on the way":
		return "c-open"
	case "unaccounted":
		return "c-lost"
	default:
		return "c-" + name
	}
}

// tenth rounds a measure for the page.
func tenth(v float64) float64 { return math.Round(v*10) / 10 }
