package millrace

import (
	"strings"

	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
)

// drawDryRun draws what a dry run found, in words, and how to run for real.
func drawDryRun(t *table, r *schedulerv1.Run) {
	c := r.GetCounts()
	for _, x := range []struct {
		rows          int64
		effect, means string
	}{
		{c.GetCreated(), "created", "rows that the sync brings for the first time"},
		{c.GetUpdated(), "updated", "rows that have changed since they were brought"},
		{c.GetUnchanged(), "unchanged", "rows that change nothing"},
		{c.GetDeleted(), "deleted", "rows that are gone from the source"},
		{c.GetProtected(), "protected", "rows that the feed's protection keeps out"},
		{c.GetRejected(), "rejected", "rows that the mapping can not turn into records"},
		{c.GetRefused(), "refused", "rows that the platform does not take"},
		{c.GetFiltered(), "filtered", "rows that are left out by policy"},
		{c.GetCollapsed(), "collapsed", "of these, rows whose key another row of the read has"},
		{c.GetMerges(), "merges", "profiles that would be merged into others"},
		{c.GetBlocked(), "blocked", "identity values that are dropped because they name nobody"},
	} {
		if x.rows == 0 {
			continue
		}
		t.row("would be", number(x.rows)+" "+x.effect+": "+x.means)
		for _, s := range r.GetSamples() {
			if s.GetEffect() == x.effect {
				t.row("", "such as "+strings.Join(s.GetKeyValues(), ", "))
			}
		}
	}
	for _, x := range r.GetRejectReasons() {
		text := number(x.GetRejects()) + " × " + x.GetReason()
		if x.GetColumn() != "" {
			text += " (column " + x.GetColumn() + ")"
		}
		t.row("rejects", text)
	}
}
