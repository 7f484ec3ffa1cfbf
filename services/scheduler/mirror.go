package scheduler

import (
	"context"
	"fmt"
	"time"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/guard"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/run"
	"millrace.dev/pkg/sqldb"
)

// A mirror run, and one that replaces a lookup table, ends with a part of its own: the rows that the platform knows and the
// run has not read. It is made when all
// others are complete and fenced. Where they are more than the guard allows nothing of it is passed on, and it is rehearsed:
// the store answers without writing.

// readRows is what a mirror run has read.
type readRows struct {
	Parts []readPart
	Rows  int64
}

// readPart is the attempt that read a part to its end.
type readPart struct {
	RunNo int64
	Part  uint32
	Epoch uint32
}

// mirrors says whether r ends with the rows that it lacks.
func (r runRow) mirrors() bool {
	return r.Facts.Terms.Mirror && r.Facts.Plan.Complete && r.Lane == live && r.Facts.ReplayOf == ""
}

// readRowsOf answers what the parts of r have read, those that it adopted in the run that read them.
func readRowsOf(r runRow, parts []partRow) readRows {
	numbers := map[string]int64{}
	for _, o := range r.Retried {
		numbers[o.Run] = o.RunNo
	}
	var out readRows
	for _, p := range parts {
		if p.Part == 0 || p.State != run.Complete || p.Facts.Absent {
			continue
		}
		x := readPart{RunNo: r.RunNo, Part: p.Part, Epoch: p.ReadEpoch}
		if p.Origin != "" {
			x.RunNo, x.Epoch = numbers[p.Origin], p.Facts.ReadEpoch
		}
		out.Parts = append(out.Parts, x)
		out.Rows += p.Account.Ingested
	}
	return out
}

// absentOf answers the part of r that has the rows it lacks, where it is there.
func absentOf(parts []partRow) (partRow, bool) {
	for _, p := range parts {
		if p.Facts.Absent && p.State != run.Replaced {
			return p, true
		}
	}
	return partRow{}, false
}

// lacks brings a mirror run whose parts are all complete on to the rows that it lacks. It answers true once they are
// dealt with.
func (s *Service) lacks(ctx context.Context, tx *sqldb.Tx, now time.Time, r runRow, parts []partRow, t totals, y syncRow) (bool, error) {
	p, there := absentOf(parts)
	switch {
	case !there && len(t.Source.Snapshots) > 1:
		return false, s.planAgain(ctx, tx, now, r.ID, issue{
			Reason:  fault.ReasonSourceChanged.Word(),
			Message: "the parts were read under several snapshots, and a mirror deletes only by one; everything is read again",
		})
	case !there:
		return false, addAbsent(ctx, tx, now, r, partFacts{AtMost: atMost(r, y)})
	case !p.Facts.Rehearsal:
		return true, nil
	}
	breaches := guard.Judge(resource.Guard{Deletes: r.Facts.Terms.Guard.Deletes}, guard.Facts{Known: y.Facts.IndexRows, Deleted: p.Account.Counts.Deleted})
	switch {
	case len(breaches) == 0, r.approved(fault.ReasonGuardBreached):
	case r.Facts.Terms.Guard.OnBreach == resource.GuardNotify:
		r.Facts.Notices = append(r.Facts.Notices, breaches[0].Message)
		if err := updateRun(ctx, tx, r); err != nil {
			return false, err
		}
	default:
		h := guardHold(breaches)
		h.Message += "; nothing was deleted so far"
		h.Approve, h.Samples = "deletes them", r.Facts.Samples
		return false, s.hold(ctx, tx, now, r, run.Breached, h)
	}
	if err := replace(ctx, tx, p); err != nil {
		return false, err
	}
	return false, addAbsent(ctx, tx, now, r, partFacts{})
}

// maxUnrehearsed bounds the keys that are gathered before the first of them is passed on.
const maxUnrehearsed = 1 << 20

// atMost answers how many rows r may delete without a rehearsal; 0: any number.
func atMost(r runRow, y syncRow) int64 {
	l := r.Facts.Terms.Guard.Deletes
	if l == nil || r.Facts.Dry || r.approved(fault.ReasonGuardBreached) || r.approved(fault.ReasonEmptyRead) {
		return 0
	}
	most := max(l.MinRows, int64(float64(y.Facts.IndexRows)*l.MaxPercent/100))
	return min(max(most, 1), maxUnrehearsed)
}

// rehearse has the rows that r lacks judged before they are deleted: they are more than its guard allows.
func rehearse(ctx context.Context, tx *sqldb.Tx, now time.Time, p partRow) error {
	r, err := getRun(ctx, tx, p.Run)
	if err != nil {
		return err
	}
	if err := replace(ctx, tx, p); err != nil {
		return err
	}
	return addAbsent(ctx, tx, now, r, partFacts{Rehearsal: true})
}

func replace(ctx context.Context, tx *sqldb.Tx, p partRow) (err error) {
	if p.State, err = run.NextPart(p.State, run.Replace); err != nil {
		return err
	}
	return updatePart(ctx, tx, p)
}

// addAbsent makes the part that has the rows which r lacks.
func addAbsent(ctx context.Context, tx *sqldb.Tx, now time.Time, r runRow, f partFacts) error {
	var last uint32
	if err := tx.QueryRow(ctx, "SELECT MAX(part) FROM scheduler_parts WHERE run_id = ?", r.ID.String()).Scan(&last); err != nil {
		return fmt.Errorf("number the part of absent rows: %w", err)
	}
	f.Absent = true
	return insertPart(ctx, tx, partRow{
		Run: r.ID, Part: last + 1, State: run.Waiting, Slice: slice{Text: "{}", Label: "rows that are gone"}, Progress: now,
		Facts: f,
	})
}
