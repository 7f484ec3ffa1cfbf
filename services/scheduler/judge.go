package scheduler

import (
	"context"
	"fmt"
	"strings"
	"time"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/guard"
	"millrace.dev/pkg/profile"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/run"
	"millrace.dev/pkg/sqldb"
)

// maxSamples is how many rows of each effect a held run shows.
const maxSamples = 5

// atEnd judges a run whose parts are all complete and fenced. It answers whether the run may be closed: it may not where
// it is held now, or where its dry pass is over and it has still to write.
func (s *Service) atEnd(ctx context.Context, tx *sqldb.Tx, now time.Time, r runRow, parts []partRow) (bool, error) {
	t := total(r, parts)
	if h, ok := rejectHold(r, t, true); ok {
		return false, s.hold(ctx, tx, now, r, run.Breached, h)
	}
	y, err := getSync(ctx, tx, r.SyncUID)
	if err != nil {
		return false, err
	}
	if h, ok := emptyHold(r, t, y); ok {
		return false, s.hold(ctx, tx, now, r, run.Breached, h)
	}
	if r.mirrors() {
		if done, err := s.lacks(ctx, tx, now, r, parts, t, y); !done || err != nil {
			return false, err
		}
	}
	if !r.Facts.Dry {
		return true, nil
	}
	f, err := factsOf(ctx, tx, r, t, y, parts)
	if err != nil {
		return false, err
	}
	breaches := guard.Judge(r.Facts.Terms.Guard, f)
	switch {
	case len(breaches) == 0, r.approved(fault.ReasonGuardBreached):
	case r.Facts.Terms.Guard.OnBreach == resource.GuardNotify:
		for _, b := range breaches {
			r.Facts.Notices = append(r.Facts.Notices, b.Message)
		}
	default:
		h := guardHold(breaches)
		h.Approve, h.Samples = "reads the parts again and writes them", r.Facts.Samples
		return false, s.hold(ctx, tx, now, r, run.Breached, h)
	}
	_, err = s.write(ctx, tx, now, r)
	return false, err
}

// emptyHold answers why a run is held whose complete read found nothing, where it is.
func emptyHold(r runRow, t totals, y syncRow) (hold, bool) {
	if !isEmptyRead(r, t) || y.Facts.IndexRows == 0 || r.approved(fault.ReasonEmptyRead) {
		return hold{}, false
	}
	return hold{
		Reason:  fault.ReasonEmptyRead.Word(),
		Message: fmt.Sprintf("a complete read found no row, and %d rows of the sync are known", y.Facts.IndexRows),
		Approve: onEmpty(r),
	}, true
}

// onEmpty says what it means that there are no rows.
func onEmpty(r runRow) string {
	if r.mirrors() {
		return "takes it that there are no rows and deletes those that are known"
	}
	return "takes it that there are no rows and closes the run"
}

// factsOf answers what a guard is judged by.
func factsOf(ctx context.Context, q sqldb.Querier, r runRow, t totals, y syncRow, parts []partRow) (guard.Facts, error) {
	f := guard.Facts{
		Known: y.Facts.IndexRows, Read: t.Counts.Read, Rows: r.Facts.Plan.tableRows(t.Counts.Read), Updated: t.Counts.Updated, Deleted: t.Counts.Deleted, Nulls: map[string]int64{},
	}
	for _, p := range parts {
		if p.State == run.Replaced {
			continue
		}
		for column, n := range p.Facts.Nulls {
			f.Nulls[column] += n
		}
	}
	if r.Facts.Terms.Guard.Rows == nil {
		return f, nil
	}
	before, err := runs(ctx, q, "WHERE sync_uid = ? AND lane = ? AND run_no < ? AND state IN (?, ?) ORDER BY run_no DESC LIMIT ?",
		r.SyncUID, string(r.Lane), r.RunNo, string(run.Succeeded), string(run.PartiallySucceeded), guard.Averaged)
	for _, b := range before {
		f.Runs++
		f.Average += (float64(b.Facts.Plan.tableRows(b.Totals.Counts.Read)) - f.Average) / float64(f.Runs)
	}
	return f, err
}

func guardHold(breaches []guard.Breach) hold {
	texts := make([]string, len(breaches))
	for i, b := range breaches {
		texts[i] = b.Message
	}
	return hold{Reason: fault.ReasonGuardBreached.Word(), Message: "the guard is breached: " + strings.Join(texts, "; ")}
}

// rejectHold answers why a run is held for its rejects, where it is.
func rejectHold(r runRow, t totals, end bool) (hold, bool) {
	c, limit := t.Counts, r.Facts.Terms.RejectLimit
	failed, rows := c.Rejected+c.Refused, c.Filtered+c.Rejected+c.Mapped
	if r.approved(fault.ReasonRejectLimit) || !guard.Rejects(limit, failed, rows, end) {
		return hold{}, false
	}
	h := hold{
		Reason:  fault.ReasonRejectLimit.Word(),
		Message: fmt.Sprintf("%d of %d rows were rejected or refused, more than %g %%", failed, rows, limit.Percent),
		Approve: "lets the run go on without the limit",
	}
	if !r.Facts.DryRun {
		h.Message += "; list them: millrace rejects list " + r.ID.String()
	}
	return h, true
}

// atReport judges a run when a fragment of it came in, and keeps its samples. The part is stored already.
func (s *Service) atReport(ctx context.Context, tx *sqldb.Tx, now time.Time, runID partRow, res profile.Result, samples []sample) (bool, error) {
	c := res.Counts
	if c.Rejected+c.Refused+c.Updated+c.Deleted == 0 && len(samples) == 0 {
		return false, nil
	}
	r, err := getRun(ctx, tx, runID.Run)
	if err != nil || r.State != run.Running || r.Closing != "" {
		return false, err
	}
	if more, fresh := sampled(r.Facts.Samples, samples); fresh {
		r.Facts.Samples = more
		if err := updateRun(ctx, tx, r); err != nil {
			return false, err
		}
	}
	if r.Facts.DryRun || runID.Facts.Rehearsal {
		return false, nil
	}
	limited, guarded := r.Facts.Terms.RejectLimit.Percent > 0, !r.Facts.Dry && !r.Facts.Terms.Guard.IsZero()
	if !limited && !guarded {
		return false, nil
	}
	have, err := partsOf(ctx, tx, r.ID)
	if err != nil {
		return false, err
	}
	t := total(r, have)
	if h, ok := rejectHold(r, t, false); ok {
		return true, s.hold(ctx, tx, now, r, run.Breached, h)
	}
	if !guarded || r.approved(fault.ReasonGuardBreached) || r.approved(fault.ReasonEmptyRead) || r.Facts.Terms.Guard.OnBreach == resource.GuardNotify {
		return false, nil
	}
	y, err := getSync(ctx, tx, r.SyncUID)
	if err != nil {
		return false, err
	}
	breaches := guard.Writing(r.Facts.Terms.Guard, guard.Facts{Known: y.Facts.IndexRows, Updated: t.Counts.Updated, Deleted: t.Counts.Deleted})
	if len(breaches) == 0 {
		return false, nil
	}
	h := guardHold(breaches)
	h.Message += "; what was written so far stands"
	h.Approve = "goes on writing"
	return true, s.hold(ctx, tx, now, r, run.Breached, h)
}

// sampled adds samples to those that are kept, and answers whether any was.
func sampled(kept, more []sample) ([]sample, bool) {
	of := map[string]int{}
	for _, k := range kept {
		of[k.Effect]++
	}
	fresh := false
	for _, m := range more {
		if of[m.Effect] < maxSamples {
			of[m.Effect]++
			kept, fresh = append(kept[:len(kept):len(kept)], m), true
		}
	}
	return kept, fresh
}
