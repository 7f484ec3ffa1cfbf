package console

import (
	"strings"

	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
)

// account says how a run's account stands, by its certificate.
type account struct {
	Balance string // balanced, open, not balanced
	Tone    string
}

func accountOf(run *schedulerv1.Run) account {
	switch {
	case run.GetCertificate().GetBalanced():
		return account{"balanced", "good"}
	case !isOver(run):
		return account{"open", "busy"}
	default:
		return account{"not balanced", "warn"}
	}
}

// count is a figure of an account under its name.
type count struct {
	Name string
	Rows int64
}

// fates are what became of mapped and absent rows, in the order of the picture.
func fates(c *schedulerv1.Counts) []count {
	return []count{
		{"created", c.GetCreated()},
		{"updated", c.GetUpdated()},
		{"unchanged", c.GetUnchanged()},
		{"refused", c.GetRefused()},
		{"protected", c.GetProtected()},
		{"deleted", c.GetDeleted()},
	}
}

// equation is figures that must add up: the left ones to the right ones.
type equation struct {
	Left, Right []count
	// Short is by how much the right side is less than the left one; negative where it is more.
	Short int64
	// Open is whether rows are still on their way.
	Open bool
}

// Excess is by how much the right side is more than the left one.
func (e equation) Excess() int64 { return -e.Short }

// equationsOf answers the two sums that every account closes by.
func equationsOf(run *schedulerv1.Run) []equation {
	c := run.GetCounts()
	all := []equation{
		{
			Left:  []count{{"read", c.GetRead()}},
			Right: []count{{"filtered", c.GetFiltered()}, {"rejected", c.GetRejected()}, {"mapped", c.GetMapped()}},
		},
		{Left: []count{{"mapped", c.GetMapped()}, {"absent", c.GetAbsent()}}, Right: fates(c)},
	}
	for i := range all {
		all[i].Open = !isOver(run)
		all[i].Short = sum(all[i].Left) - sum(all[i].Right)
	}
	return all
}

func sum(counts []count) int64 {
	var n int64
	for _, c := range counts {
		n += c.Rows
	}
	return n
}

// noted are figures that are in no sum, less those that are zero.
func noted(c *schedulerv1.Counts) []note {
	var out []note
	for _, n := range []note{
		{"late rows", c.GetLateRows(), "older than where the run before ended, read again by the lookback"},
		{"collapsed", c.GetCollapsed(), "rows that others of the same key in the run made needless"},
		{"unattributed", c.GetUnattributed(), "events that are kept without a profile"},
		{"null iterator", c.GetNullIterator(), "rows whose iterator is NULL"},
		{"merges", c.GetMerges(), "profiles that were merged into others"},
		{"blocked", c.GetBlocked(), "identity values that are blocked and were left out"},
	} {
		if n.Rows != 0 {
			out = append(out, n)
		}
	}
	return out
}

// note is a figure with what it means.
type note struct {
	Name string
	Rows int64
	Text string
}

const barWidth = 160

// segment is a part of a bar that shows what became of rows.
type segment struct {
	count
	X, Width float64
}

// shares are all that can become of a row, in the order of bars.
func shares(c *schedulerv1.Counts) []count {
	return append(fates(c), count{"rejected", c.GetRejected()}, count{"filtered", c.GetFiltered()})
}

// barNames are the names of what bars show.
func barNames() []string {
	var out []string
	for _, c := range shares(nil) {
		out = append(out, c.Name)
	}
	return out
}

// segmentsOf shares the width of a bar among all that became of a run's rows. Nothing where there are none.
func segmentsOf(c *schedulerv1.Counts) []segment {
	all := shares(c)
	whole := sum(all)
	if whole <= 0 {
		return nil
	}
	var out []segment
	x := 0.0
	for _, n := range all {
		if n.Rows <= 0 {
			continue
		}
		w := barWidth * float64(n.Rows) / float64(whole)
		out = append(out, segment{n, tenth(x), tenth(max(w, 1))})
		x += w
	}
	return out
}

// toldCounts says figures in a sentence, for who does not see the picture.
func toldCounts(counts []segment) string {
	parts := make([]string, 0, len(counts))
	for _, c := range counts {
		parts = append(parts, c.Name+" "+number(c.Rows))
	}
	return strings.Join(parts, ", ")
}
