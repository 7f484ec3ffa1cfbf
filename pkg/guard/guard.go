// Package guard judges what a run would do against what its sync's guard and limits allow. It is pure.
package guard

import (
	"fmt"
	"maps"
	"slices"

	"millrace.dev/pkg/resource"
)

// Averaged is how many of a sync's last runs the guard of rows looks at.
const Averaged = 10

// Facts is what a run did in its dry pass, or has done so far.
type Facts struct {
	Known            int64 // rows of the sync that the platform knew before the run
	Read             int64
	Rows             int64 // that the source has: what was read, unless only what has changed was
	Updated, Deleted int64
	Nulls            map[string]int64 // of each column that has any
	Runs             int64            // done runs of the lane, at most Averaged; the newest
	Average          float64          // of the rows that they found
}

// Breach is one bound that a run is beyond.
type Breach struct {
	Bound   string // deletes, updates, nulls or rows
	Message string
}

// Judge answers the bounds of g that f is beyond, in the order of the documentation; nil where it keeps them.
func Judge(g resource.Guard, f Facts) []Breach {
	var out []Breach
	out = appendLimit(out, "deletes", "known rows would be deleted", g.Deletes, f.Deleted, f.Known)
	out = appendLimit(out, "updates", "known rows would be updated", g.Updates, f.Updated, f.Known)
	for _, column := range slices.Sorted(maps.Keys(f.Nulls)) {
		out = appendLimit(out, "nulls", fmt.Sprintf("rows read have no value in column %q", column), g.Nulls, f.Nulls[column], f.Read)
	}
	if g.Rows != nil && f.Runs > 0 && float64(f.Rows)*100 < f.Average*g.Rows.MinPercentOfAverage {
		out = append(out, Breach{"rows", fmt.Sprintf("%d rows were read, less than %g %% of the %.0f that the last %d runs read on the average",
			f.Rows, g.Rows.MinPercentOfAverage, f.Average, f.Runs)})
	}
	return out
}

// Writing answers the bounds that a run has come to be beyond while it writes: those that more rows can only make worse.
func Writing(g resource.Guard, f Facts) []Breach {
	return Judge(resource.Guard{Deletes: g.Deletes, Updates: g.Updates}, f)
}

func appendLimit(out []Breach, bound, what string, l *resource.GuardLimit, rows, all int64) []Breach {
	if l == nil || rows <= l.MinRows || float64(rows)*100 <= float64(all)*l.MaxPercent {
		return out
	}
	return append(out, Breach{bound, fmt.Sprintf("%d of %d %s, more than %g %% and more than %d rows", rows, all, what, l.MaxPercent, l.MinRows)})
}

// Defaults of deletes (decisions: Modes, kinds, schedules).
const (
	defaultPercent = 20
	defaultRows    = 100
)

// Of answers the guard that a sync goes by: its own, with the bound on deletes where its mode can delete what is not in a
// read (mirror, and the replacing of a lookup table) and its owner has set none.
func Of(own resource.Guard, mode resource.Mode, kind resource.RecordKind) resource.Guard {
	if own.Deletes == nil && (mode == "mirror" || kind == "lookup") {
		own.Deletes = &resource.GuardLimit{MaxPercent: defaultPercent, MinRows: defaultRows}
	}
	return own
}

// Rejects says whether more of the rows judged so far failed than l allows. It says nothing before l.Of rows, unless the
// run is at its end.
func Rejects(l resource.RejectLimit, failed, rows int64, end bool) bool {
	return l.Percent > 0 && failed > 0 && (end || rows >= l.Of) && float64(failed)*100 > float64(rows)*l.Percent
}
